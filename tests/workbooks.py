"""Workbooks for tests, written by real writers, or with a sheet whose XML is given as it stands."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.worksheet.worksheet import Worksheet

SHEET = "xl/worksheets/sheet1.xml"
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def new_workbook(rows: Sequence[Sequence[Any]]) -> tuple[openpyxl.Workbook, Worksheet]:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert isinstance(sheet, Worksheet)
    for row in rows:
        sheet.append(list(row))
    return workbook, sheet


def with_part(path: Path, part: str, content: bytes) -> Path:
    """Replaces a part of the package, or adds it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = content
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    path.write_bytes(packed.getvalue())
    return path


def with_sheet_xml(path: Path, xml: str | bytes) -> Path:
    """A workbook whose only sheet is `xml`: either the whole part, or what stands in its `sheetData`."""
    workbook, _ = new_workbook([["x"]])
    workbook.save(path)
    if isinstance(xml, str) and xml.startswith("<row"):
        xml = f'<worksheet xmlns="{NAMESPACE}"><sheetData>{xml}</sheetData></worksheet>'
    return with_part(path, SHEET, xml.encode() if isinstance(xml, str) else xml)


def text_cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="str"><v>{text}</v></c>'
