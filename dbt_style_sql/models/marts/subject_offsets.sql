-- One row per study, subject and period with one offset from UTC: see subject_offsets.yml.
with

loads as (

    select * from {{ lineage_rows('current_loads') }}

),

details as (

    select * from {{ subject_details() }}

),

subjects as (

    select
        study_id,
        subject_id,
        -- All periods are needed if the times of a load are not known.
        case when bool_and(first_timestamp is not null) then min(first_timestamp) end as first_time,
        case when bool_and(first_timestamp is not null) then max(last_timestamp) end as last_time
    from loads
    group by study_id, subject_id
    union all
    select
        details.study_id,
        details.subject_id,
        null as first_time,
        null as last_time
    from details
    anti join loads on details.study_id = loads.study_id and details.subject_id = loads.subject_id

),

known_zones as (

    select name as timezone from pg_timezone_names()

),

changes as (

    select distinct on (history.study_id, history.subject_id, history.effective_date_utc::date)
        history.study_id,
        history.subject_id,
        history.timezone,
        'timezone_history' as day_basis,
        (history.effective_date_utc::date::timestamp at time zone history.timezone)
        at time zone 'UTC' as from_utc
    from {{ study_rows('timezones') }} as history
    inner join known_zones on history.timezone = known_zones.timezone
    order by
        history.study_id asc,
        history.subject_id asc,
        history.effective_date_utc::date,
        history.effective_date_utc desc,
        history.timezone asc

),

before_changes as (

    select
        subjects.study_id,
        subjects.subject_id,
        case
            when own.timezone is not null then own.timezone
            when fallback.timezone is not null then fallback.timezone
            else 'UTC'
        end as timezone,
        case
            when own.timezone is not null then 'subject_timezone'
            when fallback.timezone is not null then 'cp_timezone'
            else 'utc'
        end as day_basis,
        null::timestamp as from_utc
    from subjects
    left join details
        on subjects.study_id = details.study_id and subjects.subject_id = details.subject_id
    left join known_zones as own on details.timezone = own.timezone
    left join known_zones as fallback on fallback.timezone = {{ text(env_var('CP_TIMEZONE', '')) }}

),

every_zone as (

    select * from before_changes
    union all by name
    select * from changes

),

zones as (

    select
        *,
        lead(from_utc) over (
            partition by study_id, subject_id
            order by from_utc nulls first
        ) as to_utc
    from every_zone

),

-- A clock is changed at a quarter of an hour in UTC. Look at each day first, then at its quarters.
midnights as (

    select
        unnest(
            generate_series(timestamp '2000-01-01', timestamp '2050-01-01', interval 1 day)
        ) as moment

),

zone_names as (

    select distinct timezone from zones

),

days as (

    select
        zone_names.timezone,
        midnights.moment,
        {{ offset_at('zone_names.timezone', 'midnights.moment') }} as offset_seconds
    from zone_names
    cross join midnights

),

changed_days as (

    select *
    from days
    qualify
        offset_seconds != lag(offset_seconds) over (
            partition by timezone
            order by moment
        )

),

numbers as (

    select unnest(generate_series(1, 96)) as number

),

quarters as (

    select
        changed_days.timezone,
        changed_days.offset_seconds,
        changed_days.moment - interval 1 day + to_minutes(15 * numbers.number) as moment
    from changed_days
    cross join numbers

),

clock_changes as (

    select
        timezone,
        offset_seconds,
        min(moment) as from_utc
    from quarters
    where {{ offset_at('timezone', 'moment') }} = offset_seconds
    group by timezone, offset_seconds, date_trunc('day', moment - interval 1 second)
    union all
    select
        timezone,
        offset_seconds,
        null as from_utc
    from days
    where moment = timestamp '2000-01-01'

),

clocks as (

    select
        *,
        lead(from_utc) over (
            partition by timezone
            order by from_utc nulls first
        ) as to_utc
    from clock_changes

),

periods as (

    select
        zones.study_id,
        zones.subject_id,
        nullif(
            greatest(
                coalesce(zones.from_utc, '-infinity'::timestamp),
                coalesce(clocks.from_utc, '-infinity'::timestamp)
            ),
            '-infinity'::timestamp
        ) as from_utc,
        nullif(
            least(
                coalesce(zones.to_utc, 'infinity'::timestamp),
                coalesce(clocks.to_utc, 'infinity'::timestamp)
            ),
            'infinity'::timestamp
        ) as to_utc,
        zones.timezone,
        zones.day_basis,
        clocks.offset_seconds
    from zones
    inner join clocks
        on
            zones.timezone = clocks.timezone
            and coalesce(zones.from_utc, '-infinity'::timestamp)
            < coalesce(clocks.to_utc, 'infinity'::timestamp)
            and coalesce(clocks.from_utc, '-infinity'::timestamp)
            < coalesce(zones.to_utc, 'infinity'::timestamp)

)

-- Only periods that the subject's data may be in: a row of data looks at each of them.
select
    periods.study_id,
    periods.subject_id,
    details.subject_identifier,
    details.site_identifier,
    details.wear_position,
    periods.from_utc,
    periods.to_utc,
    periods.timezone,
    periods.offset_seconds,
    periods.day_basis
from periods
inner join subjects
    on
        periods.study_id = subjects.study_id
        and periods.subject_id = subjects.subject_id
        and (
            subjects.first_time is null
            or (
                coalesce(periods.from_utc, '-infinity'::timestamp)
                <= subjects.last_time + interval 3 day
                and coalesce(periods.to_utc, 'infinity'::timestamp)
                >= subjects.first_time - interval 3 day
            )
        )
left join details
    on periods.study_id = details.study_id and periods.subject_id = details.subject_id
