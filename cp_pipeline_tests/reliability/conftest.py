"""Small studies in a sandbox, with the environment variables for them."""

from pathlib import Path

import pytest

from cp_pipeline_tests.study_site import Site


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An empty study; the environment of this process and its children points to it."""
    for name, value in site.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CP_DATA_DIR", str(site.storage.data_dir))
    return site


def files_under(folder: Path) -> set[Path]:
    """The absolute paths of all files."""
    return {path for path in folder.rglob("*") if path.is_file()}
