"""What the sandbox answers with the scope CentrePoint (docs/api.md).

Belongs here: the paths below `/centrepoint/v3`. Does not belong: tokens and the order of checks
(`service.py`), the details themselves (`people.py`).
"""

import re
from functools import partial

from cp_pipeline.sandbox.answers import Answer, Request, document, text
from cp_pipeline.sandbox.listing import paged
from cp_pipeline.sandbox.study import SandboxStudy

DETAILS_PATH = "/centrepoint/v3"
DETAILS_SCOPE = "CentrePoint"

_OF_A_STUDY = re.compile(rf"{DETAILS_PATH}/studies/([0-9]{{1,18}})((?:/[a-z0-9]+)*)")
_TIMEZONES = re.compile(r"/subjects/([0-9]{1,18})/timezonehistory")


def of_details(path: str) -> tuple[int, str] | None:
    """The study and the rest of a path in lower case; None if it is another service's."""
    match = _OF_A_STUDY.fullmatch(path)
    return None if match is None else (int(match[1]), match[2])


def details(study: SandboxStudy, rest: str, request: Request) -> Answer:
    """The answer for a path below that of the study."""
    people, page = study.people, partial(paged, request, study.study_id)
    subject_ids = people.listed(study.subject_ids)
    if rest == "":
        return document(200, people.study_json())
    if rest == "/sites":
        return page(people.sites_json(), dict)
    if rest == "/subjects":
        return page(subject_ids, people.subject_json)
    match = _TIMEZONES.fullmatch(rest)
    if match is not None and int(match[1]) in subject_ids:
        return page(people.timezones_json(int(match[1])), dict)
    if people.has_visits and rest == "/visits/plannedvisits":
        return document(200, people.planned_visits_json())
    if people.has_visits and rest == "/visits/actualvisits":
        return page(people.visits(subject_ids), people.visit_json)
    return text(404, f"There is nothing at {request.path}.")
