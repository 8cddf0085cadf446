"""Reads workbooks (.xlsx, .xlsm): values with python-calamine, everything else from the sheet's XML."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import IO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from batchsend.errors import ListError
from batchsend.lists.cells import CellValue, column_letter, text_of
from batchsend.lists.formats.sheets import merged_note, notes_of, sheets_of_list
from batchsend.lists.formats.xlsx.chunks import SheetChunks, split_into_chunks
from batchsend.lists.formats.xlsx.normalize import KeptCells, rewrite
from batchsend.lists.formats.xlsx.package import (
    DAMAGED,
    Sheet,
    check_shared_parts,
    open_package,
    parse,
    worksheets,
)
from batchsend.lists.formats.xlsx.scan import LAST_ROW, NotPlainError, SheetScan, scan_sheet
from batchsend.lists.source import FileSnapshot, ListOptions

#: Cells of the rectangle that calamine allocates.
MAX_AREA = 50_000_000
#: Cells; a larger sheet is read in chunks, which is slower but takes less memory.
_CHUNKED_ABOVE = 100_000
# The rectangle may have this many cells, or this many times the filled cells.
_SMALL_AREA = 1_000_000
_MAX_AREA_RATIO = 8


#: Row number, number of blank cells at the left, and values.
_Values = Iterator[tuple[int, int, list[CellValue]]]


@dataclass
class _LoadedSheet:
    """A sheet that calamine loads as a whole.

    The loaded sheet is kept for one more reading, because loading is slow and choosing a sheet may read its first
    row.
    """

    load: Callable[[], CalamineSheet]
    kept: CalamineSheet | None = None

    def __call__(self) -> _Values:
        if self.kept is None:
            self.kept = sheet = self.load()
        else:
            sheet, self.kept = self.kept, None
        # iter_rows begins at the top row, but at the first filled column.
        indent = sheet.start[1] if sheet.start else 0
        return ((number, indent, values) for number, values in enumerate(sheet.iter_rows(), 1))


@dataclass(frozen=True)
class _ChunkedSheet:
    """A large sheet that calamine loads one chunk at a time."""

    snapshot: FileSnapshot
    chunks: SheetChunks

    def __call__(self) -> _Values:
        self.snapshot.check()
        self.snapshot.check_content()
        with _damage_as_list_error(self.snapshot), open_package(self.snapshot.path) as archive:
            yield from self.chunks.rows(archive)


@dataclass(frozen=True)
class _XlsxSheet:
    """One sheet: its scan and a way to read its values."""

    scan: SheetScan
    values: Callable[[], _Values]
    check: Callable[[], None]
    #: The real rows and columns of the loaded cells, if blank ones were removed.
    kept: KeptCells | None = None

    def first_row(self) -> list[str]:
        return next((cells for _, cells in self.rows()), [])

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        failures, kept = self.scan.failures, self.kept
        returned = 0
        for number, indent, values in self.values():
            cells = _texts(values)
            if indent:
                cells = [""] * indent + cells
            row = number
            if kept is not None:
                row = kept.rows[number - 1]
                cells = _spread(cells, kept.columns)
            if row in failures:
                _put(cells, failures[row])
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                returned += 1
                yield row, cells
        if returned < len(self.scan.rows):
            # Probably rows of blank text. But calamine also skips XML that it cannot parse, so check.
            self.check()


@dataclass
class XlsxSource:
    """A workbook's list. The first reading uses the sheets that opening loaded; later ones load them again."""

    snapshot: FileSnapshot
    tables: list[_XlsxSheet]
    notes: tuple[str, ...]
    short_rows_are_malformed: bool = field(default=False, init=False)

    @cached_property
    def hidden(self) -> frozenset[int]:
        return frozenset(
            row + index * LAST_ROW for index, table in enumerate(self.tables) for row in table.scan.hidden
        )

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. The rows of a second results sheet follow on from a full first sheet."""
        self.snapshot.check()
        for index, table in enumerate(self.tables):
            for row, cells in table.rows():
                if index == 0 or row > 1:
                    yield row + index * LAST_ROW, cells
        self.snapshot.check()


def open_xlsx(path: Path, snapshot: FileSnapshot, options: ListOptions) -> XlsxSource:
    """Loads the list's sheet. Raises ListError if it is damaged, too large or one of several."""
    with open_package(path) as archive:
        sheets = worksheets(archive)
        check_shared_parts(archive)
        opened = cache(partial(_open_sheet, snapshot, archive))
        chosen = sheets_of_list(path, sheets, options, lambda sheet: opened(sheet).first_row())
        tables = [opened(sheet) for sheet in chosen]
    merged = sum(table.scan.merged for table in tables)
    return XlsxSource(snapshot, tables, (*notes_of(sheets, chosen), *merged_note(merged)))


