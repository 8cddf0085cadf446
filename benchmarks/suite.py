"""Measures batchsend as ratios to bare libraries: `make bench`.

Every case runs in its own process. The cases of one round follow each other, so that other load on the computer
affects all of them. A ratio is the median of the rounds; the spread is from the lowest to the highest round.
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
    """The rows of each case, and the number of rounds."""

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
class Target:
    """The bound of a ratio: `least` or `most`."""

    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        return f"<= {self.most:g}" if self.least is None else f">= {self.least:g}"

    def met(self, ratio: float) -> bool:
        return (self.least is None or ratio >= self.least) and (self.most is None or ratio <= self.most)


@dataclass(frozen=True)
class Row:
    """A line of the table, with a ratio for each round; `measured` has the figures behind the ratios."""

    benchmark: str
    target: Target
    ratios: Sequence[float]
    measured: str

    def line(self) -> str:
        if not self.ratios:
            return f"| {self.benchmark} | {self.target} | | | not measured | {self.measured} |"
        median = statistics.median(self.ratios)
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"
        met = "yes" if self.target.met(median) else "**no**"
        return f"| {self.benchmark} | {self.target} | {median:.2f} | {spread} | {met} | {self.measured} |"


@dataclass(frozen=True)
class Finished:
    """A finished process: wall seconds, and peak memory in MiB (0 if unknown)."""

    seconds: float
    peak: float


def run(command: Sequence[str], folder: Path, base_url: str = "http://127.0.0.1:9") -> Finished:
    """Runs a command to its end; exits if its exit code is not 0."""
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            # Installers compile modules; without this, each start of a program in a checkout would compile its own.
            if not name.startswith(("MYKAARMA", "BATCHSEND", "PYTHONDONTWRITEBYTECODE"))
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
        # In KiB on Linux, in bytes on macOS.
        peak = usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    else:
        code, peak = process.wait(), 0.0
    seconds = time.perf_counter() - began
    if code != 0:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return Finished(seconds, peak)


def numbers_from(*command: str) -> list[float]:
    """The numbers that another program of this folder prints."""
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [float(word) for word in done.stdout.split()]


def batchsend(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "batchsend", *arguments]


def send(folder: Path, sink: Sink) -> Finished:
    """Runs the whole command, with a new ledger."""
    for name in (".batchsend", "results"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return run(batchsend("send", "campaign.toml", "--yes", "--quiet"), folder, sink.base_url)


def ledger_file(folder: Path) -> str:
    return str(folder / ".batchsend" / "ledger.db")


def sending_phase(folder: Path) -> tuple[float, float]:
    """The time of the first request (seconds since 1970), and the seconds from then to the last answer."""
    with closing(sqlite3.connect(ledger_file(folder))) as ledger:
        sent = ledger.execute("SELECT sent_at, latency_ms FROM messages WHERE status = 'accepted'").fetchall()
    requests = [(datetime.fromisoformat(sent_at).timestamp(), latency) for sent_at, latency in sent]
    first = min(time for time, _ in requests)
    return first, max(time + latency / 1000 for time, latency in requests) - first


def sending_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """Sending compared with a plain aiohttp loop, requests with threads, and newman."""
    posts, newman = folder / "posts.jsonl", find_newman()
    write_folder(folder, "list.csv", sizes.sending)
    send(folder, sink)
    subprocess.run(
        [sys.executable, str(HERE / "parts.py"), "posts", ledger_file(folder), sink.base_url, str(posts)],
        check=True,
    )
    first_posts = folder / "first_posts.jsonl"
    with posts.open(encoding="utf-8") as lines:
        first_posts.write_text("".join(next(lines) for _ in range(sizes.requests)), encoding="utf-8")
    phase, whole, by_newman, by_requests = [], [], [], []
    rates: dict[str, list[float]] = {"loop": [], "phase": [], "command": [], "requests": [], "newman": []}
    for _ in range(sizes.rounds):
        loop = numbers_from(str(HERE / "bare.py"), "aiohttp", str(posts))[0]
        command = send(folder, sink).seconds
        sending = sending_phase(folder)[1]
        threads = numbers_from(str(HERE / "bare.py"), "requests", str(first_posts))[0]
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
    per = {name: f"{statistics.median(found):,.0f} per second" for name, found in rates.items() if found}
    of_newman = f"{per['newman']} over {sizes.newman:,} rows" if by_newman else f"newman: {newman}"
    of_requests = f"{per['requests']} over {sizes.requests:,} rows"
    return [
        Row(
            f"sending phase, {sizes.sending:,} rows vs. plain aiohttp loop",
            Target(least=0.9),
            phase,
            f"{per['phase']} vs. {per['loop']}",
        ),
        Row(
            f"whole `send`, {sizes.sending:,} rows vs. that loop",
            Target(least=0.6),
            whole,
            f"{per['command']} vs. {per['loop']}",
        ),
        Row(
            "whole `send`, rows per second vs. newman",
            Target(least=30),
            by_newman,
            f"{per['command']} vs. {of_newman}",
        ),
        Row(
            "whole `send`, rows per second vs. requests with 64 threads",
            Target(least=2.5),
            by_requests,
            f"{per['command']} vs. {of_requests}",
        ),
    ]


def preview_rows(folder: Path, sizes: Sizes) -> list[Row]:
    """The preview compared with the libraries that it needs."""
    rows = []
    for ending, reading, target in (("csv", "csv", 0.45), ("xlsx", "python-calamine", 0.55)):
        case = folder / ending
        write_folder(case, f"list.{ending}", sizes.preview)
        ratios, ours, theirs = [], [], []
        for _ in range(sizes.rounds):
            theirs.append(
                numbers_from(str(HERE / "bare.py"), f"preview-{ending}", str(case / f"list.{ending}"))[0]
            )
            ours.append(run(batchsend("preview", "campaign.toml"), case).seconds)
            ratios.append(ours[-1] / theirs[-1])
        parts = f"{reading} + phonenumbers + Jinja + XlsxWriter"
        note = f"{statistics.median(ours):.1f} s vs. {statistics.median(theirs):.1f} s"
        rows.append(
            Row(
                f"`preview` of {sizes.preview:,} .{ending} rows vs. {parts}",
                Target(most=target),
                ratios,
                note,
            )
        )
    return rows


def results_row(folder: Path, sizes: Sizes) -> Row:
    ratios, notes = [], []
    for _ in range(sizes.rounds):
        ours, theirs = numbers_from(str(HERE / "parts.py"), "results", ledger_file(folder))
        ratios.append(ours / theirs)
        notes.append((ours, theirs))
    ours, theirs = (statistics.median(column) / sizes.sending * 1e6 for column in zip(*notes, strict=True))
    return Row(
        "results workbook, per row vs. XlsxWriter in constant memory",
        Target(most=0.35),
        ratios,
        f"{ours:.0f} µs (includes reading the ledger) vs. {theirs:.0f} µs",
    )


def start_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """The time until the help appears, and until the first request is sent."""
    write_folder(folder, "list.csv", 500)
    ours, theirs, first, imports = [], [], [], []
    for _ in range(sizes.starts):
        theirs.append(run([sys.executable, "-c", "import click"], folder).seconds)
        ours.append(run(batchsend("--help"), folder).seconds)
        imports.append(run([sys.executable, "-c", "import pandas, aiohttp"], folder).seconds)
        entered = time.time()
        send(folder, sink)
        first.append(sending_phase(folder)[0] - entered)
    helps = [a / b for a, b in zip(ours, theirs, strict=True)]
    firsts = [a / b for a, b in zip(first, imports, strict=True)]

    def milliseconds(a: Sequence[float], b: Sequence[float]) -> str:
        return f"{statistics.median(a) * 1000:.0f} ms vs. {statistics.median(b) * 1000:.0f} ms"

    return [
        Row(
            "`batchsend --help` vs. `python -c 'import click'`",
            Target(most=3),
            helps,
            milliseconds(ours, theirs),
        ),
        Row(
            "from Enter to the first request, 500 rows vs. importing pandas and aiohttp",
            Target(most=2),
            firsts,
            milliseconds(first, imports),
        ),
    ]


def million_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """Memory and time for a list ten times as long, measured once."""
    if sizes.million is None:
        reason = "left out by --quick"
        return [
            Row("peak memory, 1,000,000 rows vs. 100,000 rows", Target(most=1.3), [], reason),
            Row("time, 1,000,000 rows vs. 100,000 rows", Target(most=11), [], reason),
        ]
    finished: dict[tuple[str, int], Finished] = {}
    commands: dict[str, Callable[[Path], Finished]] = {
        "preview": lambda case: run(batchsend("preview", "campaign.toml"), case),
        "send": lambda case: send(case, sink),
    }
    for count in (sizes.million // 10, sizes.million):
        case = folder / str(count)
        write_folder(case, "list.csv", count)
        for command, measure in commands.items():
            finished[command, count] = measure(case)
        shutil.rmtree(case)
    rows = []
    for command in commands:
        small, large = finished[command, sizes.million // 10], finished[command, sizes.million]
        case_name = f"`{command}`, {sizes.million:,} rows vs. {sizes.million // 10:,} rows"
        rows += [
            Row(
                f"peak memory of {case_name}",
                Target(most=1.3),
                [large.peak / small.peak] if small.peak else [],
                f"{large.peak:,.0f} MiB vs. {small.peak:,.0f} MiB",
            ),
            Row(
                f"time of {case_name}",
                Target(most=11),
                [large.seconds / small.seconds],
                f"{large.seconds:,.0f} s vs. {small.seconds:,.0f} s",
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
        f"- sink: {sink.program}, one worker on the same computer",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller lists, fewer rounds, not the million rows"
    )
    parser.add_argument("--only", nargs="+", choices=["sending", "preview", "results", "start", "million"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the table (default: RESULTS.md)")
    given = parser.parse_args()
    sizes = QUICK if given.quick else FULL
    wanted = given.only or ["sending", "results", "start", "preview", "million"]

    header = [
        "| benchmark | target | median | spread | met | measured |",
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
    command = f"make bench{' QUICK=1' if given.quick else ''}"
    preface = (
        f"Written by `{command}`. Targets, medians and spreads are ratios of the two figures in the last column. "
        f"One sending process, a durable ledger, all checks on; {sizes.rounds} interleaved rounds "
        f"({sizes.starts} for starting times)."
    )
    text = "\n".join(["# Benchmarks", "", preface, "", *about, "", *header, *lines, ""])
    given.out.write_text(text, encoding="utf-8")
    print(*about, f"Written to {given.out}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
