"""Kill `send` while texts are on their way, run `settle`, and let the sandbox's record say whether it was right.

`make crash-settle` runs it with `--rounds 300`; `test_settle.py` runs two rounds. In every fourth round a second
campaign sends the same words to the same customers and is killed, too: then no message may settle either of two texts
in question, and only wrong decisions count.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from warm_start import warm_start
from world import CAMPAIGN, STARTER, Sandbox, World, customers, running_sandbox

ROWS, CONCURRENCY = 40, 10
_PATIENCE_SECONDS = 120.0
_SENDING = f"\n[sending]\nrate = 10000\nconcurrency = {CONCURRENCY}\nstop_after_failures = 100000\n"
#: Every so many customers, one whose answer is lost on purpose.
_LOST_EVERY, _LOST = 12, ("sandbox-500-sent", "sandbox-dropped-sent", "sandbox-502", "sandbox-garbage-sent")
_SAME_TEXTS_EVERY = 4


class Row(NamedTuple):
    """A row of the ledger. `run` and `row` tell which request it is about."""

    run: int
    row: int
    customer: str
    status: str
    message_uuid: str | None


@dataclass
class Verdict:
    """What rounds came to: unconfirmed texts that were sent and those of them that are settled, and what is wrong."""

    sent: int = 0
    settled: int = 0
    unsent: int = 0
    complaints: list[str] = field(default_factory=list)


class Round:
    """One campaign, or two with the same texts, killed and settled by turns."""

    def __init__(self, folder: Path, sandbox: Sandbox, seed: int) -> None:
        self.random = random.Random(seed)
        self.sandbox = sandbox
        self.same_texts = seed % _SAME_TEXTS_EVERY == 0
        self.verdict = Verdict()
        self.world = World(folder / "dealership", sandbox.base_url)
        self.world.folder.mkdir()
        rows = customers(ROWS, f"round{seed}-customer")
        for number, row in enumerate(rows[::_LOST_EVERY]):
            row["Customer UUID"] = f"{_LOST[number % len(_LOST)]}-{row['Customer UUID']}"
        self.world.write(rows, campaign=_SENDING)
        self.files = ["campaign.toml"]
        if self.same_texts:
            again = (CAMPAIGN + _SENDING).replace("Spring", "Spring again")
            (self.world.folder / "again.toml").write_text(again, encoding="utf-8")
            self.files.append("again.toml")

    def play(self) -> Verdict:
        for _ in range(self.random.randint(1, 2)):
            for file in self.files:
                self._kill(file)
            for file in self.files:
                self._settle(file)
        for file in self.files:
            self.world.run("send", file, "--yes")
            self._settle(file)
        texts = Counter(text["customerUUID"] for text in self.sandbox.requests() if text["textLeft"])
        for customer, count in texts.items():
            if count > len(self.files):
                self.verdict.complaints.append(f"{customer} got {count} texts")
        return self.verdict

    def _kill(self, file: str) -> None:
        """Starts the campaign, and kills it a moment after some of its requests have arrived."""
        arrived = len(self.sandbox.requests())
        wanted = arrived + self.random.randint(0, ROWS // 2)
        process = self.world.start("send", file, "--yes")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        try:
            while process.poll() is None and not self._is_moment(wanted):
                assert time.monotonic() < deadline, "the moment never came"
                time.sleep(0.002)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def _is_moment(self, requests: int) -> bool:
        return self._in_flight() and len(self.sandbox.requests()) >= requests

    def _settle(self, file: str) -> None:
        before = {row[:2]: row for row in self._rows() if row.status in ("in_flight", "unconfirmed")}
        done = self.world.run("settle", file)
        if done.code not in (0, 1, 2) or (done.code == 2 and "was never sent" not in done.err + done.out):
            self.verdict.complaints.append(f"settle ended with {done.code}: {done.err}")
        sent = self._sent()
        for row in self._rows():
            known = sent.get((row.run, row.row))
            if row.status == "accepted" and row.message_uuid != known:
                self.verdict.complaints.append(
                    f"row {row.row} of run {row.run}: {row.message_uuid}, not {known}"
                )
            if row[:2] in before and self._is_of(row, file) and not self.same_texts:
                self.verdict.sent += known is not None
                self.verdict.settled += known is not None and row.status == "accepted"
                self.verdict.unsent += known is None

    def _is_of(self, row: Row, file: str) -> bool:
        return len(self.files) == 1 or (file == "campaign.toml") == (row.run == 1)

    def _sent(self) -> dict[tuple[int, int], str]:
        """The run and row of each text that was sent -> its message, as the sandbox knows them."""
        return {
            (int(of["batchsendRun"]), int(of["batchsendRow"])): text["messageUUID"]
            for text in self.sandbox.requests()
            if text["textLeft"] and (of := text["callbackMetaData"])
        }

    def _rows(self) -> list[Row]:
        query = "SELECT run_id, row, customer_uuid, status, message_uuid FROM messages"
        return [Row(*values) for values in self._query(query)]

    def _in_flight(self) -> bool:
        return any(self._query("SELECT 1 FROM messages WHERE status = 'in_flight' LIMIT 1"))

    def _query(self, query: str) -> Iterator[tuple[object, ...]]:
        file = self.world.folder / ".batchsend" / "ledger.db"
        if file.exists():
            with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file)) as ledger:
                yield from ledger.execute(query).fetchall()


def rounds(folder: Path, seeds: range, done: Callable[[int, Verdict], object]) -> None:
    """Plays a round for each seed, each with a sandbox of its own."""
    for seed in seeds:
        lot = folder / str(seed)
        lot.mkdir()
        with running_sandbox(lot, "--latency", "0.02") as sandbox:
            done(seed, Round(lot, sandbox, seed).play())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    total = Verdict()

    def add(seed: int, verdict: Verdict) -> None:
        total.sent += verdict.sent
        total.settled += verdict.settled
        total.unsent += verdict.unsent
        for complaint in verdict.complaints:
            total.complaints.append(complaint)
            print(f"round {seed}: {complaint}", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="crash-settle-") as name,
        warm_start() as starter,
        ThreadPoolExecutor(given.workers) as pool,
    ):
        token = STARTER.set(starter)
        jobs = [
            pool.submit(
                copy_context().run,
                rounds,
                Path(name),
                range(given.seed + n, given.seed + given.rounds, given.workers),
                add,
            )
            for n in range(given.workers)
        ]
        for job in jobs:
            job.result()
        STARTER.reset(token)
    share = total.settled / total.sent if total.sent else 0.0
    print(
        f"{given.rounds} rounds: {total.sent} unconfirmed texts were sent, {total.settled} of them are settled "
        f"({share:.2%}); {total.unsent} were not sent; {len(total.complaints)} complaints."
    )
    return 0 if share >= 0.99 and not total.complaints else 1


if __name__ == "__main__":
    sys.exit(main())
