"""What can be known of Dagster's home without importing Dagster, which takes a second.

Belongs here: where the folder is, and whether its ``dagster.yaml`` names a storage.
Does not belong: creating it and opening the instance (``dagster_home``).
"""

import os
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from cp_pipeline.settings import StorageSettings


def home_folder(storage: StorageSettings) -> Path:
    """Return the absolute path of Dagster's home; ``DAGSTER_HOME`` comes first if it is set."""
    return Path(os.environ.get("DAGSTER_HOME", "") or storage.dagster_home).expanduser().absolute()


def names_a_storage(home: Path) -> bool:
    """Whether the ``dagster.yaml`` of a home names a storage, which other hosts may use too.

    The one that cp-pipeline writes names none: Dagster's SQLite files are in the home then. False
    also if the file cannot be read; whoever opens the instance says so.
    """
    try:
        named = yaml.safe_load((home / "dagster.yaml").read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(named, dict) and not named.keys().isdisjoint({"storage", "run_storage"})
