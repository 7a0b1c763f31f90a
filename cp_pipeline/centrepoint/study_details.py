"""Read what the scope CentrePoint tells: the study, sites, subjects, time zones, visits.

Belongs here: the requests and items of docs/api.md, "With the scope CentrePoint".
Does not belong: pages (``paged_lists``), what is new (``warehouse.study_details``), the history of
which subjects' time zones to ask for (``ingest.study_refresh``).

A subject's date of birth, gender, weight and height leave this module only if the settings name
them. Nothing of a subject but its id is ever logged.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from cp_pipeline.centrepoint.answers import json_of
from cp_pipeline.centrepoint.api import Api
from cp_pipeline.centrepoint.errors import AnswerNotUnderstood, ResourceMissing
from cp_pipeline.centrepoint.json_values import is_never, number_or_none, text_or_none, whole_number
from cp_pipeline.centrepoint.paged_lists import BREAKS_THE_CONTRACT, answer_of, read_list
from cp_pipeline.domain.study_details import DetailRow, DetailTable
from cp_pipeline.settings import SubjectField

_DATE_AND_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,6})\d*)?.*)?", re.ASCII
)
_LARGEST_MEASURE, _OLDEST_YEARS, _LARGEST_SMALL = 1e6, 150, 2**31
Value = Callable[[object], object]


def _moment(value: object) -> datetime | None:
    """Return a time as written, without its offset; None if it is missing, "never" or none."""
    match = None if is_never(value) else _DATE_AND_TIME.fullmatch(str(value))
    if match is None:
        return None
    with suppress(ValueError):
        fraction = f".{match[3].ljust(6, '0')}" if match[3] else ""
        return datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}{fraction}")
    return None


def _day(value: object) -> date | None:
    moment = _moment(value)
    return None if moment is None else moment.date()


def _decimal(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST_MEASURE else None


def _small_number(value: object) -> int | None:
    number = number_or_none(value)
    return number if number is not None and abs(number) < _LARGEST_SMALL else None


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(each for each in map(text_or_none, value) if each is not None)


# By table: the API's names of an item's fields, each with how to read it.
FIELDS: Mapping[str, Mapping[str, Value]] = {
    "studies": {
        "id": whole_number,
        "name": text_or_none,
        "organizationName": text_or_none,
        "createdDateTime": _moment,
        "studyStatus": text_or_none,
        "defaultWearPosition": text_or_none,
        "wearPositions": _texts,
        "monitorDataCollectionMode": text_or_none,
    },
    "sites": {
        "id": whole_number,
        "siteName": text_or_none,
        "siteIdentifier": text_or_none,
        "description": text_or_none,
        "depot": text_or_none,
        "timezone": text_or_none,
    },
    "subjects": {
        "id": whole_number,
        "siteId": number_or_none,
        "siteIdentifier": text_or_none,
        "subjectIdentifier": text_or_none,
        "timezone": text_or_none,
        "wearPosition": text_or_none,
        "assignmentStatus": text_or_none,
    },
    "timezones": {
        "subjectId": whole_number,
        "timezone": text_or_none,
        "effectiveDateUtc": _moment,
    },
    "planned_visits": {
        "studyPlannedVisitId": whole_number,
        "visitName": text_or_none,
        "visitDay": _small_number,
        "visitWearPeriodName": text_or_none,
        "plannedWearPeriodDuration": _small_number,
        "minimumVisitWearPeriodCompliance": _small_number,
    },
    "visits": {
        "actualVisitId": whole_number,
        "subjectId": whole_number,
        "visitId": number_or_none,
        "visitName": text_or_none,
        "visitDate": _moment,
        "wearPeriodId": number_or_none,
        "wearPeriodName": text_or_none,
        "wearPeriodStartDate": _moment,
        "wearPeriodEndDate": _moment,
    },
}
_ON_REQUEST: Mapping[SubjectField, Mapping[str, Value]] = {
    "dob": {"dob": _day},
    "age_years": {},
    "gender": {"gender": text_or_none},
    "weight": {"weight": _decimal, "weightUnit": text_or_none},
    "height": {"height": _decimal, "heightUnit": text_or_none},
}


def column(name: str) -> str:
    """Return the column for one of the API's names: ``siteIdentifier`` is ``site_identifier``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class StudyDetails:
    """Asks for the details of studies. Thread-safe.

    Args:
        api: sends the requests, with a token for the scope CentrePoint.
        subject_fields: what of a subject is kept beside its identifiers.
    """

    def __init__(self, api: Api, subject_fields: frozenset[SubjectField] = frozenset()) -> None:
        self._api = api
        self._subject_fields = subject_fields

    def check_access(self, study_id: int) -> None:
        """Take a token for the scope CentrePoint, and read the study with one request.

        Raises:
            ScopeRefused: this client may not ask.
            ServiceError: the request failed; the subclass says why.
        """
        if not self._study(study_id).rows:
            raise AnswerNotUnderstood(
                f"The answer while reading study {study_id} is not that study.",
                "Check CP_STUDY_ID and CP_API_URL.",
            )

    def tables(self, study_id: int) -> list[DetailTable]:
        """Return everything but the time zones' history, with a request for 100 items.

        Raises:
            ScopeRefused: this client may not ask.
            ServiceError: a request failed; the subclass says why.
        """
        return [
            self._study(study_id),
            self._list(study_id, "sites", "Sites", "sites"),
            self._subjects(study_id),
            self._planned_visits(study_id),
            self._visits(study_id),
        ]

    def timezones(self, study_id: int, subject_id: int) -> DetailTable:
        """Return the history of a subject's time zones, with one request.

        Raises:
            ServiceError: a request failed; the subclass says why.
        """

        def read(raw: Any) -> DetailRow:  # noqa: ANN401  (JSON is anything)
            row = _read("timezones", FIELDS["timezones"], study_id, raw)
            if dict(row)["subject_id"] != subject_id:
                raise ValueError("another subject's")
            return row

        path, what = f"Subjects/{subject_id}/TimezoneHistory", f"time zones of subject {subject_id}"
        try:
            found = self._list(study_id, "timezones", path, what, read)
        except ResourceMissing:
            found = DetailTable("timezones", study_id, ())
        return replace(found, subject_ids=frozenset({subject_id}))

    def _study(self, study_id: int) -> DetailTable:
        raw = self._one(study_id, f"Studies/{study_id}", f"study {study_id}")
        try:
            row = _read("studies", FIELDS["studies"], study_id, raw)
        except BREAKS_THE_CONTRACT:
            return DetailTable("studies", study_id, (), is_complete=False)
        return DetailTable("studies", study_id, (row,))

    def _subjects(self, study_id: int) -> DetailTable:
        fields = {**FIELDS["subjects"]}
        for each in self._subject_fields:
            fields |= _ON_REQUEST[each]
        with_age = "age_years" in self._subject_fields

        def read(raw: Any) -> DetailRow:  # noqa: ANN401  (JSON is anything)
            row = _read("subjects", fields, study_id, raw)
            return (*row, ("age_years", _age(_day(raw.get("dob"))))) if with_age else row

        return self._list(study_id, "subjects", "Subjects", "subjects", read)

    def _list(
        self,
        study_id: int,
        table: str,
        path: str,
        what: str,
        read: Callable[[Any], DetailRow] | None = None,
    ) -> DetailTable:
        read = read or partial(_read, table, FIELDS[table], study_id)
        path = f"Studies/{study_id}/{path}"
        rows, invalid = read_list(self._api, path, study_id, what, read, personal=True)
        return DetailTable(table, study_id, rows, not invalid)

    def _planned_visits(self, study_id: int) -> DetailTable:
        path = f"Studies/{study_id}/Visits/PlannedVisits"
        try:
            raw = self._one(study_id, path, f"planned visits of study {study_id}")
        except ResourceMissing:
            return DetailTable("planned_visits", study_id, ())
        rows: dict[DetailRow, None] = {}
        listed = raw.get("studyPlannedVisits") or []
        invalid = not isinstance(listed, list)
        for each in [] if invalid else listed:
            try:
                rows[_read("planned_visits", FIELDS["planned_visits"], study_id, each)] = None
            except BREAKS_THE_CONTRACT:
                invalid = True
        return DetailTable("planned_visits", study_id, tuple(rows), not invalid)

    def _visits(self, study_id: int) -> DetailTable:
        try:
            return self._list(study_id, "visits", "Visits/ActualVisits", "visits/actualvisits")
        except ResourceMissing:
            return DetailTable("visits", study_id, ())

    def _one(self, study_id: int, path: str, thing: str) -> dict[str, Any]:
        purpose = f"reading the {thing}"
        response = answer_of(self._api, path, study_id, purpose, thing)
        try:
            raw = json_of(response)
        except ValueError:
            raw = None
        if not isinstance(raw, dict):
            raise AnswerNotUnderstood(
                f"The answer while {purpose} is no JSON object.", "Check CP_API_URL."
            )
        return raw


def _read(
    table: str,
    fields: Mapping[str, Value],
    study_id: int,
    raw: Any,  # noqa: ANN401  (JSON is anything)
) -> DetailRow:
    """Read an item. A field that cannot be read is NULL; without its key, the item is invalid."""
    period = raw.get("wearPeriod")
    given = {**raw, **(period if isinstance(period, dict) else {})}
    if number_or_none(given.get("studyId")) not in (None, study_id):
        raise ValueError("another study's")
    row = tuple((column(name), read(given.get(name))) for name, read in fields.items())
    if table == "studies":
        if dict(row)["id"] != study_id:
            raise ValueError("another study")
        return row
    return (("study_id", study_id), *row)


def _age(born: date | None) -> int | None:
    """Return the full years at the beginning of this year.

    Not today's: the day on which it changes would tell the date of birth.
    """
    if born is None:
        return None
    years = datetime.now(UTC).year - born.year - (0 if (born.month, born.day) == (1, 1) else 1)
    return years if 0 <= years <= _OLDEST_YEARS else None
