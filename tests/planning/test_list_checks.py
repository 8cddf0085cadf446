"""What a person would notice in a list."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.errors import Sentence, page_words
from batchsend.planning.list_checks import (
    look_like_dms_numbers,
    remarks_on_columns,
    rows_that_repeat_the_header,
    rows_with_a_total,
    unused_consent_columns,
    unused_phone_columns,
)


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


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["5760069", "5760070", ""], True),
        (["5760069", "5760070", "c-1"], True),
        (["5760069", "c-1"], False),
        (["3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e", "12345678901234567890123456789012"], False),
        (["", ""], False),
        ([], False),
    ],
)
def test_short_numbers_are_the_ids_of_another_system(ids: list[str], expected: bool) -> None:
    assert look_like_dms_numbers(ids) is expected


PHONES = [f"(312) 555-{number:04}" for number in range(30)]


@pytest.mark.parametrize(
    ("header", "cells", "is_found"),
    [
        ("Primary Phone", PHONES, True),
        ("Tel.", ["4155550101", "4155550101"], True),
        ("Home", ["", *PHONES, "n/a"], True),
        ("Home", ["+44 20 7946 0958"], True),
        # Invalid phones are up to a fifth of the cells.
        ("Home", [*PHONES[:8], "12", "34"], True),
        ("Home", [*PHONES[:7], "12", "34", "56"], False),
        ("Home", [*PHONES[:20], *["12"] * 10], False),
        # Numbers of another kind: some of ten digits are valid phones.
        ("DMS", ["5760069", "5760070"], False),
        ("Invoice", [str(1_000_000_000 + 123_456_789 * number) for number in range(20)], False),
        ("VIN", ["1HGCM82633A004352"], False),
        ("Due", ["2026-03-01", "2026-03-02 09:30:00"], False),
        ("Name", ["Ann", "Bo"], False),
        ("Empty", ["", ""], False),
        # The dealership's own, and what no text reaches.
        ("Store Phone", ["3125550142"] * 10, False),
        ("Fax Number", PHONES, False),
    ],
)
def test_a_column_of_phones_that_is_not_used_is_found(header: str, cells: list[str], is_found: bool) -> None:
    people = frame(["Customer ID", header], *(["c-1", cell] for cell in cells))
    assert unused_phone_columns(people, {0}, "US") == ([header] if is_found else [])
    assert unused_phone_columns(people, {0, 1}, "US") == []


@given(st.lists(st.from_regex(r"[1-9][0-9]{6,9}", fullmatch=True), min_size=20, max_size=60, unique=True))
def test_random_numbers_are_no_phones(numbers: list[str]) -> None:
    people = frame(["Customer ID", "RO"], *(["c-1", number] for number in numbers))
    valid = sum(number[0] not in "01" and len(number) == 10 for number in numbers)
    assert valid >= 0.8 * len(numbers) or unused_phone_columns(people, {0}, "US") == []


@pytest.mark.parametrize(
    "header",
    [
        "OK to Text",
        "OKtoText",
        "Opt In",
        "opt_in",
        "Opted-In",
        "SMS Opt In?",
        "Opt Out",
        "Opted Out",
        "SMS Consent",
        "Text Consent",
        "TCPA Consent",
        "Consent",
        "Do Not Text",
        "DNC",
        "Can Text",
        "Okay to Contact",
        "Text Permission",
        "SMS OK",
        "Unsubscribed",
        "Do Not Contact",
        "May be texted",
    ],
)
def test_a_column_of_consent_that_is_not_used_is_found(header: str) -> None:
    people = frame(["Customer ID", header], ["c-1", "Y"])
    assert unused_consent_columns(people, {0}) == [header]
    assert unused_consent_columns(people, {0, 1}) == []
    assert unused_consent_columns(frame(["Customer ID", header], ["c-1", ""]), {0}) == []


@pytest.mark.parametrize(
    "header", ["Option", "Options", "Text", "Optician", "Contact", "Email Opt In", "Adoption", "Context"]
)
def test_other_headers_say_nothing_of_consent(header: str) -> None:
    assert unused_consent_columns(frame(["Customer ID", header], ["c-1", "Y"]), {0}) == []


def test_what_a_person_should_look_at_is_said() -> None:
    people = frame(
        ["Customer ID", "Phone", "Home Phone", "Opt In", "Opt Out"],
        ["5760069", "3125550142", "3125550143", "Y", "N"],
    )
    numbers_, phones, consent = remarks_on_columns(people, 0, 1, {0, 1}, "US")
    assert numbers_ == (
        'The ids in "Customer ID" look like DMS numbers, not myKaarma ids. If they are, myKaarma refuses the texts. '
        "Use a column with myKaarma's ids, or have them looked up: "
        'lookup = { customer_key = "Customer ID" } instead of customer_uuid under [columns].'
    )
    assert isinstance(numbers_, Sentence)
    assert "look the customers up on the page List" in numbers_.on_page
    assert phones == '"Home Phone" has phone numbers and is not used. Texts go to "Phone".'
    assert consent == (
        '"Opt In" and "Opt Out" seem to say who may be texted, but the campaign does not use them. If they do, use '
        "them in `consent` or `where` under [recipients]."
    )
    assert "".join(remarks_on_columns(people, 4, None, {0, 3, 4}, "US")) == (
        '"Phone" and "Home Phone" have phone numbers and are not used. Texts go to each customer\'s preferred '
        'number. To use the list\'s phones, write phone = "Phone" under [columns].'
    )


def test_what_a_person_should_look_at_is_said_without_keys_on_pages() -> None:
    people = frame(["Customer ID", "Phone", "Opt In"], ["c-1", "3125550142", "Y"])
    words = [page_words(one) for one in remarks_on_columns(people, 0, None, {0}, "US")]
    assert [one.partition("choose ")[2] for one in words] == [
        '"Phone" as the phone under Columns.',
        "it as the column of who agreed to texts under Columns.",
    ]
