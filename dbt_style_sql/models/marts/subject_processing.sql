-- One row per subject and study program: see subject_processing.yml.
with

executions as (

    select
        *,
        make_timestamp(epoch_us(try_cast(last_raw_upload as timestamptz))) as uploaded_at
    from {{ study_rows('executions') }}

),

program_datasets as (

    select * from {{ study_rows('program_datasets') }}

),

export_files as (

    select * from {{ lineage_rows('export_files') }}

),

current_loads as (

    select * from {{ lineage_rows('current_loads') }}

),

failures as (

    select distinct
        study_id,
        subject_id,
        study_program_id,
        dataset_name,
        program_executed_at
    from {{ lineage_rows('failures') }}

),

exports as (

    select
        listed.study_id,
        listed.subject_id,
        listed.study_program_id,
        listed.program_executed_at,
        coalesce(
            loaded.program_executed_at >= listed.program_executed_at, false
        ) as is_loaded,
        failures.dataset_name is not null as has_failed
    from export_files as listed
    left join current_loads as loaded
        on
            listed.study_id = loaded.study_id
            and listed.subject_id = loaded.subject_id
            and listed.study_program_id = loaded.study_program_id
            and listed.dataset_name = loaded.dataset_name
    left join failures
        on
            listed.study_id = failures.study_id
            and listed.subject_id = failures.subject_id
            and listed.study_program_id = failures.study_program_id
            and listed.dataset_name = failures.dataset_name
            and listed.program_executed_at = failures.program_executed_at

),

by_program as (

    select
        study_id,
        subject_id,
        study_program_id,
        max(program_executed_at) as listed_at,
        bool_and(is_loaded) as all_loaded,
        bool_or(has_failed and not is_loaded) as has_failed
    from exports
    group by study_id, subject_id, study_program_id

),

lacking as (

    select
        executions.study_id,
        executions.subject_id,
        executions.study_program_id,
        list(program_datasets.dataset_name order by program_datasets.dataset_name) as dataset_names
    from executions
    inner join program_datasets
        on
            executions.study_id = program_datasets.study_id
            and executions.study_program_id = program_datasets.study_program_id
    anti join current_loads
        on
            executions.study_id = current_loads.study_id
            and executions.subject_id = current_loads.subject_id
            and executions.study_program_id = current_loads.study_program_id
            and program_datasets.dataset_name = current_loads.dataset_name
    group by executions.study_id, executions.subject_id, executions.study_program_id

)

select
    -- the subject
    executions.study_id,
    executions.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,

    -- the study program
    executions.study_program_id,
    programs.study_program_name,

    -- what was done
    executions.last_raw_upload,
    executions.uploaded_at,
    executions.program_execution,
    executions.program_executed_at,

    -- what is to be done
    case
        when executions.program_executed_at is null and executions.last_raw_upload is null
            then 'never_uploaded'
        when executions.program_executed_at is null then 'uploaded_never_processed'
        when by_program.has_failed then 'failed'
        when executions.uploaded_at > executions.program_executed_at::timestamp
            then 'uploaded_since_processed'
        when by_program.listed_at is null then 'processed_no_file'
        when by_program.listed_at < executions.program_executed_at then 'pending'
        when by_program.all_loaded then 'loaded'
        else 'pending'
    end as state,
    coalesce(lacking.dataset_names, []) as datasets_lacking
from executions
left join {{ program_names() }} as programs
    on
        executions.study_id = programs.study_id
        and lower(executions.study_program_id) = programs.study_program_id
left join {{ subject_details() }} as details
    on executions.study_id = details.study_id and executions.subject_id = details.subject_id
left join by_program
    on
        executions.study_id = by_program.study_id
        and executions.subject_id = by_program.subject_id
        and executions.study_program_id = by_program.study_program_id
left join lacking
    on
        executions.study_id = lacking.study_id
        and executions.subject_id = lacking.subject_id
        and executions.study_program_id = lacking.study_program_id
