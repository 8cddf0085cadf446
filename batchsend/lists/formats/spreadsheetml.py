"""Reads "XML Spreadsheet 2003", which many programs export under the name .xls."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from batchsend.errors import ListError
from batchsend.lists.cells import clean, percentage, text_of
from batchsend.lists.formats.detect import DAMAGED
from batchsend.lists.formats.streaming import RepeatedRow, StreamedSheet, StreamedSource, open_streamed
from batchsend.lists.formats.xlsx.package import DAMAGE_ERRORS
from batchsend.lists.formats.xml import read_rows
from batchsend.lists.source import LAST_COLUMN, LAST_ROW, FileSnapshot, ListOptions

_SS = "{urn:schemas-microsoft-com:office:spreadsheet}"
_SHEET, _TABLE, _ROW, _CELL, _DATA = (
    f"{_SS}{name}" for name in ("Worksheet", "Table", "Row", "Cell", "Data")
)
_VISIBLE = "{urn:schemas-microsoft-com:office:excel}Visible"
_INDEX, _TYPE, _MERGED = f"{_SS}Index", f"{_SS}Type", f"{_SS}MergeAcross"
_CONTAINERS = frozenset({_SHEET, _TABLE, _ROW})
_STYLE, _STYLE_ID = f"{_SS}Style", f"{_SS}StyleID"
_NAMED_FORMATS = {"Percent": "0.00%"}
# Times of day are stored as a time on this date, the day before the first one.
_NO_DAY = dt.date(1899, 12, 31)


def open_spreadsheetml(path: Path, snapshot: FileSnapshot, options: ListOptions) -> StreamedSource:
    """See `open_streamed`."""
    return open_streamed(path, snapshot, options, partial(_read, path))


def _read(path: Path, sheets: list[StreamedSheet]) -> Iterator[RepeatedRow]:
    content = _XmlContent(sheets)
    try:
        with path.open("rb") as stream:
            yield from read_rows(stream, content)
    except DAMAGE_ERRORS as error:
        raise ListError(path, DAMAGED) from error


@dataclass
class _XmlContent:
    """The reader's position in the document. See `SheetHandler`."""

    row, containers, settings = _ROW, _CONTAINERS, frozenset({_VISIBLE, _STYLE})

    sheets: list[StreamedSheet]
    opened: list[str] = field(default_factory=list)
    formats: dict[str, str] = field(default_factory=dict)  #: of numbers, by the name of the style
    table: Element | None = None
    number: int = 0  #: of the last row
    covered: int = 0  #: how many more rows the last one covers

    def apply(self, setting: Element) -> None:
        if setting.tag == _STYLE:
            number_format = setting.find(f"{_SS}NumberFormat")
            written = "" if number_format is None else number_format.get(f"{_SS}Format", "")
            self.formats[setting.get(f"{_SS}ID", "")] = _NAMED_FORMATS.get(written, written)
        elif self.sheets:
            self.sheets[-1].is_visible = (setting.text or "").strip() == "SheetVisible"

    def start(self, element: Element) -> None:
        self.opened.append(element.tag)
        if element.tag == _SHEET:
            self.sheets.append(StreamedSheet(element.get(f"{_SS}Name", "")))
            self.number = self.covered = 0
        elif element.tag == _TABLE:
            self.table = element
        if self.opened != [_SHEET, _TABLE, _ROW][: len(self.opened)]:
            raise zipfile.BadZipFile

    def end(self, element: Element) -> RepeatedRow | None:
        self.opened.pop()
        if element.tag != _ROW or self.table is None:
            return None
        self.number = _place(element, self.number + self.covered, LAST_ROW)
        self.covered = _number(element.get(f"{_SS}Span", "0"), LAST_ROW)
        cells = _cells(element, self.formats)
        # Frees the row; the parser adds the next ones.
        del self.table[:]
        is_hidden = element.get(f"{_SS}Hidden") == "1" or element.get(f"{_SS}Height") == "0"
        return RepeatedRow(len(self.sheets) - 1, self.number, cells, is_hidden) if cells else None


def _cells(row: Element, formats: Mapping[str, str]) -> list[str]:
    """The texts of a row's cells, up to the last filled one."""
    cells: list[str] = []
    column = 0
    for cell in row:
        if cell.tag != _CELL:
            continue
        column = _place(cell, column, LAST_COLUMN)
        data = cell.find(_DATA)
        style = cell.get(_STYLE_ID, row.get(_STYLE_ID, ""))
        text = "" if data is None else _value(data, formats.get(style, ""))
        if text:
            cells += [""] * (column - 1 - len(cells))
            cells.append(text)
        column += _number(cell.get(_MERGED, "0"), LAST_COLUMN)
    return cells


def _place(element: Element, before: int, last: int) -> int:
    """The number of a row or cell: its index if it has one, else the next number."""
    written = element.get(_INDEX)
    place = before + 1 if written is None else _number(written, last)
    if not before < place <= last:
        raise zipfile.BadZipFile
    return place


def _number(written: str, most: int) -> int:
    if not written.isdecimal() or len(written) > len(str(LAST_ROW)) or int(written) > most:
        raise zipfile.BadZipFile
    return int(written)


def _value(data: Element, number_format: str) -> str:
    kind = data.get(_TYPE)
    # A formatted part of the text is an element of its own.
    text = clean("".join(data.itertext()) if len(data) else data.text or "")
    try:
        if kind == "Number":
            return percentage(float(text), number_format) or text_of(float(text))
        if kind == "DateTime":
            moment = dt.datetime.fromisoformat(text).replace(tzinfo=None)
            return text_of(moment.time() if moment.date() == _NO_DAY else moment)
        if kind == "Boolean":
            return {"1": "TRUE", "0": "FALSE"}.get(text, text)
    except (ValueError, OverflowError):
        pass
    return text
