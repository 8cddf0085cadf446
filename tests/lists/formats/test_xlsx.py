"""Workbooks: stored values, row numbers, hidden rows and sheets, stray cells and results of ours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lists import malformed_of, problems_of, rows_of
from openpyxl.worksheet.worksheet import Worksheet
from workbooks import HEADER_ROW, new_workbook, text_cell, with_sheet_xml

from batchsend.lists.cells import clean
from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.lists.damage import UNCALCULATED, is_damaged
from batchsend.lists.formats import streaming
from batchsend.lists.formats.xlsx import reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.xlsx"


VALUES: list[tuple[Any, str, str]] = [
    # value, number format, text
    ("  NA ", "General", "NA"),
    ("007", "General", "007"),
    (7, "000", "7"),  # as stored: the leading zeros are only in the format
    (2125550123, "General", "2125550123"),
    (15551000000, "0.00E+00", "15551000000"),  # no digit is lost, although the format shows fewer
    (123456789012345680, "0", "1.23456789012346E+17"),
    (0.2, "0%", "20%"),
    (0.285, "0%", "29%"),
    (0.0725, "0.00%", "7.25%"),
    (0.07, "0.0#%", "7.0%"),
    (-0.05, '0%;[Red]-0%;"none"', "-5%"),
    (0.2, '0.0" %"', "0.2"),  # only a text that looks like a percent sign
    (1234.5, "$#,##0.00", "1234.5"),
    (dt.date(2026, 3, 1), "m/d/yy", "2026-03-01"),
    (dt.datetime(2026, 3, 1, 9, 30), "m/d/yy h:mm", "2026-03-01 09:30:00"),  # noqa: DTZ001
    (dt.time(9, 30), "h:mm AM/PM", "09:30:00"),
    (dt.timedelta(hours=30), "[h]:mm:ss", "30:00:00"),
    (True, "General", "TRUE"),
    (False, "General", "FALSE"),
]


def write_with_openpyxl(path: Path) -> None:
    workbook, sheet = new_workbook([["Value"]])
    for row, (value, number_format, _) in enumerate(VALUES, 2):
        sheet.cell(row, 1, value).number_format = number_format
    workbook.save(path)


def write_with_xlsxwriter(path: Path) -> None:
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write(0, 0, "Value")
        for row, (value, number_format, _) in enumerate(VALUES, 1):
            sheet.write(row, 0, value, workbook.add_format({"num_format": number_format}))


def write_with_the_1904_epoch(path: Path) -> None:
    with xlsxwriter.Workbook(path, {"date_1904": True}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write(0, 0, "Value")
        for row, (value, number_format, _) in enumerate(VALUES, 1):
            sheet.write(row, 0, value, workbook.add_format({"num_format": number_format}))


@pytest.mark.parametrize("write", [write_with_openpyxl, write_with_xlsxwriter, write_with_the_1904_epoch])
def test_values_are_as_stored(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    assert rows_of(open_list(path)) == {row: [text] for row, (_, _, text) in enumerate(VALUES, 2)}


def test_row_numbers_match_the_spreadsheet(path: Path) -> None:
    workbook, sheet = new_workbook([])
    for reference, value in {"B3": "A", "D3": "B", "B5": "1", "D7": "2", "C9": " "}.items():
        sheet[reference] = value
    workbook.save(path)
    customers = open_list(path)
    assert customers.headers == ("A", "B")
    assert customers.notes == ("the header is in row 3",)
    assert rows_of(customers) == {5: ["1", ""], 7: ["", "2"]}


def test_every_reading_returns_the_same_rows(path: Path) -> None:
    new_workbook([["A"], ["1"], ["2"]])[0].save(path)
    customers = open_list(path)
    assert rows_of(customers) == rows_of(customers) == rows_of(customers) == {2: ["1"], 3: ["2"]}


def test_error_cells_are_damaged_and_never_blank(path: Path) -> None:
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["A", "B"])
        sheet.write_formula(1, 0, "=1/0", None, "#DIV/0!")
        sheet.write_formula(1, 1, "=NA()", None, "#N/A")
        sheet.write_formula(2, 0, "=1+1", None, 2)
    assert rows_of(open_list(path)) == {2: ["#DIV/0!", "#N/A"], 3: ["2", ""]}


def test_a_formula_with_an_empty_result_is_blank(path: Path) -> None:
    formula = '<c r="A2" t="str"><f>IF(1,"","")</f><v></v></c>'
    with_sheet_xml(path, f'{HEADER_ROW}<row r="2">{formula}<c r="B2"><v>1</v></c></row>')
    assert rows_of(open_list(path)) == {2: ["", "1"]}


def test_formulas_that_were_never_calculated_are_damaged_and_never_blank(path: Path) -> None:
    # openpyxl writes formulas without their values.
    new_workbook([["A", "B"], ["=1+1", "x"]])[0].save(path)
    rows = rows_of(open_list(path))
    assert rows == {2: [UNCALCULATED, "x"]}
    assert is_damaged(rows[2][0])


def filtered(path: Path) -> None:
    workbook, sheet = new_workbook([["A"], *([str(i)] for i in range(2, 10))])
    sheet.auto_filter.ref = "A1:A9"
    for row in (3, 5):
        sheet.row_dimensions[row].hidden = True
    # A hidden blank row does not count.
    sheet.row_dimensions[12].hidden = True
    workbook.save(path)


def test_hidden_rows_are_an_error_until_hidden_rows_is_set(path: Path) -> None:
    filtered(path)
    assert problems_of(path) == (
        (
            "2 rows are hidden or filtered out (rows 3 and 5). Choose under [list_options]: "
            'hidden_rows = "skip" leaves them out, hidden_rows = "include" texts them.'
        ),
    )


@pytest.mark.parametrize(("choice", "hidden"), [("skip", {3, 5}), ("include", set())])
def test_hidden_rows_are_read_and_marked(path: Path, choice: Any, hidden: set[int]) -> None:
    filtered(path)
    customers = open_list(path, ListOptions(hidden_rows=choice))
    (chunk,) = customers.chunks()
    assert list(chunk.frame.iloc[:, 0]) == [str(i) for i in range(2, 10)]
    assert chunk.hidden == hidden
    assert customers.hidden_rows == 2


def test_a_row_without_height_is_hidden(path: Path) -> None:
    with_sheet_xml(
        path,
        f'<row r="1">{text_cell("A1", "A")}</row>'
        f'<row r="2" ht="0" customHeight="1">{text_cell("A2", "x")}</row>'
        f'<row r="3" ht="0.75">{text_cell("A3", "y")}</row>',
    )
    assert problems_of(path)[0].startswith("1 row is hidden or filtered out (row 2).")


def test_several_visible_sheets_are_an_error_that_names_them(path: Path) -> None:
    workbook, _ = new_workbook([["A"], ["1"]])
    workbook.create_sheet("Old").append(["A"])
    workbook.save(path)
    assert problems_of(path) == (
        (
            'It has 2 visible sheets: "Sheet", "Old". Choose the one with the list: '
            'sheet = "Sheet" under [list_options].'
        ),
    )
    assert rows_of(open_list(path, ListOptions(sheet="SHEET "))) == {2: ["1"]}


def test_hidden_sheets_do_not_count_unless_named(path: Path) -> None:
    workbook, _ = new_workbook([["A"], ["1"]])
    other = workbook.create_sheet("Lookup")
    other.append(["B"])
    other.append(["2"])
    other.sheet_state = "veryHidden"
    workbook.save(path)
    customers = open_list(path)
    assert rows_of(customers) == {2: ["1"]}
    assert customers.notes == ('sheet "Sheet"',)
    assert rows_of(open_list(path, ListOptions(sheet="Lookup"))) == {2: ["2"]}


def test_a_missing_sheet(path: Path) -> None:
    new_workbook([["A"], ["1"]])[0].save(path)
    assert problems_of(path, ListOptions(sheet="Shet")) == (
        'It has no sheet "Shet". Did you mean "Sheet"? Its sheets are: "Sheet".',
    )


@pytest.mark.parametrize("key", ["encoding", "delimiter"])
def test_options_for_text_files(path: Path, key: str) -> None:
    new_workbook([["A"], ["1"]])[0].save(path)
    assert problems_of(path, ListOptions(**{key: ","})) == (
        f"It is a workbook, not a text file. Remove `{key}` from [list_options].",
    )


def test_merged_cells_are_noted(path: Path) -> None:
    workbook, sheet = new_workbook([["A", "B"], ["1", "2"], ["", "3"]])
    sheet.merge_cells("A2:A3")
    workbook.save(path)
    customers = open_list(path)
    assert customers.notes == ("1 merged area: only the top left cell of a merged area has a value",)
    assert rows_of(customers) == {2: ["1", "2"], 3: ["", "3"]}


def test_a_merged_header_above_two_columns(path: Path) -> None:
    workbook, sheet = new_workbook([["A", "B", "C"], ["1", "2", "3"]])
    sheet.merge_cells("A1:B1")
    workbook.save(path)
    customers = open_list(path)
    assert (customers.headers, rows_of(customers)) == (("A", "C"), {2: ["1", "3"]})
    assert customers.notes == (
        "1 merged area: only the top left cell of a merged area has a value",
        "column B has no header and is left alone",
    )


@pytest.mark.parametrize("rows", [[], [["", " "]]])
def test_an_empty_sheet(path: Path, rows: list[list[str]]) -> None:
    new_workbook(rows)[0].save(path)
    assert problems_of(path) == ("It is empty. Export the list again, with its header and its rows.",)


# Stray cells


@pytest.mark.parametrize(
    ("stray", "notes"),
    [
        ("QQQ2", ("column QQQ has no header and is left alone",)),
        ("QQQ1234", ("column QQQ has no header and is left alone",)),
        ("XFD1048576", ("column XFD has no header and is left alone",)),
        ("A1048576", ()),  # far below, but in a column with a header: an ordinary row
    ],
)
# Calamine alone would allocate up to 400 GB and abort.
def test_a_stray_cell_takes_no_memory_and_changes_no_other_row(
    path: Path, stray: str, notes: tuple[str, ...]
) -> None:
    workbook, sheet = new_workbook([["A", "B"], ["1", "2"], ["3", ""], ["", "#N/A"]])
    sheet[stray] = "oops"
    sheet.row_dimensions[3].hidden = True
    workbook.save(path)
    customers = open_list(path, ListOptions(hidden_rows="skip"))
    rows = rows_of(customers)
    assert malformed_of(customers) == {}
    assert customers.notes == notes
    assert {row: cells for row, cells in rows.items() if row < 5} == {
        2: ["1", "2"],
        3: ["3", ""],
        4: ["", "#N/A"],
    }
    assert len(rows) == 3 + (stray != "QQQ2")
    assert {row for chunk in customers.chunks() for row in chunk.hidden} == {3}


def test_formatted_blank_cells_are_not_stray_cells(path: Path) -> None:
    workbook, sheet = new_workbook([["A"], ["1"]])
    sheet["XFD1048576"].number_format = "0.00"
    workbook.save(path)
    customers = open_list(path)
    assert rows_of(customers) == {2: ["1"]}
    assert malformed_of(customers) == {}


def test_cells_scattered_over_the_sheet_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_SMALL_AREA", 100)
    monkeypatch.setattr(streaming, "MAX_CELLS", 1000)
    workbook, sheet = new_workbook([["A"]])
    for i in range(1, 51):
        sheet.cell(i, i, "x")
    workbook.save(path)
    assert problems_of(path) == (
        (
            "It is too large: 1,275 cells, as far as column AX and row 50; at most 1,000 can be read. "
            "Copy the list into a new workbook, or split it."
        ),
    )


# Results of ours


def results_workbook(path: Path, header: list[str]) -> None:
    workbook = openpyxl.Workbook()
    summary = workbook.active
    assert isinstance(summary, Worksheet)
    summary.title = "Summary"
    summary.append(["rows", 3])
    for title, row in {
        "Results": ["2", "accepted", "m", "", "c1"],
        "Results 2": ["3", "failed", "", "", "c2"],
    }.items():
        sheet = workbook.create_sheet(title)
        sheet.append(header)
        sheet.append([*row, "555", "c", "1"])
    workbook.create_sheet("Problems").append(["row", "what to do"])
    workbook.save(path)


def test_a_results_workbook_is_read_as_a_list(path: Path) -> None:
    results_workbook(
        path,
        ["row", "status", "messageUUID", "message", "Customer ID", "Phone (list)", "customerUUID", "run"],
    )
    customers = open_list(path)
    assert customers.headers == ("Customer ID", "Phone")
    # The rows of the second sheet follow on from a full first sheet.
    assert rows_of(customers) == {2: ["c1", "555"], 1_048_578: ["c2", "555"]}


def test_another_workbook_with_the_same_sheet_names_is_not_taken_for_results(path: Path) -> None:
    results_workbook(path, ["a", "b", "c", "d", "e", "f", "g", "h"])
    (problem,) = problems_of(path)
    assert problem.startswith('It has 4 visible sheets: "Summary", "Results", "Results 2", "Problems".')


# Any table

# XML allows only these three control characters.
CELLS = st.one_of(
    st.text(
        st.one_of(
            st.characters(exclude_categories=("Cc", "Cs", "Cn")), st.sampled_from("\"'&<>_x \t\n\u00a0")
        )
    ),
    st.integers(-(10**14), 10**14),
    st.booleans(),
    st.dates(min_value=dt.date(1900, 3, 1)),
)


def as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return clean(str(value))


@settings(max_examples=60)
@given(data=st.data(), width=st.integers(1, 5), writer=st.sampled_from(["openpyxl", "xlsxwriter"]))
def test_any_table_comes_back_cell_by_cell(
    tmp_path: Path, data: st.DataObject, width: int, writer: str
) -> None:
    table = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8))
    texts = {number: [as_text(cell) for cell in row] for number, row in enumerate(table, 2)}
    assume(any(map(any, texts.values())))
    path = tmp_path / "list.xlsx"
    header = [f"Column {i}" for i in range(width)]
    if writer == "openpyxl":
        workbook, sheet = new_workbook([header])
        for number, row in enumerate(table, 2):
            for column, value in enumerate(row, 1):
                cell = sheet.cell(number, column, value)
                if isinstance(value, str):
                    # Keeps "=x" and "#N/A" as text.
                    cell.data_type = "s"
        workbook.save(path)
    else:
        with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as written:
            target = written.add_worksheet()
            target.write_row(0, 0, header)
            for number, row in enumerate(table, 1):
                for column, value in enumerate(row):
                    if isinstance(value, str):
                        target.write_string(number, column, value)
                    else:
                        target.write(number, column, value)
    assert rows_of(open_list(path)) == {number: row for number, row in texts.items() if any(row)}


@pytest.mark.parametrize("other", ["plain", "José", 7])
def test_cells_are_cleaned_whatever_else_is_in_their_row(tmp_path: Path, other: object) -> None:
    with xlsxwriter.Workbook(tmp_path / "list.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["A", "B", "C"])
        for column, text in enumerate(["O&#39;Brien", '="02134"']):
            sheet.write_string(1, column, text)
        sheet.write(1, 2, other)
    assert rows_of(open_list(tmp_path / "list.xlsx"))[2] == ["O'Brien", "02134", str(other)]
