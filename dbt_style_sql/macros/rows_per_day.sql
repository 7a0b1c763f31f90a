{#- The number of rows that each load has on each day, by its data set's time column.

    Arguments: loads, the name of a CTE with `load_id` and `dataset_name`. -#}
{% macro rows_per_day(loads) -%}
    select
        null::bigint as load_id,
        null::date as date,
        null::bigint as row_count
    where false
    {%- for table in history_tables('time_column is not null') if table.time %}
    union all
    select
        history._load_id as load_id,
        ({{ read_as('history.' ~ quoted(table.time.name), table.time.data_type, 'timestamp') }})::date as date,
        count(*) as row_count
    from history.{{ quoted(table.name) }} as history
    where
        history._load_id in (
            select load_id
            from {{ loads }}
            where lower(dataset_name) = lower({{ text(table.name) }})
                and time_column = {{ text(table.time.name) }}
        )
    group by all
    {%- endfor %}
{%- endmacro %}
