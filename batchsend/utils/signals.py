"""What Ctrl-C, SIGTERM and a closed terminal do while work is under way."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from batchsend.exits import Exit


@contextmanager
def finishing_on_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM let what is in flight finish; a second one leaves at once.

    `stop` is told the first one's number, in the event loop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    received = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 1:
            # What was in flight becomes `unconfirmed` with the next start.
            os._exit(Exit.INTERRUPTED)
        loop.call_soon_threadsafe(stop, number)

    # A closed terminal is SIGHUP, on Windows SIGBREAK; neither exists everywhere.
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers: list[signal.Signals] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # What is ignored stays ignored: `nohup` asks for that.
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


class Signals:
    count = 0


@contextmanager
def counting_signals() -> Iterator[Signals]:
    signals = Signals()

    def handle(_number: int, _frame: FrameType | None) -> None:
        signals.count += 1

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers: list[signal.Signals] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # What is ignored stays ignored: `nohup` asks for that.
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
