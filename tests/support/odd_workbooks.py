"""Unusual workbooks in each format."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import xlsxwriter
from list_cases import DAMAGED, EMPTY, INCLUDE, ONLY_HEADER, SKIP, Read, Refused, made, three_hidden
from openpyxl.worksheet.worksheet import Worksheet
from same_table import ROWS
from workbooks import new_workbook, ods, ods_row, spreadsheetml, with_part

from batchsend.lists.customer_list import ListOptions

CUT_SHORT_ZIP = ("It is a workbook that was cut short or damaged. Copy, download or export it again.",)
PASSWORD = ("It is protected by a password. Open it in Excel, save it without a password, and try again.",)
FILTERED = {i: [f"c{i}", "yes" if i % 2 else "no"] for i in range(2, 8)}
VALUES = {
    2: ["true", "TRUE"],
    3: ["false", "FALSE"],
    4: ["time", "09:30:00"],
    5: ["span", "30:00:00"],
    6: ["date and time", "2026-03-01 09:30:00"],
    7: ["fraction", "0.1"],
    8: ["long number", "1.23456789012346E+17"],
    9: ["leading zeros", "007"],
    10: ["divided by nothing", "#DIV/0!"],
    11: ["not found", "#N/A"],
    12: ["no such name", "#NAME?"],
    13: ["sum", "2"],
    14: ["no text", ""],
}
RESULTS = {2: ["c1", "555"], 1_048_578: ["c2", "555"]}
PERCENTAGES = {
    2: ["0%", "20%"],
    3: ["0.00%", "20.00%"],
    4: ["0.0%", "20.0%"],
    5: ["General", "0.2"],
    6: ["0.0%", "-6.3%"],
}
REMARKS = {2: ["1", "2"], 3: ["", "3"]}


def book(fill: Callable[[openpyxl.Workbook, Worksheet], object], *rows: list[Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        workbook, sheet = new_workbook(rows)
        fill(workbook, sheet)
        workbook.save(path)

    return write


def plain(*rows: list[Any]) -> Callable[[Path], None]:
    return book(lambda workbook, sheet: None, *rows)


def xlsx_bytes(*rows: list[Any]) -> bytes:
    content = io.BytesIO()
    new_workbook(rows)[0].save(content)
    return content.getvalue()


def numbers_as_text(path: Path) -> None:
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["Phone"])
        sheet.write_string(1, 0, "+1 (312) 555-0142")
        sheet.write_number(2, 0, 13125550142)
        sheet.write_number(3, 0, 5.55e20)


def rich_text(path: Path) -> None:
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["Name", "Site"])
        sheet.write_rich_string(1, 0, "Ann ", workbook.add_format({"bold": True}), "Lee")
        sheet.write_url(1, 1, "https://example.com/", string="our page")


def constant_memory(path: Path) -> None:
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["Name"])
        sheet.write_row(1, 0, ["Ann"])


def a_table_with_totals(path: Path) -> None:
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["Name", "Due"])
        sheet.write_row(1, 0, ["Ann", 2])
        sheet.add_table("A1:B3", {"columns": [{"header": "Name"}, {"header": "Due"}], "total_row": True})


def locked_xls() -> bytes:
    """A workbook whose second record says that the rest is encrypted."""
    content = bytearray(made("same_table.xls"))
    start = content.index(b"\x09\x08\x10\x00")
    content[start + 20 : start + 22] = b"\x2f\x00"
    return bytes(content)


def locked_ods(path: Path) -> None:
    path.write_bytes(ods(ods_row("A")))
    with_part(path, "META-INF/manifest.xml", b"<manifest:file-entry><manifest:encryption-data/>")


def nothing_but_blanks(workbook: openpyxl.Workbook, sheet: Worksheet) -> None:
    sheet["A1"] = " \u00a0"


def with_string_count(count: int) -> bytes:
    """A workbook that says that it has this many different texts."""
    content = bytearray(made("same_table.xls"))
    shared_strings = content.index(b"\xfc\x00")
    content[shared_strings + 8 : shared_strings + 12] = count.to_bytes(4, "little")
    return bytes(content)


WORKBOOK_STREAM = "Workbook".encode("utf-16-le")
SHARES_IN_ODS = ods_row("Share") + "".join(
    '<table:table-row><table:table-cell office:value-type="percentage" '
    f'office:value="{value}"/></table:table-row>'
    for value in (0.2, 0.075)
)
SHARES_IN_XML = (
    '<Styles><Style ss:ID="s1"><NumberFormat ss:Format="Percent"/></Style>'
    '<Style ss:ID="s2"><NumberFormat ss:Format="0%"/></Style><Style ss:ID="s3"/></Styles>'
    '<Worksheet ss:Name="Customers"><Table><Row><Cell><Data ss:Type="String">Share</Data></Cell></Row>'
    '<Row><Cell ss:StyleID="s1"><Data ss:Type="Number">0.2</Data></Cell></Row>'
    '<Row ss:StyleID="s2"><Cell><Data ss:Type="Number">0.075</Data></Cell></Row>'
    '<Row ss:StyleID="s2"><Cell ss:StyleID="s3"><Data ss:Type="Number">0.5</Data></Cell></Row>'
    "</Table></Worksheet>"
)

WORKBOOKS = [
    # Values, errors and formulas as LibreOffice writes them.
    Read("values.xls", made("values.xls"), VALUES),
    # OpenDocument stores numbers, dates and errors by name.
    Read("values.ods", made("values.ods"), VALUES),
    # An .xlsx stores a time as a number with a format.
    Read("values.xlsx", made("values.xlsx"), VALUES),
    # A percentage is a number with a format.
    Read("percentages.xls", made("percentages.xls"), PERCENTAGES),
    # In an .ods it is a kind of value.
    Read("percentages.ods", made("percentages.ods"), PERCENTAGES),
    # Each cell names its style, and the style names its format.
    Read("percentages.xlsx", made("percentages.xlsx"), PERCENTAGES),
    # An .ods whose program did not write the shown text.
    Read("share.ods", ods(SHARES_IN_ODS), {2: ["20%"], 3: ["7.5%"]}),
    # In "XML Spreadsheet 2003", a style has its format by name or in full; a cell can take it from its row.
    Read("share.xml", spreadsheetml(SHARES_IN_XML), {2: ["20.00%"], 3: ["8%"], 4: ["0.5"]}),
    # More or fewer texts than the old workbook says that it has.
    Read("more.xls", with_string_count(3), ROWS),
    # Excel goes by the texts.
    Read("fewer.xls", with_string_count(9999), ROWS),
    # The stream in an old workbook has its name in another case.
    Read("case.xls", made("same_table.xls").replace(WORKBOOK_STREAM, WORKBOOK_STREAM.lower()), ROWS),
    # All in capitals.
    Read("capitals.xls", made("same_table.xls").replace(WORKBOOK_STREAM, WORKBOOK_STREAM.upper()), ROWS),
    # Filtered to "yes": texting all six or only the visible three must be a choice.
    Refused("filtered.xls", made("filtered.xls"), three_hidden("rows 2, 4 and 6")),
    # An .ods marks each row that a filter hides.
    Refused("filtered.ods", made("filtered.ods"), three_hidden("rows 2, 4 and 6")),
    # An .xlsx only marks rows as hidden, and calamine does not report that.
    Refused("filtered.xlsx", made("filtered.xlsx"), three_hidden("rows 2, 4 and 6")),
    # With "skip", hidden rows are read and marked as hidden.
    Read("filtered.xls", made("filtered.xls"), FILTERED, SKIP, hidden=frozenset({2, 4, 6})),
    # The same choice in .ods.
    Read("filtered.ods", made("filtered.ods"), FILTERED, SKIP, hidden=frozenset({2, 4, 6})),
    # With "include", all rows are ordinary rows.
    Read("filtered.ods", made("filtered.ods"), FILTERED, INCLUDE),
    # Rows hidden by hand and a collapsed group.
    Refused("hidden.xls", made("hidden.xls"), three_hidden("rows 3, 5 and 6")),
    # An .ods marks a collapsed group once for all of its rows.
    Refused("hidden.ods", made("hidden.ods"), three_hidden("rows 3, 5 and 6")),
    # An .xlsx marks each row of the group.
    Refused("hidden.xlsx", made("hidden.xlsx"), three_hidden("rows 3, 5 and 6")),
    # A typing mistake put a value in the last cell of an old sheet.
    Read(
        "far.xls",
        made("far_cell.xls"),
        {2: ["1", "2"], 65536: ["", ""]},
        notes=("column IV has no header and is left alone",),
    ),
    # An .ods stores a million blank rows as one repeated row.
    Read(
        "far.ods",
        made("far_cell.ods"),
        {2: ["1", "2"], 65536: ["", ""]},
        notes=("column IV has no header and is left alone",),
    ),
    # For an .xlsx, calamine would allocate the whole rectangle and abort.
    Read(
        "far.xlsx",
        made("far_cell.xlsx"),
        {2: ["1", "2"], 65536: ["", ""]},
        notes=("column IV has no header and is left alone",),
    ),
    # Two sheets to choose from.
    Refused(
        "two.xls",
        made("two_sheets.xls"),
        (
            (
                'It has 2 visible sheets: "Customers", "Codes". Choose the one with the list: sheet = "Customers" '
                "under [list_options]."
            ),
        ),
    ),
    # The tabs of an .ods are in the order of the document.
    Refused(
        "two.ods",
        made("two_sheets.ods"),
        (
            (
                'It has 2 visible sheets: "Customers", "Codes". Choose the one with the list: sheet = "Customers" '
                "under [list_options]."
            ),
        ),
    ),
    # The name in another letter case.
    Read("two.xls", made("two_sheets.xls"), {2: ["7"]}, ListOptions(sheet="codes")),
    # A named sheet that is not the first one.
    Read("two.ods", made("two_sheets.ods"), {2: ["7"]}, ListOptions(sheet="codes")),
    # A hidden sheet does not count unless it is named.
    Read("codes.xls", made("hidden_sheet.xls"), {2: ["Ann"]}, notes=('sheet "Customers"',)),
    # In an .ods, the sheet's style hides it.
    Read("codes.ods", made("hidden_sheet.ods"), {2: ["Ann"]}, notes=('sheet "Customers"',)),
    # A hidden sheet can be named.
    Read("codes.ods", made("hidden_sheet.ods"), {2: ["7"]}, ListOptions(sheet="Codes")),
    # A comment is not part of a cell's text; merged cells have one value.
    Read("remarks.xls", made("remarks.xls"), REMARKS),
    # An .ods stores the comment inside the cell.
    Read("remarks.ods", made("remarks.ods"), REMARKS),
    # An .xlsx stores it in a separate part.
    Read("remarks.xlsx", made("remarks.xlsx"), REMARKS),
    # A results workbook of ours, saved in another format.
    Read("results.xls", made("results.xls"), RESULTS, headers=("Customer ID", "Phone")),
    # Two results sheets in an .ods: the rows of the second follow on from the first.
    Read("results.ods", made("results.ods"), RESULTS, headers=("Customer ID", "Phone")),
    # An empty opt-out export.
    Refused("header.xls", made("only_a_header.xls"), ONLY_HEADER),
    # The same, saved by LibreOffice.
    Refused("header.ods", made("only_a_header.ods"), ONLY_HEADER),
    # A sheet without any cells.
    Refused("nothing.xls", made("nothing.xls"), EMPTY),
    # The same in an .ods, whose sheet still has one blank row.
    Refused("nothing.ods", made("nothing.ods"), EMPTY),
    # A sheet with only white space is empty.
    Refused("blanks.xlsx", book(nothing_but_blanks), EMPTY),
    # An option that applies to the other kind of file.
    Refused(
        "list.ods",
        made("same_table.ods"),
        ("It is a workbook, not a text file. Remove `delimiter` from [list_options].",),
        ListOptions(delimiter=";"),
    ),
    # A sheet that was renamed after the campaign was written.
    Refused(
        "list.xls",
        made("same_table.xls"),
        ('It has no sheet "May". Its sheets are: "Sheet".',),
        ListOptions(sheet="May"),
    ),
    # Phones as text, as a number and as a number that lost digits.
    Read("phones.xlsx", numbers_as_text, {2: ["+1 (312) 555-0142"], 3: ["13125550142"], 4: ["5.55E+20"]}),
    # A name with one word in bold, and a link.
    Read("rich.xlsx", rich_text, {2: ["Ann Lee", "our page"]}),
    # Inline strings instead of shared strings, as streaming writers store them.
    Read("stream.xlsx", constant_memory, {2: ["Ann"]}),
    # An Excel table with a total row, which is read like any other row.
    Read("table.xlsx", a_table_with_totals, {2: ["Ann", "2"]}),
    # A header that begins lower and further right, below the dealership's logo.
    Read("logo.xlsx", plain([], [], [None, "Name"], [None, "Ann"]), {4: ["Ann"]}, headers=("Name",)),
    # A macro workbook is a workbook.
    Read("list.xlsm", made("same_table.xlsm"), ROWS),
    # A workbook renamed to .csv.
    Read("list.csv", xlsx_bytes(["Name"], ["Ann"]), {2: ["Ann"]}),
    # An old workbook renamed to .csv.
    Read("list.csv", made("hidden_sheet.xls"), {2: ["Ann"]}),
    # An .ods renamed so that Excel opens it.
    Read("list.xlsx", made("hidden_sheet.ods"), {2: ["Ann"]}),
    # Incomplete downloads.
    Refused("cut.xls", made("same_table.xls")[:3000], DAMAGED),
    # Found by `make fuzz`: a loop of sectors in which xlrd never finishes.
    Refused("circle.xls", made("circle.xls"), DAMAGED),
    # A zip has its directory at the end, so nothing can be read without it.
    Refused("cut.ods", made("same_table.ods")[:9000], CUT_SHORT_ZIP),
    # The same, cut inside the first part.
    Refused("cut.xlsx", made("same_table.xlsx")[:3000], CUT_SHORT_ZIP),
    # Passwords.
    Refused("locked.xls", locked_xls(), PASSWORD),
    # LibreOffice encrypts the parts, but not the zip.
    Refused(
        "locked.ods",
        locked_ods,
        PASSWORD,
    ),
]
