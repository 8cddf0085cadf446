"""Faked time: the wall clock of this process, or of real processes that a test starts.

`time.time()`, `datetime.now()` and their relatives are faked; `time.monotonic()`, event loops and sleeping are not
(see `virtual_time.py`). The system sets the time of files that are written: use `saved_at`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

_VARIABLE = "FAKED_CLOCK"
_CHECK_SECONDS = 0.01


class WallClock:
    """The wall clock of this process. It stands still unless it is moved."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller

    @property
    def now(self) -> datetime:
        """The faked time in UTC."""
        return datetime.now(UTC)

    def move_to(self, moment: datetime) -> None:
        """Sets the clock, forward or back."""
        # As a number: a moment with a zone would become this process's time zone as well.
        self._traveller.move_to(moment.timestamp())

    def move(self, span: timedelta) -> None:
        """Moves the clock by this much, forward or back."""
        self.move_to(self.now + span)


@contextmanager
def clock_at(moment: datetime) -> Iterator[WallClock]:
    """Fakes the wall clock of this process, in all threads, during the block."""
    with time_machine.travel(moment.timestamp(), tick=False) as traveller:
        yield WallClock(traveller)


class ClockFile:
    """The wall clock of real processes: they go `ahead` of the real one (or behind), also while they run.

    Processes that are started with `environment` follow it, and so do their own children: the command from
    `World.start` and `World.run_cold` (and `World.run`), and the `send` that a scheduler starts.
    """

    def __init__(self, file: Path, moment: datetime) -> None:
        self._file = file
        self.move_to(moment)

    @property
    def now(self) -> datetime:
        """The processes' time in UTC."""
        return datetime.fromtimestamp(_real_time() + _ahead(self._file), UTC)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that make a Python process follow this clock."""
        inherited = [path for path in (os.environ.get("PYTHONPATH"),) if path]
        here = str(Path(__file__).with_name("at_start"))
        return {_VARIABLE: str(self._file), "PYTHONPATH": os.pathsep.join([here, *inherited])}

    def move_to(self, moment: datetime) -> None:
        """Sets the clock of all its processes, forward or back. They notice within some hundredths of a second."""
        new = self._file.with_suffix(".new")
        new.write_text(repr(moment.timestamp() - _real_time()), encoding="ascii")
        new.replace(self._file)

    def move(self, span: timedelta) -> None:
        """Moves the clock by this much, forward or back."""
        self.move_to(self.now + span)


def saved_at(file: Path, moment: datetime) -> None:
    """Makes a file look as if it had been written at this time."""
    os.utime(file, (moment.timestamp(), moment.timestamp()))


def follow_environment() -> None:
    """Fakes this process's clock until it ends, if its environment names a `ClockFile`."""
    name = os.environ.get(_VARIABLE)
    if name is None:
        return
    file = Path(name)
    ahead = _ahead(file)
    traveller = time_machine.travel(_real_time() + ahead, tick=True).start()
    threading.Thread(target=_follow, args=(file, ahead, traveller), daemon=True).start()


def _follow(file: Path, ahead: float, traveller: time_machine.Traveller) -> None:
    while True:
        time.sleep(_CHECK_SECONDS)
        try:
            new = _ahead(file)
        except (OSError, ValueError):  # the test has ended and removed it
            return
        if new != ahead:
            ahead = new
            traveller.move_to(_real_time() + ahead)


def _ahead(file: Path) -> float:
    return float(file.read_text(encoding="ascii"))


def _real_time() -> float:
    if time_machine.escape_hatch.is_travelling():
        return time_machine.escape_hatch.time.time()
    return time.time()
