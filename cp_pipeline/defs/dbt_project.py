"""The SQL models of ``dbt_style_sql`` for Dagster, and the manifest it knows them by.

Belongs here: where the project is, and making its manifest when the models have changed.
Does not belong: the models themselves (``dbt_style_sql``), how they look in Dagster
(``dbt_assets``).

dbt takes a second to import, so nothing here imports it before definitions are asked for.
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
# Made by `dbt parse`, which reads no data.
_MADE_OF_MODELS = frozenset(
    {
        "made_from",
        "manifest.json",
        "manifest.lock",
        "partial_parse.msgpack",
        "semantic_manifest.json",
    }
)
# The command beside this very Python, because a virtual environment need not be on the PATH.
_DBT = Path(sys.executable).with_name("dbt")


def model_definitions() -> dg.Definitions:
    """The models as assets, their tests as checks, and the resource ``dbt`` that builds them.

    Makes the manifest when there is none or the models have changed (two to three seconds), without
    warehouse and without network.

    Raises:
        PipelineError: the models are not there, or dbt cannot read them.
    """
    # Slow imports, for those who want the models.
    from dagster_dbt import DbtCliResource  # noqa: PLC0415

    from cp_pipeline.defs.dbt_assets import model_assets  # noqa: PLC0415

    project = prepared_project(StorageSettings.from_environment())
    dbt = DbtCliResource(project_dir=project, dbt_executable=str(_DBT))
    return dg.Definitions(assets=[model_assets(project)], resources={"dbt": dbt})


def prepared_project(storage: StorageSettings) -> "DbtProject":
    """The project with a manifest of the models as they are now.

    The manifest is kept with the data, not with the code, which may be read-only. Processes that
    come at once wait for the first to make it.

    Raises:
        PipelineError: the models are not there, or dbt cannot read them.
    """
    from dagster_dbt import DbtProject  # noqa: PLC0415

    if not (PROJECT / "dbt_project.yml").exists():
        raise PipelineError(
            f"The SQL models are not in {PROJECT}.",
            "Install cp-pipeline from a checkout (make install), which has them.",
        )
    target = _target(storage)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    project = DbtProject(PROJECT, target_path=target, profiles_dir=PROJECT)
    made_from, now = target / "made_from", _fingerprint()
    with file_locked(target / "manifest.lock"):
        made = project.manifest_path.exists() and made_from.exists()
        if not made or made_from.read_text() != now:
            made_from.unlink(missing_ok=True)
            _parse(target)
            made_from.write_text(now)
    return project


def erase_build_results(storage: StorageSettings) -> None:
    """Remove what dbt wrote while it built: logs, results and SQL may hold anybody's values.

    What was made of the models alone stays, as a code location may be using it.
    """
    for path in _target(storage).glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in _MADE_OF_MODELS:
            path.unlink()


def _target(storage: StorageSettings) -> Path:
    return storage.data_dir / "dbt"


def _parse(target: Path) -> None:
    # Not through dagster-dbt, which first has dbt ask the package index for newer versions.
    folders = ("--project-dir", PROJECT, "--profiles-dir", PROJECT)
    written = ("--target-path", target, "--log-path", target)
    parsing = subprocess.run(  # noqa: S603  (our own command)
        [_DBT, "--no-use-colors", "parse", "--quiet", *folders, *written],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if parsing.returncode:
        raise PipelineError(
            f"dbt cannot read the SQL models in {PROJECT}: {parsing.stdout.strip()}",
            f"Mend the model; {target / 'dbt.log'} may say more.",
        )


def _fingerprint() -> str:
    """What the manifest depends on: every file of the project, and dbt's version.

    Not the times of files: a checkout or a copy may bring older ones that are new here.
    """
    found = hashlib.sha256(f"{PROJECT} {version('dbt-core')}".encode())
    unread = {PROJECT / name for name in ("target", "logs", "dbt_packages")}
    for folder, folders, files in os.walk(PROJECT):
        folders[:] = sorted(name for name in folders if Path(folder, name) not in unread)
        for name in sorted(files):
            path = Path(folder, name)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"\n{path.relative_to(PROJECT)} {content}".encode())
    return found.hexdigest()
