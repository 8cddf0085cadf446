"""A run as it goes: counts, rate, time left. The ledger is read once a second at most, however many people watch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.reports.pages.charts import Share, shares
from batchsend.statuses import IN_FLIGHT, Tally
from batchsend.utils.wording import duration
from batchsend.web.folder import WebFolder
from batchsend.web.queries import Watch, known, tried, waiting_to_leave

#: Seconds between two looks; longer where a look takes long, so that watching never costs more than a tenth.
_EVERY = 1.0
_SHARE = 10.0
#: Seconds over which the rate is taken.
_SPAN = 6.0
_MOST_RUNS = 50


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one moment. `rate`: texts a second of late; `left`: in words; `tried` of those that could leave."""

    counts: Mapping[str, int]
    tally: Tally
    bar: list[Share]
    sending: bool
    tried: int
    to_leave: int
    in_flight: int
    rate: float
    left: str


@dataclass
class _Looked:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshot: RunSnapshot | None = None
    next_at: float = 0.0
    tried: deque[tuple[float, int]] = field(default_factory=deque)


class Snapshots:
    """The latest look at each run."""

    def __init__(self) -> None:
        self._looked: dict[tuple[str, int], _Looked] = {}

    async def of(self, places: WebFolder, watch: Watch, campaign: Campaign, number: int) -> RunSnapshot:
        """A run as it is now, or was a moment ago. Raises `BatchsendError`."""
        looked = self._of(campaign, number)
        async with looked.lock:
            if looked.snapshot is None or time.monotonic() >= looked.next_at:
                began = time.monotonic()
                looked.snapshot = await asyncio.to_thread(
                    _look, places, watch, campaign, number, looked.tried
                )
                took = time.monotonic() - began
                looked.next_at = time.monotonic() + max(_EVERY * 0.8, took * _SHARE)
            return looked.snapshot

    async def now(self, places: WebFolder, watch: Watch, campaign: Campaign, number: int) -> RunSnapshot:
        """A run as it is now: who loads its page sees whatever was done before."""
        looked = self._of(campaign, number)
        async with looked.lock:
            looked.snapshot = None
        return await self.of(places, watch, campaign, number)

    def _of(self, campaign: Campaign, number: int) -> _Looked:
        key = (str(campaign.path), number)
        while len(self._looked) > _MOST_RUNS:
            del self._looked[next(iter(self._looked))]
        return self._looked.setdefault(key, _Looked())


def _look(
    places: WebFolder, watch: Watch, campaign: Campaign, number: int, before: deque[tuple[float, int]]
) -> RunSnapshot:
    with known(places, campaign) as found:
        run = found.run(number)
        # Asked first: what it sends until the counts are read is counted then.
        sending = watch.is_sending(found, run)
        counts = found.ledger.counts(number)
        to_leave = waiting_to_leave(found.ledger, number)
    done = tried(counts)
    rate = _rate(before, done) if sending else 0.0
    in_flight = counts.get(IN_FLIGHT, 0)
    left = f"{duration(to_leave / rate)} left" if rate > 0 and to_leave else ""
    tally = Tally.of(counts)
    if sending:
        # What is on its way needs nobody yet.
        tally = Tally(
            tally.rows, tally.taken, tally.left_out, tally.needs_you - in_flight, tally.waits + in_flight
        )
    return RunSnapshot(counts, tally, bar_of(tally), sending, done, to_leave, in_flight, rate, left)


def _rate(before: deque[tuple[float, int]], done: int) -> float:
    now = time.monotonic()
    before.append((now, done))
    while before[0][0] < now - _SPAN:
        before.popleft()
    first, had = before[0]
    return (done - had) / (now - first) if now - first >= _EVERY / 2 else 0.0


SNAPSHOTS = web.AppKey("snapshots", Snapshots)


def bar_of(tally: Tally) -> list[Share]:
    """How the rows of a run divide, in words that hold while it is being sent, too."""
    return shares(
        ("ready", "accepted by myKaarma", tally.taken),
        ("out", "skipped", tally.left_out),
        ("look", "need attention", tally.needs_you),
        ("wait", "waiting", tally.waits),
    )
