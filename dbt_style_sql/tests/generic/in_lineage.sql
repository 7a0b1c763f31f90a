{#- Each value is one of a column of the warehouse's own tables: a relationship to what the model is
    made from. (To another model it would break when only one of the two is built.) -#}
{% test in_lineage(model, column_name, table, field) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} not in (
    select {{ field }}
    from {{ lineage_rows(table) }}
    where {{ field }} is not null
)
{% endtest %}
