"""Kill or stop the command at every stage, start it again, and let the server's record be the judge.

It is killed, or gets SIGTERM once or twice, or goes on; meanwhile its output is read, or loses its reader, or goes to
a full disk. After each start, its exit code is compared with the ledger and the server's record.

`make crash` runs it with `--rounds 200`; `test_crash.py` runs a few rounds of it.
Every moment is found from outside, by what the process has left on disk and on the wire: nothing in the product
knows of these tests.
"""

from __future__ import annotations

import argparse
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from world import BATCHSEND, Sandbox, World, customers, running_sandbox

CONCURRENCY = 20
_LATENCY = "0.02"
#: The longest that a start may take to come to the moment at which it is to be killed.
_PATIENCE_SECONDS = 60.0
#: What happens to the command, and how often: `None` lets it go on.
BLOWS = {"kill": 4, "SIGTERM": 3, "SIGTERM twice": 2, None: 2}
#: What becomes of its output.
STREAMS = ["read", "reader gone", *(["full disk"] if Path("/dev/full").exists() else [])]


@dataclass(frozen=True)
class Verdict:
    """What a round came to.

    `blows`: what was done to the command; `texts`: received by the server; `interrupted`: `unconfirmed` rows after
    each kill.
    """

    stage: str
    blows: Counter[str]
    texts: int
    duplicates: int
    lost: int
    interrupted: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Start:
    """A start that has ended: what was done to it, its exit code, and the requests that it made."""

    blow: str | None
    streams: str
    code: int
    requests: int
    resends: bool

    @property
    def name(self) -> str:
        return f"{self.blow or 'nothing done'}, output {self.streams}, exit {self.code}"


