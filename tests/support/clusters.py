"""A PostgreSQL ledger with workers in real processes, and queries to it from outside."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from ledgers import BASE_URL, planned, store_plan
from world import BATCHSEND, World

from batchsend.campaigns.quiet_hours import Hours
from batchsend.ledger.ledger import Ledger
from batchsend.mykaarma.protocol import SendingAttributes
from batchsend.sending.cluster.open_runs import OpenRun, hand_over
from batchsend.sending.run_settings import RunSettings


class Shared:
    """A user's folder whose ledger is on PostgreSQL, with the queue for workers in it."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url.replace("+psycopg", "")
        world.environment["BATCHSEND_LEDGER"] = self.url
        done = world.run("ledger", "upgrade")
        assert done.code == 0, done.err

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def statuses(self, run_id: int) -> dict[str, int]:
        query = f"SELECT status, count(*) FROM messages WHERE run_id = {run_id} GROUP BY status"
        return dict(self.ask(query))  # type: ignore[arg-type]

    def wait_until(self, query: str) -> None:
        """Waits until a query gives true."""
        deadline = time.monotonic() + 90
        while not self.ask(f"SELECT ({query})")[0][0]:
            assert time.monotonic() < deadline, query
            time.sleep(0.05)

    def wait_for_the_end(self, run_id: int) -> None:
        """Waits until nothing of a run is left to send, and its last outcome is stored."""
        self.wait_until(f"SELECT count(*) = 1 FROM messages WHERE run_id = {run_id} AND row = 2")
        left = f"SELECT count(*) = 0 FROM messages WHERE run_id = {run_id} AND status IN ('pending', 'in_flight')"
        self.wait_until(left)

    @contextmanager
    def workers(
        self, count: int, *options: str, **environment: str
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Starts `count` workers and waits until all of them wait for runs. Kills them at the end."""
        env = self.world.env() | environment
        before = self.ask("SELECT count(*) FROM leases WHERE worker AND run_id IS NULL")[0][0]
        processes = [
            subprocess.Popen(
                [*BATCHSEND, "worker", "--name", f"w{number}", *options],
                cwd=self.world.folder,
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(count)
        ]
        try:
            self.wait_until(
                f"SELECT count(*) >= {before + count} FROM leases WHERE worker AND run_id IS NULL"
            )
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()


def a_run(
    ledger: Ledger,
    rows: int = 4,
    rate: float = 10.0,
    *,
    wait: bool = False,
    base_url: str = BASE_URL,
    hours: Hours | None = None,
) -> OpenRun:
    """A planned run of `rows` rows that workers may send."""
    settings = RunSettings(base_url, rate, 20, 30.0, 25, 900.0, SendingAttributes(), False, hours, wait)
    stored_plan = store_plan(ledger, [planned(row) for row in range(2, rows + 2)])
    with ledger.write() as connection:
        hand_over(connection, stored_plan.run_id, stored_plan.start_id, settings)
    return OpenRun(stored_plan.run_id, stored_plan.start_id, settings)


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, world: World, *arguments: str) -> None:
        import pty

        self._leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            [*BATCHSEND, *arguments],
            cwd=world.folder,
            env=world.env(),
            stdin=follower,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        self.seen = ""

    def read_until(self, words: str) -> None:
        while words not in self.seen:
            ready, _, _ = select.select([self._leader], [], [], 60)
            assert ready, self.seen
            self.seen += os.read(self._leader, 4096).decode()

    def read_to_the_end(self) -> str:
        """All output until the command has closed its terminal."""
        # Linux reports that as an error.
        with suppress(OSError):
            while data := os.read(self._leader, 4096):
                self.seen += data.decode()
        return self.seen

    def type(self, words: str) -> None:
        os.write(self._leader, words.encode() + b"\n")
