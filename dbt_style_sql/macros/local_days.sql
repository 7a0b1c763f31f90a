{#- The seconds from UTC to a time zone's clock at an instant. -#}
{% macro offset_at(zone, instant) -%}
    date_diff('second', {{ instant }}, ({{ instant }} at time zone 'UTC') at time zone {{ zone }})
{%- endmacro %}


{#- A SQL condition for a join with `subject_offsets`: the instant is in the period. Its two ends are
    NULL where the period is the first or the last. -#}
{% macro in_period(instant, period) -%}
    {{ instant }} >= coalesce({{ period }}.from_utc, '-infinity'::timestamp)
        and {{ instant }} < coalesce({{ period }}.to_utc, 'infinity'::timestamp)
{%- endmacro %}


{#- One row per subject: a text that changes with any of its periods. -#}
{% macro offsets_by_subject() -%}
    (
        select
            study_id,
            subject_id,
            md5(string_agg(
                concat_ws(' ', coalesce(from_utc::varchar, '-'), offset_seconds, timezone, day_basis), ';'
                order by from_utc nulls first
            )) as offsets
        from {{ ref('subject_offsets') }}
        group by all
    )
{%- endmacro %}


{#- One row per subject and date: how long the local day is, its time zone, and why it is that one.

    A day is the sum of its parts in each period: 23 or 25 hours if the clock is changed, and as long
    as it was for a subject who travelled.

    Arguments: dates, the name of a CTE with `study_id`, `subject_id` and `date`, without duplicates. -#}
{% macro day_lengths(dates) -%}
    select
        dates.study_id,
        dates.subject_id,
        dates.date,
        sum(date_diff(
            'second',
            greatest(
                coalesce(periods.from_utc + to_seconds(periods.offset_seconds), dates.date::timestamp),
                dates.date::timestamp
            ),
            least(
                coalesce(
                    periods.to_utc + to_seconds(periods.offset_seconds),
                    (dates.date + 1)::timestamp
                ),
                (dates.date + 1)::timestamp
            )
        )) / 60 as day_minutes,
        arg_max(periods.timezone, coalesce(periods.from_utc, '-infinity'::timestamp)) as timezone,
        arg_max(periods.day_basis, coalesce(periods.from_utc, '-infinity'::timestamp)) as day_basis
    from {{ dates }} as dates
    inner join {{ ref('subject_offsets') }} as periods
        on
            dates.study_id = periods.study_id
            and dates.subject_id = periods.subject_id
            and (
                periods.from_utc is null
                or periods.from_utc + to_seconds(periods.offset_seconds) < (dates.date + 1)::timestamp
            )
            and (
                periods.to_utc is null
                or periods.to_utc + to_seconds(periods.offset_seconds) > dates.date::timestamp
            )
    group by all
{%- endmacro %}


{#- The number of rows that each load has on each day, by its data set's time column.

    A date is the date as written. A time in UTC is on the subject's local day (`subject_offsets`).

    Arguments: loads, the name of a CTE with `load_id`, `study_id`, `subject_id`, `dataset_name`. -#}
{% macro rows_per_day(loads) -%}
    select
        null::bigint as load_id,
        null::date as date,
        null::varchar as day_basis,
        null::bigint as row_count
    where false
    {%- for table in dated_tables() %}
    {%- set value = 'history.' ~ quoted(table.time.name) %}
    {%- set as_date = table.time.data_type == 'DATE' or table.time.is_date %}
    {%- set read = read_time(value, table.time, 'utc' if 'utc' in table.time.name | lower else 'local') %}
    union all
    select
        history._load_id as load_id,
        {%- if as_date %}
        {{ read_date(value, table.time) }} as date,
        'as_written' as day_basis,
        {%- else %}
        coalesce(
            {{ read['local'] }}, {{ read['utc'] }} + to_seconds(periods.offset_seconds)
        )::date as date,
        case when {{ read['local'] }} is null then periods.day_basis else 'local_times' end as day_basis,
        {%- endif %}
        count(*) as row_count
    from history.{{ quoted(table.name) }} as history
    inner join {{ loads }} as loads on history._load_id = loads.load_id
    {%- if not as_date %}
    left join {{ ref('subject_offsets') }} as periods
        on
            loads.study_id = periods.study_id
            and loads.subject_id = periods.subject_id
            and {{ in_period(read['utc'], 'periods') }}
    {%- endif %}
    where lower(loads.dataset_name) = lower({{ text(table.name) }})
    group by all
    {%- endfor %}
{%- endmacro %}


{#- The tables of `history` with a column that has the time of a row: a list of dictionaries. It is the
    first timestamp with a fitting name, else the first date, else the first text (docs/values.md,
    "Which column is a row's time"). A text may be a date or a time: one load with another form makes
    the whole column text, and the other loads keep their days. -#}
{% macro dated_tables() -%}
    {%- if not execute or load_relation(source('lineage', 'column_types')) is none -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set found = run_query(
        "select columns.table_name, columns.column_name, columns.data_type, kinds.kind,"
        " regexp_full_match(columns.column_name, '(local_?)?(date|day)(_?local)?', 'i') as is_date"
        " from duckdb_columns() as columns left join ("
        "  select lower(dataset_name) as dataset, lower(column_name) as name,"
        "  arg_max(kind, revision) as kind from lineage.column_types group by all"
        ") as kinds on lower(columns.table_name) = kinds.dataset"
        " and lower(columns.column_name) = kinds.name"
        " where columns.database_name = current_database() and columns.schema_name = 'history'"
        " and regexp_matches(columns.column_name, 'timestamp|^(date|day|time|start|begin)', 'i')"
        " and (columns.data_type like 'TIMESTAMP%' or columns.data_type in ('DATE', 'VARCHAR'))"
        " order by columns.table_name, columns.data_type like 'TIMESTAMP%' desc,"
        " columns.data_type = 'DATE' desc, columns.column_index"
    ) -%}
    {%- set tables = {} -%}
    {%- for row in found.rows if row[0] not in tables -%}
        {%- do tables.update({row[0]: {'name': row[0], 'time': {
            'name': row[1], 'data_type': row[2], 'kind': row[3],
            'is_date': row[4] and row[2] == 'VARCHAR' or row[2] == 'DATE',
        }}}) -%}
    {%- endfor -%}
    {{ return(tables.values() | list) }}
{%- endmacro %}
