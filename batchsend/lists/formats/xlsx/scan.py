"""Searches a sheet's XML for what python-calamine does not report: hidden rows, failed formulas, percentages.

It also finds how far the cells reach, before calamine reads the sheet, because calamine allocates the whole rectangle
around the filled cells, and a stray cell in the far corner would exceed any computer's memory.

Excel, LibreOffice and the usual libraries write plain sheets, which are searched with regular expressions: in
well-formed XML without comments and CDATA, a `<` always opens a tag. Any other sheet is a
`NotPlainError`, and openpyxl reads it (see `unusual`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from itertools import pairwise
from typing import IO

from batchsend.lists.damage import FORMULA_ERROR, UNCALCULATED, is_damaged
from batchsend.lists.source import LAST_COLUMN, LAST_ROW
from batchsend.utils.progress import report

_BLOCK = 1024 * 1024
_MAX_ROW_BYTES = 64 * 1024 * 1024

# The XML declaration, if any, and the root element in the default namespace.
_OPENING = re.compile(
    rb"""(?:\xef\xbb\xbf)?(?:<\?xml(?![^>]*encoding=["'](?!utf-8["']))[^>]*\?>)?\s*(?=<worksheet\s)""",
    re.IGNORECASE,
)
# A prefix for the names of rows and cells.
_PREFIX = re.compile(
    rb"""xmlns:[\w.-]+\s*=\s*["']http://[a-z./]+/(?:spreadsheetml/2006/|spreadsheetml/)main["']"""
)
# Every tag of a row or of a filled cell must match one of these exactly.
_ROW = re.compile(rb'<row r="([0-9]{1,7})"((?: (?!r=)[\w:.]+="[^"<>]*")*) ?(/?)>')
_ATTRIBUTES = rb'(?: (?:s|t|cm|vm|ph)="\w*")* ?>'
_FILLED = re.compile(rb'<c r="[A-Z]{1,3}([0-9]{1,7})"' + _ATTRIBUTES)
_FAR_COLUMN = re.compile(rb'<c r="([A-Z]{2,3})[0-9]+"' + _ATTRIBUTES)
_NEAR_COLUMN = re.compile(rb'<c r="([A-Z])[0-9]+"')
_FEW_CELLS = 8
_HIDDEN = re.compile(rb'\bhidden="(?:1|true)"|\bht="0(?:\.0*)?"')
_ERROR = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"[^>]*\bt="e"[^>]*(?<!/)>(.*?)</c>', re.DOTALL)
_ERROR_VALUE = re.compile(rb"<v[^>]*>([^<]*)</v>")
_UNCALCULATED = re.compile(
    rb'<c r="([A-Z]{1,3})([0-9]{1,7})"(?![^>]*\bt="(?!n"))[^>]*>\s*'
    rb"<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)


class NotPlainError(Exception):
    """The sheet has unusual XML, or its rows are out of order."""


@dataclass
class SheetScan:
    """The result of a scan. Rows and columns are numbered from 1, as the spreadsheet shows them."""

    hidden: set[int] = field(default_factory=set)
    #: Row -> column -> text of cells that calamine returns as blank.
    failures: dict[int, dict[int, str]] = field(default_factory=dict)
    #: Column, style -> rows of the cells with that style.
    percentages: dict[tuple[int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    last_row: int = 0  #: the last row with a cell that may be filled; 0 if there is none
    last_column: int = 0  #: no such cell is beyond this column
    filled: int = 0  #: how many cells may be filled
    filled_rows: int = 0  #: how many rows have such a cell
    merged: int = 0  #: how many merged areas

    @property
    def area(self) -> int:
        """At most the number of cells in the rectangle from A1 around all filled cells."""
        return self.last_row * self.last_column


def scan_sheet(stream: IO[bytes], size: int, percent_styles: Mapping[int, str]) -> SheetScan:
    """Searches the XML of a sheet, which has `size` bytes. Raises NotPlainError if it is not plain."""
    scan = SheetScan()
    percentage = _cells_of_style(percent_styles) if percent_styles else None
    for block in _whole_rows(stream):
        report(stream.tell(), size)
        _check_and_measure(block, scan)
        _find_failures(block, scan)
        for column, row, style in percentage.findall(block) if percentage else ():
            scan.percentages[_number(column), int(style)].add(int(row))
    if scan.last_column > LAST_COLUMN or scan.last_row > LAST_ROW:
        raise NotPlainError
    return scan


def _cells_of_style(styles: Mapping[int, str]) -> re.Pattern[bytes]:
    numbers = "|".join(map(str, styles)).encode()
    return re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"[^>]* s="(' + numbers + rb')"[^>]*(?<!/)>')


def _whole_rows(stream: IO[bytes]) -> Iterator[bytes]:
    """Yields blocks of a sheet's XML that end with the end of a row.

    Raises NotPlainError if the XML does not begin like a plain sheet.
    """
    opening = _OPENING.match(rest := stream.read(_BLOCK))
    if not opening:
        raise NotPlainError
    rest = rest[opening.end() :]
    while block := stream.read(_BLOCK):
        rest += block
        end = rest.rfind(b"</row>") + len(b"</row>")
        if end >= len(b"</row>"):
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > _MAX_ROW_BYTES:
            raise NotPlainError
    yield rest


def _check_and_measure(block: bytes, scan: SheetScan) -> None:
    """Notes hidden rows and how far the cells reach. Raises NotPlainError unless every cell is in its row."""
    # calamine returns dates and times that are stored as text (`t="d"`) in that form.
    if b"<!" in block or b't="d"' in block or _PREFIX.search(block):
        raise NotPlainError
    rows = _ROW.findall(block)
    cell_rows = _FILLED.findall(block)
    opened = sum(not closed for _, _, closed in rows)
    if len(cell_rows) != block.count(b"</c>") or opened != block.count(b"</row>"):
        raise NotPlainError
    numbers = [int(row) for row, _, _ in rows]
    filled = sorted(map(int, set(cell_rows)))
    rising = all(a < b for a, b in pairwise(numbers))
    if not rising or (filled and not (scan.last_row < filled[0] and set(filled) <= set(numbers))):
        raise NotPlainError
    for number, (_, attributes, _) in zip(numbers, rows, strict=True):
        if attributes and (b"hidden" in attributes or b'ht="0' in attributes) and _HIDDEN.search(attributes):
            scan.hidden.add(number)
    if filled:
        scan.last_row = filled[-1]
        scan.last_column = max(scan.last_column, _last_column(block, len(cell_rows) / len(filled)))
    scan.filled += len(cell_rows)
    scan.filled_rows += len(filled)
    scan.merged += block.count(b"<mergeCell ")


def _last_column(block: bytes, average: float) -> int:
    """At least the number of the last column. It is exact beyond Z, and in rows with few cells on average."""
    far = set(_FAR_COLUMN.findall(block))
    letters = far or (set(_NEAR_COLUMN.findall(block)) if average < _FEW_CELLS else {b"Z"})
    return max(map(_number, letters))


def _find_failures(block: bytes, scan: SheetScan) -> None:
    if b't="e"' in block:
        for column, row, content in _ERROR.findall(block):
            value = _ERROR_VALUE.search(content)
            text = error_text(unescape(value[1].decode()) if value else "")
            scan.failures.setdefault(int(row), {})[_number(column)] = text
    if b"<f" in block:
        for column, row in _UNCALCULATED.findall(block):
            scan.failures.setdefault(int(row), {})[_number(column)] = UNCALCULATED


def error_text(value: str) -> str:
    """The text of an error cell, which is always recognized as damaged."""
    return value if is_damaged(value) else FORMULA_ERROR


def _number(letters: bytes) -> int:
    """1 for `A`, 16384 for `XFD`."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
