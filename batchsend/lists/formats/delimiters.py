"""Finds the character that separates the cells of a text file, from its first records or from the options."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from batchsend.errors import ListError, Sentence
from batchsend.lists.cells import clean

#: Delimiters and their names.
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

_RECORDS = 50
# In the first line, Excel takes this for the delimiter and does not show it.
_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)


def csv_reader(
    lines: Iterable[str], delimiter: str, *, strict: bool = False, escape: str | None = None
) -> Iterator[list[str]]:
    """A reader that skips blanks before a cell, because a quotation mark behind them opens the cell."""
    return csv.reader(
        lines, delimiter=delimiter, skipinitialspace=delimiter != " ", strict=strict, escapechar=escape
    )


def delimiter_option(path: Path, wanted: str) -> str:
    """The delimiter for the `delimiter` option, which is the character or its name."""
    by_name = {name: delimiter for delimiter, name in DELIMITERS.items()}
    delimiter = by_name.get(wanted.strip().lower(), wanted)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ListError(
            path,
            Sentence(
                f'`delimiter = "{wanted}"` under [list_options] must be one character, such as "," or ";", '
                f"or one of {', '.join(by_name)}.",
                "The character between its cells cannot be used. Choose another under When, How the list is read.",
            ),
        )
    return delimiter


def delimiter_of_sep_line(line: str) -> str | None:
    """`;` for the line `sep=;`, None for any other line."""
    match = _SEP_LINE.fullmatch(line)
    return match[1] if match else None


def detect_delimiter(path: Path, lines: Sequence[str]) -> str:
    """The delimiter of `lines`, the first lines of the file; a comma if there is only one column.

    The best delimiter has valid quotation marks, then the most rows as wide as the header, then the most columns.
    Raises ListError if two are equally good.
    """
    ranked = sorted(((_fitness(lines, delimiter), delimiter) for delimiter in DELIMITERS), reverse=True)
    (best, delimiter), (second, other) = ranked[:2]
    if best[-1] < 2:
        return ","
    if best == second:
        either = f"Its columns could be separated by {DELIMITERS[delimiter]} or by {DELIMITERS[other]}"
        raise ListError(
            path,
            Sentence(
                f'{either}. Choose one: delimiter = "{DELIMITERS[delimiter]}" under [list_options].',
                f"{either}. Choose one under When, How the list is read.",
            ),
        )
    return delimiter


def _fitness(lines: Sequence[str], delimiter: str) -> tuple[bool, bool, float, int]:
    """Whether it splits the header, whether quotes are valid, share of rows as wide as the header, header width."""
    records, sound = _records(lines, delimiter)
    filled = [record for record in records if any(map(clean, record))]
    if not filled or len(filled[0]) < 2:
        return False, sound, 0.0, 1
    width = len(filled[0])
    as_wide = sum(len(record) == width for record in filled)
    return True, sound, as_wide / len(filled), width


def _records(lines: Sequence[str], delimiter: str) -> tuple[list[list[str]], bool]:
    records, error = _split(lines, delimiter, strict=True)
    # The sample may end inside a quoted cell.
    if not error or "unexpected end of data" in error:
        return records, True
    return _split(lines, delimiter, strict=False)[0], False


def _split(lines: Sequence[str], delimiter: str, *, strict: bool) -> tuple[list[list[str]], str]:
    """The first records, up to the first invalid one, and its error."""
    records: list[list[str]] = []
    try:
        for record in islice(csv_reader(lines, delimiter, strict=strict), _RECORDS):
            records.append(record)  # noqa: PERF402 keeps the records before the error
    except csv.Error as error:
        return records, str(error)
    return records, ""
