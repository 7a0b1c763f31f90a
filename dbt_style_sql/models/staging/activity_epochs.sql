-- One row per subject, study program and epoch: see activity_epochs.yml.
{{ exported_rows('ActivityEpochs') }}
