"""What a Windows console says when it is closed, and what becomes of requests in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from misbehaving import answer, misbehaving, says, success, waits_until
from world import World, customers

from batchsend.utils import signals

CTRL_C, CTRL_BREAK, CLOSED, SHUT_DOWN = 0, 1, 2, 6


class _EndedError(Exception):
    """Ends the thread of an event: on Windows, the end of the process does."""


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that the main thread gets."""
    found: list[int] = []

    def wait(_self: threading.Event) -> bool:
        raise _EndedError

    monkeypatch.setattr(signals, "_process", signals._Process())
    monkeypatch.setattr("_thread.interrupt_main", found.append)
    monkeypatch.setattr(threading.Event, "wait", wait)
    yield found


@pytest.mark.parametrize("event", [CLOSED, SHUT_DOWN])
def test_a_closed_console_is_one_signal_and_its_thread_does_not_return(
    interrupts: list[int], event: int
) -> None:
    """Windows ends the process when it returns."""
    for _ in range(2):
        with pytest.raises(_EndedError):
            signals._on_console_event(event)
    assert len(interrupts) == 1


def test_a_scheduler_that_ends_too_is_no_second_signal(interrupts: list[int]) -> None:
    with pytest.raises(_EndedError):
        signals._on_console_event(CLOSED)
    assert signals._on_console_event(CTRL_BREAK)
    signals._process.console_ends = False
    signals._process.received.append(CTRL_BREAK)
    with pytest.raises(_EndedError):
        signals._on_console_event(CLOSED)
    assert len(interrupts) == 1


def test_other_events_are_for_others(interrupts: list[int]) -> None:
    assert not signals._on_console_event(CTRL_C)
    assert not signals._on_console_event(CTRL_BREAK)
    assert interrupts == []


#: The command on a simulated Windows console: SIGUSR1 closes it, SIGUSR2 is a Ctrl-Break from a scheduler.
_ON_A_CONSOLE = textwrap.dedent(
    """
    import _thread, os, signal, threading, time
    from batchsend.__main__ import main
    from batchsend.utils import signals

    # Like Windows, this also wakes the main thread.
    _thread.interrupt_main = lambda number: os.kill(os.getpid(), number)

    def event(number):
        def handle():
            while number == 1 and not signals._process.console_ends:
                time.sleep(0.01)  # a scheduler notices the end a little later
            if not signals._on_console_event(number):
                os.kill(os.getpid(), signal.SIGTERM)
        return lambda *_: threading.Thread(target=handle, daemon=True).start()

    signal.signal(signal.SIGUSR1, event(2))
    signal.signal(signal.SIGUSR2, event(1))
    main()
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="the console is simulated")
@pytest.mark.system
def test_send_finishes_its_requests_when_a_windows_terminal_is_closed(tmp_path: Path) -> None:
    held = threading.Event()
    with misbehaving() as bench:
        bench.scripts["customer-2"] = [[waits_until(held), says(answer(200, success()))]]
        world = World(tmp_path, bench.base_url).write(
            customers(6), campaign="\n[sending]\nrate = 500\nconcurrency = 1\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_A_CONSOLE, "send", "campaign.toml", "--yes"],
            cwd=world.folder,
            env=world.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        bench.wait_for_requests(3)
        bench.wait_for(lambda: world.claimed() == 2, "the row after the held one is claimed")
        os.kill(process.pid, signal.SIGUSR1)
        os.kill(process.pid, signal.SIGUSR2)
        bench.wait_for(lambda: world.claimed() == 1, "the row after the held one is given back")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        held.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Run the same command again to continue." in out
    statuses = [values["status"] for _, values in sorted(world.workbook().items())]
    assert statuses == [*["accepted"] * 3, *["pending"] * 3]


@pytest.mark.parametrize("missing", ["SIGHUP", "SIGBREAK", "SIGTERM"])
def test_a_signal_that_a_system_does_not_have_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delattr(signal, missing, raising=False)
    received: list[int] = []
    with signals.handling_signals(received.append):
        signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGINT]
