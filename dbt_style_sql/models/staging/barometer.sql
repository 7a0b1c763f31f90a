-- One row per subject, study program and timestamp: see barometer.yml.
{{ exported_rows('LeapAvgBarometer', [
    ('TIMESTAMPUTC', 'timestamp', 'timestamp_utc'),
    ('AVGPRESSUREHPA', 'double', 'mean_pressure_hectopascals'),
    ('TEMPERATUREC', 'double', 'temperature_celsius'),
    ('ALTITUDEM', 'double', 'altitude_metres'),
]) }}
