{#- Before a build: let DuckDB use at most `memory_megabytes`, where it would use more (by default, four
    fifths of the machine's memory). What does not fit goes to a file beside the warehouse. -#}
{% macro limit_memory() -%}
    {%- if execute and var('memory_megabytes') -%}
        {%- set now = run_query(
            "select split_part(said, ' ', 1)::double"
            " * pow(1024, list_position(['bytes', 'KiB', 'MiB', 'GiB', 'TiB'], split_part(said, ' ', 2)) - 1) / 1e6"
            " from (select current_setting('memory_limit') as said)"
        ).rows[0][0] -%}
        {%- if now is none or now > var('memory_megabytes') -%}
            set global memory_limit = '{{ var('memory_megabytes') }}MB'
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
