-- One row per subject, study program and parameter: see parameters_and_subject.yml.
{{ exported_rows('ParamsAndSubject', [
    ('SITEID', 'varchar', 'site_id'),
    ('PARAMETER', 'varchar', 'parameter'),
    ('VALUE', 'varchar', 'value'),
    ('UNIT', 'varchar', 'unit'),
    ('ENTEREDON', 'timestamp', 'entered_at'),
    ('ENTEREDBY', 'varchar', 'entered_by'),
]) }}
