"""The cost of one materialization in Dagster's SQLite event log, and in ours with open connections.

python benchmarks/dagster_events.py [--events 1000] [--runs 3]
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

import dagster as dg

from cp_pipeline.defs.instance.dagster_home import DAGSTER_YAML
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.domain.exports import Partition

HOMES = {"Dagster's own": "telemetry: {enabled: false}\n", "kept open": DAGSTER_YAML}


def milliseconds(configuration: str, events: int) -> tuple[float, float]:
    """Wall time and processor time of one event."""
    spent: list[float] = []

    @dg.op
    def record(context: dg.OpExecutionContext) -> None:
        started, processor = time.perf_counter(), time.process_time()
        for number in range(events):
            context.log_event(
                dg.AssetMaterialization(
                    "dataset_exports",
                    partition=key_of(Partition(number, "ActivityDaily8")),
                    metadata={f"entry_{place}": place for place in range(10)},
                    tags={"dagster/data_version": "2024-02-29T10:09:20.5899754+00:00"},
                )
            )
        spent.extend((time.perf_counter() - started, time.process_time() - processor))

    @dg.job
    def recording() -> None:
        record()

    with tempfile.TemporaryDirectory() as home:
        Path(home, "dagster.yaml").write_text(configuration)
        os.environ["DAGSTER_HOME"] = home
        with dg.DagsterInstance.get() as instance:
            recording.execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
    return spent[0] / events * 1000, spent[1] / events * 1000


def main() -> None:
    """Measure both in turn, and print the medians."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=1000)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    logging.disable(logging.INFO)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in HOMES}
    for _ in range(options.runs):
        for name, configuration in HOMES.items():
            found[name].append(milliseconds(configuration, options.events))
    print(f"one materialization, median of {options.runs} runs of {options.events:,} events")
    for name, times in found.items():
        wall, processor = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"  {name:14} {wall:6.2f} ms, processor time {processor:5.2f} ms")


if __name__ == "__main__":
    main()
