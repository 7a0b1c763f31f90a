-- One row per subject, study program and parameter: see parameters_and_subject.yml.
{{ exported_rows('ParamsAndSubject') }}
