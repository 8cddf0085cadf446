"""Unusual lists from practice, each with its expected rows or the sentences that refuse it.

LibreOffice saved the files in `tests/lists/formats/odd_lists/` (see `make_files.py` there). All others are made here.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import xlsxwriter
from openpyxl.worksheet.worksheet import Worksheet
from same_table import RESULTS_HEADER, ROWS, TABLE, texts
from workbooks import (
    ODS_TYPE,
    new_workbook,
    ods,
    ods_row,
    spreadsheetml,
    spreadsheetml_row,
    with_part,
)

from batchsend.lists.customer_list import ListOptions

HERE = Path(__file__).parents[1] / "lists" / "formats" / "odd_lists"

NO_OPTIONS = ListOptions()
Content = bytes | Callable[[Path], object]


@dataclass(frozen=True)
class Read:
    """A list that can be read. `rows` has the rows below the header by row number."""

    name: str
    content: Content
    rows: dict[int, list[str]]
    options: ListOptions = NO_OPTIONS
    headers: tuple[str, ...] | None = None
    notes: tuple[str, ...] | None = None
    hidden: frozenset[int] = frozenset()
    malformed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A list that cannot be read, with the exact sentences that say why."""

    name: str
    content: Content
    sentences: tuple[str, ...]
    options: ListOptions = NO_OPTIONS


def made(name: str) -> bytes:
    return (HERE / name).read_bytes()


def html(rows: str) -> bytes:
    return f"<html><head><meta charset=utf-8></head><body><table>{rows}</table></body></html>".encode()


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


