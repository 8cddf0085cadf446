"""Kills, suspends and cuts off processes that send a shared run, and checks the server's record.

`make crash-cluster` runs it with `--rounds 20`. A round is one campaign that `send` and
three workers send from a PostgreSQL ledger while something happens to them; then the remaining ones continue, and a
last `send` writes the workbook. Everything happens from outside: nothing in the product knows of these tests.
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

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psycopg
from limits import most_in_a_window
from postgres_server import Cluster, PostgresUnavailableError, find_binaries
from world import BATCHSEND, Sandbox, World, customers, running_sandbox

CONCURRENCY = 20
RATE = 1000
WORKERS = 3
#: Longer than a lease lasts.
SUSPENDED_SECONDS = (11.0, 15.0)
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
    """The result of a round. `texts`: received by the server; `harm`: how often a process was harmed."""

    kind: str
    harm: int
    texts: int
    duplicates: int
    lost: int
    unconfirmed: int
    seconds: float
    complaints: list[str] = field(default_factory=list)


class Round:
    """One campaign with its workers, in a separate database."""

    def __init__(self, folder: Path, sandbox: Sandbox, database: Database, rows: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.rows = rows
        self.sandbox = sandbox
        self.database = database
        self.url = database.make(f"round{seed}")
        self.world = World(folder, sandbox.base_url, {"BATCHSEND_LEDGER": self.url})
        self.world.write(
            customers(rows),
            campaign=f"[sending]\nrate = {RATE}\nconcurrency = {CONCURRENCY}\nstop_after_failures = 100000\n",
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

    def happenings(self, kind: str) -> Iterator[Callable[[], None]]:
        one = {
            "worker": self.kill_worker,
            "send": self.kill_sender,
            "standstill": self.suspend,
            "database": self.kill_database,
        }
        if kind != "all":
            yield from [one[kind]] * (1 if kind == "send" else self.random.randint(1, 3))
            return
        every = list(one.values())
        self.random.shuffle(every)
        yield from every

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

    def judge(self, kind: str, seconds: float, complaint: str) -> Verdict:
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
        if statuses["unconfirmed"] > self.harm * 2 * CONCURRENCY * (WORKERS + 1):
            complaints.append(f"{statuses['unconfirmed']} unconfirmed")
        if (most := most_in_a_window(self.departures(), 1.0)) > RATE + 1:
            complaints.append(f"{most} requests left within a second")
        return Verdict(
            kind,
            self.harm,
            sum(texts.values()),
            sum(count - 1 for count in texts.values()),
            lost,
            statuses["unconfirmed"],
            seconds,
            complaints,
        )


KINDS = ("worker", "send", "standstill", "database", "all")


def play(folder: Path, database: Database, rows: int, seed: int) -> Verdict:
    """One round; the seed says what happens and when."""
    kind = KINDS[seed % len(KINDS)]
    with running_sandbox(folder, "--latency", "0.02") as sandbox:
        began = time.monotonic()
        (folder / "campaign").mkdir()
        this = Round(folder / "campaign", sandbox, database, rows, seed)
        try:
            for _ in range(WORKERS):
                this.start_worker()
            this.start_sending()
            moments = sorted(this.random.randint(1, int(rows * 0.7)) for _ in range(4))
            for moment, happen in zip(moments, this.happenings(kind), strict=False):
                this.wait_for(moment)
                if not this.is_done():
                    happen()
                    this.harm += 1
            complaint = this.come_to_an_end()
            return this.judge(kind, time.monotonic() - began, complaint)
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
    given = parser.parse_args()
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="crash-") as name, running_database() as database:
        for seed in range(given.seed, given.seed + given.rounds):
            folder = Path(name) / str(seed)
            folder.mkdir()
            verdict = play(folder, database, given.rows, seed)
            verdicts.append(verdict)
            print(
                f"round {seed:>3} {verdict.kind:11} {verdict.harm} times  {verdict.texts:>6} texts  "
                f"{verdict.duplicates} twice  {verdict.lost} lost  {verdict.unconfirmed:>3} unconfirmed  "
                f"{verdict.seconds:5.1f} s",
                flush=True,
            )
            for complaint in verdict.complaints[:5]:
                print(f"  {complaint}", flush=True)
    print(
        f"{'':12} {'rounds':>6} {'harm':>6} {'texts':>8} {'twice':>6} {'lost':>5}  unconfirmed for each harm"
    )
    for kind in (*KINDS, "together"):
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
