"""The three rooms put together for the studies of one configuration.

Belongs here: listing, planning, carrying out, as Dagster and the command line ask for it.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import product

from cp_pipeline.centrepoint import AnswerNotUnderstood, CentrePoint, Filters
from cp_pipeline.exports import ExportFile, Partition, UnusableItem
from cp_pipeline.ingest.batches import BatchLoader
from cp_pipeline.ingest.carrying_out import CarryingOut
from cp_pipeline.ingest.fetching import Fetching
from cp_pipeline.ingest.healing import ATTEMPTS, Healing, healing
from cp_pipeline.ingest.own_process import CarryingOutApart, Spent, Task
from cp_pipeline.ingest.plan import Plan, make_plan
from cp_pipeline.ingest.time_spent import Activity, TimeSpent
from cp_pipeline.landing import Landing, remembered_erasures
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import (
    FailedAttempts,
    Finding,
    LoadedExecution,
    LoadedVersions,
    Loader,
    PartitionState,
    Question,
    Scope,
    Workbench,
    ask,
    count_loaded_by,
    erased_subjects,
    failed_attempts,
    loaded_executions,
    loaded_versions,
    partition_states,
    record_listing,
)
from cp_pipeline.words import count

REQUEST_LEDGER = ".requests"
# Beyond so many filtered requests, one pass over the whole study is the cheaper listing.
_FILTERED_REQUESTS = 8
UnderWay = CarryingOut | CarryingOutApart


@dataclass(frozen=True, slots=True)
class Listed:
    """A listing, and what it covers; without the exports of ``erased`` subjects, so many.

    ``unusable``: items that say too little to be loaded; all others are.
    """

    items: tuple[ExportFile, ...]
    scope: Scope
    erased: int = 0
    unusable: tuple[UnusableItem, ...] = ()

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that the listing has exports for."""
        return tuple(sorted({item.partition for item in self.items}))