class Round:
    """One campaign, killed or stopped a few times and then sent to its end."""

    def __init__(self, folder: Path, sandbox: Sandbox, rows: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.prefix = f"round{seed}-"
        self.rows = rows
        self.sandbox = sandbox
        self._read = 0
        self._arrived = 0
        self.world = World(folder / self.prefix, sandbox.base_url)
        self.world.folder.mkdir()
        temporary = self.world.folder / "tmp"
        temporary.mkdir()
        self.world.environment = {"TMPDIR": str(temporary)}
        people = customers(rows, self.prefix + "customer")
        # Every second row fails, so that there is something to send again.
        for person in people[::2]:
            person["Customer UUID"] = f"sandbox-locked-{person['Customer UUID']}"
        self.world.write(
            people,
            campaign=f"[sending]\nrate = 10000\nconcurrency = {CONCURRENCY}\nstop_after_failures = 100000\n",
        )

    def mine(self) -> list[str]:
        """The customers of this round's requests that left as texts."""
        return [
            r["customerUUID"]
            for r in self.sandbox.requests()
            if r["textLeft"] and self.prefix in r["customerUUID"]
        ]

    def received(self) -> int:
        """Requests of this round that have arrived, texts or not; reads only the lines added since the last call."""
        mark = f"{self.prefix}customer".encode()
        with suppress(FileNotFoundError), self.sandbox.record.open("rb") as record:
            record.seek(self._read)
            for line in record:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                self._arrived += mark in line
        return self._arrived

    def resend_has_ended(self) -> bool:
        """Whether a start with `--resend` was completed. Asking again would then send again."""
        with closing(sqlite3.connect(self.world.folder / ".batchsend" / "ledger.db")) as ledger:
            query = "SELECT count(*) FROM starts WHERE resend IS NOT NULL AND exit_code IN (0, 1)"
            return bool(ledger.execute(query).fetchone()[0])

    def start(self, moment: Callable[[], bool], *options: str) -> Start:
        """Starts the command and does something to it at a moment, unless it has ended by itself before."""
        before = self.received()
        blow: str | None = self.random.choices(list(BLOWS), list(BLOWS.values()))[0]
        streams = self.random.choice(STREAMS)
        with ExitStack() as files:
            if streams == "full disk":
                output = files.enter_context(Path("/dev/full").open("w", encoding="utf-8"))
            elif streams == "read":
                output = files.enter_context((self.world.folder / "output").open("a"))
            process = subprocess.Popen(
                [*BATCHSEND, "send", "campaign.toml", "--yes", *options],
                cwd=self.world.folder,
                env=self.world.env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if streams == "reader gone" else output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while process.poll() is None and not moment():
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.001)
        if process.stdout is not None:
            process.stdout.close()
        if process.poll() is not None:
            blow = None
        self._strike(process, blow)
        code = process.wait(_PATIENCE_SECONDS)
        return Start(blow, streams, code, self.received() - before, bool(options))

    def _strike(self, process: subprocess.Popen[bytes], blow: str | None) -> None:
        if blow == "kill":
            process.kill()
        elif blow is not None:
            process.terminate()
        if blow == "SIGTERM twice":
            time.sleep(self.random.uniform(0, 0.05))
            process.terminate()

    def ledger_rows(self) -> dict[int, tuple[str, str]]:
        """Row -> customer and status in the ledger; empty if no plan was stored."""
        file = self.world.folder / ".batchsend" / "ledger.db"
        if not file.exists():
            return {}
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file)) as ledger:
            return {
                row: (customer, status)
                for row, customer, status in ledger.execute("SELECT row, customer_uuid, status FROM messages")
            }
        return {}

    def untruths(self, start: Start) -> Iterator[str]:
        """What the exit code says that is not so, or what a start that could finish has left undone."""
        rows = self.ledger_rows()
        found = Counter(status for _, status in rows.values())
        done = set(found) <= {"accepted", "failed", "unconfirmed"} and bool(rows)
        expected = {
            "kill": {-signal.SIGKILL, 0, 1},
            "SIGTERM": {0, 1, 130, -signal.SIGTERM},
            "SIGTERM twice": {0, 1, 130, -signal.SIGTERM},
            None: {0, 1},
        }[start.blow]
        if start.code not in expected:
            yield f"{start.name}: not one of {sorted(expected)}"
        if start.code in (0, 1) and not done:
            yield f"{start.name}: the ledger has {dict(found)}"
        if start.code == -signal.SIGTERM and start.requests:
            yield f"{start.name}: {start.requests} requests were made"
        texted = set(self.mine())
        recorded = {customer for customer, status in rows.values() if status not in ("pending", "failed")}
        if not start.resends and not texted <= recorded:
            yield f"{start.name}: {len(texted - recorded)} texts that the ledger does not know"
        if not {customer for customer, status in rows.values() if status == "accepted"} <= texted:
            yield f"{start.name}: accepted, and the server has no text"
        if start.code in (0, 1) or (start.blow == "SIGTERM" and start.code == 130 and start.requests):
            yield from self._unfinished(start, rows)

    def _unfinished(self, start: Start, rows: dict[int, tuple[str, str]]) -> Iterator[str]:
        if any(status == "in_flight" for _, status in rows.values()):
            yield f"{start.name}: rows are in flight"
        if not (self.world.folder / "results" / "campaign-1.xlsx").exists():
            yield f"{start.name}: there are no results"
            return
        written = {row: values["status"] for row, values in self.world.workbook().items()}
        if len(written) != len(rows) or (
            not start.resends and written != {row: rows[row][1] for row in rows}
        ):
            yield f"{start.name}: the results are not those of the ledger"

    def in_flight(self) -> int:
        """Rows that are claimed and have no outcome, as the ledger has them on disk."""
        file = self.world.folder / ".batchsend" / "ledger.db"
        if not file.exists():
            return 0
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
            found = ledger.execute("SELECT count(*) FROM messages WHERE status = 'in_flight'").fetchone()
            return int(found[0])
        return 0

    # The stages

    def random_moment(self) -> Callable[[], bool]:
        end = time.monotonic() + self.random.uniform(0.2, 3.0)
        return lambda: time.monotonic() > end

    def while_planning(self) -> Callable[[], bool]:
        return lambda: any((self.world.folder / "tmp").glob("batchsend-*/plan.db"))

    def between_claim_and_post(self) -> Callable[[], bool]:
        return lambda: self.in_flight() > 0

    def between_post_and_record(self) -> Callable[[], bool]:
        arrived = self.received()
        wanted = arrived + self.random.randint(1, self.rows // 2)
        return lambda: self.received() >= wanted

    def while_the_workbook_is_written(self) -> Callable[[], bool]:
        results = self.world.folder / "results"
        return lambda: self.in_flight() == 0 and self.received() > 0 and any(results.glob(".batchsend-*.tmp"))

    def judge(self, stage: str, starts: list[Start], interrupted: list[int]) -> Verdict:
        """After the last start, compares the server's record with the results."""
        complaints = []
        texts = Counter(self.mine())
        duplicates = sum(count - 1 for count in texts.values())
        outcome = self.world.workbook()
        lost = 0
        for row in range(2, self.rows + 2):
            found = outcome.get(row)
            if found is None or found["status"] not in ("accepted", "failed", "unconfirmed"):
                lost += 1
                complaints.append(f"row {row}: {found and (found['status'], found['errorCodes'])}")
            elif found["status"] == "accepted" and texts[found["customerUUID"]] != 1:
                complaints.append(
                    f"row {row}: accepted, and the server has {texts[found['customerUUID']]} texts"
                )
            elif found["status"] == "failed" and texts[found["customerUUID"]]:
                complaints.append(f"row {row}: failed, and the server sent it")
        if len(outcome) != self.rows:
            complaints.append(f"{len(outcome)} rows in the results")
        if any(count > 2 * CONCURRENCY for count in interrupted):
            complaints.append(f"more than {2 * CONCURRENCY} unconfirmed by one kill: {interrupted}")
        blows = Counter(start.blow for start in starts if start.blow is not None)
        return Verdict(stage, blows, sum(texts.values()), duplicates, lost, interrupted, complaints)


STAGES = (
    "random_moment",
    "while_planning",
    "between_claim_and_post",
    "between_post_and_record",
    "while_the_workbook_is_written",
    "during_a_resend",
)


def play(folder: Path, sandbox: Sandbox, rows: int, seed: int) -> Verdict:
    """One round: some blows at the stage that the seed chooses, then a start that comes to its end."""
    stage = STAGES[seed % len(STAGES)]
    this = Round(folder, sandbox, rows, seed)
    starts: list[Start] = []
    interrupted: list[int] = []
    untruths: list[str] = []
    options: tuple[str, ...] = ()
    moment = stage
    if stage == "during_a_resend":
        this.world.send()
        options = ("--resend", "failed")
        moment = "between_post_and_record" if this.random.random() < 0.5 else "random_moment"
    for _ in range(this.random.randint(1, 3)):
        start = this.start(getattr(this, moment)(), *options)
        starts.append(start)
        untruths += this.untruths(start)
        if start.blow == "kill":
            interrupted.append(this.in_flight())
        if start.code in (0, 1) or (options and this.resend_has_ended()):
            break
    done = this.world.send(*(() if options and this.resend_has_ended() else options))
    verdict = this.judge(stage, starts, interrupted)
    verdict.complaints.extend(untruths)
    if done.code not in (0, 1):
        verdict.complaints.append(f"the last start ended with {done.code}: {done.err}")
    if stage == "during_a_resend":
        verdict.complaints.extend(_tried_too_often(this))
    return verdict


def _tried_too_often(this: Round) -> list[str]:
    """What failed is tried once more and no oftener, however often the resend was killed."""
    tries = Counter(r["customerUUID"] for r in this.sandbox.requests() if this.prefix in r["customerUUID"])
    return [f"{customer}: {count} requests" for customer, count in tries.items() if count > 2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()

    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="crash-") as name, ThreadPoolExecutor(given.workers) as pool:

        def work(worker: int) -> None:
            folder = Path(name) / str(worker)
            folder.mkdir()
            for seed in range(given.seed + worker, given.seed + given.rounds, given.workers):
                # A fresh server now and then keeps its record quick to read.
                lot = folder / str(seed)
                lot.mkdir()
                with running_sandbox(lot, "--latency", _LATENCY) as sandbox:
                    verdict = play(lot, sandbox, given.rows, seed)
                verdicts.append(verdict)
                for complaint in verdict.complaints[:5]:
                    print(f"round {seed} ({verdict.stage}): {complaint}", flush=True)

        list(pool.map(work, range(given.workers)))

    print(
        f"{'stage':32} {'rounds':>6} {'killed':>6} {'TERM':>6} {'TERMx2':>6} {'texts':>8} {'twice':>6} {'lost':>5} "
        "untrue  unconfirmed per kill"
    )
    for stage in (*STAGES, "all"):
        these = [v for v in verdicts if stage in (v.stage, "all")]
        counts = [count for v in these for count in v.interrupted]
        spread = f"mean {sum(counts) / len(counts):.1f}, most {max(counts)}" if counts else "-"
        print(
            f"{stage:32} {len(these):>6} "
            + "".join(f"{sum(v.blows[blow] for v in these):>6} " for blow in BLOWS if blow)
            + f"{sum(v.texts for v in these):>8} "
            f"{sum(v.duplicates for v in these):>6} {sum(v.lost for v in these):>5} "
            f"{sum(len(v.complaints) for v in these):>6}  {spread}"
        )
    return 1 if any(v.duplicates or v.lost or v.complaints for v in verdicts) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"a command hung: {error}")
