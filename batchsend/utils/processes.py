"""Campaigns in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Child(Protocol):
    """A started campaign."""

    def poll(self) -> int | None:
        """Its exit code; `None` while it runs."""

    def interrupt(self) -> None:
        """Lets it finish what is in flight; a second time: lets it leave at once."""


#: Starts the command with these arguments. Raises `OSError`.
Launch = Callable[[Sequence[str]], Child]


class ChildProcess:
    """The installed command in a process of its own, out of reach of this terminal's Ctrl-C.

    That would come twice otherwise, once from the terminal and once from here, and the second one means "at once".
    `module` is run instead of the command; `environment`: instead of this process's own; `silent`: what it prints is
    dropped, so that it does not depend on anybody who reads it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        module: str = "batchsend",
        environment: Mapping[str, str] | None = None,
        silent: bool = False,
    ) -> None:
        # -P: a file `json.py` in the current folder is nobody's module.
        command = [sys.executable, "-P", "-m", module, *arguments]
        output = subprocess.DEVNULL if silent else None
        if sys.platform == "win32":
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
            )
        else:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    @property
    def number(self) -> int:
        """The process's number."""
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def interrupt(self) -> None:
        if self._process.poll() is not None:
            return
        if sys.platform == "win32":
            self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._process.terminate()
