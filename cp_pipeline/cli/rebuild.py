"""``cp-pipeline rebuild``: a new warehouse from the landing alone.

Belongs here: the progress bar and the result message. Does not belong: the work
(``ingest.warehouse_rebuild``).
"""

import sys

import click

from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.screen import answers, errors, progress_bar
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import rebuild as rebuild_warehouse
from cp_pipeline.settings import StorageSettings

EXIT_SOME_LEFT_OUT = 1


@click.command()
@reason_option
def rebuild(reason: str | None) -> None:
    """Build a new warehouse from the landed files, without the network.

    It replaces the old warehouse, which is kept beside it. Exit code 0: all files were loaded;
    1: some files were left out, each named with its reason; 2: the warehouse cannot be built.
    """
    storage = StorageSettings.from_environment()
    why = asked_reason(reason)
    with progress_bar() as progress:
        task = progress.add_task("Rebuilding", total=None, rate="")
        done = rebuild_warehouse(
            storage, lambda number, total: progress.update(task, completed=number, total=total)
        )
    note_action(storage, "rebuild", why)
    answers.print(
        f"{count(done.loads, 'load')}, {count(done.rows, 'row')} in the new {storage.warehouse}."
    )
    if not done.old_was_read:
        answers.print(
            "The old warehouse could not be read. So this information is lost: when each load was "
            "made and by which run, what failed, what was listed (the next sync lists again), and "
            "what was compacted (these loads are in the new warehouse again)."
        )
    if done.never_loaded:
        answers.print(
            f"{count(done.never_loaded, 'landed file')} never loaded before; the next sync decides "
            "whether to load them."
        )
    if done.kept_as:
        answers.print(
            f"The old file is kept as {done.kept_as}; delete it when you no longer need it."
        )
    if done.left_out:
        errors.print(f"{count(len(done.left_out), 'load')} left out:")
        for each in done.left_out:
            errors.print(f"  {each}")
        errors.print("The next sync downloads the files that CentrePoint still lists.")
        sys.exit(EXIT_SOME_LEFT_OUT)
