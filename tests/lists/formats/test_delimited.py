"""Text files in any encoding and dialect, cell by cell."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lists import problems_of, rows_of

from batchsend.lists.cells import clean
from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.lists.formats import delimited
from batchsend.lists.formats.delimiters import DELIMITERS

JOSE = "Name,Ciudad\nJosé,Peñón\n"


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (JOSE.encode(), ()),
        (codecs.BOM_UTF8 + JOSE.encode(), ()),  # Excel's "CSV UTF-8"
        (JOSE.encode("cp1252"), ("read as Windows-1252",)),  # Excel's "CSV"
        (codecs.BOM_UTF16_LE + JOSE.encode("utf-16-le"), ()),  # Excel's "Unicode Text"
        (codecs.BOM_UTF16_BE + JOSE.encode("utf-16-be"), ()),
        (JOSE.encode("utf-16-le"), ()),  # PowerShell and database exports, without a mark
        (JOSE.encode("utf-16-be"), ()),
        (JOSE.encode("utf-32"), ()),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, notes: tuple[str, ...]) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    customers = open_list(path)
    assert customers.headers == ("Name", "Ciudad")
    assert rows_of(customers) == {2: ["José", "Peñón"]}
    assert customers.notes == notes


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        # A file made from two: read as Windows-1252, it would have "JosÃ©".
        (
            "Name\nJosé\n".encode() + "Zoë\n".encode("cp1252"),
            ListOptions(),
            (
                "It is UTF-8 text, but line 3 has a byte that is not UTF-8. Fix that line, or save it again as "
                '"CSV UTF-8". If the whole file has another encoding, name it: encoding = "windows-1252" '
                "under [list_options]."
            ),
        ),
        # 0x81 is undefined in Windows-1252: probably an old Mac or DOS encoding.
        (
            b"Name\nJ\x81rgen\n",
            ListOptions(),
            (
                "It is neither UTF-8 nor Windows-1252 text (see line 2). Open it in the program that made it and "
                'save it again as "CSV UTF-8", or name its encoding under [list_options].'
            ),
        ),
        (
            codecs.BOM_UTF16_LE + "Name\nAnn\n".encode("utf-16-le") + b"\n",
            ListOptions(),
            (
                "It looks like UTF-16 text, but is not: line 3 cannot be decoded. "
                'Open it in a spreadsheet and save it again as "CSV UTF-8".'
            ),
        ),
        (
            "Name\nJosé\n".encode("cp1252"),
            ListOptions(encoding="utf-8"),
            (
                '`encoding = "utf-8"` under [list_options] does not fit: line 2 cannot be decoded. '
                'Open it in a spreadsheet and save it again as "CSV UTF-8".'
            ),
        ),
    ],
)
def test_text_that_cannot_be_decoded(
    tmp_path: Path, content: bytes, options: ListOptions, problem: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    assert problems_of(path, options) == (problem,)


def test_an_encoding_option(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("Name\nJürgen\n".encode("cp850"))
    assert rows_of(open_list(path, ListOptions(encoding="cp850"))) == {2: ["Jürgen"]}


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("A,B\n1,2\n", ("A", "B")),
        ("A;B\n1;2\n", ("A", "B")),
        ("A\tB\n1\t2\n", ("A", "B")),
        ("A|B\n1|2\n", ("A", "B")),
        ("A\n1\n", ("A",)),  # one column
        # A comma in the rows only does not make a second column.
        ("Customer ID\nab,c\n", ("Customer ID",)),
        # A quoted comma is not a delimiter.
        ('"Last, First";Phone\n"Lee, Ann";1\n', ("Last, First", "Phone")),
        # Only the semicolon fits the rows.
        ("Last, First;Phone;Paid\nLee, Ann;1;2\nBo;2;3\n", ("Last, First", "Phone", "Paid")),
        ("Price, USD;Id\n1,5;a\n2,5;b\n3;c\n", ("Price, USD", "Id")),  # decimal commas
        ("A,B;C,D\n1,2;3,4\n", ("A", "B;C", "D")),  # the one with more columns wins
        ("sep=|\nA|B,C\n1|2\n", ("A", "B,C")),  # Excel's sep= line names it
    ],
)
def test_delimiters(tmp_path: Path, text: str, headers: tuple[str, ...]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    assert open_list(path).headers == headers


def test_delimiters_other_than_commas_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("A;B\n1;2\n", encoding="utf-8")
    assert open_list(path).notes == ("separated by semicolons",)


def test_two_equally_good_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("A,B;C\n1,2;3\n", encoding="utf-8")
    assert problems_of(path) == (
        (
            "Its columns could be separated by semicolon or by comma. Choose one: "
            'delimiter = "semicolon" under [list_options].'
        ),
    )
    assert open_list(path, ListOptions(delimiter="semicolon")).headers == ("A,B", "C")
    assert open_list(path, ListOptions(delimiter=",")).headers == ("A", "B;C")


# Printable text with every character that is special in a CSV file.
PRINTABLE = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cc", "Cs")),
        st.sampled_from("\",;|'\t\n\r \u00a0\u200béñ0123456789"),
    ),
    max_size=12,
)
IN_WINDOWS_1252 = st.text(
    st.sampled_from([bytes([i]).decode("cp1252") for i in (*range(32, 127), *range(166, 256))])
)


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str]) -> list[list[str]]:
    """A header of plain names, and rows as wide as it."""
    width = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8))
    assume(any(clean(cell) for row in rows for cell in row))
    return [[f"Column {i}" for i in range(width)], *rows]


def written(table: list[list[str]], delimiter: str, line_end: str, quoting: int) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(table)  # type: ignore[arg-type]
    return text.getvalue()


def expected(table: list[list[str]]) -> dict[int, list[str]]:
    """The cleaned rows that are not blank, by the row numbers of a spreadsheet."""
    cleaned = {number: [clean(cell) for cell in row] for number, row in enumerate(table, 1)}
    return {number: row for number, row in cleaned.items() if number > 1 and any(row)}


@given(
    table=tables(PRINTABLE),
    delimiter=st.sampled_from(list(DELIMITERS)),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
    lines=st.sampled_from([1, 2, 200]),
)
def test_any_table_comes_back_cell_by_cell(
    tmp_path: Path,
    table: list[list[str]],
    delimiter: str,
    line_end: str,
    quoting: int,
    encoding: str,
    lines: int,
) -> None:
    """`lines` are read at a time, so that a cell may begin in some and end in others."""
    # In a table with one column, only a comma is a delimiter.
    assume(len(table[0]) > 1 or delimiter == "," or quoting == csv.QUOTE_ALL)
    # Python's writer does not quote line ends other than the file's own.
    assume(quoting == csv.QUOTE_ALL or not any(set(cell) & {"\r", "\n"} for row in table for cell in row))
    path = tmp_path / "list.csv"
    path.write_bytes(written(table, delimiter, line_end, quoting).encode(encoding))
    # UTF-16 without a mark is recognized by the NULs of Western characters; a small table may have few.
    options = ListOptions(encoding="utf-16-le") if encoding == "utf-16-le" else ListOptions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_LINES", lines)
        assert rows_of(open_list(path, options)) == expected(table)


@given(table=tables(IN_WINDOWS_1252), delimiter=st.sampled_from(list(DELIMITERS)))
def test_any_table_in_windows_1252_comes_back_cell_by_cell(
    tmp_path: Path, table: list[list[str]], delimiter: str
) -> None:
    content = written(table, delimiter, "\r\n", csv.QUOTE_ALL).encode("cp1252")
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    # "Ã©" in Windows-1252 is "é" in UTF-8, so such a file is not read as Windows-1252.
    assume(content.isascii() or content.decode("utf-8", "ignore").isascii())
    assert rows_of(open_list(path)) == expected(table)
