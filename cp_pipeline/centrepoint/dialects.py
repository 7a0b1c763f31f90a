"""Which of the two dialects of the export listing the service speaks (docs/api.md, first table).

Belongs here: the order of asking, remembering what answered, and the words when nothing did.
Does not belong: requests and pages (``listing``).
"""

import logging
import threading
from collections.abc import Mapping

import requests

from cp_pipeline.centrepoint.answers import describe
from cp_pipeline.centrepoint.api import refusal
from cp_pipeline.centrepoint.errors import ServiceError, StudyRefused
from cp_pipeline.settings import Dialect, DialectSetting

SEED: Dialect = "datasetexportfiles"
CURRENT: Dialect = "datasetfiles"
# Answers of a service that does not know a dialect.
UNKNOWN_DIALECT = frozenset({400, 404, 405})
BODY_HINT = (
    "A proxy may refuse a GET request with a body, or remove the body: "
    "CP_EXPORT_DIALECT=datasetfiles sends no body."
)
# Answers of such a proxy; it may also close the connection.
_REFUSED_BODIES = frozenset({400, 403, 405, 406, 411, 413, 415, 422, 501, 502})
REMEDY = "Check CP_API_URL and CP_EXPORT_DIALECT."
_log = logging.getLogger(__name__)


class DialectChoice:
    """The dialect of one client: set, or found by asking. Thread-safe.

    What answered once is kept, so pages of one listing are never of two dialects.
    """

    def __init__(self, setting: DialectSetting) -> None:
        self._setting = setting
        # The dialect that answered; None before the first answer.
        self.answered: Dialect | None = None
        self._lock = threading.Lock()

    def to_ask(self) -> tuple[Dialect, ...]:
        """Return the dialects to ask in, one after another."""
        known = self.answered or self._setting
        return (SEED, CURRENT) if known == "auto" else (known,)

    def keep(self, dialect: Dialect) -> None:
        """Remember the dialect that answered; log it once, unless it was set."""
        with self._lock:
            if self.answered is not None:
                return
            self.answered = dialect
            if self._setting == "auto":
                _log.debug("CentrePoint answers in the dialect %s", dialect)


def refusal_of_dialects(
    refused: Mapping[Dialect, requests.Response], study_id: int, purpose: str
) -> ServiceError:
    """Return the error for a listing that was refused in each dialect that was asked for.

    Args:
        refused: the answers, in the order of asking; at least one.
        study_id: the study that was asked about.
        purpose: what the requests were for.
    """
    answers = list(refused.values())
    error = _of_one(answers[-1], study_id, purpose)
    if len(answers) == 1:
        sent_body = answers[0].request.body and answers[0].status_code in _REFUSED_BODIES
        return with_body_hint(error) if sent_body else error
    if answers[-1].status_code in UNKNOWN_DIALECT:
        # The service may also word an unknown study so.
        error = StudyRefused(error.what, "Check CP_STUDY_ID, CP_API_URL and CP_EXPORT_DIALECT.")
    words = ", ".join(f"{dialect}: {describe(answer)}" for dialect, answer in refused.items())
    return type(error)(
        f"CentrePoint refused both dialects while {purpose} ({words}).",
        error.remedy,
    )


def with_body_hint(error: ServiceError) -> ServiceError:
    """Return the same error with a hint: the request had a body, which may be the cause."""
    return type(error)(error.what, f"{error.remedy} {BODY_HINT}")


def _of_one(response: requests.Response, study_id: int, purpose: str) -> ServiceError:
    if response.status_code == requests.codes.not_found:
        return StudyRefused(
            f"The API has no study {study_id}, while {purpose} ({describe(response)}).",
            "Check CP_STUDY_ID, CP_API_URL and CP_EXPORT_DIALECT.",
        )
    return refusal(response, study_id, purpose, REMEDY)
