"""The results as people and scripts find them: written to real files and read back by other programs' readers."""

from __future__ import annotations

import csv
import errno
import os
import re
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.cell import Cell
from openpyxl.utils import get_column_letter
from openpyxl.utils.escape import unescape
from openpyxl.worksheet.worksheet import Worksheet
from python_calamine import CalamineWorkbook

from batchsend.errors import LedgerError, ResultsError
from batchsend.lists.formula_guard import unescape_formula
from batchsend.lists.header_row import columns_of_results
from batchsend.reports import workbook as results_xlsx
from batchsend.reports.results_file import check_writable, write_results
from batchsend.reports.sheets import write as sheet_writing
from batchsend.reports.sheets.sheet import CUT_MARK, MAX_CELL_LENGTH, cell_text
from batchsend.reports.table import (
    COLUMNS,
    FOLDED_COLUMNS,
    LEADING_COLUMNS,
    REPLY_COLUMNS,
    ResultRow,
    column_headers,
    local_time,
)
from batchsend.statuses import NEEDS_YOU, Status
from batchsend.utils import files as private_files
from batchsend.utils.wording import storable

POSIX = os.name == "posix"
SHEET = "xl/worksheets/sheet{}.xml"

ACCEPTED = ResultRow(
    row=2,
    status="accepted",
    message_uuid="-l2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3",
    codes="",
    descriptions="",
    phone="+13125550142",
    body="Hi Maria, your Civic is due.",
    cells=["-c1", "Maria"],
    customer_uuid="-c1",
    segments=1,
    encoding="GSM-7",
    api_status="SUCCESS",
    http_status=200,
    request_uuid="req-1",
    warning_codes="SLOW",
    attempts=2,
    sent_at="2026-11-22T10:00:00.123Z",
    sent_at_local="2026-11-22 04:00:00",
    latency_ms=87,
    run=3,
)
INVALID = ResultRow(
    row=5,
    status="invalid",
    message_uuid=None,
    codes="INVALID_PHONE; MISSING_VALUE",
    descriptions="555 is too short; first_name is blank",
    phone=None,
    body=None,
    cells=["c2", ""],
    customer_uuid=None,
    segments=None,
    encoding=None,
    api_status=None,
    http_status=None,
    request_uuid=None,
    warning_codes=None,
    attempts=0,
    sent_at=None,
    sent_at_local=None,
    latency_ms=None,
    run=None,
)


@dataclass
class Source:
    """Results in memory; `counted` lets a test lie about how many there are."""

    results: Sequence[ResultRow]
    headers: Sequence[str] = ("Customer ID", "First Name")
    summary: Sequence[tuple[str, str | int | None]] = (
        ("Spring service", None),
        ("Rows", 2),
        ("List", "a.csv"),
    )
    counted: int | None = None
    replied: bool = False

    @property
    def row_count(self) -> int:
        return len(self.results) if self.counted is None else self.counted

    def rows(self) -> Iterator[ResultRow]:
        return iter(self.results)

    def problems(self) -> Iterator[ResultRow]:
        return (result for result in self.results if result.status in NEEDS_YOU)


def with_cells(*rows: Sequence[str], headers: Sequence[str]) -> Source:
    results = [ACCEPTED._replace(row=number, cells=cells) for number, cells in enumerate(rows, start=2)]
    return Source(results, headers=headers)


def sheet(path: Path, name: str = "Results") -> Worksheet:
    found = openpyxl.load_workbook(path)[name]
    assert isinstance(found, Worksheet)
    return found


def table(path: Path, name: str = "Results") -> list[tuple[object, ...]]:
    return list(sheet(path, name).values)


def filled(path: Path, name: str = "Results") -> list[dict[object, object]]:
    """The rows under their headers, without blank cells."""
    header, *rows = table(path, name)
    return [
        {column: value for column, value in zip(header, row, strict=True) if value is not None}
        for row in rows
    ]


def under(rows: Sequence[Sequence[object]], *headers: str) -> list[tuple[object, ...]]:
    """The cells of each row below the header row that are under these headers."""
    places = [rows[0].index(header) for header in headers]
    return [tuple(row[place] for place in places) for row in rows[1:]]


def cell(found: Worksheet, header: str, row: int = 2) -> Cell:
    """A cell by its header."""
    (place,) = (one.column for one in found[1] if one.value == header)
    return found.cell(row, place)


