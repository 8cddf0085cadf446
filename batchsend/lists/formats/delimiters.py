"""Which character separates the cells of a text file: found out from its first records, or as the options say."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from batchsend.errors import ListError
from batchsend.lists.cells import clean

#: Delimiters and what people call them.
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

_RECORDS = 50
# Excel's own mark, in the first line: it says the delimiter and is never shown.
_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)


def wanted_delimiter(path: Path, wanted: str) -> str:
    """The delimiter that `delimiter` of the list's options asks for, by itself or by its name."""
    by_name = {name: delimiter for delimiter, name in DELIMITERS.items()}
    delimiter = by_name.get(wanted.strip().lower(), wanted)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ListError(
            path,
            f'`delimiter = "{wanted}"` under [list_options] must be one character, such as "," or ";", '
            f"or one of {', '.join(by_name)}.",
        )
    return delimiter


def delimiter_of_sep_line(line: str) -> str | None:
    """`;` for the line `sep=;`, None for any other line."""
    match = _SEP_LINE.fullmatch(line)
    return match[1] if match else None


def find_delimiter(path: Path, lines: Sequence[str]) -> str:
    """The delimiter that makes of `lines`, the first ones of the file, a table. One-column files get a comma.

    The one whose quotation marks are sound, by which most rows are as wide as the header, and which gives the
    most columns wins. Raises ListError where two do equally well.
    """
    ranked = sorted(((_fitness(lines, delimiter), delimiter) for delimiter in DELIMITERS), reverse=True)
    (best, delimiter), (second, other) = ranked[:2]
    if best[-1] < 2:
        return ","
    if best == second:
        raise ListError(
            path,
            f"Its columns could be separated by {DELIMITERS[delimiter]} or by {DELIMITERS[other]}. Say which: "
            f'delimiter = "{DELIMITERS[delimiter]}" under [list_options].',
        )
    return delimiter


def _fitness(lines: Sequence[str], delimiter: str) -> tuple[bool, bool, float, int]:
    """Splits the header at all, sound quotes, share of rows as wide as the header, width of the header."""
    records, sound = _records(lines, delimiter)
    filled = [record for record in records if any(map(clean, record))]
    if not filled or len(filled[0]) < 2:
        return False, sound, 0.0, 1
    width = len(filled[0])
    as_wide = sum(len(record) == width for record in filled)
    return True, sound, as_wide / len(filled), width


def _records(lines: Sequence[str], delimiter: str) -> tuple[list[list[str]], bool]:
    records, error = _split(lines, delimiter, strict=True)
    # The sample may end within a quoted cell, which is no fault of the delimiter.
    if not error or "unexpected end of data" in error:
        return records, True
    return _split(lines, delimiter, strict=False)[0], False


def _split(lines: Sequence[str], delimiter: str, *, strict: bool) -> tuple[list[list[str]], str]:
    """The first records up to one that is wrong, and what is wrong with it."""
    records: list[list[str]] = []
    try:
        for record in islice(csv.reader(lines, delimiter=delimiter, strict=strict), _RECORDS):
            records.append(record)  # noqa: PERF402 keeps those before the error
    except csv.Error as error:
        return records, str(error)
    return records, ""
