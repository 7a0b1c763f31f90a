{#- A table of the schema `lineage` or `study`, for use after FROM.

    If it does not exist, because nothing was ever synced, this is an empty table with the columns
    and types of `lineage.yml` or `study.yml`. In a view, the database's name is left out, so that
    the view stays valid under any file name and any ATTACH name. (DuckDB 2.0 removes the name
    itself; 1.5 keeps it.)

    Arguments: name, a table of the source. -#}
{% macro lineage_rows(name) -%}
    {{ source_rows('lineage', name) }}
{%- endmacro %}


{% macro study_rows(name) -%}
    {{ source_rows('study', name) }}
{%- endmacro %}


{% macro source_rows(source_name, name) -%}
    {%- set relation = source(source_name, name) -%}
    {%- if not execute or relation.is_cte or load_relation(relation) is not none -%}
        {{ relation.include(database=false) if config.get('materialized') == 'view' else relation }}
    {%- else -%}
        (
            select
                {%- for column in source_columns(source_name, name) %}
                null::{{ column.data_type }} as {{ column.name }}{{ ',' if not loop.last }}
                {%- endfor %}
            where false
        )
    {%- endif -%}
{%- endmacro %}


{% macro source_columns(source_name, table_name) -%}
    {%- set found = graph.sources.values()
        | selectattr('source_name', 'equalto', source_name)
        | selectattr('name', 'equalto', table_name)
        | first -%}
    {{ return(found.columns.values() | list) }}
{%- endmacro %}
