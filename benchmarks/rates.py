"""Checks that sending reaches its rate limit and never exceeds it, with the sandbox and at several rates.

    python benchmarks/rates.py --rates 5 50 300 --seconds 20

The limit is `ceil(rate * w) + 1` requests in any window of `w` seconds, for `w` of a second or more. It counts the
times at which requests were sent, from the ledger; the times at which they arrived are shown for comparison.
"""

from __future__ import annotations

import argparse
import math
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from world import World, customers, running_sandbox


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[5, 50, 300])
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    print(
        f"{'rate':>6} {'texts':>6} {'sustained':>10} {'first second':>13} {'worst second':>13} {'of':>5} "
        f"{'over the limit':>15} {'worst second at arrival':>24}"
    )
    total_over = 0
    for rate in given.rates:
        texts = round(rate * given.seconds)
        with tempfile.TemporaryDirectory() as name:
            sent, arrived = _send(Path(name), rate, texts)
        over = windows_over_limit(sent, rate)
        total_over += over
        # The first request does not wait: n requests take n - 1 periods.
        sustained = (len(sent) - 1) / (sent[-1] - sent[0])
        print(
            f"{rate:>6g} {texts:>6} {sustained:>10.2f} {_within(sent, sent[0]):>13} "
            f"{worst_second(sent):>13} {math.ceil(rate) + 1:>5} {over:>15} {worst_second(arrived):>24}"
        )
    return 1 if total_over else 0


def _send(folder: Path, rate: float, texts: int) -> tuple[list[float], list[float]]:
    """The times at which requests were sent and at which they arrived, in seconds."""
    with running_sandbox(folder, "--latency", "0.02") as sandbox:
        world = World(folder, sandbox.base_url)
        world.write(customers(texts), campaign=f"[sending]\nrate = {rate}\n")
        done = world.send("--quiet")
        if done.code != 0:
            sys.exit(f"the run ended with exit code {done.code}: {done.err}")
        arrived = sorted(request["monotonic"] for request in sandbox.requests())
    with closing(sqlite3.connect(folder / ".batchsend" / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT sent_at FROM messages WHERE sent_at IS NOT NULL")
        sent = sorted(datetime.fromisoformat(sent_at).timestamp() for (sent_at,) in rows)
    return sent, arrived


def _within(times: Sequence[float], start: float, window: float = 1.0) -> int:
    return sum(start <= time < start + window for time in times)


def worst_second(times: Sequence[float]) -> int:
    """The most requests in any second."""
    return max(_within(times, start) for start in times)


def windows_over_limit(times: Sequence[float], rate: float) -> int:
    """How many windows, from one request to a later one, have more requests than the limit."""
    # The ledger rounds to milliseconds: two requests may look a millisecond closer than they were.
    rounding = 0.001
    count = 0
    for first in range(len(times)):
        for last in range(first + math.ceil(rate), len(times)):
            window = max(1.0, times[last] - times[first] + rounding)
            count += last - first + 1 > math.ceil(rate * window) + 1
    return count


if __name__ == "__main__":
    sys.exit(main())
