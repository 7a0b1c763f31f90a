"""``cp-pipeline sync``: bring everything up to date, through Dagster.

Belongs here: options, the plan and the progress on the screen, exit codes.
Does not belong: the work (``ingest``), its records (``defs``).
"""

import gc
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import click
from rich.progress import Progress, TaskID
from rich.table import Table

from cp_pipeline.cli.listing_remarks import say_invalid
from cp_pipeline.cli.machine_output import Said, as_json, leave
from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.run_failure import only_partitions_failed, reason
from cp_pipeline.cli.screen import answers, errors, progress_bar
from cp_pipeline.cli.study_words import program_words, refresh_study, subject_words
from cp_pipeline.cli.subject_options import subject_identifier_option, subjects_named
from cp_pipeline.cli.sync_document import nothing_said, say_plan, saying_results
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.study_details import StudyNames
from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.ingest import (
    Account,
    Executor,
    PartitionFailed,
    PartitionLoaded,
    PartitionResult,
    Pipeline,
    Plan,
    Request,
    Survey,
    pending_remarks,
)
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse, count_loaded_by

EXIT_SOME_FAILED = 1
_SHOWN = 40
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
    _say_survey(found)
    if request.is_whole and not dry_run:
        refresh_study(pipeline, errors)
    say_plan(said, found)
    if dry_run:
        _print_plan(found.plan, pipeline.names())
        say_invalid(errors, found.invalid, pipeline.names())
        return 0
    if not found.has_something_to_load:
        # No Dagster run for nothing: importing and recording it would cost more than the listing.
        pipeline.tidy()
        _recover_orphaned_runs(pipeline)
        say_invalid(errors, found.invalid, pipeline.names())
        return EXIT_SOME_FAILED if found.invalid else 0
    run_id = said["run_id"] = str(uuid4())
    # Files arrive and are typed while Dagster starts, which takes as long as some hundreds of them.
    with (
        _saying_what_is_loaded(pipeline, run_id),
        progress_bar() as progress,
        pipeline.prepared(found, run_id) as executor,
    ):
        source = _WatchedSource(pipeline, found.numbers.partitions_to_load, progress)
        source.planned(found.plan)
        with saying_results(said, source):
            _run_in_dagster(source, executor, run_id, request)
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


class _WatchedSource(PipelineResource):
    """The run's own pipeline is this process's; shows what is done."""

    # A failure is reported at once; the person who runs the command decides when to try again.
    retries = False

    def __init__(self, pipeline: Pipeline, partitions: int, progress: Progress) -> None:
        self.pipeline = pipeline
        self._progress = progress
        self._task: TaskID = progress.add_task("Loading", total=partitions, rate="")
        self._started = time.monotonic()
        self._plan: Plan | None = None
        self._account: Account | None = None
        self.loaded = self.rows = 0
        self.failures: list[PartitionFailed] = []

    def open(self) -> Pipeline:
        return self.pipeline

    def storage(self) -> StorageSettings:
        return self.pipeline.storage

    def planned(self, plan: Plan) -> None:
        if plan is not self._plan:
            self.close_account()
            self._plan, self._account = plan, Account(plan)

    def close_account(self) -> None:
        """Check that each planned partition was loaded or failed."""
        if self._account is not None:
            self._account.close()

    def report(self, result: PartitionResult) -> None:
        if self._account is not None:
            self._account.saw(result)
        if isinstance(result, PartitionLoaded):
            self.loaded += 1
            self.rows += sum(load.row_count for load in result.loads)
        else:
            self.failures.append(result)
        seconds = max(time.monotonic() - self._started, 0.001)
        rate = f"{(self.loaded + len(self.failures)) / seconds:,.0f} partitions/s"
        self._progress.update(self._task, advance=1, rate=rate)