def _open_sheet(snapshot: FileSnapshot, archive: zipfile.ZipFile, sheet: Sheet) -> _XlsxSheet:
    """Scans the sheet, and rewrites it if calamine could not read it in bounded memory."""
    copy: IO[bytes] | None = None
    check = partial(_check_xml, snapshot.path, sheet)
    try:
        scan = _scan(archive, sheet)
    except NotPlainError:
        copy = rewrite(archive, sheet)
        scan = _scan_copy(copy, sheet)
    if scan.area <= max(_SMALL_AREA, min(MAX_AREA, _MAX_AREA_RATIO * scan.filled)):
        chunks = split_into_chunks(archive, sheet) if copy is None and scan.filled > _CHUNKED_ABOVE else None
        if chunks is not None:
            return _XlsxSheet(scan, _ChunkedSheet(snapshot, chunks), check)
        return _XlsxSheet(scan, _LoadedSheet(partial(_load, snapshot, sheet, copy)), check)
    kept = KeptCells(scan.rows, sorted(scan.columns))
    area = len(kept.rows) * len(kept.columns)
    if area > max(_SMALL_AREA, min(MAX_AREA, _MAX_AREA_RATIO * scan.filled)):
        raise ListError(snapshot.path, _too_large(scan))
    copy = rewrite(archive, sheet, kept)
    return _XlsxSheet(scan, _LoadedSheet(partial(_load, snapshot, sheet, copy)), check, kept)


def _scan(archive: zipfile.ZipFile, sheet: Sheet) -> SheetScan:
    with archive.open(sheet.part) as stream:
        return scan_sheet(stream)


def _scan_copy(copy: IO[bytes], sheet: Sheet) -> SheetScan:
    try:
        with zipfile.ZipFile(copy) as archive:
            return _scan(archive, sheet)
    except NotPlainError:
        raise zipfile.BadZipFile from None


def _load(snapshot: FileSnapshot, sheet: Sheet, copy: IO[bytes] | None) -> CalamineSheet:
    """Loads a scanned sheet, from `copy` if there is one."""
    snapshot.check()
    snapshot.check_content()
    with _damage_as_list_error(snapshot):
        if copy is None:
            workbook = CalamineWorkbook.from_path(snapshot.path)
        else:
            copy.seek(0)
            workbook = CalamineWorkbook.from_filelike(copy)
        with workbook:
            return workbook.get_sheet_by_name(sheet.name)


@contextmanager
def _damage_as_list_error(snapshot: FileSnapshot) -> Iterator[None]:
    """Turns calamine's errors for a damaged workbook into a ListError."""
    try:
        yield
    except (CalamineError, OSError, ValueError) as error:
        snapshot.check()
        raise ListError(snapshot.path, DAMAGED) from error
    except BaseException as error:
        # A panic in calamine's Rust code derives from BaseException.
        if type(error).__name__ == "PanicException":
            raise ListError(snapshot.path, DAMAGED) from error
        raise


def _check_xml(path: Path, sheet: Sheet) -> None:
    """Raises ListError if the sheet's XML is not well-formed."""
    with open_package(path) as archive, archive.open(sheet.part) as stream:
        parse(stream)


def _too_large(scan: SheetScan) -> str:
    column = column_letter(max(scan.columns))
    return (
        f"It is too large: its {scan.filled:,} filled cells are spread over {len(scan.rows):,} rows and "
        f"{len(scan.columns):,} columns, as far as column {column} and row {scan.rows[-1]:,}; at most "
        f"{MAX_AREA:,} cells can be read. Copy the list into a new workbook, or split it."
    )


def _texts(values: list[CellValue]) -> list[str]:
    try:
        if "".join(values).isascii():  # type: ignore[arg-type]
            # The same as `text_of` for ASCII text, but faster.
            return list(map(str.strip, values))  # type: ignore[arg-type]
    except TypeError:  # some are numbers, dates and the like
        pass
    return [
        value.strip() if isinstance(value, str) and value.isascii() else text_of(value) for value in values
    ]


def _spread(cells: list[str], columns: Sequence[int]) -> list[str]:
    """Moves the cells of a copy without blank columns back to their columns."""
    spread: list[str] = []
    for column, cell in zip(columns, cells, strict=False):
        if cell:
            spread += [""] * (column - len(spread))
            spread[column - 1] = cell
    return spread


def _put(cells: list[str], failures: Mapping[int, str]) -> None:
    for column, text in failures.items():
        cells += [""] * (column - len(cells))
        cells[column - 1] = text
