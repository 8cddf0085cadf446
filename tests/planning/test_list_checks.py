"""What a person would notice in a list."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.planning.list_checks import rows_that_repeat_the_header, rows_with_a_total


def frame(headers: list[str], *rows: list[str]) -> pd.DataFrame:
    """A chunk of a list whose header is in row 1."""
    index = pd.RangeIndex(2, len(rows) + 2)
    return pd.DataFrame(list(rows), index=index, columns=pd.Index(headers, dtype=object), dtype=object)


def numbers(rows: pd.Series) -> list[int]:
    return list(rows[rows].index)


@pytest.mark.parametrize(
    "row",
    [
        ["Customer ID", "First Name", "2024"],
        ["CUSTOMER_ID", "FIRST_NAME", ""],
        ["customer-id", "", ""],
        # The second of two joined exports has its columns in another order, or other headers.
        ["first_name", "customer_uuid", ""],
        ["Customer UUID", "Name", ""],
    ],
)
def test_a_row_with_the_header_once_more_is_found(row: list[str]) -> None:
    people = frame(["Customer ID", "First Name", "2024"], ["c-1", "Ann", "3"], row, ["2024", "Bo", "1"])
    assert numbers(rows_that_repeat_the_header(people, "Customer ID")) == [3]


@pytest.mark.parametrize(
    "cell",
    [
        "Total",
        "TOTALS",
        "Total:",
        "Grand Total",
        "grand_total",
        "Subtotal",
        "Sub-Total",
        "Sum",
        "Count",
        "Summe",
        "Gesamt",
        "Total: 30",
        "Total 1,204",
        "Total customers: 30",
        "Count of rows = 3",
        "Records: 2",
        "Record count: 2",
        "Number of rows: 3",
        "2 rows",
        "(2 rows affected)",
        "1 record",
        "30 customers total",
    ],
)
def test_a_total_in_the_place_of_a_customer_is_found(cell: str) -> None:
    people = frame(["Name", "Customer ID", "Points"], ["Ann", "c-1", "10"], ["", cell, "30"])
    assert numbers(rows_with_a_total(people, "Customer ID")) == [3]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # The number of customers is below their ids.
        (["Total", "", "30", "$1,204.50"], [2]),
        (["", "Grand Total", "30", "12%"], [2]),
        # Family names.
        (["Sum", "", "30", ""], []),
        (["Total", "Ann", "30", ""], []),
        (["Ann", "Total", "c-1", ""], []),
    ],
)
def test_a_total_before_the_customers_column_is_no_name(row: list[str], expected: list[int]) -> None:
    people = frame(["Last Name", "First Name", "Customer ID", "Points"], row)
    assert numbers(rows_with_a_total(people, "Customer ID")) == expected


HEADERS = ["Last Name", "First Name", "Customer ID", "Phone", "2024"]
NAMES = st.sampled_from(["Sum", "Count", "Total", "Average", "Phone", "First Name", ""])
FIRST_NAMES = st.sampled_from(["Sum", "Count", "Phone", "Customer ID", "Ann"])
IDS = st.from_regex(r"[A-Za-z0-9_-]{0,40}[0-9][A-Za-z0-9_-]{0,40}", fullmatch=True)
CUSTOMERS = st.tuples(NAMES, FIRST_NAMES, IDS, st.sampled_from(["", "4155550101"]), NAMES)


@given(st.lists(CUSTOMERS.map(list), min_size=1))
def test_no_customer_is_taken_for_a_total_or_a_header(rows: list[list[str]]) -> None:
    people = frame(HEADERS, *rows)
    assert numbers(rows_that_repeat_the_header(people, "Customer ID")) == []
    assert numbers(rows_with_a_total(people, "Customer ID")) == []


def test_frames_of_a_list_without_rows() -> None:
    people = frame(["Name", "Customer ID"])
    assert numbers(rows_with_a_total(people, "Customer ID")) == []
    assert numbers(rows_that_repeat_the_header(people, "Customer ID")) == []
