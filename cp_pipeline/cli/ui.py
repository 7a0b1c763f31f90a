"""``cp-pipeline ui``: Dagster's webserver, daemon and code server of this installation.

Belongs here: options, and starting ``dagster dev``. Does not belong: what it loads
(``definitions``).
"""

import os
import sys

import click

from cp_pipeline.cli.screen import answers
from cp_pipeline.settings import StorageSettings

_PORT = 3000


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=_PORT, show_default=True)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="There is no login. Keep this, and put a proxy with a login before it.",
)
def ui(port: int, host: str) -> None:
    """Open Dagster on this study, until Ctrl-C. It then keeps the study current by itself.

    Starts Dagster's webserver, daemon and code server, as `dagster dev` does. It needs no
    workspace.yaml, and DAGSTER_HOME need not be set.
    """
    # A slow import.
    from cp_pipeline.defs.instance.dagster_home import open_instance  # noqa: PLC0415

    # Create it now, because the three open it at the same time. This also sets DAGSTER_HOME.
    open_instance(StorageSettings.from_environment()).dispose()
    answers.print(f"Dagster: http://{host}:{port}")
    location = ("--module-name", "cp_pipeline.definitions")
    address = ("--host", host, "--port", str(port))
    sys.stdout.flush()
    # In place of this process, so that signals reach Dagster.
    os.execv(  # noqa: S606  (our own command, without a shell)
        sys.executable, [sys.executable, "-m", "dagster", "dev", *location, *address]
    )
