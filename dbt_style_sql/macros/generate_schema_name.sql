{#- The schemas are `staging` and `marts` and nothing else; dbt by itself would put its target's
    schema in front. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
