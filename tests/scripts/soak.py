"""Weeks of campaigns that nobody watches, in virtual time: `make soak` plays 60 days.

Real processes, a real server and real kills; only time and chance are made up. The dealership's clock goes over the
end of daylight saving time. See `tests/support/soaking/`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from soaking.dealership import DEALERSHIPS
from soaking.oracle import Oracle
from soaking.story import Story

BEGIN = datetime(2026, 9, 15, 5, tzinfo=UTC)
_SHOWN = 12


@dataclass
class Figures:
    """What happened, and what was wrong."""

    starts: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        self.starts += other.starts
        for name in ("requests", "codes", "events", "faults"):
            getattr(self, name).update(getattr(other, name))
        for kind, found in other.problems.items():
            self.problems.setdefault(kind, []).extend(found)

    def lines(self) -> list[str]:
        """The figures for people."""
        found = Counter({kind: len(problems) for kind, problems in self.problems.items()})
        return [
            f"{self.starts} starts, {self.requests.total()} requests",
            f"exit codes: {_list(self.codes)}",
            f"requests: {_list(self.requests)}",
            f"the scheduler's log: {_list(self.events)}",
            f"faults: {_list(self.faults)}",
            f"found: {_list(found)}",
        ]


def soak(folder: Path, days: int, seed: int, dealership: int, begin: datetime = BEGIN) -> Figures:
    """Plays the story of one dealership and judges it."""
    story = Story(folder, begin, days, seed, dealership)
    story.play()
    oracle = Oracle(story)
    oracle.judge()
    return Figures(
        len(story.starts),
        Counter(text.kind for text in oracle.texts),
        Counter(str(start.code) for start in story.starts),
        Counter(entry["event"] for entry in story.events),
        story.faults,
        vars(oracle.verdict),
    )


def _list(counts: Counter[object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: str(one[0])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dealership", type=int, choices=range(len(DEALERSHIPS)), help="only this one")
    parser.add_argument("--keep", type=Path, help="the folder to play in; it is kept")
    given = parser.parse_args()
    dealerships = range(len(DEALERSHIPS)) if given.dealership is None else [given.dealership]
    began, total = time.perf_counter(), Figures()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        ProcessPoolExecutor(mp_context=get_context("spawn")) as pool,
    ):
        folder = given.keep or Path(name)
        stories = [pool.submit(soak, folder / str(n), given.days, given.seed, n) for n in dealerships]
        for story in as_completed(stories):
            total.add(story.result())
    for kind, problems in total.problems.items():
        for problem in problems[:_SHOWN]:
            print(f"{kind}: {problem}\n")
    print(f"{len(dealerships)} dealerships, {given.days} days, seed {given.seed}")
    for line in total.lines():
        print(line)
    print(f"{time.perf_counter() - began:.0f} seconds")
    return 1 if any(total.problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
