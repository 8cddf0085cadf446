"""Measures one run on a PostgreSQL ledger with one and with several senders: `make bench-cluster`.

Database, sink and senders share this computer. The database is as durable as a ledger in a file: `fsync` and
`synchronous_commit` are on. The cases of one round follow each other; a figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import psutil
import psycopg

sys.path.insert(0, str(Path(__file__).parent))

from faces import STREAMS, batchsend, environment, send
from rates import windows_over_limit, worst_second
from sink import running_sink, slow_sink
from table import HEADER, RESULTS, Row, Target, machine, write_section
from workload import write_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from clusters import Shared
from postgres_server import PostgresServer, running_postgres
from world import World

PARTS = ("throughput", "latency", "rates")
PIPE = next(iter(STREAMS))
WORKERS = (1, 2, 4, 8)
#: As durable as a ledger in a file, and it counts statements.
_SETTINGS = """
fsync = on
full_page_writes = on
shared_buffers = 128MB
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
"""
_CLOSED = """
SELECT NOT open AND NOT EXISTS (SELECT FROM messages WHERE run_id = 1 AND status IN ('pending', 'in_flight'))
FROM handovers WHERE run_id = 1
"""
_SENT = "SELECT sent_at, latency_ms FROM messages WHERE status = 'accepted' ORDER BY sent_at"
# `calls` has all statements, also BEGIN and COMMIT, but not those of this program.
_LOAD = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       (SELECT sum(calls) FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())),
       (SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = current_database()),
       pg_current_wal_lsn() - '0/0'
"""
#: The slow API's seconds, and the requests in flight of each worker.
_LATENCY, _CONCURRENCY = 0.3, 40
#: Seconds until idle workers' connections have reported what they did at their start: PostgreSQL lets them wait for
#: ten.
_SETTLING = 11.0


@dataclass(frozen=True)
class Load:
    """The work of a database so far; `cpu`: the seconds of its processes."""

    commits: float
    statements: float
    rows: float
    wal: float
    cpu: float


@dataclass(frozen=True)
class ClusterRun:
    """A sent run, in seconds: until the first request, from there to the last answer, and `results` afterwards.

    `left`: when its requests left. `senders`: the senders' processor seconds.
    """

    start: float
    phase: float
    results: float
    left: list[float]
    load: Load = field(default_factory=lambda: Load(0, 0, 0, 0, 0))
    senders: float = 0.0

    @property
    def rate(self) -> float:
        """Texts a second."""
        return len(self.left) / self.phase


