"""The SQL of the study report, on the tables of the published file.

Belongs here: SQL. Does not belong: the rows as types, and reading them (``report_numbers``).
"""

# How many rows a list in the report has at most; the page counts the others.
LISTED = 500

PUBLICATION = "FROM lineage.publication"

# Every subject with its site. A site may have an identifier, a name, or both.
PLACES = """
CREATE OR REPLACE TEMP TABLE places AS
WITH everybody AS (
    SELECT study_id, subject_id FROM marts.study_coverage
    UNION SELECT study_id, subject_id FROM marts.subject_processing
    UNION SELECT study_id, subject_id FROM marts.subject_summary
    UNION SELECT study_id, subject_id FROM marts.subject_visits
)
SELECT
    everybody.study_id,
    everybody.subject_id,
    subjects.subject_identifier,
    subjects.site_id,
    coalesce(
        nullif(concat_ws(' ', sites.site_identifier, sites.site_name), ''), subjects.site_identifier
    ) AS site
FROM everybody
LEFT JOIN study.subjects AS subjects
    ON subjects.study_id = everybody.study_id AND subjects.id = everybody.subject_id
LEFT JOIN study.sites AS sites
    ON sites.study_id = subjects.study_id AND sites.id = subjects.site_id
"""

STUDIES = """
WITH asked AS (
    SELECT
        study_id,
        max(ended_at) FILTER (coalesce(asked_for, 'whole listing') = 'whole listing') AS listed_at,
        max(ended_at) AS answered_at
    FROM lineage.listings WHERE coalesce(outcome, 'answered') = 'answered' GROUP BY study_id
),
loaded AS (
    SELECT study_id, max(program_executed_at)::TIMESTAMP AS executed_at, max(loaded_at) AS loaded_at
    FROM lineage.current_loads GROUP BY study_id
),
counted AS (SELECT study_id, count(*) AS subjects FROM places GROUP BY study_id),
exported AS (
    SELECT study_id, count(DISTINCT subject_id) AS subjects FROM marts.study_coverage
    GROUP BY study_id
),
invalid AS (SELECT study_id, count(*) AS items FROM lineage.unusable_items GROUP BY study_id),
known AS (
    SELECT study_id FROM asked UNION SELECT study_id FROM loaded UNION SELECT study_id FROM counted
    UNION SELECT id FROM study.studies
)
SELECT
    known.study_id,
    studies.name,
    asked.listed_at,
    asked.answered_at,
    loaded.executed_at,
    loaded.loaded_at,
    coalesce(counted.subjects, 0) AS subjects,
    coalesce(exported.subjects, 0) AS subjects_with_exports,
    coalesce(invalid.items, 0) AS invalid_items
FROM known
LEFT JOIN study.studies AS studies ON studies.id = known.study_id
LEFT JOIN asked ON asked.study_id = known.study_id
LEFT JOIN loaded ON loaded.study_id = known.study_id
LEFT JOIN counted ON counted.study_id = known.study_id
LEFT JOIN exported ON exported.study_id = known.study_id
LEFT JOIN invalid ON invalid.study_id = known.study_id
ORDER BY known.study_id
"""

COVERAGE = """
SELECT
    places.study_id, places.site_id, places.site, coverage.dataset_name, coverage.state,
    count(*) AS partitions
FROM marts.study_coverage AS coverage
INNER JOIN places USING (study_id, subject_id)
GROUP BY ALL
ORDER BY places.study_id, places.site NULLS LAST, places.site_id, dataset_name, state
"""

STATES = """
SELECT subject_id, dataset_name, state FROM marts.study_coverage ORDER BY subject_id, dataset_name
"""

NOT_CURRENT = f"""
WITH failures AS (
    SELECT
        study_id, subject_id, dataset_name,
        arg_max(file_name, failed_at) AS file_name, arg_max(error, failed_at) AS error
    FROM lineage.failures GROUP BY ALL
)
SELECT
    places.study_id, places.subject_id, places.subject_identifier, places.site,
    coverage.dataset_name, coverage.state,
    CASE coverage.state WHEN 'failed' THEN failures.file_name END AS file_name,
    CASE coverage.state WHEN 'failed' THEN failures.error END AS error
FROM marts.study_coverage AS coverage
INNER JOIN places USING (study_id, subject_id)
LEFT JOIN failures USING (study_id, subject_id, dataset_name)
WHERE coverage.state <> 'current'
ORDER BY
    list_position(['failed', 'stale', 'missing', 'pending', 'withdrawn'], coverage.state),
    places.study_id, places.site NULLS LAST, places.subject_identifier, places.subject_id,
    coverage.dataset_name
LIMIT {LISTED}
"""

