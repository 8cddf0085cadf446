"""Pacing of one run in several processes on several hosts: one rate limit for all of them.

The database has a row for each run with the time of its next slot. A process reserves some slots together and uses
them by its own clock. A missed slot is lost: the process reserves another one. Slots last longer (`_LOOSE`) while
something else than the rate limits the run, so that fewer reservations are needed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from sqlalchemy import (
    Boolean,
    Connection,
    Double,
    bindparam,
    case,
    cast,
    create_engine,
    extract,
    func,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from batchsend.ledger.postgres import server_options
from batchsend.ledger.schema import SERVER_CLOCK, paces
from batchsend.sending.cluster.leases import Lease
from batchsend.sending.pacing import (
    RECOVERY_SECONDS,
    RECOVERY_SHARE,
    SLOW_DOWN,
    SLOWEST_SHARE,
    Pause,
    backoff,
)


class Mode(NamedTuple):
    """How a run is paced.

    A window of w >= 1 s has at most `pace * rate * (w + lasts + 0.01) + 1` departures, which is less than
    `rate * w + 1`; the 0.01 s are for hosts whose estimates of the server's clock differ. `pace`: the share of the
    rate that is used. `lasts`: for how many seconds a slot can be used. `block`: how many seconds of the run are
    reserved at most in one statement.
    """

    pace: float
    lasts: float
    block: float


_TIGHT = Mode(0.97, 0.02, 0.05)
_LOOSE = Mode(0.78, 0.25, 0.25)
#: The rate is the bound where slots are reserved so many seconds ahead: a process reserves them a little before it
#: needs them (`_LEAD_SECONDS`).
_BOUND_SECONDS = 0.01
#: The mode changes when it has not fitted for so many seconds: to tight, and to loose.
_TIGHTEN_SECONDS, _LOOSEN_SECONDS = 1.0, 10.0
#: How long before its slot a request is prepared.
_LEAD_SECONDS = 0.02
#: Requeue requests that would hold a connection longer than this.
_MAX_HOLD_SECONDS = 1.0
#: The quickest answer of the last so many seconds tells how far the server's clock is from ours.
_CLOCK_SECONDS = 30.0
#: How often to check whether an expired lease was renewed.
_LEASE_CHECK_SECONDS = 0.05
#: Seconds until a database that cannot be reached is retried.
_RETRY_SECONDS = 0.25

_recovered = case(
    (
        (paces.c.rate < paces.c.configured_rate) & (SERVER_CLOCK - paces.c.slowed_at >= RECOVERY_SECONDS),
        func.least(paces.c.configured_rate, paces.c.rate + RECOVERY_SHARE * paces.c.configured_rate),
    ),
    else_=paces.c.rate,
)
# One time for the whole statement.
_now = cast(extract("epoch", func.statement_timestamp()), Double)
_is_bound = paces.c.next_slot - _now > _BOUND_SECONDS
_fits = paces.c.loose != _is_bound
_patience = case((paces.c.loose, _TIGHTEN_SECONDS), else_=_LOOSEN_SECONDS)
_changes = ~_fits & (_now - paces.c.fits_at > _patience)
_loose = paces.c.loose != _changes
_reserve = (
    update(paces)
    .where(paces.c.run_id == bindparam("of_run"))
    .values(
        # The first tight slot comes when the last loose one cannot be used any more.
        next_slot=func.greatest(
            paces.c.next_slot + case((paces.c.loose & _changes, _LOOSE.lasts), else_=0.0), _now
        )
        + bindparam("count", type_=Double) / (_recovered * case((_loose, _LOOSE.pace), else_=_TIGHT.pace)),
        loose=_loose,
        fits_at=case((_fits | _changes, _now), else_=paces.c.fits_at),
        rate=_recovered,
        slowed_at=case((_recovered > paces.c.rate, SERVER_CLOCK), else_=paces.c.slowed_at),
    )
    .returning(paces.c.next_slot, paces.c.rate, paces.c.loose, SERVER_CLOCK)
)
_until = SERVER_CLOCK + bindparam("wait", type_=Double)
#: Of many requests in flight together in any of the processes, only the first refused one slows down.
_first = bindparam("slow_down", type_=Boolean) & (bindparam("departed", type_=Double) >= paces.c.paused_until)
_push = (
    update(paces)
    .where(paces.c.run_id == bindparam("of_run"))
    .values(
        rate=case(
            (_first, func.greatest(paces.c.configured_rate * SLOWEST_SHARE, paces.c.rate * SLOW_DOWN)),
            else_=paces.c.rate,
        ),
        slowed_at=func.greatest(paces.c.slowed_at, _until),
        paused_until=func.greatest(paces.c.paused_until, _until),
        next_slot=func.greatest(paces.c.next_slot, _until),
    )
)


@dataclass(frozen=True)
class SlotBlock:
    """Slots, as times of this process's monotonic clock, and how they are used. `rate`: the run's, a second."""

    slots: list[float]
    mode: Mode
    rate: float

    @classmethod
    def until(cls, end: float, count: int, rate: float, *, loose: bool) -> Self:
        """The last `count` slots before `end`."""
        mode = _LOOSE if loose else _TIGHT
        period = 1 / (rate * mode.pace)
        return cls([end - number * period for number in range(count, 0, -1)], mode, rate)


class SlotBook:
    """Reserves slots for all runs of this process, over one connection of its own. Belongs to one event loop."""

    def __init__(self, url: URL) -> None:
        # Slots need not survive a crash of the database: their times are over when it is back.
        options = server_options(url, options="-c synchronous_commit=off")
        self._engine = create_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=options
        )
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="slots")
        self._clock = _ServerClock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._disconnect)
        await asyncio.to_thread(self._thread.shutdown)

    async def reserve(self, run_id: int, count: int) -> SlotBlock:
        """Reserves the run's next `count` slots. Waits while the database cannot be reached."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(self._thread, self._reserve, run_id, count)
            except SQLAlchemyError:
                await asyncio.sleep(_RETRY_SECONDS)

    async def push(self, run_id: int, departed: float, wait: float, *, slow_down: bool) -> None:
        """Moves all following slots to after `wait` seconds. `departed`: when the refused request left."""
        loop = asyncio.get_running_loop()
        with suppress(SQLAlchemyError):
            await loop.run_in_executor(self._thread, self._push, run_id, departed, wait, slow_down)

    @property
    def round_trip(self) -> float:
        """How many seconds a reservation takes at present."""
        return self._clock.round_trip

    def _reserve(self, run_id: int, count: int) -> SlotBlock:
        began = time.monotonic()
        row = self._execute(_reserve, {"of_run": run_id, "count": float(count)}).one()
        end, rate, loose, server_time = row
        self._clock.measure(server_time, began, time.monotonic())
        return SlotBlock.until(self._clock.to_local(end), count, rate, loose=loose)

    def _push(self, run_id: int, departed: float, wait: float, slow_down: bool) -> None:
        values = {
            "of_run": run_id,
            "departed": self._clock.to_server(departed),
            "wait": wait,
            "slow_down": slow_down,
        }
        self._execute(_push, values)

    def _execute(self, statement: Any, values: dict[str, Any]) -> Any:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            return self._connection.execute(statement, values)
        except SQLAlchemyError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()


