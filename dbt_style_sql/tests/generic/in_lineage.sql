{#- Each value occurs in a column of a lineage table: a relationship test against the model's source.
    (A test against another model would fail when only one of the two models is built.) -#}
{% test in_lineage(model, column_name, table, field) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} not in (
    select {{ field }}
    from {{ lineage_rows(table) }}
    where {{ field }} is not null
)
{% endtest %}
