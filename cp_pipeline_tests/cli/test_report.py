"""``cp-pipeline report`` and what ``publish`` says of the report; no model is built here."""

import shutil
from pathlib import Path

import dagster as dg

from cp_pipeline.cli.publish import EXIT_NOT_PUBLISHED, _say_report
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.cli.test_commands import all_output, run


def test_the_report_is_written_where_the_setting_says(
    published_study: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(published_study / "centrepoint.duckdb", tmp_path / "data")
    done = run("report", folder=tmp_path, CP_REPORT="out/study.html")
    assert done.returncode == 0, all_output(done)
    assert str(tmp_path / "out" / "study.html") in done.stdout
    assert (tmp_path / "out" / "study.html").read_text().startswith("<!DOCTYPE html>")
    quiet = run("report", "--quiet", folder=tmp_path)
    assert (quiet.returncode, all_output(quiet)) == (0, "")


def test_publish_tells_that_only_the_report_failed() -> None:
    @dg.op
    def failing() -> None:
        raise dg.Failure("The disk is full.", allow_retries=False)

    @dg.job
    def publishing() -> None:
        failing()

    said: dict[str, object] = {"report": None, "reason": None}
    result = publishing.execute_in_process(raise_on_error=False)
    storage = StorageSettings.from_environment()
    assert _say_report(result, storage, said) == EXIT_NOT_PUBLISHED
    assert said == {"report": None, "reason": "The disk is full."}
