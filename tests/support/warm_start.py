"""Starts commands fast: forks real processes from one that has already loaded the libraries.

Loading them takes 1.5 seconds of processor time, and the tests run hundreds of commands. A forked process has its own
memory, files, environment and exit code. Tests of signals, crashes, terminals and faults start Python as users do
(`World.start`, `World.ask`).

Run as a program, this is the process that is forked. Without `fork` (Windows), commands start cold.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from faked_time import follow_environment

_STREAMS = ("stdin", "stdout", "stderr")


class WarmStart:
    """Requests new processes from the loaded one."""

    def __init__(self, address: str) -> None:
        self._address = address

    def begin(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: Mapping[str, Path],
    ) -> WarmProcess:
        """Starts a command. `streams`: the files for its stdin, stdout and stderr."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            **{name: str(path) for name, path in streams.items()},
        }
        with connection.makefile("w", encoding="utf-8") as file:
            file.write(json.dumps(request) + "\n")
        return WarmProcess(connection)


class WarmProcess:
    """A started command. The connection reports when it ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("r", encoding="utf-8")
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises `TimeoutError` after `timeout` seconds."""
        self._connection.settimeout(timeout)
        code = int(self._answers.readline())
        self._answers.close()
        self._connection.close()
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)


@contextmanager
def warm_start() -> Iterator[WarmStart | None]:
    """Runs the loaded process during the block; gives `None` if processes cannot be forked."""
    if not hasattr(os, "fork"):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        address = str(Path(name) / "start")
        process = subprocess.Popen(
            [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield WarmStart(address)
        finally:
            process.communicate()


def _serve(address: str) -> None:
    _load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            # The tests have ended and closed the other end of the pipe.
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(connection)
        connection.close()


def _watch(connection: socket.socket) -> NoReturn:
    """Starts one command and reports its exit code."""
    with connection.makefile("rw", encoding="utf-8") as file:
        request = json.loads(file.readline())
        pid = os.fork()
        if pid == 0:
            _run(request)
        file.write(f"{pid}\n")
        file.flush()
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            file.write(f"{os.waitstatus_to_exitcode(status)}\n")
            file.flush()
    os._exit(0)


def _run(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    for number, name in enumerate(_STREAMS):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = os.open(request[name], flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["batchsend", *request["arguments"]]
    follow_environment()
    from batchsend.__main__ import main

    code = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _load() -> None:
    import batchsend.cli.main
    import batchsend.cli.progress
    import batchsend.cli.text.plan
    import batchsend.lists.formats.delimited
    import batchsend.lists.formats.xlsx.reader
    import batchsend.runs.api
    import batchsend.runs.lookup
    import batchsend.runs.runner
    import batchsend.sandbox.server  # noqa: F401


if __name__ == "__main__":
    _serve(sys.argv[1])
