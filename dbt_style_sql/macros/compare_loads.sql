{#- What each load changed against the load before it: rows added, removed and changed.

    Rows are taken together by the data set's time column. Of the rows of one time, those that both
    loads have alike are unchanged; of the others, as many as can be paired are changed, and the
    rest was added or removed. So a row that comes twice counts twice, and
    rows = rows before + added - removed, always. Without a time column whole rows are compared and
    nothing is called changed.

    Where the two loads have different numbers of columns, a column without any value in one of them
    is taken for one that it lacks: it is named, and left out of the comparison of rows.

    Arguments: loads, the name of a CTE with `load_id`, `previous_load_id`, `dataset_name`,
    `time_column`, `column_count` and `previous_column_count`. -#}
{% macro compare_loads(loads) -%}
    select
        null::bigint as load_id,
        null::bigint as rows_added,
        null::bigint as rows_removed,
        null::bigint as rows_changed,
        null::varchar[] as columns_added,
        null::varchar[] as columns_removed
    where false
    {%- for table in history_tables('load_id in (select load_id from lineage.superseded)'
        ' or load_id in (select superseded_by from lineage.superseded)') %}
    union all
    ({{ compare_loads_of(table, loads) }})
    {%- endfor %}
{%- endmacro %}


{% macro compare_loads_of(table, loads) -%}
    with
    pairs as (
        select
            load_id,
            previous_load_id,
            column_count != previous_column_count as may_lack_columns
        from {{ loads }}
        where previous_load_id is not null
            and lower(dataset_name) = lower({{ text(table.name) }})
            and time_column is not distinct from {{ text(table.time.name) if table.time else 'null' }}
    ),
    sides as (
        select load_id as side_id, load_id, true as is_after, may_lack_columns from pairs
        union all
        select previous_load_id, load_id, false, may_lack_columns from pairs
    ),
    columns_of_one_side as (
        select sides.load_id,
            {%- for direction, here, there in [
                ('columns_added', 'sides.is_after', 'not sides.is_after'),
                ('columns_removed', 'not sides.is_after', 'sides.is_after'),
            ] %}
            list_filter([
                {%- for column in table.columns %}
                case
                    when count(history.{{ quoted(column.name) }}) filter (where {{ here }}) > 0
                        and count(history.{{ quoted(column.name) }}) filter (where {{ there }}) = 0
                        then {{ text(column.name) }}
                end{{ ',' if not loop.last }}
                {%- endfor %}
            ], lambda each: each is not null) as {{ direction }}{{ ',' if not loop.last }}
            {%- endfor %}
        from sides
        inner join history.{{ quoted(table.name) }} as history on sides.side_id = history._load_id
        where sides.may_lack_columns
        group by sides.load_id
    ),
    rows_of_both as (
        select
            sides.load_id,
            sides.is_after,
            {{ 'history.' ~ quoted(table.time.name) if table.time else 'null' }} as moment,
            case
                when not sides.may_lack_columns or lacking.load_id is null then hash(row(
                    {%- for column in table.columns %}
                    history.{{ quoted(column.name) }}{{ ',' if not loop.last }}
                    {%- endfor %}
                ))
                else hash(row(
                    {%- for column in table.columns %}
                    case
                        when not list_contains(
                            lacking.columns_added || lacking.columns_removed,
                            {{ text(column.name) }}
                        ) then history.{{ quoted(column.name) }}
                    end{{ ',' if not loop.last }}
                    {%- endfor %}
                ))
            end as content
        from sides
        inner join history.{{ quoted(table.name) }} as history on sides.side_id = history._load_id
        left join columns_of_one_side as lacking on sides.load_id = lacking.load_id
    ),
    alike as (
        select
            load_id,
            moment,
            content,
            count(*) filter (where is_after) - count(*) filter (where not is_after) as surplus
        from rows_of_both
        group by load_id, moment, content
    ),
    by_moment as (
        select
            load_id,
            moment,
            sum(greatest(surplus, 0)) as came,
            sum(greatest(-surplus, 0)) as went
        from alike
        group by load_id, moment
    )
    select
        by_moment.load_id,
        {%- if table.time %}
        sum(came - least(came, went))::bigint as rows_added,
        sum(went - least(came, went))::bigint as rows_removed,
        sum(least(came, went))::bigint as rows_changed,
        {%- else %}
        sum(came)::bigint as rows_added,
        sum(went)::bigint as rows_removed,
        null::bigint as rows_changed,
        {%- endif %}
        coalesce(any_value(lacking.columns_added), []) as columns_added,
        coalesce(any_value(lacking.columns_removed), []) as columns_removed
    from by_moment
    left join columns_of_one_side as lacking on by_moment.load_id = lacking.load_id
    group by by_moment.load_id
{%- endmacro %}