class StudyExports:
    """The exports of the configured studies, from the API to the warehouse.

    Args:
        access: whom to ask, and how.
        storage: where to keep what comes.
    """

    # A process of its own is started for no fewer exports: it takes 0.2 s to be ready.
    own_process_from = 64

    def __init__(self, access: CentrePointSettings, storage: StorageSettings) -> None:
        self.storage = storage
        self.centrepoint = CentrePoint(access, storage.landing / REQUEST_LEDGER)
        self.landing = Landing(storage.landing)
        self.workbench = Workbench(storage.warehouse, wait_seconds=storage.warehouse_wait_seconds)
        # Apart, because a workbench is one thread's at a time, and loads are on another thread.
        self._questions = Workbench(storage.warehouse, wait_seconds=storage.warehouse_wait_seconds)
        self.time_spent = TimeSpent()

    def wait_at_most(self, seconds: float) -> None:
        """How long to wait for another process that holds the warehouse."""
        self.workbench.wait_seconds = self._questions.wait_seconds = seconds

    def list_exports(
        self,
        subject_ids: Collection[int] | None = None,
        dataset_names: Collection[str] | None = None,
    ) -> Listed:
        """What the API lists, read once; narrowed by the API's filters where that is cheaper.

        Raises:
            ServiceError: no listing can be had, or none of its items can be used.
        """
        scope = Scope(
            self.centrepoint.settings.study_ids,
            None if not subject_ids else frozenset(subject_ids),
            None if not dataset_names else frozenset(dataset_names),
        )
        subjects: list[int | None] = [*sorted(scope.subject_ids or ())] or [None]
        datasets: list[str | None] = [*sorted(scope.dataset_names or ())] or [None]
        filters = [
            Filters(subject_id=subject_id, dataset_name=dataset_name)
            for subject_id, dataset_name in product(subjects, datasets)
        ]
        if len(filters) > _FILTERED_REQUESTS:
            filters = [Filters()]
        with self.time_spent.on(Activity.LISTING):
            listings = [
                self.centrepoint.list_export_files(study_id, each)
                for study_id in scope.study_ids
                for each in filters
            ]
        items = [item for each in listings for item in each.items if scope.covers(item.key)]
        unusable = [item for each in listings for item in each.unusable]
        if unusable and not items and not (subject_ids or dataset_names):
            # Not of one item that went wrong, but of another contract.
            raise AnswerNotUnderstood(
                f"CentrePoint lists {count(len(unusable), 'item')}, and none of them can be used. "
                f"{unusable[0]}.",
                "Check CP_API_URL and CP_EXPORT_DIALECT, or report it to ActiGraph support.",
            )
        erased = erased_subjects(self.workbench) | remembered_erasures(self.landing).keys()
        kept = tuple(item for item in items if item.subject_id not in erased)
        # One that says too little may come with the answer to each of several filters.
        broken = dict.fromkeys(
            item for item in unusable if scope.may_cover(item) and item.subject_id not in erased
        )
        return Listed(kept, scope, len(items) - len(kept), tuple(broken))

    def where_the_time_went(self) -> str:
        """One line for people: seconds by activity, so that they see what to turn."""
        spent = self.time_spent.seconds()
        threads = self.centrepoint.settings.download_threads
        return (
            f"listing {spent['listing']:.1f} s; download {spent['download']:.1f} s and decode "
            f"{spent['decode']:.1f} s, on {threads} threads together; load {spent['load']:.1f} s "
            f"(warehouse held {self.workbench.held_seconds:.1f} s, at most "
            f"{self.workbench.longest_hold_seconds:.1f} s at once); Dagster's records "
            f"{spent['records']:.1f} s"
        )

    def seconds_spent(self) -> dict[str, float]:
        """Seconds by activity so far, and how long the warehouse was held read-write."""
        held = round(self.workbench.held_seconds, 3)
        return self.time_spent.seconds() | {"warehouse_held": held}

    def record(self, listed: Listed) -> bool:
        """Write the listing to ``lineage``; True if anything changed."""
        return record_listing(self.workbench, listed.items, listed.scope, listed.unusable)

    def plan(
        self,
        listed: Listed,
        partitions: Collection[Partition] | None = None,
        *,
        refresh: bool = False,
    ) -> Plan:
        """What of the listing is to be loaded."""
        return make_plan(
            listed.items, loaded_executions(self.workbench), partitions, refresh=refresh
        )

    def tidy(self) -> None:
        """Remove what a killed process left; every load does so, too."""
        self.landing.tidy()
        self.workbench.take_in_log()

    def healing(self, plan: Plan, now: datetime | None = None) -> Healing:
        """Which of a plan's partitions may be tried now (UTC), having failed before or not."""
        return healing(plan, failed_attempts(self._questions), now)

    def waiting_for_a_person(self) -> dict[Partition, FailedAttempts]:
        """Partitions that failed too often to be tried again unasked, with the last failure."""
        return {
            Partition(key.subject_id, key.dataset_name): failed
            for (key, _), failed in failed_attempts(self._questions).items()
            if failed.number >= ATTEMPTS
        }

    def states(self) -> list[PartitionState]:
        """How things stand, partition by partition."""
        return partition_states(self._questions)

    def versions(self) -> dict[Partition, LoadedVersions]:
        """The program executions that each partition's current rows come from."""
        return loaded_versions(self._questions)

    def loaded(
        self, partitions: Collection[Partition]
    ) -> dict[Partition, tuple[LoadedExecution, ...]]:
        """The current loads of some partitions, without those that have none.

        Raises:
            WarehouseError: the warehouse cannot be read.
        """
        found: dict[Partition, list[LoadedExecution]] = {}
        wanted = frozenset(partitions)
        for key, load in loaded_executions(self._questions).items():
            partition = Partition(key.subject_id, key.dataset_name)
            if partition in wanted:
                found.setdefault(partition, []).append(load)
        return {partition: tuple(loads) for partition, loads in sorted(found.items())}

    def count_loaded(self, run_id: str) -> int:
        """How many partitions a Dagster run has loaded.

        Raises:
            WarehouseError: the warehouse cannot be read.
        """
        return count_loaded_by(self._questions, run_id)

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Whatever is asked inside is answered from one state of the warehouse, opened once."""
        with self._questions.reading() if self._questions.exists() else nullcontext():
            yield

    def ask(self, question: Question) -> Finding:
        """What is at fault with all that is loaded."""
        return ask(self._questions, question)

    def spent(self) -> Spent:
        """Where the time went so far."""
        bench = self.workbench
        return Spent(self.time_spent.seconds(), bench.held_seconds, bench.longest_hold_seconds)

    def _also_spent(self, spent: Spent) -> None:
        """Time that went elsewhere for the same purpose."""
        self.time_spent.add(spent.seconds)
        bench = self.workbench
        bench.held_seconds += spent.held
        bench.longest_hold_seconds = max(bench.longest_hold_seconds, spent.longest_hold)

    @contextmanager
    def carry_out_beside(
        self, plan: Plan, *, run_id: str = "", refresh: bool = False
    ) -> Iterator[UnderWay]:
        """As ``carry_out``, for who has a lot to do meanwhile: much of it in a process of its own.

        Raises:
            ProcessLost: that process has been killed.
        """
        if plan.export_count < self.own_process_from:
            with self.carry_out(plan, run_id=run_id, refresh=refresh) as results:
                yield results
            return
        access, wait_seconds = self.centrepoint.settings, self.workbench.wait_seconds
        task = Task(access, self.storage, plan, run_id, refresh, wait_seconds)
        with CarryingOutApart(task, self._also_spent) as apart:
            yield apart

    @contextmanager
    def carry_out(
        self, plan: Plan, *, run_id: str = "", refresh: bool = False
    ) -> Iterator[CarryingOut]:
        """Load what is planned; on entering, downloads begin.

        Args:
            plan: what to load.
            run_id: the Dagster run, for lineage.
            refresh: load executions again that are loaded already.
        """
        with self.landing.workspace() as aside:
            fetching = Fetching(
                self.centrepoint,
                self.landing,
                aside,
                self.time_spent,
                self.storage.largest_csv_bytes,
            )
            loader = BatchLoader(
                plan,
                self.landing,
                Loader(self.workbench, self.landing, aside, run_id),
                self.workbench,
                run_id,
                refresh=refresh,
            )
            with CarryingOut(
                plan,
                fetching,
                loader,
                threads=self.centrepoint.settings.download_threads,
                time_spent=self.time_spent,
            ) as results:
                yield results
