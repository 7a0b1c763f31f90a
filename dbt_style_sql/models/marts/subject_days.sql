-- One row per study, subject and local day: see subject_days.yml.
with

chosen as (

    select * from {{ ref('chosen_programs') }}
    where is_chosen

),

-- The measures for which a data set has a column. `worn` of an epoch is wear.
mapped as (

    select
        dataset_name,
        list(
            case measure
                when 'worn' then 'wear_minutes' when 'awake_worn' then 'awake_wear_minutes'
                else measure
            end
        ) as known_measures
    from {{ ref('measure_columns') }}
    where is_mapped
    group by dataset_name

),

summaries as (

    select
        daily.study_id,
        daily.subject_id,
        daily.date,
        'daily summary' as measured_by,
        'as_written' as own_basis,
        daily.load_id,
        daily.wear_minutes,
        daily.awake_wear_minutes,
        daily.sleep_minutes,
        daily.sedentary_minutes,
        daily.light_minutes,
        daily.moderate_minutes,
        daily.vigorous_minutes,
        coalesce(
            daily.moderate_to_vigorous_minutes, daily.moderate_minutes + daily.vigorous_minutes
        )
            as moderate_to_vigorous_minutes,
        daily.steps,
        daily.mean_met,
        daily.kilocalories,
        null::double as epoch_seconds,
        null::double as covered_minutes,
        null::double as wear_known_share,
        null::double as awake_wear_known_share,
        null::double as effort_known_share,
        null::double as steps_known_share,
        null::double as kilocalories_known_share
    from {{ ref('activity_daily') }} as daily
    inner join chosen on daily.load_id = chosen.load_id
    where daily.date is not null
    -- A load has one row for each day; if a file repeats one, take the same row each time.
    qualify
        row_number() over (
            partition by daily.load_id, daily.date
            order by daily.wear_minutes desc nulls last, daily.steps desc nulls last
        ) = 1

),

of_epochs as (

    select
        days.study_id,
        days.subject_id,
        days.date,
        'epochs' as measured_by,
        case when days.is_of_local_times then 'local_times' end as own_basis,
        days.load_id,
        days.wear_minutes,
        days.awake_wear_minutes,
        null::double as sleep_minutes,
        null::double as sedentary_minutes,
        days.light_minutes,
        days.moderate_minutes,
        days.vigorous_minutes,
        days.moderate_to_vigorous_minutes,
        days.steps,
        days.mean_met,
        days.kilocalories,
        days.epoch_seconds,
        days.covered_minutes,
        days.wear_known_share,
        days.awake_wear_known_share,
        days.effort_known_share,
        days.steps_known_share,
        days.kilocalories_known_share
    from {{ ref('epoch_days') }} as days
    inner join chosen on days.load_id = chosen.load_id
    -- A file may have both times in UTC and local ones.
    qualify
        row_number() over (
            partition by days.load_id, days.date
            order by days.epochs desc, days.is_of_local_times asc
        ) = 1

),

dates as (

    select
        study_id,
        subject_id,
        date
    from summaries
    union distinct
    select
        study_id,
        subject_id,
        date
    from of_epochs

),

lengths as (

    {{ day_lengths('dates') }}

),

-- Epochs never fill hours that a summary covers. If the time zone is not known, a summary's day may
-- begin or end on the day before or after.
not_covered as (

    select of_epochs.*
    from of_epochs
    left join lengths
        on
            of_epochs.study_id = lengths.study_id
            and of_epochs.subject_id = lengths.subject_id
            and of_epochs.date = lengths.date
    where
        not exists (
            select 1
            from summaries
            where
                summaries.study_id = of_epochs.study_id
                and summaries.subject_id = of_epochs.subject_id
                and summaries.date between
                of_epochs.date - (of_epochs.own_basis is null and lengths.day_basis = 'utc')::int
                and of_epochs.date
                + (of_epochs.own_basis is null and lengths.day_basis = 'utc')::int
        )

),

measured as (

    select * from summaries
    union all
    select * from not_covered

),

ruled as (

    select
        {{ rule_columns() }},
        measured.*
    from measured
    inner join chosen on measured.load_id = chosen.load_id
    left join mapped on chosen.dataset_name = mapped.dataset_name

)

select
    ruled.study_id,
    ruled.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    ruled.date,
    lengths.timezone,
    coalesce(ruled.own_basis, lengths.day_basis) as day_basis,
    lengths.day_minutes::double as day_minutes,

    -- whether the day counts
    {{ combined_validity() }} as is_valid_day,
    {{ combined_reason() }} as validity_reason,
    ruled.is_valid_waking_wear,
    ruled.is_valid_wear_24h,

    -- what was measured
    ruled.wear_minutes::double as wear_minutes,
    ruled.awake_wear_minutes::double as awake_wear_minutes,
    ruled.sleep_minutes::double as sleep_minutes,
    ruled.sedentary_minutes::double as sedentary_minutes,
    ruled.light_minutes::double as light_minutes,
    ruled.moderate_minutes::double as moderate_minutes,
    ruled.vigorous_minutes::double as vigorous_minutes,
    ruled.moderate_to_vigorous_minutes::double as moderate_to_vigorous_minutes,
    ruled.steps::double as steps,
    ruled.mean_met::double as mean_met,
    ruled.kilocalories::double as kilocalories,

    -- how much of it is known
    ruled.epoch_seconds,
    ruled.covered_minutes,
    ruled.wear_known_share,
    ruled.awake_wear_known_share,
    ruled.effort_known_share,
    ruled.steps_known_share,
    ruled.kilocalories_known_share,

    -- where it comes from
    ruled.measured_by,
    chosen.dataset_name,
    chosen.study_program_id,
    chosen.study_program_name,
    chosen.study_version,
    chosen.program_execution,
    ruled.load_id
from ruled
inner join chosen on ruled.load_id = chosen.load_id
left join lengths
    on
        ruled.study_id = lengths.study_id
        and ruled.subject_id = lengths.subject_id
        and ruled.date = lengths.date
left join {{ subject_details() }} as details
    on ruled.study_id = details.study_id and ruled.subject_id = details.subject_id
