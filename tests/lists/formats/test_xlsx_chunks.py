"""Large sheets are read in chunks, with the same rows as when loaded as a whole."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from list_cases import Read, write
from lists import rows_of
from odd_workbooks import WORKBOOKS
from workbooks import NAMESPACE, new_workbook, text_cell, with_part, with_sheet_xml

from batchsend.errors import ListError
from batchsend.lists.customer_list import open_list
from batchsend.lists.formats.xlsx import reader, scan

SHARED_STRINGS = "xl/sharedStrings.xml"


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every sheet large and every chunk a few rows."""
    monkeypatch.setattr(reader, "_CHUNKED_ABOVE", -1)
    monkeypatch.setattr(scan, "_BLOCK", 600)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("odd", [odd for odd in WORKBOOKS if isinstance(odd, Read)], ids=lambda odd: odd.name)
def test_odd_workbooks(tmp_path: Path, odd: Read) -> None:
    customers = open_list(write(tmp_path, odd), odd.options)
    assert rows_of(customers) == rows_of(customers) == odd.rows


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=8),
    st.sampled_from(["", "  a ", "<&>", 't="s"', "_x0041_", "a\nb", "é", "12"]),
    st.integers(-(10**9), 10**9),
    st.booleans(),
)


@pytest.mark.usefixtures("chunks")
@settings(max_examples=50)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=30),
    shared=st.booleans(),
    gap=st.integers(1, 9),
)
def test_chunks_have_the_same_rows_as_the_whole_sheet(
    tmp_path: Path, rows: list[list[object]], shared: bool, gap: int
) -> None:
    path = tmp_path / "list.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": not shared}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 2, ["A", "B", "C"])
        sheet.write_string(1, 2, "never blank")
        for number, row in enumerate(rows):
            for column, value in enumerate(row, 2):
                if isinstance(value, str):
                    sheet.write_string(number * gap + 2, column, value)
                else:
                    sheet.write(number * gap + 2, column, value)
    found = rows_of(open_list(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_CHUNKED_ABOVE", 100_000)
        assert found == rows_of(open_list(path))


def shared(path: Path, texts: str, *numbers: int) -> Path:
    cells = "".join(f'<row r="{r}"><c r="A{r}" t="s"><v>{n}</v></c></row>' for r, n in enumerate(numbers, 1))
    with_sheet_xml(path, cells)
    return with_part(
        path, SHARED_STRINGS, f'<?xml version="1.0"?><sst xmlns="{NAMESPACE}">{texts}</sst>'.encode()
    )


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize(
    ("texts", "row"),
    [
        ("<si><t>A</t></si><si><t>one</t></si>", ["one"]),
        # A word with bold letters and a phonetic guide.
        (
            "<si><t>A</t></si><si><r><t>o</t></r><r><rPr><b/></rPr><t>ne</t></r><rPh><t>x</t></rPh></si>",
            ["one"],
        ),
        # Strings with unusual XML are read by calamine as a whole.
        ("<si><t>A</t></si><!-- <si> --><si><t>one</t></si>", ["one"]),
        ('<si><t>A</t></si><si x="1"><t>one</t></si>', ["one"]),
    ],
)
def test_shared_strings(tmp_path: Path, texts: str, row: list[str]) -> None:
    assert rows_of(open_list(shared(tmp_path / "list.xlsx", texts, 0, 1))) == {2: row}


@pytest.mark.usefixtures("chunks")
def test_a_reference_to_a_missing_string(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="cut short or damaged"):
        open_list(shared(tmp_path / "list.xlsx", "<si><t>A</t></si>", 0, 7))


@pytest.mark.usefixtures("chunks")
def test_a_workbook_that_has_been_replaced(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    new_workbook([["A"], ["1"]])[0].save(path)
    customers = open_list(path)
    new_workbook([["A"], ["1"], ["2"]])[0].save(path)
    with pytest.raises(ListError, match="It changed while it was being read"):
        rows_of(customers)


@pytest.mark.usefixtures("chunks")
def test_a_sheet_without_shared_strings(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{r}">{text_cell(f"A{r}", f"c{r}")}</row>' for r in range(1, 40))
    path = with_sheet_xml(tmp_path / "list.xlsx", rows)
    with zipfile.ZipFile(path) as archive:
        assert SHARED_STRINGS not in archive.namelist()
    assert rows_of(open_list(path)) == {r: [f"c{r}"] for r in range(2, 40)}
