"""Rewrites a workbook into a plain one with a single sheet, for unusual XML and for cells that are far apart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import column_index_from_string, coordinate_from_string
from openpyxl.utils.exceptions import CellCoordinatesException

from batchsend.lists.formats.xlsx.package import Sheet, local_name, parse
from batchsend.lists.formats.xlsx.scan import LAST_COLUMN, LAST_ROW, MAIN_NAMESPACE

_OPENING = f'<worksheet xmlns="{MAIN_NAMESPACE}"><sheetData>'
_CLOSING = "</sheetData></worksheet>"
_CELL_CONTENT = frozenset({"v", "f", "is", "t", "r"})
_FLUSH_ABOVE = 4096


@dataclass(frozen=True)
class KeptCells:
    """The rows and columns to keep, ascending. In the copy they are numbered from 1 without gaps."""

    rows: Sequence[int]
    columns: Sequence[int]


def rewrite(archive: zipfile.ZipFile, sheet: Sheet, kept: KeptCells | None = None) -> IO[bytes]:
    """A plain copy of the workbook with only that sheet and, if `kept` is given, only those cells.

    Raises zipfile.BadZipFile if a cell's position is invalid.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for member in archive.infolist():
            name = member.filename.casefold()
            if member.filename == sheet.part:
                with archive.open(member) as source, target.open(sheet.part, "w", force_zip64=True) as part:
                    _SheetCopier(part, kept).copy(source)
            elif not name.startswith("xl/worksheets/") and name.endswith((".xml", ".rels")):
                with (
                    archive.open(member) as source,
                    target.open(member.filename, "w", force_zip64=True) as part,
                ):
                    while block := source.read(1024 * 1024):
                        part.write(block)
    copy.seek(0)
    return copy


@dataclass
class _SheetCopier:
    """Writes rows and cells in order, with explicit positions."""

    part: IO[bytes]
    kept: KeptCells | None
    row: int = 0
    column: int = 0
    inside: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    skipping: bool = False

    def __post_init__(self) -> None:
        self.new_rows = {old: new for new, old in enumerate(self.kept.rows, 1)} if self.kept else None
        self.new_columns = {old: new for new, old in enumerate(self.kept.columns, 1)} if self.kept else None

    def copy(self, source: IO[bytes]) -> None:
        self.written.append(_OPENING)
        parse(source, self.on_start, self.on_end, self.on_text)
        self.written.append(_CLOSING)
        self.flush()

    def flush(self) -> None:
        self.part.write("".join(self.written).encode())
        self.written.clear()

    def on_start(self, name: str, attributes: Mapping[str, str]) -> None:
        tag = local_name(name)
        if tag == "row":
            self.start_row(attributes)
        elif tag == "c":
            self.start_cell(attributes)
        elif self.inside and tag in _CELL_CONTENT and not self.skipping:
            self.written.append(f'<{tag} xml:space="preserve">' if tag == "t" else f"<{tag}>")
            self.inside.append(tag)
        elif self.inside:
            # Phonetic guides and extensions are not part of the text.
            self.inside.append("")

    def on_end(self, name: str) -> None:
        tag = local_name(name)
        if self.inside:
            opened = self.inside.pop()
            if opened and not self.skipping:
                self.written.append(f"</{opened}>")
            if not self.inside:
                self.skipping = False
        elif tag == "row" and self.row:
            if self.kept_row(self.row) is not None:
                self.written.append("</row>")
            if len(self.written) > _FLUSH_ABOVE:
                self.flush()

    def on_text(self, text: str) -> None:
        if self.inside and not self.skipping and self.inside[-1] in {"v", "f", "t"} and "" not in self.inside:
            self.written.append(escape(text))

    def start_row(self, attributes: Mapping[str, str]) -> None:
        row = int(attributes["r"]) if attributes.get("r", "").isdecimal() else self.row + 1
        if not self.row < row <= LAST_ROW:
            raise zipfile.BadZipFile
        self.row, self.column = row, 0
        new = self.kept_row(row)
        if new is not None:
            self.written.append(f'<row r="{new}"{_copied(attributes, "hidden", "ht")}>')

    def start_cell(self, attributes: Mapping[str, str]) -> None:
        row, column = self.row, self.column + 1
        if "r" in attributes:
            try:
                letters, row = coordinate_from_string(attributes["r"].upper())
                column = column_index_from_string(letters)
            except (CellCoordinatesException, ValueError):
                raise zipfile.BadZipFile from None
        if row != self.row or column > LAST_COLUMN:
            raise zipfile.BadZipFile
        self.column = column
        self.inside.append("c")
        new_row, new_column = self.kept_row(row), self.kept_column(column)
        self.skipping = new_row is None or new_column is None
        if new_row is not None and new_column is not None:
            reference = f"{get_column_letter(new_column)}{new_row}"
            self.written.append(f'<c r="{reference}"{_copied(attributes, "s", "t")}>')

    def kept_row(self, row: int) -> int | None:
        return row if self.new_rows is None else self.new_rows.get(row)

    def kept_column(self, column: int) -> int | None:
        return column if self.new_columns is None else self.new_columns.get(column)


def _copied(attributes: Mapping[str, str], *names: str) -> str:
    """Those of the named attributes that are present, as XML."""
    return "".join(f" {name}={quoteattr(attributes[name])}" for name in names if name in attributes)
