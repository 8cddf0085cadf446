"""A run's results in a copy of the list's own workbook: read back by openpyxl, which also made most of the lists."""

from __future__ import annotations

import json
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
import xlsxwriter
from held_files import open_in_excel
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import identity, planned, start_record
from lists import rows_of
from openpyxl.chart import LineChart, Reference
from openpyxl.drawing.spreadsheet_drawing import AbsoluteAnchor
from openpyxl.drawing.xdr import XDRPositiveSize2D
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.worksheet.table import Table
from openpyxl.worksheet.worksheet import Worksheet
from sqlalchemy import insert
from workbooks import formatted_list, new_workbook, with_part

from batchsend.errors import ResultsError
from batchsend.ledger.ledger import Ledger, NewRun, RunRecord
from batchsend.ledger.opening import scratch_ledger
from batchsend.ledger.schema import messages
from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.reports import into_list
from batchsend.reports.copy_losses import losses
from batchsend.reports.into_list import ListCopy, find_list, write_into_list
from batchsend.reports.run_results import RunResults
from batchsend.reports.sheets.sheet import cell_text
from batchsend.reports.workbook import write_xlsx

OURS = ["status", "messageUUID", "errorCodes", "errorDescriptions", "message"]
HEADER = ["Customer ID", "First Name", "Due"]
POSIX = os.name == "posix"


#: The ledgers that a test has made.
_OPEN: list[Ledger] = []


@pytest.fixture(autouse=True)
def _closed_ledgers() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


@dataclass
class Sent:
    """A list that was sent: its file, and the ledger with its run."""

    path: Path
    ledger: Ledger
    run: RunRecord

    def copy(self, name: str | None = None) -> ListCopy:
        found = find_list(self.ledger, self.run)
        return write_into_list(
            self.ledger, self.run, found, self.path.with_name(name or f"copy{found.ending}")
        )

    def sheet(self) -> Worksheet:
        """The list's sheet in a new copy."""
        found = find_list(self.ledger, self.run)
        return opened(self.copy().path)[found.sheet]


def opened(path: Path) -> openpyxl.Workbook:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openpyxl.load_workbook(path, rich_text=True)


def sent(
    path: Path, sheet: str | None = None, *, header_row: int | None = None, **outcomes: Mapping[str, str]
) -> Sent:
    """Stores a run of the list at `path`. `outcomes`: `row3={"status": ...}`; other rows are accepted."""
    options = ListOptions(sheet=sheet, hidden_rows="include", header_row=header_row)
    customers = open_list(path, options, rows_needed=False)
    rows = [row for chunk in customers.chunks() for row in chunk.frame.index.tolist()]
    ledger = scratch_ledger(Path(mkdtemp(dir=path.parent)))
    _OPEN.append(ledger)
    run = NewRun(
        customers.fingerprint(),
        str(path),
        "2026-03-01T00:00:00.000Z",
        customers.headers,
        "America/Chicago",
        {},
    )
    start = replace(start_record(), list_file=str(path), list_sha256=customers.sha256)
    with TemporaryDirectory() as folder:
        plan = scratch_ledger(Path(folder))
        stored = ledger.store_plan(plan, identity(), None, None, run, start)
        plan.close()
    usual = {"status": "accepted", "codes": "", "cells": json.dumps([])}
    values = [
        planned(row, **{**usual, **outcomes.get(f"row{row}", {})})
        | {"run_id": stored.run_id, "campaign_id": 1}
        for row in rows
    ]
    with ledger.write() as connection:
        if values:
            connection.execute(insert(messages), values)
    found = ledger.run(stored.run_id)
    assert found is not None
    return Sent(path, ledger, found)


def saved(folder: Path, rows: Sequence[Sequence[Any]], name: str = "list.xlsx") -> Path:
    workbook, _ = new_workbook(rows)
    workbook.save(folder / name)
    return folder / name


