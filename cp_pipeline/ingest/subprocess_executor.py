"""Execute a plan in a subprocess, while the main process logs Dagster's events.

Belongs here: starting the subprocess, the messages between the two processes, its end.
Does not belong: the work of the subprocess (``executor``).

Python runs one thread of a process at a time. Downloading and loading need about as much processor
time as Dagster's start and events, so two processes need little more than half the time of one
(benchmarks/README.md).

The subprocess gets its task at its start. Through an unnamed pipe it sends results, log records,
and at the end ``_Ended``, and it receives ``_BEGIN`` and ``_STOP``. If the main process dies, the
pipe closes and the subprocess exits at once. This is safe, because it may be killed at any time.
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
from queue import SimpleQueue
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
# Spawn a new interpreter: a fork would copy the locks of other threads and the open databases.
_spawn = multiprocessing.get_context("spawn")


class ProcessLost(PipelineError):
    """The loading subprocess ended unexpectedly; its finished loads are kept."""

    passing = True


@dataclass(frozen=True, slots=True)
class Task:
    """The input of the subprocess. ``wait_seconds``: how long to wait for the warehouse."""

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
    """Like ``ThreadExecutor``: a context manager, and an iterator of the result of each partition.

    Args:
        task: the input of the subprocess.
        ended: called at the end with the time that the subprocess spent.
    """

    def __init__(self, task: Task, ended: Callable[[Spent], None]) -> None:
        self._task = task
        self._tell = ended
        self._ended: _Ended | None = None
        self._iterated = False

    def __enter__(self) -> Self:
        """Start the subprocess, which starts the downloads and prepares a first batch."""
        self._connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_work, args=(theirs, self._task), name="load")
        self._process.start()
        # Close our copy, so that the pipe closes when the subprocess ends.
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the subprocess; a batch that is being loaded is completed."""
        self._say(_STOP)
        while self._ended is None and self._hear() is not None:
            pass
        self._connection.close()
        self._process.join()

    def begin(self) -> None:
        """Allow commits: the caller is ready for the results."""
        self._say(_BEGIN)

    def __iter__(self) -> Iterator[PartitionResult]:
        """Load, and yield each partition as soon as it is done. Only one iteration is possible.

        Raises:
            PipelineError: as ``ThreadExecutor`` does.
            ProcessLost: the subprocess ended unexpectedly, for example because it was killed.
            Unaccounted: a planned partition was neither loaded nor failed.
            RuntimeError: called a second time.
        """
        if self._iterated:
            raise RuntimeError("iterate over the results of a plan only once")
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
                f"The loading subprocess ended unexpectedly ({_ending(code)}).",
                "All finished loads are kept. Run this again for the rest.",
            )
        if self._ended.error is not None:
            raise self._ended.error
        account.close()

    def _say(self, words: object) -> None:
        # If the subprocess is gone, the next receive finds out.
        with suppress(OSError):
            self._connection.send(words)

    def _hear(self) -> PartitionResult | None:
        """Return the next result, or None at the end."""
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
    """Run the subprocess."""
    # Ctrl-C reaches both processes. The main process decides what to do, and sends `_STOP`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _Answers(connection)
    forward = QueueHandler(answers)  # type: ignore[arg-type]  # it calls `put_nowait` alone
    logging.basicConfig(level=task.log_level, handlers=[forward], force=True)
    logging.getLogger(_OURS).setLevel(task.our_log_level)
    rooms = Rooms(task.access, task.storage)
    rooms.warehouse.wait_seconds = task.wait_seconds
    error: BaseException | None = None
    try:
        with thread_executor(rooms, task.survey, task.run_id) as results:
            heard: SimpleQueue[str] = SimpleQueue()
            listening = (connection, heard, results.stop)
            threading.Thread(target=_listen, args=listening, name="listen", daemon=True).start()
            for result in results if heard.get() == _BEGIN else ():
                answers.send(result)
    except Exception as raised:  # noqa: BLE001  (the main process raises it again)
        error = _portable(raised)
    answers.send(_Ended(rooms.spent(), error))
    # Skip interpreter shutdown: DuckDB errors if a thread still runs then.
    os._exit(0)


def _listen(connection: Connection, heard: SimpleQueue[str], stop: Callable[[], None]) -> None:
    """Hear what the main process says, on a thread."""
    while True:
        try:
            word = connection.recv()
        except (EOFError, OSError):
            # Exit, because no process would log events for further loads.
            os._exit(1)
        if word == _STOP:
            stop()
        heard.put(word)


class _Answers:
    """Sends from any thread; the queue of a ``QueueHandler``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, words: object) -> None:
        """Send a message, or exit if the main process is gone."""
        with self._lock:
            try:
                self._connection.send(words)
            except OSError:
                os._exit(1)

    put_nowait = send


def _portable(error: Exception) -> Exception:
    """Return the error, or its traceback as text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:  # noqa: BLE001  (any error of its class)
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _ending(code: int) -> str:
    """Describe the end of a process from its exit code."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
