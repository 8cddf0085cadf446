"""Progress has a constant cost per text and always shows the final state. The clock is faked."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from batchsend.cli import progress
from batchsend.cli.progress import OutcomeCounts, ProgressBar, Rate
from batchsend.sending.pacing import Pause
from batchsend.sending.rows import Outcome
from batchsend.sending.sender import OtherOutcomes
from batchsend.statuses import Status

TAKEN = Outcome(2, Status.ACCEPTED)
FAILED = Outcome(3, Status.FAILED)


@dataclass
class FakeClock:
    """A clock that only a test advances."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Screen:
    """A wide terminal that keeps the text written to it."""

    written: io.StringIO = field(default_factory=io.StringIO)

    def console(self) -> Console:
        return Console(file=self.written, force_terminal=True, width=200)

    def text(self) -> str:
        return self.written.getvalue()


def ticks(count: int) -> float:
    """Times that a float holds exactly, so that bounds can be checked exactly."""
    return count / 64


#: Updates as (ticks since the previous one, events since then).
UPDATES = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 500)), min_size=1, max_size=60)


@given(UPDATES, st.integers(0, 10**6).map(ticks))
def test_the_rate_is_the_events_since_the_last_update_that_is_five_seconds_old(
    updates: list[tuple[int, int]], began: float
) -> None:
    rate, passed, done = Rate(began, seconds=5.0), 0.0, 0
    known = [(passed, done)]
    for gap, events in updates:
        passed, done = passed + ticks(gap), done + events
        known.append((passed, done))
        old = [update for update in known if update[0] <= passed - 5]
        since, before = old[-1] if old else known[0]
        shown = rate.update(done, began + passed)
        if passed < 1 or done - before < 2:
            assert shown is None  # too early to tell
        else:
            assert shown == (done - before) / (passed - since)


@pytest.mark.parametrize(
    "seconds",
    [
        0.0,  # all at the same moment
        60.0,  # over a minute
        10.0**7,  # four months
    ],
)
def test_memory_does_not_grow_with_the_events(seconds: float) -> None:
    counts = OutcomeCounts(began=0.0)
    beats = int(min(seconds * 5, 100_000))
    for _ in range(100_000):
        counts.add(TAKEN)
    for number in range(beats):
        counts.rate(seconds * number / beats)
    assert counts.done == 100_000
    assert len(pickle.dumps(counts)) < 1000


def test_outcomes_of_other_processes_count_in_one_step() -> None:
    counts = OutcomeCounts(began=0.0)
    counts.add(TAKEN)
    counts.add(OtherOutcomes({"accepted": 10_000_000, "unconfirmed": 2}))
    assert counts.done == 10_000_003
    assert counts.sentence() == "10,000,001 accepted, 2 unconfirmed"
    assert counts.rate(2.0) == "5000001.5/s"


def test_only_drawing_writes_and_it_shows_all_events() -> None:
    clock, screen = FakeClock(), Screen()
    shown = ProgressBar(20_000, screen.console(), clock)
    before = screen.text()
    for number in range(10_000):
        clock.seconds = number / 1000
        shown.listen(TAKEN)
    assert screen.text() == before
    clock.seconds = 10.0
    shown.draw()
    assert "10000/20000" in screen.text()
    assert "10,000 accepted" in screen.text()
    assert "1000.0/s" in screen.text()
    shown.close()


def test_a_pause_is_shown_until_the_next_outcome() -> None:
    screen = Screen()
    shown = ProgressBar(5, screen.console(), FakeClock())
    shown.listen(Pause(12, "myKaarma asks for fewer requests"))
    shown.draw()
    assert "waiting about 12 seconds: myKaarma asks for fewer requests" in screen.text()
    shown.listen(TAKEN)
    drawn = len(screen.text())
    shown.draw()
    assert "1 accepted" in screen.text()[drawn:]
    assert "waiting" not in screen.text()[drawn:]
    shown.close()


@pytest.mark.parametrize("ends", [None, KeyboardInterrupt])
def test_the_final_state_is_shown_even_after_an_interrupt(ends: type[BaseException] | None) -> None:
    screen = Screen()

    def sends() -> None:
        with progress.bar(1200, screen.console()) as listen:
            for _ in range(1199):
                listen(TAKEN)
            listen(FAILED)
            if ends is not None:
                raise ends

    if ends is None:
        sends()
    else:
        with pytest.raises(ends):
            sends()
    last = screen.text().rpartition("\r")[2]
    assert "1200/1200" in last
    assert "1,199 accepted, 1 failed" in last


def test_without_a_terminal_there_is_a_line_every_ten_seconds() -> None:
    clock = FakeClock()
    lines: list[str] = []
    with progress.lines(3000, lines.append, clock) as listen:
        for number in range(2501):
            clock.seconds = number / 100
            listen(TAKEN)
        listen(Pause(90, "quiet hours until 9:00 AM"))
    assert lines == [
        "1,001 of 3,000 (1,001 accepted), 100.1/s",
        "2,001 of 3,000 (2,001 accepted), 100.0/s",
        "waiting about 1.5 minutes: quiet hours until 9:00 AM",
    ]


def test_a_line_without_a_rate_ends_with_the_counts() -> None:
    clock = FakeClock()
    lines: list[str] = []
    listen: Callable[..., None]
    with progress.lines(2, lines.append, clock) as listen:
        clock.seconds = 60.0
        listen(TAKEN)
    assert lines == ["1 of 2 (1 accepted)"]
