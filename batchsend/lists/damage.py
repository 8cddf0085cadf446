"""Recognizes damaged values: failed formulas, numbers that lost digits, and characters that an export lost."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: The text for a failed formula whose error is unknown.
FORMULA_ERROR = "#ERROR!"
#: The text for a formula without a stored value. No spreadsheet has an error of this name.
UNCALCULATED = "#UNCALCULATED!"

# Excel's error values, Google Sheets' #ERROR! and LibreOffice's Err:502. A leading # alone is not damage:
# "#12 Main St" is an address.
_ERROR = re.compile(
    r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|CALC!|SPILL!|FIELD!|BLOCKED!|CONNECT!|BUSY!|UNKNOWN!"
    r"|EXTERNAL!|PYTHON!|ERROR!|GETTING_DATA)|Err:\d{3}",
    re.IGNORECASE,
)
# A fraction or a signed exponent distinguishes a number from an id. Without either, only the form that spreadsheets
# write counts as a number: one digit before the E and two after it.
_SCIENTIFIC = re.compile(
    r"[+-]?(?:\d+[.,]\d*E[+-]?\d{1,3}|\d+E[+-]\d{1,3}|\dE\d{2})",
    re.IGNORECASE,
)
_HASHES = re.compile(r"#{2,}")


def _misread(characters: str, encoding: str) -> list[str]:
    """How the UTF-8 bytes of each character look in another encoding; of bytes without a character, as in Latin-1."""
    return [
        "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in character.encode())
        for character in characters
    ]


_LATIN = "".join(map(chr, range(0xA0, 0x180)))
_OTHERS = "‘’“”–—…•€™\ufeff\ufffd"
# A German or Swedish word in capitals can end in Ä or Å before a quotation mark or a dash.
_WORD_ENDS = re.compile("[ÄÅ][‘’“”‚„–—…]")


@cache
def _misread_text() -> re.Pattern[str]:
    """Finds UTF-8 that was read in another encoding. Compiling this takes a while, and few lists need it."""
    texts = (
        *(text for text in _misread(_LATIN + _OTHERS, "cp1252") if not _WORD_ENDS.fullmatch(text)),
        *_misread(_LATIN + _OTHERS, "latin-1"),
        *_misread(_LATIN[0x20:0x60] + _OTHERS, "mac_roman"),
        "ðŸ",  # the beginning of every emoji
    )
    return re.compile("|".join(map(re.escape, texts)))


def damage(text: str) -> str | None:
    """What is wrong with `text`, a cleaned cell, in words that follow `Due holds "#N/A",`; None if it is sound.

    `1.5551E+10` used to be a phone number or an id and has lost its digits. Ids such as `12E5AB` are not damaged.
    """
    if not _is_suspect(text):
        return None
    if text == UNCALCULATED:
        return "which is a formula that was never calculated: open the file in Excel and save it"
    if _ERROR.fullmatch(text):
        return "which is the error of a formula: correct the formula, or replace it by its value"
    if _SCIENTIFIC.fullmatch(text):
        return (
            "which is a number that a spreadsheet shortened, so digits are lost: format the column as text "
            "and export it again"
        )
    if _HASHES.fullmatch(text):
        return "which stands for a value that did not fit its column: widen the column and export it again"
    if text.isascii():
        return None
    if "\ufffd" in text:
        return 'which has lost characters: export the list again as "CSV UTF-8" or .xlsx'
    if _misread_text().search(text):
        return 'which was saved in a wrong encoding: export the list again as "CSV UTF-8" or .xlsx'
    return None


def is_damaged(text: str) -> bool:
    """Whether `damage` finds something wrong."""
    return damage(text) is not None


def damaged(cells: pd.Series[str]) -> pd.Series[bool]:
    """Which of the cells are damaged."""
    return cells.isin([text for text in cells.unique() if _is_suspect(text) and damage(text)])


def _is_suspect(text: str) -> bool:
    """A quick test that rules out most cells: they begin with a letter, or are numbers without an exponent."""
    if not text.isascii():
        return True
    first = text[:1]
    if first.isalpha():
        return first in "eE"
    return first == "#" or "E" in text or "e" in text
