"""Who the subjects are: sites, identifiers, time zones, visits.

Belongs here: the details of a synthetic study (docs/api.md, With the scope CentrePoint), their
JSON, and how they change. Does not belong: executions and files (`study.py`), requests
(`details_service.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from cp_pipeline.sandbox.days import FIRST_DATE, chance

Json = dict[str, object]
_FIRST_SUBJECT = 10821
# The third site has no identifier. Time zones of sites are free text, those of subjects are not.
_SITES = (
    (501, "101", "Graz", "(UTC +01:00) Europe/Vienna", "Europe/Vienna"),
    (502, "102", "Pune", "(UTC +05:30) Asia/Kolkata", "Asia/Kolkata"),
    (503, None, "Austin", "Central Time", "America/Chicago"),
)
_PLANNED = ((1, "Baseline", 1), (2, "Week 4", 29))
_VISIT_DAYS = 7


@dataclass(frozen=True, slots=True)
class PersonDetails:
    """What CentrePoint says of one subject; `zones` has each time zone with its first moment."""

    subject_id: int
    site: int
    identifier: str
    zones: tuple[tuple[str, str], ...]
    born: str
    gender: str
    weight: float
    height: float


class People:
    """The details of one study. Not thread-safe: the study guards it."""

    def __init__(self, study_id: int, seed: int) -> None:
        """Starts with what the seed makes of each subject; changes are kept here."""
        self.study_id = study_id
        self.has_visits = True
        self.unlisted: set[int] = set()
        self._seed = seed
        self._changed: dict[int, PersonDetails] = {}

    def of(self, subject_id: int) -> PersonDetails:
        """What CentrePoint says of a subject now."""
        if subject_id in self._changed:
            return self._changed[subject_id]
        draw = chance(self._seed, subject_id, "details")
        number = subject_id - _FIRST_SUBJECT
        site = max(number, 0) % len(_SITES)
        gender = draw.choice(["Female", "Male"])
        return PersonDetails(
            subject_id,
            site,
            f"{number + 1:04}" if number >= 0 else f"S{subject_id}",
            ((_SITES[site][4], "2024-01-15T00:00:00Z"),),
            f"{draw.randint(1940, 2000)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
            gender,
            round(draw.gauss(78, 12), 1),
            round(draw.gauss(171, 9), 1),
        )

    def change(
        self,
        subject_id: int,
        *,
        identifier: str | None = None,
        timezone: str | None = None,
        since: str = "2024-02-07T00:00:00Z",
    ) -> None:
        """Renames a subject, or moves it to another time zone."""
        person = self.of(subject_id)
        if identifier is not None:
            person = replace(person, identifier=identifier)
        if timezone is not None:
            person = replace(person, zones=(*person.zones, (timezone, since)))
        self._changed[subject_id] = person

    def study_json(self) -> Json:
        """The item of `/Studies/{id}`."""
        return {
            "id": self.study_id,
            "name": f"Synthetic {self.study_id}",
            "organizationName": "Sandbox",
            "createdDateTime": "2024-01-10T09:00:00Z",
            "studyStatus": "Active",
            "defaultWearPosition": "Wrist",
            "wearPositions": ["Wrist", "Waist"],
            "monitorDataCollectionMode": "Raw",
        }

    def sites_json(self) -> list[Json]:
        """The items of `/Sites`. A site without an identifier lacks the field."""
        items = []
        for site_id, identifier, name, timezone, _ in _SITES:
            item: Json = {
                "id": site_id,
                "studyId": self.study_id,
                "siteName": name,
                "description": None,
                "depot": "Main",
                "timezone": timezone,
            }
            items.append(item if identifier is None else {**item, "siteIdentifier": identifier})
        return items

    def listed(self, subject_ids: Sequence[int]) -> list[int]:
        """The subjects that `/Subjects` lists."""
        return [each for each in subject_ids if each not in self.unlisted]

    def subject_json(self, subject_id: int) -> Json:
        """The item of `/Subjects`."""
        person = self.of(subject_id)
        site_id, site_identifier = _SITES[person.site][:2]
        return {
            "id": subject_id,
            "studyId": self.study_id,
            "siteId": site_id,
            "siteIdentifier": site_identifier,
            "subjectIdentifier": person.identifier,
            "timezone": person.zones[-1][0],
            "wearPosition": "Wrist",
            "assignmentStatus": "Assigned",
            "dob": f"{person.born}T00:00:00",
            "gender": person.gender,
            "weight": person.weight,
            "weightUnit": "kg",
            "height": person.height,
            "heightUnit": "cm",
        }

    def timezones_json(self, subject_id: int) -> list[Json]:
        """The items of `/TimezoneHistory`."""
        return [
            {"subjectId": subject_id, "timezone": zone, "effectiveDateUtc": since}
            for zone, since in self.of(subject_id).zones
        ]

    def planned_visits_json(self) -> Json:
        """The object of `/Visits/PlannedVisits`."""
        return {
            "version": 1,
            "status": "Published",
            "studyPlannedVisits": [
                {
                    "studyPlannedVisitId": number,
                    "studyId": self.study_id,
                    "visitName": name,
                    "visitDay": day,
                    "visitWearPeriodName": f"{name} wear",
                    "plannedWearPeriodDuration": _VISIT_DAYS,
                    "minimumVisitWearPeriodCompliance": 4,
                }
                for number, name, day in _PLANNED
            ],
        }

    def visit_json(self, visit: tuple[int, int]) -> Json:
        """The item of `/Visits/ActualVisits` for a subject and a planned visit."""
        subject_id, planned = visit
        number, name, day = _PLANNED[planned]
        begun = FIRST_DATE + timedelta(days=day - 1)
        period: Json | None = None
        if planned == 0:
            period = {
                "wearPeriodId": subject_id * 10 + number,
                "wearPeriodName": f"{name} wear",
                "wearPeriodStartDate": f"{begun}T00:00:00",
                "wearPeriodEndDate": f"{begun + timedelta(days=_VISIT_DAYS)}T00:00:00",
            }
        return {
            "actualVisitId": subject_id * 10 + number,
            "subjectId": subject_id,
            "visitId": number,
            "visitName": name,
            "visitDate": f"{begun}T00:00:00",
            "wearPeriod": period,
        }

    def visits(self, subject_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Each subject with each planned visit."""
        return [(each, number) for each in subject_ids for number in range(len(_PLANNED))]
