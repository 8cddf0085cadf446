"""Progress while a run is sent: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchsend.sending.outbox import Outcome
from batchsend.sending.sender import Elsewhere, Event, Waiting
from batchsend.statuses import Status
from batchsend.utils.wording import duration

#: Seconds between two lines where there is no terminal.
_LINE_EVERY = 10.0
#: Seconds over which the shown rate is averaged.
_RATE_WINDOW = 5.0

_WORDS = {Status.ACCEPTED: "taken", Status.FAILED: "failed", Status.UNCONFIRMED: "unconfirmed"}


class _Counts:
    """What has happened so far, in the words that are shown."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self._times: list[float] = []

    def add(self, event: Outcome | Elsewhere) -> None:
        outcomes = {event.status: 1} if isinstance(event, Outcome) else event.outcomes
        self.statuses.update(outcomes)
        now = time.monotonic()
        self._times += [now] * sum(outcomes.values())
        if len(self._times) > 1000 or now - self._times[0] > 2 * _RATE_WINDOW:
            self._times = [moment for moment in self._times if now - moment <= _RATE_WINDOW]

    def done(self) -> int:
        return self.statuses.total()

    def sentence(self) -> str:
        return ", ".join(
            f"{self.statuses[status]:,} {word}" for status, word in _WORDS.items() if self.statuses[status]
        )

    def rate(self) -> str:
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return ""
        return f"{(len(self._times) - 1) / (self._times[-1] - self._times[0]):.1f}/s"


@contextmanager
def bar(total: int) -> Iterator[Callable[[Event], None]]:
    """A live bar on the terminal (standard error). Gives the listener that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = _Counts()
    columns = (
        TextColumn("  sending"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>8}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as progress:
        task = progress.add_task("send", total=total, rate="", said="")

        def listen(event: Event) -> None:
            if isinstance(event, Waiting):
                progress.update(task, said=f"waiting {duration(event.seconds)}: {event.reason}")
                return
            counts.add(event)
            progress.update(task, completed=counts.done(), rate=counts.rate(), said=counts.sentence())

        yield listen


@contextmanager
def lines(total: int, say: Callable[[str], None]) -> Iterator[Callable[[Event], None]]:
    """A line every now and then, and one for each pause."""
    counts = _Counts()
    last = time.monotonic()

    def listen(event: Event) -> None:
        nonlocal last
        if isinstance(event, Waiting):
            say(f"waiting {duration(event.seconds)}: {event.reason}")
            return
        counts.add(event)
        if time.monotonic() - last >= _LINE_EVERY:
            last = time.monotonic()
            say(f"{counts.done():,} of {total:,} ({counts.sentence()}), {counts.rate()}")

    yield listen
