"""Reads OpenDocument spreadsheets (.ods): streams rows, values and hidden rows from `content.xml`.

Reads the XML itself, because libraries do not report hidden rows and failed formulas. They also expand repeated rows
and cells ("1,048,566 rows like this one") into a rectangle that can exceed all memory.
"""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from batchsend.errors import ListError
from batchsend.lists.cells import clean, percentage, text_of
from batchsend.lists.damage import FORMULA_ERROR, is_damaged
from batchsend.lists.formats.detect import LOCKED
from batchsend.lists.formats.streaming import RepeatedRow, StreamedSheet, StreamedSource, open_streamed
from batchsend.lists.formats.xlsx.package import open_package
from batchsend.lists.formats.xml import read_rows
from batchsend.lists.source import LAST_COLUMN, LAST_ROW, MAX_CELL_LENGTH, FileSnapshot, ListOptions

_MANIFEST = "META-INF/manifest.xml"
_CONTENT = "content.xml"

_O = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_T = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_X = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_S = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_LIBREOFFICE_TYPE = "{urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0}value-type"

_SPREADSHEET, _TABLE, _ROW, _STYLE = f"{_O}spreadsheet", f"{_T}table", f"{_T}table-row", f"{_S}style"
_AROUND_ROWS = frozenset({f"{_T}table-row-group", f"{_T}table-rows", f"{_T}table-header-rows"})
_CONTAINERS = _AROUND_ROWS | {_TABLE, _ROW, f"{_T}dde-links"}
_CELLS = frozenset({f"{_T}table-cell", f"{_T}covered-table-cell"})
_COLUMNS_REPEATED, _ROWS_REPEATED = f"{_T}number-columns-repeated", f"{_T}number-rows-repeated"
_PARAGRAPH, _VALUE_TYPE, _FORMULA = f"{_X}p", f"{_O}value-type", f"{_T}formula"
_SPACES, _TAB, _LINE_BREAK = f"{_X}s", f"{_X}tab", f"{_X}line-break"
# Phonetic guides, footnotes and comments are not part of a cell's text.
_NO_TEXT = frozenset({f"{_X}ruby-text", f"{_X}note", f"{_O}annotation"})

_NUMBERS = frozenset({"float", "currency"})
_HIDDEN = frozenset({"collapse", "filter"})
_DURATION = re.compile(
    r"(-?)P(?:(\d{1,7})D)?(?:T(?:(\d{1,7})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:[.,]\d{1,9})?)S)?)?"
)
# How LibreOffice stores a boolean cell from Excel.
_BOOLEANS = {"of:=TRUE()": "TRUE", "of:=FALSE()": "FALSE"}


def open_ods(path: Path, snapshot: FileSnapshot, options: ListOptions) -> StreamedSource:
    """See `open_streamed`. Also raises ListError if the file has a password."""
    with open_package(path) as archive:
        if _MANIFEST in archive.namelist() and b"encryption-data" in archive.read(_MANIFEST):
            raise ListError(path, LOCKED)
    return open_streamed(path, snapshot, options, partial(_read, path))


def _read(path: Path, sheets: list[StreamedSheet]) -> Iterator[RepeatedRow]:
    content = _OdsContent(sheets)
    with open_package(path) as archive, archive.open(_CONTENT) as stream:
        yield from read_rows(stream, content)
        if not sheets:
            raise zipfile.BadZipFile


@dataclass
class _OdsContent:
    """The reader's position in the document. See `SheetHandler`."""

    row, containers, settings = _ROW, _CONTAINERS, frozenset({_STYLE})

    sheets: list[StreamedSheet]
    opened: list[Element] = field(default_factory=list)
    hidden_styles: set[str] = field(default_factory=set)
    number: int = 0  #: of the last row

    def apply(self, setting: Element) -> None:
        """Notes a style that hides its sheets."""
        if any(properties.get(f"{_T}display") == "false" for properties in setting):
            self.hidden_styles.add(setting.get(f"{_S}name", ""))

    def start(self, element: Element) -> None:
        if element.tag == _TABLE and not self.opened:
            style = element.get(f"{_T}style-name")
            self.sheets.append(StreamedSheet(element.get(f"{_T}name", ""), style not in self.hidden_styles))
            self.number = 0
        elif element.tag == _TABLE and self.opened[0].tag == _TABLE:
            raise zipfile.BadZipFile  # a table within a table
        self.opened.append(element)

    def end(self, element: Element) -> RepeatedRow | None:
        self.opened.pop()
        if element.tag != _ROW or not self.opened or self.opened[0].tag != _TABLE:
            return None
        first, count = self.number + 1, _count(element, _ROWS_REPEATED)
        self.number += count
        cells = _cells(element)
        is_hidden = element.get(f"{_T}visibility") in _HIDDEN or any(
            around.get(f"{_T}display") == "false" for around in self.opened[1:]
        )
        # Frees the row; the parser adds the next ones.
        del self.opened[-1][:]
        if not cells:
            return None
        if self.number > LAST_ROW:
            raise zipfile.BadZipFile
        return RepeatedRow(len(self.sheets) - 1, first, cells, is_hidden, count)


