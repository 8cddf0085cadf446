"""Reads workbooks of Excel 97 to 2003 (.xls) with xlrd, which also reports hidden rows and failed formulas."""

from __future__ import annotations

import datetime as dt
import io
import mmap
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import xlrd
from xlrd.biffh import XLRDError
from xlrd.book import Book
from xlrd.compdoc import CompDoc
from xlrd.sheet import Sheet

from batchsend.errors import ListError
from batchsend.lists.cells import is_percent, percentage, text_of
from batchsend.lists.damage import FORMULA_ERROR
from batchsend.lists.formats.detect import DAMAGED, LOCKED
from batchsend.lists.formats.sheets import merged_note, notes_of, sheets_of_list
from batchsend.lists.source import LAST_ROW, FileSnapshot, ListOptions

#: Bytes. A full sheet of twelve columns has 12 million, and takes five times as much memory.
MAX_XLS_SIZE = 128 * 1024 * 1024

# Hours, minutes or seconds that do not wrap around at 24 or 60.
_ELAPSED = re.compile(r"\[[hms]+\]", re.IGNORECASE)
#: The type of an entry with data in the directory of a compound document.
_STREAM = 2
_NO_CELLS = (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK)


@dataclass(frozen=True)
class _Tab:
    name: str
    is_visible: bool
    index: int


@dataclass(frozen=True)
class XlsSource:
    """A workbook's list. Its sheets have at most 65,536 rows and stay in memory."""

    snapshot: FileSnapshot
    book: Book
    sheets: Sequence[Sheet]
    percent_formats: Mapping[int, str]
    notes: tuple[str, ...]
    hidden: frozenset[int]
    short_rows_are_malformed: bool = field(default=False, init=False)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. The rows of a second results sheet are numbered as in an .xlsx."""
        self.snapshot.check()
        for index, sheet in enumerate(self.sheets):
            for position in range(sheet.nrows):
                cells = _row(self.book, sheet, position, self.percent_formats)
                if cells and (index == 0 or position > 0):
                    yield position + 1 + index * LAST_ROW, cells
        self.snapshot.check()


def open_xls(path: Path, snapshot: FileSnapshot, options: ListOptions) -> XlsSource:
    """Loads the list's sheet. Raises ListError if it is damaged, too large, locked or one of several."""
    if snapshot.size > MAX_XLS_SIZE:
        raise ListError(
            path,
            f"It is too large: {snapshot.size:,} bytes; at most {MAX_XLS_SIZE:,} can be read in the old format. "
            "Save it as .xlsx, or split it into several lists.",
        )
    try:
        try:
            source = _open(path, snapshot, options)
        except (AssertionError, IndexError):
            with _strings_counted_anew():
                source = _open(path, snapshot, options)
    except (ListError, OSError):
        raise
    except XLRDError as error:
        raise ListError(path, LOCKED if "encrypted" in str(error) else DAMAGED) from error
    except Exception as error:
        # On damaged files, xlrd can fail with any of Python's own exceptions.
        raise ListError(path, DAMAGED) from error
    snapshot.check()
    snapshot.check_content()
    return source


@contextmanager
def _strings_counted_anew() -> Iterator[None]:
    """Lets xlrd read all shared strings, as Excel does. Some programs write a wrong number of them."""
    unpack = xlrd.book.unpack_SST_table

    def unpack_all(datatab: list[bytes], nstrings: int) -> Any:  # noqa: ARG001
        try:
            return unpack(datatab, sys.maxsize)
        except AssertionError as error:
            # It found the end of the strings before it had that many.
            *_, (frame, _) = traceback.walk_tb(error.__traceback__)
            found = frame.f_locals
            return [*found["strings"], found["accstrg"]], found["richtext_runs"]

    xlrd.book.unpack_SST_table = unpack_all
    try:
        yield
    finally:
        xlrd.book.unpack_SST_table = unpack


