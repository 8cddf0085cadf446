"""Reads workbooks (.xlsx, .xlsm): plain ones with python-calamine, others with openpyxl."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.parsers import expat

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from batchsend.errors import ListError
from batchsend.lists.cells import CellValue, cleaner, is_percent, percentage, text_of
from batchsend.lists.formats.sheets import merged_note, notes_of, sheets_of_list
from batchsend.lists.formats.streaming import StreamedSource, open_streamed
from batchsend.lists.formats.xlsx.package import Package, Sheet, open_package
from batchsend.lists.formats.xlsx.scan import NotPlainError, SheetScan, scan_sheet
from batchsend.lists.source import CHANGED, LAST_ROW, FileSnapshot, ListOptions
from batchsend.utils.progress import counted

#: Cells that calamine reads, which take some 110 bytes each. For more, openpyxl takes no memory, but minutes.
_MAX_FILLED = 12_000_000
# The rectangle from A1 around them may have this many cells, or this many times the filled cells.
_SMALL_AREA = 1_000_000
_MAX_AREA_RATIO = 4
# The percent formats that files only number.
_PERCENT_FORMATS = {9: "0%", 10: "0.00%"}


@dataclass(frozen=True)
class _PlainSheet:
    """A sheet that calamine has loaded, and its scan."""

    sheet: CalamineSheet
    scan: SheetScan
    percent_formats: dict[int, str]
    check: Callable[[], None]  #: raises ListError if the XML is not well-formed

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        # iter_rows begins at the top row, but at the first filled column.
        indent = self.sheet.start[1] if self.sheet.start else 0
        failures, has_percentages = self.scan.failures, bool(self.scan.percentages)
        returned = 0
        rows = counted(iter(self.sheet.iter_rows()), self.scan.last_row)
        for row, values in enumerate(rows, 1):
            if has_percentages:
                self._show_percentages(row, indent, values)
            cells = _texts(values)
            if indent:
                cells = [""] * indent + cells
            for column, text in failures[row].items() if row in failures else ():
                cells += [""] * (column - len(cells))
                cells[column - 1] = text
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                returned += 1
                yield row, cells
        if returned < self.scan.filled_rows:
            # Probably rows of blank text. But calamine also skips XML that it cannot parse.
            self.check()

    def _show_percentages(self, row: int, indent: int, values: list[CellValue]) -> None:
        for (column, style), rows in self.scan.percentages.items():
            position = column - 1 - indent
            if row in rows and position < len(values) and isinstance(value := values[position], float):
                values[position] = percentage(value, self.percent_formats[style]) or value


@dataclass(frozen=True)
class XlsxSource:
    """A workbook's list, loaded."""

    snapshot: FileSnapshot
    sheets: Sequence[_PlainSheet]
    notes: tuple[str, ...]
    short_rows_are_malformed: bool = field(default=False, init=False)

    @property
    def hidden(self) -> frozenset[int]:
        """See `Source.hidden`."""
        return frozenset(
            row + index * LAST_ROW for index, sheet in enumerate(self.sheets) for row in sheet.scan.hidden
        )

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. The rows of a second results sheet follow on from a full first sheet."""
        self.snapshot.check()
        for index, sheet in enumerate(self.sheets):
            for row, cells in sheet.rows():
                if index == 0 or row > 1:
                    yield row + index * LAST_ROW, cells
        self.snapshot.check()


def open_xlsx(path: Path, snapshot: FileSnapshot, options: ListOptions) -> XlsxSource | StreamedSource:
    """Loads the list's sheet. Raises ListError if it is damaged, too large or one of several."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != snapshot.sha256:
        raise ListError(path, CHANGED)
    with open_package(path, io.BytesIO(content)) as archive:
        package = Package.of(archive)
        chosen = sheets_of_list(path, package.sheets, options, partial(_first_row, path))
        plain = _load(path, package, content, chosen)
    if plain is None:
        from batchsend.lists.formats.xlsx.unusual import read_sheets

        return open_streamed(path, snapshot, options, partial(read_sheets, path, chosen))
    merged = sum(sheet.scan.merged for sheet in plain)
    return XlsxSource(snapshot, plain, (*notes_of(package.sheets, chosen), *merged_note(merged)))


def _first_row(path: Path, sheet: Sheet) -> list[str]:
    from batchsend.lists.formats.xlsx.unusual import read_sheets

    return next((row.cells for row in read_sheets(path, [sheet], [])), [])


def _load(path: Path, package: Package, content: bytes, chosen: Sequence[Sheet]) -> list[_PlainSheet] | None:
    """The chosen sheets; None if one of them is not plain, too large, or calamine cannot read it."""
    if not package.is_usual:
        return None
    formats = enumerate(package.number_formats(_PERCENT_FORMATS))
    percent_formats = {style: number_format for style, number_format in formats if is_percent(number_format)}
    scans = []
    for sheet in chosen:
        try:
            with package.archive.open(sheet.part) as stream:
                size = package.archive.getinfo(sheet.part).file_size
                scan = scan_sheet(stream, size, percent_formats)
        except NotPlainError:
            return None
        if scan.filled > _MAX_FILLED or scan.area > max(_SMALL_AREA, _MAX_AREA_RATIO * scan.filled):
            return None
        scans.append(scan)
    loaded = _load_with_calamine(content, [sheet.name for sheet in chosen])
    if loaded is None:
        return None
    return [
        _PlainSheet(cells, scan, percent_formats, partial(_check_xml, path, sheet))
        for cells, scan, sheet in zip(loaded, scans, chosen, strict=True)
    ]


def _check_xml(path: Path, sheet: Sheet) -> None:
    with open_package(path) as archive, archive.open(sheet.part) as stream:
        expat.ParserCreate().ParseFile(stream)


def _load_with_calamine(content: bytes, names: Sequence[str]) -> list[CalamineSheet] | None:
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(content)) as workbook:
            return [workbook.get_sheet_by_name(name) for name in names]
    except (CalamineError, OSError, ValueError):
        return None
    except BaseException as error:
        # A panic in calamine's Rust code derives from BaseException.
        if type(error).__name__ == "PanicException":
            return None
        raise


def _texts(values: list[CellValue]) -> list[str]:
    try:
        clean = cleaner("".join(values))  # type: ignore[arg-type]
    except TypeError:  # some are numbers, dates and the like
        return list(map(text_of, values))
    return list(map(clean, values))  # type: ignore[arg-type]
