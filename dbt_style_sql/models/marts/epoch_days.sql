-- One row per load of epochs and local day: see epoch_days.yml.
with

new_loads as (

    select *
    from {{ epoch_loads() }}
    where
        {{ is_in_epoch_batch('load_id') }}
    {% if is_incremental() %}
        and load_id not in (select known.load_id from {{ this }} as known)
    {% endif %}

),

epochs as (

    select
        epochs.load_id,
        epochs.timestamp_utc,
        epochs.timestamp_local,
        coalesce(epochs.timestamp_utc, epochs.timestamp_local) as own_time,
        epochs.worn,
        epochs.awake_worn,
        epochs.met,
        epochs.steps,
        epochs.kilocalories
    from {{ ref('activity_epochs') }} as epochs
    where
        {{ is_in_epoch_batch('epochs.load_id') }}
        and epochs.load_id in (select new_loads.load_id from new_loads)

),

-- The length of an epoch is looked for on one day of each load, because sorting all epochs would
-- need memory for all of them.
own_days as (

    select
        load_id,
        own_time::date as own_date,
        count(*) as epochs
    from epochs
    where own_time is not null
    group by all

),

fullest_days as (

    select distinct on (load_id)
        load_id,
        own_date
    from own_days
    order by load_id asc, epochs desc, own_date asc

),

distances as (

    select
        epochs.load_id,
        date_diff(
            'millisecond',
            lag(epochs.own_time) over (
                partition by epochs.load_id
                order by epochs.own_time
            ),
            epochs.own_time
        ) / 1000 as seconds
    from epochs
    inner join fullest_days
        on
            epochs.load_id = fullest_days.load_id
            and epochs.own_time >= fullest_days.own_date::timestamp
            and epochs.own_time < (fullest_days.own_date + 1)::timestamp

),

counted_distances as (

    select
        load_id,
        seconds,
        count(*) as times
    from distances
    where seconds > 0
    group by all

),

lengths as (

    select distinct on (load_id)
        load_id,
        seconds as epoch_seconds
    from counted_distances
    order by load_id asc, times desc, seconds asc

),

loads as (

    select
        new_loads.*,
        lengths.epoch_seconds,
        lengths.epoch_seconds < {{ var('cut_point_seconds') }} as is_short
    from new_loads
    left join lengths on new_loads.load_id = lengths.load_id

),

-- Only loads that repeat a time need this: the others have one epoch for each time already.
without_repeats as (

    select epochs.*
    from epochs
    where
        epochs.load_id in (
            select loads.load_id from loads
            where loads.has_unique_times
        )
    union all by name
    (
        select distinct on (epochs.load_id, epochs.timestamp_utc, epochs.timestamp_local) epochs.*
        from epochs
        where
            epochs.load_id in (
                select loads.load_id from loads
                where not loads.has_unique_times
            )
        order by
            epochs.load_id asc,
            epochs.timestamp_utc asc,
            epochs.timestamp_local asc,
            epochs.met desc nulls last,
            epochs.steps desc nulls last,
            epochs.kilocalories desc nulls last,
            epochs.worn desc nulls last,
            epochs.awake_worn desc nulls last
    )

),

-- An epoch without any wear measures nothing, though it may have values.
dated as (

    select
        epochs.load_id,
        loads.epoch_seconds,
        loads.is_short,
        epochs.own_time,
        coalesce(
            epochs.timestamp_local, epochs.timestamp_utc + to_seconds(periods.offset_seconds)
        )::date as date,
        epochs.timestamp_utc is null as is_local,
        epochs.worn,
        epochs.awake_worn,
        coalesce(epochs.worn, 1) > 0 as measures,
        case when coalesce(epochs.worn, 1) > 0 then {{ exact('epochs.met') }} end as met,
        case when coalesce(epochs.worn, 1) > 0 then {{ exact('epochs.steps') }} end as steps,
        case when coalesce(epochs.worn, 1) > 0 then {{ exact('epochs.kilocalories') }} end
            as kilocalories
    from without_repeats as epochs
    inner join loads on epochs.load_id = loads.load_id
    left join {{ ref('subject_offsets') }} as periods
        on
            loads.study_id = periods.study_id
            and loads.subject_id = periods.subject_id
            and {{ in_period('epochs.timestamp_utc', 'periods') }}
    where epochs.own_time is not null

),

