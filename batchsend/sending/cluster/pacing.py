"""Pacing of one run in several processes on several hosts: one rate limit for all of them.

The database has a row for each run with the time of its next slot. A process reserves some slots together and uses
them by its own clock. A missed slot is lost: the process reserves another one.

A window of w >= 1 s has at most `pace * rate * (w + lasts + 0.01) + 1` departures: a slot can be used for `lasts`
seconds, and hosts' estimates of the server's clock may differ by 0.01 s. `pace` makes that at most `rate * w + 1`.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Double, bindparam, case, func, update

from batchsend.errors import LedgerError
from batchsend.ledger.cluster_schema import paces, seconds_of
from batchsend.ledger.database_errors import retry
from batchsend.ledger.leases import Lease
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import KeptConnection
from batchsend.sending.pacing import RECOVERY_SECONDS, RECOVERY_SHARE, SLOW_DOWN, SLOWEST_SHARE, Pacing

#: How long a slot can be used. The faster a run may be, the less likely its rate is the bound, and the longer its
#: slots last, so that fewer reservations are needed.
_SHORTEST_SECONDS, _LONGEST_SECONDS, _LONGEST_FROM_RATE = 0.02, 0.25, 10_000
#: How far hosts' estimates of the server's clock may differ.
_CLOCKS_DIFFER_SECONDS = 0.01
#: How many seconds of the run one statement reserves at most: some round trips, so that a distant database is asked
#: rarely enough.
_BLOCK_SECONDS, _BLOCK_ROUND_TRIPS, _LONGEST_BLOCK_SECONDS = 0.05, 4, 1.0
#: How long before its slot a request is prepared.
_LEAD_SECONDS = 0.02
#: Requeue requests that would hold a connection longer than this.
_MAX_HOLD_SECONDS = 1.0
#: How often to check whether an expired lease was renewed.
_LEASE_CHECK_SECONDS = 0.05

# When the statement arrived, also where it had to wait for the row.
_now = seconds_of(func.statement_timestamp())
_this_run = paces.c.run_id == bindparam("of_run")
_recovers = (paces.c.rate < paces.c.configured_rate) & (_now - paces.c.slowed_at >= RECOVERY_SECONDS)
_more = func.least(paces.c.configured_rate, paces.c.rate + RECOVERY_SHARE * paces.c.configured_rate)
_rate = case((_recovers, _more), else_=paces.c.rate)
_reserve = (
    update(paces)
    .where(_this_run)
    .values(
        # A slot must not be over before the answer has come.
        next_slot=func.greatest(paces.c.next_slot, _now + bindparam("ahead", type_=Double))
        + bindparam("count", type_=Double) / (_rate * bindparam("share", type_=Double)),
        rate=_rate,
        slowed_at=case((_recovers, _now), else_=paces.c.slowed_at),
    )
    .returning(paces.c.next_slot, paces.c.rate, _now)
)
_until = _now + bindparam("wait", type_=Double)
#: Of many requests in flight together in any of the processes, only the first refused one slows down.
_first = _now - bindparam("left_ago", type_=Double) >= paces.c.paused_until
_slower = func.greatest(paces.c.configured_rate * SLOWEST_SHARE, paces.c.rate * SLOW_DOWN)
_push = (
    update(paces)
    .where(_this_run)
    .values(
        rate=case((bindparam("slow_down", type_=Boolean) & _first, _slower), else_=paces.c.rate),
        **{name: func.greatest(paces.c[name], _until) for name in ("slowed_at", "paused_until", "next_slot")},
    )
)


def lasts(rate: float) -> float:
    """For how many seconds a slot of a run with this configured rate can be used."""
    return min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, _LONGEST_SECONDS * rate / _LONGEST_FROM_RATE))


def pace(rate: float) -> float:
    """The share of the rate that is used, because slots can be used late."""
    return 1 / (1 + lasts(rate) + _CLOCKS_DIFFER_SECONDS)


class SlotBlock(NamedTuple):
    """Slots, as times of this process's monotonic clock, and the run's present rate a second."""

    slots: list[float]
    rate: float


class SlotBook:
    """Reserves slots for all runs of this process, over one connection of its own. Belongs to one event loop.

    `round_trip`: how many seconds a reservation takes at present.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._connection = KeptConnection(ledger)
        self._using = threading.Lock()
        self._closed = False
        #: How far this process's monotonic clock is ahead of the server's.
        self._ahead = -math.inf
        self.round_trip = 0.0

    def close(self) -> None:
        self._closed = True
        with self._using:
            self._connection.close()

    async def reserve(self, run_id: int, count: int, share: float, ahead: float = 0.0) -> SlotBlock:
        """Reserves the run's next `count` slots from `ahead` seconds on, at this share of its rate.

        Raises `LedgerError` as `retry` does.
        """
        reserving = partial(self._reserve, run_id, count, share, ahead)
        return await asyncio.to_thread(retry, reserving, lambda: self._closed)

    def push(self, run_id: int, departed: float, wait: float, *, slow_down: bool) -> asyncio.Future[None]:
        """Moves all following slots to after `wait` seconds. `departed`: when the refused request left."""
        left_ago = time.monotonic() - departed
        values = {"of_run": run_id, "left_ago": left_ago, "wait": wait, "slow_down": slow_down}
        return asyncio.get_running_loop().run_in_executor(None, self._push, values)

    def _reserve(self, run_id: int, count: int, share: float, ahead: float) -> SlotBlock:
        with self._using:
            began = time.monotonic()
            values = {"of_run": run_id, "count": count, "share": share, "ahead": ahead}
            [(end, rate, arrived)] = self._connection.execute(_reserve, values)
            ended = time.monotonic()
            self.round_trip += (0.3 if self.round_trip else 1.0) * (ended - began - self.round_trip)
            # The statement arrived in the meantime, however long its way or its answer's way was.
            self._ahead = max(began - arrived, min(self._ahead, ended - arrived))
            last = end + self._ahead
            return SlotBlock([last - number / (rate * share) for number in range(count, 0, -1)], rate)

    def _push(self, values: dict[str, Any]) -> None:
        # If the database cannot be reached, only this process pauses.
        with self._using, suppress(LedgerError):
            self._connection.execute(_push, values)


