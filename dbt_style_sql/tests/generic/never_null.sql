{#- None of these columns is ever NULL. One test for all columns of a model, because each test takes dbt
    some hundredths of a second. The result names the columns; the number of failures is that of the NULLs. -#}
{% test never_null(model, columns) %}
{{ config(fail_calc='coalesce(sum(null_count), 0)') }}
{% for column in columns %}
select '{{ column }}' as column_name, count(*) as null_count
from {{ model }}
where {{ column }} is null
having count(*) > 0
{% if not loop.last %}union all{% endif %}
{% endfor %}
{% endtest %}
