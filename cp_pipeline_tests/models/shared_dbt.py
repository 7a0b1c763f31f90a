"""dbt starts once for what it answers to every test alike, also in other workers of xdist.

Belongs here: what stands in for ``dbt parse`` and ``dbt --version`` in this process.
Does not belong: tests of making the manifest (``test_in_dagster``).
"""

import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from dagster_dbt import DbtCliResource
from dbt.contracts.graph.manifest import Manifest
from packaging.version import Version

from cp_pipeline.defs import dbt_project
from cp_pipeline.settings import DBT_PROJECT
from cp_pipeline_tests.made_once import made_once

_PROJECT = DBT_PROJECT
_of_all_workers = Path()


@contextmanager
def shared_dbt(folder: Path) -> Iterator[None]:
    """Where a manifest is missing, copy the files that the first ``dbt parse`` wrote.

    They depend on the models alone. A project that a test has changed is parsed as usual, and so
    is every project in another process.

    Args:
        folder: of all workers.
    """
    with pytest.MonkeyPatch.context() as here:
        here.setattr(f"{__name__}._of_all_workers", folder)
        here.setattr(dbt_project, "_parse", _copying(folder / "dbt", dbt_project._parse))
        # dagster-dbt starts dbt for this before each build.
        here.setattr(DbtCliResource, "_cli_version", Version(version("dbt-core")))
        yield


def shared_manifest(parse: Callable[[], Manifest]) -> Manifest:
    """A manifest of its own for each build, because dbt modifies it: parsed once for all."""

    def make(folder: Path) -> None:
        (folder / "pickled").write_bytes(pickle.dumps(parse()))

    made = made_once(_of_all_workers / "manifest", make)
    # What dbt looks names up in is mixed up by pickling. A copy makes its own.
    return _unpickled(made / "pickled").deepcopy()  # type: ignore[no-untyped-call,no-any-return]


@cache
def _unpickled(file: Path) -> Manifest:
    manifest: Manifest = pickle.loads(file.read_bytes())
    return manifest


def _copying(folder: Path, parse: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    def copy(target: Path, project: Path) -> None:
        if project == _PROJECT:
            made = made_once(folder, lambda new: parse(new, project))
            shutil.copytree(made, target, dirs_exist_ok=True)
        else:
            parse(target, project)

    return copy
