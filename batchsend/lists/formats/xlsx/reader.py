"""Lists in workbooks (.xlsx, .xlsm): values by python-calamine, the rest from the sheet's own XML."""

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
from batchsend.lists.formats.sheets import notes_of, sheets_of_list
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
#: Cells; a sheet with more is read in chunks, which takes longer and less memory.
_CHUNKED_ABOVE = 100_000
# Up to here, and up to so many times the filled cells, the rectangle may be mostly empty.
_SMALL_AREA = 1_000_000
_SPARSE = 8


#: Row number, number of blank cells in front, and values.
_Values = Iterator[tuple[int, int, list[CellValue]]]


@dataclass
class _LoadedSheet:
    """A sheet that calamine loads at once.

    What was loaded is kept for one more reading: a sheet's first row may say whether it is the list, and loading is
    what takes long.
    """

    load: Callable[[], CalamineSheet]
    kept: CalamineSheet | None = None

    def __call__(self) -> _Values:
        if self.kept is None:
            self.kept = sheet = self.load()
        else:
            sheet, self.kept = self.kept, None
        # iter_rows begins at the sheet's top, but at its first filled column.
        indent = sheet.start[1] if sheet.start else 0
        return ((number, indent, values) for number, values in enumerate(sheet.iter_rows(), 1))


@dataclass(frozen=True)
class _ChunkedSheet:
    """A large sheet, of which calamine sees a piece at a time."""

    snapshot: FileSnapshot
    chunks: SheetChunks

    def __call__(self) -> _Values:
        self.snapshot.check()
        self.snapshot.check_content()
        with _damage_as_list_error(self.snapshot), open_package(self.snapshot.path) as archive:
            yield from self.chunks.rows(archive)


@dataclass(frozen=True)
class _XlsxSheet:
    """One sheet: how it is built, and how to come by its values."""

    scan: SheetScan
    values: Callable[[], _Values]
    check: Callable[[], None]
    #: Where the loaded rows and columns really stand, if the sheet had to be drawn together.
    places: KeptCells | None = None

    def first_row(self) -> list[str]:
        return next((cells for _, cells in self.rows()), [])

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        failures, places = self.scan.failures, self.places
        given = 0
        for number, indent, values in self.values():
            cells = _texts(values)
            if indent:
                cells = [""] * indent + cells
            row = number
            if places is not None:
                row = places.rows[number - 1]
                cells = _spread(cells, places.columns)
            if row in failures:
                _put(cells, failures[row])
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                given += 1
                yield row, cells
        if given < len(self.scan.rows):
            # Rows of blank texts, most likely; but calamine also passes over what it cannot make sense of.
            self.check()


@dataclass
class XlsxSource:
    """A workbook's list. A reading uses what opening has loaded, if it has; else it loads the sheet again."""

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
    """Finds the list's sheet and loads it. Raises ListError if it is damaged, too large or one of several."""
    with open_package(path) as archive:
        sheets = worksheets(archive)
        check_shared_parts(archive)
        opened = cache(partial(_open_sheet, snapshot, archive))
        chosen = sheets_of_list(path, sheets, options, lambda sheet: opened(sheet).first_row())
        tables = [opened(sheet) for sheet in chosen]
    notes = notes_of(sheets, chosen)
    merged = sum(table.scan.merged for table in tables)
    if merged:
        areas = "1 merged area" if merged == 1 else f"{merged:,} merged areas"
        notes.append(f"{areas}: only the top left cell of a merged area has a value")
    return XlsxSource(snapshot, tables, tuple(notes))


def _open_sheet(snapshot: FileSnapshot, archive: zipfile.ZipFile, sheet: Sheet) -> _XlsxSheet:
    """Looks at how the sheet is built, and sees to it that calamine meets only what it can read in bounded memory."""
    copy: IO[bytes] | None = None
    check = partial(_check_xml, snapshot.path, sheet)
    try:
        scan = _scan(archive, sheet)
    except NotPlainError:
        copy = rewrite(archive, sheet)
        scan = _scan_copy(copy, sheet)
    if scan.area <= max(_SMALL_AREA, min(MAX_AREA, _SPARSE * scan.filled)):
        chunks = split_into_chunks(archive, sheet) if copy is None and scan.filled > _CHUNKED_ABOVE else None
        if chunks is not None:
            return _XlsxSheet(scan, _ChunkedSheet(snapshot, chunks), check)
        return _XlsxSheet(scan, _LoadedSheet(partial(_load, snapshot, sheet, copy)), check)
    places = KeptCells(scan.rows, sorted(scan.columns))
    area = len(places.rows) * len(places.columns)
    if area > max(_SMALL_AREA, min(MAX_AREA, _SPARSE * scan.filled)):
        raise ListError(snapshot.path, _too_large(scan))
    copy = rewrite(archive, sheet, places)
    return _XlsxSheet(scan, _LoadedSheet(partial(_load, snapshot, sheet, copy)), check, places)


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
    """The values of a sheet whose scan is known, from `copy` if there is one."""
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
    """Makes a ListError of whatever calamine says of a damaged workbook."""
    try:
        yield
    except (CalamineError, OSError, ValueError) as error:
        snapshot.check()
        raise ListError(snapshot.path, DAMAGED) from error
    except BaseException as error:
        # A panic in calamine's Rust code derives from BaseException, so that nobody catches it by chance.
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
            # What `text_of` does to a text of ASCII, for a whole row at once.
            return list(map(str.strip, values))  # type: ignore[arg-type]
    except TypeError:  # numbers, dates and the like among them
        pass
    return [
        value.strip() if isinstance(value, str) and value.isascii() else text_of(value) for value in values
    ]


def _spread(cells: list[str], columns: Sequence[int]) -> list[str]:
    """Puts cells that were drawn together where they stood."""
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