def _open(path: Path, snapshot: FileSnapshot, options: ListOptions) -> XlsSource:
    _check_chains(path)
    # Hidden rows are part of the formatting. With ragged rows, a stray cell takes no extra memory.
    book = xlrd.open_workbook(
        str(path), logfile=io.StringIO(), on_demand=True, formatting_info=True, ragged_rows=True
    )
    with book:
        tabs = [
            _Tab(name, not visibility, index)
            for index, (name, visibility) in enumerate(
                zip(book.sheet_names(), _visibility(book), strict=True)
            )
        ]
        formats = (book.format_map[xf.format_key].format_str or "" for xf in book.xf_list)
        percents = {index: written for index, written in enumerate(formats) if is_percent(written)}
        load = cache(book.sheet_by_index)
        chosen = sheets_of_list(path, tabs, options, lambda tab: _first_row(book, load(tab.index)))
        sheets = [load(tab.index) for tab in chosen]
    hidden = (row + index * LAST_ROW for index, sheet in enumerate(sheets) for row in _hidden(sheet))
    merged = sum(len(sheet.merged_cells) for sheet in sheets)
    notes = (*notes_of(tabs, chosen), *merged_note(merged))
    return XlsSource(snapshot, book, sheets, percents, notes, frozenset(hidden))


def _check_chains(path: Path) -> None:
    """Raises XLRDError if the sectors of a short stream form a loop.

    xlrd follows the chain of such a stream to its end, and a circle has none.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # It accepts anything that can be sliced, and has attributes that its stubs lack.
        compound: Any = CompDoc(content, logfile=io.StringIO())  # type: ignore[arg-type]
        following: Sequence[int] = compound.SSAT
        for entry in compound.dirlist:
            if entry.etype == _STREAM and entry.tot_size < compound.min_size_std_stream:
                visited: set[int] = set()
                sector = entry.first_SID
                while 0 <= sector < len(following):
                    if sector in visited:
                        raise XLRDError("a stream's sectors form a loop")
                    visited.add(sector)
                    sector = following[sector]


def _visibility(book: Book) -> list[int]:
    """0 for each visible sheet. xlrd's public API has this only on the sheet, which would have to be loaded."""
    visibility: list[int] = book._sheet_visibility  # type: ignore[attr-defined]  # noqa: SLF001
    return visibility


def _hidden(sheet: Sheet) -> Iterator[int]:
    for position in range(sheet.nrows):
        info = sheet.rowinfo_map.get(position)
        if info is None:
            is_hidden = bool(sheet.default_row_hidden)
        else:
            is_hidden = bool(info.hidden) or (info.height == 0 and not info.has_default_height)
        if is_hidden:
            yield position + 1


def _first_row(book: Book, sheet: Sheet) -> list[str]:
    rows = (_row(book, sheet, position, {}) for position in range(sheet.nrows))
    return next((cells for cells in rows if cells), [])


def _row(book: Book, sheet: Sheet, position: int, percent_formats: Mapping[int, str]) -> list[str]:
    """The row's cells, up to the last filled one."""
    cells = []
    values: Sequence[Any] = sheet.row_values(position)
    for column, (kind, value) in enumerate(zip(sheet.row_types(position), values, strict=True)):
        if kind == xlrd.XL_CELL_NUMBER and percent_formats:
            number_format = percent_formats.get(sheet.cell_xf_index(position, column), "")
            cells.append(percentage(value, number_format) or text_of(value))
        elif kind == xlrd.XL_CELL_TEXT or kind == xlrd.XL_CELL_NUMBER:
            cells.append(text_of(value))
        elif kind in _NO_CELLS:
            cells.append("")
        elif kind == xlrd.XL_CELL_DATE:
            cells.append(_moment(book, sheet, position, column, value))
        elif kind == xlrd.XL_CELL_BOOLEAN:
            cells.append("TRUE" if value else "FALSE")
        else:
            cells.append(xlrd.error_text_from_code.get(value, FORMULA_ERROR))
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _moment(book: Book, sheet: Sheet, row: int, column: int, value: float) -> str:
    """The text of a number that is formatted as a date, a time of day or a duration."""
    number_format = (
        book.format_map[book.xf_list[sheet.cell_xf_index(row, column)].format_key].format_str or ""
    )
    try:
        if _ELAPSED.search(number_format):
            return text_of(dt.timedelta(days=value))
        moment = xlrd.xldate_as_datetime(value, book.datemode)
        return text_of(moment.time() if 0 <= value < 1 else moment)
    except (ValueError, OverflowError):
        return text_of(value)