# Medians of the subjects' own means, with quartiles.
_SPREAD = """struct_pack(
    median := median({column}),
    lower := quantile_cont({column}, 0.25),
    upper := quantile_cont({column}, 0.75),
    n := count({column})
) AS {name}"""

WEAR = f"""
SELECT
    places.study_id, places.site_id, places.site, grouping(places.site) = 1 AS is_total,
    count(*) AS subjects,
    sum(summary.days)::BIGINT AS days,
    sum(summary.valid_days)::BIGINT AS valid_days,
    sum(summary.unknown_days)::BIGINT AS unknown_days,
    count(*) FILTER (summary.has_enough_valid_days) AS enough,
    count(*) FILTER (NOT summary.has_enough_valid_days) AS not_enough,
    count(*) FILTER (summary.has_enough_valid_days IS NULL) AS enough_unknown,
    {_SPREAD.format(column="summary.overall_mean_wear_minutes / 60", name="wear_hours")},
    {_SPREAD.format(column="summary.overall_mean_steps", name="steps")}
FROM marts.subject_summary AS summary
INNER JOIN places USING (study_id, subject_id)
GROUP BY GROUPING SETS ((places.study_id, places.site_id, places.site), (places.study_id))
ORDER BY places.study_id, is_total, places.site NULLS LAST, places.site_id
"""

VISITS = f"""
WITH placed AS (
    SELECT
        visits.*, places.site_id, places.site,
        min(visits.wear_start) OVER (PARTITION BY visits.study_id, visits.visit_name) AS first_day,
        visits.wear_start IS NOT NULL AS has_wear_period
    FROM marts.subject_visits AS visits
    INNER JOIN places USING (study_id, subject_id)
)
SELECT
    study_id, visit_name, site_id, site, grouping(site) = 1 AS is_total, first_day,
    count(*) AS visits,
    count(*) FILTER (has_wear_period) AS with_wear_period,
    sum(planned_days) FILTER (has_wear_period)::BIGINT AS planned_days,
    coalesce(sum(days) FILTER (has_wear_period), 0)::BIGINT AS days,
    coalesce(sum(valid_days), 0)::BIGINT AS valid_days,
    coalesce(sum(unknown_days) FILTER (has_wear_period), 0)::BIGINT AS unknown_days,
    count(*) FILTER (is_compliant) AS compliant,
    count(*) FILTER (NOT is_compliant) AS not_compliant,
    count(*) FILTER (has_wear_period AND is_compliant IS NULL) AS compliance_unknown,
    {_SPREAD.format(column="mean_wear_minutes / 60", name="wear_hours")},
    {_SPREAD.format(column="mean_steps", name="steps")}
FROM placed
GROUP BY GROUPING SETS (
    (study_id, visit_name, first_day, site_id, site), (study_id, visit_name, first_day)
)
ORDER BY study_id, first_day NULLS LAST, visit_name NULLS LAST, is_total, site NULLS LAST, site_id
"""

# Without the minutes of rules that could be decided: they differ from day to day.
UNKNOWN_DAYS = r"""
SELECT
    dataset_name, measured_by,
    coalesce(regexp_replace(validity_reason, ' \([0-9][^)]*\)', '', 'g'), 'no reason is given')
        AS reason,
    count(*) AS days, count(DISTINCT (study_id, subject_id)) AS subjects
FROM marts.subject_days WHERE is_valid_day IS NULL
GROUP BY ALL ORDER BY days DESC, dataset_name, measured_by, reason LIMIT 20
"""

VALID_DAYS = """
SELECT valid_days, count(*) AS subjects FROM marts.subject_summary GROUP BY ALL ORDER BY valid_days
"""

SUBJECTS = """
WITH coverage AS (
    SELECT
        study_id, subject_id, count(*) AS partitions, count(*) FILTER (state = 'current') AS current
    FROM marts.study_coverage GROUP BY ALL
)
SELECT
    places.study_id, places.subject_id, places.subject_identifier, places.site_id, places.site,
    coalesce(coverage.partitions, 0) AS partitions, coalesce(coverage.current, 0) AS current,
    summary.first_date::VARCHAR AS first_date, summary.last_date::VARCHAR AS last_date,
    summary.days, summary.valid_days, summary.unknown_days, summary.has_enough_valid_days,
    summary.overall_mean_wear_minutes / 60 AS wear_hours,
    summary.overall_mean_steps AS steps
FROM places
LEFT JOIN coverage USING (study_id, subject_id)
LEFT JOIN marts.subject_summary AS summary USING (study_id, subject_id)
ORDER BY
    places.study_id, places.site NULLS LAST, places.site_id, places.subject_identifier NULLS LAST,
    places.subject_id
"""

