"""How a spreadsheet calls its columns."""

from __future__ import annotations


def column_letter(number: int) -> str:
    """`A` for 1, `XFD` for 16384."""
    # openpyxl takes long to load, and most lists never need a letter.
    from openpyxl.utils import get_column_letter

    return get_column_letter(number)
