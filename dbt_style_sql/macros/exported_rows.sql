{#- The rows of all versions of a data set family, with types and names: the body of a staging model.

    The data sets of a study are not known in advance. So this macro reads the schema `exports` when
    the model is built, and takes each data set whose name is the family's name plus only a version:
    `ActivityDaily7`, `activitydaily8`, `ParamsAndSubject (31)`. If the study has none, the model is
    empty, with the same columns and types. The lineage columns tell where each row came from.
    `unreadable_columns` lists the columns whose value could not be read as their type and is NULL
    here.

    Arguments:
        family: the data set's name without its version.
        columns: a list of (column in the export, type here, name here). Case is ignored. A column
            that a version does not have is NULL. -#}
{% macro exported_rows(family, columns) -%}
    select
        study_id,
        subject_id,
        study_program_id,
        dataset_name,
        program_execution,
        program_executed_at,
        load_id,
        {%- for _, type, name in columns %}
        null::{{ type }} as {{ name }},
        {%- endfor %}
        []::varchar[] as unreadable_columns
    from {{ lineage_rows('current_loads') }}
    where false
    {%- for dataset, present in versions_of(family).items() %}
    union all
    select
        exported._study_id as study_id,
        exported._subject_id as subject_id,
        exported._study_program_id as study_program_id,
        {{ text(dataset) }} as dataset_name,
        exported._program_execution as program_execution,
        exported._program_executed_at as program_executed_at,
        exported._load_id as load_id,
        {%- set losses = [] %}
        {%- for export_column, type, name in columns %}
        {%- set found = present[export_column | lower] %}
        {%- if found %}
        {%- set value = read_as('exported.' ~ quoted(found.name), found.data_type, type) %}
        {%- if may_be_unreadable(found.data_type, type) %}
        {%- do losses.append(
            "case when trim(exported." ~ quoted(found.name) ~ "::varchar) != '' and (" ~ value
            ~ ") is null then " ~ text(name) ~ " end"
        ) %}
        {%- endif %}
        {{ value }} as {{ name }},
        {%- else %}
        null::{{ type }} as {{ name }},
        {%- endif %}
        {%- endfor %}
        {% if losses -%}
        list_filter([{{ losses | join(', ') }}], lambda each: each is not null)
        {%- else -%}
        []::varchar[]
        {%- endif %} as unreadable_columns
    from exports.{{ quoted(dataset) }} as exported
    {%- endfor %}
{%- endmacro %}


{#- The data sets of a family: for each name, its columns by lower-case name. Newest version last. -#}
{% macro versions_of(family) -%}
    {%- set versions = {} -%}
    {%- if execute -%}
        {%- set found = run_query(
            "select table_name, column_name, data_type from duckdb_columns()"
            " where database_name = current_database() and schema_name = 'exports'"
            " and regexp_full_match(table_name, regexp_escape(" ~ text(family)
            ~ ") || '([0-9]*| [(][0-9]+[)])', 'i')"
            " order by try_cast(regexp_extract(table_name, '([0-9]+)[)]?$', 1)[:9] as bigint) nulls first,"
            " table_name, column_index"
        ) -%}
        {%- for row in found.rows -%}
            {%- do versions.setdefault(row[0], {}).update(
                {row[1] | lower: {'name': row[1], 'data_type': row[2]}}
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(versions) }}
{%- endmacro %}


{#- An SQL expression: the value of a column as a type, or NULL if it cannot be read as that type.

    A column with unusual values is text in the warehouse (docs/values.md). This macro reads such
    text with care. It applies a time zone offset, which DuckDB's cast to TIMESTAMP ignores. It does
    not accept `NaN` and `inf` as numbers, because one of them would make every sum useless. It does
    not accept 1.5 as a whole number, which DuckDB would round to 2. -#}
{% macro read_as(value, present_type, type) -%}
    {%- if not may_be_unreadable(present_type, type) -%}
        try_cast({{ value }} as {{ type }})
    {%- elif type.startswith('timestamp') -%}
        case
            when regexp_matches(trim({{ value }}), ':[0-9]{2}([.][0-9]+)? ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$')
                then make_timestamp(epoch_us(try_cast({{ value }} as timestamptz)))
            else try_cast({{ value }} as {{ type }})
        end
    {%- elif type == 'double' -%}
        case when isfinite(try_cast({{ value }} as double)) then try_cast({{ value }} as double) end
    {%- elif type == 'bigint' -%}
        case
            when try_cast({{ value }} as double) = trunc(try_cast({{ value }} as double))
                then try_cast({{ value }} as bigint)
        end
    {%- else -%}
        try_cast({{ value }} as {{ type }})
    {%- endif -%}
{%- endmacro %}


{#- Whether a column of one type may hold values that cannot be read as another type. -#}
{% macro may_be_unreadable(present_type, type) -%}
    {{ return(
        (present_type == 'VARCHAR' and type != 'varchar')
        or (present_type not in ('BIGINT', 'VARCHAR') and type == 'bigint')
    ) }}
{%- endmacro %}


{#- A quoted SQL identifier, for any name. -#}
{% macro quoted(name) -%}
    "{{ name | replace('"', '""') }}"
{%- endmacro %}


{#- An SQL string literal. -#}
{% macro text(value) -%}
    '{{ value | replace("'", "''") }}'
{%- endmacro %}
