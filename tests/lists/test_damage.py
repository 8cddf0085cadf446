"""Which texts are values that a spreadsheet damaged."""

from __future__ import annotations

import pytest

from batchsend.lists.damage import is_damaged


@pytest.mark.parametrize(
    "text",
    [
        "#N/A",  # a lookup that found nothing
        "#n/a",  # some exports write it in lower case
        "#REF!",
        "#DIV/0!",
        "#NAME?",
        "#CALC!",  # also what we give for a formula that was never calculated
        "Err:502",  # LibreOffice
        "##########",  # a column too narrow for its number, saved as shown
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
        "1.5551E+1000",  # no spreadsheet's number is as large
        "#12 Main St",  # an address
        "#1",
        "#",
        "N/A",  # what a person typed
        "NA",
        "2125550123",
        "0.5",
        "tel:+1.555E",
    ],
)
def test_sound(text: str) -> None:
    assert not is_damaged(text)
