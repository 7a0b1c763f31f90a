"""The tables of the schema ``study``: what CentrePoint says of the study itself.

Belongs here: their definitions, by name (docs/api.md, "The study around the exports").
Does not belong: creating them (``schema``), filling them (``looks``, ``study_details``).

What CentrePoint says has a history: ``study.subjects_history`` has a row for each version of a
subject, with the time from which and until which it held (UTC). The view ``study.subjects`` has the
rows that hold now. The table ``study.executions`` has what the latest look saw, and
``study.executions_history`` all that looks saw. Times of CentrePoint are kept as written, without
their offset.
"""

# What a look tells, with the scope DataAccess.
LOOK_TABLES = {
    # One row per subject and study program in the latest look.
    "executions": {
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "study_program_id": "VARCHAR",
        # NULL: the program never ran for the subject.
        "program_execution": "VARCHAR",
        "program_executed_at": "TIMESTAMP_NS",
        "last_raw_upload": "VARCHAR",
        # When a look first saw this execution.
        "seen_at": "TIMESTAMP",
        # When its files were last listed; NULL if they were not.
        "files_listed_at": "TIMESTAMP",
        # "listed" if CentrePoint has written them, "none" if there was none for a day; else NULL.
        "files_state": "VARCHAR",
    },
    "programs": {
        "study_id": "BIGINT",
        "study_program_id": "VARCHAR",
        "study_program_name": "VARCHAR",
        "seen_at": "TIMESTAMP",
    },
    "program_datasets": {
        "study_id": "BIGINT",
        "study_program_id": "VARCHAR",
        "dataset_name": "VARCHAR",
        "seen_at": "TIMESTAMP",
    },
}

# What the scope CentrePoint tells, if ``CP_STUDY_DETAILS`` is on; the names are the API's.
DETAILS = {
    "studies": {
        "id": "BIGINT",
        "name": "VARCHAR",
        "organization_name": "VARCHAR",
        "created_date_time": "TIMESTAMP",
        "study_status": "VARCHAR",
        "default_wear_position": "VARCHAR",
        "wear_positions": "VARCHAR[]",
        "monitor_data_collection_mode": "VARCHAR",
    },
    "sites": {
        "id": "BIGINT",
        "study_id": "BIGINT",
        "site_name": "VARCHAR",
        "site_identifier": "VARCHAR",
        "description": "VARCHAR",
        "depot": "VARCHAR",
        # Free text, such as "(UTC +05:30) Asia/Kolkata".
        "timezone": "VARCHAR",
    },
    "subjects": {
        "id": "BIGINT",
        "study_id": "BIGINT",
        "site_id": "BIGINT",
        "site_identifier": "VARCHAR",
        # Unique in the study, without the site's prefix.
        "subject_identifier": "VARCHAR",
        # An IANA name.
        "timezone": "VARCHAR",
        "wear_position": "VARCHAR",
        "assignment_status": "VARCHAR",
        # Only if ``CP_SUBJECT_FIELDS`` names them.
        "dob": "DATE",
        "age_years": "INTEGER",
        "gender": "VARCHAR",
        "weight": "DOUBLE",
        "weight_unit": "VARCHAR",
        "height": "DOUBLE",
        "height_unit": "VARCHAR",
    },
    "timezones": {
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "timezone": "VARCHAR",
        # Good to the day, not to the hour.
        "effective_date_utc": "TIMESTAMP",
    },
    "planned_visits": {
        "study_planned_visit_id": "BIGINT",
        "study_id": "BIGINT",
        "visit_name": "VARCHAR",
        "visit_day": "INTEGER",
        "visit_wear_period_name": "VARCHAR",
        # Days.
        "planned_wear_period_duration": "INTEGER",
        # Valid days that a visit needs.
        "minimum_visit_wear_period_compliance": "INTEGER",
    },
    "visits": {
        "actual_visit_id": "BIGINT",
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        # The ``study_planned_visit_id``.
        "visit_id": "BIGINT",
        "visit_name": "VARCHAR",
        "visit_date": "TIMESTAMP",
        "wear_period_id": "BIGINT",
        "wear_period_name": "VARCHAR",
        "wear_period_start_date": "TIMESTAMP",
        "wear_period_end_date": "TIMESTAMP",
    },
}
# Since when CentrePoint said so, and until when: NULL while it still does (UTC).
_VALIDITY = {"valid_from": "TIMESTAMP", "valid_to": "TIMESTAMP"}

# What is written down of a look is not said by CentrePoint, and has no history.
_OUR_NOTES = frozenset({"seen_at", "files_listed_at", "files_state"})
_LOOKS_SAY = {
    name: {column: kind for column, kind in columns.items() if column not in _OUR_NOTES}
    for name, columns in LOOK_TABLES.items()
}
# One row per subject whose time zones' history was asked for, and the time zone at that time.
_NOTES = {
    "timezones_asked": {
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "timezone": "VARCHAR",
        "asked_at": "TIMESTAMP",
    },
}

STUDY_TABLES = (
    LOOK_TABLES
    | _NOTES
    | {f"{name}_history": columns | _VALIDITY for name, columns in (_LOOKS_SAY | DETAILS).items()}
)
STUDY_VIEWS = "".join(
    f"CREATE OR REPLACE VIEW study.{name} AS\nFROM study.{name}_history WHERE valid_to IS NULL;\n"
    for name in DETAILS
)


def subject_macro(database: str = "") -> str:
    """Return SQL that creates the macro ``subject_of``: the subject that an identifier names.

    By the rule of ``domain.study_details.SubjectName.is_named``; it raises an error for an
    identifier of no subject, or of several. ``database``: with a dot; by default, the current one.
    """
    return f"""
CREATE OR REPLACE MACRO {database}subject_of(identifier) AS (
    WITH named AS (
        SELECT
            subjects.id AS subject_id,
            subjects.subject_identifier AS own,
            concat_ws(
                '-',
                nullif(coalesce(subjects.site_identifier, sites.site_identifier), ''),
                subjects.subject_identifier
            ) AS label
        FROM study.subjects AS subjects
        LEFT JOIN study.sites AS sites
            ON sites.study_id = subjects.study_id AND sites.id = subjects.site_id
        WHERE subjects.subject_identifier <> ''
    ),
    found AS (
        SELECT * FROM named
        WHERE lower(trim(identifier, E' \\t\\n\\r')) IN (lower(own), lower(label))
    )
    SELECT CASE
        WHEN count(*) = 1 THEN any_value(subject_id)
        WHEN count(*) > 1 THEN error(
            count(*) || ' subjects have the identifier ' || identifier || ': '
            || string_agg(subject_id || ' (' || label || ')', '; ' ORDER BY subject_id)
            || '. Give it with that of the site before it, such as 101-0042, or use the number.'
        )
        ELSE error(
            'No subject has the identifier ' || coalesce(identifier, 'NULL')
            || '. "FROM study.subjects" lists them; it is empty unless CP_STUDY_DETAILS is on.'
        )
    END
    FROM found
);
"""
