-- One row per study, subject and visit: see subject_visits.yml.
with

days as (

    select * from {{ ref('subject_days') }}

),

subjects as (

    select
        summary.study_id,
        summary.subject_id,
        summary.subject_identifier,
        summary.site_identifier,
        summary.wear_position,
        summary.timezone
    from {{ ref('subject_summary') }} as summary

),

planned_visits as (

    select distinct on (study_id, study_planned_visit_id)
        study_id,
        study_planned_visit_id,
        visit_name,
        planned_wear_period_duration,
        minimum_visit_wear_period_compliance
    from {{ study_rows('planned_visits') }}
    order by study_id asc, study_planned_visit_id asc, visit_name asc

),

of_centrepoint as (

    select
        visits.study_id,
        visits.subject_id,
        visits.actual_visit_id,
        coalesce(visits.visit_name, planned.visit_name) as visit_name,
        visits.visit_date::date as visit_date,
        visits.wear_period_start_date::date as wear_start,
        visits.wear_period_end_date::date as wear_end,
        'study.visits' as window_source,
        planned.planned_wear_period_duration as planned_days,
        planned.minimum_visit_wear_period_compliance as minimum_days
    from {{ study_rows('visits') }} as visits
    left join planned_visits as planned
        on visits.study_id = planned.study_id and visits.visit_id = planned.study_planned_visit_id

),

of_the_file as (

    select
        names.study_id,
        names.subject_id,
        null::bigint as actual_visit_id,
        file.visit as visit_name,
        null::date as visit_date,
        file.wear_start,
        file.wear_end,
        'visits.csv' as window_source,
        coalesce(file.planned_days, file.wear_end - file.wear_start + 1)::integer as planned_days,
        coalesce(file.minimum_days, {{ var('enough_valid_days') }})::integer as minimum_days
    from {{ visits_file() }} as file
    inner join {{ subject_names('subjects') }} as names on file.subject_identifier = names.name
    -- CentrePoint's own visits of a subject come first.
    where
        names.subject_id not in (
            select of_centrepoint.subject_id
            from of_centrepoint
            where of_centrepoint.wear_start is not null
        )

),

visits as (

    select of_centrepoint.*
    from of_centrepoint
    where
        of_centrepoint.subject_id not in (select of_the_file.subject_id from of_the_file)
    union all
    select of_the_file.* from of_the_file

),

numbered as (

    select
        *,
        row_number() over (
            order by
                study_id,
                subject_id,
                wear_start nulls last,
                visit_name,
                actual_visit_id
        ) as number
    from visits

),

counted as (

    select
        numbered.number,
        count(*) as days,
        count(*) filter (where days.is_valid_day) as valid_days,
        count(*) filter (where days.is_valid_day and isodow(days.date) >= 6) as valid_weekend_days,
        count(*) filter (where days.is_valid_day is null) as unknown_days
    from numbered
    inner join days
        on
            numbered.study_id = days.study_id
            and numbered.subject_id = days.subject_id
            and days.date between numbered.wear_start and numbered.wear_end
    group by numbered.number

),

averaged as (

    select
        numbered.number,
        {%- for measure in averaged_measures() %}
            {{ exact_mean('days.' ~ measure) }} as mean_{{ measure }},
            count({{ exact('days.' ~ measure) }}) as n_{{ measure }},
        {%- endfor %}
        {{ origins() }}
    from numbered
    inner join days
        on
            numbered.study_id = days.study_id
            and numbered.subject_id = days.subject_id
            and days.date between numbered.wear_start and numbered.wear_end
    where days.is_valid_day
    group by numbered.number

)

select
    numbered.study_id,
    numbered.subject_id,
    subjects.subject_identifier,
    subjects.site_identifier,
    subjects.wear_position,
    subjects.timezone,
    numbered.visit_name,
    numbered.actual_visit_id,
    numbered.visit_date,

    -- its days
    numbered.wear_start,
    numbered.wear_end,
    numbered.window_source,
    numbered.planned_days,
    coalesce(counted.days, 0) as days,
    case when numbered.wear_start is not null then coalesce(counted.valid_days, 0) end
        as valid_days,
    case when numbered.wear_start is not null then coalesce(counted.valid_weekend_days, 0) end
        as valid_weekend_days,
    coalesce(counted.unknown_days, 0) as unknown_days,
    numbered.minimum_days,
    case
        when numbered.wear_start is not null and numbered.minimum_days is not null
            then
                {{ enough('coalesce(counted.valid_days, 0)',
                    'coalesce(counted.unknown_days, 0)',
                    'numbered.minimum_days') }}
    end as is_compliant,

    -- means over its valid days
    {%- for measure in averaged_measures() %}
        averaged.mean_{{ measure }},
        coalesce(averaged.n_{{ measure }}, 0) as n_{{ measure }},
    {%- endfor %}

    -- where they come from
    {%- for name in origin_names() %}
        averaged.{{ name }},
    {%- endfor %}
    averaged.load_ids
from numbered
left join counted on numbered.number = counted.number
left join averaged on numbered.number = averaged.number
left join subjects
    on numbered.study_id = subjects.study_id and numbered.subject_id = subjects.subject_id
