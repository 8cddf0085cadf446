"""The console's own scheduler: `batchsend schedule` as a separate process that ends with the console.

Campaigns that it has started continue, as after any end of a scheduler.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from enum import StrEnum

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.utils.files import remove, write_private
from batchsend.utils.processes import ChildProcess
from batchsend.utils.scheduler_mark import SchedulerMark
from batchsend.web.folder import WebFolder

#: Seconds between two looks at the process, and before one that ended by itself is started again.
_LOOK_EVERY, _AGAIN_AFTER = 2.0, 30.0
#: The file that says that the user wants it.
_WANTED = "scheduler-on"


class SchedulerState(StrEnum):
    """Who starts this folder's campaigns at their times."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    NONE = "none"


class Scheduler:
    """Starts and ends the process, as the user has chosen. The choice is kept when the console starts again."""

    def __init__(self, folder: WebFolder) -> None:
        self._folder = folder
        self._file = folder.state / _WANTED
        self._child: ChildProcess | None = None
        #: One that was released, and takes a moment to end.
        self._ending: ChildProcess | None = None
        self._not_before = 0.0
        self._changing = threading.Lock()

    @property
    def is_wanted(self) -> bool:
        return self._file.exists()

    def state(self) -> SchedulerState:
        """Returns who starts campaigns now. Blocks for a moment."""
        if self._is_running():
            return SchedulerState.HERE
        if self._ending is not None and self._ending.poll() is None:
            return SchedulerState.NONE
        return (
            SchedulerState.ELSEWHERE if SchedulerMark(self._folder.root).is_there() else SchedulerState.NONE
        )

    def switch(self, *, on: bool) -> None:
        """Starts or ends it, now and whenever the console runs. Raises `BatchsendError`."""
        try:
            if on:
                write_private(self._file, lambda file: file.write_text("on\n", encoding="utf-8"))
            else:
                remove(self._file)
        except OSError as error:
            raise BatchsendError(
                f"{self._file}: cannot be written ({error.strerror or error}), so nothing was changed. Fix the "
                f"permissions of its folder."
            ) from error
        self._not_before = 0.0
        self.tend()

    def tend(self) -> None:
        """Makes the process run if it is wanted, and else end."""
        with self._changing:
            self._tend()

    def _tend(self) -> None:
        if not self.is_wanted:
            self.release()
        elif not self._is_running() and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + _AGAIN_AFTER
            ledger = ["--ledger", self._folder.ledger] if self._folder.ledger is not None else []
            with suppress(OSError):
                self._child = ChildProcess(["schedule", "--attached", *ledger], silent=True, attached=True)

    def release(self) -> None:
        """Lets the process end."""
        if self._child is not None:
            self._child.release()
            self._child, self._ending = None, self._child

    def _is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None


async def tending(app: web.Application) -> AsyncIterator[None]:
    """Looks after the process as long as the server runs."""
    scheduler = app[SCHEDULER]
    task = asyncio.create_task(_tend(scheduler))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    scheduler.release()


async def _tend(scheduler: Scheduler) -> None:
    while True:
        await asyncio.to_thread(scheduler.tend)
        await asyncio.sleep(_LOOK_EVERY)


SCHEDULER = web.AppKey("scheduler", Scheduler)
