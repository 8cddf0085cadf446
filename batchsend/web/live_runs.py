"""The progress of a run: counts, rate and time left.

The ledger is read once a second at most, however many people watch.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from batchsend.ledger.dismissals import Dismissal, dismissals_of
from batchsend.ledger.runs import CodeCount, code_counts
from batchsend.reports.pages.charts import Share, shares, shares_of_all
from batchsend.reports.run_results import STATUS_WORDS
from batchsend.statuses import IN_FLIGHT, Code, Status, Tally
from batchsend.utils.wording import duration
from batchsend.web.queries import ActiveRuns, RunRef, existing_ledger, tried
from batchsend.web.run_state import RunState, read_state

#: Seconds between two reads of the ledger.
_EVERY = 1.0
#: How many times as long as a read the pause after it lasts, so that watching slows sending by 5% at most.
_PAUSE_PER_READ = 20.0
#: Seconds over which the rate is measured.
_SPAN = 6.0
_MOST_RUNS = 50
#: What an outcome is called on the page of a run.
OUTCOME_WORDS: Mapping[str, str] = {
    IN_FLIGHT: "Being sent now",
    **{status: words[0].upper() + words[1:] for status, words in STATUS_WORDS.items()},
}
#: The outcomes in the order of the chart, with their colors.
_OUTCOMES: Mapping[str, str] = {
    Status.DELIVERED: "ready",
    Status.ACCEPTED: "ready",
    Status.UNDELIVERED: "attention",
    Status.FAILED: "attention",
    Status.UNCONFIRMED: "attention",
    Status.INVALID: "attention",
    Status.SKIPPED: "out",
    IN_FLIGHT: "wait",
    Status.PENDING: "wait",
}


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one moment.

    `sending`: a process sends it. `chart`: its rows by outcome; `codes`: its rows by status and codes; `dismissals`:
    those of its rows. `tried`: texts for which a request was made;
    `to_send`: texts that wait for their turn. `rate`: texts a second in the last seconds. `left`: the time left, in
    words.
    """

    state: RunState
    tally: Tally
    chart: list[Share]
    codes: Sequence[CodeCount]
    dismissals: Sequence[Dismissal]
    sending: bool
    tried: int
    to_send: int
    in_flight: int
    rate: float
    left: str

    @property
    def dismissed(self) -> int:
        return sum(one.rows for one in self.dismissals)

    @property
    def attention(self) -> int:
        """How many rows need attention and were not dismissed."""
        return self.tally.needs_you - self.dismissed

    @property
    def given_up(self) -> int:
        """How many rows were given up."""
        return sum(one.rows for one in self.codes if one.codes == Code.CLOSED)


@dataclass
class _Cached:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshot: RunSnapshot | None = None
    next_at: float = 0.0
    tried: deque[tuple[float, int]] = field(default_factory=deque)


class Snapshots:
    """The latest snapshot of each run that is watched."""

    def __init__(self, active: ActiveRuns) -> None:
        self._active = active
        self._cached: dict[tuple[str, int], _Cached] = {}

    async def recent(self, run: RunRef) -> RunSnapshot:
        """Returns a snapshot that may be a moment old. Raises `BatchsendError`."""
        cached = self._of(run)
        async with cached.lock:
            if cached.snapshot is None or time.monotonic() >= cached.next_at:
                began = time.monotonic()
                cached.snapshot = await asyncio.to_thread(_read, run, self._active, cached.tried)
                took = time.monotonic() - began
                cached.next_at = time.monotonic() + max(_EVERY * 0.8, took * _PAUSE_PER_READ)
            return cached.snapshot

    async def now(self, run: RunRef) -> RunSnapshot:
        """Returns a new snapshot, for a page that is loaded after a change. Raises `BatchsendError`."""
        cached = self._of(run)
        async with cached.lock:
            cached.snapshot = None
        return await self.recent(run)

    def _of(self, run: RunRef) -> _Cached:
        key = (str(run.campaign.path), run.number)
        while len(self._cached) > _MOST_RUNS:
            del self._cached[next(iter(self._cached))]
        return self._cached.setdefault(key, _Cached())


def _read(run: RunRef, active: ActiveRuns, before: deque[tuple[float, int]]) -> RunSnapshot:
    with existing_ledger(run.folder, run.campaign) as found:
        # Before the counts: they then include the last texts of a run that ends in between.
        sending = active.is_sending(found, found.run(run.number))
        codes = code_counts(found.ledger, run.number)
        counts = by_status(codes)
        to_send = sendable(codes)
        dismissals = dismissals_of(found.ledger, [run.number])
        record, waits = found.run(run.number), counts[Status.PENDING]
        state = read_state(found.ledger, record, waits, to_send, sending=sending)
    done = tried(counts)
    rate = _rate(before, done) if sending else 0.0
    in_flight = counts.get(IN_FLIGHT, 0)
    left = f"{duration(to_send / rate)} left" if rate > 0 and to_send else ""
    tally = Tally.of(counts, sending=sending)
    chart = chart_of(counts, sending=sending)
    return RunSnapshot(state, tally, chart, codes, dismissals, sending, done, to_send, in_flight, rate, left)


def by_status(codes: Sequence[CodeCount]) -> Counter[str]:
    """Status -> rows."""
    counts: Counter[str] = Counter()
    for status, _, rows in codes:
        counts[status] += rows
    return counts


def _rate(before: deque[tuple[float, int]], done: int) -> float:
    now = time.monotonic()
    before.append((now, done))
    while before[0][0] < now - _SPAN:
        before.popleft()
    first_at, first_done = before[0]
    return (done - first_done) / (now - first_at) if now - first_at >= _EVERY / 2 else 0.0


SNAPSHOTS = web.AppKey("snapshots", Snapshots)


def sendable(codes: Sequence[CodeCount]) -> int:
    """How many texts could be sent now: they wait for nothing but their turn."""
    return sum(one.rows for one in codes if one[:2] == (Status.PENDING, Code.STOPPED))


def bar_of(tally: Tally, dismissed: int) -> list[Share]:
    """The shares of a run's rows, for the bar. The words also fit while the run is being sent."""
    return shares(
        ("ready", "accepted by myKaarma", tally.taken),
        ("out", "skipped", tally.left_out),
        ("attention", "need attention", tally.needs_you - dismissed),
        ("out", "dismissed", dismissed),
        ("wait", "waiting", tally.waits),
    )


def chart_of(counts: Mapping[str, int], *, sending: bool) -> list[Share]:
    """The rows of a run by outcome. `counts`: status -> rows. Rows in flight are `unconfirmed` after the run."""
    shown = Counter(counts)
    if not sending:
        shown[Status.UNCONFIRMED] += shown.pop(IN_FLIGHT, 0)
    return shares_of_all(
        *((kind, OUTCOME_WORDS[status], shown[status]) for status, kind in _OUTCOMES.items())
    )
