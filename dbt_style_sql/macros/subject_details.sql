{#- One row per subject of `study.subjects`: how people name the subject, for a join. Empty if
    CentrePoint did not say. -#}
{% macro subject_details() -%}
    (
        select
            study_id,
            id as subject_id,
            any_value(subject_identifier) as subject_identifier,
            any_value(site_identifier) as site_identifier,
            any_value(wear_position) as wear_position,
            any_value(timezone) as timezone
        from {{ study_rows('subjects') }}
        group by all
    )
{%- endmacro %}


{#- One row per study program: its name, for a join. -#}
{% macro program_names() -%}
    (
        select
            study_id,
            lower(study_program_id) as study_program_id,
            min(study_program_name) as study_program_name
        from {{ study_rows('programs') }}
        group by all
    )
{%- endmacro %}


{#- The version of the study for which each load was processed, for a join. NULL for all loads, if the
    service or this warehouse does not know it. -#}
{% macro study_versions() -%}
    {%- set relation = load_relation(source('lineage', 'loads')) if execute -%}
    {%- set names = [] -%}
    {%- if relation -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do names.append(column.name | lower) -%}
        {%- endfor -%}
    {%- endif -%}
    (
        select
            load_id,
            {{ 'study_version' if 'study_version' in names else 'null' }}::bigint as study_version
        from {{ lineage_rows('loads') }}
    )
{%- endmacro %}
