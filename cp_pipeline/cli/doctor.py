"""``cp-pipeline doctor``: check the installation, and say how to fix each problem.

Belongs here: the checks and their order. Does not belong: how each check works (the package that it
is about).
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import click

from cp_pipeline.centrepoint import CentrePoint
from cp_pipeline.cli.machine_output import EXIT_AT_FAULT, Said, as_json, leave
from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.env_file import read_differently
from cp_pipeline.landing import ObjectStore
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse, check_data_files, loaded_executions

Answer = TypeVar("Answer")
_PACKAGES = ("cp-pipeline", "dagster", "dagster-webserver", "duckdb", "polars", "requests")


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Check settings, token, scopes, study, warehouse and versions; say how to fix each problem.

    Exit code 0: no problem found (a study without exports is no problem); 2: a problem was found.
    """
    leave("doctor", _examine, {"versions": {}, "checks": []}, as_json=as_json)


def _examine(said: Said) -> int:
    checks = _Checks(said["checks"])
    said["versions"] = {name: version(name) for name in _PACKAGES}
    versions = ", ".join(f"{name} {number}" for name, number in said["versions"].items())
    answers.print(f"  versions: {versions}")
    if Path(".env").exists():
        checks.ask(".env", _reading_it_alike, lambda _: "values are read literally")
    access = checks.ask("settings", CentrePointSettings.from_environment, _settings)
    if access is not None:
        centrepoint = CentrePoint(access)
        token = checks.ask(
            "token", lambda: _taking_a_token(centrepoint), lambda _: "granted, DataAccess"
        )
        for study_id in access.study_ids if token else ():
            checks.ask(
                f"study {study_id}",
                partial(centrepoint.count_export_files, study_id),
                lambda number: f"{_exports(number)} (dialect {centrepoint.dialect})",
            )
        _check_details(checks, access, centrepoint)
    storage = StorageSettings.from_environment()
    warehouse = Warehouse.of(storage, 5.0)
    opened = checks.ask(
        "warehouse",
        lambda: loaded_executions(warehouse),
        lambda loaded: (
            f"{storage.warehouse}: "
            + (count(len(loaded), "export") + " loaded" if warehouse.exists() else "not made yet")
        ),
    )
    if opened is not None and not warehouse.is_file and warehouse.exists():
        checks.ask(
            "data files",
            lambda: check_data_files(warehouse),
            lambda path: f"{path}: may be written, read and removed",
        )
    if storage.landing_url:
        checks.ask("landing", partial(_place, storage.landing_url), str)
    if storage.publish_to:
        upload = partial(_place, storage.publish_to, "the published file in", overwrites=True)
        checks.ask("published file", upload, str)
    return EXIT_AT_FAULT if checks.failed else 0


def _place(location: str, use: str = "the landing", *, overwrites: bool = False) -> str:
    keeps_versions = ObjectStore.at(location, use).check(overwrites=overwrites)
    words = f"{location}: may be written, read and removed from"
    if keeps_versions:
        words += (
            ". It keeps versions of removed files: what is erased stays there until a lifecycle "
            "rule removes it (docs/hosts.md)"
        )
    return words


class _Checks:
    """Run checks one after another, print each result on a line, and add it to the document."""

    def __init__(self, said: list[Said]) -> None:
        self.failed = False
        self._said = said

    def ask(
        self, name: str, question: Callable[[], Answer], words: Callable[[Answer], str]
    ) -> Answer | None:
        try:
            answer = question()
        except PipelineError as error:
            self.failed = True
            self._say(name, error.what, error.remedy or None, passed=False)
            answers.print(f"✗ {name}: {error.what}")
            if error.remedy:
                answers.print(f"  → {error.remedy}")
            return None
        self._say(name, words(answer), None, passed=True)
        answers.print(f"✓ {name}: {words(answer)}")
        return answer

    def _say(self, name: str, words: str, remedy: str | None, *, passed: bool) -> None:
        self._said.append({"name": name, "passed": passed, "words": words, "remedy": remedy})


def _reading_it_alike() -> bool:
    if names := read_differently(Path.cwd()):
        raise PipelineError(
            f"{', '.join(names)}: cp-pipeline reads ${{…}} literally, `dagster dev` replaces it.",
            "Write the full value in .env.",
        )
    return True


def _settings(access: CentrePointSettings) -> str:
    studies = ", ".join(map(str, access.study_ids))
    hosts = ", ".join(access.private_hosts)
    private = f", private hosts allowed in file links: {hosts}" if hosts else ""
    return (
        f"{access.api_url}, study {studies}, dialect {access.dialect}, {_requests(access)}{private}"
    )


def _requests(access: CentrePointSettings) -> str:
    words = f"at most {access.requests_per_minute} requests a minute"
    if access.hosts == 1:
        return words
    return f"{words} from this host (CP_REQUESTS_PER_MINUTE divided among {access.hosts} hosts)"


def _check_details(checks: _Checks, access: CentrePointSettings, centrepoint: CentrePoint) -> None:
    """Check the second scope, with its own client if the settings name one; only if it is on."""
    details, wanted = centrepoint.details, access.details
    if details is None or wanted is None:
        return
    client = "CP_DETAILS_CLIENT_ID" if wanted.has_own_client else "CP_CLIENT_ID"
    for study_id in access.study_ids:
        checks.ask(
            f"details of study {study_id}",
            partial(details.check_access, study_id),
            lambda _: f"granted, CentrePoint (client in {client})",
        )


def _taking_a_token(centrepoint: CentrePoint) -> bool:
    centrepoint.check_access()
    return True


def _exports(number: int) -> str:
    return f"{count(number, 'export')} listed" if number else NO_EXPORTS
