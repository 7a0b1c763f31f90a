"""Events of a large run are in the event log, and not in memory."""

import dagster as dg
import pytest

from cp_pipeline.defs.events import DATASET_EXPORTS
from cp_pipeline.defs.instance.logged_events import LoggedEvents
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.domain.exports import Partition


@pytest.mark.parametrize(("number", "passed_on"), [(9, 9), (10, 0), (35, 5)])
def test_each_event_is_stored_and_only_the_last_few_are_kept(
    number: int, passed_on: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.defs.instance.logged_events.KEPT_AT_MOST", 10)

    @dg.op
    def load(context: dg.OpExecutionContext) -> None:
        events = LoggedEvents(context)
        for subject in range(number):
            key = key_of(Partition(subject, "Steps"))
            events.log(dg.AssetMaterialization(DATASET_EXPORTS, partition=key))

    @dg.job
    def loading() -> None:
        load()

    with dg.DagsterInstance.ephemeral() as instance:
        result = loading.execute_in_process(instance=instance)
        assert result.success
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        kept = [event for event in result.all_events if event.event_type is kind]
        stored = instance.event_log_storage.get_materialized_partitions(DATASET_EXPORTS)
    assert (len(kept), len(stored)) == (passed_on, number)
