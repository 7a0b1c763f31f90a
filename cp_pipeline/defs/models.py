"""The SQL models of ``dbt_style_sql`` for Dagster, and the manifest it knows them by.

Belongs here: where the project is, and making its manifest when the models have changed.
Does not belong: the models themselves (``dbt_style_sql``), how they look in Dagster
(``model_assets``).

dbt takes a second to import, so nothing here imports it before definitions are asked for.
"""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from cp_pipeline.errors import PipelineError
from cp_pipeline.settings import StorageSettings

if TYPE_CHECKING:
    from dagster_dbt import DbtCliResource, DbtProject

PROJECT = Path(__file__).parents[2] / "dbt_style_sql"
# The command beside this very Python, because a virtual environment need not be on the PATH.
_DBT = Path(sys.executable).with_name("dbt")
_MADE_FROM = "made_from"


def model_definitions() -> dg.Definitions:
    """The models as assets, their tests as checks, and the resource ``dbt`` that builds them.

    Makes the manifest when there is none or the models have changed (two to three seconds), without
    warehouse and without network.

    Raises:
        PipelineError: the models are not there, or dbt cannot read them.
    """
    # A slow import, for those who want the models.
    from cp_pipeline.defs.model_assets import model_assets  # noqa: PLC0415

    project, dbt = prepared_project(StorageSettings.from_environment())
    return dg.Definitions(assets=[model_assets(project)], resources={"dbt": dbt})


def prepared_project(storage: StorageSettings) -> "tuple[DbtProject, DbtCliResource]":
    """The project with a manifest of the models as they are now, and dbt to build it with.

    The manifest is kept with the data, not with the code, which may be read-only. Processes that
    come at once wait for the first to make it.
    """
    from dagster_dbt import DbtCliResource, DbtProject  # noqa: PLC0415

    if not (PROJECT / "dbt_project.yml").exists():
        raise PipelineError(
            f"The SQL models are not in {PROJECT}.",
            "Install cp-pipeline from a checkout (make install), which has them.",
        )
    target = storage.data_dir / "dbt"
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    project = DbtProject(PROJECT, target_path=target, profiles_dir=PROJECT)
    dbt = DbtCliResource(project_dir=project, dbt_executable=str(_DBT))
    with _one_at_a_time(target / "manifest.lock"):
        present = _fingerprint()
        made_from = target / _MADE_FROM
        if project.manifest_path.exists() and made_from.exists():
            current = made_from.read_text() == present
        else:
            current = False
        if not current:
            made_from.unlink(missing_ok=True)
            _parse(dbt, target)
            made_from.write_text(present)
    return project, dbt


def _parse(dbt: "DbtCliResource", target: Path) -> None:
    parsing = dbt.cli(["parse", "--quiet"], target_path=target, raise_on_error=False)
    if not parsing.wait().is_successful():
        raise PipelineError(
            f"dbt cannot read the SQL models in {PROJECT}: {parsing.get_error()}",
            f"Mend the model, or see {target / 'dbt.log'}.",
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


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
