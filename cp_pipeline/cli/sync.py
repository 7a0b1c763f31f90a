"""``cp-pipeline sync``: bring everything up to date, through Dagster.

Belongs here: options, the order of the steps, exit codes. Does not belong: the run (``sync_run``),
the words (``sync_words``, ``sync_document``), the work (``ingest``), its records (``defs``).
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import uuid4

import click

from cp_pipeline.cli.machine_output import Said, as_json, leave
from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.screen import answers, errors, progress_bar
from cp_pipeline.cli.study_words import refresh_study, say_invalid
from cp_pipeline.cli.subject_options import subject_identifier_option, subjects_named
from cp_pipeline.cli.sync_document import nothing_said, say_plan, saying_results
from cp_pipeline.cli.sync_run import WatchedSource, recover_orphaned_runs, run_in_dagster
from cp_pipeline.cli.sync_words import print_plan, say_failures, say_survey
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import Pipeline, Request
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse, count_loaded_by

EXIT_SOME_FAILED = 1
_SECONDS_TO_COUNT = 1.0


@click.command()
@click.option("--subject", "subject_ids", type=int, multiple=True, help="Only this subject.")
@click.option("--dataset", "dataset_names", multiple=True, help="Only this data set.")
@subject_identifier_option(multiple=True)
@click.option("--refresh", is_flag=True, help="Load again what is loaded already.")
@reason_option
@click.option("--dry-run", is_flag=True, help="Only print what would be loaded.")
@as_json
def sync(
    subject_ids: tuple[int, ...],
    dataset_names: tuple[str, ...],
    identifiers: tuple[str, ...],
    refresh: bool,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """List the exports and load what is new.

    --subject, --subject-identifier and --dataset can be repeated. Exit code 0: all loaded; 1: some
    partitions failed, or listed items cannot be used, each is named with its reason; 2: the
    configuration or the service is at fault.
    """

    def work(said: Said) -> int:
        storage = StorageSettings.from_environment()
        subjects = {*subject_ids, *subjects_named(Warehouse.of(storage), identifiers)}
        why = asked_reason(reason, ask=refresh and not dry_run)
        code = run_sync(subjects, dataset_names, refresh=refresh, dry_run=dry_run, said=said)
        if refresh and not dry_run:
            chosen = [f" --subject {each}" for each in sorted(subjects)]
            chosen += [f" --dataset {each}" for each in dataset_names]
            note_action(storage, "sync --refresh" + "".join(chosen), why)
        return code

    leave("sync", work, nothing_said(dry_run=dry_run), as_json=as_json)


def run_sync(
    subject_ids: Collection[int] = (),
    dataset_names: Collection[str] = (),
    *,
    refresh: bool = False,
    dry_run: bool = False,
    said: Said | None = None,
) -> int:
    """Do what ``cp-pipeline sync`` does, and fill its document; return the exit code."""
    started = time.monotonic()
    said = {} if said is None else said
    storage = StorageSettings.from_environment()
    pipeline = Pipeline(CentrePointSettings.from_environment(), storage)
    request = Request.of(subject_ids, dataset_names, refresh=refresh)
    with errors.status("Listing the exports …") as status:
        found = pipeline.survey(
            request,
            write=not dry_run,
            progress=lambda read, total: status.update(
                f"Listing the exports: {read:,} of {total:,} …"
            ),
        )
    say_survey(found)
    if request.is_whole and not dry_run:
        refresh_study(pipeline)
    say_plan(said, found)
    if dry_run:
        print_plan(found.plan, pipeline.names())
        say_invalid(errors, found.invalid, pipeline.names())
        return 0
    if not found.has_something_to_load:
        # No Dagster run for nothing: importing and recording it would cost more than the listing.
        pipeline.tidy()
        recover_orphaned_runs(pipeline)
        say_invalid(errors, found.invalid, pipeline.names())
        return EXIT_SOME_FAILED if found.invalid else 0
    run_id = said["run_id"] = str(uuid4())
    # Files arrive and are typed while Dagster starts, which takes as long as some hundreds of them.
    with (
        _saying_what_is_loaded(pipeline, run_id),
        progress_bar() as progress,
        pipeline.prepared(found, run_id) as executor,
    ):
        source = WatchedSource(pipeline, found.numbers.partitions_to_load, progress)
        source.planned(found.plan)
        with saying_results(said, source):
            run_in_dagster(source, executor, run_id, request)
    _say_outcome(source, time.monotonic() - started)
    say_invalid(errors, found.invalid, pipeline.names())
    return EXIT_SOME_FAILED if source.failures or found.invalid else 0


@contextmanager
def _saying_what_is_loaded(pipeline: Pipeline, run_id: str) -> Iterator[None]:
    """Of a run that could not go on, say how much it had loaded by then."""
    try:
        yield
    except PipelineError as error:
        pipeline.wait_at_most(_SECONDS_TO_COUNT)
        try:
            number = count_loaded_by(pipeline.questions, run_id)
        except PipelineError:
            raise error from None
        loaded, verb = count(number, "partition"), "was" if number == 1 else "were"
        raise PipelineError(f"{error.what} {loaded} {verb} loaded by then.", error.remedy) from None


def _say_outcome(source: WatchedSource, seconds: float) -> None:
    answers.print(
        f"{count(source.loaded, 'partition')} loaded, {count(source.rows, 'row')}, "
        f"in {seconds:.1f} s."
    )
    answers.print(f"Where the time went: {source.pipeline.where_the_time_went()}.")
    say_failures(source.failures, source.pipeline.names())
