"""Dagster homes for tests, with the event log that ``cp-pipeline`` writes into ``dagster.yaml``.

Belongs here: opening an instance. Does not belong: runs and events in it (``defs/conftest.py``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from cp_pipeline.defs.event_log import KeptOpenEventLog


@contextmanager
def instance_in(home: Path | None = None) -> Iterator[dg.DagsterInstance]:
    """Open a home; None is a new one, which is removed at the end.

    Not a whole home of ours: the runs of a test wait for no pool, and start no process.
    """
    if home is None:
        with (
            TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            instance_in(Path(folder)) as new,
        ):
            yield new
        return
    event_log = {
        "module": KeptOpenEventLog.__module__,
        "class": KeptOpenEventLog.__name__,
        "config": {"base_dir": str(home / "history" / "runs")},
    }
    with dg.instance_for_test(
        temp_dir=str(home), overrides={"event_log_storage": event_log}
    ) as instance:
        yield instance
