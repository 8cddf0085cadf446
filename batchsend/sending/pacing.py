"""When may the next request leave? The rate limit of one run, and the one pause for everybody."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

#: After a refusal that asks to slow down, the rate is multiplied by this, ...
SLOW_DOWN = 0.5
#: ... but never below this share of the configured rate, ...
SLOWEST_SHARE = 0.05
#: ... and it recovers by this share of the configured rate ...
RECOVERY_SHARE = 0.1
#: ... for every so many seconds without another such refusal.
RECOVERY_SECONDS = 5.0
#: A wake-up of the event loop that comes this late does not cost a slot.
_LATE_SECONDS = 0.01
#: The share of the rate that is really used.
_PACE = 0.985
#: Exponential back-off with full jitter: the longest wait doubles from the first to the last of these seconds.
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0


def bucket(rate: float) -> AsyncLimiter:
    """A leaky bucket: at most `ceil(rate * w) + 1` requests get through in any window of w >= 1 seconds.

    A bucket of `rate` in one second would let twice the rate through in its first second. This one holds one
    request and what comes due in ten milliseconds, so that a late wake-up loses nothing, and it leaks a little
    slower than `rate`, which pays for that and for the moment between a slot and its request.
    """
    capacity = 1 + rate * _LATE_SECONDS
    return AsyncLimiter(capacity, capacity / (rate * _PACE))


def backoff(refusals: int, jitter: random.Random) -> float:
    """How many seconds to wait after so many refusals in a row."""
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (refusals - 1))
    return jitter.uniform(0, longest)


@dataclass(frozen=True)
class Pause:
    """Everybody waits for so many seconds, because of `reason` (a sentence for people)."""

    seconds: float
    reason: str


class Pacer:
    """Hands out the slots of one run: at the run's rate, and not while everybody waits.

    A slot says that a request may be prepared. Opening its connection takes some time or none, so slots well
    apart can end in requests close together: `departure` is what keeps the limit, at the moment of leaving.
    `rate` is in requests a second. Belongs to one event loop.
    """

    def __init__(self, rate: float, jitter: random.Random | None = None) -> None:
        self.configured_rate = rate
        self._rate = rate
        self._bucket = bucket(rate)
        self._departures = bucket(rate)
        # Spreads retries out; nothing secret depends on it.
        self._jitter = jitter or random.Random()  # noqa: S311
        self._paused_until = 0.0
        self._refusals = 0
        self._slowed_at = 0.0

    @property
    def rate(self) -> float:
        """The present rate: the configured one, or less after being told to slow down."""
        return self._rate

    async def slot(self) -> float:
        """Waits for a slot and returns when it was given (the event loop's time)."""
        loop = asyncio.get_running_loop()
        while True:
            # The pause may have grown in the meantime.
            while (wait := self._paused_until - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(wait)
            self._recover(loop.time())
            await self._bucket.acquire()
            if self._paused_until <= loop.time():
                return loop.time()

    async def departure(self) -> None:
        """Waits until a request may leave: in any window of w >= 1 s `ceil(rate * w) + 1` of them at most."""
        await self._departures.acquire()

    def back_off(
        self, departed: float, retry_after: float | None, *, slow_down: bool, reason: str
    ) -> Pause | None:
        """A request was certainly not taken: everybody waits.

        `departed` is when it left; of the many that were on their way at once only the first one counts.
        `retry_after` is the server's own wish in seconds. `slow_down`: it was the rate that was refused.
        Returns the pause that begins now, or `None` where a longer one is already under way.
        """
        time = asyncio.get_running_loop().time()
        if departed >= self._paused_until:
            self._refusals += 1
            if slow_down:
                self._slow_down(time)
        wait = retry_after if retry_after is not None else backoff(self._refusals, self._jitter)
        if time + wait <= self._paused_until or (departed < self._paused_until and retry_after is None):
            return None
        self._paused_until = time + wait
        self._slowed_at = max(self._slowed_at, self._paused_until)
        return Pause(wait, reason)

    def reset_backoff(self) -> None:
        """A request was answered for good: the next refusal begins with the shortest back-off again."""
        self._refusals = 0

    def _slow_down(self, time: float) -> None:
        slowest = self.configured_rate * SLOWEST_SHARE
        self._slowed_at = time
        self._change_rate(max(slowest, self._rate * SLOW_DOWN))

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
    """A bucket with no room left: a change of rate must not begin with a burst of its own."""
    # `acquire` with room left returns without waiting, so the coroutine ends at its first step.
    filling = limiter.acquire(limiter.max_rate)
    with suppress(StopIteration):
        filling.send(None)
    return limiter
