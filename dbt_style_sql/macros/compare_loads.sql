{#- What changed from the previous load to each load: rows added, removed and changed.

    Rows are matched by the data set's time column. Among the rows with the same time, rows that are
    equal in both loads are unchanged. The others are paired: each pair counts as one changed row,
    and rows without a partner were added or removed. A row that occurs twice counts twice, and
    rows = previous rows + added - removed always holds. Without a time column, whole rows are
    compared, and no row counts as changed.

    The comparison leaves out columns that only one of the two loads has.

    Arguments: loads, the name of a CTE with `load_id`, `previous_load_id`, `dataset_name`,
    `time_column`, `columns_added` and `columns_removed`. -#}
{% macro compare_loads(loads) -%}
    select
        null::bigint as load_id,
        null::bigint as rows_added,
        null::bigint as rows_removed,
        null::bigint as rows_changed
    where false
    {%- for table in history_tables('load_id in (select load_id from lineage.superseded)'
        ' or load_id in (select superseded_by from lineage.superseded)'
        ' or lower(dataset_name) in (select lower(dataset_name) from lineage.loads'
        ' group by all having count(distinct study_program_id) > 1)') %}
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
            -- Lower case, because the table's column names may differ from this export's in case.
            list_transform(
                columns_added || columns_removed, lambda each: lower(each)
            ) as columns_of_one
        from {{ loads }}
        where previous_load_id is not null
            and lower(dataset_name) = lower({{ text(table.name) }})
            and time_column is not distinct from {{ text(table.time.name) if table.time else 'null' }}
    ),
    sides as (
        select load_id as side_id, load_id, true as is_after, columns_of_one from pairs
        union all
        select previous_load_id, load_id, false, columns_of_one from pairs
    ),
    rows_of_both as (
        select
            sides.load_id,
            sides.is_after,
            {{ 'history.' ~ quoted(table.time.name) if table.time else 'null' }} as moment,
            case
                when len(sides.columns_of_one) = 0 then hash(row(
                    {%- for column in table.columns %}
                    history.{{ quoted(column.name) }}{{ ',' if not loop.last }}
                    {%- endfor %}
                ))
                else hash(row(
                    {%- for column in table.columns %}
                    case
                        when not list_contains(sides.columns_of_one, {{ text(column.name | lower) }})
                            then history.{{ quoted(column.name) }}
                    end{{ ',' if not loop.last }}
                    {%- endfor %}
                ))
            end as content
        from sides
        inner join history.{{ quoted(table.name) }} as history on sides.side_id = history._load_id
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
        load_id,
        {%- if table.time %}
        sum(came - least(came, went))::bigint as rows_added,
        sum(went - least(came, went))::bigint as rows_removed,
        sum(least(came, went))::bigint as rows_changed
        {%- else %}
        sum(came)::bigint as rows_added,
        sum(went)::bigint as rows_removed,
        null::bigint as rows_changed
        {%- endif %}
    from by_moment
    group by load_id
{%- endmacro %}


{#- For each load, the names that are in one list but not in another, as `names`. Case is ignored.
    If one of the lists is NULL, the load has no row.

    This is a join, because searching a list of 1,500 names for each of 1,500 names is slow.

    Arguments: loads, the name of a CTE with `load_id`; names and others, two of its columns. -#}
{% macro names_not_in(loads, names, others) -%}
    select
        named.load_id,
        list(named.name order by named.place) as names
    from (
        select
            load_id,
            unnest({{ names }}) as name,
            generate_subscripts({{ names }}, 1) as place
        from {{ loads }}
        where {{ others }} is not null
    ) as named
    anti join (
        select
            load_id,
            lower(unnest({{ others }})) as name
        from {{ loads }}
    ) as other
        on named.load_id = other.load_id and lower(named.name) = other.name
    group by named.load_id
{%- endmacro %}
