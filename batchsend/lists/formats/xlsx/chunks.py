"""Reads a large sheet in chunks. Each chunk becomes a small workbook for python-calamine.

calamine holds all cells of a sheet in memory, more than 1 KB per row. Here only the shared strings stay in memory,
packed, and each chunk gets those that it uses written into its cells.
"""

from __future__ import annotations

import io
import re
import zipfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from python_calamine import CalamineWorkbook

from batchsend.lists.cells import CellValue
from batchsend.lists.formats.xlsx.package import Sheet
from batchsend.lists.formats.xlsx.scan import MAIN_NAMESPACE, whole_rows

_OPENING = f'<worksheet xmlns="{MAIN_NAMESPACE}"><sheetData>'.encode()
_CLOSING = b"</sheetData></worksheet>"
_SHARED_STRINGS = "xl/sharedstrings.xml"
_SMALL_PARTS = (
    "[content_types].xml",
    "_rels/.rels",
    "xl/workbook.xml",
    "xl/_rels/workbook.xml.rels",
    "xl/styles.xml",
)
_BLOCK = 1024 * 1024

_TEXT = re.compile(rb"<si>(.*?)</si>|<si\s*/>", re.DOTALL)
# Comments could hide an end tag, and prefixed names would not match.
_UNUSUAL_STRINGS = re.compile(
    rb"""<!|<\w+:si\b|<si\s+[^/]|<\?xml[^>]*encoding=["'](?!utf-8["'])""", re.IGNORECASE
)
_REFERENCE = re.compile(rb' t="s"((?: [a-z]+="\w*")*) ?><v>([0-9]{1,10})</v></c>')


@dataclass
class SharedStrings:
    """The shared strings of a workbook, as one block of XML."""

    packed: bytearray = field(default_factory=bytearray)
    #: String number i begins at `bounds[i]` and ends at `bounds[i + 1]`.
    bounds: array[int] = field(default_factory=lambda: array("Q", [0]))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def add(self, xml: bytes) -> None:
        self.packed += xml
        self.bounds.append(len(self.packed))

    def inlined(self, xml: bytes) -> bytes:
        """`xml` with each reference to a string replaced by the string. Raises IndexError for an unknown number."""
        packed, bounds = self.packed, self.bounds
        # Repeats: the XML before a reference, the attributes of its cell, its number.
        parts: list[bytes] = _REFERENCE.split(xml)
        parts[1::3] = [b' t="inlineStr"' + attributes for attributes in parts[1::3]]
        parts[2::3] = [
            b"><is>" + packed[bounds[number] : bounds[number + 1]] + b"</is></c>"
            for number in map(int, parts[2::3])
        ]
        return b"".join(parts)


@dataclass(frozen=True)
class SheetChunks:
    """The parts that every chunk of a sheet needs."""

    sheet: Sheet
    small_parts: dict[str, bytes]
    texts: SharedStrings

    def rows(self, archive: zipfile.ZipFile) -> Iterator[tuple[int, int, list[CellValue]]]:
        """Yields row numbers, the number of blank cells at the left, and values.

        Raises zipfile.BadZipFile and calamine's errors if the sheet is damaged.
        """
        with archive.open(self.sheet.part) as stream:
            for block in whole_rows(stream):
                start, end = block.find(b"<row "), block.rfind(b"</row>")
                if 0 <= start < end:
                    yield from self._rows(block[start : end + len(b"</row>")])

    def _rows(self, xml: bytes) -> Iterator[tuple[int, int, list[CellValue]]]:
        with CalamineWorkbook.from_filelike(self._workbook(xml)) as workbook:
            sheet = workbook.get_sheet_by_name(self.sheet.name)
        if sheet.start is None:
            return
        first, indent = sheet.start
        for number, values in enumerate(sheet.to_python(skip_empty_area=True), first + 1):
            yield number, indent, values

    def _workbook(self, xml: bytes) -> IO[bytes]:
        try:
            xml = self.texts.inlined(xml)
        except IndexError:
            raise zipfile.BadZipFile from None
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as target:
            for name, part in self.small_parts.items():
                target.writestr(name, part)
            target.writestr(self.sheet.part, b"".join((_OPENING, xml, _CLOSING)))
        content.seek(0)
        return content


def split_into_chunks(archive: zipfile.ZipFile, sheet: Sheet) -> SheetChunks | None:
    """Prepares to read a plain `sheet` in chunks. None if its shared strings or references have unusual XML."""
    parts = {name.casefold(): name for name in archive.namelist()}
    texts = _shared_strings(archive, parts[_SHARED_STRINGS]) if _SHARED_STRINGS in parts else SharedStrings()
    if texts is None or not _references_are_plain(archive, sheet):
        return None
    small = {parts[name]: archive.read(parts[name]) for name in _SMALL_PARTS if name in parts}
    return SheetChunks(sheet, small, texts)


def _shared_strings(archive: zipfile.ZipFile, part: str) -> SharedStrings | None:
    texts = SharedStrings()
    rest, expected = b"", 0
    with archive.open(part) as stream:
        while block := stream.read(_BLOCK):
            rest += block
            if len(rest) > 64 * _BLOCK:
                return None
            end = max(rest.rfind(b"</si>") + len(b"</si>"), 0)
            whole, rest = rest[:end], rest[end:]
            if _UNUSUAL_STRINGS.search(whole):
                return None
            for match in _TEXT.finditer(whole):
                texts.add(match[1] or b"")
            expected += whole.count(b"<si>") + whole.count(b"<si/>")
    return texts if len(texts) == expected and b"<si" not in rest else None


def _references_are_plain(archive: zipfile.ZipFile, sheet: Sheet) -> bool:
    """Whether every reference to a shared string has the form that is replaced."""
    with archive.open(sheet.part) as stream:
        return all(block.count(b' t="s"') == len(_REFERENCE.findall(block)) for block in whole_rows(stream))
