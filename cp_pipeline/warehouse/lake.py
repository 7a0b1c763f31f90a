"""A DuckLake as the warehouse: its extensions, its secrets, and the turn of a writer.

Belongs here: opening a DuckLake, and taking turns. Does not belong: transactions (``connection``),
waiting (``attaching``), maintenance (``lake_maintenance``), the forms of CP_WAREHOUSE
(``settings``).

Writers of a DuckLake do conflict (measured with DuckLake on DuckDB 1.5.5 and PostgreSQL 15): two
hosts that load one export both succeed, ``max + 1`` gives the same number twice, and widening loses
the rows of another host. So each writer takes its turn: it updates the one row of
``lineage.turn``, and of two transactions that do so DuckLake refuses the second. Where the catalog
is PostgreSQL, each writer first takes an advisory lock, so that nothing has to be done again. The
lock ends with the transaction, and so with the process.
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cp_pipeline.settings import is_lake
from cp_pipeline.warehouse.column_types import literal
from cp_pipeline.warehouse.errors import WarehouseBusy, WarehouseUnreadable
from cp_pipeline.warehouse.quiet_connections import Config, connect

# DuckLake attaches its catalog under this name.
CATALOG = "__ducklake_metadata_warehouse"
# Any number; all writers of all lakes in one PostgreSQL database take turns.
_LOCK = 0x63705F6C616B65
_LOCK_TIMEOUT = re.compile(r"lock timeout")
_CONFLICT = re.compile(r"Transaction conflict|conflict on |write-write conflict", re.IGNORECASE)
_MISSING = re.compile(r"creating a new DuckLake is explicitly disabled")
_MADE_AT_ONCE = re.compile(
    r"Failed to initialize DuckLake.*(duplicate key|already exists)", re.DOTALL
)
_PASSWORD = re.compile(
    r"(password|passwd|pwd|token)\s*=\s*('[^']*'|\"[^\"]*\"|[^\s;\"]+)", re.IGNORECASE
)
# Of httpfs: the store's refusal, or no answer.
_STORE = re.compile(r"^(HTTP Error|IO Error: .*\bHTTP\b)")
_USER_INFO = re.compile(r"(\w+://)[^/\s@]*@")


class LakeMissing(WarehouseUnreadable):
    """The DuckLake has not been made yet."""


class TurnLost(WarehouseBusy):
    """Another host wrote during this transaction, so nothing of it was written."""


@dataclass(frozen=True, slots=True)
class Lake:
    """How to open a DuckLake.

    ``location``: ``ducklake:<catalog file>`` or ``ducklake:<name of a secret>``. ``data_path``:
    where the data files of a new lake with a catalog file lie. ``secrets``: the folder of DuckDB's
    persistent secrets; None for DuckDB's own.
    """

    location: str
    data_path: str = ""
    secrets: Path | None = None

    @property
    def catalog_file(self) -> Path | None:
        """The catalog, if it is a file; None if a secret tells what it is."""
        name = self.location.removeprefix("ducklake:")
        return Path(name) if "/" in name else None

    def exists(self) -> bool:
        """Whether it may exist: a catalog file that is missing does not."""
        return self.catalog_file is None or self.catalog_file.exists()

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a new in-memory connection that can attach the lake.

        Raises:
            WarehouseUnreadable: an extension or the secret is missing, or the secret has a
                password where DuckDB would show it.
        """
        connection = connect(config=self.config())
        try:
            self.prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def config(self) -> Config:
        """Return the configuration of a DuckDB that can attach the lake."""
        # Nothing is downloaded.
        config: Config = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        if self.secrets is not None:
            config["secret_directory"] = str(self.secrets)
        return config

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Load the extensions that the lake needs; see ``connect`` for the errors."""
        path = self.data_path
        if self.catalog_file is None:
            found = re.search(r"(?:^|;)data_path=([^;]*)", self._secret(connection))
            path = found[1] if found else ""
        for name in ["ducklake", *_needed_by(path)]:
            connection.execute(f"LOAD {literal(extension_file(name))}")

    def attach(self, options: str) -> str:
        """Return the ATTACH statement; make the folders of a new lake with a catalog file."""
        chosen = [options] if options else []
        file = self.catalog_file
        if file is not None and not file.exists() and options != "READ_ONLY":
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if "://" not in self.data_path:
                Path(self.data_path).mkdir(mode=0o700, parents=True, exist_ok=True)
            chosen.append(f"DATA_PATH {literal(self.data_path)}")
        listed = f" ({', '.join(chosen)})" if chosen else ""
        return f"ATTACH {literal(self.location)} AS warehouse{listed}"

    def refusal(self, message: str) -> str:
        """Return DuckDB's message about this lake without passwords.

        Raises:
            LakeMissing: it says that there is no lake yet.
        """
        if _MISSING.search(message):
            raise LakeMissing(
                f"The DuckLake {self.location} is not made yet.", "Run cp-pipeline sync."
            )
        if _MADE_AT_ONCE.search(message):
            # As if it were locked: it is soon there.
            return "locked: another host is making it"
        return without_passwords(message)

    def lock(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
        """Take the advisory lock, as the first statement of a transaction; ``memory`` is in use.

        A statement that used the lake before would have fixed its snapshot before the lock.

        Raises:
            WarehouseBusy: another host holds it for longer than ``seconds``.
        """
        if self.catalog_file is not None:
            # Its process holds a catalog file alone.
            return
        wait = f"set_config(''lock_timeout'', ''{max(1, int(seconds * 1000))}'', true)"
        try:
            connection.execute(
                f"FROM postgres_query('{CATALOG}', 'SELECT {wait},"
                f" pg_advisory_xact_lock({_LOCK})::VARCHAR')"
            ).fetchall()
        except duckdb.Error as error:
            if not _LOCK_TIMEOUT.search(str(error)):
                raise
            raise WarehouseBusy(
                f"Another host writes {self.location} or builds its models; waited "
                f"{seconds:.0f} s.",
                "Run this again later. All downloads are kept.",
            ) from None

    def _secret(self, connection: duckdb.DuckDBPyConnection) -> str:
        name = self.location.removeprefix("ducklake:")
        try:
            # Reading the secrets needs the extensions of their types.
            for extension in ("ducklake", "postgres_scanner"):
                connection.execute(f"LOAD {literal(extension_file(extension))}")
            row = connection.execute(
                "SELECT secret_string FROM duckdb_secrets() WHERE lower(name) = lower(?)"
                " AND type = 'ducklake'",
                [name],
            ).fetchone()
        except duckdb.Error as error:
            raise WarehouseUnreadable(
                f"DuckDB's secrets cannot be read: {without_passwords(first_line(error))}.",
                "Check CP_DUCKDB_SECRETS (docs/lake.md).",
            ) from None
        if row is None:
            folder = f"in {self.secrets}" if self.secrets else "among DuckDB's persistent secrets"
            raise WarehouseUnreadable(
                f"CP_WAREHOUSE names the DuckDB secret {name}, but there is none {folder}.",
                "Create it (docs/lake.md), and set CP_DUCKDB_SECRETS to its folder.",
            )
        if _PASSWORD.search(row[0]) or _USER_INFO.search(row[0]):
            raise WarehouseUnreadable(
                f"The DuckDB secret {name} has a password in its METADATA_PATH, where DuckDB shows "
                "it.",
                "Put it into a secret of type postgres, and name that in METADATA_PARAMETERS "
                "(docs/lake.md).",
            )
        return str(row[0])


def lake_of(location: str) -> Lake | None:
    """Return the lake of a location; None for a DuckDB file."""
    return Lake(location) if is_lake(location) else None


def take_turn(connection: duckdb.DuckDBPyConnection) -> None:
    """Update the row of ``lineage.turn``, in a transaction; make the table if it is missing."""
    try:
        connection.execute("UPDATE lineage.turn SET taken = taken + 1")
    except duckdb.CatalogException:
        connection.execute("CREATE SCHEMA IF NOT EXISTS lineage")
        connection.execute("CREATE TABLE lineage.turn AS SELECT 1::BIGINT AS taken")


def is_conflict(error: BaseException) -> bool:
    """Whether another host wrote first, so that DuckLake refused this transaction."""
    return isinstance(error, duckdb.Error) and bool(_CONFLICT.search(str(error)))


def without_passwords(text: str) -> str:
    """Return a message without passwords; DuckDB's have those of a connection string."""
    return _USER_INFO.sub(r"\1…@", _PASSWORD.sub(r"\1=…", text))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def extension_file(name: str) -> Path:
    """Return the file of a DuckDB extension, from its package: nothing is downloaded.

    Raises:
        WarehouseUnreadable: the package is not installed, or is for another DuckDB.
    """
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension")
        if file.exists():
            return file
    raise WarehouseUnreadable(
        f"CP_WAREHOUSE is a DuckLake, which needs DuckDB's extension {name}. It is not installed "
        f"for DuckDB {duckdb.__version__}.",
        "Install cp-pipeline[lake] with constraints-lake.txt (docs/lake.md).",
    )


def unreachable_data(location: str, error: BaseException) -> WarehouseUnreadable | None:
    """Return what to say if the object store of a lake's data files failed; else None."""
    if not (isinstance(error, duckdb.IOException) and _STORE.search(str(error))):
        return None
    said = " ".join(filter(None, str(error).splitlines()[:3]))
    return WarehouseUnreadable(
        f"The data files of {location} cannot be used: {without_passwords(said)}.",
        "Nothing of this is written. Check that the object store answers, and that the DuckDB "
        "secret of type s3 may read, write, list and delete below the lake's data path "
        "(docs/lake.md).",
    )


def _needed_by(data_path: str) -> list[str]:
    """Return the further extensions that data files at this path need.

    Raises:
        WarehouseUnreadable: it is in another object store than S3.
    """
    scheme, is_url, _ = data_path.partition("://")
    if not is_url:
        return []
    if scheme != "s3":
        raise WarehouseUnreadable(
            f"The data path of the DuckLake begins with {scheme}://, which is not supported: "
            "nobody could try it yet.",
            "Use a folder or s3://bucket/prefix/.",
        )
    return ["httpfs"]
