-- One row per load: see program_executions.yml.
with

loads as (

    select * from {{ lineage_rows('loads') }}

),

-- Ordered by execution, not by load: an older execution may be loaded later.
in_order as (

    select
        *,
        lag(load_id) over executions as previous_load_id,
        lag(program_execution) over executions as previous_program_execution,
        lag(program_executed_at) over executions as previous_program_executed_at,
        lag(row_count) over executions as previous_row_count,
        lag(column_names) over executions as previous_column_names
    from loads
    window executions as (
        partition by study_id, subject_id, dataset_name, study_program_id
        order by program_executed_at, load_id
    )

),

-- Loads that were never compared, and loads whose previous execution was loaded after the
-- comparison. Not loads whose previous load was compacted: their comparison is already stored.
new_or_changed as (

    select in_order.*
    from in_order
    {% if is_incremental() %}
        left join {{ this }} as compared on in_order.load_id = compared.load_id
        where
            compared.load_id is null
            or (
                in_order.previous_load_id is not null
                and (
                    compared.previous_load_id is null
                    or (in_order.previous_program_executed_at, in_order.previous_load_id)
                    > (compared.previous_program_executed_at, compared.previous_load_id)
                )
            )
    {% endif %}

),

columns_that_came as (

    {{ names_not_in('new_or_changed', 'column_names', 'previous_column_names') }}

),

columns_that_went as (

    {{ names_not_in('new_or_changed', 'previous_column_names', 'column_names') }}

),

to_compare as (

    select
        new_or_changed.*,
        coalesce(columns_that_came.names, []) as columns_added,
        coalesce(columns_that_went.names, []) as columns_removed
    from new_or_changed
    left join columns_that_came on new_or_changed.load_id = columns_that_came.load_id
    left join columns_that_went on new_or_changed.load_id = columns_that_went.load_id

),

changes as (

    {{ compare_loads('to_compare') }}

)

select
    -- the export
    to_compare.load_id,
    to_compare.study_id,
    to_compare.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,
    to_compare.dataset_name,
    to_compare.study_program_id,
    programs.study_program_name,

    -- its execution, and the previous one
    to_compare.program_execution,
    to_compare.program_executed_at,
    to_compare.loaded_at,
    to_compare.previous_load_id,
    to_compare.previous_program_execution,
    to_compare.previous_program_executed_at,

    -- what changed
    to_compare.row_count,
    to_compare.previous_row_count,
    case
        when to_compare.previous_load_id is null then to_compare.row_count
        else coalesce(changes.rows_added, 0)
    end as rows_added,
    coalesce(changes.rows_removed, 0) as rows_removed,
    case
        when to_compare.time_column is null then null
        else coalesce(changes.rows_changed, 0)
    end as rows_changed,
    to_compare.columns_added,
    to_compare.columns_removed
from to_compare
left join changes on to_compare.load_id = changes.load_id
left join {{ subject_details() }} as details
    on to_compare.study_id = details.study_id and to_compare.subject_id = details.subject_id
left join {{ program_names() }} as programs
    on
        to_compare.study_id = programs.study_id
        and lower(to_compare.study_program_id) = programs.study_program_id
