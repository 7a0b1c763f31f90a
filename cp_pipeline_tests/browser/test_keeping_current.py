"""``dagster dev`` alone keeps a study current. These tests use GraphQL, and need no browser."""

from collections import Counter

from cp_pipeline_tests.browser.conftest import ALL_LOADED, DAILY, PARTITIONS, Failed
from cp_pipeline_tests.browser.dagster_ui import DagsterUi, Run

STALENESS = (
    "staleStatus(partition: $partition)"
    " staleCauses(partition: $partition) { key { path } category reason }"
)


def test_all_is_loaded_without_a_click_in_one_run(ui: DagsterUi, loaded: dict[str, Run]) -> None:
    assert [(run.job_name, run.status) for run in loaded.values()] == [
        ("load_partitions", "SUCCESS")
    ]
    shown = ui.exports(
        "partitionDefinition { dimensionTypes { name } }"
        " partitionStats { numPartitions numMaterialized numFailed }"
    )
    dimensions = [each["name"] for each in shown["partitionDefinition"]["dimensionTypes"]]
    assert dimensions == ["dataset", "subject"]
    assert shown["partitionStats"] == {
        "numPartitions": PARTITIONS,
        "numMaterialized": PARTITIONS,
        "numFailed": 0,
    }
    assert ui.rows("SELECT count(*) FROM lineage.current_loads") == [(PARTITIONS,)]
    assert ALL_LOADED in ui.skip_reasons()


def test_what_was_executed_again_is_loaded_in_one_run(
    ui: DagsterUi, executed_again: dict[str, Run]
) -> None:
    ((run_id, run),) = executed_again.items()
    assert (run.job_name, run.status) == ("load_partitions", "SUCCESS")
    assert run.tags["dagster/sensor_name"] == "new_program_executions"
    listed, records = ui.listed(), ui.records()
    of_the_run = {
        partition: [record.data_version for record in each if record.run_id == run_id]
        for partition, each in records.items()
    }
    assert of_the_run == {
        partition: [listed[partition]] if partition.startswith(DAILY) else []
        for partition in listed
    }


def test_the_partition_that_failed_is_stale_because_of_its_listed_execution(
    ui: DagsterUi, failed: Failed
) -> None:
    stale = ui.exports(
        f"dataVersion(partition: $partition) {STALENESS}", partition=failed.partition
    )
    assert stale == {
        "dataVersion": failed.loaded,
        "staleStatus": "STALE",
        "staleCauses": [
            {
                "key": {"path": ["listed_executions"]},
                "category": "DATA",
                "reason": "has a new data version",
            }
        ],
    }
    statuses = Counter(
        ui.exports(STALENESS, partition=partition)["staleStatus"] for partition in ui.listed()
    )
    assert statuses == {"FRESH": PARTITIONS - 1, "STALE": 1}


def test_a_failed_partition_takes_one_run_and_is_in_the_lineage_with_its_reason(
    ui: DagsterUi, failed: Failed
) -> None:
    assert [run_id for run_id, run in ui.runs().items() if run.status == "FAILURE"] == [
        failed.run_id
    ]
    ((attempted, file_name, error),) = ui.rows(
        "SELECT program_execution, file_name, error FROM lineage.failures"
    )
    assert (attempted, file_name) == (failed.listed, failed.file_name)
    assert "Line 6" in str(error)
    assert ui.rows("SELECT count(*) FROM lineage.partition_status WHERE state = 'current'") == [
        (PARTITIONS - 1,)
    ]
