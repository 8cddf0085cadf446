"""DataFrames and Parquet files as lists."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lists import problems_of, rows_of
from openpyxl import Workbook
from pyarrow import parquet

from batchsend.lists.cells import text_of
from batchsend.lists.customer_list import open_list
from batchsend.lists.formats import frames

MOMENT = dt.datetime(2026, 3, 1, 9, 30)  # noqa: DTZ001 - without a zone, as in spreadsheets


def read(frame: pd.DataFrame, folder: Path) -> dict[int, list[str]]:
    """The frame's rows, as they are read from the file that it is saved in."""
    path = folder / "list.csv"
    path.write_bytes(frames.csv_of(frame))
    return rows_of(open_list(path))


def texts(column: Any) -> list[str]:
    """The cells of a frame with this column only."""
    rows = frames.rows_of([pd.DataFrame({"a": column})], Path("list"))
    return [cells[0] for number, cells in rows if number > 1]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        # Whole numbers keep their digits, beside missing ones too.
        (pd.array([1, None, 2**62], dtype="Int64"), ["1", "", str(2**62)]),
        (pd.Series([5760069.0, np.nan]), ["5760069", ""]),
        (pd.Series([2125550123, 2**100], dtype=object), ["2125550123", str(2**100)]),
        (np.array([1, 255], dtype="uint8"), ["1", "255"]),
        ([0.1, 45000.5, 1e15, np.inf], ["0.1", "45000.5", "1E+15", "#NUM!"]),
        (np.array([0.1, 2, np.nan], dtype="float32"), ["0.1", "2", ""]),
        (pd.array([0.1, None], dtype="Float32"), ["0.1", ""]),
        ([Decimal("12.50"), Decimal("1E+3"), Decimal("NaN")], ["12.50", "1000", ""]),
        ([True, False], ["TRUE", "FALSE"]),
        (pd.array([True, None], dtype="boolean"), ["TRUE", ""]),
        (np.array([np.True_, np.int64(7), None], dtype=object), ["TRUE", "7", ""]),
        (np.array([np.float32(0.1), np.longdouble(2), np.str_(" a")], dtype=object), ["0.1", "2", "a"]),
        (pd.Series([np.datetime64("2026-03-01", "ns"), "x"], dtype=object), ["2026-03-01", "x"]),
        (pd.to_datetime(pd.Series(["2026-03-01", None])), ["2026-03-01", ""]),
        (pd.Series([MOMENT]), ["2026-03-01 09:30:00"]),
        (pd.Series([dt.date(2026, 3, 1), dt.time(9, 30), None]), ["2026-03-01", "09:30:00", ""]),
        (pd.to_timedelta(["90min"]), ["01:30:00"]),
        (pd.Categorical(["x", None, "x"]), ["x", "", "x"]),
        (pd.Categorical([1, 2]), ["1", "2"]),
        (pd.array(["2026-03"], dtype="period[M]"), ["2026-03"]),
        (pd.arrays.SparseArray([0, 5, 0]), ["0", "5", "0"]),
        (pd.array([" Null ", "NA", "nan", "", None], dtype="string"), ["Null", "NA", "nan", "", ""]),
        # The rules for texts of any list.
        (["\u00a0Ann\u00a0Lee ", '="007"', "O&#39;Brien"], ["Ann Lee", "007", "O'Brien"]),
        (pd.Series([1, "0123", None, pd.NA, pd.NaT], dtype=object), ["1", "0123", "", "", ""]),
        (pd.array([1.5, None], dtype=pd.ArrowDtype(pa.float32())), ["1.5", ""]),
    ],
)
def test_values_become_text(column: Any, expected: list[str]) -> None:
    assert texts(column) == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (pd.Timestamp("2026-03-01 09:30", tz="America/Chicago"), "has times with a time zone"),
        (dt.time(9, 30, tzinfo=dt.UTC), "has times with a time zone"),
        (b"Ann", "has values of the type bytes, which cannot be a cell."),
        (["Ann"], "has values of the type list, which cannot be a cell."),
        (np.array([1, 2]), "has values of the type ndarray, which cannot be a cell."),
        (1j, "has values of the type complex, which cannot be a cell."),
        (np.datetime64("20000-01-01", "s"), "has a date after the year 9999."),
    ],
)
def test_values_that_cannot_be_cells_name_their_column(value: Any, problem: str) -> None:
    column = [value] if isinstance(value, np.datetime64) else pd.Series([value], dtype=object)
    with pytest.raises(frames.ListError) as caught:
        texts(column)
    assert f'Its column "a" {problem}' in str(caught.value)


def test_rows_are_numbered_as_in_a_spreadsheet_whatever_the_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["a", None, "c"], 7: ["x\ny", None, "="]}, index=[5, 5, 0])
    before = frame.copy(deep=True)
    assert read(frame, tmp_path) == {2: ["a", "x\ny"], 4: ["c", "="]}
    pd.testing.assert_frame_equal(frame, before)
    assert open_list(tmp_path / "list.csv").headers == ("id", "7")


