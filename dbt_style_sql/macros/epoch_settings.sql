{#- A SQL text literal: everything but the loads that `epoch_days` depends on. -#}
{% macro epoch_settings() -%}
    {%- set names = ['cut_point_seconds', 'least_known_share', 'light_above_met', 'moderate_from_met',
        'vigorous_from_met'] -%}
    {%- set values = [tojson(family_columns('ActivityEpochs'))] -%}
    {%- for name in names -%}
        {%- do values.append(name ~ '=' ~ var(name)) -%}
    {%- endfor -%}
    {{ text(local_md5(values | join(' '))) }}
{%- endmacro %}


{#- One row per current load of the family `ActivityEpochs`, with `made_with`: a text that changes with
    anything that its days depend on. -#}
{% macro epoch_loads() -%}
    (
        select
            loads.load_id,
            loads.study_id,
            loads.subject_id,
            loads.dataset_name,
            loads.study_program_id,
            loads.program_execution,
            loads.loaded_at,
            loads.row_count,
            coalesce(loads.duplicate_timestamps = 0, false) as has_unique_times,
            {{ epoch_settings() }} || ' ' || coalesce(offsets.offsets, '') as made_with
        from {{ lineage_rows('current_loads') }} as loads
        left join {{ offsets_by_subject() }} as offsets
            on loads.study_id = offsets.study_id and loads.subject_id = offsets.subject_id
        where {{ is_of_family('loads.dataset_name', 'ActivityEpochs') }}
    )
{%- endmacro %}


{#- Delete the days of loads that are no longer current, or that other settings made. -#}
{% macro forget_other_epoch_days() -%}
    {%- if execute and is_incremental() -%}
        delete from {{ this }}
        where (load_id, loaded_at, made_with) not in (
            select (load_id, loaded_at, made_with) from {{ epoch_loads() }} as loads
        )
    {%- endif -%}
{%- endmacro %}


{#- An exact number for a sum: decimals give the same sum in any order of rows. A value of 10^12 or more,
    which no measure has, is left out. -#}
{% macro exact(value) -%}
    try_cast({{ value }} as decimal(18, 6))
{%- endmacro %}


{#- A mean over rows with a known value, exact in any order of rows. -#}
{% macro exact_mean(value) -%}
    sum({{ exact(value) }})::double / count({{ exact(value) }})
{%- endmacro %}
