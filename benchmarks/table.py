"""The tables of `RESULTS.md`: a line for each benchmark, with its target and whether it was met."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADER = (
    "| benchmark | target | median | spread | met | measured |",
    "| --- | --- | --- | --- | --- | --- |",
)
_TITLE = "# Benchmarks\n"


@dataclass(frozen=True)
class Target:
    """The bound of a figure: `least` or `most`."""

    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        return f"<= {self.most:g}" if self.least is None else f">= {self.least:g}"

    def met(self, figure: float) -> bool:
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)


@dataclass(frozen=True)
class Row:
    """A line of the table, with a figure for each round; `measured` has what is behind the figures."""

    benchmark: str
    target: Target
    figures: Sequence[float]
    measured: str

    def line(self) -> str:
        if not self.figures:
            return f"| {self.benchmark} | {self.target} | | | not measured | {self.measured} |"
        median = statistics.median(self.figures)
        spread = f"{min(self.figures):.2f} to {max(self.figures):.2f}"
        met = "yes" if self.target.met(median) else "**no**"
        return f"| {self.benchmark} | {self.target} | {median:.2f} | {spread} | {met} | {self.measured} |"


def machine(sink: str, *libraries: str) -> list[str]:
    """What was measured with, as a list in Markdown."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"model name\s*: (.+)", information.read_text(encoding="utf-8"))
        cpu = found[1] if found else cpu
    load = f"{os.getloadavg()[0]:.2f} at the start" if hasattr(os, "getloadavg") else "unknown"
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    system = f"{platform.system()} {platform.release()}"
    versions = "".join(f", {name} {version(name)}" for name in libraries)
    return [
        f"- {when}; {os.cpu_count()} cores, {cpu}; {system}; load {load}",
        f"- Python {platform.python_version()}{versions}",
        f"- sink: {sink}",
    ]


def write_section(file: Path, heading: str, lines: Sequence[str]) -> None:
    """Writes the section `heading` of `file`; the other sections stay."""
    before = file.read_text(encoding="utf-8") if file.exists() else _TITLE
    _, *sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)
    section = "\n".join([f"## {heading}", "", *lines, "", ""])
    others = [text.rstrip() + "\n\n" for text in sections if not text.startswith(f"## {heading}\n")]
    # Sections are in the order of their headings, whichever command ran last.
    file.write_text((_TITLE + "\n" + "".join(sorted([*others, section]))).rstrip() + "\n", encoding="utf-8")
