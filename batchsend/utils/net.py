"""What servers of ours share: where they listen, why they cannot, and how they are ended."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed window set `stop` while the block runs. For the main thread."""
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    # On Windows a closed window is SIGBREAK; it does not exist elsewhere.
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    numbers: list[signal.Signals] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_url(host: str) -> str:
    """`host` as it stands in a URL; what means every address is this machine's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


def cannot_listen(host: str, port: int, error: OSError | OverflowError, suspect: str) -> str:
    """Why a server cannot listen there. `suspect`: who else may be listening already."""
    where = f"batchsend cannot listen on {host}, port {port}"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{where}: another program uses it, {suspect}. Stop that one, or choose another --port."
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return f"{where}: this user may not use it. Choose a port above 1023."
    return (
        f"{where}: this computer has no such address. Use 127.0.0.1, or one of the computer's own addresses."
    )
