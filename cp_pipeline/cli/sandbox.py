"""``cp-pipeline sandbox``: a local CentrePoint with a synthetic study.

Belongs here: options and messages. Does not belong: the service (``cp_pipeline.sandbox``).
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import click

from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.sandbox import LOOPBACK, Packing, Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings

PORT = 8765
_SECONDS_TO_ANSWER = 30


@click.command(context_settings={"ignore_unknown_options": False})
@click.option("--study", "study_id", type=int, default=4711, show_default=True)
@click.option("--subjects", type=click.IntRange(1), default=12, show_default=True)
@click.option("--days", type=click.IntRange(1), default=3, show_default=True, help="Days of wear.")
@click.option("--epoch-rows", type=click.IntRange(1), help="Rows of an epoch file; 1440 per day.")
@click.option("--dataset", "dataset_names", multiple=True, help="Only this data set; repeatable.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same study.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@click.option("--host", default=LOOPBACK, show_default=True, help="Its name for others.")
@click.option("--packing", type=click.Choice([each.value for each in Packing]), default="gzip")
@click.option("--token-seconds", type=float, default=3600.0, show_default=True)
@click.option("--link-seconds", type=float, default=14400.0, show_default=True)
@click.option("--requests-per-minute", type=click.IntRange(1), default=500, show_default=True)
@click.option("--execute-again", is_flag=True, help="Execute programs again in a running sandbox.")
@click.option("--subject", "subject_id", type=int, help="With --execute-again: only this subject.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def sandbox(
    study_id: int,
    subjects: int,
    days: int,
    epoch_rows: int | None,
    dataset_names: tuple[str, ...],
    seed: int,
    port: int,
    host: str,
    packing: str,
    token_seconds: float,
    link_seconds: float,
    requests_per_minute: int,
    execute_again: bool,
    subject_id: int | None,
    command: tuple[str, ...],
) -> None:
    """Serve a local CentrePoint until Ctrl-C, and print the variables to export.

    With a COMMAND (after --), run it with these variables set, and stop when it ends:

        cp-pipeline sandbox -- cp-pipeline sync

    To create new exports, execute programs again in a sandbox that is already running:

        cp-pipeline sandbox --execute-again --subject 10821 --dataset ActivityDaily8
    """
    if execute_again:
        _execute_again(f"http://{host}:{port}", subject_id, dataset_names)
        return
    study = SandboxStudy.synthetic(
        study_id=study_id,
        subjects=subjects,
        days=days,
        seed=seed,
        epoch_rows=epoch_rows,
        datasets=dataset_names or None,
    )
    service = Sandbox(
        study,
        token_seconds=token_seconds,
        link_seconds=link_seconds,
        requests_per_minute=requests_per_minute,
        packing=Packing(packing),
        port=port,
        host=host,
    )
    try:
        with service:
            if command:
                sys.exit(_run(command, service.environment))
            _serve(service)
    except OSError as error:
        raise PipelineError(
            f"The sandbox cannot use port {port} of {host}: {error.strerror}.",
            "Is one running already? Choose another with --port, or see --host.",
        ) from None


def _serve(service: Sandbox) -> None:
    for name, value in service.environment.items():
        print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201  (for the shell)
    print("# Serving until Ctrl-C.", flush=True)  # noqa: T201
    # Containers and `kill` send SIGTERM. A shell script starts its background processes with SIGINT
    # ignored. Both signals should end the sandbox without a traceback, as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _run(command: tuple[str, ...], environment: dict[str, str]) -> int:
    from cp_pipeline.defs.instance.dagster_home import open_instance  # noqa: PLC0415  (a slow import)

    storage = StorageSettings.from_environment()
    # Create it now, because `dagster dev` opens it from several processes at once.
    open_instance(storage).dispose()
    child = subprocess.Popen(  # noqa: S603  (the user's own command)
        command,
        # An absolute path, because the command may change its folder.
        env={
            "CP_STUDY_DETAILS": "1",
            **os.environ,
            **environment,
            "CP_DATA_DIR": str(storage.data_dir),
        },
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        return child.wait()
    except KeyboardInterrupt:
        # The terminal sent the signal to the command too. Wait until it has shut down.
        return child.wait()


def _execute_again(address: str, subject_id: int | None, dataset_names: tuple[str, ...]) -> None:
    executed = []
    for dataset_name in dataset_names or (None,):
        asked = {"subjectId": subject_id, "dataSetName": dataset_name}
        request = urllib.request.Request(  # noqa: S310
            f"{address}/sandbox/executions",
            data=json.dumps({name: value for name, value in asked.items() if value}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER) as answer:  # noqa: S310
                executed += json.load(answer)["executed"]
        except urllib.error.URLError as error:
            raise PipelineError(
                f"No sandbox answers at {address}: {error.reason}.",
                "Start one with cp-pipeline sandbox, or give its --port and --host.",
            ) from None
    answers.print(f"{count(len(executed), 'export')} executed again.")
    for item in executed:
        answers.print(
            f"  subject {item['subjectId']}, {item['dataSetName']}: "
            f"{item['lastSuccessfulProgramExecutionTimeStamp']}"
        )
