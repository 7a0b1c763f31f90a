-- One row per subject and data set: see study_coverage.yml.
with

partitions as (

    select * from {{ lineage_rows('partition_status') }}

),

loads as (

    select * from {{ lineage_rows('loads') }}

),

current_loads as (

    select * from {{ lineage_rows('current_loads') }}

),

export_files as (

    select * from {{ lineage_rows('export_files') }}

),

load_days as (

    select * from {{ ref('load_days') }}

),

studies as (

    select
        subject_id,
        study_id
    from export_files
    union distinct
    select
        subject_id,
        study_id
    from loads

),

executions as (

    select
        subject_id,
        dataset_name,
        count(*) as loads,
        count(distinct row(study_program_id, program_execution)) as executions
    from loads
    group by subject_id, dataset_name

),

times as (

    select
        subject_id,
        dataset_name,
        min(first_timestamp) as first_timestamp,
        max(last_timestamp) as last_timestamp,
        list_sort(list(distinct study_program_id)) as study_program_ids,
        list_sort(list(distinct program_execution)) as program_executions,
        list_sort(list(distinct load_id)) as load_ids
    from current_loads
    group by subject_id, dataset_name

),

days as (

    select
        current_loads.subject_id,
        current_loads.dataset_name,
        count(distinct load_days.date) as days_covered,
        min(load_days.date)::timestamp as first_day,
        max(load_days.date)::timestamp as last_day
    from current_loads
    inner join load_days on current_loads.load_id = load_days.load_id
    group by current_loads.subject_id, current_loads.dataset_name

)

select
    studies.study_id,
    partitions.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,
    partitions.dataset_name,
    partitions.state,
    coalesce(executions.executions, 0) as executions,
    coalesce(executions.loads, 0) as loads,
    partitions.row_count,
    -- A data set whose times are text has days, but no first and last time in lineage.
    coalesce(times.first_timestamp, days.first_day) as first_timestamp,
    coalesce(times.last_timestamp, days.last_day) as last_timestamp,
    coalesce(days.days_covered, 0) as days_covered,
    times.study_program_ids,
    (
        select list_sort(list(distinct programs.study_program_name))
        from {{ program_names() }} as programs
        where list_contains(times.study_program_ids, programs.study_program_id)
    ) as study_program_names,
    times.program_executions,
    times.load_ids
from partitions
left join studies on partitions.subject_id = studies.subject_id
left join executions
    on
        partitions.subject_id = executions.subject_id
        and partitions.dataset_name = executions.dataset_name
left join times
    on
        partitions.subject_id = times.subject_id
        and partitions.dataset_name = times.dataset_name
left join days
    on
        partitions.subject_id = days.subject_id
        and partitions.dataset_name = days.dataset_name
left join {{ subject_details() }} as details
    on studies.study_id = details.study_id and partitions.subject_id = details.subject_id
