"""How long a tick of the sensor takes with 20,000 exports: all new, none new, half executed again.

python benchmarks/sensor_tick.py [--subjects 10000]
"""

import argparse
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import dagster as dg
from many_exports import COMMAND
from served import Served, served

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensors import Memory, tick
from cp_pipeline.settings import StorageSettings


def measure(words: str, instance: dg.DagsterInstance) -> None:
    """Measure one tick, evaluated as the daemon does it."""
    started = time.perf_counter()
    result = tick(instance, PipelineResource(), Memory(), 60)
    seconds = time.perf_counter() - started
    asked = result.run_requests or []
    configured = sum(len(str(request.run_config)) for request in asked)
    reason = result.skip_reason.skip_message if result.skip_reason else ""
    print(
        f"  {words:22} {seconds:6.2f} s, {len(asked)} runs, run config of {configured:,} characters"
        f" {reason}"
    )


def compare(study: Served, folder: Path) -> None:
    """Measure the three ticks, with a sync between the first and the second."""
    os.environ.update(study.environment, CP_DATA_DIR=str(folder))
    with open_instance(StorageSettings.from_environment()) as instance:
        measure("all are new", instance)
        subprocess.run([str(COMMAND), "sync"], check=True, capture_output=True)
        measure("none is new", instance)
        study.execute_again("ActivityDaily8")
        measure("half executed again", instance)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--subjects", type=int, default=10_000)
    options = arguments.parse_args()
    logging.disable(logging.INFO)
    folder = Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    try:
        with served(options.subjects, 1, 10) as study:
            print(f"{2 * options.subjects:,} exports")
            compare(study, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
