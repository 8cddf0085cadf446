"""Reads sheets with openpyxl: those with unusual XML or parts, and those that are too large for python-calamine.

openpyxl interprets each cell as the rows stream past. This takes five times as long as calamine, in little memory.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format, is_timedelta_format
from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel
from openpyxl.utils.exceptions import CellCoordinatesException
from openpyxl.worksheet import _reader as openpyxl_reader
from openpyxl.xml.constants import SHEET_MAIN_NS

from batchsend.lists.cells import clean, percentage, text_of
from batchsend.lists.damage import UNCALCULATED
from batchsend.lists.formats.streaming import RepeatedRow, StreamedSheet
from batchsend.lists.formats.xlsx.package import Package, Sheet, open_package
from batchsend.lists.formats.xlsx.scan import error_text
from batchsend.lists.formats.xml import elements, read_rows
from batchsend.lists.source import LAST_COLUMN, LAST_ROW

_MAIN = f"{{{SHEET_MAIN_NS}}}"
_ROW, _CELL, _EXTENSIONS = f"{_MAIN}row", f"{_MAIN}c", f"{_MAIN}extLst"
_CELLS, _MERGED = f"{_MAIN}sheetData", f"{_MAIN}mergeCell"
_VALUE, _FORMULA, _INLINE = f"{_MAIN}v", f"{_MAIN}f", f"{_MAIN}is"
_STRING, _TEXT, _RUN = f"{_MAIN}si", f"{_MAIN}t", f"{_MAIN}r"
# The numbers of East Asian date formats mean dates everywhere.
_FORMATS = {**dict.fromkeys((*range(27, 37), *range(50, 59)), "yyyy-mm-dd"), **BUILTIN_FORMATS}
# How Excel stores a character that XML does not allow. Halves of a character are none.
_ESCAPED = re.compile("_x(?!D[89A-F]|FFF[EF])([0-9A-F]{4})_", re.IGNORECASE)


def read_sheets(path: Path, chosen: Sequence[Sheet], sheets: list[StreamedSheet]) -> Iterator[RepeatedRow]:
    """See `streaming.Read`. Yields only the rows of the chosen sheets."""
    with open_package(path) as archive:
        package = Package.of(archive)
        formats, strings = package.number_formats(_FORMATS), _shared_strings(package)
        for index, sheet in enumerate(package.sheets):
            sheets.append(StreamedSheet(sheet.name, sheet.is_visible))
            if sheet in chosen:
                content = _SheetContent(index, sheets[-1], _parser(package, strings), formats)
                with archive.open(sheet.part) as stream:
                    yield from _joined(read_rows(stream, content))
                if content.data is None:
                    raise zipfile.BadZipFile


def _shared_strings(package: Package) -> dict[int, str]:
    """The shared strings by number. A dictionary has none with a negative number."""
    strings: dict[int, str] = {}
    if package.strings is not None:
        with package.archive.open(package.strings) as stream:
            root: Element | None = None
            for event, element in elements(stream, _STRING):
                root = element if root is None else root
                if event == "end" and element.tag == _STRING:
                    strings[len(strings)] = _string(element)
                    root.clear()
    return strings


def _string(element: Element) -> str:
    """The text of a string, without phonetic guides."""
    texts = (
        part.text if part.tag == _TEXT else part.findtext(_TEXT)
        for part in element
        if part.tag in {_TEXT, _RUN}
    )
    return "".join(text or "" for text in texts)


def _parser(package: Package, strings: Mapping[int, str]) -> Any:
    # `Any`, because the annotations of openpyxl lack attributes. Without date formats, dates are numbers.
    epoch = MAC_EPOCH if package.starts_in_1904 else WINDOWS_EPOCH
    return openpyxl_reader.WorkSheetParser(io.BytesIO(), strings, data_only=True, epoch=epoch)


def _joined(rows: Iterator[RepeatedRow]) -> Iterator[RepeatedRow]:
    """Joins consecutive rows with the same number. Raises zipfile.BadZipFile for any other order."""
    last: RepeatedRow | None = None
    for row in rows:
        if last is not None and row.first < last.first:
            raise zipfile.BadZipFile
        if last is not None and row.first > last.first:
            yield last
            last = None
        last = row if last is None else _join(last, row)
    if last is not None:
        yield last


def _join(first: RepeatedRow, second: RepeatedRow) -> RepeatedRow:
    width = max(len(first.cells), len(second.cells))
    pairs = zip(*(row.cells + [""] * (width - len(row.cells)) for row in (first, second)), strict=True)
    cells = [one or other for one, other in pairs]
    if sum(map(bool, cells)) < sum(map(bool, first.cells)) + sum(map(bool, second.cells)):
        raise zipfile.BadZipFile  # a cell twice
    return RepeatedRow(first.sheet, first.first, cells, first.is_hidden or second.is_hidden)


@dataclass
class _SheetContent:
    """The reader's position in the sheet. See `SheetHandler`."""

    row, containers, settings = _ROW, frozenset({_CELLS, _ROW}), frozenset({_MERGED})

    index: int
    sheet: StreamedSheet
    parser: Any
    formats: Sequence[str]
    data: Element | None = None
    kinds: dict[int, str] = field(default_factory=dict)  #: of the styles: "%", "date", "span" or ""

    def apply(self, setting: Element) -> None:
        self.sheet.merged += setting.tag == _MERGED

    def start(self, element: Element) -> None:
        if element.tag == _CELLS:
            self.data = element

    def end(self, element: Element) -> RepeatedRow | None:
        if element.tag != _ROW or self.data is None:
            return None
        try:
            cells = self._cells(element)
        except (CellCoordinatesException, ValueError, OverflowError, TypeError):
            raise zipfile.BadZipFile from None
        # Frees the row; the parser adds the next ones.
        del self.data[:]
        height = element.get("ht", "")
        is_hidden = element.get("hidden") in {"1", "true"} or bool(re.fullmatch(r"0(\.0*)?", height))
        return RepeatedRow(self.index, self.parser.row_counter, cells, is_hidden) if cells else None

    def _cells(self, row: Element) -> list[str]:
        """The texts of a row's cells, up to the last filled one."""
        if any(child.tag not in {_CELL, _EXTENSIONS} for child in row):
            raise zipfile.BadZipFile
        texts: dict[int, str] = {}
        inline = [cell.find(_INLINE) for cell in row]
        for cell, string in zip(row, inline, strict=True):
            if string is not None:
                cell.set("t", "")  # `_text` reads it, much faster than openpyxl
        number, parsed = self.parser.parse_row(row)
        self.parser.row_dimensions.clear()
        for cell, string, found in zip(row, inline, parsed, strict=True):
            text = clean(_unescaped(_string(string))) if string is not None else self._text(cell, found)
            if text:
                if found["row"] != number or found["column"] > LAST_COLUMN or found["column"] in texts:
                    raise zipfile.BadZipFile
                texts[found["column"]] = text
        if texts and not 0 < number <= LAST_ROW:
            raise zipfile.BadZipFile
        return [texts.get(column, "") for column in range(1, max(texts, default=0) + 1)]

    def _text(self, cell: Element, found: dict[str, Any]) -> str:
        value = found["value"]
        if found["data_type"] == "e":
            return error_text(str(value or ""))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number(float(value), found["style_id"])
        if isinstance(value, str):
            return clean(_unescaped(value))
        if value is not None:
            return text_of(value)
        is_uncalculated = found["data_type"] == "n" and cell.find(_FORMULA) is not None
        return UNCALCULATED if is_uncalculated else ""

    def _number(self, value: float, style: int) -> str:
        number_format = self.formats[style] if style < len(self.formats) else ""
        if style not in self.kinds:
            is_span, is_date = is_timedelta_format(number_format), is_date_format(number_format)
            self.kinds[style] = "span" if is_span else "date" if is_date else ""
        if self.kinds[style]:
            try:
                return text_of(from_excel(value, self.parser.epoch, timedelta=self.kinds[style] == "span"))
            except (ValueError, OverflowError):
                return text_of(value)
        return percentage(value, number_format) or text_of(value)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text
