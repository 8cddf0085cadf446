"""Recognizes values that a spreadsheet damaged: failed formulas and numbers that lost digits."""

from __future__ import annotations

import re

#: The text for a failed formula whose error is unknown.
FORMULA_ERROR = "#ERROR!"

# Excel's error values, Google Sheets' #ERROR!, LibreOffice's Err:502, and the hashes of a column too narrow for its
# number, which some exports write out. A leading # alone is not damage: "#12 Main St" is an address.
_ERROR = re.compile(
    r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|CALC!|SPILL!|FIELD!|BLOCKED!|CONNECT!|BUSY!|UNKNOWN!"
    r"|EXTERNAL!|PYTHON!|ERROR!|GETTING_DATA)|Err:\d{3}|#{2,}",
    re.IGNORECASE,
)
# A fraction or a signed exponent distinguishes a number from an id. Without either, only the form that spreadsheets
# write counts as a number: one digit before the E and two after it.
_SCIENTIFIC = re.compile(
    r"[+-]?(?:\d+[.,]\d*E[+-]?\d{1,3}|\d+E[+-]\d{1,3}|\dE\d{2})",
    re.IGNORECASE,
)


def is_damaged(text: str) -> bool:
    """Whether `text`, a cleaned cell, is an error value or a number in scientific notation.

    `1.5551E+10` used to be a phone number or an id and has lost its digits. Ids such as `12E5AB` are not damaged.
    """
    first = text[:1]
    # Most cells begin with a letter; of those only "Err:502" is damage.
    if not first or (first.isalpha() and first not in "eE"):
        return False
    return _ERROR.fullmatch(text) is not None or _SCIENTIFIC.fullmatch(text) is not None
