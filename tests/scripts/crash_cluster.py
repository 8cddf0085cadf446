"""Kills, suspends and cuts off processes that send a shared run, and checks the server's record.

`make crash-cluster` runs it with `--rounds 20`. A round is one campaign that `send` and some workers send from a
PostgreSQL ledger while something happens to them, to the database or to the network between them; then the remaining
ones continue, and a last `send` writes the workbook. Everything happens from outside: nothing in the product knows of
these tests.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psycopg
from forwarder import Forwarder
from limits import most_above, most_in_a_window
from postgres_server import Cluster, PostgresUnavailableError, find_binaries
from world import BATCHSEND, Sandbox, World, customers, running_sandbox

CONCURRENCY = 20
#: Longer than a lease lasts.
SUSPENDED_SECONDS = (11.0, 15.0)
#: Shorter and longer than a lease lasts.
LOST_SECONDS = (2.0, 13.0)
#: A round at a low rate has so many seconds' worth of rows at most.
ROUND_SECONDS = 30
_PATIENCE_SECONDS = 240.0


class Database:
    """A PostgreSQL server that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder, find_binaries())
        self.port = self.cluster.start()

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def make(self, name: str) -> str:
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def kill(self) -> None:
        os.kill(self.cluster.pid(), signal.SIGKILL)

    def revive(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.cluster.restart()
            except PostgresUnavailableError:
                # The killed server's processes are still going.
                assert time.monotonic() < deadline, "the database does not come back"
                time.sleep(0.2)
            else:
                return


@dataclass
class Verdict:
    """The result of a round.

    `harm`: how often something happened; `texts`: received by the server; `left`, `came`: most departures
    and arrivals within a second.
    """

    kind: str
    harm: int
    texts: int
    duplicates: int
    lost: int
    unconfirmed: int
    left: int
    came: int
    seconds: float
    complaints: list[str] = field(default_factory=list)


class Kind(NamedTuple):
    """What a round is like. `happens`: names of methods of `Round`; `all_once`: each of them once, in any order."""

    happens: tuple[str, ...]
    most: int = 1
    all_once: bool = False
    rate: int = 1000
    workers: int = 3


KINDS = {
    "worker": Kind(("kill_worker",), most=3),
    "send": Kind(("kill_sender",)),
    "standstill": Kind(("suspend",), most=3),
    "database": Kind(("kill_database",), most=3),
    "network": Kind(
        ("cut_network", "lose_network", "silence_network", "cut_and_kill_database"),
        all_once=True,
        rate=40,
        workers=4,
    ),
    "all": Kind(("kill_worker", "kill_sender", "suspend", "kill_database"), all_once=True),
}


class Round:
    """One campaign with its workers, in a separate database behind a network of its own."""

    def __init__(
        self, folder: Path, sandbox: Sandbox, database: Database, kind: Kind, rows: int, seed: int
    ) -> None:
        self.random = random.Random(seed)
        self.kind = kind
        self.rows = min(rows, kind.rate * ROUND_SECONDS)
        self.sandbox = sandbox
        self.database = database
        self.url = database.make(f"round{seed}")
        self.network = Forwarder(database.port)
        url = self.url.replace(f":{database.port}/", f":{self.network.port}/")
        self.world = World(folder, sandbox.base_url, {"BATCHSEND_LEDGER": url})
        self.world.write(
            customers(self.rows),
            campaign=f"[sending]\nrate = {kind.rate}\nconcurrency = {CONCURRENCY}\nstop_after_failures = 100000\n",
        )
        self.log = (folder / "log.txt").open("ab")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.sender: subprocess.Popen[bytes] | None = None
        self.harm = 0
        done = self.world.run("ledger", "upgrade")
        assert done.code == 0, done.err

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*BATCHSEND, *arguments],
            cwd=self.world.folder,
            env=self.world.env(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def start_worker(self) -> None:
        self.workers.append(self.spawn("worker", "--concurrency", "3", "--name", f"w{len(self.workers)}"))

    def start_sending(self) -> None:
        self.sender = self.spawn("send", "campaign.toml", "--yes", "--quiet")

    def end(self) -> None:
        for process in [*self.workers, *([self.sender] if self.sender else [])]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.network.close()
        self.log.close()

    def arrived(self) -> int:
        with suppress(FileNotFoundError):
            return self.sandbox.record.read_bytes().count(b"\n")
        return 0

    def wait_for(self, arrived: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.arrived() < arrived and not self.is_done():
            assert time.monotonic() < deadline, f"only {self.arrived()} requests arrived"
            time.sleep(0.05)

    def is_done(self) -> bool:
        """Is nothing of the run left to send?"""
        query = "SELECT count(*), count(*) FILTER (WHERE status IN ('pending', 'in_flight')) FROM messages"
        with suppress(psycopg.Error), psycopg.connect(self.url) as connection:
            row = connection.execute(query).fetchone()
            return row is not None and row[0] > 0 and row[1] == 0
        return False

    # What can happen

    def kill_worker(self) -> None:
        victim = self.random.choice([w for w in self.workers if w.poll() is None])
        victim.kill()
        victim.wait()
        self.start_worker()

    def kill_sender(self) -> None:
        if self.sender is not None:
            self.sender.kill()
            self.sender.wait()

    def suspend(self) -> None:
        alive = [p for p in [*self.workers, self.sender] if p is not None and p.poll() is None]
        victim = self.random.choice(alive)
        victim.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(*SUSPENDED_SECONDS))
        victim.send_signal(signal.SIGCONT)

    def kill_database(self) -> None:
        self.database.kill()
        time.sleep(self.random.uniform(0.2, 4.0))
        self.database.revive()

    def cut_network(self) -> None:
        self.network.cut()
        time.sleep(self.random.uniform(0.2, 4.0))
        self.network.resume()

    def lose_network(self) -> None:
        self.network.lose()
        time.sleep(self.random.uniform(*LOST_SECONDS))
        self.network.resume()

    def silence_network(self) -> None:
        self.network.silence()
        time.sleep(self.random.uniform(*LOST_SECONDS))
        self.network.resume()

    def cut_and_kill_database(self) -> None:
        self.network.cut()
        self.kill_database()
        self.network.resume()

    def happenings(self) -> list[Callable[[], None]]:
        names = list(self.kind.happens)
        if self.kind.all_once:
            self.random.shuffle(names)
        else:
            names *= self.random.randint(1, self.kind.most)
        return [getattr(self, name) for name in names]

    def come_to_an_end(self) -> str:
        """Waits for the remaining processes, then writes the workbook with `send`. Returns the output on failure."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.is_done():
            if time.monotonic() > deadline:
                return "the run does not come to its end"
            time.sleep(0.2)
        if self.sender is not None:
            self.sender.wait(timeout=60)
        while True:
            done = self.world.run("send", "campaign.toml", "--yes", "--quiet")
            if done.code in (0, 1):
                return ""
            if done.code != 4 or time.monotonic() > deadline:
                return f"the last start ended with {done.code}: {done.err}"

    def departures(self) -> list[float]:
        """When the accepted texts left, in order: seconds since 1970, by the clock of this computer."""
        query = "SELECT sent_at FROM messages WHERE status = 'accepted' ORDER BY sent_at"
        with psycopg.connect(self.url) as connection:
            return [datetime.fromisoformat(sent_at).timestamp() for (sent_at,) in connection.execute(query)]

    def arrivals(self) -> list[float]:
        return [
            datetime.fromisoformat(request["arrivedAt"]).timestamp() for request in self.sandbox.requests()
        ]

    def judge(self, name: str, seconds: float, complaint: str) -> Verdict:
        complaints = [complaint] if complaint else []
        texts = self.sandbox.texts()
        outcome = self.world.workbook()
        lost = 0
        for row in range(2, self.rows + 2):
            found = outcome.get(row)
            if found is None or found["status"] not in ("accepted", "unconfirmed"):
                lost += 1
                complaints.append(f"row {row}: {found and (found['status'], found['errorCodes'])}")
            elif found["status"] == "accepted" and texts[found["customerUUID"]] != 1:
                complaints.append(f"row {row}: accepted, and the server has {texts[found['customerUUID']]}")
        if len(outcome) != self.rows:
            complaints.append(f"{len(outcome)} rows in the results")
        statuses = Counter(found["status"] for found in outcome.values())
        # Every process that was harmed, and with the database all of them, may leave so many behind.
        if statuses["unconfirmed"] > self.harm * 2 * CONCURRENCY * (self.kind.workers + 1):
            complaints.append(f"{statuses['unconfirmed']} unconfirmed")
        departures = self.departures()
        if (above := most_above(departures, self.kind.rate)) > 0:
            complaints.append(f"{above} requests more than the rate allows left within some window")
        return Verdict(
            name,
            self.harm,
            sum(texts.values()),
            sum(count - 1 for count in texts.values()),
            lost,
            statuses["unconfirmed"],
            most_in_a_window(departures, 1.0),
            most_in_a_window(self.arrivals(), 1.0),
            seconds,
            complaints,
        )


def play(folder: Path, database: Database, name: str, rows: int, seed: int) -> Verdict:
    """One round; the seed says what happens and when."""
    with running_sandbox(folder, "--latency", "0.02") as sandbox:
        began = time.monotonic()
        (folder / "campaign").mkdir()
        this = Round(folder / "campaign", sandbox, database, KINDS[name], rows, seed)
        try:
            for _ in range(this.kind.workers):
                this.start_worker()
            this.start_sending()
            happenings = this.happenings()
            moments = sorted(this.random.randint(1, int(this.rows * 0.7)) for _ in happenings)
            for moment, happen in zip(moments, happenings, strict=True):
                this.wait_for(moment)
                if not this.is_done():
                    happen()
                    this.harm += 1
            complaint = this.come_to_an_end()
            return this.judge(name, time.monotonic() - began, complaint)
        finally:
            this.end()


@contextmanager
def running_database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="crash-postgres-", ignore_cleanup_errors=True) as name:
        database = Database(Path(name))
        try:
            yield database
        finally:
            database.cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, help="play only rounds of this kind")
    given = parser.parse_args()
    kinds = [given.kind] if given.kind else list(KINDS)
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="crash-") as name, running_database() as database:
        for seed in range(given.seed, given.seed + given.rounds):
            folder = Path(name) / str(seed)
            folder.mkdir()
            verdict = play(folder, database, kinds[seed % len(kinds)], given.rows, seed)
            verdicts.append(verdict)
            print(
                f"round {seed:>3} {verdict.kind:11} {verdict.harm} times  {verdict.texts:>6} texts  "
                f"{verdict.duplicates} twice  {verdict.lost} lost  {verdict.unconfirmed:>3} unconfirmed  "
                f"{verdict.left:>4} left and {verdict.came:>4} came in a second  {verdict.seconds:5.1f} s",
                flush=True,
            )
            for complaint in verdict.complaints[:5]:
                print(f"  {complaint}", flush=True)
    print(
        f"{'':12} {'rounds':>6} {'harm':>6} {'texts':>8} {'twice':>6} {'lost':>5}  unconfirmed for each harm"
    )
    for kind in (*kinds, "together"):
        these = [v for v in verdicts if kind in (v.kind, "together")]
        harm = sum(v.harm for v in these)
        each = f"{sum(v.unconfirmed for v in these) / harm:.1f}" if harm else "-"
        print(
            f"{kind:12} {len(these):>6} {harm:>6} {sum(v.texts for v in these):>8} "
            f"{sum(v.duplicates for v in these):>6} {sum(v.lost for v in these):>5}  {each}"
        )
    return 1 if any(v.duplicates or v.lost or v.complaints for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
