"""Reads text files: cells separated by comma, semicolon, tab or pipe, in any usual encoding.

Rows have the numbers that a spreadsheet program shows for the file: a record is one row, even if its quoted cells
span several lines, and so is a blank line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

from batchsend.errors import ListError
from batchsend.lists.cells import clean
from batchsend.lists.formats.delimiters import (
    DELIMITERS,
    delimiter_of_sep_line,
    delimiter_option,
    detect_delimiter,
)
from batchsend.lists.formats.encodings import detect_encoding
from batchsend.lists.source import FileSnapshot, ListOptions, cell_too_long

#: Characters of a line; a longer line is an error.
MAX_LINE_LENGTH = 4 * 1024 * 1024

_SAMPLE_LINES = 200
# Follows the last line. If the csv module returns it as a record, all quotation marks were closed.
_END = "\0end of file\0"
# Some old programs write Ctrl-Z at the end of a text.
_CTRL_Z = ["\x1a"]
_BUFFER = 256 * 1024


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
            if self.has_sep_line:
                file.readline()
            lines = _Lines(self.path, file)
            reader = csv.reader(lines, delimiter=self.delimiter)
            number = 0
            while True:
                number += 1
                try:
                    record = next(reader)
                except csv.Error:  # a cell longer than the csv module accepts
                    problem = _unclosed(number) if len(lines.of_record) > 1 else cell_too_long(number)
                    raise ListError(self.path, problem) from None
                is_ascii = lines.of_record[0].isascii()
                if len(lines.of_record) > 1:
                    self._check_quotes(lines.of_record, number)
                    is_ascii = all(map(str.isascii, lines.of_record))
                elif lines.of_record[0] is _END:
                    return
                lines.of_record.clear()
                # The same as `clean` for ASCII cells, but faster.
                cells = list(map(str.strip if is_ascii else clean, record))
                if cells != _CTRL_Z:
                    yield number, cells

    def _check_quotes(self, lines: list[str], number: int) -> None:
        """Refuses a record of several lines that is not strictly quoted: a stray quotation mark swallowed rows."""
        try:
            sound = lines[-1] is not _END and list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error:
            sound = False
        if not sound:
            raise ListError(self.path, _unclosed(number))


def open_text(path: Path, snapshot: FileSnapshot, options: ListOptions) -> TextSource:
    """Detects encoding and delimiter. Raises ListError if the file is not text or an option does not apply."""
    if options.sheet is not None:
        raise ListError(path, "It is a text file, which has no sheets. Remove `sheet` from [list_options].")
    encoding, note = detect_encoding(path, options.encoding)
    with _open(path, encoding) as file:
        lines = list(islice(_Lines(path, file), _SAMPLE_LINES))
    if lines[-1] is _END:
        lines.pop()
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
        notes=(*([note] if note else []), *([f"separated by {name}s"] if name else [])),
    )


def _open(path: Path, encoding: str) -> TextIO:
    # newline="" preserves line ends in quoted cells.
    return io.TextIOWrapper(path.open("rb", buffering=_BUFFER), encoding=encoding, newline="")


@dataclass
class _Lines:
    """The lines of a file, then `_END`. `of_record` collects the lines since it was last cleared."""

    path: Path
    file: TextIO
    of_record: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        keep = self.of_record.append
        read = self.file.readline
        count = 0
        while line := read(MAX_LINE_LENGTH):
            count += 1
            if len(line) == MAX_LINE_LENGTH:
                raise ListError(
                    self.path,
                    f"Line {count:,} is longer than {MAX_LINE_LENGTH:,} characters, which is too long for a list. "
                    "Export the list again.",
                )
            keep(line)
            yield line
        keep(_END)
        yield _END


def _unclosed(number: int) -> str:
    return (
        f"The quotation marks in row {number:,} do not match: a cell opens one and never closes it, so the rows "
        'below would be lost. Fix the row (write a " inside a cell twice, and put one at each end of the cell), or '
        "export the list again."
    )
