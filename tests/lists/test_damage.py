"""Values that a spreadsheet damaged, and similar ones that are not."""

from __future__ import annotations

import pandas as pd
import pytest

from batchsend.lists.damage import UNCALCULATED, damage, damaged

AS_TEXT = "format the column as text and export it again"


@pytest.mark.parametrize(
    "text",
    [
        "#N/A",  # a failed lookup
        "#n/a",  # as some exports write it
        "#REF!",
        "#DIV/0!",
        "#NAME?",
        "#CALC!",
        UNCALCULATED,
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
        "JosÃ©",  # UTF-8 read as Windows-1252
        "PEÃ‘A",
        "KovaÄ\x8d",  # a byte that Windows-1252 does not define
        "O’Brien".encode().decode("latin-1"),
        "Jos√©",  # UTF-8 read as Mac Roman
        "Oâ€™Brien",
        "ðŸ˜€",
        "Jos\ufffd",  # a byte that is not UTF-8
    ],
)
def test_damaged(text: str) -> None:
    assert damage(text)


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
        "José",
        "JOSÉ’S",  # these two characters have the bytes of one UTF-8 character
        "“SMÅ”",
        "João",
        "IRMÃ Alice",
        "中文",
        "😀",
        "5 € – “x”",
    ],
)
def test_sound(text: str) -> None:
    assert not damage(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("#REF!", "which is the error of a formula: correct the formula, or replace it by its value"),
        ("1.5E+10", f"which is a number that a spreadsheet shortened, so digits are lost: {AS_TEXT}"),
        (UNCALCULATED, "which is a formula that was never calculated: open the file in Excel and save it"),
        ("###", "which stands for a value that did not fit its column: widen the column and export it again"),
        ("Jos\ufffd", 'which has lost characters: export the list again as "CSV UTF-8" or .xlsx'),
        ("JosÃ©", 'which was saved in a wrong encoding: export the list again as "CSV UTF-8" or .xlsx'),
    ],
)
def test_the_damage_is_named_with_its_remedy(text: str, what: str) -> None:
    assert damage(text) == what


def test_the_damaged_cells_of_a_column() -> None:
    cells = pd.Series(["#N/A", "Ann", "", "JosÃ©", "#N/A", "5550123"], index=[2, 3, 4, 6, 7, 8], dtype=object)
    assert damaged(cells).to_dict() == {2: True, 3: False, 4: False, 6: True, 7: True, 8: False}
