"""The settings: good defaults, and one message with all errors."""

from pathlib import Path

import pytest

from cp_pipeline.settings import (
    CentrePointSettings,
    SettingsError,
    StorageSettings,
    anchor_paths,
)

NEEDED = {"CP_CLIENT_ID": "somebody", "CP_CLIENT_SECRET": "TopSecret", "CP_STUDY_ID": "4711"}


def refusal_of(**environment: str) -> str:
    """Return the error message for an environment."""
    with pytest.raises(SettingsError) as refusal:
        CentrePointSettings.from_environment(environment)
    return str(refusal.value)


def test_anchored_paths_stay_where_they_were_when_the_folder_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CP_DATA_DIR", "elsewhere")
    for name in ("CP_WAREHOUSE", "CP_PUBLISHED"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("CP_LANDING", "files")
    monkeypatch.chdir(tmp_path)
    anchor_paths()
    monkeypatch.chdir("/")
    storage = StorageSettings.from_environment()
    assert storage.data_dir == tmp_path / "elsewhere"
    assert storage.warehouse == str(tmp_path / "elsewhere" / "warehouse.duckdb")
    assert storage.published == tmp_path / "elsewhere" / "centrepoint.duckdb"
    assert storage.landing == tmp_path / "files"


def test_three_variables_are_enough_for_production() -> None:
    settings = CentrePointSettings.from_environment(NEEDED)
    assert settings == CentrePointSettings(
        api_url="https://api.actigraphcorp.com/dataaccess/v3",
        token_url="https://auth.actigraphcorp.com/connect/token",
        client_id="somebody",
        client_secret="TopSecret",
        study_ids=(4711,),
        dialect="auto",
        requests_per_minute=450,
        download_threads=16,
        allow_insecure_http=False,
    )


def test_every_variable_is_read() -> None:
    settings = CentrePointSettings.from_environment(
        NEEDED
        | {
            "CP_API_URL": "http://127.0.0.1:8080/dataaccess/v3/",
            "CP_TOKEN_URL": "http://127.0.0.1:8080/connect/token",
            "CP_EXPORT_DIALECT": "datasetfiles",
            "CP_REQUESTS_PER_MINUTE": "100",
            "CP_DOWNLOAD_THREADS": "2",
            "CP_ALLOW_INSECURE_HTTP": "1",
            "CP_ALLOW_PRIVATE_HOSTS": "storage.internal",
        }
    )
    assert settings.api_url == "http://127.0.0.1:8080/dataaccess/v3"
    assert settings.token_url == "http://127.0.0.1:8080/connect/token"
    assert settings.dialect == "datasetfiles"
    assert (settings.requests_per_minute, settings.download_threads) == (100, 2)
    assert settings.allow_insecure_http
    assert settings.private_hosts == ("storage.internal",)


def test_the_processs_own_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    assert CentrePointSettings.from_environment().client_id == "somebody"


def test_everything_that_is_missing_is_said_at_once() -> None:
    said = refusal_of(CP_CLIENT_ID="  ")
    for name in NEEDED:
        assert f"{name} is not set" in said
    assert ".env" in said


def test_everything_that_is_wrong_is_said_at_once() -> None:
    said = refusal_of(
        CP_STUDY_ID="4711,x",
        CP_API_URL="http://api.example.com",
        CP_TOKEN_URL="nonsense",
        CP_EXPORT_DIALECT="exports",
        CP_REQUESTS_PER_MINUTE="0",
        CP_DOWNLOAD_THREADS="many",
        CP_ALLOW_INSECURE_HTTP="perhaps",
        CP_CLIENT_ID="somebody",
    )
    for complaint in (
        "CP_STUDY_ID is '4711,x'",
        "CP_API_URL is not HTTPS",
        "CP_TOKEN_URL is not an https:// address",
        "CP_EXPORT_DIALECT is 'exports'",
        "CP_REQUESTS_PER_MINUTE is '0'",
        "CP_DOWNLOAD_THREADS is 'many'",
        "CP_ALLOW_INSECURE_HTTP is 'perhaps'",
        "CP_CLIENT_SECRET is not set",
    ):
        assert complaint in said
    assert "CP_CLIENT_ID" not in said


@pytest.mark.parametrize("name", ["CP_API_URL", "CP_TOKEN_URL"])
def test_plain_http_needs_permission(name: str) -> None:
    environment = NEEDED | {name: "http://127.0.0.1:8080/x"}
    assert f"{name} is not HTTPS" in refusal_of(**environment)
    assert f"{name} is not HTTPS" in refusal_of(**environment, CP_ALLOW_INSECURE_HTTP="0")
    assert f"{name} is not HTTPS" in refusal_of(**{**environment, name: "HTTP://127.0.0.1:8080/x"})
    CentrePointSettings.from_environment(environment | {"CP_ALLOW_INSECURE_HTTP": "1"})


@pytest.mark.parametrize(
    "address", ["ftp://x/y", "api.example.com", "https://", "https:///v3", "https://[x"]
)
@pytest.mark.parametrize("allowed", ["0", "1"])
def test_what_is_no_web_address_is_refused(address: str, allowed: str) -> None:
    said = refusal_of(**NEEDED, CP_API_URL=address, CP_ALLOW_INSECURE_HTTP=allowed)
    assert "CP_API_URL is not an https:// address" in said


@pytest.mark.parametrize(
    ("text", "studies"),
    [
        ("4711", (4711,)),
        ("4711,12", (4711, 12)),
        (" 12 , 4711 ,", (12, 4711)),
        ("12,4711,12", (12, 4711)),
    ],
)
def test_several_studies_are_kept_in_order_and_once_each(
    text: str, studies: tuple[int, ...]
) -> None:
    settings = CentrePointSettings.from_environment(NEEDED | {"CP_STUDY_ID": text})
    assert settings.study_ids == studies


@pytest.mark.parametrize("text", ["x", "4711;12", "-1", "4711.0", ",", "4711 12"])
def test_what_is_no_list_of_studies_is_refused(text: str) -> None:
    assert f"CP_STUDY_ID is {text!r}" in refusal_of(**{**NEEDED, "CP_STUDY_ID": text})


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_numbers_are_whole_and_above_zero(value: str) -> None:
    said = refusal_of(**NEEDED, CP_REQUESTS_PER_MINUTE=value, CP_DOWNLOAD_THREADS=value)
    assert f"CP_REQUESTS_PER_MINUTE is {value!r}" in said
    assert f"CP_DOWNLOAD_THREADS is {value!r}" in said


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_a_switch_is_turned_on_by_several_words(value: str) -> None:
    environment = NEEDED | {"CP_ALLOW_INSECURE_HTTP": value}
    assert CentrePointSettings.from_environment(environment).allow_insecure_http


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ()),
        ("storage.internal", ("storage.internal",)),
        (" 10.0.0.1 , a_b-c.internal ,10.0.0.1", ("10.0.0.1", "a_b-c.internal")),
        ("[fd00::1],fd00::2", ("[fd00::1]", "fd00::2")),
    ],
)
def test_private_hosts_are_names_and_addresses(text: str, hosts: tuple[str, ...]) -> None:
    environment = NEEDED | {"CP_ALLOW_PRIVATE_HOSTS": text}
    assert CentrePointSettings.from_environment(environment).private_hosts == hosts


