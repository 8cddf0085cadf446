"""Whole lists: the rows that are read, and the message for every file that is refused."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from list_cases import ONLY_HEADER
from lists import malformed_of, problems_of, rows_of
from workbooks import new_workbook

from batchsend.errors import ListError
from batchsend.lists import customer_list, header_row, source
from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.lists.formats.delimiters import DELIMITERS


def write_table(path: Path, rows: list[list[str]]) -> None:
    """Writes rows as text or as a workbook, by the file's ending."""
    if path.suffix == ".xlsx":
        new_workbook(rows)[0].save(path)
    else:
        lines = [",".join([*row, *[""] * (2 - len(row))]) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


def test_a_list_is_read_as_text_with_the_spreadsheets_row_numbers(path: Path) -> None:
    path.write_bytes(b"Name,Phone\nNull,007\n\nNA,TRUE\n")
    os.utime(path, (1_767_225_600, 1_767_225_600))
    customers = open_list(path)
    (chunk,) = customers.chunks()
    assert customers.headers == ("Name", "Phone")
    assert list(chunk.frame.index) == [2, 4]
    assert list(chunk.frame.columns) == list(customers.headers)
    assert chunk.frame.to_numpy().tolist() == [["Null", "007"], ["NA", "TRUE"]]
    assert [dtype.kind for dtype in chunk.frame.dtypes] == ["O", "O"]
    assert (chunk.malformed, chunk.hidden, customers.rows, customers.notes) == ({}, frozenset(), 2, ())
    assert customers.saved_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert customers.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_chunks_come_in_order_and_any_number_of_times(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_row, "BLOCK_ROWS", 5)
    monkeypatch.setattr(customer_list, "CHUNK_BLOCKS", 2)
    path.write_text("Name\n" + "".join(f"c{i}\n" for i in range(25)), encoding="utf-8")
    customers = open_list(path)
    assert [len(chunk.frame) for chunk in customers.chunks()] == [10, 10, 5]
    assert rows_of(customers) == {i + 2: [f"c{i}"] for i in range(25)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"A,B\n1,2\n \t,\xc2\xa0\n3,4\n", {2: ["1", "2"], 4: ["3", "4"]}),  # a blank row is counted
        (b"\n\nA,B\n1,2\n", {4: ["1", "2"]}),  # a header further down
        # A quoted line end is part of the row.
        (b'A,B\n"1\n\n1",2\n3,4\n', {2: ["1\n\n1", "2"], 3: ["3", "4"]}),
        (b'A,B\n"say ""hi""",2\n', {2: ['say "hi"', "2"]}),  # doubled quotes
        # A quotation mark inside an unquoted cell is an ordinary character.
        (b'A,B\n5" pipe,2\n', {2: ['5" pipe', "2"]}),
        (b'A,B\n"x"y,2\n', {2: ["xy", "2"]}),  # as Excel reads it
        (b"A,B\r\n1,2\r\n3,4", {2: ["1", "2"], 3: ["3", "4"]}),  # no newline at the end
        (b"A,B\r1,2\r3,4\r", {2: ["1", "2"], 3: ["3", "4"]}),  # old Macs
        (b"A,B\n1,2\n\x1a", {2: ["1", "2"]}),  # old DOS programs end a text with Ctrl-Z
        (b"sep=;\nA;B\n1;2\n", {2: ["1", "2"]}),  # Excel never shows that line
        # A comma at the end of every line: a blank header without values is ignored.
        (b"A,B,\n1,2,\n", {2: ["1", "2"]}),
        (b"A,,B\n1,,2\n", {2: ["1", "2"]}),  # the same in the middle
        (b"A\n=1+1\n+1\n@x\n", {2: ["=1+1"], 3: ["+1"], 4: ["@x"]}),  # text, never a formula
    ],
)
def test_rows(path: Path, content: bytes, expected: dict[int, list[str]]) -> None:
    path.write_bytes(content)
    assert rows_of(open_list(path)) == expected


def test_a_header_further_down_is_noted(path: Path) -> None:
    path.write_bytes(b"\n\nA,B\n1,2\n")
    assert open_list(path).notes == ("the header is in row 3",)