def test_columns_with_one_name(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(frames.csv_of(pd.DataFrame([["a", "b"]], columns=["id", "ID"])))
    (problem,) = problems_of(path)
    assert problem.startswith("Two headers mean the same column")


def numbered(rows: list[tuple[Any, Any]]) -> pd.DataFrame:
    """A frame whose first column has the row's number, so that no row is blank."""
    table = [(number, *row) for number, row in enumerate(rows, 2)]
    return pd.DataFrame(table, columns=["number", "a", "b"], dtype=object)


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=6),
    st.sampled_from(["007", "x;y", 'say "hi"', "a\nb", "sep=;", "1.5551E+10", "\tx", "'", "NaN", "null"]),
    st.integers(-(10**14), 10**14),
    st.floats(-1e14, 1e14),
    st.booleans(),
    st.dates(dt.date(1901, 1, 1)),
    st.datetimes(dt.datetime(1901, 1, 1)),  # noqa: DTZ001 - without a zone, as in spreadsheets
    st.none(),
)


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_a_frame_is_read_as_its_texts(tmp_path: Path, rows: list[tuple[Any, Any]]) -> None:
    """The texts are those of the same values in a workbook."""
    frame = numbered(rows)
    expected = {
        number: [str(number), *("" if value is None else text_of(value) for value in row)]
        for number, row in enumerate(rows, 2)
    }
    assert read(frame, tmp_path) == expected


SHEET_CELLS = st.one_of(
    st.text("abcé 07;\"'&", max_size=6),
    st.integers(-(10**14), 10**14),
    st.booleans(),
    st.dates(dt.date(1901, 1, 1)),
    st.none(),
)


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(SHEET_CELLS, SHEET_CELLS), min_size=1, max_size=6))
def test_a_frame_is_read_as_its_workbook_and_its_parquet_file(
    tmp_path: Path, rows: list[tuple[Any, Any]]
) -> None:
    frame = numbered(rows)
    found = read(frame, tmp_path)
    book = Workbook()
    assert book.active is not None
    for row in [list(frame.columns), *frame.itertuples(index=False)]:
        book.active.append(list(row))
    book.save(tmp_path / "list.xlsx")
    assert rows_of(open_list(tmp_path / "list.xlsx")) == found
    # A column of a Parquet file has values of one type.
    frame.map(lambda value: None if value is None else text_of(value)).to_parquet(tmp_path / "list.parquet")
    assert rows_of(open_list(tmp_path / "list.parquet")) == found


# --- Parquet


def test_a_parquet_file_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "due.csv"  # by content, not by name
    table = pa.table(
        {
            "Customer ID": ["a", "b", None],
            "Number": pa.array([1, None, 2**62]),
            "Price": pa.array([Decimal("12.50"), None, Decimal("3.00")]),
            "Day": pa.array([dt.date(2026, 3, 1), None, None]),
            "At": pa.array([MOMENT, None, None]),
            "Yes": pa.array([True, None, False]),
            "Model": pa.array(["CR-V", None, "CR-V"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, path)
    customers = open_list(path)
    assert customers.headers == tuple(table.column_names)
    assert rows_of(customers) == {
        2: ["a", "1", "12.50", "2026-03-01", "2026-03-01 09:30:00", "TRUE", "CR-V"],
        3: ["b", "", "", "", "", "", ""],
        4: ["", str(2**62), "3.00", "", "", "FALSE", "CR-V"],
    }


def test_an_index_with_a_name_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"Customer ID": ["a"], "Name": ["Ann"]})
    frame.to_parquet(tmp_path / "one.parquet")
    frame.set_index("Customer ID").to_parquet(tmp_path / "two.parquet")
    frame.set_axis([7]).to_parquet(tmp_path / "three.parquet")
    assert open_list(tmp_path / "one.parquet").headers == ("Customer ID", "Name")
    assert set(open_list(tmp_path / "two.parquet").headers) == {"Customer ID", "Name"}
    assert open_list(tmp_path / "three.parquet").headers == ("Customer ID", "Name")


@pytest.mark.parametrize("kept", [4, 60, -30, -8])
def test_a_damaged_parquet_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "due.parquet"
    pd.DataFrame({"Customer ID": [f"c-{n}" for n in range(100)]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert problems_of(path) == (
        "It is a Parquet file that was cut short or damaged. Copy or export it again.",
    )


def test_a_parquet_file_with_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "due.parquet"
    pd.DataFrame({"Customer ID": pd.Series([], dtype=str)}).to_parquet(path)
    assert problems_of(path)[0].startswith("It has only a header and no rows.")


def test_without_pyarrow_a_parquet_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "due.parquet"
    pd.DataFrame({"Customer ID": ["a"]}).to_parquet(path)
    monkeypatch.setattr("batchsend.lists.formats.parquet.find_spec", lambda _: None)
    (problem,) = problems_of(path)
    assert '`pip install "batchsend[parquet]"`' in problem


def test_the_saved_file_is_a_plain_text_file() -> None:
    column = pd.Series(["a\u00e9", "\ud800\0"], dtype=object)
    content = frames.csv_of(pd.DataFrame({"id": column})).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(content, newline="")))[1:] == [["id"], ["a\u00e9"], ["\ufffd\ufffd"]]
