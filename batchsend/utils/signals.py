"""What Ctrl-C, SIGTERM and a closed terminal do while the program works.

Windows gives a program whose terminal is closed about five seconds.

Before texts can leave, a signal raises `KeyboardInterrupt`. From then on it raises nothing: the first one lets the
requests in flight and the results be finished, and a second one ends the process immediately.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from batchsend.exits import Exit

if TYPE_CHECKING:
    import asyncio

#: A closed terminal is SIGHUP, on Windows SIGBREAK; neither exists everywhere.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
#: Events of a Windows console: its window is closed, the user signs out, the computer is shut down.
_CONSOLE_ENDS = (2, 5, 6)


class _Process:
    """The signals of this process that nothing was done about yet, and whether texts may have left.

    `console_ends`: whether its Windows console is being closed. `on_console_event`: what the console calls.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.texts_may_have_left = False
        self.console_ends = False
        self.on_console_event: object = None

    def interrupt(self, number: int) -> None:
        """Raises `KeyboardInterrupt` if that can still prevent texts."""
        if self.texts_may_have_left:
            self.hold(number)
        else:
            self.received.append(number)
            raise KeyboardInterrupt

    def hold(self, number: int) -> None:
        """Keeps the first signal; a second one ends the process immediately."""
        if self.received:
            # The next start makes the requests in flight `unconfirmed`.
            os._exit(Exit.INTERRUPTED)
        self.received.append(number)


_process = _Process()


def interrupt_on_signals() -> None:
    """From now on, signals raise `KeyboardInterrupt` until texts may have left. For a program, not for a library."""
    _set_handlers(_process.interrupt)
    _listen_to_console()
    sys.unraisablehook = _show_unraisable
    # Called last: only the interpreter's own clean-up is left, in which a signal would change the exit code.
    atexit.register(_ignore_signals)


def was_interrupted() -> bool:
    """Whether a signal came before texts could leave. Libraries turn some `KeyboardInterrupt`s into other errors."""
    return bool(_process.received) and not _process.texts_may_have_left


def exit_on_signals(exit_code: int) -> None:
    """From now on, a signal ends the process immediately with this exit code: there is nothing left to do."""
    _set_handlers(lambda _number: os._exit(exit_code))


@contextmanager
def holding_signals() -> Iterator[None]:
    """Signals raise nothing in the block, in which texts may leave; `finishing_on_signals` learns of the first one.

    Raises `KeyboardInterrupt` before the block if a signal has come already.
    """
    with handling_signals(_process.hold):
        if _process.received:
            # An exception from a signal can get lost, such as in a destructor.
            raise KeyboardInterrupt
        _process.texts_may_have_left = True
        try:
            yield
        finally:
            _process.received.clear()


@contextmanager
def handling_signals(handle: Callable[[int], object]) -> Iterator[None]:
    """Calls `handle` with the number of each signal that asks this process to end, while the block runs.

    Only the main thread gets signals; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _set_handlers(handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finishing_on_signals(stop: Callable[[int], object]) -> Iterator[None]:
    """The first signal calls `stop` with its number in the event loop; a second one ends the process immediately."""
    loop = _running_loop()

    def handle(number: int) -> None:
        _process.hold(number)
        loop.call_soon_threadsafe(stop, number)

    with handling_signals(handle):
        if _process.received:
            loop.call_soon(stop, _process.received[0])
        yield


@contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Every signal sets `stop` in the event loop."""
    loop = _running_loop()
    with handling_signals(lambda _number: loop.call_soon_threadsafe(stop.set)):
        yield


def _listen_to_console() -> None:
    """Makes a Windows console call `_on_console_event`."""
    if sys.platform == "win32":
        import ctypes

        routine = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)(_on_console_event)
        _process.on_console_event = routine  # Windows does not keep it alive
        ctypes.windll.kernel32.SetConsoleCtrlHandler(routine, 1)


def _on_console_event(event: int) -> bool:
    """Handles an event of the console in a thread of its own; returns whether no other handler should.

    When the console is closed, Windows ends the process once this returns. So it does not return: the process ends
    by itself as it does after a signal, or Windows ends it after some seconds.
    """
    if event not in _CONSOLE_ENDS:
        # A scheduler that ends too sends its processes a Ctrl-Break. It must not be the second signal.
        return _process.console_ends
    is_first = not (_process.console_ends or _process.received)
    _process.console_ends = True
    if is_first:
        _thread.interrupt_main(getattr(signal, "SIGBREAK", signal.SIGTERM))
    threading.Event().wait()
    return True


def _set_handlers(handle: Callable[[int], object]) -> dict[signal.Signals, Any]:
    """Sets the handler of each signal and returns those before."""
    numbers: list[signal.Signals] = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # Ignored signals stay ignored: that is what `nohup` is for. `None`: another program's handler, which stays too.
    handled = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, partial(_call, handle)) for number in handled}


def _call(handle: Callable[[int], object], number: int, _frame: object) -> None:
    handle(number)


def _show_unraisable(problem: sys.UnraisableHookArgs) -> None:
    """Shows an exception that got lost, unless a signal raised it: `holding_signals` raises that one again."""
    if not issubclass(problem.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(problem)


def _ignore_signals() -> None:
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    return asyncio.get_running_loop()
