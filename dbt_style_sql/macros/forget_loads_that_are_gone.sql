{#- Before new loads are looked at: rows of loads that the warehouse no longer has, because they
    were compacted away or the subject was erased, must go from what was kept of them too. The time
    of loading is compared as well, should a number ever be given again. -#}
{% macro forget_loads_that_are_gone() -%}
    {%- if execute and is_incremental() -%}
        delete from {{ this }}
        where (load_id, loaded_at) not in (
            select (load_id, loaded_at) from {{ lineage_rows('loads') }}
        )
    {%- endif -%}
{%- endmacro %}
