"""Several processes, one rate, one database: is the rate a limit, is it reached, and what does it cost PostgreSQL?

    python benchmarks/cluster.py --rates 50 200 1000 --rows 20000

First four workers send a run that was handed over to them at each rate; `worst` is the largest number of departures
in any second, and the bound of the contract is `ceil(rate * w) + 1` in any window of `w` seconds, for `w` of a second
or more. Then a run goes as fast as one, two and four workers can, beside `send` with the embedded ledger.
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
from rates import beyond_the_bound, worst_second
from sink import running_sink
from world import BATCHSEND, World, customers

_CLOSED = "SELECT NOT open FROM handovers WHERE run_id = 1"
_LOAD = (
    "SELECT xact_commit, tup_inserted + tup_updated, pg_current_wal_lsn() - '0/0' "
    "FROM pg_stat_database WHERE datname = current_database()"
)


@dataclass(frozen=True)
class Load:
    """What a database has done so far; `cpu`: seconds of its processes."""

    commits: float
    rows: float
    wal: float
    cpu: float


@dataclass(frozen=True)
class Ran:
    """A run: seconds until its plan was stored, moments at which requests left, and the database's load for it."""

    planning: float
    leaving: list[float]
    load: Load

    @property
    def rate(self) -> float:
        return (len(self.leaving) - 1) / (self.leaving[-1] - self.leaving[0])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    beyond = 0
    print(f"{'rate':>6} {'texts':>6} {'sustained':>10} {'share':>6} {'worst':>6} {'of':>5} {'beyond':>7}")
    for rate in given.rates:
        ran = hand_over(round(rate * given.seconds), 4, rate)
        over = beyond_the_bound(ran.leaving, rate)
        beyond += over
        # While the workers come in one after the other, and at the end, not all of them have something to send.
        steady = [t for t in ran.leaving if ran.leaving[0] + 2 < t < ran.leaving[-1] - 2]
        sustained = (len(steady) - 1) / (steady[-1] - steady[0])
        print(
            f"{rate:>6g} {len(ran.leaving):>6} {sustained:>10.2f} {sustained / rate:>6.3f} "
            f"{worst_second(ran.leaving):>6} {math.ceil(rate) + 1:>5} {over:>7}",
            flush=True,
        )
    print(
        f"\n{'who sends':>22} {'plan':>7} {'texts/s':>8}   of PostgreSQL, for 1,000 texts: "
        f"{'commits':>8} {'row writes':>11} {'WAL':>9} {'processor':>10}"
    )
    for workers in (0, 1, 2, 4):
        ran = embedded(given.rows) if not workers else hand_over(given.rows, workers, 10_000)
        name = "send, embedded ledger" if not workers else f"{workers} workers"
        per = 1000 / given.rows
        load = ran.load
        said = (
            f"{load.commits * per:>8.0f} {load.rows * per:>11,.0f} {load.wal * per / 1e6:>6.1f} MB "
            f"{load.cpu * per:>8.2f} s"
            if workers
            else ""
        )
        print(f"{name:>22} {ran.planning:>5.1f} s {ran.rate:>8,.0f}   {'':>31}{said}", flush=True)
    return 1 if beyond else 0


def hand_over(rows: int, workers: int, rate: float) -> Ran:
    """A run that is handed over to so many workers."""
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
                sys.exit(f"the run ended with {done.code}: {done.err}")
            deadline = time.monotonic() + 1200
            while not shared.ask(_CLOSED)[0][0]:
                if time.monotonic() > deadline:
                    sys.exit("the run does not come to its end")
                time.sleep(0.5)
            after = load_of(shared, server)
        left = shared.ask("SELECT sent_at FROM messages WHERE status = 'accepted' ORDER BY sent_at")
        if len(left) != rows:
            sys.exit(f"{len(left)} of {rows} texts were taken")
        leaving = [datetime.fromisoformat(sent_at).timestamp() for (sent_at,) in left]
        used = Load(*(getattr(after, field) - getattr(before, field) for field in Load.__annotations__))
        return Ran(leaving[0] - began, leaving, used)


def embedded(rows: int) -> Ran:
    """The same run by `send` alone, with the ledger in a file."""
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
        left = ledger.execute("SELECT sent_at FROM messages ORDER BY sent_at").fetchall()
        ledger.close()
        leaving = [datetime.fromisoformat(sent_at).timestamp() for (sent_at,) in left]
        return Ran(leaving[0] - began, leaving, Load(0, 0, 0, 0))


def load_of(shared: Shared, server: PostgresServer) -> Load:
    # Each process of the server tells what it has done about once a second.
    time.sleep(2)
    [(commits, rows, wal)] = shared.ask(_LOAD)
    main = psutil.Process(server.pid)
    own = main.cpu_times()
    # Those that have ended are among `children_`.
    cpu = own.user + own.system + own.children_user + own.children_system
    for child in main.children():
        with suppress(psutil.NoSuchProcess):
            cpu += sum(child.cpu_times()[:2])
    return Load(float(commits), float(rows), float(wal), cpu)


if __name__ == "__main__":
    sys.exit(main())
