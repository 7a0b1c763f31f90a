"""Events of many partitions, stored many at once.

Belongs here: collecting and storing them. Does not belong: what an event says (``defs.events``).

Dagster stores each event by itself: on PostgreSQL with a new connection, on SQLite with two
transactions. Its storages can store a batch (``store_event_batch``), which takes a fraction of the
time (benchmarks/README.md). But ``context.log_event`` does not use that, and keeps each event in
memory until the op ends: 8 kB for each partition, 1.6 GB for 200,000.

An event is stored within ``AT_MOST_SECONDS``. If the process is killed before, the next run stores
it (``defs.missing_events``).

Private parts of Dagster: ``StepMaterializationData`` and ``AssetObservationData``, of which it
makes the same events.
"""

import logging
import os
import threading
import time
from typing import Self

import dagster as dg
from dagster._core.events import AssetObservationData, StepMaterializationData

AT_ONCE = 100
AT_MOST_SECONDS = 2.0
AssetEvent = dg.AssetMaterialization | dg.AssetObservation
_Context = dg.OpExecutionContext | dg.AssetExecutionContext


class EventBatches:
    """Stores events of assets; a context manager, at whose end all are stored.

    Args:
        instance: stores the events.
        context: of the op or asset whose events these are; None if they belong to no run.
    """

    def __init__(self, instance: dg.DagsterInstance, context: _Context | None = None) -> None:
        self._instance = instance
        self._context = context
        self._lock = threading.RLock()
        self._waiting: list[dg.EventLogEntry] = []
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if kind is None or issubclass(kind, Exception):
            self.flush()

    def log(self, event: AssetEvent) -> None:
        """Store an event, at the latest when the batch is full or ``AT_MOST_SECONDS`` later.

        Raises:
            StorageUnwritable: an earlier event could not be stored.
        """
        entry = self._entry(event)
        with self._lock:
            self._raise_failure()
            # A batch has one kind of event: the storages refuse others.
            if self._waiting and _kind(self._waiting[0]) != _kind(entry):
                self.flush()
            self._waiting.append(entry)
            if len(self._waiting) >= AT_ONCE:
                self.flush()
        if self._thread is None:
            self._thread = threading.Thread(target=self._flush_in_time, daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Store what waits.

        Raises:
            StorageUnwritable: the events cannot be stored.
        """
        with self._lock:
            self._raise_failure()
            waiting, self._waiting = self._waiting, []
            if len(waiting) == 1:
                self._instance.event_log_storage.store_event(waiting[0])
            elif waiting:
                self._instance.event_log_storage.store_event_batch(waiting)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _flush_in_time(self) -> None:
        """Store what waits while the op is busy with something else, such as a long download."""
        while not self._ended.wait(AT_MOST_SECONDS):
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001  (raised in the op's own thread)
                self._failure = error
                return

    def _entry(self, event: AssetEvent) -> dg.EventLogEntry:
        stored = _event(event) if self._context is None else _event_of_step(event, self._context)
        return dg.EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            level=logging.INFO if self._context is None else logging.DEBUG,
            user_message=stored.message or "",
            run_id="" if self._context is None else self._context.run.run_id,
            timestamp=time.time(),
            step_key=stored.step_key,
            job_name=stored.job_name,
            dagster_event=stored,
        )


def _event(event: AssetEvent) -> dg.DagsterEvent:
    kind, data = _data(event)
    return dg.DagsterEvent(kind.value, job_name="", event_specific_data=data)


def _event_of_step(event: AssetEvent, context: _Context) -> dg.DagsterEvent:
    kind, data = _data(event)
    step = context.get_step_execution_context()
    message = None
    if isinstance(event, dg.AssetMaterialization):
        message = event.description or f"Materialized value {event.label}."
    return dg.DagsterEvent(
        kind.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        node_handle=step.step.node_handle,
        step_kind_value=step.step.kind.value,
        logging_tags=step.event_tags,
        event_specific_data=data,
        message=message,
        pid=os.getpid(),
    )


def _data(
    event: AssetEvent,
) -> tuple[dg.DagsterEventType, StepMaterializationData | AssetObservationData]:
    if isinstance(event, dg.AssetMaterialization):
        return dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
    return dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)


def _kind(entry: dg.EventLogEntry) -> str:
    return entry.get_dagster_event().event_type_value
