"""``cp-pipeline init``: a folder of one's own, for a study.

Belongs here: the command and its words. Does not belong: the files (``own_project``).
"""

from pathlib import Path

import click

from cp_pipeline.cli.screen import answers
from cp_pipeline.own_project import make_project


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Make FOLDER with settings, a Dagster workspace, and a dbt project that builds on ours.

    Never overwrites a file.
    """
    for path in make_project(folder.absolute()):
        answers.print(f"Wrote {path}")
    answers.print(
        f"Fill in {folder / '.env'}. Then, in {folder}:\n"
        "cp-pipeline doctor && cp-pipeline sync && cp-pipeline publish"
    )
