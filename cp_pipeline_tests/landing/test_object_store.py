"""The landing on a real S3 server (docs/hosts.md): the same promises as a folder's."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.ingest import erase, rebuild
from cp_pipeline.landing import (
    IncompleteFile,
    Landing,
    LandingUnavailable,
    LandingUnusable,
    ObjectStore,
    count_files,
    object_store,
)
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import SettingsError, StorageSettings
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.landing.test_store import BYTES, ITEM, Interrupted, half
from cp_pipeline_tests.object_stores import S3Server, s3_server
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import found_in, run, run_killed

READER = {"AWS_ACCESS_KEY_ID": "READERKEY", "AWS_SECRET_ACCESS_KEY": "readersecret"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "seaweed") as running:
        yield running


@pytest.fixture
def location(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """A prefix of this test's own."""
    for name, value in server.variables().items():
        monkeypatch.setenv(name, value)
    return f"s3://landing/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}/study"


@pytest.fixture
def landing(location: str, tmp_path: Path) -> Landing:
    store = ObjectStore.at(location)
    return Landing(tmp_path / "landing", store, ObjectStore.at(f"{location}/quarantine"))


@pytest.fixture
def site(location: str, tmp_path: Path) -> Iterator[Site]:
    with FaultySandbox(SandboxStudy.empty()) as service:
        yield Site(service, tmp_path / "here", landing=location)


def names(landing: Landing) -> list[str]:
    return list(landing.files.below(""))


def test_the_bytes_are_kept_to_the_letter_and_found_by_every_host(
    landing: Landing, tmp_path: Path
) -> None:
    other = Landing(tmp_path / "other", landing.files)
    assert other.find(replace(ITEM, subject_id=1)) is None
    with landing.scratch_folder() as scratch:
        landed = landing.keep(ITEM, iter([BYTES[:5], BYTES[5:]]), scratch)
        assert [path.name for path in scratch.iterdir()] == [".lock"]
    assert landing.files.read(landed.path) == BYTES
    assert landed.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert Landing(tmp_path / "third", landing.files).find(ITEM) == landed
    assert list(other.all()) == [landed]
    assert b"secret-signature" not in b"".join(map(landing.files.read, names(landing)))


def test_an_object_is_created_once_and_replaced_only_if_it_is_damaged(landing: Landing) -> None:
    files = landing.files
    with landing.scratch_folder() as scratch:
        landed = landing.keep(ITEM, iter([BYTES]), scratch)
        with pytest.raises(FileExistsError):
            files.create(landed.path, b"other")
        assert landing.keep(ITEM, iter([BYTES]), scratch) == landed
        files.replace(landed.path, BYTES[:-1] + b"x", scratch)
        files.replace(landed.path.replace(".export", ".json"), b"{", scratch)
        assert landing.find(ITEM) is None
        assert landing.keep(ITEM, iter([BYTES]), scratch) == landed
    assert landing.find(ITEM) == landed
    assert len(names(landing)) == 2


def test_a_large_file_is_sent_in_parts(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "ONE_REQUEST_BYTES", 20 << 20)
    content = os.urandom(1 << 20) * 21
    with landing.scratch_folder() as scratch:
        for _ in range(2):
            landed = landing.keep(ITEM, iter([content]), scratch)
        with landing.files.local(landed.path, scratch) as path:
            assert path.read_bytes() == content
        assert [path.name for path in scratch.iterdir()] == [".lock"]
    assert landing.is_intact(landed)


