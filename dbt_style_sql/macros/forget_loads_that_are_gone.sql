{#- Delete a model's rows of loads that the warehouse no longer has, because the loads were compacted
    or the subject was erased. This runs before new loads are added. It compares `loaded_at` too, in
    case a load id is ever used again. -#}
{% macro forget_loads_that_are_gone() -%}
    {%- if execute and is_incremental() -%}
        delete from {{ this }}
        where (load_id, loaded_at) not in (
            select (load_id, loaded_at) from {{ lineage_rows('loads') }}
        )
    {%- endif -%}
{%- endmacro %}


{#- Delete the days of loads that the warehouse no longer has, and of subjects whose time zone, or its
    history, is no longer the one that made them. -#}
{% macro forget_other_load_days() -%}
    {%- if execute and is_incremental() -%}
        {%- if is_of_an_earlier_version(this) -%}
        delete from {{ this }}
        {%- else -%}
        delete from {{ this }}
        where (load_id, loaded_at, made_with) not in (
            select (loads.load_id, loads.loaded_at, coalesce(offsets.offsets, ''))
            from {{ lineage_rows('loads') }} as loads
            left join {{ offsets_by_subject() }} as offsets
                on loads.study_id = offsets.study_id and loads.subject_id = offsets.subject_id
        )
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- Whether an earlier version of this project made a table, which then lacks the column `made_with`. -#}
{% macro is_of_an_earlier_version(table) -%}
    {%- set names = [] -%}
    {%- for column in adapter.get_columns_in_relation(table) -%}
        {%- do names.append(column.name) -%}
    {%- endfor -%}
    {{ return('made_with' not in names) }}
{%- endmacro %}


{#- Write the present names of subjects and programs to rows that an earlier build made. The numbers of
    a load never change, but its subject may get another name. -#}
{% macro name_rows_anew() -%}
    {%- if execute and is_incremental() -%}
        update {{ this }} as earlier
        set
            subject_identifier = present.subject_identifier,
            site_identifier = present.site_identifier,
            wear_position = present.wear_position,
            timezone = present.timezone,
            study_program_name = present.study_program_name
        from (
            select
                loads.load_id,
                details.subject_identifier,
                details.site_identifier,
                details.wear_position,
                details.timezone,
                programs.study_program_name
            from {{ lineage_rows('loads') }} as loads
            left join {{ subject_details() }} as details
                on loads.study_id = details.study_id and loads.subject_id = details.subject_id
            left join {{ program_names() }} as programs
                on
                    loads.study_id = programs.study_id
                    and lower(loads.study_program_id) = programs.study_program_id
        ) as present
        where
            earlier.load_id = present.load_id
            and (
                earlier.subject_identifier, earlier.site_identifier, earlier.wear_position,
                earlier.timezone, earlier.study_program_name
            ) is distinct from (
                present.subject_identifier, present.site_identifier, present.wear_position,
                present.timezone, present.study_program_name
            )
    {%- endif -%}
{%- endmacro %}
