"""``cp-pipeline report``: the study report of the published file, as one HTML file.

Belongs here: the outcome on the screen. Does not belong: the page (``report``).
"""

import click

from cp_pipeline.cli.machine_output import Said, as_json, leave
from cp_pipeline.cli.screen import answers
from cp_pipeline.settings import StorageSettings


@click.command()
@as_json
def report(as_json: bool) -> None:
    """Write the study report: one HTML file about what is published.

    It has coverage, wear and validity by site and visit, who waits, and what changed since the last
    execution. It needs no network. publish writes it, too.
    """
    empty: Said = {"report": None, "bytes": 0}
    leave("report", _run, empty, as_json=as_json)


def _run(said: Said) -> int:
    # Imported here, because Jinja and DuckDB are slow to import, and --help needs neither.
    from cp_pipeline.report import write_report  # noqa: PLC0415

    written = write_report(StorageSettings.from_environment())
    said |= {"report": str(written.path), "bytes": written.byte_count}
    answers.print(f"The study report is {written.path}. Open it with a browser.")
    return 0
