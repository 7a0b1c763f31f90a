{#- The path of the visits file, absolute; `CP_VISITS`, by default `visits.csv` in the data folder. -#}
{% macro visits_path() -%}
    {%- set folder = env_var('CP_DATA_DIR', '') or 'data' -%}
    {%- set path = env_var('CP_VISITS', '') or folder ~ '/visits.csv' -%}
    {{ return(path if path.startswith('/') else env_var('PWD', '..') ~ '/' ~ path) }}
{%- endmacro %}


{#- One row per line of the visits file, as text: `subject_identifier`, `visit`, `start_text`,
    `end_text`, and if the file has them `planned_days`, `minimum_days`. Empty if there is no file. -#}
{% macro visits_file() -%}
    {%- set columns = [] -%}
    {%- if execute -%}
        {%- set path = visits_path() -%}
        {%- set located = text(path | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]')) -%}
        {%- if run_query("select count(*) from glob(" ~ located ~ ")").rows[0][0] -%}
            {%- set reading = "read_csv(" ~ located ~ ", header = true, all_varchar = true, delim = ',')" -%}
            {%- for row in run_query("describe from " ~ reading).rows -%}
                {%- do columns.append(row[0] | lower) -%}
            {%- endfor -%}
            {%- for name in ('subject_identifier', 'visit', 'start', 'end') if name not in columns -%}
                {{ exceptions.raise_compiler_error(
                    path ~ " has no column " ~ name ~ ". Its header must have: subject_identifier,visit,start,end"
                ) }}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
    {%- if columns -%}
    (
        select
            trim(subject_identifier) as subject_identifier,
            trim(visit) as visit,
            try_cast(trim("start") as date) as wear_start,
            try_cast(trim("end") as date) as wear_end,
            {{ 'try_cast(planned_days as integer)' if 'planned_days' in columns else 'null::integer' }}
                as planned_days,
            {{ 'try_cast(minimum_days as integer)' if 'minimum_days' in columns else 'null::integer' }}
                as minimum_days
        from {{ reading_of_visits() }}
    )
    {%- else -%}
    (
        select
            null::varchar as subject_identifier,
            null::varchar as visit,
            null::date as wear_start,
            null::date as wear_end,
            null::integer as planned_days,
            null::integer as minimum_days
        where false
    )
    {%- endif -%}
{%- endmacro %}


{% macro reading_of_visits() -%}
    {%- set located = text(
        visits_path() | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]')
    ) -%}
    read_csv({{ located }}, header = true, all_varchar = true, delim = ',')
{%- endmacro %}


{#- One row per subject and the names that a line of the visits file may give it: the subject's own
    identifier, with or without the site's, or CentrePoint's number. -#}
{% macro subject_names(subjects) -%}
    (
        select
            study_id,
            subject_id,
            unnest(list_distinct([
                subject_id::varchar, subject_identifier, site_identifier || '-' || subject_identifier
            ])) as name
        from {{ subjects }}
    )
{%- endmacro %}
