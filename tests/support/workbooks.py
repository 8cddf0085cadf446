"""Workbooks for tests, written by real libraries or from given XML."""

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
    """A workbook whose only sheet is `xml`: the whole part, or the rows inside its `sheetData`."""
    workbook, _ = new_workbook([["x"]])
    workbook.save(path)
    if isinstance(xml, str) and xml.startswith("<row"):
        xml = f'<worksheet xmlns="{NAMESPACE}"><sheetData>{xml}</sheetData></worksheet>'
    return with_part(path, SHEET, xml.encode() if isinstance(xml, str) else xml)


def text_cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="str"><v>{text}</v></c>'


#: A row with the headers A and B, for `with_sheet_xml`.
HEADER_ROW = f'<row r="1">{text_cell("A1", "A")}{text_cell("B1", "B")}</row>'

_ODS_NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {"office": "office", "table": "table", "text": "text", "style": "style"}.items()
)
ODS_TYPE = "application/vnd.oasis.opendocument.spreadsheet"


def ods(tables: str, mimetype: str = ODS_TYPE) -> bytes:
    """An OpenDocument spreadsheet. `tables`: the content of `office:spreadsheet`, or rows of a sheet `Customers`."""
    if not tables.startswith("<table:table "):
        tables = f'<table:table table:name="Customers">{tables}</table:table>'
    content = (
        f'<?xml version="1.0"?><office:document-content {_ODS_NAMESPACES}><office:body><office:spreadsheet>'
        f"{tables}</office:spreadsheet></office:body></office:document-content>"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # The default time is fixed, so that the same table has the same bytes.
        archive.writestr(zipfile.ZipInfo("mimetype"), mimetype)
        archive.writestr(zipfile.ZipInfo("content.xml"), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def ods_row(*texts: str, attributes: str = "") -> str:
    cells = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'
        if text
        else "<table:table-cell/>"
        for text in texts
    )
    return f"<table:table-row {attributes}>{cells}</table:table-row>"


def spreadsheetml(sheets: str, *, encoding: str = "utf-8") -> bytes:
    """An "XML Spreadsheet 2003". `sheets`: its worksheets, or rows of a sheet `Customers`."""
    if not sheets.startswith(("<Worksheet ", "<Styles>")):
        sheets = f'<Worksheet ss:Name="Customers"><Table>{sheets}</Table></Worksheet>'
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<?mso-application progid="Excel.Sheet"?>\n'
        '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
        'xmlns:x="urn:schemas-microsoft-com:office:excel" '
        'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet" xmlns:html="http://www.w3.org/TR/REC-html40">'
        f"{sheets}</Workbook>"
    ).encode(encoding)


def spreadsheetml_row(*texts: str, attributes: str = "") -> str:
    cells = "".join(
        f'<Cell><Data ss:Type="String">{text}</Data></Cell>' if text else "<Cell/>" for text in texts
    )
    return f"<Row {attributes}>{cells}</Row>"
