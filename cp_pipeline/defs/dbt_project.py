"""The dbt project in ``dbt_style_sql``, or a person's own, and its manifest for Dagster.

Belongs here: the project's folder, and creating its manifest when the models have changed.
Does not belong: the models (``dbt_style_sql``), their assets in Dagster (``dbt_assets``).

Importing dbt takes a second, so this module imports it only when definitions are built.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.locks.file_locks import file_locked
from cp_pipeline.settings import DBT_PROJECT, StorageSettings

if TYPE_CHECKING:
    from dagster_dbt import DbtProject

_SAVED_PARSE = "partial_parse.msgpack"
# Files without data of subjects: they come from the models only.
_FILES_OF_MODELS = frozenset(
    {
        "made_from",
        "manifest.json",
        "manifest.lock",
        _SAVED_PARSE,
        "semantic_manifest.json",
    }
)
# The command beside this Python, because a virtual environment may not be on the PATH.
_DBT = Path(sys.executable).with_name("dbt")


def model_definitions() -> dg.Definitions:
    """Return the models as assets, their tests as checks, and the resource ``dbt``.

    If there is no manifest, or the models have changed, create the manifest. That takes two to
    three seconds, and needs no warehouse and no network.

    Raises:
        PipelineError: the models are missing, or dbt cannot read them.
    """
    # Slow imports: only callers that need the models pay for them.
    from dagster_dbt import DbtCliResource  # noqa: PLC0415

    from cp_pipeline.defs.dbt_assets import model_assets  # noqa: PLC0415

    project = prepared_project(StorageSettings.from_environment())
    dbt = DbtCliResource(project_dir=project, dbt_executable=str(_DBT))
    return dg.Definitions(assets=[model_assets(project)], resources={"dbt": dbt})


def prepared_project(storage: StorageSettings) -> "DbtProject":
    """Return the project with a manifest of the current models.

    The manifest is in the data folder, because the code may be read-only. If several processes need
    a new manifest, one creates it, and the others wait.

    Raises:
        PipelineError: the models are missing, or dbt cannot read them.
    """
    from dagster_dbt import DbtProject  # noqa: PLC0415

    folder = storage.dbt_project or DBT_PROJECT
    if not (folder / "dbt_project.yml").exists():
        raise PipelineError(
            f"The SQL models are not in {folder}.",
            "Set CP_DBT_PROJECT to a dbt project that cp-pipeline init has made."
            if storage.dbt_project
            else "Install cp-pipeline again: they belong to it.",
        )
    target = _target(storage)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    project = DbtProject(folder, target_path=target, profiles_dir=folder)
    made_from, fingerprint = target / "made_from", _fingerprint(folder)
    with file_locked(target / "manifest.lock"):
        exists = project.manifest_path.exists() and made_from.exists()
        if not exists or made_from.read_text() != fingerprint:
            made_from.unlink(missing_ok=True)
            with warehouse_named(storage):
                _parse(target, folder)
            made_from.write_text(fingerprint)
    return project


@contextmanager
def warehouse_named(storage: StorageSettings) -> Iterator[None]:
    """Set what the models read; paths are absolute, because dbt runs in another folder.

    dbt uses its saved parse only where these variables are as they were.
    """
    settings = {
        "CP_DATA_DIR": str(storage.data_dir),
        "CP_DUCKDB_SECRETS": str(storage.duckdb_secrets or ""),
        "CP_WAREHOUSE": storage.warehouse,
        "CP_VISITS": str(storage.visits),
        "CP_TIMEZONE": storage.timezone,
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def copy_saved_parse(project: "DbtProject", target: Path) -> None:
    """Let dbt read the saved parse of the project, not all models again, which takes seconds."""
    saved = project.target_path / _SAVED_PARSE
    if saved.exists():
        shutil.copyfile(saved, target / _SAVED_PARSE)


def erase_build_results(storage: StorageSettings) -> None:
    """Remove dbt's logs, results and compiled SQL, which may contain data of any subject.

    Files that come from the models only stay, because a code location may be using them.
    """
    for path in _target(storage).glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in _FILES_OF_MODELS:
            path.unlink()


def _target(storage: StorageSettings) -> Path:
    return storage.data_dir / "dbt"


def _parse(target: Path, folder: Path) -> None:
    if (folder / "packages.yml").exists():
        _run_dbt("deps", target, folder)
    _run_dbt("parse", target, folder)


def _run_dbt(command: str, target: Path, folder: Path) -> None:
    """Run a command of dbt on a project.

    Not through dagster-dbt: it makes dbt ask the package index for newer versions first.

    Raises:
        PipelineError: dbt cannot read the project.
    """
    folders = ("--project-dir", folder, "--profiles-dir", folder)
    outputs = ("--log-path", target, *(("--target-path", target) if command == "parse" else ()))
    done = subprocess.run(  # noqa: S603  (our own command)
        [_DBT, "--no-use-colors", command, "--quiet", *folders, *outputs],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PipelineError(
            f"dbt cannot read the SQL models in {folder}: {done.stdout.strip()}",
            f"Correct the model. {target / 'dbt.log'} may have more details.",
        )


def _fingerprint(project: Path) -> str:
    """Return a digest of everything that the manifest depends on: all files, and dbt's version.

    The times of files are not used: after a checkout or a copy, a new file may have an old time.
    """
    digest = hashlib.sha256(f"{project} {version('dbt-core')}".encode())
    for root in dict.fromkeys((project, DBT_PROJECT)):
        unread = {root / name for name in ("target", "logs", "dbt_packages")}
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if Path(folder, name) not in unread)
            for name in sorted(set(files) - {"package-lock.yml"}):
                path = Path(folder, name)
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"\n{path.relative_to(root)} {content}".encode())
    return digest.hexdigest()
