"""A real Dagster instance for tests, and functions that execute runs and read events in it."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.conftest import usual_study
from cp_pipeline_tests.dagster_homes import instance_in
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.made_once import made_once
from cp_pipeline_tests.postgres_servers import PostgresServer

EXPORTS = dg.AssetKey("dataset_exports")
FILES = dg.AssetKey("export_files")
LISTED = dg.AssetKey("listed_executions")
DAILY = "ActivityDaily8"


@pytest.fixture(scope="package")
def server() -> Iterator[PostgresServer]:
    running = PostgresServer()
    yield running
    running.stop()


def make_study(
    folder: Path,
    home: Path,
    study: SandboxStudy,
    act: Callable[[dg.DagsterInstance, FaultySandbox], Memory],
) -> None:
    """Serve a study, let ``act`` load it, and keep the data, Dagster's home and the memory.

    Args:
        folder: where it is kept, for ``copied_study``.
        home: Dagster's home without a run.
        study: what is served.
        act: loads it; returns the memory of the sensor.
    """
    own = shutil.copytree(home, folder / "home")
    with (
        pytest.MonkeyPatch.context() as here,
        FaultySandbox(study) as serving,
        instance_in(own) as instance,
    ):
        for name, value in serving.environment.items():
            here.setenv(name, value)
        here.setenv("CP_DATA_DIR", str(folder / "data"))
        (folder / "memory.json").write_text(act(instance, serving).write())


@contextmanager
def copied_study(made: Path, folder: Path) -> Iterator[tuple[dg.DagsterInstance, Memory]]:
    """Copy what ``make_study`` has kept into the folder of a test, which serves the same study."""
    shutil.copytree(made / "data", folder / "data")
    home = shutil.copytree(made / "home", folder / "home")
    with instance_in(home) as instance:
        yield instance, Memory.read((made / "memory.json").read_text())


@pytest.fixture
def synced(
    sandbox: Sandbox, shared_folder: Path, empty_home: Path, tmp_path: Path
) -> Iterator[dg.DagsterInstance]:
    """The usual study is served; a copy of what its first sync left is in this test's folder."""
    made = made_once(
        shared_folder / "synced",
        lambda folder: make_study(folder, empty_home, usual_study(), _sync),
    )
    with copied_study(made, tmp_path) as (instance, _):
        yield instance


@pytest.fixture
def listed(
    sandbox: Sandbox, shared_folder: Path, empty_home: Path, tmp_path: Path
) -> Iterator[dg.DagsterInstance]:
    """As ``synced``, of a run that only listed the exports."""
    made = made_once(
        shared_folder / "listed",
        lambda folder: make_study(folder, empty_home, usual_study(), _list),
    )
    with copied_study(made, tmp_path) as (instance, _):
        yield instance


def _sync(instance: dg.DagsterInstance, _: FaultySandbox) -> Memory:
    run_job(instance, "sync")
    return Memory()


def _list(instance: dg.DagsterInstance, _: FaultySandbox) -> Memory:
    materialize(instance, FILES)
    return Memory()


def materialize(
    instance: dg.DagsterInstance, asset: dg.AssetKey, *, raise_on_error: bool = True, **how: object
) -> dg.ExecuteInProcessResult:
    job = build_defs().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[asset],
        raise_on_error=raise_on_error,
        **how,  # type: ignore[arg-type]
    )


def run_job(
    instance: dg.DagsterInstance, name: str, config: object = None, *, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    """Run a job whose one op takes ``config``."""
    job = build_defs().resolve_job_def(name)
    (node,) = job.graph.nodes
    return job.execute_in_process(
        instance=instance,
        run_config={"ops": {node.name: {"config": config}}} if config else None,
        raise_on_error=raise_on_error,
    )


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def pair(subject: int, dataset: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"subject": str(subject), "dataset": dataset})


def rectangle(first: str, last: str) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


def latest(
    instance: dg.DagsterInstance, asset: dg.AssetKey, key: dg.MultiPartitionKey | None = None
) -> dg.AssetMaterialization:
    """Return the newest materialization of an asset or a partition."""
    newest = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key] if key else None)
    fetched = instance.fetch_materializations(newest, limit=1)
    materialization = fetched.records[0].asset_materialization
    assert materialization is not None
    return materialization


def picture_in(entry: object) -> str:
    """Return the SVG of the first picture in a Markdown entry."""
    assert isinstance(entry, dg.MetadataValue)
    pictures = re.findall(r"!\[[^]]+\]\(<data:image/svg\+xml,([^>]+)>\)", str(entry.value))
    return unquote(pictures[0])
