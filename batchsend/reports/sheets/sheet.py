"""What a sheet of a workbook has, whichever library writes it, and what a cell can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from batchsend.utils.wording import storable

#: Excel's limits; a cell is counted in UTF-16 code units.
MAX_SHEET_ROWS = 1_048_576
MAX_CELL_LENGTH = 32_767
CUT_MARK = " [... cut: an Excel cell ends here]"

#: A cell: a text stays a text, however much it looks like a formula, a link or a number.
Value = str | int | None


@dataclass(frozen=True)
class Style:
    """How a cell looks. `size` is in points, colors are `#RRGGBB`, `underlined` draws a thin line below the cell."""

    bold: bool = False
    size: int | None = None
    color: str | None = None
    fill: str | None = None
    underlined: bool = False
    left: bool = False
    #: `top` or `bottom`
    vertical: str | None = None
    wraps: bool = False
    number_format: str | None = None


HEADING = Style(bold=True, size=12, underlined=True, vertical="bottom")


@dataclass(frozen=True)
class Sheet:
    """One sheet: a header, the rows below it, and their looks.

    Columns are counted from 0. Rows are, too, so the header is row 0.
    """

    name: str
    headers: Sequence[str]
    #: Each as wide as the headers.
    rows: Iterator[Sequence[Value]]
    #: How many rows to expect, where rows have heights. All rows are written, however many.
    row_count: int = 0
    header_style: Style = field(default_factory=lambda: Style(bold=True))
    #: In characters; without it, columns have the usual width.
    column_widths: Sequence[int] = ()
    column_styles: Mapping[int, Style] = field(default_factory=dict)
    #: Rows with only a heading, in the first column, which may have no style but `vertical`. Not the last row.
    heading_rows: Collection[int] = ()
    #: In points. That of the last row is left to the spreadsheet program.
    row_heights: Mapping[int, int] = field(default_factory=dict)
    header_frozen: bool = False
    filtered: bool = False
    #: First and last column of each group that is folded away. A later group lies within an earlier one.
    folded: Sequence[tuple[int, int]] = ()
    #: Columns in which Excel does not mark a text of digits with a green corner, as "number stored as text".
    digits_as_text: Sequence[int] = ()
    gridlines: bool = True
    tab_color: str | None = None
    #: Prints in landscape, one page wide, and repeats a frozen header.
    fits_paper: bool = False


def cell_text(text: str) -> str:
    """`text` as a cell can hold it: half characters become U+FFFD; a long text is cut and marked."""
    if text.isascii() and len(text) <= MAX_CELL_LENGTH:
        return text
    text = storable(text)
    # A code unit is two bytes, and a character has at most two of them.
    if 2 * len(text) > MAX_CELL_LENGTH:
        units = text.encode("utf-16-le")
        if len(units) > 2 * MAX_CELL_LENGTH:
            kept = units[: 2 * (MAX_CELL_LENGTH - len(CUT_MARK))]
            return kept.decode("utf-16-le", errors="ignore") + CUT_MARK
    return text