_WAITS = "FROM marts.subject_processing AS waits INNER JOIN places USING (study_id, subject_id)"
_STATES_THAT_WAIT = """list_position([
    'failed', 'uploaded_never_processed', 'uploaded_since_processed', 'processed_no_file',
    'pending', 'never_uploaded'
], waits.state)"""

WAITING = f"""
SELECT
    places.study_id, places.site_id, places.site, waits.state,
    grouping(places.site) = 1 AS is_total,
    count(DISTINCT subject_id) AS subjects, count(*) AS pairs
{_WAITS} WHERE waits.state <> 'loaded'
GROUP BY GROUPING SETS (
    (places.study_id, places.site_id, places.site, waits.state), (waits.state)
)
ORDER BY {_STATES_THAT_WAIT}, places.study_id, places.site NULLS LAST, places.site_id
"""

WAITING_SUBJECTS = f"""
SELECT
    places.study_id, places.subject_id, places.subject_identifier, places.site, waits.state,
    list(DISTINCT coalesce(waits.study_program_name, waits.study_program_id)
        ORDER BY coalesce(waits.study_program_name, waits.study_program_id)) AS programs,
    max(waits.last_raw_upload) AS last_raw_upload,
    arg_max(waits.program_execution, waits.program_executed_at) AS program_execution,
    list_sort(list_distinct(flatten(list(waits.datasets_lacking)))) AS datasets_lacking
{_WAITS} WHERE waits.state <> 'loaded'
GROUP BY
    places.study_id, places.subject_id, places.subject_identifier, places.site, waits.state
ORDER BY
    {_STATES_THAT_WAIT}, places.study_id, places.site NULLS LAST, places.subject_identifier,
    places.subject_id
LIMIT {LISTED}
"""

WAITING_COUNTS = """
SELECT
    count(*) AS pairs,
    count(DISTINCT (study_id, subject_id)) FILTER (state <> 'loaded') AS subjects,
    count(DISTINCT (study_id, subject_id)) FILTER (
        state IN ('uploaded_never_processed', 'uploaded_since_processed')
    ) AS to_process
FROM marts.subject_processing
"""

CHANGES = """
SELECT
    study_id, dataset_name, count(*) AS exports, count(previous_load_id) AS executed_again,
    count(*) FILTER (previous_load_id IS NOT NULL AND (
        rows_added > 0 OR rows_removed > 0 OR coalesce(rows_changed, 0) > 0
        OR len(columns_added) > 0 OR len(columns_removed) > 0
    )) AS changed,
    sum(rows_added) FILTER (previous_load_id IS NOT NULL)::BIGINT AS rows_added,
    sum(rows_removed) FILTER (previous_load_id IS NOT NULL)::BIGINT AS rows_removed,
    sum(rows_changed) FILTER (previous_load_id IS NOT NULL)::BIGINT AS rows_changed,
    count(*) FILTER (previous_load_id IS NOT NULL AND rows_changed IS NULL) AS without_times,
    max(program_executed_at)::TIMESTAMP AS newest
FROM marts.program_executions SEMI JOIN lineage.current_loads USING (load_id)
GROUP BY study_id, dataset_name
ORDER BY study_id, dataset_name
"""

NEWEST_CHANGES = f"""
SELECT
    changes.study_id, changes.subject_id, places.subject_identifier, places.site,
    changes.dataset_name, changes.study_program_name, changes.study_program_id,
    changes.program_execution, changes.previous_program_execution, changes.loaded_at,
    changes.rows_added, changes.rows_removed, changes.rows_changed, changes.columns_added,
    changes.columns_removed
FROM marts.program_executions AS changes
SEMI JOIN lineage.current_loads USING (load_id)
INNER JOIN places USING (study_id, subject_id)
WHERE changes.previous_load_id IS NOT NULL
ORDER BY changes.program_executed_at DESC, changes.load_id DESC
LIMIT {LISTED}
"""

ERASED = "SELECT count(*) FROM lineage.erasures"
