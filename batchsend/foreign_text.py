"""Texts from outside, in the form in which they can be stored and shown."""

from __future__ import annotations

#: They go into a ledger and into cells of a workbook: at most so many characters.
LONGEST = 500


def storable(value: object) -> str | None:
    """The text without what neither databases nor workbooks take (half a surrogate pair, NUL); `None` for no text."""
    if not isinstance(value, str):
        return None
    beginning = value[: 2 * LONGEST]
    # Nearly every text is as it should be, and there are several in each answer.
    if beginning.isprintable():
        printable = beginning
    else:
        printable = "".join(char if char.isprintable() else " " for char in beginning)
    return " ".join(printable.split())[:LONGEST] or None
