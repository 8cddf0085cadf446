"""Workbooks for tests, written by real libraries or from given XML."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import xlsxwriter
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


#: A picture of one white pixel.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8ffff3f0005fe02fe33"
    "1295140000000049454e44ae426082"
)


def formatted_list(path: Path) -> Path:
    """A list of five customers with what Excel's users put into workbooks; its sheet is `Customers`."""
    with xlsxwriter.Workbook(path) as workbook:
        _add_customers(workbook)
        _add_notes(workbook, path.with_suffix(".png"))
        workbook.define_name("Rate", "=Notes!$A$1")
    return path


def _add_customers(workbook: xlsxwriter.Workbook) -> None:
    bold = workbook.add_format({"bold": True})
    header = workbook.add_format({"bold": True, "bg_color": "#1F3864", "font_color": "#FFFFFF", "border": 1})
    day = workbook.add_format({"num_format": "mmm d, yyyy"})
    sheet = workbook.add_worksheet("Customers")
    sheet.write_row(0, 0, ["Customer ID", "First Name", "Due", "Miles", "Full"], header)
    for row in range(1, 6):
        sheet.write_row(row, 0, [f"c{row}", "Ann"])
        sheet.write_datetime(row, 2, date(2026, 3, row), day)
        sheet.write(row, 3, row * 1000.5)
        sheet.write_formula(row, 4, f'=B{row + 1}&" "&A{row + 1}', None, f"Ann c{row}")
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, 5, 4)
    sheet.set_column(0, 4, 18)
    sheet.conditional_format("D2:D6", {"type": "cell", "criteria": ">", "value": 3000, "format": bold})
    sheet.conditional_format("D2:D6", {"type": "data_bar", "data_bar_2010": True})
    sheet.data_validation("B2:B6", {"validate": "list", "source": ["Ann", "Bo"]})
    sheet.write_comment("A2", "a note")
    sheet.write_rich_string("B3", "An", bold, "n")
    sheet.write_url("A3", "https://example.com", string="c2")


def _add_notes(workbook: xlsxwriter.Workbook, picture: Path) -> None:
    """A second sheet with a chart, and with what openpyxl cannot keep. Writes `picture`."""
    picture.write_bytes(PICTURE)
    sheet = workbook.add_worksheet("Notes")
    sheet.write(0, 0, "kept")
    chart = workbook.add_chart({"type": "column"})
    chart.add_series({"values": "=Customers!$D$2:$D$6"})
    sheet.insert_chart("A8", chart)
    sheet.add_sparkline("A5", {"range": "Customers!D2:D6"})
    sheet.insert_image("C3", picture)
    sheet.insert_textbox("F3", "a text box")
    sheet.insert_button("F12", {"caption": "Go"})
    sheet.set_background(picture)
    sheet.set_header("&L&G", {"image_left": picture})
    sheet.write_dynamic_array_formula("J1:J3", "=UNIQUE(Customers!B2:B6)")
