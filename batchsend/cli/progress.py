"""Progress of a run on standard error: a live bar on a terminal, a line every ten seconds elsewhere.

An event changes a few numbers and nothing else. Drawing and writing keep to a fixed beat.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

import click

from batchsend.sending.outbox import Outcome
from batchsend.sending.pacing import Pause
from batchsend.sending.sender import Event, OtherOutcomes
from batchsend.statuses import Status
from batchsend.utils.wording import duration

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between two lines where there is no terminal.
LINE_EVERY = 10.0
#: Seconds between two updates of the bar.
_BEAT = 0.2
#: Seconds over which the rate is averaged, and the seconds counted in one bucket.
_RATE_WINDOW, _BUCKET = 5.0, 0.5
#: Seconds before the first rate is shown.
_FIRST_RATE = 1.0

_WORDS = {
    Status.ACCEPTED: "accepted",
    Status.FAILED: "failed",
    Status.UNCONFIRMED: "unconfirmed",
    Status.SKIPPED: "skipped",
}

Clock = Callable[[], float]


class RateWindow:
    """Events per second over the last few seconds.

    A ring of buckets counts the events, so memory and work per event do not grow with their number. The averaged
    time is `seconds`, and up to one bucket more. `rate` only reads, so that another thread may call it.
    Times are seconds on a clock that never goes back.
    """

    def __init__(self, began: float, seconds: float = _RATE_WINDOW, bucket: float = _BUCKET) -> None:
        self._began = began
        self._bucket = bucket
        self._buckets = [0] * (round(seconds / bucket) + 1)
        self._newest = 0

    def add(self, count: int, now: float) -> None:
        """Counts `count` events at `now`."""
        number = self._number(now)
        if number > self._newest:
            for passed in range(max(self._newest + 1, self._oldest(number)), number + 1):
                self._buckets[passed % len(self._buckets)] = 0
            self._newest = number
        self._buckets[number % len(self._buckets)] += count

    def rate(self, now: float) -> float | None:
        """Events per second, or `None` while there are too few events or too little time to tell."""
        oldest, size = self._oldest(self._number(now)), len(self._buckets)
        span = now - self._began - oldest * self._bucket
        events = sum(self._buckets[number % size] for number in range(oldest, self._newest + 1))
        return events / span if events > 1 and span >= _FIRST_RATE else None

    def _number(self, now: float) -> int:
        return int((now - self._began) / self._bucket)

    def _oldest(self, newest: int) -> int:
        return max(0, newest - len(self._buckets) + 1)


class OutcomeCounts:
    """The outcomes so far."""

    def __init__(self, began: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.done = 0
        self._window = RateWindow(began)

    def add(self, event: Outcome | OtherOutcomes, now: float) -> None:
        """Counts an event in constant time."""
        if isinstance(event, Outcome):
            count = 1
            self.statuses[event.status] += 1
        else:
            count = sum(event.outcomes.values())
            self.statuses.update(event.outcomes)
        self.done += count
        self._window.add(count, now)

    def sentence(self) -> str:
        """`1,200 accepted, 3 failed`; empty before the first outcome."""
        return ", ".join(
            f"{self.statuses[status]:,} {word}" for status, word in _WORDS.items() if self.statuses[status]
        )

    def rate(self, now: float) -> str:
        """`12.3/s`, or nothing while the rate is unknown."""
        rate = self._window.rate(now)
        return "" if rate is None else f"{rate:.1f}/s"


class ProgressBar:
    """A bar on a terminal. `listen` only counts; `draw` brings the screen up to date."""

    def __init__(self, total: int, console: Console, clock: Clock = time.monotonic) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._clock = clock
        self._counts = OutcomeCounts(clock())
        self._pause = ""
        columns = (
            TextColumn("  sending"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>8}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}"),
        )
        self._screen = Progress(*columns, console=console, auto_refresh=False, get_time=clock)
        self._task = self._screen.add_task("send", total=total, rate="", message="")

    def open(self) -> None:
        self._screen.start()

    def listen(self, event: Event) -> None:
        if isinstance(event, Pause):
            self._pause = f"waiting {duration(event.seconds)}: {event.reason}"
        else:
            self._pause = ""
            self._counts.add(event, self._clock())

    def draw(self) -> None:
        self._update()
        self._screen.refresh()

    def close(self) -> None:
        """Draws the final state, which stays on the screen."""
        self._update()
        self._screen.stop()

    def _update(self) -> None:
        counts = self._counts
        self._screen.update(
            self._task,
            completed=counts.done,
            rate=counts.rate(self._clock()),
            message=self._pause or counts.sentence(),
        )


@contextmanager
def bar(total: int, console: Console | None = None) -> Iterator[Callable[[Event], None]]:
    """A live bar on standard error. Gives the listener that moves it."""
    from rich.console import Console

    shown = ProgressBar(total, console or Console(stderr=True))
    ended = Flag()

    def draw_until_the_end() -> None:
        while not ended.wait(_BEAT):
            shown.draw()

    # A thread, so that neither a slow terminal nor the drawing itself holds up the requests.
    drawing = Thread(target=draw_until_the_end, name="progress", daemon=True)
    shown.open()
    drawing.start()
    try:
        yield shown.listen
    finally:
        ended.set()
        drawing.join()
        shown.close()


@contextmanager
def lines(
    total: int, say: Callable[[str], None] | None = None, clock: Clock = time.monotonic
) -> Iterator[Callable[[Event], None]]:
    """A line every ten seconds and one for each pause. Gives the listener that writes them."""
    write = say or partial(click.echo, err=True)
    counts = OutcomeCounts(clock())
    last = clock()

    def listen(event: Event) -> None:
        nonlocal last
        if isinstance(event, Pause):
            write(f"waiting {duration(event.seconds)}: {event.reason}")
            return
        now = clock()
        counts.add(event, now)
        if now - last >= LINE_EVERY:
            last = now
            rate = counts.rate(now)
            write(f"{counts.done:,} of {total:,} ({counts.sentence()})" + (f", {rate}" if rate else ""))

    yield listen