@pytest.mark.parametrize(
    ("row", "used", "problem", "cells"),
    [
        ("1,2,3,4", {0}, "has 4 cells, the header has 3", ["1", "2", "3"]),
        ("1,2,3,,", {0}, "has 5 cells, the header has 3", ["1", "2", "3"]),  # other rows have no extra cells
        ("1", {0}, None, ["1", "", ""]),  # cells after the last used column may be missing
        ("1", {1}, 'ends in column A, but the campaign uses "B" in column B', ["1", "", ""]),
        ("1,", {1}, None, ["1", "", ""]),  # blank is not missing
        ("1,2", None, 'ends in column B, but the campaign uses "C" in column C', ["1", "2", ""]),
        ("1", set(), None, ["1", "", ""]),
    ],
)
def test_malformed_rows_are_shown_as_far_as_they_fit(
    path: Path, row: str, used: set[int] | None, problem: str | None, cells: list[str]
) -> None:
    path.write_text(f"A,B,C\n{row}\n7,8,9\n", encoding="utf-8")
    customers = open_list(path)
    assert malformed_of(customers, used) == ({2: problem} if problem else {})
    assert rows_of(customers, used) == {2: cells, 3: ["7", "8", "9"]}


@pytest.mark.parametrize(
    ("content", "malformed"),
    [
        # All rows end in a comma, so the row with a value there is the odd one.
        (b"A,B\n1,2,\n1,2,3\n1,2,\n", {3: "has a value in column C, but the header ends in column B"}),
        (b"A,B\n1,2,\n1,2,,\n1,2,\n", {3: "has 4 cells, other rows have 3"}),
        (b"A,,C\n1,,3\n1,2,3\n", {3: "has a value in column B, which has no header"}),
        # A single row: other rows could show that all end in a comma, but the header does not.
        (b"A,B\n1,2,\n", {2: "has 3 cells, the header has 2"}),
        (b"A,B,\n1,2,\n", {}),
        # A first column without a header is left alone only if every row has a value there.
        (b",B\n,2\n1,2\n", {3: "has a value in column A, which has no header"}),
    ],
)
def test_values_without_a_header(path: Path, content: bytes, malformed: dict[int, str]) -> None:
    path.write_bytes(content)
    assert malformed_of(open_list(path)) == malformed


@given(
    width=st.integers(1, 5),
    extra=st.lists(st.integers(0, 3), min_size=2, max_size=6),
    header_extra=st.integers(0, 3),
    delimiter=st.sampled_from(list(DELIMITERS)),
)
def test_a_row_wider_than_another_is_malformed(
    tmp_path: Path, width: int, extra: list[int], header_extra: int, delimiter: str
) -> None:
    """Extra cells are blank, and every row fills the header."""
    path = tmp_path / "list.csv"
    lines = [[*map(str, range(width)), *[""] * more] for more in (header_extra, *extra)]
    path.write_text("\n".join(map(delimiter.join, lines)), encoding="utf-8")
    customers = open_list(path, ListOptions(delimiter=delimiter))
    wider = {row for row, more in enumerate(extra, 2) if more > min(extra)}
    assert set(malformed_of(customers)) == wider


def test_positions_of_used_columns_do_not_count_headers_that_are_blank(path: Path) -> None:
    path.write_bytes(b"A,,B\n1\n")
    customers = open_list(path)
    assert customers.headers == ("A", "B")
    assert malformed_of(customers, {1}) == {2: 'ends in column A, but the campaign uses "B" in column C'}


@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
@given(
    title=st.lists(
        st.lists(st.sampled_from(["Spring service", "", "5/1/2026", "page 1"]), max_size=3), max_size=4
    ),
    chosen=st.booleans(),
)
def test_the_rows_above_the_header_row_are_not_read(
    tmp_path: Path, ending: str, title: list[list[str]], chosen: bool
) -> None:
    path = tmp_path / f"list{ending}"
    rows = [*title, ["Name", "Phone"], ["Ann", "7"], ["", ""], ["Bob", "8"]]
    write_table(path, rows)
    header = len(title) + 1
    filled = any(any(row) for row in title)
    customers = open_list(path, ListOptions(header_row=header if chosen or filled else None))
    assert customers.headers == ("Name", "Phone")
    assert rows_of(customers) == {header + 1: ["Ann", "7"], header + 3: ["Bob", "8"]}
    assert customers.header.row == header
    assert customers.top[-1] == (header + 3, ("Bob", "8"))


