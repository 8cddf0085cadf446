"""Cells of our CSV files that a spreadsheet could take for a formula get an apostrophe in front.

A CSV file cannot say that a cell is text, and lists hold what strangers typed into web forms. A cell that begins with
`+` or `-` and can only be a number, a phone number or an id stays as it is, because scripts match by those. A cell
that looks escape_formula already gets one more apostrophe, so that `unescape_formula` gives back every value.
"""

from __future__ import annotations

import re

from batchsend.utils.wording import storable

#: With these first, Excel, LibreOffice or Google Sheets may take a cell for a formula; the wide ones in Japanese.
_STARTERS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FIRST = frozenset("'" + _STARTERS)
_SUSPECT = re.compile(f"'*[{re.escape(_STARTERS)}]")
#: Nothing in here can call a function, reach another cell's file or start a program.
_HARMLESS = re.compile(r"[+-](?:[0-9 ().-]*|[A-Za-z0-9_-]*)")


def escape_formula(cell: str) -> str:
    """`cell` as it stands in the file: with an apostrophe in front if a spreadsheet could take it for a formula."""
    # The first test spares nearly every cell the others.
    if cell[:1] in _FIRST and _SUSPECT.match(cell) and not _HARMLESS.fullmatch(cell):
        cell = f"'{cell}"
    return cell if cell.isascii() else storable(cell)


def unescape_formula(cell: str) -> str:
    """The value of a cell of the file: the way back from `escape_formula`."""
    return cell[1:] if cell.startswith("'") and _SUSPECT.match(cell) else cell
