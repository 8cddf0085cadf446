"""Starts commands fast: forks real processes from one that has already loaded the libraries.

Loading them takes 1.5 seconds of processor time, and the tests run hundreds of commands. A forked process has its own
memory, files, environment and exit code. Tests of signals, crashes, terminals and faults start Python as users do
(`World.start`, `World.ask`).

Run as a program, this is the process that is forked. Without `fork` (Windows), commands start cold.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from faked_time import follow_environment
from warm_command import WarmProcess, begin

_STREAMS = ("stdin", "stdout", "stderr")


class WarmStart:
    """Requests new processes from the loaded one."""

    def __init__(self, address: str) -> None:
        self._address = address

    def begin(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], streams: Sequence[int]
    ) -> WarmProcess:
        """Starts a command. `streams`: the descriptors of its stdin, stdout and stderr."""
        return begin(self._address, "batchsend", arguments, str(folder), environment, streams)


@contextmanager
def warm_start() -> Iterator[WarmStart | None]:
    """Runs the loaded process during the block; gives `None` if processes cannot be forked."""
    if not hasattr(os, "fork"):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        address = str(Path(name) / "start")
        python = Path(name) / "python"
        stand_in = Path(__file__).with_name("warm_command.py")
        # -I and -S: it needs nothing but the standard library, and starts in a fraction of the time.
        python.write_text(
            f"#!/bin/sh\nexec '{sys.executable}' -IS '{stand_in}' '{address}' \"$@\"\n", encoding="utf-8"
        )
        python.chmod(0o700)
        process = subprocess.Popen(
            [sys.executable, __file__, address, python], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield WarmStart(address)
        finally:
            # Not until the end of its output: a process that it has started and that still runs has that pipe, too.
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            process.stdout.close()


def _serve(address: str, python: str) -> None:
    _load()
    hash_passwords_fast()
    # The processes that a command starts, such as the web console's jobs, are warm too.
    sys.executable = python
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
    """Starts one process and reports its exit code."""
    _, streams, _, _ = socket.recv_fds(connection, 1, len(_STREAMS))
    with connection.makefile("rw", encoding="utf-8") as file:
        request = json.loads(file.readline())
        pid = os.fork()
        if pid == 0:
            _run(request, streams)
        for stream in streams:
            os.close(stream)
        file.write(f"{pid}\n")
        file.flush()
        threading.Thread(target=_kill_when_closed, args=(connection, pid), daemon=True).start()
        _, status = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):
            file.write(f"{os.waitstatus_to_exitcode(status)}\n")
            file.flush()
    os._exit(0)


def _kill_when_closed(connection: socket.socket, pid: int) -> None:
    """Kills the process if who requested it has ended."""
    connection.recv(1)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _run(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = [request["module"], *request["arguments"]]
    follow_environment()
    code = 1
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def hash_passwords_fast() -> None:
    """Makes this process, and those that it forks, hash the passwords of the console's users with less work.

    The tests sign in hundreds of times. Cold processes hash as users' do, and `tests/web/test_auth.py` checks that.
    """
    from batchsend.web.auth import users

    users._N = 2


def _load() -> None:
    import batchsend.cli.main
    import batchsend.cli.progress
    import batchsend.cli.text.plan
    import batchsend.lists.formats.delimited
    import batchsend.lists.formats.xlsx.reader
    import batchsend.runs.api
    import batchsend.runs.lookup
    import batchsend.runs.runner
    import batchsend.sandbox.server
    import batchsend.web.jobs.process
    import batchsend.web.server  # noqa: F401


if __name__ == "__main__":
    _serve(*sys.argv[1:])
