"""Measures batchsend as ratios to bare libraries: `make bench`.

batchsend runs as people run it: on a pipe, on a terminal and from the web console (`faces.py`). Every case has its
own process. The cases of one round follow each other, so that other load on the computer affects all of them. A ratio
is the median of the rounds; the spread is from the lowest to the highest round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from faces import FACES, STREAMS, WEB, Finished, Sent, batchsend, environment, ledger_file, preview, send
from newman import find_newman, send_by_newman
from sink import Sink, running_sink
from table import HEADER, RESULTS, Row, Target, machine, write_section
from workload import write_folder

HERE = Path(__file__).parent
LIBRARIES = (
    "aiohttp",
    "jinja2",
    "orjson",
    "pandas",
    "phonenumbers",
    "python-calamine",
    "requests",
    "rustpy-xlsxwriter",
    "sqlalchemy",
    "xlsxwriter",
)
PIPE = FACES[0]
PARTS = ("sending", "others", "progress", "results", "start", "preview", "million")


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


def numbers_from(*command: str) -> list[float]:
    """The numbers that another program of this folder prints."""
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [float(word) for word in done.stdout.split()]


def ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


class Sending:
    """All ways of sending the same list, interleaved. A case is measured only if a part asks for it."""

    def __init__(self, folder: Path, sink: Sink, sizes: Sizes, faces: Sequence[str]) -> None:
        self._folder, self._url, self._sizes, self._faces = folder, sink.base_url, sizes, faces
        self._posts, self._first_posts = folder / "posts.jsonl", folder / "first_posts.jsonl"
        self._newman = find_newman()
        self._rates: dict[str, list[float]] = {}
        self._sent: dict[str, list[Sent]] = {}

    def measure(self, parts: Sequence[str]) -> list[Row]:
        write_folder(self._folder, "list.csv", self._sizes.sending)
        send(PIPE, self._folder, self._url, "--quiet")
        command = [str(HERE / "parts.py"), "posts", ledger_file(self._folder), self._url, str(self._posts)]
        subprocess.run([sys.executable, *command], check=True)
        with self._posts.open(encoding="utf-8") as lines:
            first = "".join(next(lines) for _ in range(self._sizes.requests))
        self._first_posts.write_text(first, encoding="utf-8")
        for number in range(self._sizes.rounds):
            cases = self._cases(parts)
            # What a case leaves to the next one, such as pages to be written to disk, has no side.
            for case in reversed(cases) if number % 2 else cases:
                case()
        rows = {"sending": self._to_lean, "others": self._to_others, "progress": self._to_quiet}
        return [row for part in parts for row in rows[part]()]

    def _cases(self, parts: Sequence[str]) -> list[Callable[[], None]]:
        cases: list[Callable[[], None]] = [partial(self._send, face, face) for face in self._faces]
        if "progress" in parts:
            cases.append(partial(self._send, "quiet", PIPE, "--quiet"))
            cases.append(partial(self._send, "json", PIPE, "--log-format", "json"))
        if "sending" in parts:
            cases.append(partial(self._bare, "lean", "aiohttp", self._posts, self._sizes.sending))
        if "others" in parts:
            cases.append(partial(self._bare, "requests", "requests", self._first_posts, self._sizes.requests))
            if isinstance(self._newman, Path):
                cases.append(partial(self._by_newman, self._newman))
        return cases

    def _bare(self, case: str, program: str, posts: Path, rows: int) -> None:
        self._rate(case, rows, numbers_from(str(HERE / "bare.py"), program, str(posts))[0])

    def _by_newman(self, newman: Path) -> None:
        rows = self._sizes.newman
        self._rate("newman", rows, send_by_newman(newman, self._posts, rows, self._folder))

    def _rate(self, case: str, rows: int, seconds: float) -> None:
        self._rates.setdefault(case, []).append(rows / seconds)

    def _send(self, case: str, face: str, *options: str) -> None:
        self._sent.setdefault(case, []).append(send(face, self._folder, self._url, *options))

    def _phases(self, case: str) -> list[float]:
        return [self._sizes.sending / sent.phase for sent in self._sent[case]]

    def _wholes(self, case: str) -> list[float]:
        return [self._sizes.sending / sent.whole for sent in self._sent[case]]

    def _against(self, name: str, ours: Sequence[float], case: str, target: Target, note: str = "") -> Row:
        theirs = self._rates.get(case)
        if theirs is None:
            return Row(name, target, [], f"{case}: {self._newman}")
        measured = f"{_per_second(ours)} vs. {_per_second(theirs)}{note}"
        return Row(name, target, ratios(ours, theirs), measured)

    def _to_lean(self) -> list[Row]:
        rows = f"{self._sizes.sending:,} rows"
        phase, whole = Target(least=0.95), Target(least=0.6)
        return [
            *(
                self._against(
                    f"sending phase {face}, {rows} vs. lean aiohttp loop", self._phases(face), "lean", phase
                )
                for face in self._faces
            ),
            *(
                self._against(f"whole `send` {face}, {rows} vs. that loop", self._wholes(face), "lean", whole)
                for face in self._faces
            ),
        ]

    def _to_others(self) -> list[Row]:
        programs = (
            ("newman", "newman", 35, self._sizes.newman),
            ("requests", "requests with 64 threads", 4, self._sizes.requests),
        )
        return [
            self._against(
                f"whole `send` {face}, rows per second vs. {program}",
                self._wholes(face),
                case,
                Target(least=least),
                f" over {rows:,} rows",
            )
            for case, program, least, rows in programs
            for face in self._faces
        ]

    def _to_quiet(self) -> list[Row]:
        quiet = "`send --quiet` on a pipe"
        whole = {case: [sent.whole for sent in found] for case, found in self._sent.items()}
        phase = {case: [sent.phase for sent in found] for case, found in self._sent.items()}
        cases = [(f"`send` {face} vs. {quiet}", whole, face) for face in self._faces if face != WEB]
        cases.append((f"`send --log-format json` vs. {quiet}", whole, "json"))
        if WEB in self._faces:
            cases.append((f"sending phase {WEB}, its page open, vs. that of {quiet}", phase, WEB))
        return [
            Row(
                name,
                Target(most=1.05),
                ratios(seconds[case], seconds["quiet"]),
                _seconds(seconds[case], seconds["quiet"]),
            )
            for name, seconds, case in cases
        ]


def _per_second(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f} per second"


def _seconds(a: Sequence[float], b: Sequence[float]) -> str:
    return f"{statistics.median(a):.2f} s vs. {statistics.median(b):.2f} s"


def _milliseconds(a: Sequence[float], b: Sequence[float]) -> str:
    return f"{statistics.median(a) * 1000:.0f} ms vs. {statistics.median(b) * 1000:.0f} ms"


def preview_rows(folder: Path, sizes: Sizes, faces: Sequence[str]) -> list[Row]:
    """The preview compared with the libraries that it needs."""
    rows = []
    for ending, reading, most in (("csv", "csv", 0.45), ("xlsx", "python-calamine", 0.55)):
        case = folder / ending
        write_folder(case, f"list.{ending}", sizes.preview)
        theirs: list[float] = []
        ours: dict[str, list[float]] = {face: [] for face in faces}
        for _ in range(sizes.rounds):
            bare = numbers_from(str(HERE / "bare.py"), f"preview-{ending}", str(case / f"list.{ending}"))
            theirs += bare
            for face in faces:
                ours[face].append(preview(face, case).seconds)
        parts = f"{reading} + phonenumbers + Jinja + XlsxWriter"
        rows += [
            Row(
                f"`preview` of {sizes.preview:,} .{ending} rows {face} vs. {parts}",
                Target(most=most),
                ratios(seconds, theirs),
                _seconds(seconds, theirs),
            )
            for face, seconds in ours.items()
        ]
    return rows


def results_row(folder: Path, sink: Sink, sizes: Sizes) -> Row:
    """The results workbook compared with the library that could write it."""
    write_folder(folder, "list.csv", sizes.sending)
    send(PIPE, folder, sink.base_url)
    ours, theirs = [], []
    for _ in range(sizes.rounds):
        seconds = numbers_from(str(HERE / "parts.py"), "results", ledger_file(folder))
        ours.append(seconds[0])
        theirs.append(seconds[1])
    per_row = [statistics.median(seconds) / sizes.sending * 1e6 for seconds in (ours, theirs)]
    return Row(
        "results workbook, per row vs. XlsxWriter in constant memory",
        Target(most=0.35),
        ratios(ours, theirs),
        f"{per_row[0]:.0f} µs (includes reading the ledger) vs. {per_row[1]:.0f} µs",
    )


def start_rows(folder: Path, sink: Sink, sizes: Sizes, faces: Sequence[str]) -> list[Row]:
    """The time until the help appears, and until the first request is sent."""
    write_folder(folder, "list.csv", 500)
    env = environment()
    streams = [face for face in faces if face in STREAMS]
    helps: dict[str, list[float]] = {face: [] for face in streams}
    firsts: dict[str, list[float]] = {face: [] for face in faces}
    click, libraries = [], []

    def python(code: str) -> float:
        return STREAMS[PIPE]([sys.executable, "-c", code], folder, env).seconds

    for _ in range(sizes.starts):
        click.append(python("import click"))
        for face in streams:
            helps[face].append(STREAMS[face](batchsend("--help"), folder, env).seconds)
        libraries.append(python("import pandas, aiohttp"))
        for face in faces:
            firsts[face].append(send(face, folder, sink.base_url).start)
    return [
        *(
            Row(
                f"`batchsend --help` {face} vs. `python -c 'import click'`",
                Target(most=3),
                ratios(seconds, click),
                _milliseconds(seconds, click),
            )
            for face, seconds in helps.items()
        ),
        *(
            Row(
                f"from {'the click' if face == WEB else 'Enter'} {face} to the first request, 500 rows vs. importing "
                f"pandas and aiohttp",
                Target(most=1.6),
                ratios(seconds, libraries),
                _milliseconds(seconds, libraries)
                # It is started while a person reads the question, and loads what it needs before the click.
                + ("; its process waits for the click" if face == WEB else ""),
            )
            for face, seconds in firsts.items()
        ),
    ]


#: The 1,000,000 rows are measured so often, on a pipe and on a terminal by turns.
_LARGE_ROUNDS = 3


def million_rows(folder: Path, sink: Sink, sizes: Sizes) -> list[Row]:
    """Memory and time for a list ten times as long."""
    large = sizes.million or FULL.million or 0
    small = large // 10
    names = [
        (command, what, most)
        for command in ("preview", "send")
        for what, most in (("peak memory", 1.3), ("time", 10.5))
    ]
    if sizes.million is None:
        return [
            Row(
                f"{what} of `{command}`, {large:,} vs. {small:,} rows",
                Target(most=most),
                [],
                "left out by --quick",
            )
            for command, what, most in names
        ]
    for count in (small, large):
        write_folder(folder / str(count), "list.csv", count)
    done: dict[tuple[str, int], list[Finished]] = {}
    streams = list(STREAMS)
    for number in range(_LARGE_ROUNDS):
        face = streams[number % len(streams)]
        for count in (small, large):
            case = folder / str(count)
            done.setdefault(("preview", count), []).append(preview(face, case))
            sent = send(face, case, sink.base_url)
            done.setdefault(("send", count), []).append(Finished(sent.whole, sent.peak))
    rows = []
    for command, what, most in names:
        ours, theirs = (
            [finished.seconds if what == "time" else finished.peak for finished in done[command, count]]
            for count in (large, small)
        )
        unit = "s" if what == "time" else "MiB"
        measured = f"{statistics.median(ours):,.0f} {unit} vs. {statistics.median(theirs):,.0f} {unit}"
        known = ratios(ours, theirs) if all(theirs) else []
        rows.append(
            Row(f"{what} of `{command}`, {large:,} vs. {small:,} rows", Target(most=most), known, measured)
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller lists, fewer rounds, not the million rows"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some parts; the table is only printed")
    parser.add_argument(
        "--faces",
        nargs="+",
        choices=("pipe", "terminal", "web"),
        help="some faces; the table is only printed",
    )
    parser.add_argument("--rounds", type=int, help="rounds, instead of 5 (3 with --quick)")
    parser.add_argument("--out", type=Path, help="file for the table (default: RESULTS.md)")
    given = parser.parse_args()
    sizes = QUICK if given.quick else FULL
    if given.rounds:
        sizes = replace(sizes, rounds=given.rounds, starts=given.rounds)
    wanted = given.only or PARTS
    faces = [face for face in FACES if not given.faces or any(word in face for word in given.faces)]

    print(*HEADER, sep="\n", flush=True)
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_sink(Path(name)) as sink:
        folder = Path(name)
        about = machine(f"{sink.program}, one worker on the same computer", *LIBRARIES)
        of_sending = [part for part in wanted if part in ("sending", "others", "progress")]
        parts: dict[str, Callable[[], list[Row]]] = {
            "results": lambda: [results_row(folder / "results", sink, sizes)],
            "start": lambda: start_rows(folder / "start", sink, sizes, faces),
            "preview": lambda: preview_rows(folder / "preview", sizes, faces),
            "million": lambda: million_rows(folder / "million", sink, sizes),
        }
        measures = (
            [lambda: Sending(folder / "sending", sink, sizes, faces).measure(of_sending)]
            if of_sending
            else []
        )
        measures += [measure for part, measure in parts.items() if part in wanted]
        for measure in measures:
            for row in measure():
                lines.append(row.line())
                print(lines[-1], flush=True)
    command = f"make bench{' QUICK=1' if given.quick else ''}"
    preface = (
        f"Written by `{command}`. Targets, medians and spreads are ratios of the two figures in the last column. "
        f"One sending process, a durable ledger, all checks on, progress shown; {sizes.rounds} interleaved rounds "
        f"({sizes.starts} for starting times, {_LARGE_ROUNDS} for 1,000,000 rows)."
        f"{' The targets of `preview` are for 100,000 rows.' if given.quick else ''}"
    )
    out = given.out or (None if given.only or given.faces else RESULTS)
    if out is not None:
        write_section(out, "One process", [preface, "", *about, "", *HEADER, *lines])
        print(f"Written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
