"""Searches a sheet's XML for what python-calamine does not report: hidden rows, failed formulas and cell positions.

This happens before calamine reads the sheet, because calamine allocates the whole rectangle around the filled cells,
and a stray cell in the far corner would exceed any computer's memory.

Excel, LibreOffice and the usual libraries write plain sheets, which are searched with regular expressions: in
well-formed XML without comments, CDATA and processing instructions, a `<` always opens a tag. Expat's callbacks for
every cell would take longer than everything else. Any other sheet is a `NotPlainError`, and the reader rewrites it
first (see `normalize.py`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from itertools import pairwise
from typing import IO

from openpyxl.utils import column_index_from_string

from batchsend.lists.damage import UNCALCULATED

#: The limits of Excel.
LAST_ROW = 1_048_576
LAST_COLUMN = 16_384
MAIN_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

_BLOCK = 1024 * 1024
_MAX_ROW_BYTES = 64 * 1024 * 1024

# The XML declaration, if any, and the root element in the default namespace.
_OPENING = re.compile(
    rb"""(?:\xef\xbb\xbf)?(?:<\?xml(?![^>]*encoding=["'](?!utf-8["']))[^>]*\?>)?\s*(?=<worksheet\s)""",
    re.IGNORECASE,
)
# Not allowed in a plain sheet. The first of each pair is quick, the second is exact.
_NOT_PLAIN = (
    (re.compile(rb"<[!?]"), re.compile(rb"<[!?]")),
    (re.compile(rb":(?:row|c)[\s/>]"), re.compile(rb"<[\w.-]+:(?:row|c)[\s/>]")),
    (re.compile(rb"<(?:row|c)[\t\r\n/>]"), re.compile(rb"<(?:row|c)[\t\r\n/>]")),
)
# Every tag of a row or cell must match one of these exactly.
_ROW = re.compile(rb'<row r="([0-9]{1,7})"((?: [\w:.]+="[^"<>]*")*) ?/?>')
_FILLED = re.compile(rb'<c r="([A-Z]{1,3}[0-9]{1,7})"(?: [a-z]+="\w*")* ?>')
_UNFILLED = re.compile(rb'<c r="[A-Z]{1,3}[0-9]{1,7}"(?: [a-z]+="\w*")* ?/>')
_HIDDEN = re.compile(rb'\bhidden="(?:1|true)"|\bht="0(?:\.0*)?"')
_ERROR = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"[^>]*\bt="e"[^>]*(?<!/)>(.*?)</c>', re.DOTALL)
_ERROR_VALUE = re.compile(rb"<v[^>]*>([^<]*)</v>")
_UNCALCULATED = re.compile(
    rb'<c r="([A-Z]{1,3})([0-9]{1,7})"(?![^>]*\bt="(?!n"))[^>]*>\s*'
    rb"<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)
_DIGITS = b"0123456789"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class NotPlainError(Exception):
    """The sheet has unusual XML, or its rows are out of order."""


@dataclass
class SheetScan:
    """The result of a scan. Rows and columns are numbered from 1, as the spreadsheet shows them."""

    hidden: set[int] = field(default_factory=set)
    #: Row -> column -> text of cells that calamine returns as blank.
    failures: dict[int, dict[int, str]] = field(default_factory=dict)
    #: The rows with cells that may be filled.
    rows: array[int] = field(default_factory=lambda: array("L"))
    columns: set[int] = field(default_factory=set)  #: the columns with cells that may be filled
    filled: int = 0  #: how many cells may be filled
    merged: int = 0  #: how many merged areas

    @property
    def area(self) -> int:
        """The number of cells in the rectangle around all filled cells."""
        if not self.rows:
            return 0
        return (self.rows[-1] - self.rows[0] + 1) * (max(self.columns) - min(self.columns) + 1)


def scan_sheet(stream: IO[bytes]) -> SheetScan:
    """Searches the XML of a sheet. Raises NotPlainError if it is not plain."""
    scan = SheetScan()
    letters: set[bytes] = set()
    for block in whole_rows(stream):
        _scan_block(block, scan, letters)
    scan.columns = {_column(name) for name in letters}
    if scan.columns and max(scan.columns) > LAST_COLUMN:
        raise NotPlainError
    return scan


def whole_rows(stream: IO[bytes]) -> Iterator[bytes]:
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


def _scan_block(block: bytes, scan: SheetScan, letters: set[bytes]) -> None:
    if any(quick.search(block) and sure.search(block) for quick, sure in _NOT_PLAIN):
        raise NotPlainError
    rows = _ROW.findall(block)
    references = _FILLED.findall(block)
    cells = block.count(b"<c ")
    unfilled = len(_UNFILLED.findall(block)) if len(references) < cells else 0
    # The last comparison detects tags with two positions.
    if (
        len(rows) != block.count(b"<row ")
        or len(references) + unfilled != cells
        or len(rows) + cells != block.count(b' r="')
    ):
        raise NotPlainError
    scan.filled += len(references)
    joined = b" ".join(references)
    letters.update(joined.translate(None, _DIGITS).split())
    filled_rows = sorted(map(int, set(joined.translate(None, _LETTERS).split())))
    numbers = []
    for digits, attributes in rows:
        number = int(digits)
        numbers.append(number)
        if attributes and (b"hidden" in attributes or b'ht="0' in attributes) and _HIDDEN.search(attributes):
            scan.hidden.add(number)
    _check_order(scan, numbers, filled_rows)
    scan.rows.extend(filled_rows)
    scan.merged += block.count(b"<mergeCell ")
    _find_failures(block, scan)


def _find_failures(block: bytes, scan: SheetScan) -> None:
    if b't="e"' in block:
        for column, row, content in _ERROR.findall(block):
            value = _ERROR_VALUE.search(content)
            _add_failure(scan, row, column, unescape(value[1].decode()) if value else "#N/A")
    if b"<f" in block:
        for column, row in _UNCALCULATED.findall(block):
            _add_failure(scan, row, column, UNCALCULATED)


def _check_order(scan: SheetScan, numbers: list[int], filled_rows: list[int]) -> None:
    """Raises NotPlainError unless rows ascend and every cell is in the row of its reference."""
    rising = all(a < b for a, b in pairwise(numbers))
    if not rising or not set(filled_rows) <= set(numbers):
        raise NotPlainError
    if filled_rows and (filled_rows[-1] > LAST_ROW or filled_rows[0] < 1):
        raise NotPlainError
    if filled_rows and scan.rows and filled_rows[0] <= scan.rows[-1]:
        raise NotPlainError


def _add_failure(scan: SheetScan, row: bytes, column: bytes, text: str) -> None:
    scan.failures.setdefault(int(row), {})[_column(column)] = text


def _column(letters: bytes) -> int:
    return column_index_from_string(letters.decode())
