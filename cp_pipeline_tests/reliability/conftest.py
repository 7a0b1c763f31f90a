"""Helpers of the tests of reliability."""

from pathlib import Path


def files_under(folder: Path) -> set[Path]:
    """The absolute paths of all files."""
    return {path for path in folder.rglob("*") if path.is_file()}
