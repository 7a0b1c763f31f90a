"""A sandbox CentrePoint in its own process, so that its work is not measured.

It makes its files in advance, and does not limit the request rate.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from cp_pipeline.sandbox import Sandbox, SandboxStudy

DATASETS = ("ActivityDaily8", "ActivityEpochs10")
_MANY = 1_000_000


@dataclass(frozen=True)
class Served:
    """A running sandbox: the environment for its clients, and its request counts."""

    environment: dict[str, str]
    questions: IO[str]
    answers: IO[str]

    def listing_requests(self) -> int:
        """The number of listing pages requested since the last call."""
        return self._ask("listing")

    def execute_again(self, dataset: str) -> int:
        """Execute the data set's program again for all subjects, and return their number."""
        return self._ask(dataset)

    def execute_subject_again(self, subject_id: int) -> int:
        """Execute all programs of a subject again, and return the number of its exports."""
        return self._ask(str(subject_id))

    def _ask(self, question: str) -> int:
        self.questions.write(f"{question}\n")
        self.questions.flush()
        return int(self.answers.readline())


@contextmanager
def served(
    subjects: int, days: int, epoch_rows: int, *datasets: str, latency_seconds: float = 0.0
) -> Iterator[Served]:
    """Serve a study with a daily file and an epoch file for each subject."""
    shape = [subjects, days, epoch_rows, latency_seconds]
    command = [sys.executable, __file__, *map(str, shape), *datasets]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        own = json.loads(process.stdout.readline())
        try:
            yield Served(
                {**os.environ, **own, "CP_REQUESTS_PER_MINUTE": str(_MANY)},
                process.stdin,
                process.stdout,
            )
        finally:
            process.terminate()


def main() -> None:
    """Serve until standard input closes; print answers on standard output."""
    subjects, days, epoch_rows = map(int, sys.argv[1:4])
    study = SandboxStudy.synthetic(
        subjects=subjects,
        days=days,
        epoch_rows=epoch_rows,
        datasets=tuple(sys.argv[5:]) or DATASETS,
    )
    latency_seconds = float(sys.argv[4])
    with Sandbox(study, requests_per_minute=_MANY, latency_seconds=latency_seconds) as sandbox:
        sandbox.prepare()
        print(json.dumps(sandbox.environment), flush=True)
        for question in map(str.strip, sys.stdin):
            if question == "listing":
                print(sum(request.kind == "listing" for request in sandbox.requests), flush=True)
                sandbox.forget_requests()
            elif question.isdecimal():
                print(len(sandbox.execute_again(subject_id=int(question))), flush=True)
            else:
                print(len(sandbox.execute_again(data_set_name=question)), flush=True)


if __name__ == "__main__":
    main()
