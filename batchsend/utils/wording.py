"""Formats numbers, times, ranges and commands for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

#: Characters that no shell treats specially. Paths on Windows have a colon and backslashes.
_PLAIN_PATH = re.compile(r"[\w./:\\+@%,=-]+")


def capitalized(text: str) -> str:
    """The text with a capital letter at its beginning; the rest is unchanged."""
    return text[:1].upper() + text[1:]


def install_command(extra: str, prefix: str = sys.prefix) -> str:
    """The commands that install an optional part of batchsend, as it was installed into `prefix`.

    Those of pipx and pip keep the batchsend that is installed. Without it, an index would give another project of
    this name. `uv tool` can only install anew.
    """
    if (Path(prefix) / "uv-receipt.toml").is_file():
        return f'`uv tool install --force ".[{extra}]"` in the folder that batchsend was installed from'
    wanted = f'"batchsend[{extra}]"'
    return f"`pipx runpip batchsend install {wanted}`, or `pip install {wanted}` if pip installed batchsend"


def in_command(path: str | Path) -> str:
    """A file as it is typed in a command: in quotation marks if its name has a blank or another special character."""
    text = str(path)
    return text if _PLAIN_PATH.fullmatch(text) else f'"{text}"'


def row_count(count: int) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def text_count(count: int) -> str:
    """`1 text`, `1,200 texts`."""
    return f"{count:,} {'text' if count == 1 else 'texts'}"


def reply_count(count: int) -> str:
    """`1 reply`, `1,200 replies`."""
    return f"{count:,} {'reply' if count == 1 else 'replies'}"


def segment_count(count: int) -> str:
    """`1 segment`, `1,200 segments`."""
    return f"{count:,} {'segment' if count == 1 else 'segments'}"


def time_span(seconds: float) -> str:
    """`12 seconds`, `1.5 hours`, `3 days`; tenths only below 10."""
    units = (("day", 86_400, 172_800), ("hour", 3600, 3600), ("minute", 60, 60))
    unit, size = next(((unit, size) for unit, size, least in units if seconds >= least), ("second", 1))
    value = seconds / size
    count = f"{value:,.1f}".removesuffix(".0") if value < 9.95 else f"{value:,.0f}"
    return f"{count} {unit}{'' if count == '1' else 's'}"


def duration(seconds: float) -> str:
    """An estimate: `about 12 seconds`, `about 2.5 hours`."""
    return f"about {time_span(max(1, round(seconds)))}"


def age(seconds: float) -> str:
    """How long ago: `just now`, `3 hours`, `12 days`."""
    return "just now" if seconds < 60 else time_span(seconds)


def ranges(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers, with three or more in a row joined: 2, 5–9, 12."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [
        part
        for run in runs
        for part in ([f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(number) for number in run])
    ]


def storable(text: str) -> str:
    """`text` with each lone surrogate, which no file can store, replaced by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
