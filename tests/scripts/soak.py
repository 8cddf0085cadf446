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
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from soaking.oracle import Oracle
from soaking.story import Story

BEGIN = datetime(2026, 9, 15, 5, tzinfo=UTC)
_SHOWN = 12


def soak(folder: Path, days: int, seed: int, begin: datetime = BEGIN) -> Oracle:
    """Plays a story and judges it."""
    story = Story(folder, begin, days, seed)
    story.play()
    oracle = Oracle(story)
    oracle.judge()
    return oracle


def figures(oracle: Oracle) -> list[str]:
    """What happened, for people."""
    story = oracle.story
    codes = Counter(start.code for start in story.starts)
    events = Counter(entry["event"] for entry in story.events)
    kinds = Counter(text.kind for text in oracle.texts)
    found = {kind: len(problems) for kind, problems in vars(oracle.verdict).items()}
    return [
        f"{story.days} days, seed {story.seed}: {len(story.starts)} starts, {len(oracle.texts)} requests",
        f"exit codes: {_list(codes)}",
        f"requests: {_list(kinds)}",
        f"the scheduler's log: {_list(events)}",
        f"faults: {_list(story.faults)}",
        f"found: {_list(Counter(found))}",
    ]


def _list(counts: Counter[object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: str(one[0])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="the folder to play in; it is kept")
    given = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        oracle = soak(given.keep or Path(name), given.days, given.seed)
        for kind, problems in oracle.verdict.problems().items():
            print(f"\n{kind}: {len(problems)}")
            for problem in problems[:_SHOWN]:
                print(f"  {problem}")
        print()
        for line in figures(oracle):
            print(line)
    print(f"{time.perf_counter() - began:.0f} seconds")
    return 1 if oracle.verdict.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
