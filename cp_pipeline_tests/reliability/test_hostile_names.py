"""Malicious names: loaded correctly, or rejected with a clear error; also in Dagster's keys."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import example, given, strategies as st

from cp_pipeline.defs.partitions import dataset_key, key_of, partition_of
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded
from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline_tests.defs.conftest import EXPORTS, latest, materialize, rectangle, run_job
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import run
from cp_pipeline_tests.warehouses import publish

NAMES = (
    'x"; DROP SCHEMA lineage CASCADE; --',
    "x'; DROP SCHEMA lineage CASCADE; --",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a|b",
    "a,b",
    "a...b",
    "[ab]",
    "[a...b]",
    "*",
    "%7C",
    "100% worn",
    " led and followed ",
    "line\nend\tand\x07bell",
    "L" * 120,
    "{{ 7*7 }}",
    "<script>alert(1)</script>",
    "Schlafqualität 💤",
    "ActivityDaily8",
)  # fmt: skip


@pytest.fixture
def named(here: Site) -> Site:
    for number, name in enumerate(NAMES):
        here.put(f"N,V\n{number},{number * 7}\n", dataset=name)
    return here


def rows_of(site: Site) -> dict[str, list[tuple[object, ...]]]:
    return {name: site.rows(f"SELECT N, V FROM exports.{quoted(name)}") for name in NAMES}


WANTED = {name: [(number, number * 7)] for number, name in enumerate(NAMES)}


@pytest.mark.both_engines
def test_each_is_loaded_under_its_own_name_and_published(named: Site) -> None:
    assert {type(result) for result in named.sync()} == {PartitionLoaded}
    assert rows_of(named) == WANTED
    assert {row[0] for row in named.rows("SELECT dataset_name FROM lineage.loads")} == set(NAMES)
    assert publish(named.storage).rows == len(NAMES)


def test_nothing_is_written_outside_the_data_folder(named: Site, tmp_path: Path) -> None:
    climbing = (
        "../../../climbed.csv.gz",
        "/tmp/climbed.csv.gz",
        "..\\..\\c",
        "a/b.csv",
        "[a]*?.csv",
    )
    for number, file_name in enumerate(climbing):
        named.sandbox.study.put(
            subject_id=2, data_set_name=f"File{number}", csv=b"N\n1\n", file_name=file_name
        )
    # A rejected file, so that the quarantine has its names too.
    named.sandbox.study.put(
        subject_id=2, data_set_name="../../bad", csv=b"N,N\n1,1\n", file_name="../bad"
    )
    results = named.sync()
    failed = [each for each in results if isinstance(each, PartitionFailed)]
    assert [each.partition for each in failed] == [(2, "../../bad")]
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    assert not Path("/tmp/climbed.csv.gz").exists()
    landed = [p.relative_to(named.storage.data_dir) for p in named.storage.data_dir.rglob("*")]
    # Only study, subject, data set and file: no name from CentrePoint created another folder.
    assert max(len(path.parts) for path in landed) == 5
    assert len([path for path in landed if path.suffix == ".export"]) == len(results)


@pytest.mark.both_engines
def test_names_that_differ_by_case_only_are_one_loaded_and_one_refused(here: Site) -> None:
    here.put("N\n1\n", dataset="Case")
    assert isinstance(here.sync()[0], PartitionLoaded)
    here.put("N\n2\n", dataset="CASE")
    (refused,) = here.sync()
    assert isinstance(refused, PartitionFailed)
    assert "differ by case only" in refused.error
    assert here.rows('SELECT N FROM exports."Case"') == [(1,)]


def test_each_can_be_materialized_by_its_key_and_all_as_a_range(
    named: Site, instance: dg.DagsterInstance
) -> None:
    materialize(instance, dg.AssetKey("export_files"))
    keys = sorted(key_of(Partition(1, name)) for name in NAMES)
    for name in NAMES[:2]:
        materialize(instance, EXPORTS, partition_key=key_of(Partition(1, name)))
    assert instance.get_materialized_partitions(EXPORTS) == {
        key_of(Partition(1, name)) for name in NAMES[:2]
    }
    ordered = instance.get_dynamic_partitions("datasets")
    materialize(instance, EXPORTS, tags=rectangle(f"{ordered[0]}|1", f"{ordered[-1]}|1"))
    assert instance.get_materialized_partitions(EXPORTS) == set(keys)
    assert rows_of(named) == WANTED


def test_the_sensor_asks_for_the_real_names_and_each_gets_its_record(
    named: Site, instance: dg.DagsterInstance
) -> None:
    result = tick(instance, PipelineResource(), Memory(), 60)
    assert result.run_requests
    config: Any = result.run_requests[0].run_config["ops"]["load_chosen_partitions"]["config"]
    assert config["partitions"] == {name: [1] for name in NAMES}
    run_job(instance, "load_partitions", config)
    assert rows_of(named) == WANTED
    for name in NAMES:
        rows = latest(instance, EXPORTS, key_of(Partition(1, name))).metadata["rows"].value
        assert rows == 1, name


def test_the_command_takes_and_says_the_real_names(named: Site) -> None:
    names = ("a|b", NAMES[0], "{{ 7*7 }}")
    for name in names:
        done = run("sync", "--dataset", name)
        assert done.returncode == 0, done.stderr
    said = run("status").stdout
    assert all(name in said for name in names)


@given(st.text(min_size=1))
@example("%%7C")
@example("%2|")
@example("%.....")
def test_a_key_is_read_back_as_the_name_and_holds_nothing_that_dagster_reads(name: str) -> None:
    partition = Partition(7, name)
    key = key_of(partition)
    assert partition_of(key) == partition
    assert str(key).count("|") == 1
    assert not set(dataset_key(name)) & set(',[]*"\n\t\0')
    assert "..." not in key


@pytest.mark.parametrize(
    "name", ["ActivityDaily8", "ParamsAndSubject (31)", "Leap.Avg-Barometer_2", "Schlaf 100%"]
)
def test_an_ordinary_name_is_its_own_key(name: str) -> None:
    assert dataset_key(name) == name
