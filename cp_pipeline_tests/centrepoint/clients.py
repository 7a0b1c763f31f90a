"""Helpers of the tests in this folder: a client of a sandbox, and the requests that it sent.

Belongs here: short functions for common steps. Does not belong: the code under test.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cp_pipeline.centrepoint import CentrePoint
from cp_pipeline.domain.exports import ExportFile
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import CentrePointSettings

STUDY = 4711
SEED = "datasetexportfiles"
CURRENT = "datasetfiles"


def settings_of(sandbox: Sandbox, **changes: Any) -> CentrePointSettings:
    """Return the usual settings for the sandbox, with changes."""
    return replace(CentrePointSettings.from_environment(sandbox.environment), **changes)


def connect(sandbox: Sandbox, **changes: Any) -> CentrePoint:
    """Return a client of the sandbox, with changed settings."""
    return CentrePoint(settings_of(sandbox, **changes))


def small_study(files: int, study: SandboxStudy | None = None) -> SandboxStudy:
    """Add that many subjects, each with one tiny file, to a new study (or to the given one)."""
    study = study or SandboxStudy(STUDY)
    for number in range(files):
        study.put(subject_id=number + 1, data_set_name="Steps", csv=b"STEPS\n%d\n" % number)
    return study


def asked(sandbox: Sandbox, *kinds: str) -> list[tuple[str, int]]:
    """Return the kind and status of each request so far, or only of some kinds."""
    return [
        (each.kind, each.status) for each in sandbox.requests if each.kind in kinds or not kinds
    ]


def forget_tokens(sandbox: Sandbox) -> None:
    """Make the sandbox refuse every token that it has issued."""
    sandbox._service._tokens._expiries.clear()


def tokens_handed_out(sandbox: Sandbox) -> list[str]:
    """Return every token that the sandbox has issued."""
    return list(sandbox._service._tokens._expiries)


class Keeper:
    """Receives files: keeps the bytes, and the file of each call."""

    def __init__(self) -> None:
        self.called_with: list[ExportFile] = []

    def __call__(self, export_file: ExportFile, chunks: Iterator[bytes]) -> bytes:
        self.called_with.append(export_file)
        return b"".join(chunks)
