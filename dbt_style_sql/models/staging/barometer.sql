-- One row per subject, study program and timestamp: see barometer.yml.
{{ exported_rows('LeapAvgBarometer') }}
