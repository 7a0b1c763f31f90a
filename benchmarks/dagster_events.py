"""The cost of one materialization: Dagster's SQLite event log, ours, in batches, on PostgreSQL.

python benchmarks/dagster_events.py [--events 1000] [--runs 3] [--postgres URL]
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
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.domain.exports import Partition

QUIET = "telemetry: {enabled: false}\n"
# The configuration, and whether events go in batches.
HOMES = {
    "Dagster's own": (QUIET, False),
    "kept open": (DAGSTER_YAML, False),
    "in batches": (DAGSTER_YAML, True),
}
ON_POSTGRES = """\
storage:
  postgres: {{postgres_url: "{url}"}}
"""


def milliseconds(configuration: str, events: int, *, batches: bool) -> tuple[float, float]:
    """Wall time and processor time of one event."""
    spent: list[float] = []

    @dg.op
    def record(context: dg.OpExecutionContext) -> None:
        started, processor = time.perf_counter(), time.process_time()
        with EventBatches(context.instance, context) as together:
            log = together.log if batches else context.log_event
            for number in range(events):
                log(
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
    """Measure all in turn, and print the medians."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=1000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--postgres", help="an empty database, postgresql+psycopg2://…")
    options = arguments.parse_args()
    logging.disable(logging.INFO)
    homes = dict(HOMES)
    if options.postgres:
        configuration = QUIET + ON_POSTGRES.format(url=options.postgres)
        homes["PostgreSQL"] = (configuration, False)
        homes["PostgreSQL, in batches"] = (configuration, True)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in homes}
    for _ in range(options.runs):
        for name, (configuration, batches) in homes.items():
            times = milliseconds(configuration, options.events, batches=batches)
            found[name].append(times)
    print(f"one materialization, median of {options.runs} runs of {options.events:,} events")
    for name, times in found.items():
        wall, processor = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"  {name:24} {wall:6.2f} ms, processor time {processor:5.2f} ms")


if __name__ == "__main__":
    main()