def our_columns(sheet: Worksheet, header_row: int = 1) -> dict[str, int]:
    """Header -> column number of our columns, which are the last five."""
    last = sheet.max_column
    return {str(sheet.cell(header_row, column).value): column for column in range(last - 4, last + 1)}


def look(cell: Any) -> tuple[Any, ...]:
    return (
        cell.number_format,
        cell.font.b,
        cell.fill.fgColor.rgb,
        cell.border.left.style,
        cell.alignment.wrap_text,
    )


def kind(cell: Any) -> str | None:
    return cell.data_type if cell.value is not None else None


def rows_with_values(path: Path) -> set[int]:
    customers = open_list(path, ListOptions("Sheet"), rows_needed=False)
    return {row for chunk in customers.chunks() for row in chunk.frame.index}


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), max_size=8) | st.sampled_from(
    ["=1+1", "+1 312 555 0142", "-x", "@x", "'007", "007", "#N/A", "_x0041_", "a\nb", " x "]
)
VALUES = (
    TEXTS
    | st.integers(-(10**20), 10**20)
    | st.floats(-1e300, 1e300)
    | st.booleans()
    | st.dates(date(1901, 1, 1), date(2090, 1, 1))
    | st.sampled_from(["=B2&C2", "=SUM(1,2)", None])
)
#: Texts, and what openpyxl reads for them.
MESSAGES = {
    "Hi Ann": "Hi Ann",
    "Hi\x01 Ann\r": "Hi_x0001_ Ann_x000D_",
    "Hi \ufffe": "Hi _xFFFE_",
    "_x0041_": "_x0041_",  # it is written as _x005F_x0041_
    "Hi 😀, " + "long " * 60: "Hi 😀, " + "long " * 60,
    "x" * 40_000: cell_text("x" * 40_000),
}


def put(sheet: Worksheet, row: int, column: int, value: Any) -> None:
    """Writes a value: texts as text, except for formulas."""
    cell = sheet.cell(row, column, value)
    if isinstance(value, str):
        cell.data_type = "f" if value in {"=B2&C2", "=SUM(1,2)"} else "s"


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_row_has_its_own_results_and_all_other_cells_are_as_they_were(
    tmp_path: Path, data: Any
) -> None:
    header_row = data.draw(st.integers(1, 3))
    table = data.draw(st.lists(st.none() | st.tuples(VALUES, VALUES, VALUES), max_size=6))
    with TemporaryDirectory(dir=tmp_path) as folder:
        path = Path(folder) / "list.xlsx"
        workbook, sheet = new_workbook([])
        for column, header in enumerate(HEADER, 1):
            sheet.cell(header_row, column, header).font = Font(bold=True)
        for row, values in enumerate(table, header_row + 1):
            for column, value in enumerate(values or (), 1):
                put(sheet, row, column, value)
                sheet.cell(row, column).fill = PatternFill("solid", fgColor=f"FF00{row:02}{column:02}")
        other = workbook.create_sheet("Hidden")
        other.sheet_state = "hidden"
        put(other, 2, 2, data.draw(VALUES))
        workbook.save(path)
        rows = range(header_row + 1, header_row + len(table) + 1)
        outcomes = {
            f"row{row}": {
                "status": data.draw(st.sampled_from(["accepted", "failed", "invalid", "skipped"])),
                "codes": f"CODE_{row}",
                "descriptions": data.draw(TEXTS),
                "body": data.draw(st.sampled_from(list(MESSAGES))),
            }
            for row in rows
        }
        run = sent(path, "Sheet", **outcomes)
        before, after = opened(path), opened(run.copy().path)
        run.ledger.close()
        assert before.sheetnames == after.sheetnames
        for name in before.sheetnames:
            for cells in before[name].iter_rows():
                for cell in cells:
                    same = after[name][cell.coordinate]
                    assert (same.value, kind(same), look(same)) == (cell.value, kind(cell), look(cell))
        assert after["Hidden"].dimensions == before["Hidden"].dimensions
        list_rows = rows_with_values(path)
        result = after["Sheet"]
        assert [cell.value for cell in result[header_row][3:]] == OURS
        for row in range(1, result.max_row + 1):
            ours = [result.cell(row, column) for column in range(4, 9)]
            if row not in list_rows:
                assert row == header_row or not any(cell.value for cell in ours)
                continue
            outcome = outcomes[f"row{row}"]
            status, uuid, codes, descriptions, message = (cell.value or "" for cell in ours)
            assert (status, uuid, codes) == (outcome["status"], "", f"CODE_{row}")
            assert descriptions == outcome["descriptions"]
            assert message == MESSAGES[outcome["body"]]
            assert {cell.data_type for cell in ours if cell.value} <= {"s"}
            assert all(cell.number_format == "@" for cell in ours)


