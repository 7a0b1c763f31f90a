{#- The families and measures of columns.yml, as a dictionary. Empty while dbt parses the project. -#}
{% macro columns_file() -%}
    {%- if not execute -%}
        {{ return({}) }}
    {%- endif -%}
    {%- set path = (invocation_args_dict.project_dir or '.') ~ '/' ~ var('columns_file') -%}
    {%- set found = run_query("select content from read_text(" ~ text(path) ~ ")") -%}
    {{ return(fromyaml(found.rows[0][0])) }}
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
