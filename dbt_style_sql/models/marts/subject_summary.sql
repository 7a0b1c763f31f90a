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

counted as (

    select
        study_id,
        subject_id,
        count(*) as days,
        count(*) filter (where is_valid_day is null) as unknown_days,
        count(*) filter (where is_valid_day is null and isodow(date) >= 6) as unknown_weekend_days,
        min(date) as first_date,
        max(date) as last_date
    from days
    group by study_id, subject_id

),

averaged as (

    select
        days.study_id,
        days.subject_id,
        count(*) as valid_days,
        count(*) filter (where isodow(days.date) >= 6) as valid_weekend_days,
        {%- for measure in averaged_measures() %}
            {{ exact_mean('days.' ~ measure) }} as mean_{{ measure }},
            count({{ exact('days.' ~ measure) }}) as n_{{ measure }},
        {%- endfor %}
        {{ origins() }}
    from days
    where days.is_valid_day
    group by days.study_id, days.subject_id

)

select
    subjects.study_id,
    subjects.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,

    -- how many days the means come from
    counted.first_date,
    counted.last_date,
    coalesce(counted.days, 0) as days,
    coalesce(averaged.valid_days, 0) as valid_days,
    coalesce(averaged.valid_weekend_days, 0) as valid_weekend_days,
    coalesce(counted.unknown_days, 0) as unknown_days,
    {{ enough('coalesce(averaged.valid_days, 0)', 'coalesce(counted.unknown_days, 0)',
        var('enough_valid_days')) }}
    and {{ enough('coalesce(averaged.valid_weekend_days, 0)',
        'coalesce(counted.unknown_weekend_days, 0)', var('enough_valid_weekend_days')) }}
        as has_enough_valid_days,

    -- means over all valid days, whatever the visit
    {%- for measure in averaged_measures() %}
        averaged.mean_{{ measure }} as overall_mean_{{ measure }},
        coalesce(averaged.n_{{ measure }}, 0) as overall_n_{{ measure }},
    {%- endfor %}

    -- where they come from
    {%- for name in origin_names() %}
        averaged.{{ name }},
    {%- endfor %}
    averaged.load_ids
from subjects
left join counted
    on subjects.study_id = counted.study_id and subjects.subject_id = counted.subject_id
left join averaged
    on subjects.study_id = averaged.study_id and subjects.subject_id = averaged.subject_id
left join {{ subject_details() }} as details
    on subjects.study_id = details.study_id and subjects.subject_id = details.subject_id
