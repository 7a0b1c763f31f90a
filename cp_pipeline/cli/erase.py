"""``cp-pipeline erase``: remove a subject who withdrew consent.

Belongs here: the confirmation prompt, the result message, and the order: Dagster and dbt first.
Does not belong: the work (``ingest.subject_erasure``, ``defs.instance.event_erasure``).
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

import click

from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.screen import answers
from cp_pipeline.cli.subject_options import subject_identifier_option, subjects_named
from cp_pipeline.defs.instance.home_folder import home_folder
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import Erasable, erasable, erase as erase_subject
from cp_pipeline.settings import StorageSettings, is_lake
from cp_pipeline.warehouse import Warehouse


@click.command()
@click.option("--subject", "subject_id", type=int, help="The subject's number in CentrePoint.")
@subject_identifier_option()
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--no-dagster", is_flag=True, help="Leave Dagster's storage unchanged (erase there yourself)."
)
def erase(
    subject_id: int | None,
    identifier: str | None,
    reason: str | None,
    yes: bool,
    no_dagster: bool,
) -> None:
    """Remove a subject from landing, quarantine, warehouse, published file and Dagster's storage.

    All logs and results of dbt's builds are removed too, with the study report and the workbook.
    lineage.erasures keeps the fact of the erasure, and sync skips the subject from then on. This
    cannot be undone. Copies and backups elsewhere are not erased: delete the subject there
    yourself.
    """
    if (subject_id is None) == (identifier is None):
        raise click.UsageError("Give either --subject or --subject-identifier.")
    storage = StorageSettings.from_environment()
    if subject_id is None:
        (subject_id,) = subjects_named(Warehouse.of(storage), [str(identifier)])
    stored = erasable(storage, subject_id)
    _print_stored(stored, subject_id)
    if not yes:
        click.confirm("Erase this subject permanently?", abort=True)
    why = asked_reason(reason, ask=not yes)
    with answers.status("Erasing …"):
        if not no_dagster:
            _erase_from_dagster(storage, subject_id, stored)
        _erase_from_models(storage)
        erased = erase_subject(storage, subject_id)
        # Without the subject, who is in lineage.erasures.
        note_action(storage, "erase", why)
    answers.print(
        f"Subject {subject_id} is erased. Only a note of the erasure is kept (lineage.erasures)."
    )
    if erased.cuts:
        answers.print(
            f"Also erased from cuts, whose manifests say so: {', '.join(erased.cuts)}. An analysis "
            "of such a cut has other numbers now."
        )
    if erased.published_removed:
        answers.print(
            f"{storage.published} is removed, because it has tables without a column for the "
            "subject. Run `cp-pipeline publish` to create the file again."
        )
    _print_removed(storage, erased.removed)
    if erased.unclear_tables:
        answers.print(
            f"Tables without a column for the subject: {', '.join(erased.unclear_tables)}. They "
            "may still have the subject's data. Build them again, then run this command again."
        )
    if is_lake(storage.warehouse):
        answers.print(
            "Older snapshots of the DuckLake are given up. Backups of its catalog and of its data "
            "files, old versions that the object store keeps, and PostgreSQL's write-ahead log may "
            "still have the subject's data (docs/lake.md)."
        )


def _print_removed(storage: StorageSettings, removed: Iterable[Path]) -> None:
    if storage.publish_to:
        answers.print(
            f"The published file in {storage.publish_to} is removed. Run `cp-pipeline publish` to "
            "upload it again. If the store keeps old versions, remove them there."
        )
    for path in removed:
        made_by = "report" if path == storage.report else "publish --xlsx"
        answers.print(f"{path} is removed. Run `cp-pipeline {made_by}` to make it again.")


def _print_stored(stored: Erasable, subject_id: int) -> None:
    known = stored.known
    if known.erased_at is not None:
        answers.print(f"Subject {subject_id} was erased on {known.erased_at:%Y-%m-%d %H:%M} UTC.")
    answers.print(
        f"Subject {subject_id} has {count(known.loads, 'load')} with "
        f"{count(known.rows, 'row')}, and {count(stored.files, 'file')} in landing and quarantine."
    )
    if stored.old_files:
        answers.print(
            f"{count(stored.old_files, 'old warehouse')} kept by rebuild will be deleted."
        )


def _erase_from_models(storage: StorageSettings) -> None:
    with warnings.catch_warnings(action="ignore"):
        from cp_pipeline.defs.dbt_project import erase_build_results  # noqa: PLC0415  (a slow import)
    erase_build_results(storage)


def _erase_from_dagster(storage: StorageSettings, subject_id: int, stored: Erasable) -> None:
    if not (home_folder(storage) / "dagster.yaml").exists():
        return
    with warnings.catch_warnings(action="ignore"):
        from cp_pipeline.defs.instance.dagster_home import open_instance  # noqa: PLC0415
        from cp_pipeline.defs.instance.event_erasure import erase_events  # noqa: PLC0415
    with open_instance(storage) as instance:
        erase_events(instance, subject_id, stored.known.texts, stored.known.labels)