def xml(path: Path, number: int) -> str:
    with zipfile.ZipFile(path) as workbook:
        return workbook.read(SHEET.format(number)).decode("utf-8")


def csv_table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, strict=True))


# ---------------------------------------------------------------- columns


#: Where the list's own columns are in the manual's table of columns.
LIST = "the list's columns"


def manual_headers() -> list[str]:
    """The columns that the manual explains, in its order."""
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    rows = page.partition("| column | content |")[2].partition("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"[`*]([^`*]+)[`*]", row.split("|")[1])]


@pytest.mark.parametrize("header", [column.header for column in COLUMNS])
def test_the_manual_explains_every_column(header: str) -> None:
    assert header in manual_headers(), f"docs/results.md: add a line for `{header}` to the table of columns"


def test_the_columns_are_those_of_the_manual_in_its_order() -> None:
    assert column_headers([LIST]) == manual_headers()


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        # One of ours, in any letter case.
        (["Phone", "STATUS", "customeruuid"], ["Phone (list)", "STATUS (list)", "customeruuid (list)"]),
        # A results workbook that is used as a list: its suffix must not bring two columns together.
        (["phone (list)", "phone"], ["phone (list)", "phone (list) (list)"]),
        # Two headers alike, and two over nothing: the workbook still keeps both columns.
        (["Name", "Name"], ["Name", "Name (list)"]),
        (["", ""], ["", " (list)"]),
        # Like one of ours, but not one of ours.
        (["message uuid"], ["message uuid"]),
    ],
)
def test_a_header_of_the_list_never_hides_one_of_ours(own: list[str], shown: list[str]) -> None:
    assert column_headers(own)[len(LEADING_COLUMNS) : -len(FOLDED_COLUMNS)] == shown


def test_the_lists_own_columns_are_found_again_when_results_are_used_as_a_list() -> None:
    headers = ["Customer ID", "Phone", "customerUUID", "message"]
    found = columns_of_results(column_headers(headers))
    assert found is not None
    assert list(found.values()) == headers


@given(st.lists(st.one_of(st.text(max_size=5), st.sampled_from([column.header for column in COLUMNS]))))
def test_no_two_columns_share_a_header(own: list[str]) -> None:
    headers = [header.casefold() for header in column_headers(own)]

    assert len(set(headers)) == len(headers) == len(own) + len(COLUMNS)


# ---------------------------------------------------------------- the workbook


#: ACCEPTED and INVALID as they stand in the results, blank cells left out.
SHOWN: list[dict[object, object]] = [
    {
        "row": 2,
        "status": "accepted",
        "messageUUID": "-l2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3",
        "phone": "+13125550142",
        "message": "Hi Maria, your Civic is due.",
        "Customer ID": "-c1",
        "First Name": "Maria",
        "customerUUID": "-c1",
        "segments": 1,
        "encoding": "GSM-7",
        "apiStatus": "SUCCESS",
        "httpStatus": 200,
        "requestUUID": "req-1",
        "warningCodes": "SLOW",
        "attempts": 2,
        "sentAtUTC": "2026-11-22T10:00:00.123Z",
        "sentAt": "2026-11-22 04:00:00",
        "latencyMs": 87,
        "run": 3,
    },
    {
        "row": 5,
        "status": "invalid",
        "errorCodes": "INVALID_PHONE; MISSING_VALUE",
        "errorDescriptions": "555 is too short; first_name is blank",
        "Customer ID": "c2",
        "attempts": 0,
    },
]


def test_one_row_for_each_row_of_the_list(tmp_path: Path) -> None:
    written = write_results(tmp_path / "spring-3.xlsx", Source([ACCEPTED, INVALID]))

    assert written == tmp_path / "spring-3.xlsx"
    assert table(written)[0] == tuple(column_headers(["Customer ID", "First Name"]))
    assert filled(written) == SHOWN


def test_replies_are_the_last_columns_where_customers_replied(tmp_path: Path) -> None:
    replied = ACCEPTED._replace(replied_at="2026-11-22T11:00:00.000Z", reply="=1+1\nok")
    source = Source([replied, INVALID], headers=("Reply", "Name"), replied=True)
    for name, read in (("r.xlsx", table), ("r.csv", csv_table)):
        header, first, second = read(write_results(tmp_path / name, source))
        assert tuple(header[-2:]) == ("repliedAtUTC", "reply")
        assert "Reply (list)" in header
        assert first[-2] == "2026-11-22T11:00:00.000Z"
        assert str(first[-1]).lstrip("'") == "=1+1\nok"
        assert not any(second[-2:])
    found = columns_of_results([str(one) for one in table(tmp_path / "r.xlsx")[0]])
    assert found is not None
    assert list(found.values()) == ["Reply", "Name"]


def test_the_manual_explains_the_columns_of_replies() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    assert all(f"`{column.header}`" in page for column in REPLY_COLUMNS)


def test_the_statuses_of_the_code_can_be_used_as_they_are(tmp_path: Path) -> None:
    # A StrEnum is a str, but not every writer takes it for one.
    source = Source([ACCEPTED._replace(status=Status.DELIVERED)])

    assert under(table(write_results(tmp_path / "r.xlsx", source)), "status") == [("delivered",)]
    assert under(csv_table(write_results(tmp_path / "r.csv", source)), "status") == [("delivered",)]


@pytest.mark.parametrize(
    ("sent_at", "local"),
    [
        ("2026-11-22T10:00:00.123Z", "2026-11-22 04:00:00"),
        # Summer time, and another day.
        ("2026-07-01T03:30:00.999Z", "2026-06-30 22:30:00"),
        (None, None),
    ],
)
def test_the_local_time_follows_the_zone_through_the_year(sent_at: str | None, local: str | None) -> None:
    assert local_time(sent_at, ZoneInfo("America/Chicago")) == local


def test_the_header_is_frozen_and_filterable_and_our_later_columns_are_folded_away(tmp_path: Path) -> None:
    results = sheet(write_results(tmp_path / "r.xlsx", Source([ACCEPTED, INVALID])))
    last = results.max_column
    first_folded = cell(results, FOLDED_COLUMNS[0].header).column

    assert results.freeze_panes == "A2"
    assert results.auto_filter.ref == f"A1:{get_column_letter(last)}3"
    assert results["A1"].font.bold
    # Excel draws no outline, so no way to unfold it, without being told in advance how deep it is.
    assert results.sheet_format.outlineLevelCol == 2
    folded = re.findall(
        r'<col min="(\d+)" max="(\d+)"[^>]* hidden="1"[^>]* outlineLevel="(\d)"', xml(tmp_path / "r.xlsx", 2)
    )
    assert [number for low, high, _ in folded for number in range(int(low), int(high) + 1)] == list(
        range(first_folded, last + 1)
    )
    assert {level for *_, level in folded} == {"1", "2"}
    assert f'min="{last + 1}" max="{last + 1}" width="9.140625" collapsed="1"' in xml(tmp_path / "r.xlsx", 2)


def test_the_message_has_room_and_its_row_stays_low(tmp_path: Path) -> None:
    long = ACCEPTED._replace(body="Hi Maria,\n" * 40)

    results = sheet(write_results(tmp_path / "r.xlsx", Source([long])))

    message = cell(results, "message")
    assert results.column_dimensions[message.column_letter].width > 60
    assert not message.alignment.wrap_text
    assert results.row_dimensions[2].height is None


def test_numbers_are_numbers_and_all_else_is_text(tmp_path: Path) -> None:
    looks_like_numbers = ACCEPTED._replace(
        request_uuid="12", cells=["007", "2026-03-01"], customer_uuid="1e5"
    )

    results = sheet(write_results(tmp_path / "r.xlsx", Source([looks_like_numbers])))

    numbers = [one.column_letter for one in results[2] if one.data_type == "n"]
    texts = [results[f"{one.column_letter}1"].value for one in results[2] if one.data_type == "s"]
    assert [results[f"{letter}1"].value for letter in numbers if results[f"{letter}2"].value is not None] == [
        "row",
        "segments",
        "httpStatus",
        "attempts",
        "latencyMs",
        "run",
    ]
    assert {
        "phone",
        "message",
        "Customer ID",
        "First Name",
        "customerUUID",
        "requestUUID",
        "sentAtUTC",
        "sentAt",
    } <= set(texts)
    # No green corners on phones and ids.
    assert 'numberStoredAsText="1"' in xml(tmp_path / "r.xlsx", 2)


@pytest.mark.parametrize(
    "value",
    [
        # What Excel would run.
        '=HYPERLINK("http://evil.example","click")',
        "=1+1",
        "+1+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        # What libraries like to turn into something else: links, numbers, dates, booleans, errors.
        "https://example.com/a?b=c",
        "mailto:a@example.com",
        "internal:Sheet1!A1",
        "007",
        "1e5",
        "2026-03-01",
        "TRUE",
        "#N/A",
        # What files like to lose.
        "  in the middle of blanks  ",
        "two\nlines",
        "two\r\nlines",
        "<b>&amp;</b>\"'",
        "_x0041_",
        "_x000D_",
        "😀 é – “quoted”",
        "a\x00b\x01c",
        "\ufffe\uffff",
    ],
)
def test_a_text_stays_what_it_is(tmp_path: Path, value: str) -> None:
    source = with_cells([value], headers=["Note"])

    workbook = write_results(tmp_path / "r.xlsx", source)
    as_csv = write_results(tmp_path / "r.csv", source)

    note = cell(sheet(workbook), "Note")
    assert note.data_type == "s"
    assert note.hyperlink is None
    assert unescape(note.value) == value
    assert not re.search(r"<f[ >]|<hyperlink", xml(workbook, 2))
    assert [unescape_formula(text) for (text,) in under(csv_table(as_csv), "Note")] == [value]


def test_half_a_character_does_not_cost_the_file(tmp_path: Path) -> None:
    # A cut emoji, as some exports have it, is no valid Unicode; the other cells of the row stay what they are.
    source = with_cells(["cut \ud83d", "whole 😀"], headers=["Note \udc00", "Other"])

    rows = table(write_results(tmp_path / "r.xlsx", source))
    lines = csv_table(write_results(tmp_path / "r.csv", source))

    assert under(rows, "Note \ufffd", "Other") == [("cut \ufffd", "whole 😀")]
    assert under(lines, "Note \ufffd", "Other") == [("cut \ufffd", "whole 😀")]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        # Exactly what fits.
        ("x" * MAX_CELL_LENGTH, MAX_CELL_LENGTH),
        ("x" * (MAX_CELL_LENGTH + 1), MAX_CELL_LENGTH - len(CUT_MARK)),
        # Excel counts UTF-16 code units, Python counts characters: an emoji is two of them, and is not cut in half.
        ("😀" * (MAX_CELL_LENGTH // 2), MAX_CELL_LENGTH // 2),
        ("😀" * MAX_CELL_LENGTH, (MAX_CELL_LENGTH - len(CUT_MARK)) // 2),
        # Escaped in the file, but still one character each.
        ("\x01" * MAX_CELL_LENGTH, MAX_CELL_LENGTH),
    ],
    ids=["fits", "too long", "emoji fit", "too many emoji", "escaped"],
)
def test_a_text_that_is_too_long_for_a_cell_is_cut_and_marked(tmp_path: Path, text: str, kept: int) -> None:
    source = with_cells([text, "next"], headers=["Note", "Other"])

    ((note, other),) = under(table(write_results(tmp_path / "r.xlsx", source)), "Note", "Other")
    ((line,),) = under(csv_table(write_results(tmp_path / "r.csv", source)), "Note")

    assert unescape(note) == text[:kept] + (CUT_MARK if kept < len(text) else "")
    assert other == "next"
    assert line == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_whole_characters_are_never_touched(text: str) -> None:
    assert cell_text(text) == text


@given(st.text(alphabet=st.one_of(st.characters(categories=["Cs"]), st.characters())))
def test_any_text_can_be_stored(text: str) -> None:
    stored = cell_text(text).encode("utf-8").decode("utf-8")

    assert storable(stored) == stored
    assert [c for c in stored if c.isascii()] == [c for c in text if c.isascii()]


def test_a_row_that_is_too_short_or_too_long_shifts_nothing(tmp_path: Path) -> None:
    source = with_cells(["a"], ["a", "b"], ["a", "b", "c"], headers=["One", "Two"])

    rows = table(write_results(tmp_path / "r.xlsx", source))
    lines = csv_table(write_results(tmp_path / "r.csv", source))

    columns = ("One", "Two", "customerUUID")
    assert under(rows, *columns) == [("a", None, "-c1"), ("a", "b", "-c1"), ("a", "b", "-c1")]
    assert under(lines, *columns) == [("a", "", "-c1"), ("a", "b", "-c1"), ("a", "b", "-c1")]


def test_a_list_without_rows_still_has_its_header(tmp_path: Path) -> None:
    workbook = write_results(tmp_path / "r.xlsx", Source([]))
    as_csv = write_results(tmp_path / "r.csv", Source([]))

    headers = column_headers(["Customer ID", "First Name"])
    assert [row for row in table(workbook) if any(row)] == [tuple(headers)]
    assert csv_table(as_csv) == [headers]
    assert openpyxl.load_workbook(workbook).sheetnames == ["Summary", "Results"]


@pytest.mark.parametrize(
    ("count", "sheets"),
    [
        # The limit counts the header: three rows and it make four.
        (3, {"Results": [2, 3, 4]}),
        (4, {"Results": [2, 3, 4], "Results 2": [5]}),
        (7, {"Results": [2, 3, 4], "Results 2": [5, 6, 7], "Results 3": [8]}),
    ],
)
def test_rows_that_do_not_fit_on_a_sheet_continue_on_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, sheets: dict[str, list[int]]
) -> None:
    monkeypatch.setattr(results_xlsx, "MAX_SHEET_ROWS", 4)
    source = Source([INVALID._replace(row=number) for number in range(2, count + 2)])

    workbook = openpyxl.load_workbook(write_results(tmp_path / "r.xlsx", source))

    problems = {name.replace("Results", "Problems"): rows for name, rows in sheets.items()}
    assert workbook.sheetnames == ["Summary", *sheets, *problems]
    for name, rows in {**sheets, **problems}.items():
        values = list(workbook[name].values)
        assert values[0][:2] == ("row", "status")
        assert [row[0] for row in values[1:]] == rows
        assert workbook[name].freeze_panes == "A2"


def test_a_wrong_count_loses_no_row(tmp_path: Path) -> None:
    source = Source([ACCEPTED._replace(row=number) for number in range(2, 12)], counted=4)

    assert [row[0] for row in table(write_results(tmp_path / "r.xlsx", source))[1:]] == list(range(2, 12))


def test_other_readers_see_the_same(tmp_path: Path) -> None:
    # Our own lists are read by calamine, and a results workbook can be a list.
    path = write_results(tmp_path / "r.xlsx", Source([ACCEPTED]))
    workbook = CalamineWorkbook.from_path(path)

    header, row = workbook.get_sheet_by_name("Results").to_python()

    assert {column: value for column, value in zip(header, row, strict=True) if value != ""} == filled(path)[
        0
    ]


# ---------------------------------------------------------------- Summary and Problems


def test_the_summary_comes_first_with_its_first_heading_as_title(tmp_path: Path) -> None:
    lines = [
        ("Spring service, run 3", None),
        ("Texts", 1234),
        ("Outcome", None),
        ("=1+1", "@home: " + "a long sentence " * 20),
        ("Ledger", "ledger.db"),
    ]
    path = write_results(tmp_path / "r.xlsx", Source([ACCEPTED], summary=lines))

    summary = sheet(path, "Summary")
    assert openpyxl.load_workbook(path).active.title == "Summary"
    assert list(summary.values) == [
        ("Spring service, run 3", None),
        ("Texts", 1234),
        ("Outcome", None),
        ("=1+1", lines[3][1]),
        ("Ledger", "ledger.db"),
    ]
    assert summary["A4"].data_type == "s"
    assert [summary[f"A{row}"].font.bold for row in range(1, 5)] == [True, False, True, False]
    assert summary["B2"].number_format == "#,##0"
    # Several lines' worth of room where a value is long.
    assert summary["B4"].alignment.wrap_text
    assert summary.row_dimensions[4].height > 45


def test_a_summary_without_a_heading_is_titled_summary(tmp_path: Path) -> None:
    path = write_results(tmp_path / "r.xlsx", Source([ACCEPTED], summary=[("Rows", 1)]))

    assert table(path, "Summary") == [("Summary", None), ("Rows", 1)]


def test_the_problems_say_what_they_mean_and_what_to_do(tmp_path: Path) -> None:
    failed = ACCEPTED._replace(
        row=7, status="failed", codes="CUSTOMER_LOCKED", descriptions="locked", message_uuid=None
    )
    invalid = INVALID._replace(codes="INVALID_PHONE", descriptions="555 is too short")
    source = Source([ACCEPTED, failed, invalid], headers=["Customer ID", "What to do"])

    path = write_results(tmp_path / "r.xlsx", source)

    assert table(path, "Problems")[0] == (
        "row",
        "status",
        "what it means",
        "errorDescriptions",
        "what to do",
        "phone",
        "customerUUID",
        "errorCodes",
        "message",
        "Customer ID",
        "What to do (list)",
    )
    assert filled(path, "Problems") == [
        {
            "row": 7,
            "status": "failed",
            "what it means": "The customer's record is locked in myKaarma at the moment.",
            "what to do": (
                "Wait until the record is no longer in use, then send the failed texts again. On the command line: "
                "`--resend failed`."
            ),
            "phone": "+13125550142",
            "customerUUID": "-c1",
            "errorCodes": "CUSTOMER_LOCKED",
            "errorDescriptions": "locked",
            "message": "Hi Maria, your Civic is due.",
            "Customer ID": "-c1",
            "What to do (list)": "Maria",
        },
        {
            "row": 5,
            "status": "invalid",
            "what it means": "This row has an invalid phone number.",
            "what to do": "Correct the phone number in the list and send again.",
            "errorCodes": "INVALID_PHONE",
            "errorDescriptions": "555 is too short",
            "Customer ID": "c2",
        },
    ]
    problems = sheet(path, "Problems")
    assert problems["D2"].alignment.wrap_text
    assert problems.row_dimensions[2].height == 30
    assert problems.freeze_panes == "A2"


def test_without_problems_there_is_no_such_sheet(tmp_path: Path) -> None:
    path = write_results(tmp_path / "r.xlsx", Source([ACCEPTED]))

    assert openpyxl.load_workbook(path).sheetnames == ["Summary", "Results"]


# ---------------------------------------------------------------- CSV


def test_the_csv_has_the_same_columns(tmp_path: Path) -> None:
    source = Source([ACCEPTED, INVALID])
    workbook = write_results(tmp_path / "r.xlsx", source)

    assert csv_table(write_results(tmp_path / "r.csv", source)) == [
        ["" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in row]
        for row in table(workbook)
    ]


def test_the_csv_is_what_excel_and_the_standard_expect(tmp_path: Path) -> None:
    source = with_cells(['a "quoted", é\nline'], headers=["Note"])

    data = write_results(tmp_path / "r.csv", source).read_bytes()

    # Without the mark Excel reads UTF-8 as Windows-1252.
    assert data.startswith(b"\xef\xbb\xbfrow,status,")
    assert b',"a ""quoted"", \xc3\xa9\nline",' in data
    assert data.endswith(b"\r\n")


# ---------------------------------------------------------------- where files go


@pytest.mark.skipif(not POSIX, reason="file modes are POSIX")
@pytest.mark.parametrize("name", ["r.xlsx", "r.csv"])
def test_results_are_their_owners_alone_from_the_first_byte(tmp_path: Path, name: str) -> None:
    modes = []

    class Watched(Source):
        def rows(self) -> Iterator[ResultRow]:
            modes.extend(stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir())
            return super().rows()

    old = os.umask(0)
    try:
        path = write_results(tmp_path / name, Watched([ACCEPTED]))
    finally:
        os.umask(old)

    assert modes
    assert set(modes) == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "results" / "2026" / "r.xlsx"

    assert write_results(path, Source([ACCEPTED])) == path
    assert path.exists()


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    class Broken(Source):
        def rows(self) -> Iterator[ResultRow]:
            yield ACCEPTED
            raise LedgerError("the ledger went away")

    for name in ("r.xlsx", "r.csv"):
        (tmp_path / name).write_text("older", encoding="utf-8")
        # An error of the source is passed on as it is.
        with pytest.raises(LedgerError, match="the ledger went away"):
            write_results(tmp_path / name, Broken([]))

    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {
        "r.xlsx": "older",
        "r.csv": "older",
    }


@pytest.mark.parametrize("name", ["spring-3.xlsx", "spring-3.csv"])
def test_results_get_another_name_if_the_file_is_open_in_excel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    target = tmp_path / name
    target.write_text("open in Excel", encoding="utf-8")
    second = target.with_stem("spring-3 (2)")
    second.write_text("another file", encoding="utf-8")
    really_replace = Path.replace

    def held_by_excel(self: Path, other: Path) -> Path:
        # What Windows reports for a file that another program has open.
        if other == target:
            raise PermissionError(errno.EACCES, "The process cannot access the file", str(other))
        return really_replace(self, other)

    monkeypatch.setattr(Path, "replace", held_by_excel)

    written = write_results(target, Source([ACCEPTED]))

    assert written == target.with_stem("spring-3 (3)")
    assert written.stat().st_size > 0
    assert target.read_text(encoding="utf-8") == "open in Excel"
    assert second.read_text(encoding="utf-8") == "another file"
    assert len(list(tmp_path.iterdir())) == 3


def test_files_of_a_killed_process_are_deleted(tmp_path: Path) -> None:
    left, fresh = tmp_path / ".batchsend-left.tmp", tmp_path / ".batchsend-fresh.tmp"
    for file in (left, fresh):
        file.touch()
    os.utime(left, (0, 0))

    write_results(tmp_path / "r.csv", Source([ACCEPTED]))

    # The fresh one may belong to a process that is writing right now.
    assert {file.name for file in tmp_path.iterdir()} == {"r.csv", ".batchsend-fresh.tmp"}


@pytest.mark.parametrize("name", ["r.xls", "r", "r.xlsx.bak", "r.json"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    expected = (
        f"{path}: results are written as an Excel workbook or as CSV. "
        "Choose a name that ends in .xlsx or .csv."
    )

    for attempt in (lambda: check_writable(path), lambda: write_results(path, Source([]))):
        with pytest.raises(ResultsError) as refused:
            attempt()
        assert str(refused.value) == expected
    assert not path.parent.exists()


def test_an_ending_in_capitals_is_known(tmp_path: Path) -> None:
    assert table(write_results(tmp_path / "R.XLSX", Source([ACCEPTED])))[1][0] == 2


def test_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.xlsx"
    path.mkdir()

    with pytest.raises(ResultsError) as refused:
        check_writable(path)

    assert (
        str(refused.value)
        == f"{path}: this is a folder, so no results can be written there. Choose another name."
    )


def test_checking_a_path_leaves_no_file(tmp_path: Path) -> None:
    check_writable(tmp_path / "results" / "r.xlsx")

    assert list((tmp_path / "results").iterdir()) == []


def test_a_folder_that_cannot_be_created_is_refused_beforehand(tmp_path: Path) -> None:
    # A file is where the folder should be; unlike missing permissions this stops root too.
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    path = tmp_path / "results" / "r.xlsx"

    for attempt in (lambda: check_writable(path), lambda: write_results(path, Source([]))):
        with pytest.raises(ResultsError) as refused:
            attempt()
        assert re.fullmatch(
            re.escape(f"{path}: the results cannot be written here (")
            + r".+"
            + re.escape("). Choose another place for them, or have the folder's permissions changed."),
            str(refused.value),
        )


# ---------------------------------------------------------------- full disks


class DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("full", ["results", "temporary"])
def test_a_disk_that_fills_up_is_noticed_before_the_library_panics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], full: str
) -> None:
    folders = {"results": tmp_path, "temporary": Path(tempfile.gettempdir())}

    def free(folder: Path) -> DiskUsage:
        return DiskUsage(0, 0, 0 if Path(folder) == folders[full] else 10**12)

    monkeypatch.setattr(sheet_writing.shutil, "disk_usage", free)

    with pytest.raises(ResultsError) as refused:
        write_results(tmp_path / "r.xlsx", Source([ACCEPTED] * 10))

    assert str(refused.value) == (
        f"{tmp_path / 'r.xlsx'}: there is no room left on the disk (in {folders[full]}), so the results could not be "
        "written. Free some space and run the command again; no customer is texted twice by that."
    )
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["r.xlsx", "r.csv"])
def test_a_full_disk_is_a_sentence_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def always_full(folder: Path) -> Path:
        link = folder / "temporary"
        link.symlink_to("/dev/full")
        return link

    monkeypatch.setattr(private_files, "_new_file", always_full)

    with pytest.raises(ResultsError) as refused:
        write_results(tmp_path / name, Source([ACCEPTED]))

    assert str(refused.value) == (
        f"{tmp_path / name}: there is no room left on the disk, so the results could not be written. "
        "Free some space and run the command again; no customer is texted twice by that."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no TMPDIR")
def test_a_temporary_folder_that_is_gone_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))

    with pytest.raises(ResultsError, match=r"r\.xlsx: the results cannot be written here \(.*gone"):
        write_results(tmp_path / "r.xlsx", Source([ACCEPTED]))

    assert list(tmp_path.iterdir()) == []
