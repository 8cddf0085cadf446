"""Escapes cells of our CSV files that a spreadsheet could run as a formula, by an apostrophe in front.

CSV cannot mark a cell as text, and lists contain text that strangers typed into web forms. A cell that begins with
`+` or `-` and can only be a number, a phone number or an id is not changed, because scripts match on those. A cell
that already looks escaped gets one more apostrophe, so that `unescape_formula` restores every value.
"""

from __future__ import annotations

import re

from batchsend.utils.wording import storable

#: Excel, LibreOffice or Google Sheets may run a cell that begins with one of these; the wide ones matter in Japanese.
_STARTERS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FIRST = frozenset("'" + _STARTERS)
_SUSPECT = re.compile(f"'*[{re.escape(_STARTERS)}]")
#: Text that cannot call a function, refer to another file or start a program.
_HARMLESS = re.compile(r"[+-](?:[0-9 ().-]*|[A-Za-z0-9_-]*)")


def escape_formula(cell: str) -> str:
    """`cell` as written to the file: with an apostrophe in front if a spreadsheet could run it as a formula."""
    # The first test is quick and rules out nearly every cell.
    if cell[:1] in _FIRST and _SUSPECT.match(cell) and not _HARMLESS.fullmatch(cell):
        cell = f"'{cell}"
    return cell if cell.isascii() else storable(cell)


def unescape_formula(cell: str) -> str:
    """The value of a cell read from the file; reverses `escape_formula`."""
    return cell[1:] if cell.startswith("'") and _SUSPECT.match(cell) else cell
