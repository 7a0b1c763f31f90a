"""Events of many partitions are stored in batches, as Dagster would store each by itself."""

import time
from collections.abc import Sequence

import dagster as dg
import pytest

from cp_pipeline.defs.events import DATASET_EXPORTS
from cp_pipeline.defs.instance import event_batches
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.settings import StorageSettings

KEYS = [f"Steps|{subject}" for subject in range(35)]


def event_of(key: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        DATASET_EXPORTS, partition=key, metadata={"rows": 7}, tags={"dagster/data_version": key}
    )


@dg.op
def one_by_one(context: dg.OpExecutionContext) -> None:
    for key in KEYS:
        context.log_event(event_of(key))
    context.log_event(dg.AssetObservation(DATASET_EXPORTS, partition=KEYS[0]))


@dg.op
def in_batches(context: dg.OpExecutionContext) -> None:
    with EventBatches(context.instance, context) as events:
        for key in KEYS:
            events.log(event_of(key))
        events.log(dg.AssetObservation(DATASET_EXPORTS, partition=KEYS[0]))


def stored_by(op: dg.OpDefinition, instance: dg.DagsterInstance) -> Sequence[dg.EventLogEntry]:
    @dg.job
    def loading() -> None:
        op.alias("load")()

    run = loading.execute_in_process(instance=instance)
    assert run.success
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
    return instance.event_log_storage.get_logs_for_run(run.run_id, of_type=kinds)


def test_a_batch_has_the_events_that_dagster_would_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_batches, "AT_ONCE", 10)
    with open_instance(StorageSettings.from_environment()) as instance:
        expected = [_without_time(each) for each in stored_by(one_by_one, instance)]
        found = [_without_time(each) for each in stored_by(in_batches, instance)]
        assert found == expected
        assert len(found) == len(KEYS) + 1
        storage = instance.event_log_storage
        tags = storage.get_latest_tags_by_partition(
            DATASET_EXPORTS, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        assert tags == {key: {"dagster/data_version": key} for key in KEYS}
        last = instance.get_latest_materialization_event(DATASET_EXPORTS)
        assert last is not None
        assert last.asset_materialization == event_of(KEYS[-1])


def _without_time(entry: dg.EventLogEntry) -> dg.EventLogEntry:
    """Return an entry without what differs between runs; its own text repeats the event's."""
    event = entry.get_dagster_event()
    tags = {name: value for name, value in (event.logging_tags or {}).items() if name != "run_id"}
    stored = event._replace(logging_tags=tags)
    return entry._replace(run_id="", timestamp=0.0, user_message="", dagster_event=stored)


def test_events_are_stored_while_the_op_is_busy_and_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_batches, "AT_MOST_SECONDS", 0.05)
    with dg.DagsterInstance.ephemeral() as instance:
        storage = instance.event_log_storage
        with EventBatches(instance) as events:
            events.log(event_of("a"))
            until = time.monotonic() + 30
            while not storage.get_materialized_partitions(DATASET_EXPORTS):
                assert time.monotonic() < until
                time.sleep(0.01)
            events.log(event_of("b"))
        assert storage.get_materialized_partitions(DATASET_EXPORTS) == {"a", "b"}


def test_an_event_that_cannot_be_stored_is_an_error_of_the_op(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(event_batches, "AT_MOST_SECONDS", 0.01)

        def store(entry: dg.EventLogEntry) -> None:
            raise OSError("the disk is full")

        monkeypatch.setattr(instance.event_log_storage, "store_event", store)
        events = EventBatches(instance)
        events.log(event_of("a"))
        until = time.monotonic() + 30
        while events._failure is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(OSError, match="disk is full"):
            events.log(event_of("b"))
