"""Progress of a run on standard error: a live bar on a terminal, a line every ten seconds elsewhere.

An event changes a few numbers and nothing else. Drawing and writing keep to a fixed beat.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

import click

from batchsend.sending.pacing import Pause
from batchsend.sending.rows import Outcome
from batchsend.sending.sender import Event, OtherOutcomes
from batchsend.statuses import Status
from batchsend.utils.wording import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

#: Seconds between two lines where there is no terminal.
LINE_EVERY = 10.0
#: Seconds between two updates of the bar.
_BEAT = 0.2
#: Seconds over which the rate is averaged.
_RATE_WINDOW = 5.0
#: Seconds before the first rate is shown.
_FIRST_RATE = 1.0

_WORDS = {
    Status.ACCEPTED: "accepted",
    Status.FAILED: "failed",
    Status.UNCONFIRMED: "unconfirmed",
    Status.SKIPPED: "skipped",
}

Clock = Callable[[], float]


class Rate:
    """Events per second over the last few seconds, from their number at each update of the display.

    So an event costs nothing here. Times are seconds on a clock that never goes back.
    """

    def __init__(self, began: float, seconds: float = _RATE_WINDOW) -> None:
        self._seconds = seconds
        self._updates = deque([(began, 0)])

    def update(self, done: int, now: float) -> float | None:
        """Returns the rate after `done` events, or `None` while there are too few or too little time to tell.

        It is averaged over `seconds`, and over up to one interval between two updates more.
        """
        self._updates.append((now, done))
        while self._updates[1][0] <= now - self._seconds:
            self._updates.popleft()
        since, before = self._updates[0]
        return (done - before) / (now - since) if done - before > 1 and now - since >= _FIRST_RATE else None


class OutcomeCounts:
    """The outcomes so far."""

    def __init__(self, began: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.done = 0
        self._rate = Rate(began)

    def add(self, event: Outcome | OtherOutcomes) -> None:
        """Counts an event in constant time."""
        if isinstance(event, Outcome):
            self.done += 1
            self.statuses[event.status] += 1
        else:
            self.done += sum(event.outcomes.values())
            self.statuses.update(event.outcomes)

    def sentence(self) -> str:
        """`1,200 accepted, 3 failed`; empty before the first outcome."""
        return ", ".join(
            f"{self.statuses[status]:,} {word}" for status, word in _WORDS.items() if self.statuses[status]
        )

    def rate(self, now: float) -> str:
        """`12.3/s`, or nothing while the rate is unknown. Call it at each update of the display."""
        rate = self._rate.update(self.done, now)
        return "" if rate is None else f"{rate:.1f}/s"


class ProgressBar:
    """A bar on a terminal. `listen` only counts; `draw` brings the screen up to date.

    The first `draw` starts the display, so that the first request does not wait until its library is loaded.
    """

    def __init__(self, total: int, console: Console | None = None, clock: Clock = time.monotonic) -> None:
        self._total = total
        self._console = console
        self._clock = clock
        self._counts = OutcomeCounts(clock())
        self._pause = ""
        self._display: Progress | None = None

    def listen(self, event: Event) -> None:
        if isinstance(event, Pause):
            self._pause = f"waiting {duration(event.seconds)}: {event.reason}"
        else:
            self._pause = ""
            self._counts.add(event)

    def draw(self) -> None:
        self._updated().refresh()

    def close(self) -> None:
        """Draws the final state, which stays on the screen."""
        self._updated().stop()

    def _updated(self) -> Progress:
        self._display = self._display or self._started()
        counts = self._counts
        self._display.update(
            self._display.task_ids[0],
            completed=counts.done,
            rate=counts.rate(self._clock()),
            message=self._pause or counts.sentence(),
        )
        return self._display

    def _started(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("  sending"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>8}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}"),
        )
        console = self._console or Console(stderr=True)
        display = Progress(*columns, console=console, auto_refresh=False, get_time=self._clock)
        display.add_task("send", total=self._total, rate="", message="")
        display.start()
        return display


@contextmanager
def bar(total: int, console: Console | None = None) -> Iterator[Callable[[Event], None]]:
    """A live bar on standard error. Gives the listener that moves it."""
    shown = ProgressBar(total, console)
    ended = Flag()

    def draw_until_the_end() -> None:
        while not ended.wait(_BEAT):
            shown.draw()

    # A thread, so that neither a slow terminal nor the drawing itself holds up the requests.
    drawing = Thread(target=draw_until_the_end, name="progress", daemon=True)
    drawing.start()
    try:
        yield shown.listen
    finally:
        ended.set()
        drawing.join()
        shown.close()


def every_ten_seconds(
    waiting: Callable[[Pause], None], beat: Callable[[OutcomeCounts, float], None], clock: Clock
) -> Callable[[Event], None]:
    """A listener that calls `waiting` for each pause, and `beat` with the counts and the time every ten seconds."""
    last = clock()
    counts = OutcomeCounts(last)

    def listen(event: Event) -> None:
        nonlocal last
        if isinstance(event, Pause):
            waiting(event)
            return
        counts.add(event)
        now = clock()
        if now - last >= LINE_EVERY:
            last = now
            beat(counts, now)

    return listen


@contextmanager
def lines(
    total: int, say: Callable[[str], None] | None = None, clock: Clock = time.monotonic
) -> Iterator[Callable[[Event], None]]:
    """A line every ten seconds and one for each pause. Gives the listener that writes them."""
    write = say or partial(click.echo, err=True)

    def waiting(event: Pause) -> None:
        write(f"waiting {duration(event.seconds)}: {event.reason}")

    def beat(counts: OutcomeCounts, now: float) -> None:
        rate = counts.rate(now)
        write(f"{counts.done:,} of {total:,} ({counts.sentence()})" + (f", {rate}" if rate else ""))

    yield every_ten_seconds(waiting, beat, clock)
