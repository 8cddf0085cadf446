"""Sheets that openpyxl reads have the same rows as those that python-calamine reads."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from list_cases import Read, write
from lists import problems_of, rows_of
from odd_workbooks import WORKBOOKS
from workbooks import HEADER_ROW, NAMESPACE, new_workbook, text_cell, with_part, with_sheet_xml

from batchsend.errors import ListError
from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.lists.damage import UNCALCULATED
from batchsend.lists.formats.xlsx import reader

DAMAGED = (
    "It is a workbook that was cut short or damaged. Open it in Excel and save it again, or export it again."
)
WORKBOOK = "xl/workbook.xml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.xlsx"


@pytest.fixture
def by_openpyxl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every sheet too large for calamine."""
    monkeypatch.setattr(reader, "_MAX_FILLED", -1)


@pytest.mark.usefixtures("by_openpyxl")
@pytest.mark.parametrize("odd", [odd for odd in WORKBOOKS if isinstance(odd, Read)], ids=lambda odd: odd.name)
def test_odd_workbooks(tmp_path: Path, odd: Read) -> None:
    customers = open_list(write(tmp_path, odd), odd.options)
    assert rows_of(customers) == rows_of(customers) == odd.rows


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=8),
    st.sampled_from(["", "  a ", "<&>", 't="s"', "_x0041_", "a\nb", "é", "12"]),
    st.integers(0, 10**9),
    st.floats(0, 3e6),
    st.booleans(),
)
FORMATS = ["General", "0%", "0.0%", "m/d/yy h:mm", "[h]:mm", "h:mm", "0.00"]


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=30),
    formats=st.lists(st.sampled_from(FORMATS), min_size=3, max_size=3),
    shared=st.booleans(),
    in_1904=st.booleans(),
    gap=st.integers(1, 9),
)
def test_both_libraries_read_the_same_rows(
    tmp_path: Path, rows: list[list[object]], formats: list[str], shared: bool, in_1904: bool, gap: int
) -> None:
    path = tmp_path / "list.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": not shared, "date_1904": in_1904}) as book:
        sheet = book.add_worksheet()
        styles = [book.add_format({"num_format": written}) for written in formats]
        sheet.write_row(0, 2, ["A", "B", "C"])
        sheet.write_string(1, 2, "never blank")
        for number, row in enumerate(rows):
            for column, value in enumerate(row, 2):
                if isinstance(value, str):
                    sheet.write_string(number * gap + 2, column, value)
                else:
                    sheet.write(number * gap + 2, column, value, styles[column - 2])
    found = rows_of(open_list(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_MAX_FILLED", -1)
        assert found == rows_of(open_list(path))


def shared(path: Path, texts: str, *numbers: int) -> Path:
    with xlsxwriter.Workbook(path) as workbook:
        workbook.add_worksheet().write(0, 0, "x")
    rows = "".join(f'<row r="{r}"><c r="A{r}" t="s"><v>{n}</v></c></row>' for r, n in enumerate(numbers, 1))
    sheet = f'<worksheet xmlns="{NAMESPACE}"><sheetData>{rows}</sheetData></worksheet>'
    with_part(path, "xl/worksheets/sheet1.xml", sheet.encode())
    strings = f'<?xml version="1.0"?><sst xmlns="{NAMESPACE}">{texts}</sst>'
    return with_part(path, "xl/sharedStrings.xml", strings.encode())


@pytest.mark.usefixtures("by_openpyxl")
@pytest.mark.parametrize(
    "text",
    [
        "<si><t>one</t></si>",
        "<si><r><t>o</t></r><r><rPr><b/></rPr><t>ne</t></r><rPh><t>x</t></rPh></si>",
        "<!-- <si> --><si><t>one</t></si>",
        '<si x="1"><t><![CDATA[one]]></t></si>',
    ],
)
def test_shared_strings(path: Path, text: str) -> None:
    assert rows_of(open_list(shared(path, f"<si><t>A</t></si>{text}", 0, 1))) == {2: ["one"]}


@pytest.mark.usefixtures("by_openpyxl")
@pytest.mark.parametrize("number", [7, -1])
def test_a_reference_to_a_missing_string(path: Path, number: int) -> None:
    assert problems_of(shared(path, "<si><t>A</t></si>", 0, number)) == (DAMAGED,)


@pytest.mark.usefixtures("by_openpyxl")
def test_a_workbook_that_has_been_replaced(path: Path) -> None:
    new_workbook([["A"], ["1"]])[0].save(path)
    customers = open_list(path)
    new_workbook([["A"], ["1"], ["2"]])[0].save(path)
    with pytest.raises(ListError, match="It changed while it was being read"):
        rows_of(customers)


@pytest.mark.parametrize("cells", [-1, 1000])
def test_dates_from_1904_in_a_workbook_with_an_extension(
    path: Path, monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    monkeypatch.setattr(reader, "_MAX_FILLED", cells)
    with xlsxwriter.Workbook(path, {"date_1904": True}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_column(0, 0, ["Due"])
        sheet.write_datetime(1, 0, dt.date(2026, 3, 1), workbook.add_format({"num_format": "m/d/yy"}))
    with zipfile.ZipFile(path) as archive:
        xml = archive.read(WORKBOOK)
    extension = (
        b'<extLst><ext xmlns:x15="x15"><x15:workbookPr chartTrackingRefBase="1"/></ext></extLst></workbook>'
    )
    with_part(path, WORKBOOK, xml.replace(b"</workbook>", extension))
    assert rows_of(open_list(path)) == {2: ["2026-03-01"]}


@pytest.mark.usefixtures("by_openpyxl")
def test_an_escaped_half_of_a_character_stays_as_it_is(path: Path) -> None:
    texts = "<si><t>A</t></si><si><t>_xD801_ _xFFFE_ a_x000A_b</t></si>"
    assert rows_of(open_list(shared(path, texts, 0, 1))) == {2: ["_xD801_ _xFFFE_ a\nb"]}


# Packages


def saved(path: Path) -> dict[str, bytes]:
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["Name", "Share"])
        sheet.write_row(1, 0, ["Zoë"])
        sheet.write_number(1, 1, 0.2, workbook.add_format({"num_format": "0%"}))
        sheet.write_row(2, 0, ["Ann"])
        sheet.set_row(2, None, None, {"hidden": True})
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    path.write_bytes(packed.getvalue())


def in_utf16(*names: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def change(parts: dict[str, bytes]) -> dict[str, bytes]:
        for name in names or tuple(parts):
            text = parts[name].decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
            parts[name] = text.encode("utf-16")
        return parts

    return change


def with_backslashes(parts: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("/", "\\"): content for name, content in parts.items()}


def in_another_folder(parts: dict[str, bytes]) -> dict[str, bytes]:
    moved = {
        name.replace("xl/", "book/").replace("workbook.xml", "main.xml"): content
        for name, content in parts.items()
    }
    for name in ("_rels/.rels", "[Content_Types].xml"):
        moved[name] = moved[name].replace(b"xl/workbook.xml", b"book/main.xml").replace(b"/xl/", b"/book/")
    return moved


def in_the_root(parts: dict[str, bytes]) -> dict[str, bytes]:
    moved = {name.replace("xl/", ""): content for name, content in parts.items()}
    for name in ("_rels/.rels", "[Content_Types].xml"):
        moved[name] = moved[name].replace(b"xl/", b"")
    return moved


def strict(parts: dict[str, bytes]) -> dict[str, bytes]:
    """As Excel saves "Strict Open XML", with prefixes, so that the sheet is not plain."""
    name = "xl/worksheets/sheet1.xml"
    tag = re.compile(rb"(</?)(?=[a-zA-Z])")
    parts[name] = tag.sub(rb"\1x:", parts[name]).replace(b'xmlns="', b'xmlns:x="')
    namespace = b"http://purl.oclc.org/ooxml/spreadsheetml/main"
    return {name: content.replace(NAMESPACE.encode(), namespace) for name, content in parts.items()}


def without_relations(parts: dict[str, bytes]) -> dict[str, bytes]:
    """Only the content types say which part is the workbook."""
    moved = in_another_folder(parts)
    del moved["_rels/.rels"]
    return moved


@pytest.mark.parametrize(
    "change",
    [
        in_utf16(),
        in_utf16("xl/sharedStrings.xml"),
        in_utf16("xl/worksheets/sheet1.xml"),
        in_utf16("xl/styles.xml", "xl/_rels/workbook.xml.rels"),
        in_utf16("[Content_Types].xml"),
        with_backslashes,
        in_another_folder,
        without_relations,
        in_the_root,
        strict,
        lambda parts: with_backslashes(in_another_folder(parts)),
        lambda parts: with_backslashes(in_utf16()(parts)),
        lambda parts: {name.lower(): content for name, content in parts.items()},
    ],
)
def test_unusual_packages(path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    pack(path, change(saved(path)))
    customers = open_list(path, ListOptions(hidden_rows="skip"))
    assert rows_of(customers) == {2: ["Zoë", "20%"], 3: ["Ann", ""]}
    assert customers.hidden_rows == 1


# Sheets


@pytest.mark.parametrize(
    ("reference", "rows"),
    [
        ("1:2", '<row r="2"><c r="A2"><v>7</v></c></row>'),
        ("A:B", '<row r="2"><c r="A2"><v>7</v></c></row>'),
    ],
)
def test_references_to_whole_rows_or_columns(path: Path, reference: str, rows: str) -> None:
    xml = (
        f'<worksheet xmlns="{NAMESPACE}"><dimension ref="{reference}"/><sheetData>{HEADER_ROW}{rows}</sheetData>'
        f'<mergeCells count="1"><mergeCell ref="{reference}"/></mergeCells></worksheet>'
    )
    assert rows_of(open_list(with_sheet_xml(path, xml))) == {2: ["7", ""]}


def test_dates_stored_as_text(path: Path) -> None:
    dates = ("2026-03-01T00:00:00", "2026-03-01T09:30:00Z", "PT24H0M0.000S")
    cells = "".join(
        f'<row r="{row}"><c r="A{row}" t="d"><v>{date}</v></c></row>' for row, date in enumerate(dates, 2)
    )
    customers = open_list(with_sheet_xml(path, HEADER_ROW + cells))
    assert [cells[0] for cells in rows_of(customers).values()] == [
        "2026-03-01",
        "2026-03-01 09:30:00",
        "24:00:00",
    ]


@pytest.mark.parametrize("cells", [-1, 1000])
def test_an_east_asian_date_format(path: Path, monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(reader, "_MAX_FILLED", cells)
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_column(0, 0, ["Due"])
        sheet.write_number(1, 0, 46082, workbook.add_format({"num_format": 14}))
    with zipfile.ZipFile(path) as archive:
        styles = archive.read("xl/styles.xml")
    with_part(path, "xl/styles.xml", styles.replace(b'numFmtId="14"', b'numFmtId="58"'))
    assert rows_of(open_list(path)) == {2: ["2026-03-01"]}


@pytest.mark.parametrize("hidden", ["", 'hidden="1"'])
def test_a_row_in_several_elements(path: Path, hidden: str) -> None:
    parts = f'<row r="2"><c r="A2"><v>1</v></c></row><row r="2" {hidden}><c r="B2"><v>2</v></c></row>'
    customers = open_list(with_sheet_xml(path, HEADER_ROW + parts), ListOptions(hidden_rows="skip"))
    assert rows_of(customers) == {2: ["1", "2"]}
    assert customers.hidden_rows == bool(hidden)


@pytest.mark.parametrize(
    ("error", "text"),
    [(e, e) for e in ("#SPILL!", "#CALC!", "#FIELD!")] + [("#NEW!", "#ERROR!"), ("", "#ERROR!")],
)
def test_error_values_that_calamine_does_not_know(path: Path, error: str, text: str) -> None:
    cells = f'<c r="A2" t="e"><v>{error}</v></c><c r="B2"><f>1+1</f></c>'
    rows = f'<row r="2">{cells}</row><row r="3" hidden="1">{text_cell("A3", "x")}</row>'
    customers = open_list(with_sheet_xml(path, HEADER_ROW + rows), ListOptions(hidden_rows="skip"))
    assert rows_of(customers) == {2: [text, UNCALCULATED], 3: ["x", ""]}
    assert customers.hidden_rows == 1
