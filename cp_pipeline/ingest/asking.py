"""Note each question to CentrePoint: when, what for, and whether it was answered.

Belongs here: what is noted of a survey and of a look. Does not belong: where the notes are
(``warehouse.asked``), asking (``survey``, ``look_survey``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from cp_pipeline.centrepoint import ServiceError
from cp_pipeline.ingest.look_survey import LookSurvey
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.warehouse import ANSWERED, Purpose, note


@dataclass(slots=True)
class Asked:
    """A question that is being noted. ``outcome``: a sentence for people, if it got no answer."""

    outcome: str = ANSWERED


@contextmanager
def noted(rooms: Rooms, purpose: Purpose) -> Iterator[Asked]:
    """Note a question to CentrePoint, which the block asks."""
    asked, started_at = Asked(), datetime.now(UTC)
    try:
        yield asked
    except ServiceError as error:
        asked.outcome = _words(error, purpose)
        raise
    finally:
        study_ids = rooms.centrepoint.settings.study_ids
        note(rooms.storage.data_dir, study_ids, purpose, started_at, asked.outcome)


def outcome_of(found: LookSurvey, seconds: float) -> str:
    """Return the outcome of a look that took at most so many seconds."""
    if found.failure is not None:
        return _words(found.failure, Purpose.LOOK)
    if not found.look.pages and found.look.has_subjects:
        return f"CentrePoint did not answer within {seconds:.0f} s."
    return ANSWERED


def _words(error: ServiceError, purpose: Purpose) -> str:
    """Say why there was no answer, without a subject: a note stays when a subject is erased."""
    if purpose is Purpose.WHOLE:
        return error.what
    return _OF_SOME.get(type(error).__name__, "CentrePoint gave no usable answer.")


_OF_SOME = {
    "ServiceUnavailable": "No answer from CentrePoint.",
    "CredentialsRefused": "CP_CLIENT_ID or CP_CLIENT_SECRET is refused.",
    "ScopeRefused": "The client may not use the scope DataAccess.",
    "TokenRefused": "CentrePoint refused a new token.",
    "StudyRefused": "The client has no access to the study.",
    "ConnectionSettingsWrong": "The address, the proxy or the certificates cannot be used.",
}
