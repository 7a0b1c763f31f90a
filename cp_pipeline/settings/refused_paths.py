"""What a path must not contain, because DuckDB, dbt or Dagster would misread it.

Tested with DuckDB 2.0.0 and 1.5.5, dbt-duckdb 1.11, and Dagster 1.13 on SQLAlchemy 2.1.
"""

import re

# Of each pattern: what it finds, and why that is refused.
Refused = tuple[tuple[re.Pattern[str], str, str], ...]
_SCHEMAS = "exports|history|lineage|main|system|temp|information_schema|pg_catalog"
BY_ALL: Refused = (
    (re.compile("[\ud800-\udfff]"), "bytes that are not UTF-8", "DuckDB refuses it"),
)
BY_DUCKDB: Refused = (
    (re.compile(r"\?"), "'?'", "DuckDB would write the write-ahead log to another path"),
    (re.compile(r"\\"), "a backslash", "DuckDB reads it as '/'"),
)
BY_DBT: Refused = (
    (re.compile("#"), "'#'", "dbt reads it as the end of the name"),
    (re.compile(";[^/]*$"), "';' in the file's name", "dbt reads it as the end of the name"),
    (re.compile("['\"][^/]*$"), "quotes in the file's name", "dbt reads one as the name's end"),
    (
        re.compile(rf"/\.*({_SCHEMAS})(\.[^/]*)?$", re.IGNORECASE),
        "the name of a schema as the file's name",
        "DuckDB would confuse the database with the schema",
    ),
)
BY_DAGSTER: Refused = (
    (re.compile(r"\?"), "'?'", "Dagster reads it as the end of the name"),
    (re.compile("%[0-9A-Fa-f]{2}"), "'%' before two digits", "Dagster reads it as a URL code"),
)
