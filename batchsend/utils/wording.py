"""Formats numbers, times and ranges for people. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence


def row_count(count: int) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def text_count(count: int) -> str:
    """`1 text`, `1,200 texts`."""
    return f"{count:,} {'text' if count == 1 else 'texts'}"


def segment_count(count: int) -> str:
    """`1 segment`, `1,200 segments`."""
    return f"{count:,} {'segment' if count == 1 else 'segments'}"


def duration(seconds: float) -> str:
    """`about 12 s`, `about 7 minutes`, `about 2.5 hours`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


def age(seconds: float) -> str:
    """A rough age: `just now`, `3 hours`, `12 days`."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(max(0, seconds) // size)
        if count:
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "just now"


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
