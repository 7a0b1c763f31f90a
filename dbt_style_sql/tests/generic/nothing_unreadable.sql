{#- Every value could be read as its column's type. The number of failures is the number of values
    that could not; they are NULL in the model, and unchanged in the schema `exports`. -#}
{% test nothing_unreadable(model) %}
{{ config(severity='warn', fail_calc='coalesce(sum(value_count), 0)') }}
select dataset_name, column_name, count(*) as value_count
from (
    select dataset_name, unnest(unreadable_columns) as column_name
    from {{ model }}
)
group by all
{% endtest %}
