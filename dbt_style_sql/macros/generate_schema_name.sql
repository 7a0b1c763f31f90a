{#- Name the schemas `staging` and `marts`. By default, dbt would add the target's schema as a
    prefix. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
