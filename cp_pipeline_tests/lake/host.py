"""One host of several: a process with a data folder of its own that loads into the lake.

Its arguments are the first subject of each of its requests. ``CP_HOST`` says what is different:
``no-lock`` leaves out the advisory lock; ``stops-inside`` waits inside the turn, before COMMIT,
for a line on stdin, and says so on stdout; ``never-ends`` loads everything again and again.
"""

import itertools
import os
import sys
from typing import Any

from cp_pipeline.ingest import PartitionFailed, Pipeline, Request
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import lake, load_transaction

# Four exports each: from 64 on, a subprocess would load, of which this process hears nothing.
SUBJECTS_AT_ONCE = 15


def main() -> None:
    """Load the requests one after another; print each failure."""
    different = os.environ.get("CP_HOST", "")
    if different == "no-lock":
        lake.Lake.lock = lambda *_: None  # type: ignore[method-assign]
    if different == "stops-inside":
        _stop_inside()
    access, storage = CentrePointSettings.from_environment(), StorageSettings.from_environment()
    never_ends = different == "never-ends"
    firsts = list(map(int, sys.argv[1:]))
    for first in itertools.cycle(firsts) if never_ends else firsts:
        subjects = range(first, first + SUBJECTS_AT_ONCE)
        request = Request.of(subjects, refresh=never_ends)
        while True:
            pipeline = Pipeline(access, storage)
            try:
                with pipeline.execute(pipeline.survey(request)) as results:
                    for result in results:
                        if isinstance(result, PartitionFailed):
                            print(result, flush=True)
            except lake.TurnLost:
                # As a person would, who is told to run it again.
                if different != "no-lock":
                    raise
            else:
                break


def _stop_inside() -> None:
    execute = load_transaction.Commit.execute

    def stopping(self: load_transaction.Commit, *arguments: Any) -> None:
        execute(self, *arguments)
        print("inside", flush=True)
        sys.stdin.readline()

    load_transaction.Commit.execute = stopping  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    main()
