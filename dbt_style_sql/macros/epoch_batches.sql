{#- Building `epoch_days` in batches of loads, so that the memory of a build depends on the size of a
    batch, and not on that of the study. DuckDB variables of the connection say which loads are read;
    without them (as in `dbt show`), all are.

    Before the model: choose the first loads that are not in it yet. -#}
{% macro first_epoch_batch() -%}
    {%- if execute -%}
        {%- set batches = epoch_batches(this if is_incremental() else none, 0) -%}
        {%- set first, last = batches[0] if batches else (0, 0) -%}
        set variable epochs_from = {{ first }};
        set variable epochs_to = {{ last }}
    {%- endif -%}
{%- endmacro %}


{#- After the model: run its SQL again for each of the other batches. -#}
{% macro other_epoch_batches() -%}
    {%- if execute -%}
        {%- set done = run_query("select getvariable('epochs_to')").rows[0][0] -%}
        {%- for first, last in epoch_batches(this, done) -%}
            {%- do run_query("set variable epochs_from = " ~ first) -%}
            {%- do run_query("set variable epochs_to = " ~ last) -%}
            {%- do run_query("insert into " ~ this ~ " by name " ~ model.compiled_code) -%}
        {%- endfor -%}
        reset variable epochs_from;
        reset variable epochs_to
    {%- endif -%}
{%- endmacro %}


{#- A condition: a load is one of the batch. -#}
{% macro is_in_epoch_batch(load_id) -%}
    {{ load_id }} between coalesce(getvariable('epochs_from')::bigint, 0)
    and coalesce(getvariable('epochs_to')::bigint, {{ load_id }})
{%- endmacro %}


{#- Batches of the loads after one that a table does not have: rows with the first and the last load of
    each. A batch has `epochs_at_once` epochs, and the rest of its last load. -#}
{% macro epoch_batches(table, after) -%}
    {{ return(run_query(
        "select min(load_id), max(load_id) from ("
        " select load_id, (sum(epochs) over (order by load_id) - epochs) // " ~ var('epochs_at_once') ~ " as batch"
        " from (select load_id, coalesce(row_count, 0) as epochs from " ~ epoch_loads() ~ " as loads"
        " where load_id > " ~ after
        ~ (" and load_id not in (select load_id from " ~ table ~ ")" if table else "") ~ ")"
        ") group by batch order by batch"
    ).rows) }}
{%- endmacro %}