class Bench:
    """A database server, and runs on it."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self._folder = folder
        self._server = server
        self._numbers = itertools.count()

    def in_a_file(self, rows: int, base_url: str) -> ClusterRun:
        """`send` with a ledger in a file."""
        folder = self._folder / f"run-{next(self._numbers)}"
        write_folder(folder, "list.csv", rows)
        sent = send(PIPE, folder, base_url)
        return ClusterRun(sent.start, sent.phase, self._results(World(folder, base_url)), [0.0] * rows)

    def by_send(self, rows: int, base_url: str) -> ClusterRun:
        """`send` with a ledger on PostgreSQL, and no workers."""
        with self._database(rows, base_url) as shared:
            before = self._load(shared)
            command = batchsend("send", "campaign.toml", "--yes")
            began, entered = _seconds_of_children(), time.time()
            STREAMS[PIPE](command, shared.world.folder, environment() | shared.world.env())
            return self._finished(shared, rows, entered, before, _seconds_of_children() - began)

    def by_workers(
        self, count: int, rows: int, base_url: str, rate: float | None = None, connections: int | None = None
    ) -> ClusterRun:
        """Workers, after `send --detach`."""
        with self._database(rows, base_url, connections) as shared:
            with shared.workers(count, "--concurrency", "4") as workers:
                processes = [psutil.Process(worker.pid) for worker in workers]
                time.sleep(_SETTLING)
                before = self._load(shared)
                began, entered = sum(map(_seconds, processes)), time.time()
                at_rate = [] if rate is None else ["--rate", f"{rate:g}"]
                done = shared.world.run_cold("send", "campaign.toml", "--yes", "--detach", *at_rate)
                if done.code != 0:
                    sys.exit(f"the run ended with exit code {done.code}: {done.err}")
                asked = _wait_until_closed(shared)
                used = sum(map(_seconds, processes)) - began
            # The workers have ended, so the server has their counts.
            return self._finished(shared, rows, entered, before, used, asked)

    @contextmanager
    def _database(self, rows: int, base_url: str, connections: int | None = None) -> Iterator[Shared]:
        name = f"run_{next(self._numbers)}"
        folder = self._folder / name
        write_folder(folder, "list.csv", rows, *([connections] if connections else []))
        self._execute("postgres", f"CREATE DATABASE {name}")
        self._execute(name, "CREATE EXTENSION pg_stat_statements")
        yield Shared(World(folder, base_url), self._server.url(name))
        self._execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, database: str, statement: str) -> None:
        url = self._server.url(database).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _load(self, shared: Shared) -> Load:
        # The server's processes update their statistics about once a second, and when they end.
        time.sleep(1.5)
        [counts] = shared.ask(_LOAD)
        server = psutil.Process(self._server.pid)
        cpu = _seconds(server) + _seconds_of_children(server)
        for child in server.children():
            with suppress(psutil.NoSuchProcess):
                cpu += _seconds(child)
        return Load(*map(float, counts), cpu)

    def _finished(
        self, shared: Shared, rows: int, entered: float, before: Load, senders: float, asked: int = 0
    ) -> ClusterRun:
        after = self._load(shared)
        used = Load(*(b - a for a, b in zip(astuple(before), astuple(after), strict=True)))
        # Without this program's own transactions: its questions, each with BEGIN and COMMIT.
        own = asked + 1
        load = replace(used, commits=used.commits - own, statements=used.statements - 3 * own)
        found = [
            (datetime.fromisoformat(at).timestamp(), latency / 1000) for at, latency in shared.ask(_SENT)
        ]
        if len(found) != rows:
            sys.exit(f"only {len(found)} of {rows} texts were accepted")
        left = [at for at, _ in found]
        phase = max(at + latency for at, latency in found) - left[0]
        return ClusterRun(left[0] - entered, phase, self._results(shared.world), left, load, senders)

    def _results(self, world: World) -> float:
        command = batchsend("results", "1", "--out", "again.xlsx")
        return STREAMS[PIPE](command, world.folder, environment() | world.env()).seconds


def _wait_until_closed(shared: Shared) -> int:
    """Waits for the end of the run. Returns how often it asked the ledger."""
    asked, deadline = 1, time.monotonic() + 1200
    while not shared.ask(_CLOSED)[0][0]:
        if time.monotonic() > deadline:
            sys.exit("the run did not end within 20 minutes")
        time.sleep(0.5)
        asked += 1
    return asked


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _seconds_of_children(process: psutil.Process | None = None) -> float:
    """The processor seconds of the ended children of a process, or of this one."""
    times = (process or psutil.Process()).cpu_times()
    return float(times.children_user + times.children_system)


def throughput_rows(bench: Bench, folder: Path, rows: int, rounds: int) -> list[Row]:
    """The same run in a file, by `send` on PostgreSQL, and by workers."""
    runs: dict[str, list[ClusterRun]] = {}
    with running_sink(folder) as sink:
        for _ in range(rounds):
            runs.setdefault("file", []).append(bench.in_a_file(rows, sink.base_url))
            runs.setdefault("`send`", []).append(bench.by_send(rows, sink.base_url))
            for count in WORKERS:
                runs.setdefault(_workers(count), []).append(bench.by_workers(count, rows, sink.base_url))
    return [*_speeds(runs, rows), *_starts_and_results(runs), *_loads(runs, rows)]


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _speeds(runs: dict[str, list[ClusterRun]], rows: int) -> list[Row]:
    rates = {case: [run.rate for run in found] for case, found in runs.items()}
    pairs = [("`send`", "file", 0.85), ("1 worker", "file", 0.85)]
    pairs += [(_workers(count), "1 worker", 1.25) for count in WORKERS[1:]]
    return [
        _ratio(
            f"sending {rows:,} rows on PostgreSQL, {a} vs. {_named(b)}",
            Target(least=least),
            rates[a],
            rates[b],
        )
        for a, b, least in pairs
    ]


def _named(case: str) -> str:
    return "`send` with a ledger in a file" if case == "file" else case


def _ratio(
    name: str, target: Target, ours: list[float], theirs: list[float], unit: str = " per second"
) -> Row:
    figures = [a / b for a, b in zip(ours, theirs, strict=True)]
    form = "{:,.0f}" if unit == " per second" else "{:.2f}"
    a, b = (form.format(statistics.median(values)) + unit for values in (ours, theirs))
    return Row(name, target, figures, f"{a} vs. {b}")


def _starts_and_results(runs: dict[str, list[ClusterRun]]) -> list[Row]:
    file, postgres = runs["file"], runs["`send`"]
    return [
        _ratio(
            "from Enter to the first request on PostgreSQL vs. in a file",
            Target(most=1.2),
            [run.start for run in postgres],
            [run.start for run in file],
            " s",
        ),
        _ratio(
            "`results` from PostgreSQL vs. from a file",
            Target(most=1.3),
            [run.results for run in postgres],
            [run.results for run in file],
            " s",
        ),
    ]


def _loads(runs: dict[str, list[ClusterRun]], rows: int) -> list[Row]:
    """The load on the database for 1,000 texts, planning and results included."""
    kinds: list[tuple[str, Target, Callable[[Load], float]]] = [
        ("commits", Target(most=60), lambda load: load.commits),
        ("statements, with BEGIN and COMMIT,", Target(most=100), lambda load: load.statements),
        ("seconds of PostgreSQL's processor", Target(most=0.08), lambda load: load.cpu),
    ]
    return [
        Row(
            f"{name} for 1,000 texts, {case}",
            target,
            [figure(run.load) * 1000 / rows for run in found],
            _other_load(found, rows),
        )
        for name, target, figure in kinds
        for case, found in runs.items()
        if case != "file"
    ]


def _other_load(runs: Sequence[ClusterRun], rows: int) -> str:
    wal, written, senders = (
        statistics.median(values) * 1000 / rows
        for values in zip(*((run.load.wal / 1e6, run.load.rows, run.senders) for run in runs), strict=True)
    )
    return f"log {wal:.2f} MB, {written:,.0f} row writes, senders' processor {senders:.2f} s"


def latency_rows(bench: Bench, rows: int, rounds: int) -> list[Row]:
    """Where the processors are not the bound: an API that takes its time."""
    rates: dict[int, list[float]] = {1: [], 4: [], 8: []}
    with slow_sink(_LATENCY) as sink:
        for _ in range(rounds):
            for count, found in rates.items():
                run = bench.by_workers(count, rows * count, sink.base_url, connections=_CONCURRENCY)
                found.append(run.rate)
    what = f"an API that answers after {_LATENCY * 1000:.0f} ms, {rows:,} rows for each of"
    return [
        _ratio(f"{what} {count} workers vs. 1 worker", Target(least=least), rates[count], rates[1])
        for count, least in ((4, 3.6), (8, 7.0))
    ]


def rate_rows(bench: Bench, folder: Path, rates: Sequence[float], seconds: float) -> list[Row]:
    """The limit of a run that four workers send: `ceil(rate * w) + 1` requests in `w` seconds or more."""
    rows = []
    with running_sink(folder) as sink:
        for rate in rates:
            left = bench.by_workers(4, round(rate * seconds), sink.base_url, rate).left
            # Without the start and the end, when not all workers are sending.
            steady = [at for at in left if left[0] + 2 < at < left[-1] - 2]
            sustained = (len(steady) - 1) / (steady[-1] - steady[0])
            over = windows_over_limit(left, rate)
            measured = (
                f"{sustained:,.1f} per second sustained; at most {worst_second(left):,} in a second, "
                f"{math.ceil(rate) + 1:,} allowed"
            )
            rows.append(
                Row(
                    f"windows over the limit of {rate:g} per second, 4 workers",
                    Target(most=0),
                    [over],
                    measured,
                )
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, and one rate only")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some parts; the table is only printed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="rows of a run (default: 20,000)")
    parser.add_argument("--out", type=Path, help="file for the table (default: RESULTS.md)")
    given = parser.parse_args()
    rows = given.rows or (10_000 if given.quick else 20_000)
    wanted = given.only or PARTS

    print(*HEADER, sep="\n", flush=True)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name, running_postgres(_SETTINGS) as server:
        folder = Path(name)
        bench = Bench(folder, server)
        with psycopg.connect(server.url("postgres").replace("+psycopg", "")) as connection:
            database = connection.info.parameter_status("server_version")
        about = machine(
            "nginx, and an own server for the slow API; all on the same computer", "psycopg", "sqlalchemy"
        )
        parts: dict[str, Callable[[], list[Row]]] = {
            "throughput": lambda: throughput_rows(bench, folder, rows, given.rounds),
            "latency": lambda: latency_rows(bench, 1000 if given.quick else 4000, given.rounds),
            "rates": lambda: rate_rows(bench, folder, [200] if given.quick else [50, 200, 1000], 20),
        }
        for part in wanted:
            for row in parts[part]():
                lines.append(row.line())
                print(lines[-1], flush=True)
    preface = (
        f"Written by `make bench-cluster{' QUICK=1' if given.quick else ''}`. One run on a PostgreSQL ledger; "
        f"PostgreSQL {database}, `fsync` and `synchronous_commit` on. {given.rounds} interleaved rounds. Speeds are "
        f"ratios of the two figures in the last column. The load includes planning and storing the run; senders' "
        f"processor seconds are those of the workers, or of the whole `send`."
    )
    out = given.out or (None if given.only else RESULTS)
    if out is not None:
        write_section(out, "Several processes", [preface, "", *about, "", *HEADER, *lines])
        print(f"Written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