class SharedPacer(Pacing):
    """Gives one process's requests their share of a run's slots, while its lease is valid."""

    def __init__(
        self, book: SlotBook, run_id: int, rate: float, lease: Lease, jitter: random.Random | None = None
    ) -> None:
        super().__init__(rate, jitter)
        self._book = book
        self._run_id = run_id
        self._lease = lease
        self._lasts = lasts(rate)
        self._pace = pace(rate)
        #: Reserved and not used; used by a request that has not left.
        self._reserved: deque[float] = deque()
        self._due: deque[float] = deque()
        self._block = 1
        self._used = 0
        self._reserving = asyncio.Lock()

    async def until_slot(self) -> float:
        """As `Pacing.until_slot`. Raises as `slot` does."""
        loop = asyncio.get_running_loop()
        if not self.is_slow:
            return self._paused_until - loop.time()
        slot = await self._next_slot()
        self._reserved.appendleft(slot)
        return max(self._paused_until, slot) - loop.time()

    async def slot(self) -> float:
        """As `Pacing.slot`. Raises `LeaseLostError`, and `LedgerError` where no slot can be reserved."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._lease.valid():  # noqa: ASYNC110 - its thread renews it
                await asyncio.sleep(_LEASE_CHECK_SECONDS)
            await self._pause_over()
            slot = await self._next_slot()
            if (wait := slot - _LEAD_SECONDS - self._book.round_trip - loop.time()) > 0:
                await asyncio.sleep(wait)
            if self._paused_until <= (moment := loop.time()):
                self._due.append(slot)
                return moment

    async def departure(self) -> None:
        """As `Pacing.departure`. Raises as `slot` does.

        Cancels the request where that would take long: it has not left and goes back into the queue.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._drop_missed(self._due)
            slot = self._due.popleft() if self._due else await self._next_slot()
            if (wait := slot - loop.time()) > _MAX_HOLD_SECONDS:
                self._reserved.appendleft(slot)
                raise asyncio.CancelledError
            if wait > 0:
                await asyncio.sleep(wait)
            if self._paused_until <= loop.time() <= slot + self._lasts:
                break
        if not self._lease.valid():
            raise asyncio.CancelledError

    def _pause(self, departed: float, *, slow_down: bool) -> None:
        """The run's other processes wait too."""
        self._reserved.clear()
        self._due.clear()
        wait = self._paused_until - asyncio.get_running_loop().time()
        self._book.push(self._run_id, departed, wait, slow_down=slow_down)

    async def _next_slot(self) -> float:
        while True:
            self._drop_missed(self._reserved)
            if self._reserved:
                self._used += 1
                return self._reserved.popleft()
            # Many requests whose slots were missed share one reservation.
            async with self._reserving:
                if not self._reserved:
                    await self._reserve()

    def _drop_missed(self, slots: deque[float]) -> None:
        moment = asyncio.get_running_loop().time()
        while slots and slots[0] + self._lasts < moment:
            slots.popleft()

    async def _reserve(self) -> None:
        ahead = self._book.round_trip
        if self._used < self._block:
            # Unused slots are lost for the other processes.
            self._block = max(1, self._used)
        else:
            seconds = min(max(_BLOCK_SECONDS, _BLOCK_ROUND_TRIPS * ahead), _LONGEST_BLOCK_SECONDS)
            most = round(self._rate * self._pace * seconds)
            self._block = max(1, min(most, self._block * 3 // 2 + 1))
        self._used = 0
        slots, self._rate = await self._book.reserve(self._run_id, self._block, self._pace, ahead)
        self._reserved.extend(slots)
