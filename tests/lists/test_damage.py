"""Values that a spreadsheet damaged, and similar ones that are not."""

from __future__ import annotations

import pytest

from batchsend.lists.damage import is_damaged


@pytest.mark.parametrize(
    "text",
    [
        "#N/A",  # a failed lookup
        "#n/a",  # as some exports write it
        "#REF!",
        "#DIV/0!",
        "#NAME?",
        "#CALC!",  # also our text for a formula that was never calculated
        "Err:502",  # LibreOffice
        "##########",  # a column too narrow for its number, exported as shown
        "1.5551E+10",  # Excel
        "1.5551E10",  # without the exponent's sign
        "1.5551e+10",  # other programs
        "-1.5551E+10",
        "1,5551E+10",  # decimal comma
        "5E+09",  # no fraction
        "5E09",
        "1.E+10",  # number format 0.E+00
        "12E+5",  # engineering notation
    ],
)
def test_damaged(text: str) -> None:
    assert is_damaged(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12E5AB",  # an opaque id
        "12E5",  # a stock number: a spreadsheet keeps one digit before the E
        "E10",
        "5E",
        "5e" + "0" * 62,  # 64 hex digits
        "1.5551E+1000",  # too large for a spreadsheet
        "#12 Main St",  # an address
        "#1",
        "#",
        "N/A",  # typed by a person
        "NA",
        "2125550123",
        "0.5",
        "tel:+1.555E",
    ],
)
def test_sound(text: str) -> None:
    assert not is_damaged(text)
