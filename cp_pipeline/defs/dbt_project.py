"""The dbt project in ``dbt_style_sql``, and its manifest for Dagster.

Belongs here: the project's folder, and creating its manifest when the models have changed.
Does not belong: the models (``dbt_style_sql``), their assets in Dagster (``dbt_assets``).

Importing dbt takes a second, so this module imports it only when definitions are built.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.locks.file_locks import file_locked
from cp_pipeline.settings import StorageSettings

if TYPE_CHECKING:
    from dagster_dbt import DbtProject

PROJECT = Path(__file__).parents[2] / "dbt_style_sql"
# Files without data of subjects: they come from the models only.
_FILES_OF_MODELS = frozenset(
    {
        "made_from",
        "manifest.json",
        "manifest.lock",
        "partial_parse.msgpack",
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

    if not (PROJECT / "dbt_project.yml").exists():
        raise PipelineError(
            f"The SQL models are not in {PROJECT}.",
            "Install cp-pipeline from a git checkout, which has them: run make install there.",
        )
    target = _target(storage)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    project = DbtProject(PROJECT, target_path=target, profiles_dir=PROJECT)
    made_from, fingerprint = target / "made_from", _fingerprint()
    with file_locked(target / "manifest.lock"):
        exists = project.manifest_path.exists() and made_from.exists()
        if not exists or made_from.read_text() != fingerprint:
            made_from.unlink(missing_ok=True)
            _parse(target)
            made_from.write_text(fingerprint)
    return project


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


def _parse(target: Path) -> None:
    # Not through dagster-dbt: it makes dbt ask the package index for newer versions first.
    folders = ("--project-dir", PROJECT, "--profiles-dir", PROJECT)
    outputs = ("--target-path", target, "--log-path", target)
    parsing = subprocess.run(  # noqa: S603  (our own command)
        [_DBT, "--no-use-colors", "parse", "--quiet", *folders, *outputs],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if parsing.returncode:
        raise PipelineError(
            f"dbt cannot read the SQL models in {PROJECT}: {parsing.stdout.strip()}",
            f"Correct the model. {target / 'dbt.log'} may have more details.",
        )


def _fingerprint() -> str:
    """Return a digest of everything that the manifest depends on: all files, and dbt's version.

    The times of files are not used: after a checkout or a copy, a new file may have an old time.
    """
    digest = hashlib.sha256(f"{PROJECT} {version('dbt-core')}".encode())
    unread = {PROJECT / name for name in ("target", "logs", "dbt_packages")}
    for folder, folders, files in os.walk(PROJECT):
        folders[:] = sorted(name for name in folders if Path(folder, name) not in unread)
        for name in sorted(files):
            path = Path(folder, name)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"\n{path.relative_to(PROJECT)} {content}".encode())
    return digest.hexdigest()
