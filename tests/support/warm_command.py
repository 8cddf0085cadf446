"""Requests processes from the loaded one of `warm_start`. Imports little, because it also runs as a program.

As a program, it stands in for Python in `sys.executable` of warm processes, so that the processes that they start are
warm as well: it requests the process, passes signals on to it and ends as it ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO


class WarmProcess:
    """A started process, with the methods of `Popen`.

    The connection reports when it ends. If the connection is closed before, the process is killed. `stdout` and
    `stderr`: what it prints, if these are pipes.
    """

    stdout: TextIO
    stderr: TextIO

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = self._answer()
        #: Negative for a signal; `None` until it is known that the process has ended.
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises `TimeoutError` after `timeout` seconds."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = self._answer()
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code; `None` while the process runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it prints until it ends, except for what has been read before."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor() as pool:
            out, err = pool.map(_rest_of, (self.stdout, self.stderr))
        self.wait(timeout)
        return out, err

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _answer(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            received = self._connection.recv(1)
            if not received:
                raise EOFError
            line += received
        return int(line)


def _rest_of(stream: TextIO) -> str:
    if stream.closed:
        return ""
    with stream:
        return stream.read()


def begin(
    address: str,
    module: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    streams: Sequence[int],
) -> WarmProcess:
    """Starts `python -m module`. `streams`: the descriptors of its standard input, output and error."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [b"\n"], streams)
    request = {
        "module": module,
        "arguments": [*arguments],
        "folder": folder,
        "environment": {**environment},
    }
    connection.sendall(json.dumps(request).encode() + b"\n")
    return WarmProcess(connection)


def _stand_in(address: str, options: Sequence[str]) -> None:
    """Does what `python -P -m MODULE ARGUMENTS` does."""
    safe, dash_m, module, *arguments = options
    assert (safe, dash_m) == ("-P", "-m"), options
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    process = begin(address, module, arguments, str(Path.cwd()), os.environ, (0, 1, 2))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        # The other ends of its pipes must notice when the process ends or closes them.
        os.dup2(nothing, number)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in signals:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    code = process.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    _stand_in(sys.argv[1], sys.argv[2:])
