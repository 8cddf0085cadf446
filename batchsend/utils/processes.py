"""Starts batchsend commands as separate processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Child(Protocol):
    """A process that runs a campaign."""

    def poll(self) -> int | None:
        """The exit code; `None` while the process runs."""

    def interrupt(self) -> None:
        """Makes it finish its requests in flight and end; a second call makes it end immediately."""


#: For a process without output, on Windows: it gets a console of its own that has no window. Windows ends all
#: processes of a console when its window is closed. 0 on other systems, where each process gets its own session.
OWN_CONSOLE: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
#: For a process that does not receive Ctrl-C, on Windows. 0 on other systems.
OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)

#: Starts the batchsend command with these arguments. Raises `OSError`.
Launch = Callable[[Sequence[str]], Child]


class ChildProcess:
    """The installed command as a separate process that does not receive this terminal's Ctrl-C.

    Otherwise it would receive two, from the terminal and from this process, and the second one ends it immediately.
    `module` is run instead of the command, and `environment` replaces this process's environment. `silent` discards
    the output, so that the process depends neither on a reader of it nor on the terminal. The standard input of an
    `attached` process stays open until `release`, or until this process has ended in any way.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        module: str = "batchsend",
        environment: Mapping[str, str] | None = None,
        silent: bool = False,
        attached: bool = False,
    ) -> None:
        # -P: a file such as `json.py` in the current folder is not imported.
        command = [sys.executable, "-P", "-m", module, *arguments]
        output = subprocess.DEVNULL if silent else None
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            # Each of the two has an effect on its own system only.
            creationflags=OWN_GROUP | (OWN_CONSOLE if silent else 0),
            start_new_session=True,
        )

    @property
    def number(self) -> int:
        """The process id."""
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        """Waits for its end. Returns its exit code."""
        return self._process.wait()

    def tell(self, line: str) -> bool:
        """Gives an attached process a last line on its standard input; returns whether it was there to get it."""
        if self._process.stdin is None or self.poll() is not None:
            return False
        try:
            with self._process.stdin as stdin:
                stdin.write(line.encode())
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Closes the standard input of an attached process."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def interrupt(self) -> None:
        if self._process.poll() is not None:
            return
        if sys.platform == "win32":
            try:
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            except OSError:  # this process has no console to send it through
                self._process.terminate()
        else:
            self._process.terminate()
