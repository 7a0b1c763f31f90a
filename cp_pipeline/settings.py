"""The settings, read from environment variables; the README documents their names.

Belongs here: names, defaults, and reporting all invalid settings in one message.
Does not belong: whether the service accepts them (``centrepoint``, ``cp-pipeline doctor``).
"""

import getpass
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, cast, get_args
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from cp_pipeline.domain.errors import PipelineError

Dialect = Literal["datasetexportfiles", "datasetfiles"]
DialectSetting = Literal["auto", Dialect]

PRODUCTION_API_URL = "https://api.actigraphcorp.com/dataaccess/v3"
PRODUCTION_TOKEN_URL = "https://auth.actigraphcorp.com/connect/token"  # noqa: S105  (an address)

_OBJECTS = re.compile(r"(s3|az)://[A-Za-z0-9.-]+(/[A-Za-z0-9._-]+)*/?")
_SWITCHES = frozenset({"0", "1", "true", "false", "yes", "no", "on", "off"})
_HOST = re.compile(r"[\w.-]+|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*\]?")

# What a path must not contain, and why: tested with DuckDB 2.0.0 and 1.5.5, dbt-duckdb 1.11, and
# Dagster 1.13 on SQLAlchemy 2.1.
_Refused = tuple[tuple[re.Pattern[str], str, str], ...]
_SCHEMAS = "exports|history|lineage|main|system|temp|information_schema|pg_catalog"
_BY_ALL: _Refused = (
    (re.compile("[\ud800-\udfff]"), "bytes that are not UTF-8", "DuckDB refuses it"),
)
_BY_DUCKDB: _Refused = (
    (re.compile(r"\?"), "'?'", "DuckDB would write the write-ahead log to another path"),
    (re.compile(r"\\"), "a backslash", "DuckDB reads it as '/'"),
)
_BY_DBT: _Refused = (
    (re.compile("#"), "'#'", "dbt reads it as the end of the name"),
    (re.compile(";[^/]*$"), "';' in the file's name", "dbt reads it as the end of the name"),
    (re.compile("['\"][^/]*$"), "quotes in the file's name", "dbt reads one as the name's end"),
    (
        re.compile(rf"/\.*({_SCHEMAS})(\.[^/]*)?$", re.IGNORECASE),
        "the name of a schema as the file's name",
        "DuckDB would confuse the database with the schema",
    ),
)
_BY_DAGSTER: _Refused = (
    (re.compile(r"\?"), "'?'", "Dagster reads it as the end of the name"),
    (re.compile("%[0-9A-Fa-f]{2}"), "'%' before two digits", "Dagster reads it as a URL code"),
)

SENSOR_SECONDS = 300
WAREHOUSE_WAIT_SECONDS = 600
# How often the sensor has the whole study listed, which takes a request for 100 exports.
WHOLE_LISTING_HOURS = 24.0
LARGEST_CSV_GIGABYTES = 20.0
# The last part of CP_API_URL, and what it is for the details of a study (docs/api.md).
_DATA_ACCESS = re.compile(r"dataaccess(?=/v[0-9]+$)", re.IGNORECASE)
# What of a subject is kept only if a person asks for it.
SubjectField = Literal["dob", "age_years", "gender", "weight", "height"]


class SettingsError(PipelineError):
    """Environment variables are missing or invalid; the message names all of them."""


