-- One row per load, day and day_basis: see load_days.yml.
with

loads as (

    select
        loads.*,
        coalesce(offsets.offsets, '') as made_with
    from {{ lineage_rows('loads') }} as loads
    left join {{ offsets_by_subject() }} as offsets
        on loads.study_id = offsets.study_id and loads.subject_id = offsets.subject_id

),

new_loads as (

    select *
    from loads
    {% if is_incremental() %}
        where load_id not in (select known.load_id from {{ this }} as known)
    {% endif %}

),

days as (

    {{ rows_per_day('new_loads') }}

)

select
    new_loads.load_id,
    new_loads.study_id,
    new_loads.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,
    new_loads.dataset_name,
    new_loads.study_program_id,
    programs.study_program_name,
    new_loads.program_execution,
    days.date,
    days.day_basis,
    sum(days.row_count)::bigint as row_count,
    new_loads.loaded_at,
    new_loads.made_with
from new_loads
inner join days on new_loads.load_id = days.load_id
left join {{ subject_details() }} as details
    on new_loads.study_id = details.study_id and new_loads.subject_id = details.subject_id
left join {{ program_names() }} as programs
    on
        new_loads.study_id = programs.study_id
        and lower(new_loads.study_program_id) = programs.study_program_id
where days.date is not null
group by all
