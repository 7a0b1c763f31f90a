{#- One of the warehouse's own tables, to stand after FROM.

    Where it does not exist, because nothing was ever synced, an empty one of its columns and types
    (those of `lineage.yml`). In a view without the database's name, so that it stays valid whatever
    the file is called or attached as: DuckDB 2.0 drops the name by itself, 1.5 keeps it.

    Arguments: name, a table of the source `lineage`. -#}
{% macro lineage_rows(name) -%}
    {%- set relation = source('lineage', name) -%}
    {%- if not execute or relation.is_cte or load_relation(relation) is not none -%}
        {{ relation.include(database=false) if config.get('materialized') == 'view' else relation }}
    {%- else -%}
        (
            select
                {%- for column in source_columns('lineage', name) %}
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
