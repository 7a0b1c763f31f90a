"""Dagster shows a partition as stale if CentrePoint lists a newer execution for it."""

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.defs.conftest import DAILY, EXPORTS, FILES, materialize, pair, run_job


def status(instance: dg.DagsterInstance, subject: int) -> tuple[StaleStatus, list[str]]:
    """Return the status of a partition, and the assets that are its cause."""
    resolver = CachingStaleStatusResolver(
        instance, build_defs().resolve_asset_graph(), LoadingContextForTest(instance)
    )
    key = pair(subject, DAILY)
    causes = resolver.get_stale_causes(EXPORTS, key)
    return resolver.get_status(EXPORTS, key), [
        cause.dependency.asset_key.to_user_string() for cause in causes if cause.dependency
    ]


def test_loaded_partitions_are_fresh_and_others_missing(
    listed: dg.DagsterInstance,
) -> None:
    assert status(listed, 10821) == (StaleStatus.MISSING, [])
    run_job(listed, "load_partitions", {"partitions": {DAILY: [10821]}})
    assert status(listed, 10821) == (StaleStatus.FRESH, [])
    assert status(listed, 10822) == (StaleStatus.MISSING, [])


def test_a_newly_listed_execution_makes_its_partition_stale_and_no_other(
    sandbox: Sandbox, synced: dg.DagsterInstance
) -> None:
    sandbox.execute_again(subject_id=10821, data_set_name=DAILY)
    materialize(synced, FILES)
    assert status(synced, 10821) == (StaleStatus.STALE, ["listed_executions"])
    assert status(synced, 10822) == (StaleStatus.FRESH, [])
    materialize(synced, EXPORTS, partition_key=pair(10821, DAILY))
    assert status(synced, 10821) == (StaleStatus.FRESH, [])


def test_listing_again_makes_nothing_stale(synced: dg.DagsterInstance) -> None:
    materialize(synced, FILES)
    assert status(synced, 10821) == (StaleStatus.FRESH, [])


def test_a_partition_that_failed_is_stale(
    sandbox: Sandbox, study: SandboxStudy, synced: dg.DagsterInstance
) -> None:
    (export,) = (e for e in study.export_files if (e.subject_id, e.data_set_name) == (10821, DAILY))
    study.put(subject_id=10821, data_set_name=DAILY, csv=b"",
              study_program_id=export.study_program_id)  # fmt: skip
    run_job(synced, "sync", raise_on_error=False)
    assert status(synced, 10821) == (StaleStatus.STALE, ["listed_executions"])
    sandbox.execute_again(subject_id=10822, data_set_name=DAILY)
    run_job(synced, "sync", raise_on_error=False)
    assert status(synced, 10822) == (StaleStatus.FRESH, [])