def test_a_header_row_that_is_blank_is_said(path: Path) -> None:
    path.write_bytes(b"Name,Phone\n\nAnn,7\n")
    with pytest.raises(ListError) as caught:
        open_list(path, ListOptions(header_row=2))
    assert "Its row 2 is blank or missing" in str(caught.value)
    assert caught.value.options == {"header_row"}
    assert caught.value.top == ((1, ("Name", "Phone")), (3, ("Ann", "7")))


def test_a_list_says_which_options_would_solve_its_problems(tmp_path: Path) -> None:
    workbook, sheet = new_workbook([["Name", "Phone"], ["Ann", "7"], ["Bob", "8"]])
    sheet.row_dimensions[3].hidden = True
    path = tmp_path / "list.xlsx"
    workbook.save(path)
    with pytest.raises(ListError) as caught:
        open_list(path)
    assert (caught.value.options, caught.value.hidden_rows) == ({"hidden_rows"}, 1)
    workbook.create_sheet("More")
    workbook.save(path)
    with pytest.raises(ListError) as caught:
        open_list(path)
    assert (caught.value.options, caught.value.sheets) == ({"sheet"}, (sheet.title, "More"))
    path.write_text("Name,name\n", encoding="utf-8")
    with pytest.raises(ListError) as caught:
        open_list(path)
    assert caught.value.options == frozenset()


EMPTY = "It is empty. Export the list again, with its header and its rows."


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"", [EMPTY]),
        (b"\xef\xbb\xbf", [EMPTY]),  # only a byte order mark
        (b"\r\n , \r\n", [EMPTY]),
        (b"A,B\n\n", [*ONLY_HEADER]),
        (
            b"First Name,FIRST_NAME,first-name,B\n1,2,3,4\n",
            [
                (
                    'Three headers mean the same column: "First Name" (column A), "FIRST_NAME" (column B) and '
                    '"first-name" (column C). Rename or delete all but one of them.'
                )
            ],
        ),
        (
            b'A,B\n1,2\n"3,4\n5,6\n',
            # Otherwise row 3 would silently be the last one.
            [
                (
                    "The quotation marks in row 3 do not match: a cell opens one and never closes it, so the rows "
                    'below would be lost. Fix the row (write a " inside a cell twice, and put one at each end of '
                    "the cell), or export the list again."
                )
            ],
        ),
        (
            b"A,B\n1," + b"x" * 40_000 + b"\n",
            [
                (
                    "Row 2 has a cell with more than 32,767 characters, which is too long for a spreadsheet. "
                    "Fix that row, or export the list again."
                )
            ],
        ),
        (
            b"A,B\n1," + b"x" * 400_000 + b"\n",  # more than the csv module accepts
            [
                (
                    "Row 2 has a cell with more than 32,767 characters, which is too long for a spreadsheet. "
                    "Fix that row, or export the list again."
                )
            ],
        ),
        (
            b"A,B\n1," + b"x" * 5_000_000,
            [
                "Line 2 is longer than 4,194,304 characters, which is too long for a list. Export the list again.",
            ],
        ),
        (
            b"A,B\n1,2\n3,\x004\n",
            [
                (
                    "It has NUL bytes (the first in line 3), which text never has: it is damaged or not a list. "
                    "Export it again."
                )
            ],
        ),
        (
            ",".join(f"c{i}" for i in range(1001)).encode() + b"\n1\n",
            [
                (
                    "Its header has 1,001 columns; at most 1,000 can be read. "
                    "Delete the columns that the campaign does not need."
                )
            ],
        ),
    ],
)
def test_problems_of_the_whole_file(path: Path, content: bytes, problems: list[str]) -> None:
    path.write_bytes(content)
    assert list(problems_of(path)) == problems


