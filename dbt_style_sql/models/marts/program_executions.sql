-- One row per load: see program_executions.yml.
with

loads as (

    select * from {{ lineage_rows('loads') }}

),

programs as (

    select * from {{ study_rows('programs') }}

),

-- Ordered by execution, not by load: an older execution may be loaded later.
of_one_program as (

    select
        *,
        lag(load_id) over executions as own_previous
    from loads
    window executions as (
        partition by study_id, subject_id, dataset_name, study_program_id
        order by program_executed_at, load_id
    )

),

-- A new version of a program has a new id and the same name. Two programs of one name may also run
-- side by side: then their executions are of one day, and neither replaces the other.
of_the_version_before as (

    select
        firsts.load_id,
        arg_max(earlier.load_id, (earlier.program_executed_at, earlier.load_id)) as load_before
    from of_one_program as firsts
    inner join programs
        on
            firsts.study_id = programs.study_id
            and firsts.study_program_id = programs.study_program_id
    inner join programs as versions
        on
            programs.study_id = versions.study_id
            and programs.study_program_name = versions.study_program_name
            and programs.study_program_id != versions.study_program_id
    inner join loads as earlier
        on
            versions.study_id = earlier.study_id
            and versions.study_program_id = earlier.study_program_id
            and firsts.subject_id = earlier.subject_id
            and firsts.dataset_name = earlier.dataset_name
            and firsts.program_executed_at::timestamp
            > earlier.program_executed_at::timestamp + to_days(1)
    anti join loads as later
        on
            earlier.study_id = later.study_id
            and earlier.subject_id = later.subject_id
            and earlier.dataset_name = later.dataset_name
            and earlier.study_program_id = later.study_program_id
            and firsts.program_executed_at::timestamp
            <= later.program_executed_at::timestamp + to_days(1)
    where firsts.own_previous is null
    group by firsts.load_id

),

in_order as (

    select
        of_one_program.*,
        previous.load_id as previous_load_id,
        previous.study_program_id as previous_study_program_id,
        previous.program_execution as previous_program_execution,
        previous.program_executed_at as previous_program_executed_at,
        previous.row_count as previous_row_count,
        previous.column_names as previous_column_names
    from of_one_program
    left join of_the_version_before
        on of_one_program.load_id = of_the_version_before.load_id
    left join loads as previous
        on
            coalesce(of_one_program.own_previous, of_the_version_before.load_before)
            = previous.load_id

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
    to_compare.previous_study_program_id,
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
