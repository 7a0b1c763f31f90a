"""The settings of the storage: where the data lie, and how much of it may be.

Belongs here: names, defaults, invalid values, paths that follow from others, and what DuckDB, dbt
or Dagster would misread in a path.
Does not belong: whether a path can be written, or a lake be opened (``warehouse``, ``landing``).
"""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cp_pipeline.settings.reader import Reader, Refused

# The SQL models: beside the package, in a checkout and in an installation from a wheel.
DBT_PROJECT = Path(__file__).parents[2] / "dbt_style_sql"
# What DuckDB, dbt or Dagster would misread in a path. Tested with DuckDB 2.0.0 and 1.5.5,
# dbt-duckdb 1.11, and Dagster 1.13 on SQLAlchemy 2.1.
_SCHEMAS = "exports|history|lineage|main|system|temp|information_schema|pg_catalog"
_BY_ALL: Refused = (
    (re.compile("[\ud800-\udfff]"), "bytes that are not UTF-8", "DuckDB refuses it"),
)
_BY_DUCKDB: Refused = (
    (re.compile(r"\?"), "'?'", "DuckDB would write the write-ahead log to another path"),
    (re.compile(r"\\"), "a backslash", "DuckDB reads it as '/'"),
)
_BY_DBT: Refused = (
    (re.compile("#"), "'#'", "dbt reads it as the end of the name"),
    (re.compile(";[^/]*$"), "';' in the file's name", "dbt reads it as the end of the name"),
    (re.compile("['\"][^/]*$"), "quotes in the file's name", "dbt reads one as the name's end"),
    (
        re.compile(rf"/\.*({_SCHEMAS})(\.[^/]*)?$", re.IGNORECASE),
        "the name of a schema as the file's name",
        "DuckDB would confuse the database with the schema",
    ),
)
_BY_DAGSTER: Refused = (
    (re.compile(r"\?"), "'?'", "Dagster reads it as the end of the name"),
    (re.compile("%[0-9A-Fa-f]{2}"), "'%' before two digits", "Dagster reads it as a URL code"),
)


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The paths of the data, the time to wait for the warehouse, and the largest size of a CSV.

    ``actor``: who acts, for ``lineage.actions``.
    ``dbt_project``: a dbt project of a person's own, in place of ``DBT_PROJECT``.
    """

    data_dir: Path
    warehouse: str
    published: Path
    warehouse_wait_seconds: float
    largest_csv_bytes: int
    dbt_project: Path | None
    actor: str
    # An IANA name, or empty: of subjects whose own time zone is unknown.
    timezone: str
    # The visits of subjects of whom CentrePoint tells none; need not exist.
    visits: Path
    report: Path
    # Of a DuckLake: where its data files lie, if its catalog is a file; and the folder of DuckDB's
    # persistent secrets (None: DuckDB's own).
    lake_data_path: str
    duckdb_secrets: Path | None
    # The location in an object store, such as s3://bucket/prefix; empty if the landing is a folder.
    landing_url: str
    # The folder of the unchanged files; with an object store, only of scratch folders.
    landing: Path
    # The location in an object store to which the published file is uploaded, too; empty for none.
    publish_to: str

    @property
    def workbook(self) -> Path:
        """The Excel workbook beside the published file, unless a person names another path."""
        return self.published.with_suffix(".xlsx")

    @property
    def workbook_scratch(self) -> Path:
        """The folder in which a workbook is made, with a scratch folder for each process."""
        return self.data_dir / "workbook_scratch"

    @property
    def has_many_writers(self) -> bool:
        """Whether several processes may write the warehouse at once; a file has one writer."""
        # A DuckLake whose catalog is a file has a data path of its own.
        return is_lake(self.warehouse) and not self.lake_data_path

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
        read = Reader(environment)
        data_dir = read.path("CP_DATA_DIR", Path("data").absolute(), _BY_ALL)
        warehouse = read.text("CP_WAREHOUSE")
        lake_data = read.text("CP_LAKE_DATA_PATH")
        if ":" in warehouse.partition("/")[0]:
            warehouse, lake_data = _lake(read, warehouse, lake_data, data_dir)
        else:
            lake_data = ""
            default = data_dir / "warehouse.duckdb"
            warehouse = str(read.path("CP_WAREHOUSE", default, _BY_DUCKDB + _BY_DBT))
        published = read.path("CP_PUBLISHED", data_dir / "centrepoint.duckdb", _BY_DUCKDB)
        read.path("DAGSTER_HOME", data_dir / "dagster_home", _BY_DAGSTER)
        landing = data_dir / "landing"
        settings = cls(
            data_dir=data_dir,
            warehouse=warehouse,
            published=published,
            warehouse_wait_seconds=read.positive("CP_WAREHOUSE_WAIT_SECONDS", 600),
            largest_csv_bytes=int(read.positive_number("CP_LARGEST_CSV_GIGABYTES", 20.0) * 10**9),
            dbt_project=read.path("CP_DBT_PROJECT", Path(), _BY_ALL)
            if read.text("CP_DBT_PROJECT")
            else None,
            actor=read.text("CP_ACTOR", _user()),
            timezone=read.timezone("CP_TIMEZONE"),
            visits=read.path("CP_VISITS", data_dir / "visits.csv", _BY_DUCKDB),
            report=read.path("CP_REPORT", data_dir / "study-report.html", _BY_ALL),
            lake_data_path=lake_data,
            duckdb_secrets=read.path("CP_DUCKDB_SECRETS", Path(), _BY_DUCKDB)
            if read.text("CP_DUCKDB_SECRETS")
            else None,
            landing_url=(landing_url := read.object_store("CP_LANDING", or_folder=True)),
            landing=landing if landing_url else read.path("CP_LANDING", landing, _BY_ALL),
            publish_to=read.object_store("CP_PUBLISH_TO"),
        )
        if landing_url and f"{settings.publish_to}/".startswith(f"{landing_url}/"):
            read.complaints.append("CP_PUBLISH_TO must not be below CP_LANDING.")
        read.finish()
        return settings


def is_lake(warehouse: str) -> bool:
    """Whether a location of the warehouse is a DuckLake (and not a DuckDB file)."""
    return warehouse.startswith("ducklake:")


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
    if not storage.landing_url and storage.landing != storage.data_dir / "landing":
        os.environ["CP_LANDING"] = str(storage.landing)
    os.environ["CP_REPORT"] = str(storage.report)
    if storage.dbt_project:
        os.environ["CP_DBT_PROJECT"] = str(storage.dbt_project)


def for_the_owner_alone() -> None:
    """Make all new files of this process readable only by their owner, also DuckDB's, Dagster's."""
    os.umask(0o077)


def _lake(read: Reader, warehouse: str, data_path: str, data_dir: Path) -> tuple[str, str]:
    """Return the location of a DuckLake, and where its data files lie; refuse other forms."""
    kind, _, name = warehouse.partition(":")
    if kind != "ducklake":
        # Not shown: it may have a password.
        read.complaints.append(
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
            read.complaints.append(
                "CP_LAKE_DATA_PATH is set, but the data path of a DuckLake that a secret "
                "describes belongs into the secret (DATA_PATH)."
            )
        return warehouse, ""
    if not name or ":" in name or "=" in name:
        read.complaints.append(
            "CP_WAREHOUSE is a DuckLake with another catalog than a file, in a form that may "
            "have a password. Describe it in a DuckDB secret, and set CP_WAREHOUSE to "
            "ducklake:<its name> (docs/lake.md)."
        )
        return "", ""
    file = Path(name).expanduser().absolute()
    read.complaints += [
        f"CP_WAREHOUSE leads to {file}, but this path must not contain {what}: {why}."
        for pattern, what, why in _BY_ALL + _BY_DUCKDB + _BY_DBT
        if pattern.search(str(file))
    ]
    if "://" not in data_path:
        folder = Path(data_path).expanduser().absolute() if data_path else data_dir / "lake"
        data_path = f"{folder}/"
    return f"ducklake:{file}", data_path


def _user() -> str:
    """Return the name of the operating system's user; the number of one without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
