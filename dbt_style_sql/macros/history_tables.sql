{#- The tables that hold the rows of loads, with the time column of these loads: a list of
    dictionaries. A table is listed once for each time column (or none) that its loads have.

    For models that read all data sets of the study. The list is empty while dbt parses the project.

    Arguments: condition, which loads to include: an SQL condition on `lineage.loads`. -#}
{% macro history_tables(condition) -%}
    {%- if not execute or load_relation(source('lineage', 'loads')) is none -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set found = run_query(
        "select columns.table_name, loads.time_column, columns.column_name, columns.data_type"
        " from duckdb_columns() as columns inner join ("
        "  select distinct lower(dataset_name) as dataset, time_column from lineage.loads"
        "  where " ~ condition ~
        " ) as loads on loads.dataset = lower(columns.table_name)"
        " where columns.database_name = current_database() and columns.schema_name = 'history'"
        " and columns.column_name != '_load_id'"
        " order by columns.table_name, loads.time_column nulls last, columns.column_index"
    ) -%}
    {%- set tables = {} -%}
    {%- for row in found.rows -%}
        {%- do tables.setdefault((row[0], row[1]), []).append(
            {'name': row[2], 'data_type': row[3]}
        ) -%}
    {%- endfor -%}
    {%- set listed = [] -%}
    {%- for (name, time_column), columns in tables.items() -%}
        {%- set times = columns | selectattr('name', 'equalto', time_column) | list -%}
        {%- do listed.append({'name': name, 'columns': columns, 'time': times | first}) -%}
    {%- endfor -%}
    {{ return(listed) }}
{%- endmacro %}
