-- One row per study, subject and day: see subject_days.yml.
with

daily as (

    select * from {{ ref('activity_daily') }}

),

epochs as (

    select * from {{ ref('activity_epochs') }}

),

summaries as (

    select
        study_id,
        subject_id,
        date,
        'daily summary' as measured_by,
        dataset_name,
        study_program_id,
        program_execution,
        program_executed_at,
        load_id,
        wear_minutes,
        sleep_minutes,
        sedentary_minutes,
        light_minutes,
        moderate_minutes,
        vigorous_minutes,
        coalesce(moderate_to_vigorous_minutes, moderate_minutes + vigorous_minutes)
            as moderate_to_vigorous_minutes,
        steps,
        mean_met,
        kilocalories
    from daily
    where date is not null

),

-- Only days without a summary, because there are many epochs.
epochs_to_sum as (

    select distinct on (epochs.load_id, epochs.timestamp_utc)
        epochs.*,
        epochs.timestamp_utc::date as date
    from epochs
    left join summaries
        on
            epochs.study_id = summaries.study_id
            and epochs.subject_id = summaries.subject_id
            and epochs.timestamp_utc::date = summaries.date
            and summaries.wear_minutes is not null
    where epochs.timestamp_utc is not null and summaries.load_id is null
    order by
        epochs.load_id asc,
        epochs.timestamp_utc asc,
        epochs.met desc nulls last,
        epochs.steps desc nulls last,
        epochs.kilocalories desc nulls last

),

distances as (

    select
        load_id,
        date_diff(
            'second',
            lag(timestamp_utc) over (partition by load_id order by timestamp_utc),
            timestamp_utc
        ) / 60 as minutes
    from epochs_to_sum

),

-- The length of an epoch is the most frequent distance between two epochs of its load.
lengths as (

    select
        load_id,
        mode(minutes) as epoch_minutes
    from distances
    where minutes > 0
    group by load_id

),

counted as (

    select
        study_id,
        subject_id,
        date,
        dataset_name,
        study_program_id,
        program_execution,
        program_executed_at,
        load_id,
        count(coalesce(met, steps)) as worn,
        count(met) as of_known_effort,
        count(*) filter (
            where met > {{ var('light_above_met') }} and met < {{ var('moderate_from_met') }}
        ) as light,
        count(*) filter (
            where met >= {{ var('moderate_from_met') }} and met < {{ var('vigorous_from_met') }}
        ) as moderate,
        count(*) filter (where met >= {{ var('vigorous_from_met') }}) as vigorous,
        sum(steps) as steps,
        avg(met) as mean_met,
        sum(kilocalories) as kilocalories
    from epochs_to_sum
    group by all

),

-- Effort does not separate sleep from sitting. Without effort, no level of activity is known.
sums as (

    select
        counted.study_id,
        counted.subject_id,
        counted.date,
        'epochs' as measured_by,
        counted.dataset_name,
        counted.study_program_id,
        counted.program_execution,
        counted.program_executed_at,
        counted.load_id,
        counted.worn * lengths.epoch_minutes as wear_minutes,
        null as sleep_minutes,
        null as sedentary_minutes,
        case when counted.of_known_effort > 0 then counted.light * lengths.epoch_minutes end
            as light_minutes,
        case when counted.of_known_effort > 0 then counted.moderate * lengths.epoch_minutes end
            as moderate_minutes,
        case when counted.of_known_effort > 0 then counted.vigorous * lengths.epoch_minutes end
            as vigorous_minutes,
        case
            when counted.of_known_effort > 0
                then (counted.moderate + counted.vigorous) * lengths.epoch_minutes
        end as moderate_to_vigorous_minutes,
        counted.steps,
        counted.mean_met,
        counted.kilocalories
    from counted
    left join lengths on counted.load_id = lengths.load_id

),

measured as (

    select * from summaries
    union all by name
    select * from sums

),

-- One row per day. Prefer known wear, then the program's daily summary over our sum of epochs, then
-- the newest execution.
chosen as (

    select *
    from measured
    qualify
        row_number() over (
            partition by study_id, subject_id, date
            order by
                (wear_minutes is not null) desc,
                (measured_by = 'daily summary') desc,
                program_executed_at desc,
                load_id desc,
                wear_minutes desc nulls last,
                steps desc nulls last
        ) = 1

)

select
    study_id,
    subject_id,
    date,

    -- whether the day counts
    coalesce(wear_minutes >= {{ var('valid_day_wear_minutes') }}, false) as is_valid_day,

    -- what was measured
    wear_minutes::double as wear_minutes,
    sleep_minutes::double as sleep_minutes,
    sedentary_minutes::double as sedentary_minutes,
    light_minutes::double as light_minutes,
    moderate_minutes::double as moderate_minutes,
    vigorous_minutes::double as vigorous_minutes,
    moderate_to_vigorous_minutes::double as moderate_to_vigorous_minutes,
    steps::double as steps,
    mean_met::double as mean_met,
    kilocalories::double as kilocalories,

    -- where it comes from
    measured_by,
    dataset_name,
    study_program_id,
    program_execution,
    load_id
from chosen
