"""Pacing of one run in one process: the rate limit, and the back-off that all requests wait for."""

from __future__ import annotations

import asyncio
import math
import random
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

#: After an answer that asks to slow down, the rate is multiplied by this, ...
SLOW_DOWN = 0.5
#: ... but never below this share of the configured rate.
SLOWEST_SHARE = 0.05
#: It recovers by this share of the configured rate ...
RECOVERY_SHARE = 0.1
#: ... after each of these periods without another such answer, in seconds.
RECOVERY_SECONDS = 5.0
#: A wake-up of the event loop that is this late does not lose a slot.
_LATE_SECONDS = 0.01
#: The share of the rate that is really used.
_PACE = 0.985
#: Rows are claimed this many seconds ahead of their slots, so that commits do not use up slots.
_CLAIM_AHEAD_SECONDS = 0.2
#: Where slots are far apart, no row is claimed longer than this before its slot: a kill would make it `unconfirmed`.
NEAR_SECONDS = 1.0
#: Exponential back-off with full jitter: the longest wait doubles from the first to the second of these, in seconds.
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0


def bucket(rate: float) -> AsyncLimiter:
    """A leaky bucket: at most `ceil(rate * w) + 1` requests get through in any window of w >= 1 seconds.

    A bucket for `rate` requests in one second would let twice the rate through in its first second. This one holds
    one request and those of ten milliseconds, so that a late wake-up loses nothing. It leaks a little slower than
    `rate` to make up for that and for the time between a slot and its request.
    """
    capacity = 1 + rate * _LATE_SECONDS
    return AsyncLimiter(capacity, capacity / (rate * _PACE))


def rows_ahead(rate: float) -> int:
    """How many rows to claim ahead of their slots."""
    return max(1, math.ceil(rate * _CLAIM_AHEAD_SECONDS))


def backoff(refusals: int, jitter: random.Random) -> float:
    """The seconds to wait after so many refusals in a row."""
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (refusals - 1))
    return jitter.uniform(0, longest)


@dataclass(frozen=True)
class Pause:
    """All requests wait for so many seconds, because of `reason` (words for people)."""

    seconds: float
    reason: str


class Pacing(ABC):
    """Says when the next request may leave: `Pacer`, or `cluster.pacing.SharedPacer` for several processes.

    With a slot, a request may be prepared. Opening its connection takes some time or none, so slots far apart can
    lead to requests close together. `departure` therefore keeps the limit when the request leaves. `rate` is in
    requests a second. Belongs to one event loop.
    """

    def __init__(self, rate: float, jitter: random.Random | None = None) -> None:
        self.configured_rate = rate
        self._rate = rate
        # Spreads retries out; nothing secret depends on it.
        self._jitter = jitter or random.Random()  # noqa: S311
        self._paused_until = 0.0
        self._refusals = 0

    @property
    def rate(self) -> float:
        """The present rate: the configured one, or less after an answer that asked to slow down."""
        return self._rate

    @property
    def is_slow(self) -> bool:
        """Whether slots are so far apart that the next one is not near."""
        return self._rate * NEAR_SECONDS < 1

    @abstractmethod
    async def until_slot(self) -> float:
        """The seconds until the next slot; 0 or less where that is not known and it is near."""

    @abstractmethod
    async def slot(self) -> float:
        """Waits for a slot and returns its time (the event loop's)."""

    @abstractmethod
    async def departure(self) -> None:
        """Waits until a request may leave: in any window of w >= 1 s `ceil(rate * w) + 1` of them at most."""

    def back_off(
        self, departed: float, retry_after: float | None, *, slow_down: bool, reason: str
    ) -> Pause | None:
        """Makes all requests wait, because one was certainly not taken.

        `departed` is when it left: of many that were in flight together, only the first one counts. `retry_after` is
        what the server asked for, in seconds. `slow_down`: it refused the rate. Returns the pause that begins now, or
        `None` during a longer one.
        """
        time = asyncio.get_running_loop().time()
        first = departed >= self._paused_until
        if first:
            self._refusals += 1
        wait = retry_after if retry_after is not None else backoff(self._refusals, self._jitter)
        if time + wait <= self._paused_until or (not first and retry_after is None):
            return None
        self._paused_until = time + wait
        self._pause(departed, slow_down=slow_down and first)
        return Pause(wait, reason)

    @abstractmethod
    def _pause(self, departed: float, *, slow_down: bool) -> None:
        """Notes that a pause until `_paused_until` began, because of a request that left at `departed`."""

    def reset_backoff(self) -> None:
        """Makes the next refusal begin with the shortest back-off, because a request got a final answer."""
        self._refusals = 0

    async def _pause_over(self) -> None:
        loop = asyncio.get_running_loop()
        # The pause may have grown in the meantime.
        while (wait := self._paused_until - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)


class Pacer(Pacing):
    """Gives slots to the requests of one run that one process sends. `first_in`: seconds until the first slot."""

    def __init__(self, rate: float, jitter: random.Random | None = None, *, first_in: float = 0.0) -> None:
        super().__init__(rate, jitter)
        if first_in > 0:
            self._paused_until = asyncio.get_running_loop().time() + first_in
        self._bucket = bucket(rate)
        self._departures = bucket(rate)
        self._slowed_at = 0.0
        self._next_at = 0.0

    async def until_slot(self) -> float:
        return max(self._paused_until, self._next_at) - asyncio.get_running_loop().time()

    async def slot(self) -> float:
        loop = asyncio.get_running_loop()
        while True:
            await self._pause_over()
            self._recover(loop.time())
            await self._bucket.acquire()
            self._next_at = loop.time() + 1 / (self._rate * _PACE)
            if self._paused_until <= loop.time():
                return loop.time()

    async def departure(self) -> None:
        await self._departures.acquire()

    def _pause(self, _departed: float, *, slow_down: bool) -> None:
        self._slowed_at = max(self._slowed_at, self._paused_until)
        if slow_down:
            self._change_rate(max(self.configured_rate * SLOWEST_SHARE, self._rate * SLOW_DOWN))

    def _recover(self, time: float) -> None:
        if self._rate >= self.configured_rate or time - self._slowed_at < RECOVERY_SECONDS:
            return
        self._slowed_at = time
        step = self.configured_rate * RECOVERY_SHARE
        self._change_rate(min(self.configured_rate, self._rate + step))

    def _change_rate(self, rate: float) -> None:
        self._rate = rate
        self._bucket = _full(bucket(rate))


def _full(limiter: AsyncLimiter) -> AsyncLimiter:
    """Fills a bucket, because a change of the rate must not allow a burst."""
    # `acquire` does not wait while the bucket has room, so the coroutine ends at its first step.
    filling = limiter.acquire(limiter.max_rate)
    with suppress(StopIteration):
        filling.send(None)
    return limiter
