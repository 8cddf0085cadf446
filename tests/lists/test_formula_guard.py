"""Cells of our CSV files are escaped so that a spreadsheet runs none of them, and can be unescaped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.lists.formula_guard import escape_formula, unescape_formula


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        # A spreadsheet could run these: escaped with an apostrophe.
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+HYPERLINK(A1)", "'+HYPERLINK(A1)"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("\t=1+1", "'\t=1+1"),
        ("\r=1+1", "'\r=1+1"),
        ("＝1+1", "'＝1+1"),
        # Phones, numbers and ids that begin with a hyphen are safe, and scripts match on them.
        ("+13125550142", "+13125550142"),
        ("+1 (312) 555-0142", "+1 (312) 555-0142"),
        ("-17.50", "-17.50"),
        ("-l2eDoAmUjXl9hL4_MrP", "-l2eDoAmUjXl9hL4_MrP"),
        # An apostrophe of the list must not be taken for ours when unescaped.
        ("'+13125550142", "''+13125550142"),
        ("O'Brien", "O'Brien"),
        ("'quoted'", "'quoted'"),
    ],
)
def test_cells_that_a_spreadsheet_could_run_are_escaped(value: str, escaped: str) -> None:
    assert escape_formula(value) == escaped
    assert unescape_formula(escaped) == value


@given(st.text(alphabet=st.one_of(st.sampled_from("'=+-@\t\r\n(a1"), st.characters(codec="utf-8"))))
def test_every_value_can_be_unescaped(value: str) -> None:
    assert unescape_formula(escape_formula(value)) == value