def entities_ods(path: Path) -> None:
    path.write_bytes(ods(""))
    with_part(path, "content.xml", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')


def locked_ods(path: Path) -> None:
    path.write_bytes(ods(ods_row("A")))
    with_part(path, "META-INF/manifest.xml", b"<manifest:file-entry><manifest:encryption-data/>")


def zip_with(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "x")
    return content.getvalue()


def nothing_but_blanks(workbook: openpyxl.Workbook, sheet: Worksheet) -> None:
    sheet["A1"] = " \u00a0"


SKIP, INCLUDE = ListOptions(hidden_rows="skip"), ListOptions(hidden_rows="include")

EMPTY = ("It is empty. Export the list again, with its header and its rows.",)
ONLY_HEADER = ("It has only a header and no rows. Export the list again, with its rows.",)
DAMAGED = (
    "It is a workbook that was cut short or damaged. Open it in Excel and save it again, or export it again.",
)
CUT_SHORT_ZIP = ("It is a workbook that was cut short or damaged. Copy, download or export it again.",)
PASSWORD = ("It is protected by a password. Open it in Excel, save it without a password, and try again.",)
IN_EXCEL = "Open it in Excel or LibreOffice and save it as .xlsx."
NOT_A_LIST = "not a list. Export the list as .xlsx or .csv."
TABLE_NOTE = "read as a web page's table"


def three_hidden(rows: str) -> tuple[str]:
    return (
        (
            f"3 rows are hidden or filtered out ({rows}). Choose under [list_options]: "
            'hidden_rows = "skip" leaves them out, hidden_rows = "include" texts them.'
        ),
    )


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
REMARKS = {2: ["1", "2"], 3: ["", "3"]}

TEXT_FILES = [
    # Excel on a Mac writes "CSV (Macintosh)" with the line ends of old Macs.
    Read("mac.csv", b"Name,Phone\rAnn,1\rBo,2\r", {2: ["Ann", "1"], 3: ["Bo", "2"]}),
    # Excel in Germany separates by semicolons and writes decimal commas.
    Read(
        "german.csv",
        "Name;Betrag\nJürgen;1,5\nBo;2,5\n".encode("cp1252"),
        {2: ["Jürgen", "1,5"], 3: ["Bo", "2,5"]},
        notes=("read as Windows-1252", "separated by semicolons"),
    ),
    # Excel's "Unicode Text": UTF-16 with tabs, often under the name .csv.
    Read("unicode.csv", "Name\tPhone\r\nЗоя\t1\r\n".encode("utf-16"), {2: ["Зоя", "1"]}),
    # A mainframe's export, separated by pipes.
    Read("mainframe.txt", b"NAME|PHONE\nANN|1\nBO|2\n", {2: ["ANN", "1"], 3: ["BO", "2"]}),
    # Tab-separated text that a program exports as a "workbook".
    Read("export.xls", b"Name\tPhone\r\nAnn\t1\r\n", {2: ["Ann", "1"]}, notes=("separated by tabs",)),
    # The same in UTF-16, as ASP pages often write it.
    Read("export.xls", "Name\tPhone\r\nAnn\t1\r\n".encode("utf-16"), {2: ["Ann", "1"]}),
    # A CSV file renamed so that Excel opens it.
    Read("renamed.xlsx", b"Name,Phone\nAnn,1\n", {2: ["Ann", "1"]}),
    # No ending, as some SFTP jobs name files.
    Read("EXPORT_20261122", b"Name,Phone\nAnn,1\n", {2: ["Ann", "1"]}),
    # A list of only ids has no delimiter.
    Read("ids.csv", b"Customer ID\nc1\nc2\n", {2: ["c1"], 3: ["c2"]}),
    # Excel's line that names the delimiter.
    Read("sep.csv", b"sep=;\nName;Phone\nAnn;1\n", {2: ["Ann", "1"]}),
    # An address with two lines in one cell is one row, as in the spreadsheet.
    Read("address.csv", b'A,B\n"1 Main St\nApt 2",x\nc,d\n', {2: ["1 Main St\nApt 2", "x"], 3: ["c", "d"]}),
    # Quotation marks inside a cell are doubled.
    Read("nick.csv", b'Name,X\n"Bob ""The Hammer"" Lee",1\n', {2: ['Bob "The Hammer" Lee', "1"]}),
    # Inches: a quotation mark inside an unquoted cell is an ordinary character.
    Read("inches.csv", b'Size,X\n19" rims,1\n', {2: ['19" rims', "1"]}),
    # Blank lines above, between and below; row numbers are the spreadsheet's.
    Read("gaps.csv", b"\nName\n\nAnn\n\n\n", {4: ["Ann"]}, notes=("the header is in row 2",)),
    # Excel saves a blank row as a line of commas.
    Read("commas.csv", b"A,B\n,\n1,2\n,\n", {3: ["1", "2"]}),
    # A comma at the end of each line.
    Read("tail.csv", b"A,B,\n1,2,\n", {2: ["1", "2"]}, headers=("A", "B")),
    # Values that other programs read as missing.
    Read("null.csv", b"A,B\nNull,NA\nNone,nan\n", {2: ["Null", "NA"], 3: ["None", "nan"]}),
    # Phones and ids that Excel damaged are read as they are; a campaign that uses them reports the damage.
    Read("digits.csv", b"A,B\n5.55123E+09,1.2E-5\n", {2: ["5.55123E+09", "1.2E-5"]}),
    # An apostrophe keeps Excel from changing a number; some exports write it out.
    Read("apostrophe.csv", b"A,B\n'007,x\n", {2: ["'007", "x"]}),
    # Text that begins like a formula is text.
    Read("formulas.csv", b"A,B\n=1+1,@x\n+1,-1\n", {2: ["=1+1", "@x"], 3: ["+1", "-1"]}),
    # NBSP and zero-width characters around text copied from web pages; an NBSP inside is a space.
    Read(
        "web.csv",
        "\ufeff\u200bName\u00a0,B\n\u00a0Ann\u00a0Lee\u200b,\u202a555\u202c\n".encode(),
        {2: ["Ann Lee", "555"]},
    ),
    # An unquoted comma in a name shifts the cells: the row is kept and marked as malformed.
    Read("shifted.csv", b"A,B\nLee, Ann,1\nBo,2\n", {2: ["Lee", "Ann"], 3: ["Bo", "2"]}, malformed=(2,)),
    # A row that ends before the last column.
    Read("short.csv", b"A,B,C\n1\n1,2,3\n", {2: ["1", "", ""], 3: ["1", "2", "3"]}, malformed=(2,)),
    # Old DOS programs end a file with Ctrl-Z.
    Read("dos.csv", b"A,B\n1,2\n\x1a", {2: ["1", "2"]}),
    # A database export in an old DOS encoding, which has to be named.
    Read(
        "dos850.csv", "A,B\nJürgen,2\n".encode("cp850"), {2: ["Jürgen", "2"]}, ListOptions(encoding="cp850")
    ),
    # A results file is recognized by its header and read as the original list.
    Read(
        "results.csv",
        (",".join(RESULTS_HEADER) + "\n2,accepted,m,,,,Hi,c1,555,c1\n").encode(),
        {2: ["c1", "555"]},
        headers=("Customer ID", "Phone"),
    ),
    # An export with no customers, or one that failed.
    Refused("empty.csv", b"", EMPTY),
    # The same from a program that writes the UTF-8 mark before it looks for rows.
    Refused("bom.csv", b"\xef\xbb\xbf", EMPTY),
    # A report without customers still has its header.
    Refused("header.csv", b"Name,Phone\n", ONLY_HEADER),
    # A file in which an editor saved one line in another encoding.
    Refused(
        "mixed.csv",
        "A,B\nJosé,1\n".encode() + "Zoë,2\n".encode("cp1252"),
        (
            (
                "It is UTF-8 text, but line 3 has a byte that is not UTF-8. Fix that line, or save it again as "
                '"CSV UTF-8". If the whole file has another encoding, name it: encoding = "windows-1252" under '
                "[list_options]."
            ),
        ),
    ),
    # An unclosed quotation mark would swallow all rows below.
    Refused(
        "unclosed.csv",
        b'A,B\n"1,2\n3,4\n',
        (
            (
                "The quotation marks in row 2 do not match: a cell opens one and never closes it, so the rows below "
                'would be lost. Fix the row (write a " inside a cell twice, and put one at each end of the cell), or '
                "export the list again."
            ),
        ),
    ),
    # A crash during the export leaves NUL bytes.
    Refused(
        "nul.csv",
        b"A,B\n1,2\n" + bytes(200),
        (
            (
                "It has NUL bytes (the first in line 3), which text never has: it is damaged or not a list. "
                "Export it again."
            ),
        ),
    ),
    # Two columns with one name: either could be the phone.
    Refused(
        "twice.csv",
        b"Phone,Name,PHONE\n1,Ann,2\n",
        (
            (
                'Two headers mean the same column: "Phone" (column A) and "PHONE" (column C). '
                "Rename or delete all but one of them."
            ),
        ),
    ),
    # A column without a header has values.
    Refused(
        "headless.csv",
        b"Name,,Phone\nAnn,x,1\n",
        ("Column B has no header but has values in row 2. Give it a header, or delete the column.",),
    ),
    # With a title above the header, only the first column seems to have a header.
    Refused(
        "title.csv",
        b"Customers of May,\nName,Phone\nAnn,1\n",
        (("Column B has no header but has values in rows 2 and 3. Give it a header, or delete the column."),),
    ),
    # A whole text file in one cell, which Excel would cut silently.
    Refused(
        "essay.csv",
        b"A,B\n1," + b"x" * 32_768 + b"\n",
        (
            (
                "Row 2 has a cell with more than 32,767 characters, which is too long for a spreadsheet. "
                "Fix that row, or export the list again."
            ),
        ),
    ),
    # A transposed table has a column for each customer.
    Refused(
        "sideways.csv",
        ",".join(f"c{i}" for i in range(1_001)).encode() + b"\n1\n",
        (
            (
                "Its header has 1,001 columns; at most 1,000 can be read. Delete the columns that the campaign does "
                "not need."
            ),
        ),
    ),
    # Several problems are reported together.
    Refused(
        "several.csv",
        b"Cell Phone,cell_phone,\n1,2,3\n",
        (
            (
                'Two headers mean the same column: "Cell Phone" (column A) and "cell_phone" (column B). Rename or '
                "delete all but one of them."
            ),
            ("Column C has no header but has values in row 2. Give it a header, or delete the column."),
        ),
    ),
    # An option that applies to the other kind of file.
    Refused(
        "list.csv",
        b"A,B\n1,2\n",
        ("It is a text file, which has no sheets. Remove `sheet` from [list_options].",),
        ListOptions(sheet="May"),
    ),
]

WORKBOOKS = [
    # Values, errors and formulas as LibreOffice writes them.
    Read("values.xls", made("values.xls"), VALUES),
    # OpenDocument stores numbers, dates and errors by name.
    Read("values.ods", made("values.ods"), VALUES),
    # An .xlsx stores a time as a number with a format.
    Read("values.xlsx", made("values.xlsx"), VALUES),
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
    Read("far.xls", made("far_cell.xls"), {2: ["1", "2"], 65536: ["", ""]}, malformed=(65536,)),
    # An .ods stores a million blank rows as one repeated row.
    Read("far.ods", made("far_cell.ods"), {2: ["1", "2"], 65536: ["", ""]}, malformed=(65536,)),
    # For an .xlsx, calamine would allocate the whole rectangle and abort.
    Read("far.xlsx", made("far_cell.xlsx"), {2: ["1", "2"], 65536: ["", ""]}, malformed=(65536,)),
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

OPENDOCUMENT = [
    # LibreOffice stores equal rows and cells as repeated ones.
    Read(
        "alike.ods",
        ods(
            ods_row("A", "B")
            + ods_row("x", attributes='table:number-rows-repeated="3"')
            + '<table:table-row table:number-rows-repeated="10"><table:table-cell/></table:table-row>'
            '<table:table-row><table:table-cell table:number-columns-repeated="2" office:value-type="float" '
            'office:value="7"/></table:table-row>'
        ),
        {2: ["x", ""], 3: ["x", ""], 4: ["x", ""], 15: ["7", "7"]},
    ),
    # Filtered rows can also be repeated.
    Read(
        "filter.ods",
        ods(
            ods_row("A") + ods_row("x", attributes='table:number-rows-repeated="2" table:visibility="filter"')
        ),
        {2: ["x"], 3: ["x"]},
        SKIP,
        hidden=frozenset({2, 3}),
    ),
    # A collapsed group of rows, and a header that repeats on every page.
    Read(
        "group.ods",
        ods(
            f"<table:table-header-rows>{ods_row('A')}</table:table-header-rows>"
            f'<table:table-row-group table:display="false">{ods_row("x")}{ods_row("y")}</table:table-row-group>'
            f"{ods_row('z')}"
        ),
        {2: ["x"], 3: ["y"], 4: ["z"]},
        SKIP,
        hidden=frozenset({2, 3}),
    ),
    # Line breaks, spaces, links and phonetic guides inside a cell.
    Read(
        "text.ods",
        ods(
            ods_row(
                "A",
                "B",
            )
            + ods_row(
                'x<text:s text:c="2"/>y</text:p><text:p>2nd <text:a>link</text:a><text:line-break/>3rd',
                "<text:ruby><text:ruby-base>x</text:ruby-base><text:ruby-text>no</text:ruby-text></text:ruby>",
            )
        ),
        {2: ["x  y\n2nd link\n3rd", "x"]},
    ),
    # Excel stores 0 for a failed formula.
    Read(
        "excel.ods",
        ods(
            ods_row("A")
            + '<table:table-row><table:table-cell table:formula="of:=1/0" office:value-type="float" '
            'office:value="0"><text:p>#DIV/0!</text:p></table:table-cell></table:table-row>'
        ),
        {2: ["#DIV/0!"]},
    ),
    # A German LibreOffice translates the names of errors.
    Read(
        "german.ods",
        ods(
            ods_row("A")
            + '<table:table-row><table:table-cell office:value-type="string" office:string-value="" '
            'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0" '
            'calcext:value-type="error"><text:p>#NV</text:p></table:table-cell></table:table-row>'
        ),
        {2: ["#ERROR!"]},
    ),
    # A million rows of a thousand cells in ten lines of XML.
    Refused(
        "bomb.ods",
        ods(
            ods_row("A") + '<table:table-row table:number-rows-repeated="1000000"><table:table-cell '
            'table:number-columns-repeated="1000" office:value-type="float" office:value="7"/></table:table-row>'
        ),
        (
            (
                "It is too large: 1,000,000,001 cells, as far as column ALL and row 1,000,001; at most 50,000,000 "
                "can be read. Copy the list into a new workbook, or split it."
            ),
        ),
    ),
    # More rows or columns than any program supports.
    Refused("long.ods", ods(ods_row("A", attributes='table:number-rows-repeated="9999999"')), DAMAGED),
    # A repeat count with too many digits.
    Refused("longer.ods", ods(ods_row("A", attributes='table:number-rows-repeated="99999999999"')), DAMAGED),
    # A negative repeat count.
    Refused("none.ods", ods(ods_row("A", attributes='table:number-rows-repeated="-1"')), DAMAGED),
    # Nearly a hundred thousand columns in one tag.
    Refused(
        "wide.ods",
        ods(
            '<table:table-row><table:table-cell table:number-columns-repeated="99999" '
            'office:value-type="float" office:value="7"/></table:table-row>'
        ),
        DAMAGED,
    ),
    # A table inside a cell would be read as rows of the list.
    Refused(
        "nested.ods",
        ods(
            "<table:table-row><table:table-cell><table:table table:name='x'>"
            f"{ods_row('a')}</table:table></table:table-cell></table:table-row>"
        ),
        DAMAGED,
    ),
    # Entities can expand one line to a gigabyte.
    Refused("entities.ods", entities_ods, DAMAGED),
    # Letters and drawings are also OpenDocument files.
    Refused(
        "letter.odt",
        ods("", ODS_TYPE.replace("spreadsheet", "text")),
        (
            (
                "It is an OpenDocument file other than a spreadsheet, which cannot be read. "
                "Open it in the program that made it and save it as .xlsx or .csv."
            ),
        ),
    ),
]

WEB_PAGES = [
    # Many programs export a web page as a "workbook".
    Read(
        "export.xls",
        html("<tr><th>Name</th><th>Phone</th></tr><tr><td>Ann</td><td>1</td></tr>"),
        {2: ["Ann", "1"]},
        notes=(TABLE_NOTE,),
    ),
    # Old programs do not close cells and rows.
    Read("old.xls", b"<TABLE><TR><TD>A<TD>B<TR><TD>1<TD>2</TABLE>", {2: ["1", "2"]}),
    # A web page saved by Excel: entities, line breaks in words and tags, a comment at the beginning.
    Read(
        "excel.htm",
        html(
            "<!-- x --><tr><td>Na\r\n  me</td></tr><tr><td><font\nface=x>O&#39;Brien&nbsp;&amp; Co</font></td></tr>"
        ),
        {2: ["O'Brien & Co"]},
        headers=("Na me",),
    ),
    # Lines inside a cell.
    Read(
        "lines.xls",
        html("<tr><td>A<tr><td>12 Main St<br>Apt 4<tr><td><p>x</p><p>y</p>"),
        {2: ["12 Main St\nApt 4"], 3: ["x\ny"]},
    ),
    # A cell that spans two columns, and one that spans two rows and would shift the row below.
    Read(
        "spans.xls",
        html(
            "<tr><td>A<td>B<td>C</tr><tr><td rowspan=2>1<td>2<td>3</tr><tr><td>5<td>6</tr>"
            "<tr><td colspan=2>7<td>9</tr>"
        ),
        {2: ["1", "2", "3"], 3: ["", "5", "6"], 4: ["7", "", "9"]},
    ),
    # Hidden rows of a page.
    Read(
        "hidden.xls",
        html(
            "<tr><td>A</tr><tr style='height:0; display : none'><td>x</tr><tr hidden><td>y</tr>"
            "<tbody style='visibility:collapse'><tr><td>z</tr></tbody><tr><td>v</tr>"
        ),
        {2: ["x"], 3: ["y"], 4: ["z"], 5: ["v"]},
        SKIP,
        hidden=frozenset({2, 3, 4}),
    ),
    # Hidden rows of a page also need a choice.
    Refused(
        "hidden.xls",
        html("<tr><td>A</tr><tr hidden><td>x</tr><tr hidden><td>y</tr><tr hidden><td>z</tr>"),
        three_hidden("rows 2, 3 and 4"),
    ),
    # Blank rows are counted.
    Read("blank.xls", html("<tr><td>A</tr><tr></tr><tr><td>&nbsp;</tr><tr><td>1</tr>"), {4: ["1"]}),
    # Scripts and styles in cells are not text.
    Read(
        "script.xls",
        html("<tr><td>A</tr><tr><td><script>if (a<b) x()</script>1<style>td{}</style></tr>"),
        {2: ["1"]},
    ),
    # Excel shows a long number shortened and stores its digits in an attribute.
    Read("number.xls", html("<tr><td>A</tr><tr><td x:num='13125550142'>1.31E+10</tr>"), {2: ["13125550142"]}),
    # The page names its encoding; Latin-1 means Windows-1252.
    Read(
        "latin.xls",
        b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">'
        b"<table><tr><td>A<tr><td>Jos\xe9 \x96 x</table>",
        {2: ["José – x"]},
    ),
    # The page names the wrong encoding.
    Read("liar.xls", "<meta charset=ascii><table><tr><td>A<tr><td>Зоя</table>".encode(), {2: ["Зоя"]}),
    # UTF-16, in which the name of the encoding cannot be found.
    Read("wide.xls", "<html><table><tr><td>A<tr><td>Зоя</table>".encode("utf-16"), {2: ["Зоя"]}),
    # An empty layout table before the one with rows.
    Read("looks.xls", html("<tr><td></tr></table><table><tr><td>A</tr><tr><td>1</tr>"), {2: ["1"]}),
    # A web page saved by LibreOffice.
    Read("libreoffice.html", made("same_table.html"), ROWS),
    # Either of two tables could be the list.
    Refused(
        "two.xls",
        html("<tr><td>May</tr></table><table><tr><td>A</tr><tr><td>1</tr>"),
        (
            (
                "It is a web page with several tables, and any of them could be the list. Open it in Excel or "
                "LibreOffice, delete all but the list and save it as .xlsx."
            ),
        ),
    ),
    # A page whose layout uses tables: its rows are ambiguous.
    Refused(
        "nested.xls",
        html("<tr><td>A<table><tr><td>1</tr></table></tr>"),
        (f"It is a web page with tables within tables, which cannot be read as a list. {IN_EXCEL}",),
    ),
    # A login page that a job saved instead of the list.
    Refused(
        "login.xls",
        b"<!DOCTYPE html><html><form><input name=password></form></html>",
        (f"It is a web page without a table, not a list. {IN_EXCEL}",),
    ),
    # An incomplete download: the table has no end.
    Refused(
        "cut.xls",
        html("<tr><td>A</tr><tr><td>1</tr>")[:-30],
        ("It is a web page that was cut short: its table has no end. Export the list again.",),
    ),
    # A page has no sheets, although Excel shows one.
    Refused(
        "sheet.xls",
        html("<tr><td>A</tr>"),
        ("It is a web page, so `sheet` does not apply. Remove `sheet` from [list_options].",),
        ListOptions(sheet="May"),
    ),
]

ROW = spreadsheetml_row
XML_SPREADSHEETS = [
    # "XML Spreadsheet 2003", under the name .xls.
    Read("export.xls", spreadsheetml(ROW("A", "B") + ROW("1", "2")), {2: ["1", "2"]}),
    # Values of each type, skipped rows and cells, and a formatted part of a text.
    Read(
        "values.xls",
        spreadsheetml(
            ROW("A", "B")
            + '<Row ss:Index="4"><Cell ss:Index="2"><Data ss:Type="Number">2125550123</Data></Cell></Row>'
            '<Row><Cell><Data ss:Type="DateTime">2026-03-01T09:30:00.000</Data></Cell>'
            '<Cell><Data ss:Type="DateTime">1899-12-31T09:30:00.000</Data></Cell></Row>'
            '<Row><Cell><Data ss:Type="Boolean">1</Data></Cell><Cell><Data ss:Type="Error">#N/A</Data></Cell></Row>'
            '<Row><Cell><ss:Data ss:Type="String" xmlns="http://www.w3.org/TR/REC-html40">An<B>n</B></ss:Data>'
            '<Comment><ss:Data xmlns="http://www.w3.org/TR/REC-html40">call her</ss:Data></Comment></Cell></Row>'
        ),
        {
            4: ["", "2125550123"],
            5: ["2026-03-01 09:30:00", "09:30:00"],
            6: ["TRUE", "#N/A"],
            7: ["Ann", ""],
        },
    ),
    # A filtered row and merged cells.
    Read(
        "filter.xls",
        spreadsheetml(
            ROW("A", "B", "C")
            + ROW("x", attributes='ss:Hidden="1"')
            + '<Row><Cell ss:MergeAcross="1"><Data ss:Type="String">m</Data></Cell>'
            '<Cell><Data ss:Type="String">n</Data></Cell></Row>'
        ),
        {2: ["x", "", ""], 3: ["m", "", "n"]},
        SKIP,
        hidden=frozenset({2}),
    ),
    # A hidden sheet, which is marked after its rows.
    Read(
        "sheets.xls",
        spreadsheetml(
            f'<Worksheet ss:Name="Codes"><Table>{ROW("x")}</Table><x:WorksheetOptions><x:Visible>SheetHidden'
            f'</x:Visible></x:WorksheetOptions></Worksheet><Worksheet ss:Name="May"><Table>{ROW("A")}{ROW("1")}'
            "</Table></Worksheet>"
        ),
        {2: ["1"]},
        notes=('sheet "May"',),
    ),
    # Some programs write it in Windows-1252.
    Read("latin.xls", spreadsheetml(ROW("A") + ROW("José"), encoding="windows-1252"), {2: ["José"]}),
    # XML that ends early.
    Refused("cut.xls", spreadsheetml(ROW("A") + ROW("1"))[:-40], DAMAGED),
    # A row with the number of an earlier row.
    Refused("back.xls", spreadsheetml(ROW("A") + ROW("1", attributes='ss:Index="1"')), DAMAGED),
    # A row number beyond the end of any sheet.
    Refused("far.xls", spreadsheetml(ROW("A") + ROW("1", attributes='ss:Index="99999999"')), DAMAGED),
    # Any other XML.
    Refused(
        "feed.xml",
        b'<?xml version="1.0"?><customers><customer/></customers>',
        (
            (
                "It is an XML document, not a list. "
                "Open it in the program that made it and save it as .xlsx or .csv."
            ),
        ),
    ),
]

NO_LISTS = [
    # A photo of the list, taken with a phone.
    Refused("list.jpg", b"\xff\xd8\xff\xe0", (f"It is a picture (JPEG), {NOT_A_LIST}",)),
    # The same with a newer phone.
    Refused("list.heic", b"\0\0\0\x18ftypheic", (f"It is a picture (HEIC), {NOT_A_LIST}",)),
    # A scan.
    Refused("list.tif", b"II*\0", (f"It is a picture (TIFF), {NOT_A_LIST}",)),
    # Contacts from a phone.
    Refused("list.vcf", b"BEGIN:VCARD\r\n", (f"It is a file of contacts (vCard), {NOT_A_LIST}",)),
    # The response of a web service, saved under the wrong name.
    Refused("list.csv", b'[{"name": "Ann"}]', (f"It is a JSON document, {NOT_A_LIST}",)),
    # A synchronized folder has only a link to a Google sheet.
    Refused(
        "list.gsheet",
        b'{"":"WARNING!","doc_id":"1x","email":"ann@example.com"}',
        (
            (
                "It is only a link to a Google sheet. Open the sheet, choose File > Download > Microsoft Excel, "
                "and name the downloaded file."
            ),
        ),
    ),
    # The lock file that Excel creates while a workbook is open.
    Refused(
        "~$list.xlsx",
        b"\x03Ann",
        ("It is Excel's lock file for an open workbook. Name list.xlsx instead.",),
    ),
    # Excel's "Single File Web Page".
    Refused(
        "list.xls",
        b"MIME-Version: 1.0\r\n",
        ("It is a web archive (.mht), which cannot be read. Open it in Excel and save it as .xlsx.",),
    ),
    # A zip archive without files.
    Refused("empty.zip", b"PK\x05\x06" + bytes(18), (f"It is an empty zip archive, {NOT_A_LIST}",)),
    # The dealership's database instead of an export.
    Refused("list.mdb", b"\0\1\0\0Standard Jet DB", (f"It is a database (Access), {NOT_A_LIST}",)),
    # A spreadsheet of Apple Numbers, which is a zip.
    Refused(
        "list.numbers",
        zip_with("Index/Document.iwa", "preview.jpg"),
        (
            "It is a Numbers document, which cannot be read. Open it in Numbers and export it as Excel or CSV.",
        ),
    ),
    # Excel's binary workbook, which some people save because it is small.
    Refused(
        "list.xlsb",
        zip_with("xl/workbook.bin"),
        (
            (
                "It is a binary workbook (.xlsb), which cannot be read. "
                "Open it in the program that made it and save it as .xlsx or .csv."
            ),
        ),
    ),
]

ODD_LISTS = [*TEXT_FILES, *WORKBOOKS, *OPENDOCUMENT, *WEB_PAGES, *XML_SPREADSHEETS, *NO_LISTS]


def write(folder: Path, odd: Read | Refused) -> Path:
    path = folder / odd.name
    if isinstance(odd.content, bytes):
        path.write_bytes(odd.content)
    else:
        odd.content(path)
    return path


# The same table -----------------------------------------------------------------------------------------------------


def in_text(delimiter: str, encoding: str = "utf-8") -> bytes:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    return "".join(delimiter.join(map(quoted, row)) + "\r\n" for row in texts()).encode(encoding)


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "&#10;")


def in_html() -> bytes:
    def row(cells: list[str]) -> str:
        return (
            "<tr>" + "".join(f"<td>{escaped(cell).replace('&#10;', '<br>')}</td>" for cell in cells) + "</tr>"
        )

    return html("".join(map(row, texts())))


def in_xlsxwriter(path: Path) -> None:
    with xlsxwriter.Workbook(path, {"default_date_format": "m/d/yy"}) as workbook:
        sheet = workbook.add_worksheet()
        for number, row in enumerate(TABLE):
            for column, value in enumerate(row):
                if value is not None:
                    sheet.write(number, column, value)


def in_results(path: Path) -> None:
    workbook, summary = new_workbook([["rows", 4]])
    summary.title = "Summary"
    sheet = workbook.create_sheet("Results")
    header, *rows = texts()
    sheet.append(
        [
            *RESULTS_HEADER[:7],
            *(f"{name} (list)" if name == "Phone" else name for name in header),
            "customerUUID",
        ]
    )
    for row in rows:
        sheet.append(["2", "accepted", "m", "", "", "", "Hi", *row, "c"] if any(row) else [])
    workbook.save(path)
