{#- No value is below the first or above the second number of its column's range; null is no limit. NULL
    passes. One test for all columns of a model, as in `never_null`; the result names the columns. -#}
{% test in_ranges(model, ranges) %}
{% for column, (at_least, at_most) in ranges.items() %}
select '{{ column }}' as column_name, {{ column }}::double as value
from {{ model }}
where
    false
    {% if at_least is not none %}or {{ column }} < {{ at_least }}{% endif %}
    {% if at_most is not none %}or {{ column }} > {{ at_most }}{% endif %}
{% if not loop.last %}union all{% endif %}
{% endfor %}
{% endtest %}