@pytest.mark.parametrize(
    "content",
    [
        b'A,B\n1,2\n"3,4\n"5",6\n',  # closed by the opening mark of the next row
        b'A,B\n1,2\n"3,4\n5,"6"\n',
        b'A,B\n1,2\n"3,4\n' + b"5,6\n" * 50_000,  # longer than any cell
    ],
)
def test_a_stray_quotation_mark_never_swallows_rows(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert problem.startswith("The quotation marks in row 3 do not match:")


def test_a_list_without_rows_is_accepted_if_rows_are_not_needed(path: Path) -> None:
    path.write_bytes(b"A,B\n")
    customers = open_list(path, rows_needed=False)
    assert (customers.headers, customers.rows, list(customers.chunks())) == (("A", "B"), 0, [])


def test_a_missing_file(path: Path) -> None:
    assert problems_of(path) == ("There is no such file. Check the path, or export the list again.",)


def test_a_folder(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == ("This is a folder. Name the list file in it.",)


def test_a_file_that_is_too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(source.MAX_FILE_SIZE + 1)
    assert problems_of(path) == (
        "It is too large: 536,870,913 bytes; at most 536,870,912 can be read. Split it into several lists.",
    )


def test_too_many_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_row, "MAX_ROWS", 1000)
    path.write_bytes(b"A\n" + b"\n" * 999 + b"1\n")
    assert problems_of(path) == (
        "It has more than 1,000 rows, which is too many. Split it into several lists.",
    )


CHANGED = (
    "It changed while it was being read. Wait until the program that writes it has finished, then try again."
)


def test_a_file_that_grows_between_two_readings(path: Path) -> None:
    path.write_bytes(b"A\n1\n")
    customers = open_list(path)
    path.write_bytes(b"A\n1\n2\n")
    with pytest.raises(ListError, match=CHANGED):
        list(customers.chunks())


def test_a_file_that_changes_while_its_rows_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_row, "BLOCK_ROWS", 2)
    path.write_bytes(b"A\n" + b"1\n" * 10)
    customers = open_list(path)
    chunks = customers.chunks()
    next(chunks)
    path.write_bytes(b"A\n" + b"1\n" * 11)
    with pytest.raises(ListError, match=CHANGED):
        list(chunks)


def test_a_change_that_does_not_change_the_modification_time(path: Path) -> None:
    path.write_bytes(b"A\n1\n")
    customers = open_list(path)
    stat = path.stat()
    path.write_bytes(b"A\n2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ListError, match=CHANGED):
        list(customers.chunks())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ListOptions(sheet="Customers"),
            "It is a text file, which has no sheets. Remove `sheet` from [list_options].",
        ),
        (
            ListOptions(encoding="utf8x"),
            '`encoding = "utf8x"` under [list_options] is not a known encoding. Did you mean "utf-8"?',
        ),
        (
            ListOptions(encoding="base64"),
            (
                '`encoding = "base64"` under [list_options] is not a known encoding. '
                "Usual ones are utf-8, utf-16, windows-1252, mac-roman, iso-8859-1."
            ),
        ),
        (
            ListOptions(delimiter="::"),
            (
                '`delimiter = "::"` under [list_options] must be one character, such as "," or ";", '
                "or one of comma, semicolon, tab, pipe."
            ),
        ),
    ],
)
def test_options_that_do_not_apply(path: Path, options: ListOptions, problem: str) -> None:
    path.write_bytes(b"A,B\n1,2\n")
    assert problems_of(path, options) == (problem,)


def test_a_results_csv_is_read_as_a_list(path: Path) -> None:
    path.write_text(
        "row,status,messageUUID,errorCodes,errorDescriptions,phone,message,Customer ID,Phone (list),"
        "customerUUID,run\n"
        "2,accepted,m1,,,+13125550142,Hi,c1,312-555-0142,c1,7\n",
        encoding="utf-8",
    )
    customers = open_list(path)
    assert customers.headers == ("Customer ID", "Phone")
    assert rows_of(customers) == {2: ["c1", "312-555-0142"]}
