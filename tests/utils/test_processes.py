"""Processes that the program starts: what they share with its terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from batchsend.utils import processes
from batchsend.utils.processes import ChildProcess

#: The flags of Windows, which have no name in Python elsewhere.
CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CTRL_BREAK_EVENT = 0x200, 0x08000000, 1


class WindowsPopen:
    """Takes what Windows would be asked for."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.options = options
        self.signals: list[object] = []
        self.has_console = True
        self.stdin = None

    def poll(self) -> None:
        return None

    def send_signal(self, number: int) -> None:
        if not self.has_console:
            raise OSError(22, "The handle is invalid")
        self.signals.append(number)

    def terminate(self) -> None:
        self.signals.append("ended")


@pytest.fixture
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "OWN_GROUP", CREATE_NEW_PROCESS_GROUP)
    monkeypatch.setattr(processes, "OWN_CONSOLE", CREATE_NO_WINDOW)
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", CTRL_BREAK_EVENT, raising=False)
    monkeypatch.setattr(subprocess, "Popen", WindowsPopen)
    monkeypatch.setattr(sys, "platform", "win32")


def windows_process(child: ChildProcess) -> WindowsPopen:
    found: Any = child._process
    assert isinstance(found, WindowsPopen)
    return found


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.usefixtures("_windows")
def test_a_process_of_the_console_survives_its_terminal_on_windows(silent: bool) -> None:
    """Only a process without output: one with output writes to the terminal, and is stopped by a scheduler in it."""
    flags = windows_process(ChildProcess(["send"], silent=silent)).options["creationflags"]
    assert flags & CREATE_NEW_PROCESS_GROUP
    assert bool(flags & CREATE_NO_WINDOW) is silent


@pytest.mark.usefixtures("_windows")
def test_an_interrupt_is_a_ctrl_break_on_windows() -> None:
    child = ChildProcess(["send"])
    child.interrupt()
    assert windows_process(child).signals == [CTRL_BREAK_EVENT]


@pytest.mark.usefixtures("_windows")
def test_a_process_without_a_console_is_ended_on_windows() -> None:
    child = ChildProcess(["send"])
    windows_process(child).has_console = False
    child.interrupt()
    assert windows_process(child).signals == ["ended"]


@pytest.mark.skipif(sys.platform == "win32", reason="sessions of POSIX")
def test_every_process_has_a_session_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", WindowsPopen)
    options = windows_process(ChildProcess(["send"], silent=True)).options
    assert options["start_new_session"] is True
    assert options["creationflags"] == 0
