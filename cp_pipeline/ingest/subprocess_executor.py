"""Executes a plan in a subprocess, beside the process that logs Dagster's events.

Belongs here: starting the subprocess, what the two send each other, and how it ends.
Does not belong: the work that is done there (``executor``).

Python runs one thread of a process at a time. Downloading and loading take about as much of that
as Dagster's start and events, so in two processes both are done in little more than half the time
(benchmarks/README.md).

The subprocess gets its task as it is started, and sends results, log records, and at the end
``_Ended`` through a pipe that has no name; it is told ``_BEGIN`` and ``_STOP``. When the other
process is gone, the pipe is closed, and the subprocess ends at once: as if killed, which it may be
at any time.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import Self

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.ingest.account import Account
from cp_pipeline.ingest.executor import thread_executor
from cp_pipeline.ingest.partition_results import PartitionFailed, PartitionLoaded, PartitionResult
from cp_pipeline.ingest.rooms import Rooms, Spent
from cp_pipeline.ingest.survey import Survey
from cp_pipeline.settings import CentrePointSettings, StorageSettings

_BEGIN, _STOP = "begin", "stop"
_OURS = "cp_pipeline"
# A new interpreter: a fork would take along this process's threads' locks and open databases.
_spawn = multiprocessing.get_context("spawn")


class ProcessLost(PipelineError):
    """The process that loads has ended without a word; what it had loaded is loaded."""

    passing = True


@dataclass(frozen=True, slots=True)
class Task:
    """What the subprocess needs to know; ``wait_seconds``: for the warehouse."""

    access: CentrePointSettings
    storage: StorageSettings
    survey: Survey
    run_id: str
    wait_seconds: float
    log_level: int
    our_log_level: int


@dataclass(frozen=True, slots=True)
class _Ended:
    spent: Spent
    error: BaseException | None


class SubprocessExecutor:
    """As ``ThreadExecutor``: a context manager, and an iterator of what became of each partition.

    Args:
        task: what to do.
        ended: told, at the end, where the time went.
    """

    def __init__(self, task: Task, ended: Callable[[Spent], None]) -> None:
        self._task = task
        self._tell = ended
        self._ended: _Ended | None = None
        self._iterated = False

    def __enter__(self) -> Self:
        """Start the process, which begins to download, and gets a first batch ready."""
        self._connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_work, args=(theirs, self._task), name="load")
        self._process.start()
        # So that its end of the pipe is closed when it ends.
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; what is being loaded is loaded to its end."""
        self._say(_STOP)
        while self._ended is None and self._hear() is not None:
            pass
        self._connection.close()
        self._process.join()

    def begin(self) -> None:
        """Let loads be committed: somebody is ready for their results."""
        self._say(_BEGIN)

    def __iter__(self) -> Iterator[PartitionResult]:
        """Load, and yield each partition as soon as it is done; once.

        Raises:
            PipelineError: as ``ThreadExecutor`` does.
            ProcessLost: the process has been killed.
            Unaccounted: a planned partition was neither loaded nor failed.
            RuntimeError: for a second time.
        """
        if self._iterated:
            raise RuntimeError("the results of a plan can be had once")
        self._iterated = True
        self.begin()
        account = Account(self._task.survey.plan)
        while (result := self._hear()) is not None:
            account.saw(result)
            yield result
        if self._ended is None:
            self._process.join()
            code = self._process.exitcode or 0
            raise ProcessLost(
                f"The process that loads has ended without a word ({_ending(code)}).",
                "What was loaded is loaded; run this again for the rest.",
            )
        if self._ended.error is not None:
            raise self._ended.error
        account.close()

    def _say(self, words: object) -> None:
        # To one who is gone there is nothing to be said; that it is gone is found on listening.
        with suppress(OSError):
            self._connection.send(words)

    def _hear(self) -> PartitionResult | None:
        """The next result; None when there are no more."""
        while self._ended is None:
            try:
                heard = self._connection.recv()
            except (EOFError, OSError):
                return None
            match heard:
                case PartitionLoaded() | PartitionFailed():
                    return heard
                case logging.LogRecord():
                    logger = logging.getLogger(heard.name)
                    if logger.isEnabledFor(heard.levelno):
                        logger.handle(heard)
                case _Ended():
                    self._ended = heard
                    self._tell(heard.spent)
        return None


def _work(connection: Connection, task: Task) -> None:
    """What the subprocess does."""
    # Ctrl-C goes to both processes; the other one says what is to be done about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _Answers(connection)
    logging.basicConfig(level=task.log_level, handlers=[_Forward(answers)], force=True)
    logging.getLogger(_OURS).setLevel(task.our_log_level)
    rooms = Rooms(task.access, task.storage)
    rooms.warehouse.wait_seconds = task.wait_seconds
    error: BaseException | None = None
    try:
        with thread_executor(rooms, task.survey, task.run_id) as results:
            wanted = _Wanted(connection, results.stop)
            results_follow = wanted.wait()
            for result in results if results_follow else ():
                answers.send(result)
    except Exception as raised:  # noqa: BLE001  (it is raised again in the other process)
        error = _portable(raised)
    answers.send(_Ended(rooms.spent(), error))
    # Skip interpreter shutdown: DuckDB errors if a thread still runs then.
    os._exit(0)


class _Wanted:
    """Whether results are wanted, by what is said at the other end; listened to on a thread."""

    def __init__(self, connection: Connection, stop: Callable[[], None]) -> None:
        self._connection = connection
        self._stop = stop
        self._decided = threading.Event()
        self._begun = False
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def wait(self) -> bool:
        """Wait for the first word; False if it is that nothing is wanted."""
        self._decided.wait()
        return self._begun

    def _listen(self) -> None:
        while True:
            try:
                word = self._connection.recv()
            except (EOFError, OSError):
                # Nobody would keep a record of what is loaded from now on.
                os._exit(1)
            if word == _STOP:
                self._stop()
            else:
                self._begun = True
            self._decided.set()


class _Answers:
    """Sends from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, words: object) -> None:
        """Send words, or end where nobody listens any more."""
        with self._lock:
            try:
                self._connection.send(words)
            except OSError:
                os._exit(1)


class _Forward(QueueHandler):
    """Sends log records to the other process."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__(answers)  # type: ignore[arg-type] # `enqueue` alone looks at it
        self._answers = answers

    def enqueue(self, record: logging.LogRecord) -> None:
        self._answers.send(record)


def _portable(error: Exception) -> Exception:
    """The error, or its words where it cannot be sent; the other process sees no traceback."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:  # noqa: BLE001  (whatever its class does)
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _ending(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
