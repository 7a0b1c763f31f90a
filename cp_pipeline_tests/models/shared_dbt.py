"""dbt starts once for what it answers to every test alike, also in other workers of xdist.

Belongs here: what stands in for ``dbt parse`` and ``dbt --version`` in this process.
Does not belong: tests of making the manifest (``test_in_dagster``).
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from dagster_dbt import DbtCliResource
from packaging.version import Version

from cp_pipeline.defs import dbt_project
from cp_pipeline.settings import DBT_PROJECT
from cp_pipeline_tests.made_once import made_once

_PROJECT = DBT_PROJECT


@contextmanager
def shared_dbt(folder: Path) -> Iterator[None]:
    """Where a manifest is missing, copy the files that the first ``dbt parse`` wrote.

    They depend on the models alone. A project that a test has changed is parsed as usual, and so
    is every project in another process.

    Args:
        folder: of all workers.
    """
    with pytest.MonkeyPatch.context() as here:
        here.setattr(dbt_project, "_parse", _copying(folder, dbt_project._parse))
        # dagster-dbt starts dbt for this before each build.
        here.setattr(DbtCliResource, "_cli_version", Version(version("dbt-core")))
        yield


def _copying(folder: Path, parse: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    def copy(target: Path, project: Path) -> None:
        if project == _PROJECT:
            made = made_once(folder, lambda new: parse(new, project))
            shutil.copytree(made, target, dirs_exist_ok=True)
        else:
            parse(target, project)

    return copy
