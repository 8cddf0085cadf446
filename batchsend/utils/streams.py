"""The standard streams of the process: output that cannot be written never stops the program.

A full disk, a reader that has gone away or a closed terminal loses lines of a log. It must not lose a run.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The reader of a pipe or socket has gone away, or there never was one; Windows uses `EINVAL`.
_READER_GONE = {errno.EPIPE, errno.ECONNRESET, errno.EBADF, *([errno.EINVAL] if os.name == "nt" else [])}


class LossyOutput(io.RawIOBase):
    """Writes to another raw stream and drops what that stream cannot take.

    Every write is tried, so that a log continues when its disk has room again. `problem`: the first error that
    lost output, unless the reader has gone away.
    """

    def __init__(self, raw: io.RawIOBase, owner: object = None) -> None:
        """`owner`: the stream that would close `raw` when it is collected."""
        self._raw = raw
        self._owner = owner
        self._in_line = False
        self._line_is_torn = False
        self.problem: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return _is_terminal(self._raw)

    def write(self, data: ReadableBuffer, /) -> int:
        content = bytes(data)
        try:
            if self._line_is_torn:
                self._write(b"\n")
                self._line_is_torn = False
            written = self._write(content)
        except OSError as error:
            self._line_is_torn = self._in_line
            if self.problem is None and error.errno not in _READER_GONE and not self.isatty():
                self.problem = error
            return len(content)
        self._in_line = not content[:written].endswith(b"\n")
        return written

    def _write(self, content: bytes) -> int:
        written = self._raw.write(content)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return written


def make_streams_safe() -> None:
    """Replaces closed standard streams by the null device, and makes the output streams drop what cannot be written.

    Characters that the terminal, or the encoding of a file that gets the output, does not have become `?`. The null
    device of Windows is no terminal then.
    """
    for number in range(3):
        _fill(number)
    # Python has no object for a stream that was closed when it started.
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
    if sys.stdin.isatty() and not _is_terminal(sys.stdin):
        sys.stdin = io.StringIO()
    sys.stdout = _safe(sys.stdout, 1)
    sys.stderr = _safe(sys.stderr, 2)


def output_problem() -> OSError | None:
    """The error that lost some of standard output; `None` if nothing is missing or its reader has gone away."""
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", None)
    return raw.problem if isinstance(raw, LossyOutput) else None


def _is_terminal(stream: io.RawIOBase | TextIO) -> bool:
    """Whether there can be a person at the other end. Python says so of the null device on Windows, too."""
    return stream.isatty() and _is_console(stream.fileno())


def _is_console(number: int) -> bool:
    """On Windows: whether this is a console and no other device."""
    found = True
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        mode, handle = ctypes.c_ulong(), msvcrt.get_osfhandle(number)
        found = bool(ctypes.windll.kernel32.GetConsoleMode(handle, ctypes.byref(mode)))
    return found


def _fill(number: int) -> None:
    """Opens the null device under this number if it is free; else the next file, such as a ledger, would get it."""
    with suppress(OSError):
        os.fstat(number)
        return
    with suppress(OSError):
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _safe(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    # `python -u` has no buffer between the text and the raw stream.
    raw = cast("io.RawIOBase", getattr(stream.buffer, "raw", stream.buffer))
    return io.TextIOWrapper(
        io.BufferedWriter(LossyOutput(raw, owner=stream)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
