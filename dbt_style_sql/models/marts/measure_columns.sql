-- One row per data set of a known family and measure: see measure_columns.yml.
{%- set own = ['_study_id', '_subject_id', '_study_program_id', '_program_execution',
    '_program_executed_at', '_load_id'] %}
select
    null::varchar as family,
    null::varchar as dataset_name,
    null::varchar as measure,
    null::boolean as is_required,
    null::boolean as is_mapped,
    null::varchar as column_name,
    null::varchar as unit,
    null::varchar as known_from,
    []::varchar[] as columns_wanted,
    []::varchar[] as columns_found
where false
{%- for family, described in columns_file().items() %}
    {%- for dataset, present in versions_of(family).items() %}
{%- set columns = [] %}
{%- for column in present.values() if column.name not in own %}
{%- do columns.append(text(column.name)) %}
{%- endfor %}
{%- for measure, candidates in described['measures'].items() %}
{%- set found = (columns_present(candidates, present) | first) %}
{%- set wanted = [] %}
{%- for each in candidates %}
{%- do wanted.append(text(each['column'])) %}
{%- endfor %}
union all
select
    {{ text(family) }} as family,
    {{ text(dataset) }} as dataset_name,
    {{ text(measure) }} as measure,
    {{ measure in described.get('required', []) }} as is_required,
    {{ 'true' if found else 'false' }} as is_mapped,
    {{ text(found.present.name) if found else 'null' }} as column_name,
    {{ text((found or candidates[0])['unit']) }} as unit,
    {{ text(found.known_from if found else candidates[0]['known_from']) }} as known_from,
    [{{ wanted | join(', ') }}] as columns_wanted,
    [{{ columns | join(', ') }}] as columns_found
{%- endfor %}
{%- endfor %}
{%- endfor %}