def test_the_new_columns_continue_the_look_of_the_list(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1", "Ann", date(2026, 3, 1)], ["c2", "Bo", None]])
    side = Side(style="thin", color="FF112233")
    for cell in sheet[1]:
        cell.font = Font(bold=True, color="FFFFFFFF", name="Arial", size=9)
        cell.fill = PatternFill("solid", fgColor="FF1F3864")
        cell.border = Border(bottom=side)
        cell.alignment = Alignment(horizontal="center")
    sheet["C2"].fill = PatternFill("solid", fgColor="FFEEEEEE")
    sheet["C3"].font = Font(name="Arial", size=9, underline="single", color="FF0000FF")
    sheet.row_dimensions[3].height = 200
    workbook.save(tmp_path / "list.xlsx")
    long = {"body": "A text that takes more than one line in a cell of the message column. " * 3}
    result = sent(tmp_path / "list.xlsx", row2=long, row3=long).sheet()
    assert [cell.value for cell in result[1]] == HEADER + OURS
    for cell in result[1][3:]:
        assert (cell.font.b, cell.font.name, cell.font.sz, cell.font.color.rgb) == (
            True,
            "Arial",
            9,
            "FFFFFFFF",
        )
        assert (cell.fill.fgColor.rgb, cell.border.bottom.style) == ("FF1F3864", "thin")
        assert cell.alignment.horizontal == "center"
    assert {cell.fill.fgColor.rgb for cell in result[2][2:]} == {"FFEEEEEE"}
    assert {cell.number_format for cell in result[2][3:]} == {"@"}
    assert [cell.alignment.wrap_text for cell in result[2][3:]] == [None] * 4 + [True]
    # The font of a link is not continued, except for its name and size.
    assert {(cell.font.name, cell.font.sz, cell.font.u) for cell in result[3][3:]} == {("Arial", 9, None)}
    assert result.row_dimensions[2].height > 30
    assert result.row_dimensions[3].height == 200
    assert result.column_dimensions["H"].width > result.column_dimensions["D"].width > 10


def test_texts_of_ours_are_no_formulas(tmp_path: Path) -> None:
    texts = {"codes": "=1+1", "descriptions": "@SUM(1)", "body": "+1 and more", "status": "-x"}
    result = sent(saved(tmp_path, [HEADER, ["c1"]]), row2=texts).sheet()
    cells = result[2][3:]
    assert [cell.value for cell in cells] == ["-x", None, "=1+1", "@SUM(1)", "+1 and more"]
    assert {(cell.data_type, cell.quotePrefix) for cell in cells if cell.value} == {("s", True)}


def test_a_header_that_the_list_has_gets_another_name(tmp_path: Path) -> None:
    path = saved(tmp_path, [["Customer ID", "Status", "Error Codes", "message (run 1)", "message"], ["c1"]])
    result = sent(path).sheet()
    assert [cell.value for cell in result[1]][5:] == [
        "status (run 1)",
        "messageUUID",
        "errorCodes (run 1)",
        "errorDescriptions",
        "message (run 1) (run 1)",
    ]


def test_the_copy_can_be_a_list_again(tmp_path: Path) -> None:
    copy = sent(saved(tmp_path, [HEADER, ["c1", "Ann", "x"]])).copy().path
    assert open_list(copy).headers == (*HEADER, *OURS)


def test_values_beside_the_list_are_not_overwritten(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1"]])
    sheet["G1"] = "Note"
    sheet["J40"] = "far below"
    sheet["K2"].fill = PatternFill("solid", fgColor="FFEEEEEE")  # a look without a value
    sheet["XFD2"].font = Font(bold=True)
    sheet.merge_cells("J1:L1")
    workbook.save(tmp_path / "list.xlsx")
    result = sent(tmp_path / "list.xlsx").sheet()
    assert [result.cell(1, column).value for column in range(13, 18)] == OURS
    assert result["M2"].value == "accepted"
    assert result["J40"].value == "far below"


def test_a_list_below_its_title_and_with_blank_rows(tmp_path: Path) -> None:
    rows = [[], [], HEADER, ["c1"], [], ["c2"]]
    result = sent(saved(tmp_path, rows), row6={"status": "failed"}).sheet()
    assert [[cell.value for cell in row[3:5]] for row in result.iter_rows(min_row=1)] == [
        [None, None],
        [None, None],
        ["status", "messageUUID"],
        ["accepted", None],
        [None, None],
        ["failed", None],
    ]


@pytest.mark.parametrize("title", [["Spring", "2026"], HEADER[:1], ["(312) 555-0100"]])
def test_a_list_whose_header_row_was_chosen(tmp_path: Path, title: list[str]) -> None:
    result = sent(saved(tmp_path, [title, [], HEADER, ["c1"]]), header_row=3).sheet()
    assert [[cell.value for cell in row[3:4]] for row in result.iter_rows(min_row=1)] == [
        [None],
        [None],
        ["status"],
        ["accepted"],
    ]


def test_unused_columns_that_are_hidden_together_stay_hidden_but_ours_are_shown(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1"]])
    for letter, (first, last) in {"B": (2, 3), "D": (4, 16_384)}.items():
        settings_of_columns = sheet.column_dimensions[letter]
        settings_of_columns.min, settings_of_columns.max, settings_of_columns.width = first, last, 20
    sheet.column_dimensions["D"].hidden = True
    workbook.save(tmp_path / "list.xlsx")
    copy = sent(tmp_path / "list.xlsx").copy().path
    columns = [
        (one.min, one.max, one.hidden)
        for one in sorted(opened(copy).active.column_dimensions.values(), key=lambda one: one.min)
    ]
    assert columns == [(2, 3, False), *((c, c, False) for c in range(4, 9)), (9, 16_384, True)]


def test_filter_and_table_over_the_list_are_extended(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1"], ["c2"]])
    sheet.auto_filter.ref = "A1:C3"
    sheet.auto_filter.add_filter_column(1, ["Ann"])
    workbook.save(tmp_path / "list.xlsx")
    copy = sent(tmp_path / "list.xlsx").copy()
    assert opened(copy.path).active.auto_filter.ref == "A1:H3"
    assert opened(copy.path).active.auto_filter.filterColumn[0].filters.filter == ["Ann"]
    assert not copy.notes

    sheet.auto_filter.ref = None
    sheet.add_table(Table(displayName="Customers", ref="A1:C3"))
    workbook.save(tmp_path / "table.xlsx")
    copy = sent(tmp_path / "table.xlsx").copy()
    table = opened(copy.path).active.tables["Customers"]
    assert (table.ref, table.autoFilter.ref) == ("A1:H3", "A1:H3")
    assert table.column_names == HEADER + OURS
    assert len({one.id for one in table.tableColumns}) == 8
    assert not copy.notes


def test_filter_and_table_that_do_not_cover_the_list_stay_and_are_named(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1"], ["c2"]])
    sheet.auto_filter.ref = "A1:B3"
    workbook.save(tmp_path / "list.xlsx")
    copy = sent(tmp_path / "list.xlsx").copy()
    assert opened(copy.path).active.auto_filter.ref == "A1:B3"
    assert copy.notes == ["The filter still covers A1:B3 only."]

    sheet.auto_filter.ref = None
    sheet.add_table(Table(displayName="Customers", ref="A1:C3", totalsRowCount=1))
    workbook.save(tmp_path / "table.xlsx")
    copy = sent(tmp_path / "table.xlsx").copy()
    assert opened(copy.path).active.tables["Customers"].ref == "A1:C3"
    assert copy.notes == ['The table "Customers" still covers A1:C3 only.']


def test_a_table_with_a_query_becomes_a_plain_one(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1"]])
    table = Table(displayName="Customers", ref="A1:C2", tableType="queryTable", connectionId=1)
    table._initialise_columns()
    for number, (one, header) in enumerate(zip(table.tableColumns, HEADER, strict=True), 1):
        one.name, one.queryTableFieldId = header, number
    sheet.add_table(table)
    workbook.save(tmp_path / "list.xlsx")
    found = sent(tmp_path / "list.xlsx").sheet().tables["Customers"]
    assert (found.tableType, found.connectionId) == (None, None)
    assert {one.queryTableFieldId for one in found.tableColumns} == {None}


def test_numbers_keep_all_digits_and_a_date_that_excel_cannot_show_stays_a_number(tmp_path: Path) -> None:
    workbook, sheet = new_workbook(
        [HEADER, ["c1", 0.1 + 0.2, -5], ["c2", 12345678901234567890, 46082.3958333]]
    )
    sheet["C2"].number_format = sheet["C3"].number_format = "yyyy-mm-dd hh:mm"
    workbook.save(tmp_path / "list.xlsx")
    # openpyxl rounds to 16 digits when it writes, so the digits are put in here.
    part = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(tmp_path / "list.xlsx") as archive:
        xml = archive.read(part)
    with_part(tmp_path / "list.xlsx", part, xml.replace(b"<v>0.3</v>", b"<v>0.30000000000000004</v>"))
    with zipfile.ZipFile(sent(tmp_path / "list.xlsx").copy().path) as archive:
        written = archive.read(part).decode()
    for value in ("0.30000000000000004", "-5", "46082.3958333"):
        assert f"<v>{value}</v>" in written


def test_blanks_between_formatted_words_are_kept(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "list.xlsx") as workbook:
        bold, red = workbook.add_format({"bold": True}), workbook.add_format({"font_color": "red"})
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_rich_string("A2", bold, "Ann", red, " ", bold, "Lee", " ", red, "x")
        sheet.write_rich_string("B2", "Ann", bold, " Lee")
    copy = sent(tmp_path / "list.xlsx").copy().path
    cells = opened(copy).active[2]
    assert [str(cell.value) for cell in cells[:2]] == ["Ann Lee x", "Ann Lee"]
    assert [(run.text, bool(run.font.b)) for run in cells[0].value] == [
        ("Ann ", True),
        ("Lee ", True),
        ("x", False),
    ]
    assert rows_of(open_list(copy))[2][:2] == ["Ann Lee x", "Ann Lee"]


def test_macros_are_kept_and_so_is_the_ending(tmp_path: Path) -> None:
    (tmp_path / "vba.bin").write_bytes(b"macros")
    with xlsxwriter.Workbook(tmp_path / "list.xlsm") as workbook:
        workbook.add_vba_project(tmp_path / "vba.bin")
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ["c1", "Ann", "x"])
        sheet.write_comment("A2", "a note")
    run = sent(tmp_path / "list.xlsm")
    assert find_list(run.ledger, run.run).ending == ".xlsm"
    copy = run.copy()
    with zipfile.ZipFile(copy.path) as archive:
        assert archive.read("xl/vbaProject.bin") == b"macros"
        assert b"sheet.macroEnabled.main+xml" in archive.read("[Content_Types].xml")
    assert opened(copy.path).active["D2"].value == "accepted"
    assert not copy.notes
    with pytest.raises(
        ResultsError, match=r"copy.xlsx: a copy of this list ends in .xlsm. Choose such a name"
    ):
        run.copy("copy.xlsx")


def test_a_list_that_was_saved_again_with_the_same_rows_is_the_same_list(tmp_path: Path) -> None:
    run = sent(saved(tmp_path, [HEADER, ["c1", "Ann", "x"]]))
    workbook = opened(run.path)
    workbook.active["A1"].font = Font(bold=True)
    workbook.create_sheet("Other")
    workbook.save(run.path)
    assert run.sheet()["D2"].value == "accepted"


def test_a_workbook_without_settings_for_calculation(tmp_path: Path) -> None:
    path = saved(tmp_path, [HEADER, ["c1", "=1+1"]])
    with zipfile.ZipFile(path) as archive:
        xml = archive.read("xl/workbook.xml")
    with_part(path, "xl/workbook.xml", re.sub(rb"<calcPr[^>]*/>", b"", xml))
    copy = sent(path).copy().path
    with zipfile.ZipFile(copy) as archive:
        assert b'fullCalcOnLoad="1"' in archive.read("xl/workbook.xml")


def test_the_sheet_with_the_rows_of_the_run_is_found(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1", "Ann"]])
    sheet.title = "January"
    other = workbook.create_sheet("February")
    for row in ([*HEADER], ["c1", "Bo"]):
        other.append(row)
    workbook.save(tmp_path / "list.xlsx")
    run = sent(tmp_path / "list.xlsx", "February")
    result = opened(run.copy().path)
    assert result["January"].max_column == 3
    assert result["February"]["D2"].value == "accepted"


def test_the_same_bytes_are_the_same_list_even_if_cells_were_read_otherwise_then(tmp_path: Path) -> None:
    run = sent(saved(tmp_path, [HEADER, ["c1", "Ann"]]))
    run.run = replace(run.run, list_fingerprint="of another version")
    assert run.sheet()["D2"].value == "accepted"
    # With two such sheets it is not certain which of them was sent.
    workbook, sheet = new_workbook([HEADER, ["c1", "Ann"]])
    workbook.copy_worksheet(sheet)["B2"] = "Bo"
    workbook.save(tmp_path / "two.xlsx")
    run = sent(tmp_path / "two.xlsx", "Sheet")
    run.run = replace(run.run, list_fingerprint="of another version")
    with pytest.raises(ResultsError, match="the list has changed since run 1"):
        run.copy()


def changed(run: Sent) -> None:
    workbook = opened(run.path)
    workbook.active["B2"] = "Bo"
    workbook.save(run.path)


def one_row_more(run: Sent) -> None:
    """The ledger has a row that the list has not."""
    with run.ledger.write() as connection:
        connection.execute(insert(messages), [planned(9) | {"run_id": 1, "campaign_id": 1}])


def strict(run: Sent) -> None:
    """Saves it as "Strict Open XML Spreadsheet", one of Excel's kinds."""
    with zipfile.ZipFile(run.path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    usual = rb"http://schemas.openxmlformats.org/(spreadsheetml|officeDocument)/2006/"
    for name, content in parts.items():
        if name.startswith("xl/"):
            with_part(run.path, name, re.sub(usual, rb"http://purl.oclc.org/ooxml/\1/", content))


def results_as_list(run: Sent) -> None:
    write_xlsx(run.path, RunResults(run.ledger, 1, run.run.headers, ZoneInfo("UTC"), [("Title", None)], 1))
    run.run = replace(run.run, list_fingerprint=open_list(run.path).fingerprint())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed, "the list has changed since run 1, so its rows may not be the ones that were sent"),
        (one_row_more, "the list has changed since run 1"),
        (lambda run: run.path.unlink(), "the list is no longer there, so it cannot be copied. Put it back."),
        (lambda run: run.path.write_text("A,B\n1,2\n"), "the list is not an .xlsx or .xlsm workbook"),
        (
            lambda run: run.path.write_bytes(b"PK\x03\x04 damaged"),
            "It is a workbook that was cut short or damaged",
        ),
        (
            lambda run: with_part(run.path, "docProps/core.xml", b"<broken"),
            "openpyxl, the library for it, does not understand the file",
        ),
        (strict, "openpyxl, the library for it, does not understand the file"),
        (results_as_list, "the list is a results workbook of batchsend, which has these columns already"),
    ],
)
def test_what_cannot_be_copied_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    run = sent(saved(tmp_path, [HEADER, ["c1", "Ann"]]))
    change(run)
    with pytest.raises(ResultsError) as raised:
        run.copy()
    assert str(raised.value).startswith(f"{run.path}: ")
    assert words in str(raised.value)
    assert not (tmp_path / "copy.xlsx").exists()


def test_a_list_that_is_open_in_excel_is_refused(tmp_path: Path) -> None:
    run = sent(saved(tmp_path, [HEADER, ["c1", "Ann"]]))
    found = find_list(run.ledger, run.run)
    with open_in_excel(run.path):
        for attempt in (
            run.copy,
            lambda: write_into_list(run.ledger, run.run, found, tmp_path / "copy.xlsx"),
        ):
            with pytest.raises(ResultsError, match="Close other programs that have it open"):
                attempt()
    assert not (tmp_path / "copy.xlsx").exists()


def test_a_list_that_changes_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    run = sent(saved(tmp_path, [HEADER, ["c1", "Ann"]]))
    found = find_list(run.ledger, run.run)
    changed(run)
    with pytest.raises(ResultsError, match="It changed while it was being read"):
        write_into_list(run.ledger, run.run, found, tmp_path / "copy.xlsx")


def test_a_sheet_without_room_is_refused(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1"]])
    sheet.cell(5, 16_380, "far away")
    workbook.save(tmp_path / "list.xlsx")
    with pytest.raises(ResultsError, match="the sheet has no room for more columns at its right"):
        sent(tmp_path / "list.xlsx").copy()


def test_a_list_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(into_list, "MAX_SHEETS_SIZE", 100)
    with pytest.raises(ResultsError, match="the list is too large to be copied with its formats"):
        sent(saved(tmp_path, [HEADER, ["c1"]])).copy()


def test_the_list_itself_is_never_overwritten(tmp_path: Path) -> None:
    run = sent(saved(tmp_path, [HEADER, ["c1"]]))
    before = run.path.read_bytes()
    with pytest.raises(ResultsError, match="is a file that the campaign reads"):
        run.copy("list.xlsx")
    assert run.path.read_bytes() == before


@pytest.mark.skipif(not POSIX, reason="modes are POSIX")
def test_only_its_owner_can_read_the_copy(tmp_path: Path) -> None:
    copy = sent(saved(tmp_path, [HEADER, ["c1"]])).copy().path
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_what_openpyxl_keeps_is_in_the_copy_and_the_rest_is_named(tmp_path: Path) -> None:
    run = sent(formatted_list(tmp_path / "list.xlsx"), "Customers")
    copy = run.copy()
    drawn_anew, lost = copy.notes
    assert drawn_anew == "Charts are drawn anew, so parts of their formatting can be different."
    assert lost.removeprefix("Not in the copy: ").removesuffix(".").split(", ") == [
        "1 picture",
        "1 shape or text box",
        "1 button or other control",
        "1 sparkline",
        "1 picture in a page header or footer",
        "1 background picture",
        "1 conditional format",
        "1 dynamic array formula",
    ]
    workbook = opened(copy.path)
    sheet, other = workbook["Customers"], workbook["Notes"]
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref == "A1:J6"
    assert sheet.column_dimensions["A"].width == pytest.approx(18.7, abs=0.1)
    assert [rule.type for one in sheet.conditional_formatting for rule in one.rules] == ["cellIs", "dataBar"]
    assert sheet.data_validations.dataValidation[0].sqref == "B2:B6"
    assert sheet["A2"].comment.text == "a note"
    assert sheet["A3"].hyperlink.target == "https://example.com"
    assert repr(sheet["B3"].value) == repr(opened(run.path)["Customers"]["B3"].value)
    assert sheet["E4"].value == '=B4&" "&A4'
    assert sheet["C4"].number_format == "mmm d, yyyy"
    assert (other["A1"].value, len(other._charts)) == ("kept", 1)
    assert workbook.defined_names["Rate"].value == "Notes!$A$1"
    assert [sheet.cell(row, 6).value for row in range(1, 7)] == ["status", *["accepted"] * 5]


def test_a_chart_over_the_new_columns_is_named(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "list.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ["c1", 1, 2])
        chart = workbook.add_chart({"type": "line"})
        chart.add_series({"values": "=Sheet1!$B$2:$C$2"})
        sheet.insert_chart("E3", chart)
    assert "A chart lies over the new columns: move it aside." in sent(tmp_path / "list.xlsx").copy().notes

    with xlsxwriter.Workbook(tmp_path / "list.xlsx") as workbook:
        sheet = workbook.add_chartsheet()  # a chart without cells below it
        chart = workbook.add_chart({"type": "line"})
        chart.add_series({"values": "=Sheet1!$B$2:$C$2"})
        sheet.set_chart(chart)
        workbook.add_worksheet("Sheet1").write_column(0, 0, ["Customer ID", "c1"])
    assert sent(tmp_path / "list.xlsx").sheet()["B2"].value == "accepted"


def test_a_chart_in_a_fixed_place_is_over_no_column(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([HEADER, ["c1", 1, 2]])
    chart = LineChart()
    chart.add_data(Reference(sheet, min_col=2, max_col=3, min_row=2))
    chart.anchor = AbsoluteAnchor(ext=XDRPositiveSize2D(9_000_000, 900_000))
    sheet.add_chart(chart)
    workbook.save(tmp_path / "list.xlsx")
    assert len(sent(tmp_path / "list.xlsx").sheet()._charts) == 1


@pytest.mark.parametrize(
    ("part", "content", "name"),
    [
        ("xl/slicers/slicer1.xml", '<slicers><slicer name="a"/><slicer name="b"/></slicers>', "2 slicers"),
        ("xl/timelines/timeline1.xml", '<timelines><timeline name="a"/></timelines>', "1 timeline"),
        ("xl/pivotTables/pivotTable1.xml", "<pivotTableDefinition/>", "1 pivot table"),
        ("xl/charts/chartEx1.xml", "<cx:chartSpace/>", "1 chart"),
        ("xl/diagrams/data1.xml", "<dgm:dataModel/>", "1 SmartArt graphic"),
        ("xl/embeddings/oleObject1.bin", "x", "1 embedded object"),
        ("xl/richData/rdrichvalue.xml", '<rvData><rv s="0"/></rvData>', "1 picture or data type in a cell"),
        (
            "xl/threadedComments/threadedComment1.xml",
            '<x><threadedComment ref="A1"/></x>',
            "1 answer in a comment thread",
        ),
        ("xl/connections.xml", '<connections><connection id="1"/></connections>', "1 data connection"),
        ("xl/model/item.data", "x", "1 data model"),
        ("xl/macrosheets/sheet1.xml", "<x/>", "1 sheet of old macros or dialogs"),
        ("_xmlsignatures/sig1.xml", "<Signature/>", "1 digital signature"),
        ("docMetadata/LabelInfo.xml", "<clbl:labelList/>", "1 sensitivity label"),
    ],
)
def test_what_only_excel_knows_is_named(tmp_path: Path, part: str, content: str, name: str) -> None:
    path = with_part(saved(tmp_path, [HEADER, ["c1"]]), part, content.encode())
    assert sent(path).copy().notes[-1] == f"Not in the copy: {name}."


def test_nothing_is_missing_in_the_same_file(tmp_path: Path) -> None:
    path = formatted_list(tmp_path / "list.xlsx")
    assert losses(path, path) == []
