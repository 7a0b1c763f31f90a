"""Each private part of Dagster that cp-pipeline uses has not changed.

A test that fails names the part. docs/design.md, "Private parts of libraries", has the reasons.
"""

import importlib
import inspect
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.defs.instance import dagster_home
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.instance.event_erasure import KNOWN_DAGSTERS, check_erasable
from cp_pipeline.defs.instance.event_log import KeptOpenEventLog
from cp_pipeline.defs.instance.table_erasure import StorageInUse
from cp_pipeline.settings import StorageSettings

PACKAGE = Path(dagster_home.__file__).parents[2]
EVENT_LOG = "dagster._core.storage.event_log.sqlite.sqlite_event_log"
# The functions and classes that are called or replaced, with their parameters.
PARTS = [
    (f"{EVENT_LOG}:SqliteEventLogStorage.__init__", ["self", "base_dir", "inst_data"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.from_config_value", ["inst_data", "config_value"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage._connect", ["self", "shard"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage._initdb", ["self", "engine", "for_index_shard"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.path_for_shard", ["self", "run_id"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.conn_string_for_shard", ["self", "shard_name"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.store_event", ["self", "event"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.wipe", ["self"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.dispose", ["self"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.store_event_batch", ["self", "events"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.store_asset_event", ["self", "event", "event_id"]),
    (f"{EVENT_LOG}:SqliteEventLogStorage.store_asset_event_tags", ["self", "events", "event_ids"]),
    ("dagster:OpExecutionContext.get_step_execution_context", ["self"]),
    ("dagster._core.events:StepMaterializationData", ["materialization"]),
    ("dagster._core.events:AssetObservationData", ["asset_observation"]),
    ("dagster._core.instance.ref:InstanceRef.from_dir", ["base_dir", "overrides"]),
    ("dagster._core.storage.noop_compute_log_manager:NoOpComputeLogManager", None),
]


@pytest.mark.parametrize(("part", "parameters"), PARTS, ids=[part for part, _ in PARTS])
def test_a_private_part_of_dagster_is_there_with_its_parameters(
    part: str, parameters: list[str] | None
) -> None:
    module, _, names = part.partition(":")
    target: Any = importlib.import_module(module)
    for name in names.split("."):
        target = getattr(target, name)
    if parameters is not None:
        assert set(parameters) <= set(inspect.signature(target).parameters)


def test_the_attributes_that_the_event_log_shares_with_dagsters_class_are_there(
    tmp_path: Path,
) -> None:
    log = KeptOpenEventLog(str(tmp_path))
    log.get_logs_for_run("a-run")
    assert log._initialized_dbs >= {"a-run"}
    with log._db_lock:
        assert log._db_lock.locked()
    with log.index_connection() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert set(log._engines) == {"a-run", "index"}
    log.dispose()


def test_the_begin_and_the_end_of_a_run_are_known_by_their_events() -> None:
    from cp_pipeline.defs.instance.event_log import _OF_RUNS

    kinds = dg.DagsterEventType
    assert {kinds.RUN_START, kinds.RUN_SUCCESS, kinds.RUN_FAILURE, kinds.RUN_CANCELED} <= _OF_RUNS
    assert kinds.ASSET_MATERIALIZATION not in _OF_RUNS


# The columns of Dagster's files that hold text. A new column may hold a subject's data. Examine it,
# change `event_erasure` if needed, then add the column here and the version to KNOWN_DAGSTERS.
TEXTS = Path(__file__).with_name("text_columns.txt")


def test_the_text_columns_of_dagsters_files_are_those_that_erasing_knows(tmp_path: Path) -> None:
    storage = StorageSettings.from_environment({"CP_DATA_DIR": str(tmp_path)})
    with pytest.MonkeyPatch.context() as here:
        here.delenv("DAGSTER_HOME", raising=False)
        with open_instance(storage) as instance:
            instance.event_log_storage.get_logs_for_run("a-run")
    columns = set()
    for file in storage.dagster_home.rglob("*.db"):
        with closing(sqlite3.connect(file)) as opened:
            for (table,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                for _, column, kind, *_ in opened.execute(f'PRAGMA table_info("{table}")'):
                    if re.match("TEXT|VARCHAR|JSON|BLOB", str(kind)):
                        columns.add(f"{table}.{column}")
    assert columns == set(TEXTS.read_text().split())


@pytest.mark.parametrize("version", ["1.12.9", "1.14.0", "2.0.0", "1.130.1", "1.13"])
def test_erasing_refuses_a_version_of_dagster_that_was_not_examined(version: str) -> None:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(StorageInUse, match="--no-dagster") as refused,
    ):
        check_erasable(instance, version)
    assert version in str(refused.value)


def test_erasing_knows_the_dagster_that_is_installed() -> None:
    assert dg.__version__.rpartition(".")[0] in KNOWN_DAGSTERS


def test_private_names_are_used_in_one_package_only() -> None:
    elsewhere = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"dagster\._|\.dagster/", path.read_text()) and path.parent.name != "instance"
    ]
    assert elsewhere == []
