"""``cp-pipeline erase``: remove a subject who withdrew consent.

Belongs here: the question and the outcome in words, and that records of Dagster and dbt go first.
Does not belong: the work (``ingest.subject_erasure``, ``defs.instance.event_erasure``).
"""

import os
import warnings
from pathlib import Path

import click

from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import Erasable, erasable
from cp_pipeline.ingest import erase as erase_subject
from cp_pipeline.settings import StorageSettings


@click.command()
@click.option("--subject", "subject_id", type=int, required=True, help="CentrePoint's number.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--no-dagster", is_flag=True, help="Leave Dagster's records alone (see to them yourself)."
)
def erase(subject_id: int, yes: bool, no_dagster: bool) -> None:
    """Remove a subject from landing, quarantine, warehouse, published file, and Dagster's records.

    What dbt wrote of its builds goes as well, whole. Only that it was done is kept, in
    lineage.erasures; sync leaves the subject alone from then on.
    It cannot be undone. Copies and backups made by others are not reached.
    """
    storage = StorageSettings.from_environment()
    found = erasable(storage, subject_id)
    _say(found, subject_id)
    if not yes:
        click.confirm("Erase this subject for good?", abort=True)
    with answers.status("Erasing …"):
        if not no_dagster:
            _erase_from_dagster(storage, subject_id, found)
        _erase_from_models(storage)
        done = erase_subject(storage, subject_id)
    answers.print(f"Subject {subject_id} is erased; lineage.erasures says so, and nothing else.")
    if done.published_removed:
        answers.print(
            f"{storage.published} is removed, because it has tables in which no column tells whose "
            "a row is. Publishing makes it anew."
        )
    if done.unclear_tables:
        answers.print(
            f"In {', '.join(done.unclear_tables)} no column tells whose a row is: build them "
            "again, then run this once more."
        )
    if storage.warehouse.startswith("ducklake:"):
        answers.print(
            "A DuckLake keeps deleted rows in its older snapshots. Expire those and clean up: "
            "CALL ducklake_expire_snapshots(…), then ducklake_cleanup_old_files(…)."
        )


def _say(found: Erasable, subject_id: int) -> None:
    if found.erased_at is not None:
        answers.print(f"Subject {subject_id} was erased on {found.erased_at:%Y-%m-%d %H:%M} UTC.")
    answers.print(
        f"Of subject {subject_id} there are {count(found.loads, 'load')} with "
        f"{count(found.rows, 'row')}, and {count(found.files, 'file')} in landing and quarantine."
    )
    if found.old_files:
        answers.print(
            f"{count(found.old_files, 'old warehouse')} kept by rebuild goes as well, whole."
        )


def _erase_from_models(storage: StorageSettings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cp_pipeline.defs.dbt_project import erase_build_results  # noqa: PLC0415  (a slow import)
    erase_build_results(storage)


def _erase_from_dagster(storage: StorageSettings, subject_id: int, found: Erasable) -> None:
    home = Path(os.environ.get("DAGSTER_HOME", "") or storage.dagster_home)
    if not (home / "dagster.yaml").exists():
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cp_pipeline.defs.instance.dagster_home import open_instance  # noqa: PLC0415
        from cp_pipeline.defs.instance.event_erasure import erase_events  # noqa: PLC0415
    with open_instance(storage) as instance:
        erase_events(instance, subject_id, found.texts)