-- Cut points are for the mean of a minute.
by_minute as (

    select
        load_id,
        date,
        is_local,
        any_value(epoch_seconds) as epoch_seconds,
        count(*) as epochs,
        count(worn) as worn_known,
        sum({{ exact('worn') }}) as worn,
        count(awake_worn) as awake_worn_known,
        sum({{ exact('awake_worn') }}) as awake_worn,
        count(*) filter (where measures) as measuring,
        count(met) as met_known,
        sum(met) as met_sum,
        sum(met)::double / count(met) as met_mean,
        count(steps) as steps_known,
        sum(steps) as steps,
        count(kilocalories) as kilocalories_known,
        sum(kilocalories) as kilocalories
    from dated
    where is_short
    group by load_id, date, is_local, floor(epoch(own_time) / {{ var('cut_point_seconds') }})
    union all by name
    select
        load_id,
        date,
        is_local,
        epoch_seconds,
        1 as epochs,
        (worn is not null)::int as worn_known,
        {{ exact('worn') }} as worn,
        (awake_worn is not null)::int as awake_worn_known,
        {{ exact('awake_worn') }} as awake_worn,
        measures::int as measuring,
        (met is not null)::int as met_known,
        met as met_sum,
        met::double as met_mean,
        (steps is not null)::int as steps_known,
        steps,
        (kilocalories is not null)::int as kilocalories_known,
        kilocalories
    from dated
    where is_short is not true

),

by_day as (

    select
        load_id,
        date,
        is_local,
        any_value(epoch_seconds) as epoch_seconds,
        sum(epochs)::bigint as epochs,
        sum(measuring)::bigint as measuring,
        sum(worn_known) / sum(epochs) as wear_known_share,
        sum(worn)::double as worn,
        sum(awake_worn_known) / sum(epochs) as awake_wear_known_share,
        sum(awake_worn)::double as awake_worn,
        sum(met_known)::bigint as met_known,
        sum(met_known) filter (
            where met_mean > {{ var('light_above_met') }}
            and met_mean < {{ var('moderate_from_met') }}
        ) as light,
        sum(met_known) filter (
            where met_mean >= {{ var('moderate_from_met') }}
            and met_mean < {{ var('vigorous_from_met') }}
        ) as moderate,
        sum(met_known) filter (where met_mean >= {{ var('vigorous_from_met') }}) as vigorous,
        sum(met_sum)::double as met_sum,
        sum(steps_known)::bigint as steps_known,
        sum(steps)::double as steps,
        sum(kilocalories_known)::bigint as kilocalories_known,
        sum(kilocalories)::double as kilocalories
    from by_minute
    group by load_id, date, is_local

),

shares as (

    select
        *,
        met_known / nullif(measuring, 0) as effort_known_share,
        steps_known / nullif(measuring, 0) as steps_known_share,
        kilocalories_known / nullif(measuring, 0) as kilocalories_known_share,
        met_known / nullif(measuring, 0) >= {{ var('least_known_share') }} as is_effort_known
    from by_day

)

select
    loads.study_id,
    loads.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    details.timezone,
    shares.date,
    shares.is_local as is_of_local_times,

    -- how much of it is known
    shares.epochs,
    shares.epoch_seconds::double as epoch_seconds,
    (shares.epochs * shares.epoch_seconds / 60)::double as covered_minutes,
    shares.wear_known_share::double as wear_known_share,
    shares.awake_wear_known_share::double as awake_wear_known_share,
    shares.effort_known_share::double as effort_known_share,
    shares.steps_known_share::double as steps_known_share,
    shares.kilocalories_known_share::double as kilocalories_known_share,

    -- what was measured
    case
        when shares.wear_known_share >= {{ var('least_known_share') }}
            then shares.worn * shares.epoch_seconds / 60
    end as wear_minutes,
    case
        when shares.awake_wear_known_share >= {{ var('least_known_share') }}
            then shares.awake_worn * shares.epoch_seconds / 60
    end as awake_wear_minutes,
    {%- for level in ['light', 'moderate', 'vigorous'] %}
        case
            when
                shares.is_effort_known
                then coalesce(shares.{{ level }}, 0) * shares.epoch_seconds / 60
        end as {{ level }}_minutes,
    {%- endfor %}
    case
        when shares.is_effort_known
            then
                (coalesce(shares.moderate, 0) + coalesce(shares.vigorous, 0))
                * shares.epoch_seconds
                / 60
    end as moderate_to_vigorous_minutes,
    case when shares.steps_known_share >= {{ var('least_known_share') }} then shares.steps end
        as steps,
    case when shares.is_effort_known then shares.met_sum / shares.met_known end as mean_met,
    case
        when
            shares.kilocalories_known_share >= {{ var('least_known_share') }}
            then shares.kilocalories
    end as kilocalories,

    -- where it comes from
    loads.dataset_name,
    loads.study_program_id,
    programs.study_program_name,
    loads.program_execution,
    loads.load_id,
    loads.loaded_at,
    loads.made_with
from shares
inner join loads on shares.load_id = loads.load_id
left join {{ subject_details() }} as details
    on loads.study_id = details.study_id and loads.subject_id = details.subject_id
left join {{ program_names() }} as programs
    on
        loads.study_id = programs.study_id
        and lower(loads.study_program_id) = programs.study_program_id
where shares.date is not null
