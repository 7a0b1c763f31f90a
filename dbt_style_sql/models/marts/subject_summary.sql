-- One row per study and subject: see subject_summary.yml.
with

export_files as (

    select * from {{ lineage_rows('export_files') }}

),

current_loads as (

    select * from {{ lineage_rows('current_loads') }}

),

days as (

    select * from {{ ref('subject_days') }}

),

subjects as (

    select
        study_id,
        subject_id
    from export_files
    union distinct
    select
        study_id,
        subject_id
    from current_loads
    union distinct
    select
        study_id,
        subject_id
    from days

),

valid_days as (

    select *
    from days
    where is_valid_day

),

counted as (

    select
        study_id,
        subject_id,
        count(*) as days,
        min(date) as first_date,
        max(date) as last_date
    from days
    group by study_id, subject_id

),

averaged as (

    select
        study_id,
        subject_id,
        count(*) as valid_days,
        avg(wear_minutes) as mean_wear_minutes,
        avg(sleep_minutes) as mean_sleep_minutes,
        avg(sedentary_minutes) as mean_sedentary_minutes,
        avg(light_minutes) as mean_light_minutes,
        avg(moderate_minutes) as mean_moderate_minutes,
        avg(vigorous_minutes) as mean_vigorous_minutes,
        avg(moderate_to_vigorous_minutes) as mean_moderate_to_vigorous_minutes,
        avg(steps) as mean_steps,
        avg(kilocalories) as mean_kilocalories
    from valid_days
    group by study_id, subject_id

)

select
    subjects.study_id,
    subjects.subject_id,

    -- how many days the means come from
    counted.first_date,
    counted.last_date,
    coalesce(counted.days, 0) as days,
    coalesce(averaged.valid_days, 0) as valid_days,
    coalesce(averaged.valid_days, 0) >= {{ var('enough_valid_days') }} as has_enough_valid_days,

    -- means over valid days
    averaged.mean_wear_minutes,
    averaged.mean_sleep_minutes,
    averaged.mean_sedentary_minutes,
    averaged.mean_light_minutes,
    averaged.mean_moderate_minutes,
    averaged.mean_vigorous_minutes,
    averaged.mean_moderate_to_vigorous_minutes,
    averaged.mean_steps,
    averaged.mean_kilocalories
from subjects
left join counted
    on subjects.study_id = counted.study_id and subjects.subject_id = counted.subject_id
left join averaged
    on subjects.study_id = averaged.study_id and subjects.subject_id = averaged.subject_id
