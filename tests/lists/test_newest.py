"""Waiting for files that are still being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import batchsend.lists.newest
from batchsend.errors import ListError
from batchsend.lists.newest import newest_match, wait_until_settled

SETTLE = timedelta(seconds=10)


def anything(_path: Path) -> bool:
    return True


class Clocks:
    """Both clocks, and what happens while the code sleeps: second -> event."""

    def __init__(self) -> None:
        self.seconds, self.wall = 1000.0, 1_700_000_000.0
        self.events: dict[float, Callable[[], object]] = {}

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        return self.wall

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += seconds
        for moment in [moment for moment in self.events if moment <= self.seconds - 1000]:
            self.events.pop(moment)()

    def write(self, file: Path, text: str, ago: float = 0) -> None:
        file.write_text(text, encoding="utf-8")
        os.utime(file, (self.wall - ago, self.wall - ago))

    def waited(self, *files: Path, pattern: Path | None = None) -> float:
        """Waits, and returns for how many seconds."""
        began = self.seconds
        wait_until_settled(lambda: [newest_match(pattern, anything)] if pattern else files, SETTLE)
        return self.seconds - began


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    fake = Clocks()
    monkeypatch.setattr(batchsend.lists.newest, "time", fake)
    return fake


@pytest.mark.parametrize(
    ("ago", "waits"),
    [
        (3600, 0),
        (10, 0),
        (4, 6),
        (0, 10),
        # The clock was set back, or the file's server is ahead: the file is watched for as long as it takes.
        (-5, 10),
        (-86_400 * 365, 10),
    ],
)
def test_the_files_own_time_counts(clocks: Clocks, tmp_path: Path, ago: float, waits: float) -> None:
    clocks.write(tmp_path / "list.csv", "a", ago)
    assert clocks.waited(tmp_path / "list.csv") == pytest.approx(waits)


def test_each_change_starts_the_wait_again(clocks: Clocks, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    clocks.write(file, "a", ago=3)
    clocks.events = {5: lambda: clocks.write(file, "ab"), 12: lambda: clocks.write(file, "abc")}
    assert clocks.waited(file) == pytest.approx(22, abs=0.5)


def test_a_copy_that_gets_an_old_time_at_its_end_is_watched_from_then_on(
    clocks: Clocks, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    clocks.write(file, "a")
    clocks.events = {5: lambda: clocks.write(file, "abc", ago=9999)}
    assert clocks.waited(file) == pytest.approx(15, abs=0.5)


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_is_set_changes_nothing(clocks: Clocks, tmp_path: Path, jump: float) -> None:
    file = tmp_path / "list.csv"
    clocks.write(file, "a")

    def set_clock() -> None:
        clocks.wall += jump

    clocks.events = {2: set_clock}
    assert clocks.waited(file) == pytest.approx(10, abs=0.5)


def test_a_newer_file_of_the_pattern_is_waited_for_instead(clocks: Clocks, tmp_path: Path) -> None:
    clocks.write(tmp_path / "list-1.csv", "a", ago=2)
    clocks.events = {
        3: lambda: clocks.write(tmp_path / "list-2.csv", "b"),
        6: lambda: clocks.write(tmp_path / "list-2.csv", "bc"),
    }
    assert clocks.waited(pattern=tmp_path / "list-*.csv") == pytest.approx(16, abs=0.5)


def test_every_file_is_waited_for_and_a_missing_one_is_not(clocks: Clocks, tmp_path: Path) -> None:
    clocks.write(tmp_path / "list.csv", "a", ago=60)
    clocks.write(tmp_path / "opt_outs.csv", "a", ago=1)
    assert clocks.waited(tmp_path / "list.csv", tmp_path / "none.csv") == 0
    assert clocks.waited(tmp_path / "list.csv", tmp_path / "opt_outs.csv") == pytest.approx(9)
    # One that vanishes may come back: some programs delete the old file before they write the new one.
    clocks.write(tmp_path / "list.csv", "a", ago=1)
    clocks.events = {
        clocks.seconds - 1000 + 4: (tmp_path / "list.csv").unlink,
        clocks.seconds - 1000 + 6: lambda: clocks.write(tmp_path / "list.csv", "b"),
    }
    assert clocks.waited(tmp_path / "list.csv") == pytest.approx(16, abs=0.5)


def test_a_file_that_never_settles_is_refused(clocks: Clocks, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    for second in range(0, 2000, 5):
        clocks.events[second] = lambda text="a" * second: clocks.write(file, text)
    clocks.write(file, "")
    with pytest.raises(
        ListError, match=r"still changes after 15 minutes, but guards\.list_settle is 10 seconds"
    ):
        clocks.waited(file)


def test_a_file_with_a_time_in_the_future_does_not_hide_all_later_ones(
    clocks: Clocks, tmp_path: Path
) -> None:
    clocks.write(tmp_path / "list-1.csv", "a", ago=-3600)
    clocks.write(tmp_path / "list-2.csv", "a")
    # A server with another time zone is hours ahead, with all of its files.
    assert newest_match(tmp_path / "list-*.csv", anything).name == "list-1.csv"
    clocks.write(tmp_path / "list-1.csv", "a", ago=-3 * 86_400)
    with pytest.raises(ListError, match=r"list-1\.csv: Its time is days in the future"):
        newest_match(tmp_path / "list-*.csv", anything)
