-- One row per subject, series and export: see chosen_programs.yml.
with

current_loads as (

    select * from {{ lineage_rows('current_loads') }}

),

exports as (

    select
        loads.study_id,
        loads.subject_id,
        case
            when {{ is_of_family('loads.dataset_name', 'ActivityDaily') }} then 'ActivityDaily'
            else 'ActivityEpochs'
        end as series,
        loads.dataset_name,
        loads.study_program_id,
        programs.study_program_name,
        versions.study_version,
        {{ version_in('loads.dataset_name') }} as dataset_version,
        loads.program_execution,
        loads.load_id,
        loads.row_count,
        {{ place_among_preferred(['loads.study_program_id', 'programs.study_program_name',
            'loads.dataset_name']) }} as preference
    from current_loads as loads
    left join {{ program_names() }} as programs
        on
            loads.study_id = programs.study_id
            and lower(loads.study_program_id) = programs.study_program_id
    left join {{ study_versions() }} as versions on loads.load_id = versions.load_id
    where
        {{ is_of_family('loads.dataset_name', 'ActivityDaily') }}
        or {{ is_of_family('loads.dataset_name', 'ActivityEpochs') }}

),

-- Never by the time of an execution: then executing an old program again would change the choice.
ranked as (

    select
        *,
        row_number() over (
            partition by study_id, subject_id, series
            order by
                (coalesce(row_count, 1) > 0) desc,
                preference asc nulls last,
                study_version desc nulls last,
                dataset_version desc nulls last,
                {{ version_in('study_program_name') }} desc nulls last,
                study_program_id asc,
                dataset_name asc,
                load_id desc
        ) as rank
    from exports

)

select
    ranked.study_id,
    ranked.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,
    ranked.series,
    ranked.dataset_name,
    ranked.study_program_id,
    ranked.study_program_name,
    ranked.study_version,
    ranked.dataset_version,
    ranked.program_execution,
    ranked.load_id,
    ranked.row_count,
    ranked.rank,
    ranked.rank = 1 as is_chosen,
    case
        when ranked.preference is not null then 'preferred'
        when another.load_id is null then 'the only one'
        when coalesce(ranked.study_version, -1) != coalesce(another.study_version, -1)
            then 'study version'
        when coalesce(ranked.dataset_version, -1) != coalesce(another.dataset_version, -1)
            then 'data set version'
        else 'program'
    end as compared_by
from ranked
left join ranked as another
    on
        ranked.study_id = another.study_id
        and ranked.subject_id = another.subject_id
        and ranked.series = another.series
        and another.rank = case when ranked.rank = 1 then 2 else 1 end
left join {{ subject_details() }} as details
    on ranked.study_id = details.study_id and ranked.subject_id = details.subject_id
