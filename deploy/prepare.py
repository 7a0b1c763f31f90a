"""Make what the services of compose.yaml need, once: passwords, databases, a bucket, files.

Belongs here: what an administrator of PostgreSQL and of the store does before the first sync.
Does not belong: what cp-pipeline itself makes (the lake, its tables).

``prepare.py passwords`` runs before PostgreSQL and the store, ``prepare.py`` after them. Both
change nothing that is there: run them as often as you want.
"""

import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import psycopg2
from obstore.exceptions import BaseError
from obstore.store import S3Store

from cp_pipeline.warehouse.lake import extension_file

ADMIN = Path("/admin")
DAGSTER_HOME = Path("/home/dagster")
STUDY = Path("/study")
POSTGRES, STORE = "postgres", "store:8333"
BUCKET = "study"
SECONDS_TO_START = 180
# What each user of SeaweedFS may do.
ACTIONS = {"owner": ["Admin"], "study": [f"{each}:{BUCKET}" for each in ("Read", "Write", "List")]}


def make_passwords() -> None:
    """Write passwords that nobody chose, each where one service alone reads it."""
    if not (ADMIN / "passwords.json").exists():
        names = ("postgres", "dagster", "lake", "owner", "study")
        made = {name: secrets.token_urlsafe(32) for name in names}
        write(ADMIN / "passwords.json", json.dumps(made))
    passwords = read_passwords()
    write(ADMIN / "postgres", passwords["postgres"])
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": passwords[name]}],
            "actions": actions,
        }
        for name, actions in ACTIONS.items()
    ]
    write(ADMIN / "s3.json", json.dumps({"identities": identities}))


def make_all(passwords: dict[str, str]) -> None:
    """Make the databases, the bucket, and the files that name them."""
    until_it_answers("PostgreSQL", lambda: make_databases(passwords))
    until_it_answers("The object store", lambda: make_bucket(passwords))
    write(DAGSTER_HOME / ".pgpass", f"{POSTGRES}:5432:dagster:dagster:{passwords['dagster']}\n")
    for name in ("dagster.yaml", "workspace.yaml"):
        write(DAGSTER_HOME / name, Path(__file__).with_name(name).read_text())
    write(
        STUDY / ".env",
        f"AWS_ACCESS_KEY_ID=study\nAWS_SECRET_ACCESS_KEY={passwords['study']}\n",
    )
    make_secrets_of_duckdb(passwords)


def make_databases(passwords: dict[str, str]) -> None:
    """Make a database for Dagster and one for the lake's catalog, each with an owner of its own."""
    connection = psycopg2.connect(
        host=POSTGRES, user="postgres", password=passwords["postgres"], connect_timeout=5
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name in ("dagster", "lake"):
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            if not cursor.fetchone():
                cursor.execute(f"CREATE ROLE {name} LOGIN")
            cursor.execute(f"ALTER ROLE {name} PASSWORD %s", [passwords[name]])
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if not cursor.fetchone():
                cursor.execute(f"CREATE DATABASE {name} OWNER {name}")
                cursor.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    connection.close()


def make_bucket(passwords: dict[str, str]) -> None:
    """Make the bucket: SeaweedFS does so with an owner's first object."""
    store = S3Store(
        BUCKET,
        endpoint=f"http://{STORE}",
        access_key_id="owner",
        secret_access_key=passwords["owner"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    store.put(".ready", b"")
    store.delete(".ready")


def make_secrets_of_duckdb(passwords: dict[str, str]) -> None:
    """Write the secrets of docs/lake.md, from which DuckDB knows the lake."""
    folder = STUDY / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    with duckdb.connect(config={"secret_directory": str(folder)}) as connection:
        for name in ("ducklake", "postgres_scanner", "httpfs"):
            connection.execute(f"LOAD '{extension_file(name)}'")
        connection.execute(
            f"CREATE PERSISTENT SECRET IF NOT EXISTS catalog (TYPE postgres, HOST '{POSTGRES}',"
            f" DATABASE 'lake', USER 'lake', PASSWORD '{passwords['lake']}')"
        )
        connection.execute(
            f"CREATE PERSISTENT SECRET IF NOT EXISTS store (TYPE s3, KEY_ID 'study',"
            f" SECRET '{passwords['study']}', ENDPOINT '{STORE}', URL_STYLE 'path',"
            f" USE_SSL false, REGION 'us-east-1', SCOPE 's3://{BUCKET}')"
        )
        connection.execute(
            "CREATE PERSISTENT SECRET IF NOT EXISTS warehouse (TYPE ducklake, METADATA_PATH '',"
            f" DATA_PATH 's3://{BUCKET}/lake/',"
            " METADATA_PARAMETERS MAP {'TYPE': 'postgres', 'SECRET': 'catalog'})"
        )


def until_it_answers(what: str, make: Callable[[], None]) -> None:
    """Try again until a server that is starting answers."""
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            return make()
        except (psycopg2.OperationalError, BaseError) as error:
            # Only the kind: a message may show where and how it connected.
            if time.monotonic() > until:
                raise SystemExit(f"{what} does not answer: {type(error).__name__}.") from None
            time.sleep(1)


def read_passwords() -> dict[str, str]:
    """Read what ``make_passwords`` wrote."""
    passwords: dict[str, str] = json.loads((ADMIN / "passwords.json").read_text())
    return passwords


def write(file: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)


if __name__ == "__main__":
    if sys.argv[1:] == ["passwords"]:
        make_passwords()
    else:
        make_all(read_passwords())
    sys.stdout.write("Ready.\n")
