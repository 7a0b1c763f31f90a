"""A lake whose data files lie in an object store: SeaweedFS; its catalog is PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import obstore
import pytest
from obstore.store import S3Store

from cp_pipeline.ingest import rebuild
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import (
    Warehouse,
    compact,
    erase_from_warehouse,
    move,
    publish_current,
)
from cp_pipeline_tests import lakes
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.object_stores import BUCKET, S3Server, s3_server
from cp_pipeline_tests.postgres_servers import PASSWORD
from cp_pipeline_tests.small_project import small_project
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import MARKER

EVERY = "SELECT N, V, _load_id FROM history.Kinds"
ROWS = "SELECT N, V, _load_id, _program_execution FROM exports.Kinds ORDER BY ALL"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "weed") as server:
        yield server


@pytest.fixture
def service() -> Iterator[FaultySandbox]:
    with FaultySandbox(SandboxStudy.empty()) as serving:
        yield serving


def bucket(s3: S3Server) -> S3Store:
    owner = s3.variables("owner")
    return S3Store(
        BUCKET, endpoint=s3.endpoint, access_key_id=owner["AWS_ACCESS_KEY_ID"],
        secret_access_key=owner["AWS_SECRET_ACCESS_KEY"], region="us-east-1",
        client_options={"allow_http": True},
    )  # fmt: skip


def objects(s3: S3Server) -> dict[str, bytes]:
    """All objects of the bucket."""
    store = bucket(s3)
    listed = obstore.list(store).collect()
    return {each["path"]: bytes(obstore.get(store, each["path"]).bytes()) for each in listed}


def stored(s3: S3Server, text: str) -> list[str]:
    """The objects that have a text, in their name or in their bytes."""
    found = objects(s3).items()
    return [name for name, content in found if text in name or text.encode() in content]


def test_versions_are_kept_rebuilt_published_compacted_erased_and_moved(
    s3: S3Server, service: FaultySandbox, tmp_path: Path
) -> None:
    lake = Site(service, tmp_path, lakes.postgres_lake(tmp_path, s3.variables()))
    lake.load(lakes.many("7"))
    lake.load(lakes.many(MARKER), subject_id=2)
    assert lake.load(lakes.many("1.50")).load_id == 3
    assert lake.sync() == []
    distinct = "SELECT DISTINCT V FROM {} WHERE _subject_id = 1"
    assert lake.rows(distinct.format("exports.Kinds")) == [("1.50",)]
    ((executed,),) = lake.rows(
        "SELECT program_executed_at::VARCHAR FROM lineage.loads WHERE load_id = 1"
    )
    assert lake.rows(distinct.format(f"as_of('Kinds', '{executed}')")) == [("7",)]
    # In the store, and nowhere on this host.
    there = objects(s3)
    assert any(name.endswith(".parquet") and "/history/" in name for name in there)
    assert not list(tmp_path.rglob("*.parquet"))
    before = lake.rows(f"{EVERY} ORDER BY ALL")
    assert rebuild(lake.storage).loads == 3
    assert lake.rows(f"{EVERY} ORDER BY ALL") == before
    assert len(objects(s3)) > len(there)

    with Warehouse.of(lake.storage) as warehouse:
        assert publish_current(warehouse, lake.storage.published).rows == 80
        # What a killed process leaves.
        ((data_path,),) = warehouse.connection.execute(
            "SELECT data_path FROM ducklake_settings('warehouse')"
        ).fetchall()
        orphan = f"{data_path}history/Kinds/{uuid4()}.parquet".removeprefix(f"s3://{BUCKET}/")
        obstore.put(bucket(s3), orphan, b"PAR1")
        done = compact(warehouse, timedelta(0))
        assert (done.loads, done.rows) == (1, 40)
        assert orphan not in objects(s3)
        assert stored(s3, MARKER)
        named = lake.rows("SELECT file_name, file_sha256 FROM lineage.loads WHERE subject_id = 2")
        assert erase_from_warehouse(warehouse, 2, 1) == ()
        for text in (MARKER, *map(str, named[0])):
            assert stored(s3, text) == []
    assert lake.load(lakes.many("x"), subject_id=3).load_id == 4

    before = lake.rows(ROWS)
    file = Site(service, tmp_path / "file", lake={})
    again = Site(service, tmp_path / "again", lakes.postgres_lake(tmp_path / "l", s3.variables()))
    for old, new in ((lake, file), (file, again)):
        with Warehouse.of(old.storage) as source, Warehouse.of(new.storage) as target:
            assert move(source, target).loads == 2
        assert new.rows(ROWS) == before
    assert again.load(lakes.many("y"), subject_id=4).load_id == 5


def test_no_output_has_the_credentials(
    s3: S3Server, service: FaultySandbox, tmp_path: Path
) -> None:
    """Of commands that work, and of those whose store refuses the writing or does not answer."""
    site = Site(service, tmp_path, lake={})
    site.put(lakes.many("7"))
    writer, reader = s3.variables(), s3.variables("reader")
    dead = {**writer, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    models = {"CP_DBT_PROJECT": str(small_project(tmp_path / "models"))}
    commands = (
        ["sync"], ["doctor"], ["status"], ["query", "--warehouse", "FROM exports.Kinds"],
        ["publish"], ["compact", "--older-than", "0", "--yes"],
        ["erase", "--subject", "1", "--yes"],
    )  # fmt: skip
    said = ""
    for name, store in {"works": writer, "refuses": reader, "dead": dead}.items():
        folder = tmp_path / name
        variables = {**lakes.postgres_lake(folder, store), **models, "CP_DATA_DIR": str(folder)}
        variables |= {"CP_PUBLISH_TO": f"s3://{BUCKET}/for-analysts/{name}"}
        environment = {**os.environ, **store, **service.environment, **variables}
        for command in commands if name == "works" else [["sync"], ["doctor"]]:
            done = subprocess.run(
                [sys.executable, "-m", "cp_pipeline.cli", *command],
                env=environment, capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            assert "Traceback" not in done.stderr, done.stderr
            assert (done.returncode == 0) == (name == "works"), done.stdout + done.stderr
            said += done.stdout + done.stderr
        # Dagster's events, dbt's logs, the published file.
        kept = [
            file for file in folder.rglob("*") if file.is_file() and "secrets" not in file.parts
        ]
        said += "".join(file.read_bytes().decode(errors="replace") for file in kept)
    assert said.count("/: may be written, read and removed") == 1
    assert "for-analysts/works: may be written, read and removed from" in said
    assert f"Uploaded to s3://{BUCKET}/for-analysts/works/centrepoint.duckdb" in said
    # A sync that fails, and doctor, on each of the two other stores.
    assert said.count("The data files of ducklake:warehouse cannot be used") >= 4
    assert "Unexpected error" not in said
    for identity in ("writer", "reader"):
        of = s3.variables(identity)
        assert of["AWS_SECRET_ACCESS_KEY"] not in said
        assert of["AWS_ACCESS_KEY_ID"] not in said
    assert "X-Amz-Signature" not in said
    assert PASSWORD not in said
