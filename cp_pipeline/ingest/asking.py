"""Note each question to CentrePoint: when, what for, and whether it was answered.

Belongs here: what is noted of a survey and of a look. Does not belong: where the notes are
(``warehouse.asked``), asking (``survey``, ``look_survey``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cp_pipeline.centrepoint import ServiceError
from cp_pipeline.ingest.look_survey import LookSurvey
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.ingest.survey import Request, Survey
from cp_pipeline.warehouse import ANSWERED, LastAsked, Purpose, last_asked, move_notes, note


@dataclass(slots=True)
class Asking:
    """Notes questions to CentrePoint.

    Args:
        rooms: the service, and the warehouse of the notes.
    """

    rooms: Rooms
    _outcome: str = field(default=ANSWERED, init=False)

    @contextmanager
    def noted(self, purpose: Purpose) -> Iterator[None]:
        """Note a question, which the block asks."""
        started_at, self._outcome = datetime.now(UTC), ANSWERED
        try:
            yield
        except ServiceError as error:
            self._outcome = _words(error, purpose)
            raise
        finally:
            study_ids = self.rooms.centrepoint.settings.study_ids
            note(self.rooms.storage.data_dir, study_ids, purpose, started_at, self._outcome)

    def looked(self, found: LookSurvey, seconds: float) -> None:
        """Say how the look went that is being noted."""
        if found.failure is not None:
            self._outcome = _words(found.failure, Purpose.LOOK)
        elif not found.look.pages and found.look.has_subjects:
            self._outcome = f"CentrePoint did not answer within {seconds:.0f} s."

    def surveyed(self, found: Survey) -> None:
        """Move the notes into the warehouse, if the survey has opened it for writing anyway."""
        if found.changed:
            move_notes(self.rooms.storage.data_dir, self.rooms.warehouse)

    def last(self) -> list[LastAsked]:
        """Return when each study was last asked for."""
        study_ids = self.rooms.centrepoint.settings.study_ids
        return last_asked(self.rooms.storage.data_dir, self.rooms.warehouse, study_ids)


def purpose_of(request: Request) -> Purpose:
    """Return what a survey asks for."""
    whole = request.subject_ids is None and request.dataset_names is None
    return Purpose.WHOLE if whole else Purpose.SOME


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
