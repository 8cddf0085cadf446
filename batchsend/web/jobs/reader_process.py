"""The program of a reader: runs one function after another until its standard input ends.

`reader_pool` starts it, and names the functions. A closed standard input is the sign to end, on every system: the
server closes it to cancel what is running, and the system closes it when the server has ended in any way. The
function is then interrupted, so that it removes its temporary files.

Long functions run in the main thread, which steps back behind all that a person waits for: on Linux the thread alone,
on other systems the process. Quick functions run in a thread of their own, which does not.
"""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import psutil

from batchsend.errors import BatchsendError
from batchsend.utils.progress import listening
from batchsend.utils.protected_files import read_only_in
from batchsend.web.folder import readable_below

#: Bytes of the number before each message of a reader: the message's length.
PREFIX = 4
#: Seconds that an interrupted function gets before the process ends all the same.
GRACE = 3.0
#: Seconds between two reports of progress.
_EVERY = 0.1
#: How far long functions step back behind the server and quick functions, so that they slow down no page.
_NICE = 10

DONE, FAILED, PROGRESS = "done", "failed", "progress"


@dataclass(frozen=True)
class Call:
    """A function to run, and its arguments. `quick`: a person waits for it, and it takes a moment only."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    quick: bool = False


#: What a thread has to run; `None` is the end.
_Calls = SimpleQueue[Call | None]


class _Output:
    """The messages to the server. What libraries print goes nowhere."""

    def __init__(self) -> None:
        self._file: IO[bytes] = os.fdopen(os.dup(1), "wb")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        self._next = 0.0

    def send(self, kind: str, value: Any) -> None:
        content = pickle.dumps((kind, value))
        self._file.write(len(content).to_bytes(PREFIX, "big") + content)
        self._file.flush()

    def progress(self, part: float) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            self.send(PROGRESS, part)


def main(only_below: str) -> int:
    """Runs what comes in. `only_below`: the folder outside which no list and no template is read; "" for no limit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Even if the server was started with signals ignored, as in the background of a shell.
        signal.signal(number, signal.default_int_handler)
    read_only_in(_readable(Path(only_below)) if only_below else None)
    output, quick, long = _Output(), _Calls(), _Calls()
    threading.Thread(target=_receive, args=(quick, long), daemon=True).start()
    threading.Thread(target=_run, args=(quick, output), daemon=True).start()
    # A thread has the priority of the one that started it.
    _step_back()
    with suppress(KeyboardInterrupt):
        _run(long, output)
    return 0


def _run(calls: _Calls, output: _Output) -> None:
    """Runs one call after another. The server sends a call only when the one before is over."""
    # The server has ended: a broken pipe, or on Windows another error.
    with suppress(OSError):
        while (call := calls.get()) is not None:
            output.send(*_outcome(call, output))


def _readable(root: Path) -> tuple[Path, ...]:
    try:
        return readable_below(root)
    except BatchsendError:
        # The pages say what is wrong with the settings.
        return (root,)


def _receive(quick: _Calls, long: _Calls) -> None:
    """Passes calls on until the standard input ends, then ends the process."""
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            call: Call = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own server
            (quick if call.quick else long).put(call)
    long.put(None)
    _interrupt()
    time.sleep(GRACE)
    os._exit(1)


def _interrupt() -> None:
    """Raises `KeyboardInterrupt` in the main thread."""
    main_thread = threading.main_thread().ident
    if main_thread is not None and hasattr(signal, "pthread_kill"):
        # This also ends a wait for the system, such as for a database.
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _outcome(call: Call, output: _Output) -> tuple[str, Any]:
    try:
        with listening(output.progress):
            return DONE, call.function(*call.arguments)
    except Exception as error:  # noqa: BLE001 - every error goes to the server, which shows it
        return FAILED, _sendable(error)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - errors of libraries fail in any way here
        return RuntimeError(type(error).__name__)
    return error


def _step_back() -> None:
    process = psutil.Process()
    with suppress(psutil.Error, OSError):
        process.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", _NICE))
