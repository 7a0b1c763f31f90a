"""Processes that need not import Dagster and DuckDB first, which takes most of a short command.

A server process imports them once, and forks for each program. The program has a process of its
own, with its own environment, folder, output, exit code, and death by a signal.

Belongs here: starting such a process. Does not belong: tests of a start from nothing, as
``cli/test_commands.py`` has them.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import duckdb
from packaging.version import Version

# What `sync` imports. Not Polars, which starts threads: no process with threads may fork.
_IMPORTED = (
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.execute_in_process",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.instance.ref",
    "dagster._core.instance.runs.run_domain",
    "dagster._core.secrets.loader",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "isal.igzip",
    "upath.implementations.local",
    "cp_pipeline.cli.sync",
    "cp_pipeline.defs.instance.dagster_home",
    "cp_pipeline.defs.definitions",
    "cp_pipeline.defs.event_log",
    "cp_pipeline.defs.instance.command_runs",
    "cp_pipeline.defs.instance.storage_errors",
)
_COMMAND = """
from runpy import run_module
run_module("cp_pipeline.cli", run_name="__main__", alter_sys=True)
"""
_LONGEST = 1 << 18
# DuckDB 1.5 starts a thread when it is imported, and no process with threads may fork.
_FORKS = Version(duckdb.__version__).major > 1


def command_in(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``cp-pipeline`` with these arguments in a folder, with these variables added."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with contextlib.chdir(folder):
            return command(*arguments, seconds=600)
    finally:
        os.environ.clear()
        os.environ.update(before)


def command(
    *arguments: str, seconds: float = 60, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``cp-pipeline`` with these arguments, in this process's environment and folder.

    ``before``: Python code that its process runs first.
    """
    return program(before + _COMMAND, *arguments, seconds=seconds)


def program(code: str, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run Python code, as ``python -c`` does, in this process's environment and folder.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    if not _FORKS:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    told = json.dumps(
        {
            "code": code,
            "arguments": arguments,
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
        }
    )
    ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)
    socket.send_fds(_server(), [told.encode()], theirs)
    for each in theirs:
        os.close(each)
    try:
        out, err, ended = _all_of(ours, seconds)
    except TimeoutError:
        raise subprocess.TimeoutExpired(arguments, seconds) from None
    finally:
        for each in ours:
            os.close(each)
    _, returncode = ended.split()
    arguments_run = [sys.executable, "-c", code, *arguments]
    return subprocess.CompletedProcess(arguments_run, int(returncode), out, err)


def _all_of(pipes: tuple[int, ...], seconds: float) -> list[str]:
    """All that arrives in each pipe, until the last process has closed it."""
    end = time.monotonic() + seconds
    found = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as waiting:
        for each in pipes:
            waiting.register(each, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0, end - time.monotonic()))
            if not ready:
                with suppress(ProcessLookupError, IndexError):
                    os.kill(int(found[pipes[-1]].split()[0]), signal.SIGKILL)
                raise TimeoutError
            for key, _ in ready:
                arrived = os.read(key.fd, 1 << 16)
                found[key.fd] += arrived
                if not arrived:
                    waiting.unregister(key.fd)
    return [each.decode() for each in found.values()]


@cache
def _server() -> socket.socket:
    """The socket of this process's server, which ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CP_", "DAGSTER_"))
    }
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=kept,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
    return ours


def _serve(channel: socket.socket) -> dict[str, object]:
    """Fork for each request. Returns only in the process that is to do what the request says."""
    while True:
        told, pipes, _, _ = socket.recv_fds(channel, _LONGEST, 3)
        if not told:
            sys.exit()
        # A process that waits for the program's end, while this one takes the next request.
        if os.fork() == 0:
            channel.close()
            child = os.fork()
            if child == 0:
                for pipe, place in zip(pipes[:2], (1, 2), strict=True):
                    os.dup2(pipe, place)
                for pipe in pipes:
                    os.close(pipe)
                request: dict[str, object] = json.loads(told)
                return request
            _wait_for(child, pipes)
        for pipe in pipes:
            os.close(pipe)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _wait_for(child: int, pipes: list[int]) -> None:
    *outputs, ended = pipes
    for pipe in outputs:
        os.close(pipe)
    os.write(ended, f"{child} ".encode())
    _, status = os.waitpid(child, 0)
    os.write(ended, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(code: str, arguments: list[str], environment: dict[str, str], folder: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), vars(main))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _IMPORTED:
            import_module(name)
    assert len([*Path("/proc/self/task").glob("*")]) <= 1, "no process with threads may fork"
    _become(**_serve(socket.socket(fileno=int(sys.argv[1]))))  # type: ignore[arg-type]
