-- One row per load and day: see load_days.yml.
with

loads as (

    select * from {{ lineage_rows('loads') }}

),

new_loads as (

    select *
    from loads
    where first_timestamp is not null
    {% if is_incremental() %}
        and load_id not in (select known.load_id from {{ this }} as known)
    {% endif %}

),

days as (

    {{ rows_per_day('new_loads') }}

)

select
    new_loads.load_id,
    new_loads.study_id,
    new_loads.subject_id,
    new_loads.dataset_name,
    new_loads.study_program_id,
    days.date,
    days.row_count,
    new_loads.loaded_at
from new_loads
inner join days on new_loads.load_id = days.load_id
where days.date is not null
