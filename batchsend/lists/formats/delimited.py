"""Reads text files: cells separated by comma, semicolon, tab or pipe, in any usual encoding.

Rows have the numbers that a spreadsheet program shows for the file: a record is one row, even if its quoted cells
span several lines, and so is a blank line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

from batchsend.errors import ListError, Sentence
from batchsend.lists.cells import clean, cleaner
from batchsend.lists.formats.delimiters import (
    DELIMITERS,
    csv_reader,
    delimiter_of_sep_line,
    delimiter_option,
    detect_delimiter,
)
from batchsend.lists.formats.encodings import detect_encoding
from batchsend.lists.source import FileSnapshot, ListOptions, cell_too_long
from batchsend.utils.progress import report

#: Characters of a line; a longer line is an error.
MAX_LINE_LENGTH = 4 * 1024 * 1024

_SAMPLE_LINES = 200
# Follows the last line. If the csv module returns it as a record, all quotation marks were closed.
_END = "\0end of file\0"
# Some old programs write Ctrl-Z at the end of a text.
_CTRL_Z = "\x1a"
# Lines that are read at a time.
_LINES = 200
_BUFFER = 256 * 1024
# Bytes at the end of a file in which its last line end is looked for.
_TAIL = 256


@dataclass(frozen=True)
class TextSource:
    """A text file whose encoding and delimiter are known."""

    path: Path
    snapshot: FileSnapshot
    encoding: str
    delimiter: str
    has_sep_line: bool
    notes: tuple[str, ...]
    hidden: frozenset[int] = frozenset()
    short_rows_are_malformed: bool = True

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. Memory does not grow with the file."""
        self.snapshot.check()
        try:
            yield from self._rows()
        except (UnicodeError, OSError, csv.Error):
            # Opening read the whole file without an error, so the file must have changed.
            self.snapshot.check()
            self.snapshot.check_content()
            raise
        self.snapshot.check()
        self.snapshot.check_content()

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with _open(self.path, self.encoding) as file:
            lines = _Lines(self.path, file)
            if self.has_sep_line:
                lines.take(1)
            number = 1
            while some := lines.take(_LINES):
                text = "".join(some)
                if records := self._plain(some, text):
                    clean_cell = cleaner(text)
                else:
                    records, clean_cell = self._careful(some, lines, number), clean
                for row, record in enumerate(records, number):
                    yield row, list(map(clean_cell, record))
                number += len(records)
                report(file.buffer.tell(), self.snapshot.size)

    def _plain(self, lines: list[str], text: str) -> list[list[str]] | None:
        """The records of the lines of `text`, if each has one record; None for other lines."""
        if '"' not in text:
            return [line.split(self.delimiter) for line in lines]
        if '\\"' in text:
            return None
        try:
            *records, _ = csv_reader([*lines, _END], self.delimiter)
        except csv.Error:  # a cell longer than the csv module accepts
            return None
        return records if len(records) == len(lines) else None

    def _careful(self, some: list[str], lines: _Lines, number: int) -> list[list[str]]:
        """The records that begin in `some` lines; the last one may end in later lines."""
        of_record: list[str] = []

        def feed() -> Iterator[str]:
            more = some
            while more:
                for line in more:
                    of_record.append(line)
                    yield line
                more = lines.take(1)
            of_record.append(_END)
            yield _END

        records: list[list[str]] = []
        reader = csv_reader(feed(), self.delimiter)
        taken = 0
        while taken < len(some):
            try:
                record = next(reader)
            except csv.Error:  # a cell longer than the csv module accepts
                row = number + len(records)
                problem = _unclosed(row) if len(of_record) > 1 else cell_too_long(row)
                raise ListError(self.path, problem) from None
            records += self._checked(record, of_record, number + len(records))
            taken += len(of_record)
            of_record.clear()
        return records

    def _checked(self, record: list[str], lines: list[str], number: int) -> list[list[str]]:
        """The records in the lines of `record`, which is several if quotation marks were misunderstood.

        Some programs write a backslash before a quotation mark in a cell. Raises ListError for such a record, or one
        of several lines, that is not strictly quoted: a stray quotation mark swallowed rows.
        """
        is_escaped = any('\\"' in line for line in lines)
        if len(lines) == 1 and not is_escaped:
            return [record]
        for escape in (None, "\\") if is_escaped else (None,):
            try:
                written = lines if escape is None else [line for line in lines if line is not _END]
                return list(csv_reader(written, self.delimiter, strict=True, escape=escape))
            except csv.Error:
                continue
        raise ListError(self.path, _unclosed(number))


def open_text(path: Path, snapshot: FileSnapshot, options: ListOptions) -> TextSource:
    """Detects encoding and delimiter. Raises ListError if the file is not text or an option does not apply."""
    if options.sheet is not None:
        raise ListError(
            path,
            Sentence(
                "It is a text file, which has no sheets. Remove `sheet` from [list_options].",
                "It is a text file, which has no sheets. On the page of the list, press “Choose again”.",
            ),
        )
    encoding, note = detect_encoding(path, options.encoding)
    with _open(path, encoding) as file:
        lines = _Lines(path, file).take(_SAMPLE_LINES)
    by_sep_line = delimiter_of_sep_line(lines[0]) if lines else None
    delimiter = (
        delimiter_option(path, options.delimiter)
        if options.delimiter is not None
        else by_sep_line or detect_delimiter(path, lines)
    )
    name = DELIMITERS.get(delimiter) if delimiter != "," else None
    return TextSource(
        path=path,
        snapshot=snapshot,
        encoding=encoding,
        delimiter=delimiter,
        has_sep_line=by_sep_line is not None,
        notes=(
            *([note] if note else []),
            *([f"separated by {name}s"] if name else []),
            *([] if ends_with_line(path) else ["its last line has no line end"]),
        ),
    )


def ends_with_line(path: Path) -> bool:
    """Whether the last line of a text file has its line end. A file that was cut off in a row has not."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - _TAIL))
        tail = file.read()
    # In UTF-16 and UTF-32, every line end has zeros around it.
    return tail.replace(b"\0", b"").rstrip(b" \t\x1a")[-1:] in (b"\n", b"\r")


def _open(path: Path, encoding: str) -> TextIO:
    # newline="" preserves line ends in quoted cells.
    return io.TextIOWrapper(path.open("rb", buffering=_BUFFER), encoding=encoding, newline="")


class _Lines:
    """The lines of a file."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._lines = iter(partial(file.readline, MAX_LINE_LENGTH), "")
        self._count = 0

    def take(self, count: int) -> list[str]:
        """The next lines; none at the end of the file."""
        lines = list(islice(self._lines, count))
        if lines and max(map(len, lines)) == MAX_LINE_LENGTH:
            number = self._count + next(i for i, line in enumerate(lines, 1) if len(line) == MAX_LINE_LENGTH)
            raise ListError(
                self._path,
                f"Line {number:,} is longer than {MAX_LINE_LENGTH:,} characters, which is too long for a list. "
                "Export the list again.",
            )
        if lines and lines[-1].endswith(_CTRL_Z):
            lines[-1] = lines[-1].rstrip(_CTRL_Z)
        self._count += len(lines)
        return lines


def _unclosed(number: int) -> str:
    return (
        f"The quotation marks in row {number:,} do not match: a cell opens one and never closes it, so the rows "
        'below would be lost. Fix the row (write a " inside a cell twice, and put one at each end of the cell), or '
        "export the list again."
    )
