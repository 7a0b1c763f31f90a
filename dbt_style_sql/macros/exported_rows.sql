{#- The rows of all versions of a data set family, with types and names: the body of a staging model.

    The data sets of a study are not known in advance. So this macro reads the schema `exports` when
    the model is built, and takes each data set of the family. If the study has none, the model is
    empty, with the same columns and types. Which column is which measure is in columns.yml. The
    lineage columns tell where each row came from. `unreadable_columns` lists the measures whose value
    could not be read as their type and is NULL here.

    Arguments: family, the data set's name without its version, as in columns.yml. -#}
{% macro exported_rows(family) -%}
    {%- set measures = family_columns(family)['measures'] -%}
    select
        study_id,
        subject_id,
        study_program_id,
        dataset_name,
        program_execution,
        program_executed_at,
        load_id,
        {%- for measure, candidates in measures.items() %}
        {%- for name in names_of(measure, candidates) %}
        null::{{ unit_of(candidates[0]['unit'])[0] }} as {{ name }},
        {%- endfor %}
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
        {%- for measure, candidates in measures.items() %}
        {%- set found = columns_present(candidates, present) %}
        {%- set readings = [] %}
        {%- for name in names_of(measure, candidates) %}
        {%- set values = [] %}
        {%- for each in found %}
        {%- do values.append(read_measure(each, name)) %}
        {%- endfor %}
        {%- do readings.append(coalesced(values, unit_of(candidates[0]['unit'])[0])) %}
        {{ readings[-1] }} as {{ name }},
        {%- endfor %}
        {%- for each in found if loses_values(each) %}
        {%- if loop.first %}
        {%- set written = [] %}
        {%- for one in found %}
        {%- do written.append("trim(exported." ~ quoted(one.present.name) ~ "::varchar) != ''") %}
        {%- endfor %}
        {%- do losses.append(
            "case when (" ~ written | join(' or ') ~ ") and coalesce(" ~ readings | join(', ')
            ~ ") is null then " ~ text(measure) ~ " end"
        ) %}
        {%- endif %}
        {%- endfor %}
        {%- endfor %}
        {% if losses -%}
        list_filter([{{ losses | join(', ') }}], lambda each: each is not null)
        {%- else -%}
        []::varchar[]
        {%- endif %} as unreadable_columns
    from exports.{{ quoted(dataset) }} as exported
    {%- endfor %}
{%- endmacro %}


{#- The columns of the model for a measure: two for a time that may be UTC or local. -#}
{% macro names_of(measure, candidates) -%}
    {{ return(
        [measure ~ '_utc', measure ~ '_local'] if candidates[0]['unit'] in ('utc', 'local') else [measure]
    ) }}
{%- endmacro %}


{#- The candidates of a measure that a data set has, each with its column there, in their order. -#}
{% macro columns_present(candidates, present) -%}
    {%- set found = [] -%}
    {%- for each in candidates if each['column'] | lower in present -%}
        {%- do found.append(
            {'unit': each['unit'], 'known_from': each['known_from'], 'present': present[each['column'] | lower]}
        ) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#- Whether a candidate column may have a value that is NULL in the model. -#}
{% macro loses_values(candidate) -%}
    {{ return(
        may_be_unreadable(candidate.present.data_type, unit_of(candidate.unit)[0])
        or (candidate.unit == 'date' and candidate.present.kind in ('instant', 'instant_ns'))
    ) }}
{%- endmacro %}


{% macro coalesced(values, type) -%}
    {{ return(
        'null::' ~ type if not values else values[0] if values | length == 1
        else 'coalesce(' ~ values | join(', ') ~ ')'
    ) }}
{%- endmacro %}


{#- An SQL expression: the value of one candidate column, in the measure's unit. -#}
{% macro read_measure(candidate, name) -%}
    {%- set value = 'exported.' ~ quoted(candidate.present.name) -%}
    {%- set type, factor = unit_of(candidate.unit) -%}
    {%- if candidate.unit in ('utc', 'local') -%}
        {{ return(read_time(value, candidate.present, candidate.unit)[name.split('_')[-1]]) }}
    {%- elif candidate.unit == 'date' -%}
        {{ return(read_date(value, candidate.present)) }}
    {%- elif candidate.unit == 'flag' -%}
        {{ return(
            "case lower(trim(" ~ value ~ "::varchar)) when 'true' then 1.0::double"
            " when 'false' then 0.0::double else (" ~ read_as(value, candidate.present.data_type, type) ~ ") end"
        ) }}
    {%- elif factor -%}
        {{ return('(' ~ read_as(value, candidate.present.data_type, type) ~ ') ' ~ factor) }}
    {%- endif -%}
    {{ return(read_as(value, candidate.present.data_type, type)) }}
{%- endmacro %}


{#- Two SQL expressions, `utc` and `local`: of each value, one of them is NULL.

    A value with an offset is an instant, and so is UTC, whatever the column's unit. A value without
    one is what the column's unit says. In a column of the kind `instant` (docs/values.md) every value
    had an offset, and is stored in UTC. -#}
{% macro read_time(value, column, unit) -%}
    {%- set read = read_as(value, column.data_type, 'timestamp') -%}
    {%- if column.kind in ('instant', 'instant_ns') or unit == 'utc' -%}
        {{ return({'utc': read, 'local': 'null::timestamp'}) }}
    {%- elif column.data_type != 'VARCHAR' -%}
        {{ return({'utc': 'null::timestamp', 'local': read}) }}
    {%- endif -%}
    {{ return({
        'utc': "case when " ~ has_offset(value) ~ " then " ~ read ~ " end",
        'local': "case when not " ~ has_offset(value) ~ " then " ~ read ~ " end",
    }) }}
{%- endmacro %}


{#- An SQL expression: the date as written, without any conversion.

    A column of the kind `instant` lost its offsets when an earlier version of cp-pipeline loaded it.
    Of its values only midnight in UTC has a certain date; the others are unreadable until the data
    set is loaded again (`cp-pipeline rebuild`). -#}
{% macro read_date(value, column) -%}
    {%- if column.data_type == 'VARCHAR' -%}
        {{ return(
            "case when regexp_matches(trim(" ~ value ~ "), '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?$')"
            " then try_cast(trim(" ~ value ~ ")[1:10] as date) end"
        ) }}
    {%- elif column.kind in ('instant', 'instant_ns') -%}
        {{ return(
            "case when " ~ value ~ "::timestamp = " ~ value ~ "::date then " ~ value ~ "::date end"
        ) }}
    {%- endif -%}
    {{ return('try_cast(' ~ value ~ ' as date)') }}
{%- endmacro %}


{#- The data sets of a family: for each name, its columns by lower-case name, with their type and
    kind (docs/values.md). Newest version last. -#}
{% macro versions_of(family) -%}
    {%- set versions = {} -%}
    {%- if execute -%}
        {%- set kinds = load_relation(source('lineage', 'column_types')) -%}
        {%- set found = run_query(
            "select columns.table_name, columns.column_name, columns.data_type, kinds.kind"
            " from duckdb_columns() as columns left join ("
            ~ ("select lower(dataset_name) as dataset, lower(column_name) as name,"
               " arg_max(kind, revision) as kind from lineage.column_types group by all"
               if kinds else "select null as dataset, null as name, null as kind where false") ~
            ") as kinds on lower(columns.table_name) = kinds.dataset"
            " and lower(columns.column_name) = kinds.name"
            " where database_name = current_database() and schema_name = 'exports'"
            " and " ~ is_of_family('columns.table_name', family) ~
            " order by " ~ version_in('columns.table_name') ~ " nulls first, table_name, column_index"
        ) -%}
        {%- for row in found.rows -%}
            {%- do versions.setdefault(row[0], {}).update(
                {row[1] | lower: {'name': row[1], 'data_type': row[2], 'kind': row[3]}}
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(versions) }}
{%- endmacro %}


{#- An SQL expression: the value of a column as a type, or NULL if it cannot be read as that type.

    A column with unusual values is text in the warehouse (docs/values.md). This macro reads such
    text with care. It applies a time zone offset, which DuckDB's cast to TIMESTAMP ignores. It does
    not accept `NaN` and `inf` as numbers, or `infinity` as a time, because one of them would make every sum useless. It does
    not accept 1.5 as a whole number, which DuckDB would round to 2. -#}
{% macro read_as(value, present_type, type) -%}
    {%- if not may_be_unreadable(present_type, type) -%}
        try_cast({{ value }} as {{ type }})
    {%- elif type.startswith('timestamp') -%}
        case
            when {{ has_offset(value) }}
                then make_timestamp(epoch_us(try_cast({{ value }} as timestamptz)))
            when isfinite(try_cast({{ value }} as {{ type }})) then try_cast({{ value }} as {{ type }})
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


{#- A SQL condition: the text of a time ends with an offset from UTC. -#}
{% macro has_offset(value) -%}
    regexp_matches(trim({{ value }}), ':[0-9]{2}([.][0-9]+)? ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$')
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
