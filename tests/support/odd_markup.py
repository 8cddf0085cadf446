"""Unusual OpenDocument spreadsheets, web pages and XML spreadsheets."""

from __future__ import annotations

from pathlib import Path

from list_cases import DAMAGED, SKIP, Read, Refused, made, three_hidden
from same_table import ROWS, html
from workbooks import ODS_TYPE, ods, ods_row, spreadsheetml, spreadsheetml_row, with_part

from batchsend.lists.customer_list import ListOptions

IN_EXCEL = "Open it in Excel or LibreOffice and save it as .xlsx."
TABLE_NOTE = "read as a web page's table"


def entities_ods(path: Path) -> None:
    path.write_bytes(ods(""))
    with_part(path, "content.xml", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')


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
    # The page is UTF-8, whatever it says; in the encoding that it names, the text would have wrong letters.
    *(
        Read(
            "liar.xls",
            f"<meta charset={charset}><table><tr><td>A<tr><td>José – x</table>".encode(),
            {2: ["José – x"]},
        )
        for charset in ("iso-8859-1", "windows-1250", "cp437", "big5")
    ),
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

XML_SPREADSHEETS = [
    # "XML Spreadsheet 2003", under the name .xls.
    Read(
        "export.xls",
        spreadsheetml(spreadsheetml_row("A", "B") + spreadsheetml_row("1", "2")),
        {2: ["1", "2"]},
    ),
    # Values of each type, skipped rows and cells, and a formatted part of a text.
    Read(
        "values.xls",
        spreadsheetml(
            spreadsheetml_row("A", "B")
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
            spreadsheetml_row("A", "B", "C")
            + spreadsheetml_row("x", attributes='ss:Hidden="1"')
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
            f'<Worksheet ss:Name="Codes"><Table>{spreadsheetml_row("x")}</Table>'
            "<x:WorksheetOptions><x:Visible>SheetHidden</x:Visible></x:WorksheetOptions></Worksheet>"
            f'<Worksheet ss:Name="May"><Table>{spreadsheetml_row("A") + spreadsheetml_row("1")}</Table></Worksheet>'
        ),
        {2: ["1"]},
        notes=('sheet "May"',),
    ),
    # Some programs write it in Windows-1252.
    Read(
        "latin.xls",
        spreadsheetml(spreadsheetml_row("A") + spreadsheetml_row("José"), encoding="windows-1252"),
        {2: ["José"]},
    ),
    # XML that ends early.
    Refused("cut.xls", spreadsheetml(spreadsheetml_row("A") + spreadsheetml_row("1"))[:-40], DAMAGED),
    # A row with the number of an earlier row.
    Refused(
        "back.xls",
        spreadsheetml(spreadsheetml_row("A") + spreadsheetml_row("1", attributes='ss:Index="1"')),
        DAMAGED,
    ),
    # A row number beyond the end of any sheet.
    Refused(
        "far.xls",
        spreadsheetml(spreadsheetml_row("A") + spreadsheetml_row("1", attributes='ss:Index="99999999"')),
        DAMAGED,
    ),
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
