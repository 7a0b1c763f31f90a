"""What the tests of this folder share: a client of a sandbox, and a look at what it asked for.

Belongs here: short ways to say common things. Does not: anything that is being tested.
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
    """The settings that a person would have for the sandbox, but for the changes."""
    return replace(CentrePointSettings.from_environment(sandbox.environment), **changes)


def connect(sandbox: Sandbox, **changes: Any) -> CentrePoint:
    """A client of the sandbox; the changes are to its settings."""
    return CentrePoint(settings_of(sandbox, **changes))


def small_study(files: int, study: SandboxStudy | None = None) -> SandboxStudy:
    """A study (or the given one) with so many subjects, each with one tiny file."""
    study = study or SandboxStudy(STUDY)
    for number in range(files):
        study.put(subject_id=number + 1, data_set_name="Steps", csv=b"STEPS\n%d\n" % number)
    return study


def asked(sandbox: Sandbox, *kinds: str) -> list[tuple[str, int]]:
    """The kind and the status of the requests so far, or of those of some kinds."""
    return [
        (each.kind, each.status) for each in sandbox.requests if each.kind in kinds or not kinds
    ]


def forget_tokens(sandbox: Sandbox) -> None:
    """Makes the sandbox refuse every token it has handed out."""
    sandbox._service._tokens._expiries.clear()


def tokens_handed_out(sandbox: Sandbox) -> list[str]:
    """Every token the sandbox has handed out."""
    return list(sandbox._service._tokens._expiries)


class Keeper:
    """Receives files: keeps the bytes, and remembers for which file it was called."""

    def __init__(self) -> None:
        self.called_with: list[ExportFile] = []

    def __call__(self, export_file: ExportFile, chunks: Iterator[bytes]) -> bytes:
        self.called_with.append(export_file)
        return b"".join(chunks)
