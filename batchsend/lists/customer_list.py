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
from itertools import chain, islice
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from batchsend.errors import ListError, unreadable
from batchsend.lists.formats.detect import Format, detect
from batchsend.lists.header_row import Examination, Header, RowShape, examine
from batchsend.lists.source import NO_OPTIONS, FileSnapshot, ListOptions, Source
from batchsend.lists.spool import NoRoomError, RowBlock, Spool
from batchsend.utils.progress import step

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chunk", "CustomerList", "ListOptions", "open_list"]

#: Blocks of the spool in a chunk: 50,000 rows, so that the memory of a plan does not grow with the list.
CHUNK_BLOCKS = 250
#: The part of the time of reading that a file takes to be opened: texts, and formats that are unpacked or loaded.
_TEXT_OPENED, _OPENED = 0.1, 0.6


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
        case Format.EXTENSION:
            from batchsend.lists.formats.extension import open_extension

            return open_extension


@dataclass(frozen=True)
class Chunk:
    """Some rows of a list. Blank rows are omitted, but row numbers count them."""

    #: Text cells, "" if blank: `object` columns with the list's headers; the index has the row numbers.
    frame: pd.DataFrame
    #: Row number -> what is wrong with the row, in words that follow "Row 7": `has 9 cells, the header has 7`.
    malformed: Mapping[int, str]
    #: The rows that the spreadsheet hides; empty unless `hidden_rows` is "skip".
    hidden: frozenset[int]


@dataclass(frozen=True)
class CustomerList:
    """A list that has been read. Its rows can be read any number of times."""

    path: Path
    headers: tuple[str, ...]
    notes: tuple[str, ...]  #: detected or assumed facts, one phrase each: `read as Windows-1252`
    saved_at: datetime  #: when the file was last modified, or its rows were fetched by a query; UTC
    sha256: str  #: of the file's bytes, or of the rows that were fetched; hexadecimal
    rows: int  #: rows below the header that are not blank
    hidden_rows: int  #: how many of those the spreadsheet hides
    top: tuple[
        tuple[int, tuple[str, ...]], ...
    ]  #: the first rows as they are in the file, with their numbers
    cut_row: int | None  #: the last row of a text file that looks cut off: it ends early, without a line end
    _snapshot: FileSnapshot = field(repr=False)
    _spool: Spool = field(repr=False)
    _shape: RowShape = field(repr=False)
    _skip_hidden: bool = field(repr=False)

    @property
    def header(self) -> Header:
        """Where the list's header and its columns are in the file."""
        return self._shape.header

    @property
    def columns_left_alone(self) -> tuple[str, ...]:
        """The letters of the columns that have values but no header."""
        return self._shape.letters_left_alone

    def chunks(self, used: Collection[int] | None = None) -> Iterator[Chunk]:
        """Yields the rows in order, at most 50,000 at a time.

        `used` has the positions of the columns that the campaign uses; None means all of them. A row of a text file
        that ends before the last of these is malformed. Raises ListError if the file has changed since it was opened.
        """
        positions = tuple(self._shape.header.columns)
        last_used = max((positions[i] for i in (range(len(positions)) if used is None else used)), default=-1)
        self._snapshot.check()
        for blocks in _batched(self._spool.blocks(), CHUNK_BLOCKS):
            yield self._chunk(blocks, last_used)
        self._snapshot.check()
        self._snapshot.check_content()

    def blocks(self, only: slice = slice(None)) -> Iterator[RowBlock]:
        """Yields the rows in order as they are stored, or only some blocks. Faster than `chunks`; checks nothing."""
        return self._spool.blocks(only)

    def chunk_of(self, blocks: Sequence[RowBlock]) -> Chunk:
        """Returns the rows of some blocks. As in `chunks(())`, cells at their ends may be missing."""
        return self._chunk(blocks, last_used=-1)

    def fingerprint(self) -> str:
        """A digest of the headers and rows as read. It does not depend on the file's format."""
        digest = hashlib.sha256(repr(self.headers).encode())
        for block in self._spool.blocks():
            rows = map(repr, zip(block.numbers, *block.columns, strict=True))
            digest.update("".join(rows).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _chunk(self, blocks: Sequence[RowBlock], last_used: int) -> Chunk:
        import pandas as pd

        frame = pd.DataFrame(
            {
                i: list(chain.from_iterable(block.columns[i] for block in blocks))
                for i in range(len(self.headers))
            },
            index=pd.Index([row for block in blocks for row in block.numbers], dtype="int64", name="row"),
            dtype=object,
        )
        frame.columns = pd.Index(self.headers, dtype=object)
        malformed = {
            row: problem
            for block in blocks
            for row, (cells, stray) in block.odd.items()
            if (problem := self._shape.problem(cells, stray, last_used))
        }
        hidden = (row for block in blocks for row in block.hidden) if self._skip_hidden else ()
        return Chunk(frame, malformed, frozenset(hidden))


def open_list(path: Path, options: ListOptions = NO_OPTIONS, *, rows_needed: bool = True) -> CustomerList:
    """Detects the format and reads the whole file once.

    With `rows_needed=False`, a list with only a header is accepted. Raises ListError with every problem of the file
    as a whole.
    """
    snapshot, spool = FileSnapshot.of(path), Spool()
    with _file_errors(path):
        form = Format.EXTENSION if options.extension is not None else detect(path)
        opened = _TEXT_OPENED if form is Format.TEXT else _OPENED
        with step(0.0, opened):
            source = _opener(form)(path, snapshot, options)
        with step(opened, 1.0):
            found = examine(source, options, spool, rows_needed=rows_needed)
    headers = tuple(found.header.columns.values())
    if found.problems:
        raise _refused(path, found, headers)
    customers = CustomerList(
        path=path,
        headers=headers,
        notes=(*source.notes, *found.notes),
        saved_at=snapshot.saved_at,
        sha256=snapshot.sha256,
        rows=found.rows,
        hidden_rows=len(found.hidden),
        top=found.top,
        cut_row=_cut_row(path, found) if form is Format.TEXT else None,
        _snapshot=snapshot,
        _spool=spool,
        _shape=found.shape,
        _skip_hidden=options.hidden_rows == "skip",
    )
    if form not in (Format.QUERY, Format.EXTENSION):
        return customers
    # The same query can find other rows each time: its list is as new as its rows, and identified by them.
    return replace(customers, saved_at=datetime.now(UTC), sha256=customers.fingerprint())


def _refused(path: Path, found: Examination, headers: tuple[str, ...]) -> ListError:
    refused = ListError(path, [problem.sentence for problem in found.problems])
    refused.headers = headers or None
    options = [problem.option for problem in found.problems]
    refused.options = frozenset() if None in options else frozenset(filter(None, options))
    refused.hidden_rows, refused.top = len(found.hidden), found.top
    return refused


def _cut_row(path: Path, found: Examination) -> int | None:
    from batchsend.lists.formats.delimited import ends_with_line

    is_short = found.rows > 0 and found.last_width < found.header.width
    return found.last_row if is_short and not ends_with_line(path) else None


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