def _cells(row: Element) -> list[str]:
    """The texts of a row's cells, up to the last filled one."""
    cells: list[str] = []
    column = 0
    for cell in row:
        if cell.tag not in _CELLS:
            continue
        count = _count(cell, _COLUMNS_REPEATED)
        text = _value(cell)
        if text:
            if column + count > LAST_COLUMN:
                raise zipfile.BadZipFile
            cells += [""] * (column - len(cells))
            cells += [text] * count
        column += count
    return cells


def _shown(cell: Element) -> str:
    """The text that the spreadsheet shows."""
    if len(cell) == 1 and cell[0].tag == _PARAGRAPH and not len(cell[0]):
        return cell[0].text or ""
    return "\n".join("".join(_texts(part)) for part in cell if part.tag == _PARAGRAPH)


def _texts(part: Element) -> Iterator[str]:
    yield part.text or ""
    for child in part:
        if child.tag == _SPACES:
            yield " " * min(_count(child, f"{_X}c"), MAX_CELL_LENGTH)
        elif child.tag == _TAB:
            yield "\t"
        elif child.tag == _LINE_BREAK:
            yield "\n"
        elif child.tag not in _NO_TEXT:
            yield from _texts(child)
        yield child.tail or ""


def _count(element: Element, name: str) -> int:
    """The repeat count in attribute `name`. Raises BadZipFile if it exceeds any sheet."""
    written = element.get(name)
    if written is None:
        return 1
    if not written.isdecimal() or len(written) > len(str(LAST_ROW)) or not int(written):
        raise zipfile.BadZipFile
    return int(written)


def _value(cell: Element) -> str:
    """The text of a cell's stored value."""
    kind = cell.get(_VALUE_TYPE, "string")
    if kind == "string":
        if cell.get(_LIBREOFFICE_TYPE) == "error":
            return _failure(_shown(cell))
        return clean(cell.get(f"{_O}string-value") or _shown(cell))
    formula = cell.get(_FORMULA)
    if formula in _BOOLEANS:
        return _BOOLEANS[formula]
    # Excel stores 0 for a failed formula, and the shown text has the error.
    if formula and _is_error(_shown(cell)):
        return clean(_shown(cell))
    try:
        if kind == "percentage":
            return _percentage(_shown(cell), float(cell.attrib[f"{_O}value"]))
        if kind in _NUMBERS:
            return text_of(float(cell.attrib[f"{_O}value"]))
        if kind == "date":
            return _date(cell.attrib[f"{_O}date-value"])
        if kind == "time":
            return _time(cell.attrib[f"{_O}time-value"])
        if kind == "boolean":
            return "TRUE" if cell.attrib[f"{_O}boolean-value"] == "true" else "FALSE"
    except (ValueError, OverflowError):
        pass
    return clean(_shown(cell))


def _is_error(shown: str) -> bool:
    """Whether the shown text is the error of a formula, not a number in scientific notation."""
    shown = clean(shown)
    return shown.startswith(("#", "Err:")) and is_damaged(shown)


def _percentage(shown: str, value: float) -> str:
    """As the sheet shows it. Some programs do not write the shown text."""
    shown = clean(shown).replace(" ", "")
    return shown if shown.endswith("%") else percentage(value, "0.##%") or text_of(value)


def _failure(shown: str) -> str:
    # LibreOffice translates the names of errors.
    return clean(shown) if _is_error(shown) else FORMULA_ERROR


def _date(written: str) -> str:
    if "T" in written:
        return text_of(dt.datetime.fromisoformat(written).replace(tzinfo=None))
    return text_of(dt.date.fromisoformat(written))


def _time(written: str) -> str:
    match = _DURATION.fullmatch(written)
    if not match:
        raise ValueError(written)
    sign, days, hours, minutes, seconds = match.groups()
    span = dt.timedelta(
        days=int(days or 0),
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=float((seconds or "0").replace(",", ".")),
    )
    return text_of(-span if sign else span)
