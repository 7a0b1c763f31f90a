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
