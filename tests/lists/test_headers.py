"""Spellings of one header, and the names of columns in templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.lists.headers import ALIASES, ColumnIndex, clean, match_key, nearest, spellings, variable_name


@pytest.mark.parametrize(
    ("header", "key", "variable"),
    [
        ("First Name", "firstname", "first_name"),
        ("first_name", "firstname", "first_name"),
        ("FIRST-NAME", "firstname", "first_name"),
        ("FirstName", "firstname", "firstname"),  # looks like one word
        # BOM, no-break and zero-width spaces from exports.
        ("\ufeffFirst\u00a0Name\u200b ", "firstname", "first_name"),
        ("First–Name", "firstname", "first_name"),  # Word's dash
        ("First\nName", "firstname", "first_name"),  # Alt+Enter in Excel
        ("2nd Phone", "2ndphone", "2nd_phone"),
        ("Phone #", "phone#", "phone"),
        ("Customer's E-mail", "customer'semail", "customers_e_mail"),
        ("Straße", "strasse", "straße"),
        ("Pre\u0301nom", "prénom", "prénom"),  # as a Mac writes it
        ("__x__", "x", "x"),
        ("", "", ""),
    ],
)
def test_names_of_columns(header: str, key: str, variable: str) -> None:
    assert (match_key(header), variable_name(header)) == (key, variable)


@given(st.text(max_size=20))
def test_cleaning_does_not_change_the_key_or_the_variable(header: str) -> None:
    assert clean(clean(header)) == clean(header)
    assert match_key(clean(header)) == match_key(header)
    assert variable_name(clean(header)) == variable_name(header)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frist_name", "First Name"),  # two letters swapped
        ("firstname", "First Name"),
        ("lastnam", "LAST_NAME"),
        ("vehicle", None),  # nothing is close: no suggestion is better than a wrong one
    ],
)
def test_nearest(name: str, expected: str | None) -> None:
    assert nearest(name, ["First Name", "LAST_NAME", "Phone"]) == expected


def test_columns_are_found_by_header_and_by_variable() -> None:
    index = ColumnIndex(["First Name", "2nd Phone", "Phone 1", "Phone1", "Phone #"])
    assert index.with_header("first-name") == [0]
    assert index.with_header("2ND PHONE") == [1]
    assert index.with_header("Phone1") == [3]  # the exact spelling decides between two that match
    assert index.with_header("phone-1") == [2, 3]
    assert index.with_variable("FirstName") == [0]
    assert index.with_variable("phone_1") == [2]
    assert index.with_variable("phone") == [4]
    assert index.with_variable("fax") == ()


def test_no_two_aliases_are_spellings_of_one_header() -> None:
    for aliases in ALIASES.values():
        assert len(set(map(match_key, aliases))) == len(aliases)


def test_the_spellings_of_a_header_match_it() -> None:
    assert spellings("First-Name") == {"firstname", "first name", "first_name", "first-name"}
    assert {match_key(spelling) for spelling in spellings("1st Phone_No")} == {match_key("1st Phone_No")}