@pytest.mark.parametrize(
    "text",
    ["on", "1", "OFF", "https://storage", "storage:8443", "storage/x", "a b", "*", "10.0.0.0/8"],
)
def test_what_is_no_host_is_refused_and_so_is_a_switch(text: str) -> None:
    said = refusal_of(**NEEDED, CP_ALLOW_PRIVATE_HOSTS=f"10.0.0.1,{text}")
    assert f"CP_ALLOW_PRIVATE_HOSTS contains {text!r}" in said


def test_the_secret_is_neither_shown_nor_named_in_a_complaint() -> None:
    assert "TopSecret" not in f"{CentrePointSettings.from_environment(NEEDED)!r}"
    said = refusal_of(**{**NEEDED, "CP_STUDY_ID": "x"}, CP_API_URL="http://me:TopSecret@x")
    assert "TopSecret" not in said


def test_data_lies_under_the_working_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = StorageSettings.from_environment({})
    assert storage.data_dir == tmp_path / "data"
    assert storage.warehouse == str(tmp_path / "data" / "warehouse.duckdb")
    assert storage.published == tmp_path / "data" / "centrepoint.duckdb"
    assert storage.landing == tmp_path / "data" / "landing"
    assert storage.dagster_home == tmp_path / "data" / "dagster_home"


def test_places_of_ones_own_are_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    storage = StorageSettings.from_environment(
        {"CP_DATA_DIR": "~/study", "CP_WAREHOUSE": "w.duckdb", "CP_PUBLISHED": "out/p.duckdb"}
    )
    assert storage.data_dir == tmp_path / "home" / "study"
    assert storage.warehouse == str(tmp_path / "w.duckdb")
    assert storage.published == tmp_path / "out" / "p.duckdb"


