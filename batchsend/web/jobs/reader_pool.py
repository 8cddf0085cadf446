"""The readers: the processes that read and check lists for the pages, so that no list holds up a page.

Each call has a process to itself. The number of processes is bounded, and the users share them fairly: a user's
second call waits if the others could need the process more. Quick calls never wait for long ones.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.utils.processes import OWN_CONSOLE, OWN_GROUP
from batchsend.web.jobs.list_preview import LISTS_KEPT
from batchsend.web.jobs.reader_process import DONE, GRACE, PREFIX, PROGRESS, Call

P = ParamSpec("P")
R = TypeVar("R")

#: Processes of all users together. An idle one has 150 MB. One user gets half of them at most.
_MOST = 6
#: More processes, for quick calls.
_QUICK = 2
#: Seconds for one call, and for a quick one. A person can cancel a call that takes longer than a moment.
_LONGEST, _LONGEST_QUICK = 1800.0, 60.0
#: Seconds after which an idle process ends.
_IDLE = 1800.0
#: Readings that are kept after they are over, so that a page that is loaded again has its list at once.
_KEPT = 200


class CanceledError(BatchsendError):
    """A user canceled this reading."""

    def __init__(self) -> None:
        super().__init__("This was canceled.")


class _CrashedError(Exception):
    """The process ended before it answered."""


@dataclass(eq=False)
class Reading(Generic[R]):
    """One call of a function in a reader.

    `lane`: calls of one user with the same one run one after another. `part`: how much of it is done, from 0 to 1.
    `ahead`: its place in the queue, from 1; 0 once it has a process.
    """

    user: str
    call: Call
    future: asyncio.Future[R]
    lane: str = ""
    part: float = 0.0
    ahead: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        return self.future.done()

    @property
    def percent(self) -> int:
        return int(100 * self.part)

    @property
    def was_canceled(self) -> bool:
        return self.is_over and isinstance(self.future.exception(), CanceledError)

    async def wait(self, seconds: float) -> bool:
        """Waits for the end; returns whether it came."""
        await asyncio.wait([self.future], timeout=seconds)
        return self.is_over


class Readers:
    """Runs functions in separate processes, at most `most` at a time, and a few quick ones beside them.

    The processes read no list and no template outside the folder `only_below`, if there is one.
    """

    def __init__(self, only_below: Path | None = None, most: int = _MOST) -> None:
        self._only_below = only_below
        self._most, self._quick = most, _QUICK
        self.loop = asyncio.get_running_loop()
        self._idle: list[_Reader] = []
        self._waiting: list[Reading[Any]] = []
        self._running: list[Reading[Any]] = []
        self._kept: OrderedDict[tuple[Hashable, str], Reading[Any]] = OrderedDict()
        self._warming: asyncio.Task[None] | None = None

    async def run(self, user: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Returns what the function returns. Raises `BatchsendError`, also if the process crashes or is too slow."""
        return await asyncio.shield(self.begin(user, function, *arguments, **named).future)

    def begin(self, user: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> Reading[R]:
        """Runs the function as soon as the user's turn comes."""
        return self._begin(user, None, _call(function, arguments, named))

    def begin_quick(
        self, user: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs
    ) -> Reading[R]:
        """Does the same with a function that takes a moment, ahead of what takes longer."""
        return self._begin(user, None, replace(_call(function, arguments, named), quick=True))

    def begin_soon(
        self, user: str, lane: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs
    ) -> Reading[R]:
        """Does the same from another thread, after the user's earlier calls with the same `lane`."""

        async def begin() -> Reading[R]:
            return self._begin(user, None, _call(function, arguments, named), lane)

        return asyncio.run_coroutine_threadsafe(begin(), self.loop).result()

    def warm_up(self) -> None:
        """Starts a process, so that the next page does not wait for one."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm_up())

    async def _warm_up(self) -> None:
        with suppress(OSError):
            self._put_back(await _Reader.start(self._only_below))

    def keep(
        self, key: Hashable, user: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs
    ) -> Reading[R]:
        """Does the same, but once for all calls with this key, and keeps the result."""
        return self.kept(key, user) or self._begin(user, key, _call(function, arguments, named))

    def kept(self, key: Hashable, user: str) -> Reading[Any] | None:
        """Returns the user's reading with this key, or another user's that was successful."""
        own = self._kept.get((key, user))
        if own is not None:
            return own
        others = (reading for (one, _), reading in self._kept.items() if one == key and reading.is_over)
        return next((reading for reading in others if reading.future.exception() is None), None)

    def forget(self, reading: Reading[Any]) -> None:
        """Makes the next call with the key of this reading run again."""
        for name, kept in list(self._kept.items()):
            if kept is reading:
                del self._kept[name]

    async def cancel(self, reading: Reading[Any]) -> None:
        """Ends a call, and returns once its process has removed its files and ended."""
        if reading in self._waiting:
            self._waiting.remove(reading)
            reading.future.set_exception(CanceledError())
            self._dispatch()
        elif reading.task is not None and not reading.is_over:
            reading.task.cancel()
            await asyncio.wait([reading.task])

    async def close(self) -> None:
        """Ends all processes."""
        self._most = self._quick = 0
        await asyncio.gather(*map(self.cancel, [*self._waiting, *self._running]))
        if self._warming is not None:
            await self._warming
        await asyncio.gather(*(reader.end() for reader in self._idle))
        self._idle.clear()

    def _begin(self, user: str, key: Hashable | None, call: Call, lane: str = "") -> Reading[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # A page that shows only the progress never asks for the exception.
        future.add_done_callback(lambda ended: ended.exception())
        reading = Reading(user, call, future, lane)
        if key is not None:
            self._keep(key, reading)
        self._waiting.append(reading)
        self._dispatch()
        return reading

    def _keep(self, key: Hashable, reading: Reading[Any]) -> None:
        self._kept[key, reading.user] = reading
        over = (name for name, kept in self._kept.items() if kept.is_over)
        for name in list(over)[: max(0, len(self._kept) - _KEPT)]:
            del self._kept[name]

    def _dispatch(self) -> None:
        """Starts what may start, and numbers the rest."""
        while (reading := self._next()) is not None:
            self._waiting.remove(reading)
            self._running.append(reading)
            reading.ahead = 0
            reading.task = asyncio.create_task(self._serve(reading))
            reading.task.add_done_callback(partial(self._ended, reading))
        for ahead, reading in enumerate(self._in_order(), 1):
            reading.ahead = ahead

    def _next(self) -> Reading[Any] | None:
        return next(filter(self._may_start, self._in_order()), None)

    def _may_start(self, reading: Reading[Any]) -> bool:
        """Whether a process is free for a call. Quick calls and long ones each have their own number of them.

        A user gets another process only if more are free than the user has: one user alone leaves half of them free.
        Calls of one user with the same `lane` run one after another.
        """
        quick = reading.call.quick
        alike = [one for one in self._running if one.call.quick == quick]
        lanes = [one.lane for one in alike if one.user == reading.user]
        free = (self._quick if quick else self._most) - len(alike)
        return len(lanes) < free and not (reading.lane and reading.lane in lanes)

    def _in_order(self) -> list[Reading[Any]]:
        """Returns what waits, the users in turn: first the call of the user who has the fewest before it."""
        before = Counter(reading.user for reading in self._running)
        turns = []
        for reading in self._waiting:
            turns.append((before[reading.user], reading))
            before[reading.user] += 1
        return [reading for _, reading in sorted(turns, key=lambda turn: turn[0])]

    async def _serve(self, reading: Reading[Any]) -> None:
        """Runs a call in an idle process or a new one."""
        reader: _Reader | None = None
        quick = reading.call.quick
        try:
            reader = self._take_idle(reading) or await _Reader.start(self._only_below)
            if not quick and not self._idle:
                self.warm_up()
            kind, value = await asyncio.wait_for(reader.run(reading), _LONGEST_QUICK if quick else _LONGEST)
            self._put_back(reader)
            if kind == DONE:
                reading.future.set_result(value)
            else:
                reading.future.set_exception(value)
        except asyncio.CancelledError:
            await self._fail(reading, reader, CanceledError())
        except _CrashedError:
            await self._fail(reading, reader, BatchsendError(_CRASHED))
        except TimeoutError:
            await self._fail(reading, reader, BatchsendError(_QUICK_TOO_SLOW if quick else _TOO_SLOW))
        except OSError as error:
            await self._fail(reading, reader, BatchsendError(_NOT_STARTED.format(error.strerror or error)))

    def _ended(self, reading: Reading[Any], _task: asyncio.Task[None]) -> None:
        if not reading.is_over:  # it was canceled before it began
            reading.future.set_exception(CanceledError())
        self._running.remove(reading)
        self._dispatch()

    async def _fail(self, reading: Reading[Any], reader: _Reader | None, error: BatchsendError) -> None:
        if reader is not None:
            await reader.end()
        reading.future.set_exception(error)

    def _take_idle(self, reading: Reading[Any]) -> _Reader | None:
        """Returns an idle process, if possible the one that has read for this campaign before."""
        self._idle = [reader for reader in self._idle if reader.is_alive]
        if not self._idle:
            return None
        about = reading.call.arguments[:1]
        found = next((reader for reader in self._idle if about in reader.read), self._idle[0])
        self._idle.remove(found)
        found.idle.cancel()
        return found

    def _put_back(self, reader: _Reader) -> None:
        self._idle.append(reader)
        reader.idle = asyncio.get_running_loop().call_later(_IDLE, reader.close)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Call:
    if named:
        raise TypeError("only positional arguments can be sent to the process")
    return Call(function, arguments)


_CRASHED = (
    "The list could not be read: it made the program that reads lists crash. Open the list in a spreadsheet, save it "
    "again as .xlsx or .csv, and choose that file."
)
_TOO_SLOW = (
    f"The list could not be read within {_LONGEST / 60:.0f} minutes. Save it as .csv, which is read faster, and "
    f"choose that file."
)
_QUICK_TOO_SLOW = f"The texts could not be made within {_LONGEST_QUICK:.0f} seconds. Make the text simpler."
_NOT_STARTED = "No process could be started ({}), so nothing was read. Close other programs and try again."


class _Reader:
    """A process that reads.

    `read`: the first arguments of its latest calls. `idle`: what ends it if it is not used for long.
    """

    idle: asyncio.TimerHandle

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.read: deque[tuple[Any, ...]] = deque(maxlen=LISTS_KEPT)

    @classmethod
    async def start(cls, only_below: Path | None) -> _Reader:
        """Raises `OSError`."""
        own_group: dict[str, Any] = {} if sys.platform == "win32" else {"process_group": 0}
        process = await asyncio.create_subprocess_exec(
            # -P: a file such as `json.py` in the current folder is not imported.
            *(sys.executable, "-P", "-m", "batchsend.web.jobs", "--reader", str(only_below or "")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for the server, which then ends its readers.
            creationflags=OWN_GROUP | OWN_CONSOLE,
            **own_group,
        )
        return cls(process)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, reading: Reading[Any]) -> tuple[str, Any]:
        """Returns `DONE` and the result, or `FAILED` and the exception. Raises `_CrashedError`."""
        self.read.append(reading.call.arguments[:1])
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise _CrashedError
        try:
            stdin.write(pickle.dumps(reading.call))
            await stdin.drain()
            while True:
                length = int.from_bytes(await stdout.readexactly(PREFIX), "big")
                kind, value = pickle.loads(await stdout.readexactly(length))  # noqa: S301 - from our own process
                if kind != PROGRESS:
                    return kind, value
                reading.part = value
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _CrashedError from error

    def close(self) -> None:
        """Makes the process end: it interrupts what it does."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        """Makes the process end, and returns when it has ended."""
        self.close()
        try:
            await asyncio.wait_for(self._process.wait(), 2 * GRACE)
        except (TimeoutError, asyncio.CancelledError):
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


READERS = web.AppKey("readers", Readers)