def _run_in_dagster(
    source: _WatchedSource, executor: Executor, run_id: str, request: Request
) -> None:
    """Run the job ``sync`` in this process, with all of Dagster's events."""
    # Imported here because Dagster takes a second to import, which `sync` with nothing new saves.
    # Its warnings about its own beta features do not belong in a nightly log.
    with _uncollected(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cp_pipeline.defs.definitions import build_defs  # noqa: PLC0415
        from cp_pipeline.defs.instance.command_runs import command_run  # noqa: PLC0415

        job = build_defs(source).resolve_job_def("sync")
        opened = command_run(source.storage(), run_id, captures_output=False)
    config = {
        "subject_ids": sorted(request.subject_ids or ()),
        "dataset_names": sorted(request.dataset_names or ()),
        "refresh": request.refresh,
    }
    with opened as run, _frozen():
        executor.begin()
        result = run.execute(job, {"sync_exports": {"config": config}})
        if not result.success and not only_partitions_failed(result.all_events):
            _say_failures(source.failures, source.pipeline.names())
            raise PipelineError(reason(result.all_events))
    # Whatever Dagster made of it.
    source.close_account()


def _recover_orphaned_runs(pipeline: Pipeline) -> None:
    """Where there is nothing to load: end orphaned runs, and store the events that are missing.

    Raises:
        StorageUnwritable: Dagster's home cannot be used.
        WarehouseError: the warehouse cannot be read.
    """
    locks = RunLocks(pipeline.storage.data_dir)
    from cp_pipeline.defs.instance.home_folder import home_folder, names_a_storage  # noqa: PLC0415

    if not locks.released() and not names_a_storage(home_folder(pipeline.storage)):
        # The usual case, without Dagster, which takes a second to import.
        return
    from cp_pipeline.defs.instance.dagster_home import open_instance  # noqa: PLC0415
    from cp_pipeline.defs.instance.storage_errors import storage_errors_explained  # noqa: PLC0415
    from cp_pipeline.defs.missing_events import (  # noqa: PLC0415
        newest_event,
        recover_orphaned_runs,
    )

    with storage_errors_explained(), open_instance(pipeline.storage) as instance:
        missing = recover_orphaned_runs(pipeline, instance, locks, newest_event(instance))
    if missing:
        answers.print(
            f"{count(missing, 'partition')} loaded by a run that ended badly had no event in "
            "Dagster; stored now."
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile. Of Dagster's start it takes a fifth, and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _frozen() -> Iterator[None]:
    """No search meanwhile among the objects that there are: a million, once Dagster has started."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _say_survey(found: Survey) -> None:
    for remark in found.remarks():
        errors.print(remark)
    if found.erased:
        verb = "is" if found.erased == 1 else "are"
        exports = count(found.erased, "export")
        answers.print(f"{exports} of an erased subject {verb} left alone.")
    numbers = found.numbers
    if not numbers.exports:
        if found.is_empty:
            answers.print(f"{NO_EXPORTS} Nothing to do.")
        return
    answers.print(
        f"{count(numbers.exports, 'export')} in {count(numbers.partitions, 'partition')} "
        f"listed, {count(numbers.exports_to_load, 'export')} in "
        f"{count(numbers.partitions_to_load, 'partition')} to load."
    )
    for remark in pending_remarks(numbers.pending):
        answers.print(remark)


def _print_plan(plan: Plan, names: StudyNames) -> None:
    if not plan.to_load:
        return
    table = Table("subject", "data set", "study program", "program execution", "why", box=None)
    rows = [
        (
            subject_words(names, partition.subject_id),
            partition.dataset_name,
            program_words(names, each.export_file.study_program_id),
            each.export_file.execution.verbatim,
            each.reason.value,
        )
        for partition, planned in plan.to_load.items()
        for each in planned
    ]
    for row in rows[:_SHOWN]:
        table.add_row(*row)
    answers.print(table)
    if len(rows) > _SHOWN:
        answers.print(f"and {len(rows) - _SHOWN:,} more")


def _say_outcome(source: _WatchedSource, seconds: float) -> None:
    answers.print(
        f"{count(source.loaded, 'partition')} loaded, {count(source.rows, 'row')}, "
        f"in {seconds:.1f} s."
    )
    answers.print(f"Where the time went: {source.pipeline.where_the_time_went()}.")
    _say_failures(source.failures, source.pipeline.names())


def _say_failures(failures: Sequence[PartitionFailed], names: StudyNames) -> None:
    if not failures:
        return
    errors.print(f"{count(len(failures), 'partition')} failed:")
    for failure in failures:
        errors.print(f"  {names.in_message(str(failure))}")
    errors.print("Nothing of them was loaded; what was loaded before is untouched.")
