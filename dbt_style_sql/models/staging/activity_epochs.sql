-- One row per subject, study program and epoch: see activity_epochs.yml.
{{ exported_rows('ActivityEpochs', [
    ('TIMESTAMPUTC', 'timestamp', 'timestamp_utc'),
    ('STEPS', 'double', 'steps'),
    ('MET', 'double', 'met'),
    ('CALORIES', 'double', 'kilocalories'),
    ('HEARTRATE', 'double', 'heart_beats_per_minute'),
]) }}