def test_nothing_stays_of_an_interrupted_download_but_the_quarantine(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        with pytest.raises(Interrupted):
            landing.keep(ITEM, half(), scratch)
        assert names(landing) == []
        incomplete = IncompleteFile(scratch / "x.incomplete")
        with pytest.raises(Interrupted):
            landing.keep(ITEM, half(), scratch, incomplete)
        refused = landing.quarantine_incomplete(incomplete, "too short", scratch)
        assert refused is not None
        landed = landing.keep(ITEM, iter([BYTES]), scratch)
        landing.quarantine(landed, "Line 3: wrong.", scratch)
    assert landing.refused.read(refused.path) == BYTES[: len(BYTES) // 2]
    assert landing.refused.read(landed.path) == BYTES
    description = landing.refused.read(landed.path.replace(".export", ".json"))
    assert json.loads(description)["refused"] == "Line 3: wrong."
    assert landing.find(ITEM) is None
    assert list(landing.all()) == []
    assert count_files(landing, ITEM.subject_id) == 2


@pytest.mark.parametrize(
    ("place", "variables", "words"),
    [
        ("s3://landing/x", READER, "refuses access .*AccessDenied"),
        ("s3://landing/x", {"AWS_SECRET_ACCESS_KEY": "TopSecret"}, "SignatureDoesNotMatch"),
        ("s3://landing/x", {"AWS_ACCESS_KEY_ID": "nobody"}, "refuses access .*InvalidAccessKeyId"),
        ("s3://landing/x", {"AWS_ALLOW_HTTP": "false"}, "is not HTTPS"),
        ("az://landing/x", {}, "no credentials"),
    ],
)
def test_a_store_that_cannot_be_used_is_explained_without_secrets(
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    variables: dict[str, str],
    words: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LandingUnusable, match=words) as raised:
        ObjectStore.at(place).check()
    assert not raised.value.passing
    assert "secret" not in str(raised.value).lower().replace("aws_secret_access_key", "")


def test_a_bucket_that_does_not_exist_is_named(
    server: S3Server, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.variables("owner").items():
        monkeypatch.setenv(name, value)
    store = ObjectStore.at("s3://nobucket/x")
    with pytest.raises(LandingUnusable, match="s3://nobucket/x does not exist"):
        store.subfolders("")
    with pytest.raises(LandingUnusable, match="s3://nobucket/x does not exist"):
        store.read("4711/x")


def test_a_silent_and_a_missing_server_are_told_apart(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_REQUEST", timedelta(seconds=0.5))
    monkeypatch.setattr(object_store, "_RETRIES", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(LandingUnavailable, match="cannot be reached") as raised:
            ObjectStore.at(location).check()
        assert raised.value.passing
        silent.listen()
        with pytest.raises(LandingUnavailable, match="too slow"):
            ObjectStore.at(location).check()


def test_a_usable_store_is_left_as_it_was(landing: Landing, location: str) -> None:
    assert isinstance(landing.files, ObjectStore)
    keeps_versions = landing.files.check()
    assert not keeps_versions
    assert str(landing.files) == location
    assert names(landing) == []


def test_another_host_widens_rebuilds_and_erases_from_the_same_objects(
    site: Site, tmp_path: Path, location: str
) -> None:
    site.load("a,b\n1,1.50\n", subject_id=1)
    site.load("a,b\n2,2.5\n", subject_id=2)
    landing = Landing.of(site.storage)
    assert [path for path in site.storage.landing.rglob("*") if path.is_file()] == [
        site.storage.landing / ".requests"
    ]
    # A warehouse file moves to another host; the landing is where it was.
    other = Site(site.sandbox, tmp_path / "there", landing=location)
    other.storage.data_dir.mkdir()
    Path(site.storage.warehouse).rename(other.storage.warehouse)
    other.load("a,b\n3,x\n", subject_id=3)
    assert other.rows('SELECT b FROM exports."Kinds" ORDER BY a') == [("1.50",), ("2.5",), ("x",)]
    path = other.rows("SELECT landing_path FROM lineage.loads WHERE subject_id = 1")[0][0]
    assert landing.files.exists(str(path))

    erase(other.storage, 1)
    assert count_files(landing, 1) == 0
    assert count_files(landing, 2) == 1
    third = Site(site.sandbox, tmp_path / "third", landing=location)
    done = rebuild(third.storage)
    assert (done.loads, done.left_out) == (2, ())
    assert third.rows("SELECT subject_id FROM lineage.loads ORDER BY 1") == [(2,), (3,)]
    assert not third.sync()


def test_an_object_store_that_fails_ends_the_sync_and_fails_no_partition(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("a\n1\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TopSecret")
    with pytest.raises(LandingUnusable, match="refuses access"):
        site.sync()
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("when", "what", "nth"),
    [
        ("before", "call cp_pipeline.landing.store:description_of", 3),
        ("after", "call cp_pipeline.landing.object_store:explained", 9),
    ],
)
def test_a_killed_sync_leaves_no_half_object(
    server: S3Server,
    location: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    what: str,
    nth: int,
) -> None:
    with FaultySandbox(SandboxStudy.empty()) as service:
        site = Site(service, tmp_path / "data", landing=location)
        for subject_id in range(1, 6):
            site.put(f"a\n{subject_id}\n", subject_id=subject_id)
        own = {"CP_DATA_DIR": str(tmp_path / "data"), "CP_LANDING": location}
        for name, value in {**service.environment, **own}.items():
            monkeypatch.setenv(name, value)
        run_killed("sync", when=when, what=what, nth=nth)
        landing = Landing.of(site.storage)
        assert all(landing.is_intact(landed) for landed in landing.all())
        done = run("sync")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "writersecret" not in done.stdout + done.stderr
        assert found_in(site.storage.data_dir, {"writersecret"}) == {}
        assert len(list(landing.all())) == 5
        assert site.rows('SELECT a FROM exports."Kinds" ORDER BY a') == [
            (1,),
            (2,),
            (3,),
            (4,),
            (5,),
        ]
        assert list((site.storage.landing / ".aside").iterdir()) == []


def test_the_published_file_is_uploaded_whole_or_not_at_all(
    site: Site, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_DATA_DIR", str(site.storage.data_dir))
    monkeypatch.setenv("CP_LANDING", location)
    monkeypatch.setenv("CP_PUBLISH_TO", f"{location}-published/")
    below = {"CP_LANDING": location, "CP_PUBLISH_TO": f"{location}/published"}
    with pytest.raises(SettingsError, match="below CP_LANDING"):
        StorageSettings.from_environment(below)
    site.load("N\n1\n")
    done = PipelineResource().publish("run")
    file = done.path.read_bytes()
    assert done.uploaded == f"{location}-published/centrepoint.duckdb"
    assert done.sha256 == hashlib.sha256(file).hexdigest()
    client = S3Store.from_url(f"{location}-published", client_options={"allow_http": True})
    uploaded = obstore.get(client, "centrepoint.duckdb")
    assert uploaded.attributes["sha256"] == done.sha256
    assert bytes(uploaded.bytes()) == file
    ObjectStore.at(f"{location}-published").check(overwrites=True)

    site.load("N\n2\n", subject_id=2)
    with monkeypatch.context() as refused:
        for name, value in READER.items():
            refused.setenv(name, value)
        with pytest.raises(LandingUnusable, match=r"the published file in s3://.*AccessDenied"):
            PipelineResource().publish("run")
        store = ObjectStore.at(f"{location}-published", "the published file in")
        with pytest.raises(LandingUnusable, match="refuses access to the published file in"):
            store.check(overwrites=True)
    assert done.path.read_bytes() == file
    assert [each.name for each in done.path.parent.glob("*centrepoint*")] == [done.path.name]
    assert bytes(obstore.get(client, "centrepoint.duckdb").bytes()) == file

    again = PipelineResource().publish("run")
    assert again.rows == 2
    got = obstore.get(client, "centrepoint.duckdb")
    assert hashlib.sha256(bytes(got.bytes())).hexdigest() == again.sha256 != done.sha256
    erase(StorageSettings.from_environment(), 2)
    with pytest.raises(FileNotFoundError):
        obstore.head(client, "centrepoint.duckdb")
