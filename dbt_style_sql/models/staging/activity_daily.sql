-- One row per subject, study program and day: see activity_daily.yml.
{{ exported_rows('ActivityDaily') }}
