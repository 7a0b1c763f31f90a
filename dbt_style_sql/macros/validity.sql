{#- The rules of a valid day, by name: which measure must have how many minutes. -#}
{% macro validity_rules() -%}
    {{ return({
        'waking_wear': {
            'measure': 'awake_wear_minutes', 'minutes': var('waking_wear_minutes'), 'words': 'awake wear'
        },
        'wear_24h': {'measure': 'wear_minutes', 'minutes': var('wear_24h_minutes'), 'words': 'wear'},
    }) }}
{%- endmacro %}


{#- The names of the rules that are on. An error if there is none, or an unknown one. -#}
{% macro rules_on() -%}
    {%- set known = validity_rules() -%}
    {%- for rule in var('validity_rules') if rule not in known -%}
        {{ exceptions.raise_compiler_error(
            "The variable validity_rules has " ~ rule ~ ". Use: " ~ known.keys() | join(', ') ~ "."
        ) }}
    {%- endfor -%}
    {%- if not var('validity_rules') or var('validity_needs') not in ('any', 'all') -%}
        {{ exceptions.raise_compiler_error(
            "Name a rule in the variable validity_rules, and set validity_needs to any or all."
        ) }}
    {%- endif -%}
    {{ return(var('validity_rules')) }}
{%- endmacro %}


{#- A SQL text: what a rule says of a day, and from which number. -#}
{% macro validity_words(rule, limit) -%}
    '{{ rule }}: ' || case
        when measured.{{ limit.measure }} is not null
            then
                case
                    when measured.{{ limit.measure }} >= {{ limit.minutes }} then 'valid'
                    else 'not valid'
                end
                || ' (' || printf('%g', measured.{{ limit.measure }}::double)
                || ' of {{ limit.minutes }} minutes)'
        when list_contains(mapped.known_measures, '{{ limit.measure }}')
            then 'unknown (too little is known of the {{ limit.words }} of this day)'
        else 'unknown (no column says {{ limit.words }})'
    end
{%- endmacro %}


{#- Two columns for each rule: what it says (NULL if its minutes are unknown), and the reason. -#}
{% macro rule_columns() -%}
    {%- for rule, limit in validity_rules().items() -%}
        measured.{{ limit.measure }} >= {{ limit.minutes }} as is_valid_{{ rule }},
        {{ validity_words(rule, limit) }} as reason_{{ rule }}{{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{#- Three-valued: NULL is neither true nor false, as SQL's OR and AND have it. -#}
{% macro combined_validity() -%}
    (
        {%- for rule in rules_on() -%}
        ruled.is_valid_{{ rule }}{{ (' or ' if var('validity_needs') == 'any' else ' and ') if not loop.last }}
        {%- endfor -%}
    )
{%- endmacro %}


{% macro combined_reason() -%}
    concat_ws('; '
        {%- for rule in rules_on() -%}
        , ruled.reason_{{ rule }}
        {%- endfor -%}
    )
{%- endmacro %}


{#- Whether there are enough valid days: NULL while days of unknown validity could decide it. -#}
{% macro enough(valid, unknown, needed) -%}
    case
        when {{ valid }} >= {{ needed }} then true
        when {{ valid }} + {{ unknown }} < {{ needed }} then false
    end
{%- endmacro %}


{#- The measures that have a mean. -#}
{% macro averaged_measures() -%}
    {{ return([
        'wear_minutes', 'awake_wear_minutes', 'sleep_minutes', 'sedentary_minutes', 'light_minutes',
        'moderate_minutes', 'vigorous_minutes', 'moderate_to_vigorous_minutes', 'steps', 'kilocalories',
    ]) }}
{%- endmacro %}


{#- Columns of an aggregate over `days`: where its numbers come from. -#}
{% macro origins() -%}
    list_sort(list(distinct days.measured_by)) as measured_by,
        list_sort(list(distinct days.epoch_seconds)) as epoch_seconds,
        list_sort(list(distinct days.day_basis)) as day_bases,
        list_sort(list(distinct days.dataset_name)) as dataset_names,
        list_sort(list(distinct days.study_program_id)) as study_program_ids,
        list_sort(list(distinct days.study_program_name)) as study_program_names,
        list_sort(list(distinct days.study_version)) as study_versions,
        list_sort(list(distinct days.program_execution)) as program_executions,
        list_sort(list(distinct days.load_id)) as load_ids
{%- endmacro %}


{#- The names of these columns, but the last. -#}
{% macro origin_names() -%}
    {{ return([
        'measured_by', 'epoch_seconds', 'day_bases', 'dataset_names', 'study_program_ids',
        'study_program_names', 'study_versions', 'program_executions',
    ]) }}
{%- endmacro %}