class _ServerClock:
    """Converts between the database's clock and this process's monotonic clock."""

    def __init__(self) -> None:
        self._measured: deque[tuple[float, float]] = deque()
        self.round_trip = 0.0

    def measure(self, server_time: float, began: float, ended: float) -> None:
        """Adds the server's time from an answer. The quickest answer gives the best estimate."""
        self.round_trip += 0.1 * (ended - began - self.round_trip)
        self._measured.append((ended, ended - server_time))
        while self._measured[0][0] < ended - _CLOCK_SECONDS:
            self._measured.popleft()

    def to_local(self, server_time: float) -> float:
        return server_time + self._ahead()

    def to_server(self, moment: float) -> float:
        return moment - self._ahead()

    def _ahead(self) -> float:
        return min((ahead for _, ahead in self._measured), default=time.monotonic() - time.time())


class _Slot(NamedTuple):
    """A reserved slot, and until when it can be used."""

    at: float
    until: float


class SharedPacer:
    """One process's share of a run's slots, used like `pacing.Pacer`, while its lease is valid.

    Belongs to one event loop.
    """

    def __init__(
        self, book: SlotBook, run_id: int, rate: float, lease: Lease, jitter: random.Random | None = None
    ) -> None:
        self._book = book
        self._run_id = run_id
        self._rate = rate
        self._lease = lease
        # Spreads retries out; nothing secret depends on it.
        self._jitter = jitter or random.Random()  # noqa: S311
        #: Reserved and not used; used by a request that has not left.
        self._reserved: deque[_Slot] = deque()
        self._due: deque[_Slot] = deque()
        self._mode = _TIGHT
        self._block = 1
        self._used = 0
        self._reserving = asyncio.Lock()
        self._paused_until = 0.0
        self._refusals = 0
        self._pushes: set[asyncio.Task[None]] = set()

    @property
    def rate(self) -> float:
        """The present rate of the whole run."""
        return self._rate

    async def slot(self) -> float:
        """Waits until a request may be prepared and returns the event loop's time. Raises `LeaseLostError`."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._lease.valid():
                await self._wait_for_lease()
            while (wait := self._paused_until - loop.time()) > 0:  # noqa: ASYNC110 - the pause may grow meanwhile
                await asyncio.sleep(wait)
            slot = await self._next_slot()
            moment = loop.time()
            if (wait := slot.at - _LEAD_SECONDS - self._book.round_trip - moment) > 0:
                await asyncio.sleep(wait)
                moment = loop.time()
            if self._paused_until <= moment:
                self._due.append(slot)
                return moment

    async def departure(self) -> None:
        """Waits until a request may leave. Requeues the request instead where that would take long.

        Raises `LeaseLostError`.
        """
        loop = asyncio.get_running_loop()
        while True:
            moment = loop.time()
            _drop_missed(self._due, moment)
            if self._due:
                slot = self._due.popleft()
            else:
                slot = await self._next_slot()
                moment = loop.time()
            wait = slot.at - moment
            if wait > _MAX_HOLD_SECONDS:
                self._reserved.appendleft(slot)
                await _requeue_request()
            if wait > 0:
                await asyncio.sleep(wait)
                moment = loop.time()
            if self._paused_until <= moment <= slot.until:
                break
        if not self._lease.valid():
            self._lease.check()
            await _requeue_request()

    def back_off(
        self, departed: float, retry_after: float | None, *, slow_down: bool, reason: str
    ) -> Pause | None:
        """As `pacing.Pacer.back_off`; the run's other processes wait too."""
        moment = asyncio.get_running_loop().time()
        if departed >= self._paused_until:
            self._refusals += 1
        wait = retry_after if retry_after is not None else backoff(self._refusals, self._jitter)
        if moment + wait <= self._paused_until or (departed < self._paused_until and retry_after is None):
            return None
        self._paused_until = moment + wait
        self._reserved.clear()
        self._due.clear()
        push = asyncio.create_task(self._book.push(self._run_id, departed, wait, slow_down=slow_down))
        self._pushes.add(push)
        push.add_done_callback(self._pushes.discard)
        return Pause(wait, reason)

    def reset_backoff(self) -> None:
        """As `pacing.Pacer.reset_backoff`."""
        self._refusals = 0

    async def _wait_for_lease(self) -> None:
        while not self._lease.valid():
            self._lease.check()
            await asyncio.sleep(_LEASE_CHECK_SECONDS)

    async def _next_slot(self) -> _Slot:
        loop = asyncio.get_running_loop()
        while True:
            _drop_missed(self._reserved, loop.time())
            if self._reserved:
                self._used += 1
                return self._reserved.popleft()
            # Many requests whose slots were missed share one reservation.
            async with self._reserving:
                if not self._reserved:
                    await self._reserve()

    async def _reserve(self) -> None:
        # A process that used its whole block gets a larger one. Unused slots are lost for the other processes.
        most = max(1, round(self._rate * self._mode.pace * self._mode.block))
        self._block = min(most, self._block * 5 // 4 + 1 if self._used >= self._block else max(1, self._used))
        self._used = 0
        block = await self._book.reserve(self._run_id, self._block)
        self._rate, self._mode = block.rate, block.mode
        self._reserved.extend(_Slot(at, at + block.mode.lasts) for at in block.slots)


async def _requeue_request() -> NoReturn:
    """Cancels the current task, so that its request, which has not left, goes back into the queue."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - requests leave from tasks
    task.cancel()
    await asyncio.sleep(0)
    raise asyncio.CancelledError


def _drop_missed(slots: deque[_Slot], moment: float) -> None:
    while slots and slots[0].until < moment:
        slots.popleft()