class _Reader:
    """Reads variables and collects all errors, so that a person can correct them at once."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self._environment = os.environ if environment is None else environment
        self.complaints: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self._environment.get(name, "").strip() or default

    def required(self, name: str, meaning: str) -> str:
        value = self.text(name)
        if not value:
            self.complaints.append(f"{name} is not set ({meaning}).")
        return value

    def positive(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if value.isdecimal() and int(value) > 0:
            return int(value)
        self.complaints.append(f"{name} is {value!r}, but must be a whole number above 0.")
        return default

    def positive_number(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and float(value) > 0:
            return float(value)
        self.complaints.append(f"{name} is {value!r}, but must be a number above 0.")
        return default

    def switch(self, name: str) -> bool:
        value = self.text(name, "0").lower()
        if value not in _SWITCHES:
            self.complaints.append(f"{name} is {value!r}, but must be 1 or 0.")
        return value in {"1", "true", "yes", "on"}

    def url(self, name: str, default: str, insecure_allowed: bool) -> str:
        value = self.text(name, default).rstrip("/")
        try:
            scheme, host = urlsplit(value)[:2]
        except ValueError:
            scheme, host = "", ""
        if scheme == "http" and not insecure_allowed:
            self.complaints.append(
                f"{name} is not HTTPS. Set CP_ALLOW_INSECURE_HTTP=1 only for a sandbox."
            )
        elif scheme not in {"http", "https"} or not host:
            self.complaints.append(f"{name} is not an https:// address.")
        return value

    def hosts(self, name: str) -> tuple[str, ...]:
        value = self.text(name)
        hosts = [host.strip() for host in value.split(",") if host.strip()]
        # An IPv6 address has colons, with or without brackets; no host has a scheme or a port.
        wrong = [host for host in hosts if not _HOST.fullmatch(host) or host.lower() in _SWITCHES]
        if wrong:
            self.complaints.append(
                f"{name} contains {wrong[0]!r}, but must be hosts as written in links, without "
                "https:// and port, separated by commas."
            )
        return tuple(dict.fromkeys(hosts))

    def object_store(self, name: str, *, or_folder: bool = False) -> str:
        """Return the location in an object store; empty without one, or if it is a folder.

        The value is not repeated in a complaint: it may have credentials, which do not belong here.
        """
        value = self.text(name)
        if not value or (or_folder and "://" not in value):
            return ""
        if not _OBJECTS.fullmatch(value):
            self.complaints.append(
                f"{name} must be {'a folder, ' if or_folder else ''}s3://bucket/prefix or "
                "az://container/prefix, without credentials and in the letters a-z, A-Z, 0-9, '.', "
                "'_' and '-'. The credentials belong in the store's own variables (AWS_…, AZURE_…)."
            )
            return ""
        return value.rstrip("/")

    def timezone(self, name: str) -> str:
        value = self.text(name)
        if value and value not in available_timezones():
            self.complaints.append(
                f"{name} is {value!r}, but must be a name of the time zone database, such as "
                "Europe/Berlin."
            )
        return value

    def path(self, name: str, default: Path, refused: _Refused) -> Path:
        """Return an absolute path; refuse characters that DuckDB, dbt or Dagster misread."""
        value = self.text(name)
        # Make it absolute: Dagster may start its processes in another folder than the person's.
        path = Path(value).expanduser().absolute() if value else default
        # Check the target of a symbolic link too: it is opened by its own name.
        for opened in dict.fromkeys((str(path), os.path.realpath(path))):
            shown = opened.encode(errors="backslashreplace").decode()
            self.complaints += [
                f"{name if value else 'CP_DATA_DIR'} leads to {shown}, but this path must not "
                f"contain {what}: {why}."
                for pattern, what, why in refused
                if pattern.search(opened)
            ]
        return path

    def lake(self, warehouse: str, data_path: str, data_dir: Path) -> tuple[str, str]:
        """Return the location of a DuckLake, and where its data files lie; refuse other forms."""
        kind, _, name = warehouse.partition(":")
        if kind != "ducklake":
            # Not shown: it may have a password.
            self.complaints.append(
                "CP_WAREHOUSE begins with "
                + (
                    "md:, but MotherDuck is not supported: nobody could try it yet"
                    if kind == "md"
                    else "a word and a colon that are not known"
                )
                + ". It must be a file, ducklake:<catalog file> or ducklake:<name of a DuckDB "
                "secret>."
            )
            return "", ""
        if re.fullmatch(r"[A-Za-z_]\w*", name):
            if data_path:
                self.complaints.append(
                    "CP_LAKE_DATA_PATH is set, but the data path of a DuckLake that a secret "
                    "describes belongs into the secret (DATA_PATH)."
                )
            return warehouse, ""
        if not name or ":" in name or "=" in name:
            self.complaints.append(
                "CP_WAREHOUSE is a DuckLake with another catalog than a file, in a form that may "
                "have a password. Describe it in a DuckDB secret, and set CP_WAREHOUSE to "
                "ducklake:<its name> (docs/lake.md)."
            )
            return "", ""
        file = Path(name).expanduser().absolute()
        self.complaints += [
            f"CP_WAREHOUSE leads to {file}, but this path must not contain {what}: {why}."
            for pattern, what, why in _BY_ALL + _BY_DUCKDB + _BY_DBT
            if pattern.search(str(file))
        ]
        if "://" not in data_path:
            folder = Path(data_path).expanduser().absolute() if data_path else data_dir / "lake"
            data_path = f"{folder}/"
        return f"ducklake:{file}", data_path

    def subject_fields(self, name: str) -> frozenset[SubjectField]:
        fields = [each.strip().lower() for each in self.text(name).split(",") if each.strip()]
        known = get_args(SubjectField)
        if unknown := [each for each in fields if each not in known]:
            self.complaints.append(
                f"{name} contains {unknown[0]!r}, but may only name {', '.join(known)}, "
                "separated by commas."
            )
        return frozenset(cast("list[SubjectField]", [each for each in fields if each in known]))

    def finish(self) -> None:
        if self.complaints:
            raise SettingsError(
                " ".join(self.complaints),
                "Set it in the environment or in the file .env (.env.example lists all settings).",
            )


@dataclass(frozen=True, slots=True)
class DetailsSettings:
    """How to ask for the details of a study, with the scope CentrePoint.

    ``has_own_client``: whether ``CP_DETAILS_CLIENT_ID`` names the client. ``subject_fields``: what
    of a subject is kept, beside identifiers, time zone, wear position and status.
    """

    api_url: str
    client_id: str
    client_secret: str = field(repr=False)
    has_own_client: bool = False
    subject_fields: frozenset[SubjectField] = frozenset()

    @classmethod
    def read(cls, read: _Reader, api_url: str, client_id: str, client_secret: str) -> Self | None:
        """Read the variables; None if ``CP_STUDY_DETAILS`` is off."""
        fields = read.subject_fields("CP_SUBJECT_FIELDS")
        own_id = read.text("CP_DETAILS_CLIENT_ID")
        own_secret = read.text("CP_DETAILS_CLIENT_SECRET")
        if bool(own_id) != bool(own_secret):
            read.complaints.append(
                "CP_DETAILS_CLIENT_ID and CP_DETAILS_CLIENT_SECRET belong together: set both, or "
                "none."
            )
        if not read.switch("CP_STUDY_DETAILS"):
            return None
        if not _DATA_ACCESS.search(api_url):
            read.complaints.append(
                "CP_STUDY_DETAILS is on, but CP_API_URL does not end with dataaccess/v3, so the "
                "address of the details is not known."
            )
        return cls(
            _DATA_ACCESS.sub("centrepoint", api_url),
            own_id or client_id,
            own_secret or client_secret,
            bool(own_id),
            fields,
        )


@dataclass(frozen=True, slots=True)
class CentrePointSettings:
    """The access to CentrePoint, and the studies to load."""

    api_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    study_ids: tuple[int, ...]
    dialect: DialectSetting = "auto"
    requests_per_minute: int = 450
    download_threads: int = 16
    # How many hosts share CP_REQUESTS_PER_MINUTE; ``requests_per_minute`` is this host's share.
    hosts: int = 1
    allow_insecure_http: bool = False
    private_hosts: tuple[str, ...] = ()
    whole_listing_hours: float = WHOLE_LISTING_HOURS
    details: DetailsSettings | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the ``CP_`` variables of ``environment`` (by default, of this process).

        Raises:
            SettingsError: variables are missing or invalid; the message names all of them.
        """
        read = _Reader(environment)
        insecure = read.switch("CP_ALLOW_INSECURE_HTTP")
        dialect = read.text("CP_EXPORT_DIALECT", "auto")
        if dialect not in get_args(DialectSetting):
            read.complaints.append(
                f"CP_EXPORT_DIALECT is {dialect!r}, but must be auto, datasetexportfiles or "
                "datasetfiles."
            )
        studies = read.required("CP_STUDY_ID", "the study's number, or several with commas")
        study_ids = [study.strip() for study in studies.split(",") if study.strip()]
        if studies and not (study_ids and all(study.isdecimal() for study in study_ids)):
            read.complaints.append(
                f"CP_STUDY_ID is {studies!r}, but must be a number, or several with commas."
            )
        api_url = read.url("CP_API_URL", PRODUCTION_API_URL, insecure)
        token_url = read.url("CP_TOKEN_URL", PRODUCTION_TOKEN_URL, insecure)
        client_id = read.required("CP_CLIENT_ID", "the API client's name, from ActiGraph")
        client_secret = read.required("CP_CLIENT_SECRET", "the API client's secret")
        requests, hosts = read.positive("CP_REQUESTS_PER_MINUTE", 450), read.positive("CP_HOSTS", 1)
        settings = cls(
            api_url=api_url,
            token_url=token_url,
            client_id=client_id,
            client_secret=client_secret,
            study_ids=tuple(dict.fromkeys(int(s) for s in study_ids if s.isdecimal())),
            dialect=cast("DialectSetting", dialect),
            requests_per_minute=max(requests // hosts, 1),
            download_threads=read.positive("CP_DOWNLOAD_THREADS", 16),
            hosts=hosts,
            allow_insecure_http=insecure,
            private_hosts=read.hosts("CP_ALLOW_PRIVATE_HOSTS"),
            whole_listing_hours=read.positive_number("CP_WHOLE_LISTING_HOURS", WHOLE_LISTING_HOURS),
            details=DetailsSettings.read(read, api_url, client_id, client_secret),
        )
        read.finish()
        return settings


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The paths of the data, the time to wait for the warehouse, and the largest size of a CSV.

    ``actor``: who acts, for ``lineage.actions``.
    ``dbt_project``: a dbt project of a person's own, in place of the installed one.
    """

    data_dir: Path
    warehouse: str
    published: Path
    warehouse_wait_seconds: float = WAREHOUSE_WAIT_SECONDS
    largest_csv_bytes: int = int(LARGEST_CSV_GIGABYTES * 10**9)
    dbt_project: Path | None = None
    actor: str = ""
    # An IANA name, or empty: of subjects whose own time zone is unknown.
    timezone: str = ""
    # The visits of subjects of whom CentrePoint tells none; need not exist.
    visits: Path = Path("data/visits.csv")
    report: Path = Path("data/study-report.html")
    # Of a DuckLake: where its data files lie, if its catalog is a file; and the folder of DuckDB's
    # persistent secrets (None: DuckDB's own).
    lake_data_path: str = ""
    duckdb_secrets: Path | None = None
    # The location in an object store, such as s3://bucket/prefix; empty if the landing is a folder.
    landing_url: str = ""
    landing_folder: Path | None = None
    # The location in an object store to which the published file is uploaded, too; empty for none.
    publish_to: str = ""

    @property
    def workbook(self) -> Path:
        """The Excel workbook beside the published file, unless a person names another path."""
        return self.published.with_suffix(".xlsx")

    @property
    def workbook_scratch(self) -> Path:
        """The folder in which a workbook is made, with a scratch folder for each process."""
        return self.data_dir / "workbook_scratch"

    @property
    def landing(self) -> Path:
        """The folder of the unchanged files; with an object store, only of scratch folders."""
        return self.landing_folder or self.data_dir / "landing"

    @property
    def has_many_writers(self) -> bool:
        """Whether several processes may write the warehouse at once; a file has one writer."""
        # A DuckLake whose catalog is a file has a data path of its own.
        return self.warehouse.startswith("ducklake:") and not self.lake_data_path

    @property
    def dagster_home(self) -> Path:
        """Dagster's folder, unless ``DAGSTER_HOME`` names another one."""
        return self.data_dir / "dagster_home"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read ``CP_DATA_DIR`` and the other storage variables; all have defaults.

        Raises:
            SettingsError: variables are invalid; the message names all of them.
        """
        read = _Reader(environment)
        data_dir = read.path("CP_DATA_DIR", Path("data").absolute(), _BY_ALL)
        warehouse = read.text("CP_WAREHOUSE")
        lake_data = read.text("CP_LAKE_DATA_PATH")
        if ":" in warehouse.partition("/")[0]:
            warehouse, lake_data = read.lake(warehouse, lake_data, data_dir)
        else:
            lake_data = ""
            default = data_dir / "warehouse.duckdb"
            warehouse = str(read.path("CP_WAREHOUSE", default, _BY_DUCKDB + _BY_DBT))
        published = read.path("CP_PUBLISHED", data_dir / "centrepoint.duckdb", _BY_DUCKDB)
        read.path("DAGSTER_HOME", data_dir / "dagster_home", _BY_DAGSTER)
        wait = read.positive("CP_WAREHOUSE_WAIT_SECONDS", WAREHOUSE_WAIT_SECONDS)
        gigabytes = read.positive_number("CP_LARGEST_CSV_GIGABYTES", LARGEST_CSV_GIGABYTES)
        own = read.path("CP_DBT_PROJECT", Path(), _BY_ALL) if read.text("CP_DBT_PROJECT") else None
        actor = read.text("CP_ACTOR", _user())
        timezone = read.timezone("CP_TIMEZONE")
        visits = read.path("CP_VISITS", data_dir / "visits.csv", _BY_DUCKDB)
        report = read.path("CP_REPORT", data_dir / "study-report.html", _BY_ALL)
        secrets = None
        if read.text("CP_DUCKDB_SECRETS"):
            secrets = read.path("CP_DUCKDB_SECRETS", Path(), _BY_DUCKDB)
        landing_url = read.object_store("CP_LANDING", or_folder=True)
        folder = data_dir / "landing"
        if not landing_url:
            folder = read.path("CP_LANDING", folder, _BY_ALL)
        publish_to = read.object_store("CP_PUBLISH_TO")
        if publish_to and landing_url and f"{publish_to}/".startswith(f"{landing_url}/"):
            read.complaints.append("CP_PUBLISH_TO must not be below CP_LANDING.")
        read.finish()
        return cls(
            data_dir=data_dir,
            warehouse=warehouse,
            published=published,
            warehouse_wait_seconds=wait,
            largest_csv_bytes=int(gigabytes * 10**9),
            dbt_project=own,
            actor=actor,
            timezone=timezone,
            visits=visits,
            report=report,
            landing_url=landing_url,
            landing_folder=None if folder == data_dir / "landing" else folder,
            lake_data_path=lake_data,
            duckdb_secrets=secrets,
            publish_to=publish_to,
        )


class _Names(dict[str, str]):
    """An environment without variables, which notes their names."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, default: str | None = None) -> str:  # type: ignore[override]
        self.asked.append(key)
        return default or ""


def variable_names() -> list[str]:
    """Return the names of the variables that access and storage are read from; no values."""
    names = _Names()
    with suppress(SettingsError):
        StorageSettings.from_environment(names)
    with suppress(SettingsError):
        CentrePointSettings.from_environment(names)
    return sorted(set(names.asked))


def configured_studies(environment: Mapping[str, str] | None = None) -> tuple[int, ...] | None:
    """Return the studies of ``CP_STUDY_ID``; None if it names none, for who only reads."""
    studies = _Reader(environment).text("CP_STUDY_ID").split(",")
    return tuple(int(each) for each in studies if each.strip().isdecimal()) or None


def is_lake(warehouse: str) -> bool:
    """Whether a location of the warehouse is a DuckLake (and not a DuckDB file)."""
    return warehouse.startswith("ducklake:")


def _user() -> str:
    """Return the name of the operating system's user; the number of one without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def anchor_paths() -> None:
    """Make the data paths absolute in this process's environment.

    A relative path is relative to the person's current folder, and dbt changes the current folder.
    """
    storage = StorageSettings.from_environment()
    os.environ["CP_DATA_DIR"] = str(storage.data_dir)
    os.environ["CP_WAREHOUSE"] = storage.warehouse
    os.environ["CP_PUBLISHED"] = str(storage.published)
    if storage.lake_data_path:
        os.environ["CP_LAKE_DATA_PATH"] = storage.lake_data_path
    if storage.duckdb_secrets:
        os.environ["CP_DUCKDB_SECRETS"] = str(storage.duckdb_secrets)
    os.environ["CP_VISITS"] = str(storage.visits)
    if storage.landing_folder:
        os.environ["CP_LANDING"] = str(storage.landing_folder)
    os.environ["CP_REPORT"] = str(storage.report)
    if storage.dbt_project:
        os.environ["CP_DBT_PROJECT"] = str(storage.dbt_project)


def for_the_owner_alone() -> None:
    """Make all new files of this process readable only by their owner, also DuckDB's, Dagster's."""
    os.umask(0o077)


def sensor_seconds(environment: Mapping[str, str] | None = None) -> int:
    """Return ``CP_SENSOR_SECONDS``: the seconds between two ticks of the sensor.

    Raises:
        SettingsError: the value is not a whole number above 0.
    """
    read = _Reader(environment)
    seconds = read.positive("CP_SENSOR_SECONDS", SENSOR_SECONDS)
    read.finish()
    return seconds
