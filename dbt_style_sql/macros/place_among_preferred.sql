{#- The first place of any of the names in the variable `preferred_programs`; NULL if none is there. Case is
    ignored. -#}
{% macro place_among_preferred(names) -%}
    {%- set preferred = [] -%}
    {%- for name in var('preferred_programs') -%}
        {%- do preferred.append(text(name | string | lower)) -%}
    {%- endfor -%}
    least(
        {%- for name in names %}
        nullif(list_position([{{ preferred | join(', ') }}]::varchar[], lower({{ name }})), 0)
        {{- ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
