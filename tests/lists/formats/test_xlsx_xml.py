"""Workbooks with unusual XML, which are read, and damaged ones, which are refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import xlsxwriter
from lists import problems_of, rows_of
from workbooks import HEADER_ROW, NAMESPACE, new_workbook, text_cell, with_part, with_sheet_xml

from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.lists.formats.xlsx import package

DAMAGED = (
    "It is a workbook that was cut short or damaged. Open it in Excel and save it again, or export it again."
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.xlsx"


EXPECTED = {2: ["1", ""], 4: ["#N/A", "x < y"]}


@pytest.mark.parametrize(
    "xml",
    [
        # As Excel writes it.
        HEADER_ROW
        + '<row r="2"><c r="A2"><v>1</v></c></row><row r="4" hidden="1"><c r="A4" t="e"><v>#N/A</v></c>'
        '<c r="B4" t="inlineStr"><is><t>x &lt; y</t></is></c></row>',
        # Some programs leave out the positions.
        (
            f"<row>{text_cell('A1', 'A')}{text_cell('B1', 'B')}</row><row><c><v>1</v></c></row><row/>"
            '<row hidden="true"><c t="e"><v>#N/A</v></c><c t="inlineStr"><is>'
            "<r><t>x </t></r><r><t>&lt; y</t></r></is></c></row>"
        ),
        # Single quotes, another order, spaces, comments, CDATA, a phonetic guide.
        "<row  r='1' >" + text_cell("A1", "A") + text_cell("B1", "B") + "</row><!-- <row r='9'/> -->"
        "<row r='2'>\n <c\ns='0' r='A2' ><v>1</v></c>\n</row><row hidden='1' r='4'><c t='e' r='A4'><f>NA()</f>"
        "<v>#N/A</v></c><c t='inlineStr' r='B4'><is><t><![CDATA[x < y]]></t><rPh sb='0' eb='1'><t>no</t></rPh></is>"
        "</c></row>",
        # Every name with a prefix.
        (
            f'<?xml version="1.0"?><x:worksheet xmlns:x="{NAMESPACE}"><x:sheetData><x:row r="1"><x:c r="A1" t="str">'
            '<x:v>A</x:v></x:c><x:c r="B1" t="str"><x:v>B</x:v></x:c></x:row><x:row r="2"><x:c r="A2">'
            '<x:v>1</x:v></x:c></x:row><x:row r="4" hidden="1"><x:c r="A4" t="e"><x:v>#N/A</x:v></x:c>'
            '<x:c r="B4" t="inlineStr">'
            "<x:is><x:t>x &lt; y"
            "</x:t></x:is></x:c></x:row></x:sheetData></x:worksheet>"
        ),
        # Another encoding.
        (
            f'<?xml version="1.0" encoding="UTF-16"?><worksheet xmlns="{NAMESPACE}"><sheetData>{HEADER_ROW}'
            '<row r="2"><c r="A2"><v>1</v></c></row><row r="4" hidden="1"><c r="A4" t="e"><v>#N/A</v></c>'
            '<c r="B4" t="str"><v>x &lt; y</v></c></row></sheetData></worksheet>'
        ).encode("utf-16"),
    ],
)
def test_equivalent_xml_is_read_the_same(path: Path, xml: str | bytes) -> None:
    customers = open_list(with_sheet_xml(path, xml), ListOptions(hidden_rows="skip"))
    assert rows_of(customers) == EXPECTED
    assert [chunk.hidden for chunk in customers.chunks()] == [{4}]


@pytest.mark.parametrize(
    "xml",
    [
        HEADER_ROW
        + '<row r="3"><c r="A3"><v>1</v></c></row><row r="2"><c r="A2"><v>1</v></c></row>',  # out of order
        HEADER_ROW + '<row r="2"><c r="A9"><v>1</v></c></row>',  # a cell with the reference of another row
        HEADER_ROW
        + '<row r="2"><c r="A2"><v>1</v></c></row><row r="2"><c r="A2"><v>2</v></c></row>',  # the same row twice
        HEADER_ROW + '<row r="2"><c r="ZZZ2"><v>1</v></c></row>',  # beyond the last column
        HEADER_ROW + '<row r="2"><c r="AXFD99999999"><v>1</v></c></row>',
        HEADER_ROW + '<row r="2"><c r="A2" r="XFD1048576"><v>1</v></c></row>',  # two references
        HEADER_ROW + '<row r="2"><c r="A2" s=">" r="XFD1048576"><v>1</v></c></row>',
        HEADER_ROW + '<row r="2"><x><c r="XFD1048576"><v>1</v></c></x></row>',
        HEADER_ROW + '<row r="99999999"><c r="A99999999"><v>1</v></c></row>',  # beyond the last row
        HEADER_ROW + '<row r="2"><c r="A2" t="s"><v>77</v></c></row>',  # a missing string
        HEADER_ROW + '<row r="2"><c r="A2"><v>1</v>',  # cut short
        # A broken end tag, after which calamine would skip the next row.
        HEADER_ROW
        + '<row r="2"><c r="A2"><v>1</&amp;v></c><c r="B2"><v>1</v></c></row><row r="3"><c r="A3"><v>3</v></c></row>',
        # A document type.
        (
            '<!DOCTYPE x [<!ENTITY a "b">]>'
            f'<worksheet xmlns="{NAMESPACE}"><sheetData>{HEADER_ROW}</sheetData></worksheet>'
        ),
        "no XML at all",
        "",
    ],
)
def test_invalid_sheets(path: Path, xml: str) -> None:
    assert problems_of(with_sheet_xml(path, xml)) == (DAMAGED,)


def test_entities_in_shared_strings_are_refused(path: Path) -> None:
    with xlsxwriter.Workbook(path) as workbook:
        workbook.add_worksheet().write_column(0, 0, ["A", "1"])
    with_part(
        path, "xl/sharedStrings.xml", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><sst><si><t>&a;</t></si></sst>'
    )
    assert problems_of(path) == (DAMAGED,)


def test_a_workbook_cut_short_in_the_middle(path: Path) -> None:
    new_workbook([["A"], *([f"customer {i}"] for i in range(2000))])[0].save(path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("xl/worksheets/sheet1.xml").header_offset
    content[start + 100 : start + 200] = bytes(100)
    path.write_bytes(content)
    assert problems_of(path) == (DAMAGED,)


def test_a_zip_bomb(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "_RATIO_CHECKED_ABOVE", 1_000_000)
    new_workbook([["A"]])[0].save(path)
    with_part(path, "xl/sharedStrings.xml", b"<sst>" + b" " * 10_000_000 + b"</sst>")
    (problem,) = problems_of(path)
    assert problem.startswith("It is too large: unpacked it would take 10,0")
    assert problem.endswith(" bytes. Export only the list, without other sheets or pictures.")
