"""What Ctrl-C, SIGTERM and a closed terminal do while the program works."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from batchsend.exits import Exit

#: A closed terminal is SIGHUP, on Windows SIGBREAK; neither exists everywhere.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


@contextmanager
def handling_signals(handle: Callable[[int], object]) -> Iterator[None]:
    """Calls `handle` with the number of each signal that asks this process to end, while the block runs.

    Only the main thread gets signals; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers: list[signal.Signals] = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # Ignored signals stay ignored: that is what `nohup` is for.
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, lambda received, _frame: handle(received)) for number in handled
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finishing_on_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """The first signal calls `stop` with its number in the event loop; a second one ends the process immediately."""
    loop = asyncio.get_running_loop()
    received = 0

    def handle(number: int) -> None:
        nonlocal received
        received += 1
        if received > 1:
            # The next start makes the requests in flight `unconfirmed`.
            os._exit(Exit.INTERRUPTED)
        loop.call_soon_threadsafe(stop, number)

    with handling_signals(handle):
        yield


@contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Every signal sets `stop` in the event loop."""
    loop = asyncio.get_running_loop()
    with handling_signals(lambda _number: loop.call_soon_threadsafe(stop.set)):
        yield
