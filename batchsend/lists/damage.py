"""Values that a spreadsheet damaged: failed formulas and numbers that lost digits."""

from __future__ import annotations

import re

# Excel's error values, Google Sheets' #ERROR!, LibreOffice's Err:502, and the hashes that a column too narrow for its
# number shows and that some exports write out. A leading # alone is no sign: "#12 Main St" is an address.
_ERROR = re.compile(
    r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|CALC!|SPILL!|FIELD!|BLOCKED!|CONNECT!|BUSY!|UNKNOWN!"
    r"|EXTERNAL!|PYTHON!|ERROR!|GETTING_DATA)|Err:\d{3}|#{2,}",
    re.IGNORECASE,
)
# A fraction or a signed exponent tells a number from an id; with neither, only what a spreadsheet would write is
# taken for one: one digit before the E and two behind it.
_SCIENTIFIC = re.compile(
    r"[+-]?(?:\d+[.,]\d*E[+-]?\d{1,3}|\d+E[+-]\d{1,3}|\dE\d{2})",
    re.IGNORECASE,
)


def is_damaged(text: str) -> bool:
    """Whether `text`, a cleaned cell, is an error value or a number in scientific notation.

    `1.5551E+10` was once a phone number or an id, and its digits are gone. Ids such as `12E5AB` are not damaged.
    """
    first = text[:1]
    # Most cells begin with a letter, and of those only "Err:502" is damage.
    if not first or (first.isalpha() and first not in "eE"):
        return False
    return _ERROR.fullmatch(text) is not None or _SCIENTIFIC.fullmatch(text) is not None
