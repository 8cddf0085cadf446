"""Measures several workers with one rate limit and one database, and the load on PostgreSQL.

    python benchmarks/cluster.py --rates 50 200 1000 --rows 20000

First, four workers send a run at each rate. `worst` is the most requests in any second; the limit is
`ceil(rate * w) + 1` in any window of `w` seconds, for `w` of a second or more. Then one, two and four workers send a
run as fast as they can; `send` with a ledger in a file is measured for comparison.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from clusters import Shared
from postgres_server import PostgresServer, running_postgres
from rates import windows_over_limit, worst_second
from sink import running_sink
from world import BATCHSEND, World, customers

_CLOSED = "SELECT NOT open FROM handovers WHERE run_id = 1"
_LOAD = (
    "SELECT xact_commit, tup_inserted + tup_updated, pg_current_wal_lsn() - '0/0' "
    "FROM pg_stat_database WHERE datname = current_database()"
)


@dataclass(frozen=True)
class Load:
    """The work of a database so far; `cpu`: the seconds of its processes."""

    commits: float
    rows: float
    wal: float
    cpu: float


@dataclass(frozen=True)
class SentRun:
    """A run: seconds until the first request, the times at which requests were sent, and the database's load."""

    planning: float
    times: list[float]
    load: Load

    @property
    def rate(self) -> float:
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    total_over = 0
    print(f"{'rate':>6} {'texts':>6} {'sustained':>10} {'share':>6} {'worst':>6} {'of':>5} {'over':>7}")
    for rate in given.rates:
        run = send_by_workers(round(rate * given.seconds), 4, rate)
        over = windows_over_limit(run.times, rate)
        total_over += over
        # Without the start and the end, when not all workers are sending.
        steady = [t for t in run.times if run.times[0] + 2 < t < run.times[-1] - 2]
        sustained = (len(steady) - 1) / (steady[-1] - steady[0])
        print(
            f"{rate:>6g} {len(run.times):>6} {sustained:>10.2f} {sustained / rate:>6.3f} "
            f"{worst_second(run.times):>6} {math.ceil(rate) + 1:>5} {over:>7}",
            flush=True,
        )
    print(
        f"\n{'sender':>22} {'plan':>7} {'texts/s':>8}   PostgreSQL, per 1,000 texts: "
        f"{'commits':>8} {'row writes':>11} {'WAL':>9} {'processor':>10}"
    )
    for workers in (0, 1, 2, 4):
        run = send_alone(given.rows) if not workers else send_by_workers(given.rows, workers, 10_000)
        name = "send, ledger in a file" if not workers else f"{workers} workers"
        per = 1000 / given.rows
        load = run.load
        columns = (
            f"{load.commits * per:>8.0f} {load.rows * per:>11,.0f} {load.wal * per / 1e6:>6.1f} MB "
            f"{load.cpu * per:>8.2f} s"
            if workers
            else ""
        )
        print(f"{name:>22} {run.planning:>5.1f} s {run.rate:>8,.0f}   {'':>28}{columns}", flush=True)
    return 1 if total_over else 0


def send_by_workers(rows: int, workers: int, rate: float) -> SentRun:
    """Sends a run with `workers` workers, after `send --detach`."""
    with (
        tempfile.TemporaryDirectory() as name,
        running_postgres() as server,
        running_sink(Path(name)) as sink,
    ):
        world = World(Path(name), sink.base_url)
        shared = Shared(world, server.url("postgres"))
        world.write(customers(rows), campaign=f"[sending]\nrate = {rate}\nconcurrency = 40\n")
        with shared.workers(workers, "--concurrency", "4"):
            before = load_of(shared, server)
            began = time.time()
            done = world.run("send", "campaign.toml", "--yes", "--quiet", "--detach")
            if done.code != 0:
                sys.exit(f"the run ended with exit code {done.code}: {done.err}")
            deadline = time.monotonic() + 1200
            while not shared.ask(_CLOSED)[0][0]:
                if time.monotonic() > deadline:
                    sys.exit("the run did not end within 20 minutes")
                time.sleep(0.5)
            after = load_of(shared, server)
        sent = shared.ask("SELECT sent_at FROM messages WHERE status = 'accepted' ORDER BY sent_at")
        if len(sent) != rows:
            sys.exit(f"only {len(sent)} of {rows} texts were accepted")
        times = [datetime.fromisoformat(sent_at).timestamp() for (sent_at,) in sent]
        used = Load(*(getattr(after, field) - getattr(before, field) for field in Load.__annotations__))
        return SentRun(times[0] - began, times, used)


def send_alone(rows: int) -> SentRun:
    """Sends the same run with `send` alone and a ledger in a file."""
    import sqlite3

    with tempfile.TemporaryDirectory() as name, running_sink(Path(name)) as sink:
        world = World(Path(name), sink.base_url)
        world.write(customers(rows), campaign="[sending]\nrate = 10000\nconcurrency = 40\n")
        began = time.time()
        subprocess.run(
            [*BATCHSEND, "send", "campaign.toml", "--yes", "--quiet"],
            cwd=name,
            env=world.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        ledger = sqlite3.connect(Path(name) / ".batchsend" / "ledger.db")
        sent = ledger.execute("SELECT sent_at FROM messages ORDER BY sent_at").fetchall()
        ledger.close()
        times = [datetime.fromisoformat(sent_at).timestamp() for (sent_at,) in sent]
        return SentRun(times[0] - began, times, Load(0, 0, 0, 0))


def load_of(shared: Shared, server: PostgresServer) -> Load:
    # The server's processes update their statistics about once a second.
    time.sleep(2)
    [(commits, rows, wal)] = shared.ask(_LOAD)
    main = psutil.Process(server.pid)
    times = main.cpu_times()
    # `children_` are the processes that have ended.
    cpu = times.user + times.system + times.children_user + times.children_system
    for child in main.children():
        with suppress(psutil.NoSuchProcess):
            cpu += sum(child.cpu_times()[:2])
    return Load(float(commits), float(rows), float(wal), cpu)


if __name__ == "__main__":
    sys.exit(main())
