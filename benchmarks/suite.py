"""How fast batchsend is, as ratios against bare libraries in the same run: `make bench`.

Every case is a process of its own. The cases of one round follow each other, so that whatever else the computer does
falls on all of them; a ratio is the median over the rounds, and its spread is that of the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from newman import find_newman, send_by_newman
from sink import Sink, running_sink
from workload import write_folder

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
LIBRARIES = (
    "aiohttp",
    "jinja2",
    "pandas",
    "phonenumbers",
    "python-calamine",
    "requests",
    "rustpy-xlsxwriter",
    "sqlalchemy",
    "xlsxwriter",
)


@dataclass(frozen=True)
class Sizes:
    """Rows of the cases, and how often each is measured."""

    sending: int
    preview: int
    requests: int
    newman: int
    rounds: int
    starts: int
    million: int | None


FULL = Sizes(20_000, 100_000, 3000, 1500, 5, 15, 1_000_000)
QUICK = Sizes(20_000, 20_000, 1000, 300, 3, 7, None)


@dataclass(frozen=True)
class Row:
    """A line of the table. `ratios`: one for each round; `note`: what stands behind them."""

    what: str
    target: float
    at_least: bool
    ratios: Sequence[float]
    note: str

    def line(self) -> str:
        bound = f"{'>=' if self.at_least else '<='} {self.target:g}"
        if not self.ratios:
            return f"| {self.what} | {bound} | | | not measured | {self.note} |"
        median = statistics.median(self.ratios)
        holds = median >= self.target if self.at_least else median <= self.target
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"
        return f"| {self.what} | {bound} | {median:.2f} | {spread} | {'yes' if holds else '**no**'} | {self.note} |"


@dataclass(frozen=True)
class Ran:
    """A process that has ended: wall seconds, and peak memory in MiB (0 where that cannot be known)."""

    seconds: float
    peak: float


def ran(command: Sequence[str], folder: Path, base_url: str = "http://127.0.0.1:9") -> Ran:
    """Runs a command to its end. Its exit code must be 0."""
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MYKAARMA", "BATCHSEND"))
        },
        "MYKAARMA_BASE_URL": base_url,
        "MYKAARMA_USERNAME": "benchmark",
        "MYKAARMA_PASSWORD": "benchmark",
    }
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        # Linux counts in KiB, macOS in bytes.
        peak = usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    else:
        code, peak = process.wait(), 0.0
    seconds = time.perf_counter() - began
    if code != 0:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return Ran(seconds, peak)


def printed(*command: str) -> list[float]:
    """The numbers that one of the programs beside this one prints."""
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [float(word) for word in done.stdout.split()]


def batchsend(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "batchsend", *arguments]


def send(folder: Path, sink: Sink) -> Ran:
    """The whole command, with a new ledger."""
    for left in (".batchsend", "results"):
        shutil.rmtree(folder / left, ignore_errors=True)
    return ran(batchsend("send", "campaign.toml", "--yes", "--quiet"), folder, sink.base_url)


def ledger_file(folder: Path) -> str:
    return str(folder / ".batchsend" / "ledger.db")


def sending_phase(folder: Path) -> tuple[float, float]:
    """When the first request left (seconds since 1970), and the seconds from then to the last answer."""
    with closing(sqlite3.connect(ledger_file(folder))) as ledger:
        sent = ledger.execute("SELECT sent_at, latency_ms FROM messages WHERE status = 'accepted'").fetchall()
    left = [(datetime.fromisoformat(sent_at).timestamp(), latency) for sent_at, latency in sent]
    first = min(moment for moment, _ in left)
    return first, max(moment + latency / 1000 for moment, latency in left) - first


def sending_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """Sending against a plain aiohttp loop, requests with threads, and newman."""
    posts, newman = folder / "posts.jsonl", find_newman()
    write_folder(folder, "list.csv", sizes.sending)
    send(folder, sink)
    subprocess.run(
        [sys.executable, str(HERE / "parts.py"), "posts", ledger_file(folder), sink.base_url, str(posts)],
        check=True,
    )
    some = folder / "some.jsonl"
    with posts.open(encoding="utf-8") as lines:
        some.write_text("".join(next(lines) for _ in range(sizes.requests)), encoding="utf-8")
    phase, whole, by_newman, by_requests = [], [], [], []
    rates: dict[str, list[float]] = {"loop": [], "phase": [], "command": [], "requests": [], "newman": []}
    for _ in range(sizes.rounds):
        loop = printed(str(HERE / "bare.py"), "aiohttp", str(posts))[0]
        command = send(folder, sink).seconds
        sending = sending_phase(folder)[1]
        threads = printed(str(HERE / "bare.py"), "requests", str(some))[0]
        rates["loop"].append(sizes.sending / loop)
        rates["phase"].append(sizes.sending / sending)
        rates["command"].append(sizes.sending / command)
        rates["requests"].append(sizes.requests / threads)
        phase.append(loop / sending)
        whole.append(loop / command)
        by_requests.append(rates["command"][-1] / rates["requests"][-1])
        if isinstance(newman, Path):
            rates["newman"].append(sizes.newman / send_by_newman(newman, posts, sizes.newman, folder))
            by_newman.append(rates["command"][-1] / rates["newman"][-1])
    per = {name: f"{statistics.median(found):,.0f} a second" for name, found in rates.items() if found}
    against = f"{per['newman']} over {sizes.newman:,} rows" if by_newman else f"newman: {newman}"
    of_requests = f"{per['requests']} over {sizes.requests:,} rows"
    return [
        Row(
            f"sending phase, {sizes.sending:,} rows, against a plain aiohttp loop",
            0.9,
            True,
            phase,
            f"{per['phase']} against {per['loop']}",
        ),
        Row(
            f"whole `send`, {sizes.sending:,} rows, against that loop",
            0.6,
            True,
            whole,
            f"{per['command']} against {per['loop']}",
        ),
        Row(
            "whole `send`, rows a second, against newman",
            30,
            True,
            by_newman,
            f"{per['command']} against {against}",
        ),
        Row(
            "whole `send`, rows a second, against requests with 64 threads",
            2.5,
            True,
            by_requests,
            f"{per['command']} against {of_requests}",
        ),
    ]


def preview_rows(folder: Path, sizes: Sizes) -> list[Row]:
    """The dry run against its bare parts."""
    rows = []
    for ending, reading, target in (("csv", "csv", 0.6), ("xlsx", "python-calamine", 0.7)):
        own = folder / ending
        write_folder(own, f"list.{ending}", sizes.preview)
        ratios, ours, theirs = [], [], []
        for _ in range(sizes.rounds):
            theirs.append(printed(str(HERE / "bare.py"), f"preview-{ending}", str(own / f"list.{ending}"))[0])
            ours.append(ran(batchsend("preview", "campaign.toml"), own).seconds)
            ratios.append(ours[-1] / theirs[-1])
        parts = f"{reading} + phonenumbers + Jinja + XlsxWriter"
        note = f"{statistics.median(ours):.1f} s against {statistics.median(theirs):.1f} s"
        rows.append(
            Row(f"`preview` of {sizes.preview:,} .{ending} rows against {parts}", target, False, ratios, note)
        )
    return rows


def results_row(folder: Path, sizes: Sizes) -> Row:
    ratios, notes = [], []
    for _ in range(sizes.rounds):
        ours, theirs = printed(str(HERE / "parts.py"), "results", ledger_file(folder))
        ratios.append(ours / theirs)
        notes.append((ours, theirs))
    ours, theirs = (statistics.median(column) / sizes.sending * 1e6 for column in zip(*notes, strict=True))
    return Row(
        "results workbook, per row, against XlsxWriter in constant memory",
        0.35,
        False,
        ratios,
        f"{ours:.0f} µs (with reading the ledger) against {theirs:.0f} µs",
    )


def start_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """How long it takes until something is to be seen."""
    write_folder(folder, "list.csv", 500)
    ours, theirs, first, imports = [], [], [], []
    for _ in range(sizes.starts):
        theirs.append(ran([sys.executable, "-c", "import click"], folder).seconds)
        ours.append(ran(batchsend("--help"), folder).seconds)
        imports.append(ran([sys.executable, "-c", "import pandas, aiohttp"], folder).seconds)
        entered = time.time()
        send(folder, sink)
        first.append(sending_phase(folder)[0] - entered)
    helps = [a / b for a, b in zip(ours, theirs, strict=True)]
    firsts = [a / b for a, b in zip(first, imports, strict=True)]

    def milliseconds(a: Sequence[float], b: Sequence[float]) -> str:
        return f"{statistics.median(a) * 1000:.0f} ms against {statistics.median(b) * 1000:.0f} ms"

    return [
        Row(
            "`batchsend --help` against `python -c 'import click'`",
            3,
            False,
            helps,
            milliseconds(ours, theirs),
        ),
        Row(
            "from Enter to the first POST, 500 rows, against importing pandas and aiohttp",
            2.5,
            False,
            firsts,
            milliseconds(first, imports),
        ),
    ]


def million_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """Memory and time of a list ten times as long, once each."""
    if sizes.million is None:
        why = "only without --quick"
        return [
            Row("peak memory, 1,000,000 rows against 100,000", 1.3, False, [], why),
            Row("time, 1,000,000 rows against 100,000", 11, False, [], why),
        ]
    found: dict[tuple[str, int], Ran] = {}
    commands: dict[str, Callable[[Path], Ran]] = {
        "preview": lambda own: ran(batchsend("preview", "campaign.toml"), own),
        "send": lambda own: send(own, sink),
    }
    for count in (sizes.million // 10, sizes.million):
        own = folder / str(count)
        write_folder(own, "list.csv", count)
        for command, run in commands.items():
            found[command, count] = run(own)
        shutil.rmtree(own)
    rows = []
    for command in commands:
        small, large = found[command, sizes.million // 10], found[command, sizes.million]
        sizes_said = f"`{command}`, {sizes.million:,} rows against {sizes.million // 10:,}"
        rows += [
            Row(
                f"peak memory of {sizes_said}",
                1.3,
                False,
                [large.peak / small.peak] if small.peak else [],
                f"{large.peak:,.0f} MiB against {small.peak:,.0f} MiB",
            ),
            Row(
                f"time of {sizes_said}",
                11,
                False,
                [large.seconds / small.seconds],
                f"{large.seconds:,.0f} s against {small.seconds:,.0f} s",
            ),
        ]
    return rows


def machine(sink: Sink) -> list[str]:
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip()
            for line in information.read_text().splitlines()
            if "model name" in line
        ]
        cpu = names[0] if names else cpu
    load = f"{os.getloadavg()[0]:.2f} at the start" if hasattr(os, "getloadavg") else "unknown"
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    system = f"{platform.system()} {platform.release()}"
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return [
        f"- {when}; {os.cpu_count()} cores, {cpu}; {system}; load {load}",
        f"- Python {platform.python_version()}, {libraries}",
        f"- sink: {sink.what}, one worker on the same computer",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller lists, fewer rounds, no million rows")
    parser.add_argument("--only", nargs="+", choices=["sending", "preview", "results", "start", "million"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the table is written (RESULTS.md)")
    given = parser.parse_args()
    sizes = QUICK if given.quick else FULL
    wanted = given.only or ["sending", "results", "start", "preview", "million"]

    header = [
        "| what | target | median | spread | holds | measured |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    print(*header, sep="\n", flush=True)
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_sink(Path(name)) as sink:
        folder = Path(name)
        about = machine(sink)
        parts: dict[str, Callable[[], list[Row]]] = {
            "sending": lambda: sending_rows(folder / "sending", sink, sizes),
            "results": lambda: [results_row(folder / "sending", sizes)],
            "start": lambda: start_rows(folder / "start", sink, sizes),
            "preview": lambda: preview_rows(folder / "preview", sizes),
            "million": lambda: million_rows(folder / "million", sink, sizes),
        }
        if "results" in wanted and "sending" not in wanted:
            write_folder(folder / "sending", "list.csv", sizes.sending)
            send(folder / "sending", sink)
        for part in wanted:
            for row in parts[part]():
                lines.append(row.line())
                print(lines[-1], flush=True)
    how = f"Written by `make bench`{' (`--quick`)' if given.quick else ''}"
    rounds = f"{sizes.rounds} interleaved rounds ({sizes.starts} of those that only start)"
    preface = f"{how}. One sending process, a durable ledger, all checks on; medians of {rounds}."
    text = "\n".join(["# Benchmarks", "", preface, "", *about, "", *header, *lines, ""])
    given.out.write_text(text, encoding="utf-8")
    print(*about, f"Written to {given.out}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
