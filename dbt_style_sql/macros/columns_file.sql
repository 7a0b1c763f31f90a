{#- The families and measures of columns.yml, as a dictionary. Empty while dbt parses the project.

    If these models are a package of a project of your own, its columns.yml is read too. It adds families,
    and its columns of a measure come first. -#}
{% macro columns_file() -%}
    {%- set families = {} -%}
    {%- if execute -%}
        {%- set project = invocation_args_dict.project_dir or '.' -%}
        {%- for folder in ['/dbt_packages/cp_models/', '/'] -%}
            {%- set path = text(project ~ folder ~ var('columns_file', 'columns.yml')) -%}
            {%- if run_query("select count(*) from glob(" ~ path ~ ")").rows[0][0] -%}
                {%- set found = run_query("select content from read_text(" ~ path ~ ")").rows[0][0] -%}
                {%- for family, described in (fromyaml(found) or {}).items() -%}
                    {%- set before = families.get(family, {'required': [], 'measures': {}}) -%}
                    {%- set measures = dict(before['measures']) -%}
                    {%- for measure, candidates in described.get('measures', {}).items() -%}
                        {%- do measures.update({measure: candidates + measures.get(measure, [])}) -%}
                    {%- endfor -%}
                    {%- do families.update({family: {
                        'required': described.get('required', before['required']), 'measures': measures
                    }}) -%}
                {%- endfor -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(families) }}
{%- endmacro %}


{#- One family of columns.yml. An error if it is not there. -#}
{% macro family_columns(family) -%}
    {%- if not execute -%}
        {{ return({'required': [], 'measures': {}}) }}
    {%- endif -%}
    {%- set found = columns_file()[family] -%}
    {%- if not found -%}
        {{ exceptions.raise_compiler_error(
            "columns.yml has no family " ~ family ~ ". Add it, or run cp-pipeline models scaffold."
        ) }}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}


{#- The DuckDB type of a measure of this unit, and what a value is multiplied with. -#}
{% macro unit_of(unit) -%}
    {%- set units = {
        'date': ['date', none], 'utc': ['timestamp', none], 'local': ['timestamp', none],
        'timestamp': ['timestamp', none], 'timestamp_ns': ['timestamp_ns', none], 'text': ['varchar', none], 'whole_number': ['bigint', none],
        'flag': ['double', none], 'share': ['double', none], 'percent': ['double', '/ 100'],
        'minutes': ['double', none], 'hours': ['double', '* 60'], 'seconds': ['double', '/ 60'],
        'steps': ['double', none], 'met': ['double', none], 'kilocalories': ['double', none],
        'kilojoules': ['double', '/ 4.184'], 'number': ['double', none],
    } -%}
    {%- if unit not in units -%}
        {{ exceptions.raise_compiler_error(
            "columns.yml has the unit " ~ unit ~ ". Use one of: " ~ (units | sort | join(', ')) ~ "."
        ) }}
    {%- endif -%}
    {{ return(units[unit]) }}
{%- endmacro %}


{#- A SQL condition: a data set's name is the family's name plus only a version, such as
    `ActivityDaily7`, `activitydaily8`, `ParamsAndSubject (31)`. -#}
{% macro is_of_family(name, family) -%}
    regexp_full_match({{ name }}, regexp_escape({{ text(family) }}) || '([0-9]*| [(][0-9]+[)])', 'i')
{%- endmacro %}


{#- The version in a data set's or a program's name, as a number; NULL without one. -#}
{% macro version_in(name) -%}
    try_cast(regexp_extract({{ name }}, '([0-9]+)[)]?$', 1)[:9] as bigint)
{%- endmacro %}