@pytest.mark.parametrize(
    ("warehouse", "words"),
    [
        ("md:study?motherduck_token=hush", "MotherDuck is not supported"),
        ("postgres:password=hush", "a word and a colon that are not known"),
        ("ducklake:", "another catalog than a file"),
        ("ducklake:sqlite:catalog.sqlite", "another catalog than a file"),
        ("ducklake:postgres:dbname=x password=hush", "another catalog than a file"),
        ("ducklake:postgres:postgresql://me:hush@host/x", "another catalog than a file"),
        ("ducklake:/a#b.ducklake", "must not contain '#'"),
    ],
)
def test_a_warehouse_of_another_kind_is_refused_in_words(warehouse: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        StorageSettings.from_environment({"CP_WAREHOUSE": warehouse})
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_lake_is_named_by_its_catalog_file_or_by_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = StorageSettings.from_environment({"CP_WAREHOUSE": "ducklake:./w.ducklake"})
    assert storage.warehouse == f"ducklake:{tmp_path}/w.ducklake"
    assert storage.lake_data_path == f"{tmp_path}/data/lake/"
    secret = {"CP_WAREHOUSE": "ducklake:warehouse", "CP_DUCKDB_SECRETS": "secrets"}
    storage = StorageSettings.from_environment(secret)
    assert storage.warehouse == "ducklake:warehouse"
    assert storage.duckdb_secrets == tmp_path / "secrets"
    with pytest.raises(SettingsError, match="belongs into the secret"):
        StorageSettings.from_environment(secret | {"CP_LAKE_DATA_PATH": "s3://bucket/lake/"})


DETAILS = {**NEEDED, "CP_STUDY_DETAILS": "1"}


def test_the_details_of_a_study_are_off_unless_a_person_wants_them() -> None:
    assert CentrePointSettings.from_environment(NEEDED).details is None
    found = CentrePointSettings.from_environment(DETAILS).details
    assert found is not None
    assert found.api_url == "https://api.actigraphcorp.com/centrepoint/v3"
    assert (found.client_id, found.has_own_client) == (NEEDED["CP_CLIENT_ID"], False)
    assert found.subject_fields == frozenset()
    own = {"CP_DETAILS_CLIENT_ID": "other", "CP_DETAILS_CLIENT_SECRET": "hidden"}
    found = CentrePointSettings.from_environment({**DETAILS, **own}).details
    assert found is not None
    assert (found.client_id, found.client_secret) == ("other", "hidden")
    assert "hidden" not in repr(CentrePointSettings.from_environment({**DETAILS, **own}))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"CP_SUBJECT_FIELDS": "gender, name"}, "'name'"),
        ({"CP_DETAILS_CLIENT_ID": "other"}, "belong together"),
        ({"CP_DETAILS_CLIENT_SECRET": "x"}, "belong together"),
        ({"CP_API_URL": "https://example.com/api"}, "dataaccess/v3"),
    ],
)
def test_wrong_settings_of_the_details_are_named(variables: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        CentrePointSettings.from_environment({**DETAILS, **variables})


@pytest.mark.parametrize("place", ["s3://bucket", "s3://bucket/a/b-c_d.e", "az://container/x/"])
def test_the_landing_may_be_in_an_object_store(place: str, tmp_path: Path) -> None:
    storage = StorageSettings.from_environment({"CP_DATA_DIR": str(tmp_path), "CP_LANDING": place})
    assert storage.landing_url == place.rstrip("/")
    assert storage.landing == tmp_path / "landing"


def test_the_landing_may_be_another_folder(tmp_path: Path) -> None:
    storage = StorageSettings.from_environment({"CP_LANDING": str(tmp_path / "files")})
    assert (storage.landing_url, storage.landing) == ("", tmp_path / "files")


@pytest.mark.parametrize(
    "place",
    [
        "s3://key:TopSecret@bucket/x",
        "s3://bucket/x?sig=TopSecret",
        "s3://bucket/TopSecret#",
        "gs://TopSecret/x",
        "https://TopSecret.blob.core.windows.net/x",
        "s3:///TopSecret",
    ],
)
def test_another_place_and_credentials_in_it_are_refused_and_not_repeated(place: str) -> None:
    with pytest.raises(SettingsError, match="CP_LANDING must be a folder, s3://") as raised:
        StorageSettings.from_environment({"CP_LANDING": place})
    assert "TopSecret" not in str(raised.value)


def test_the_requests_are_divided_among_the_hosts() -> None:
    hosts = {"CP_REQUESTS_PER_MINUTE": "100", "CP_HOSTS": "3"}
    settings = CentrePointSettings.from_environment({**NEEDED, **hosts})
    assert (settings.requests_per_minute, settings.hosts) == (33, 3)
    assert "CP_HOSTS is '0'" in refusal_of(**NEEDED, CP_HOSTS="0")
