"""Opens customer lists: any readable file becomes chunks of text cells with the spreadsheet's row numbers.

Text is never turned into a number, a date or a missing value. Problems with the whole file are raised before any row
is returned; problems with single rows are returned with the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from batchsend.errors import ListError
from batchsend.lists.cells import column_letter
from batchsend.lists.formats.detect import Format, detect
from batchsend.lists.header_row import Header, examine
from batchsend.lists.source import NO_OPTIONS, FileSnapshot, ListOptions, Source, unreadable
from batchsend.lists.spool import NoRoomError, RowBlock, Spool

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chunk", "CustomerList", "ListOptions", "open_list"]

#: Blocks of the spool in a chunk: 50,000 rows, so that the memory of a plan does not grow with the list.
CHUNK_BLOCKS = 25


def _batched(blocks: Iterator[RowBlock], size: int) -> Iterator[list[RowBlock]]:
    while some := list(islice(blocks, size)):
        yield some


def _opener(form: Format) -> Callable[[Path, FileSnapshot, ListOptions], Source]:
    """The reader for a format; only that one is imported."""
    match form:
        case Format.TEXT:
            from batchsend.lists.formats.delimited import open_text

            return open_text
        case Format.XLSX:
            from batchsend.lists.formats.xlsx.reader import open_xlsx

            return open_xlsx
        case Format.XLS:
            from batchsend.lists.formats.xls import open_xls

            return open_xls
        case Format.ODS:
            from batchsend.lists.formats.ods import open_ods

            return open_ods
        case Format.HTML:
            from batchsend.lists.formats.html import open_html

            return open_html
        case Format.SPREADSHEETML:
            from batchsend.lists.formats.spreadsheetml import open_spreadsheetml

            return open_spreadsheetml
        case Format.PARQUET:
            from batchsend.lists.formats.parquet import open_parquet

            return open_parquet
        case Format.QUERY:
            from batchsend.lists.formats.query import open_query

            return open_query


@dataclass(frozen=True)
class Chunk:
    """Some rows of a list. Blank rows are omitted, but row numbers count them."""

    #: Text cells, "" if blank: `object` columns with the list's headers; the index has the row numbers.
    frame: pd.DataFrame
    #: Row number -> what is wrong with the row, in words that follow "Row 7": `has 9 filled cells, the header has 7`.
    malformed: Mapping[int, str]
    #: The rows that the spreadsheet hides; empty unless `hidden_rows` is "skip".
    hidden: frozenset[int]


@dataclass(frozen=True)
class CustomerList:
    """A list that has been read. Its rows can be read any number of times."""

    path: Path
    headers: tuple[str, ...]
    notes: tuple[str, ...]  #: detected or assumed facts, one phrase each: `read as Windows-1252`
    saved_at: datetime  #: when the file was last modified, or its query run; UTC
    sha256: str  #: of the file's bytes, or the rows that its query found; hexadecimal
    rows: int  #: rows below the header that are not blank
    hidden_rows: int  #: how many of those the spreadsheet hides
    _snapshot: FileSnapshot = field(repr=False)
    _spool: Spool = field(repr=False)
    _header: Header = field(repr=False)
    _short_is_malformed: bool = field(repr=False)
    _skip_hidden: bool = field(repr=False)

    def chunks(self, used: Collection[int] | None = None) -> Iterator[Chunk]:
        """Yields the rows in order, at most 50,000 at a time.

        `used` has the positions of the columns that the campaign uses; None means all of them. A row of a text file
        that ends before the last of these is malformed. Raises ListError if the file has changed since it was opened.
        """
        shape = _RowShape.of(self._header, range(len(self.headers)) if used is None else used)
        self._snapshot.check()
        for blocks in _batched(self._spool.blocks(), CHUNK_BLOCKS):
            yield self._chunk(shape, blocks)
        self._snapshot.check()
        self._snapshot.check_content()

    def fingerprint(self) -> str:
        """A digest of the headers and rows as read. It does not depend on the file's format."""
        shape = _RowShape.of(self._header, ())
        digest = hashlib.sha256(repr(self.headers).encode())
        for block in self._spool.blocks():
            self._fit(shape, block)
            rows = [repr((number, *cells)) for number, cells in zip(block.numbers, block.rows, strict=True)]
            digest.update("".join(rows).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _chunk(self, shape: _RowShape, blocks: Sequence[RowBlock]) -> Chunk:
        import pandas as pd

        malformed: dict[int, str] = {}
        for block in blocks:
            malformed |= self._fit(shape, block)
        numbers = [number for block in blocks for number in block.numbers]
        frame = pd.DataFrame(
            [cells for block in blocks for cells in block.rows],
            index=pd.Index(numbers, dtype="int64", name="row"),
            columns=pd.Index(self.headers, dtype=object),
            dtype=object,
        )
        hidden = (row for block in blocks for row in block.hidden) if self._skip_hidden else ()
        return Chunk(frame, malformed, frozenset(hidden))

    def _fit(self, shape: _RowShape, block: RowBlock) -> dict[int, str]:
        """Fits the block's rows to the header; returns what is wrong with malformed rows, by row number."""
        malformed: dict[int, str] = {}
        rows = block.rows
        for index, cells in enumerate(rows):
            if len(cells) != shape.width:
                problem = shape.problem(cells, short_is_malformed=self._short_is_malformed)
                if problem:
                    malformed[block.numbers[index]] = problem
                rows[index] = shape.fit(cells)
        if len(shape.positions) != shape.width:
            block.rows = [[cells[position] for position in shape.positions] for cells in rows]
        return malformed


def open_list(path: Path, options: ListOptions = NO_OPTIONS, *, rows_needed: bool = True) -> CustomerList:
    """Detects the format and reads the whole file once.

    With `rows_needed=False`, a list with only a header is accepted. Raises ListError with every problem of the file
    as a whole.
    """
    snapshot, spool = FileSnapshot.of(path), Spool()
    with _file_errors(path):
        form = detect(path)
        source = _opener(form)(path, snapshot, options)
        found = examine(source, options.hidden_rows, spool, rows_needed=rows_needed)
    header = found.header
    headers = tuple(header.columns.values())
    if found.problems:
        refused = ListError(path, found.problems)
        refused.headers = headers or None
        raise refused
    header_note = (f"the header is in row {header.row}",) if header.row > 1 else ()
    customers = CustomerList(
        path=path,
        headers=headers,
        notes=(*source.notes, *header_note),
        saved_at=snapshot.saved_at,
        sha256=snapshot.sha256,
        rows=found.rows,
        hidden_rows=found.hidden.count,
        _snapshot=snapshot,
        _spool=spool,
        _header=header,
        _short_is_malformed=source.short_rows_are_malformed,
        _skip_hidden=options.hidden_rows == "skip",
    )
    if form is not Format.QUERY:
        return customers
    # The same query can find other rows each time: its list is as new as its rows, and identified by them.
    return replace(customers, saved_at=datetime.now(UTC), sha256=customers.fingerprint())


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turns errors of the operating system into a ListError."""
    try:
        yield
    except NoRoomError as error:
        raise ListError(path, _no_room(error)) from error
    except OSError as error:
        raise ListError(path, unreadable(error)) from error


def _no_room(error: NoRoomError) -> str:
    return (
        f"Its rows could not be stored in {gettempdir()} while they are checked ({error.__cause__}). Free some space "
        "there, or set TMPDIR (on Windows: TEMP) to a folder with more room."
    )


@dataclass(frozen=True)
class _RowShape:
    """The width of the header, and the check of a row against it."""

    width: int
    filled: int
    last_used: int
    last_used_name: str
    positions: Sequence[int]

    @classmethod
    def of(cls, header: Header, used: Collection[int]) -> _RowShape:
        positions = tuple(header.columns)
        last = max((positions[i] for i in used), default=-1)
        return cls(header.width, len(header.columns), last, header.columns.get(last, ""), positions)

    def problem(self, cells: Sequence[str], *, short_is_malformed: bool) -> str | None:
        """What is wrong with a row that is wider or narrower than the header; None if nothing is."""
        if any(cells[self.width :]):
            filled = sum(map(bool, cells))
            if filled > self.filled:
                return f"has {filled} filled cells, the header has {self.filled}"
            last = max(i for i, cell in enumerate(cells) if cell)
            return (
                f"has a value in column {column_letter(last + 1)}, "
                f"but the header ends in column {column_letter(self.width)}"
            )
        if short_is_malformed and len(cells) <= self.last_used:
            return (
                f"ends in column {column_letter(len(cells))}, but the campaign uses "
                f'"{self.last_used_name}" in column {column_letter(self.last_used + 1)}'
            )
        return None

    def fit(self, cells: Sequence[str]) -> list[str]:
        """The cells under the header, padded with blanks."""
        kept = list(cells[: self.width])
        return kept + [""] * (self.width - len(kept))
