{#- Every line of the visits file names a subject that we know, and has two dates in order. -#}
{% test visits_file_is_understood(model) %}
select
    file.subject_identifier,
    file.visit,
    file.wear_start,
    file.wear_end,
    case when names.name is null then 'no such subject' else 'not two dates in order' end as what_is_wrong
from {{ visits_file() }} as file
left join {{ subject_names(ref('subject_summary')) }} as names on file.subject_identifier = names.name
where
    names.name is null
    or file.wear_start is null
    or file.wear_end is null
    or file.wear_start > file.wear_end
{% endtest %}
