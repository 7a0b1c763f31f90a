"""``cp-pipeline publish``: the models, their tests, and the analysts' file, through Dagster.

Belongs here: the outcome on the screen. Does not belong: the work (``defs.publish_job``).
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from cp_pipeline.cli.machine_output import Said, as_json, leave
from cp_pipeline.cli.screen import answers, errors
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse

if TYPE_CHECKING:
    from dagster import ExecuteInProcessResult

EXIT_NOT_PUBLISHED = 1
_BESIDE = "beside the published file"


@click.command()
@click.option(
    "--xlsx",
    "workbook",
    is_flag=False,
    flag_value=_BESIDE,
    metavar="[PATH]",
    help="Also write the marts as an Excel workbook; by default beside the published file.",
)
@as_json
def publish(workbook: str | None, as_json: bool) -> None:
    """Build the SQL models, test them, and replace the analysts' file and the study report.

    Exit code 0: published; 1: a model or a test of it failed, and the old file stays, or the
    report could not be made.
    """
    empty: Said = {
        "published": None,
        "tables": 0,
        "rows": 0,
        "bytes": 0,
        "run_id": None,
        "reason": None,
        "report": None,
        "workbook": None,
        "uploaded": None,
        "sha256": None,
    }

    def work(said: Said) -> int:
        code = run_publish(said)
        if workbook is not None and said["published"]:
            _write_workbook(said, None if workbook == _BESIDE else Path(workbook).absolute())
        return code

    leave("publish", work, empty, as_json=as_json)


def _write_workbook(said: Said, path: Path | None) -> None:
    # A slow import that only this option needs.
    from cp_pipeline.warehouse.workbook import write_workbook  # noqa: PLC0415

    storage = StorageSettings.from_environment()
    with errors.status("Writing the workbook …"):
        written = write_workbook(storage, path)
    said["workbook"] = str(written.path)
    answers.print(f"The marts are in the workbook {written.path}.")
    for remark in written.remarks:
        errors.print(remark, style="yellow")
    if path is not None and path != storage.workbook:
        errors.print("erase does not know this path: delete the workbook yourself if it must go.")


@contextmanager
def _less_logged() -> Iterator[None]:
    """Log only warnings and errors meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def run_publish(said: Said | None = None) -> int:
    """Do what ``cp-pipeline publish`` does, and fill its document; return the exit code."""
    said = {} if said is None else said
    storage = StorageSettings.from_environment()
    if not Warehouse.of(storage).exists():
        raise PipelineError("Nothing is loaded yet, so nothing can be published.", "Sync first.")
    # Slow imports, and warnings about beta features that are no business of a nightly log. What dbt
    # says of each model is in the run's log in the Dagster UI.
    with (
        warnings.catch_warnings(action="ignore"),
        _less_logged(),
        errors.status("Building the models …"),
        redirect_stdout(StringIO()),
    ):
        from dagster import AssetCheckSeverity  # noqa: PLC0415

        from cp_pipeline.defs.dbt_project import model_definitions  # noqa: PLC0415
        from cp_pipeline.defs.definitions import build_defs  # noqa: PLC0415
        from cp_pipeline.defs.instance.command_runs import command_run  # noqa: PLC0415

        job = build_defs(models=model_definitions()).resolve_job_def("publish")
        run_id = said["run_id"] = str(uuid4())
        with command_run(storage, run_id) as run:
            result = run.execute(job)
    made = result.asset_materializations_for_node("published")
    if not made:
        return _say_failure(f"Not published; {storage.published} stays as it was.", result, said)
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity is AssetCheckSeverity.ERROR:
            errors.print(f"The check {check.check_name} is red.", style="red")
            errors.print(check.description or "", markup=False)
    said["published"] = str(storage.published)
    said |= {name: int(str(made[0].metadata[name].value)) for name in ("tables", "rows", "bytes")}
    answers.print(f"{count(said['tables'], 'table')} published in {storage.published}.")
    if "uploaded" in made[0].metadata:
        said |= {name: str(made[0].metadata[name].value) for name in ("uploaded", "sha256")}
        answers.print(f"Uploaded to {said['uploaded']} (SHA-256 {said['sha256']}).")
    return _say_report(result, storage, said)


def _say_report(result: "ExecuteInProcessResult", storage: StorageSettings, said: Said) -> int:
    """Say where the study report is, or why it was not made; return the exit code."""
    if result.success and not result.asset_materializations_for_node("study_report"):
        errors.print("The study report is not made: the models that it is made of are missing.")
        return 0
    if result.success:
        said["report"] = str(storage.report)
        answers.print(f"The study report is {storage.report}.")
        return 0
    what = f"The study report is not made; {storage.report} stays as it was."
    return _say_failure(what, result, said)


def _say_failure(what: str, result: "ExecuteInProcessResult", said: Said) -> int:
    """Say what was not made, and why; return the exit code."""
    # Imported here, because importing Dagster takes a second. After a run it is imported already.
    from cp_pipeline.defs.load_outcome import reason_of_run  # noqa: PLC0415

    errors.print(what, style="red")
    said["reason"] = reason_of_run(result.all_events)
    errors.print(said["reason"])
    return EXIT_NOT_PUBLISHED
