"""Reads a list's header and finds every problem of the list as a whole."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from batchsend.errors import Sentence
from batchsend.lists.cells import column_letter
from batchsend.lists.headers import match_key
from batchsend.lists.source import (
    EMPTY,
    MAX_CELL_LENGTH,
    MAX_COLUMNS,
    MAX_ROWS,
    ListOptions,
    Source,
    cell_too_long,
)
from batchsend.lists.spool import RowBlock, Spool
from batchsend.utils.wording import row_count

#: Rows that are read and stored at a time. More would not fit into the processor's cache.
BLOCK_ROWS = 200

#: Rows at the top of a file that are kept as they are, to find the header among them.
TOP_ROWS = 20
_SHOWN = 5
_ONLY_A_HEADER = (
    "It has only a header and no rows. Export the list again, with its rows. If an empty list is normal, "
    "allow it with the guard `empty_list`."
)
_RESULTS_START = ("row", "status", "messageUUID")
_BEFORE_LIST_COLUMNS = "message"
_AFTER_LIST_COLUMNS = "customerUUID"
LIST_SUFFIX = " (list)"


@dataclass(frozen=True)
class Header:
    """A list's header.

    `columns` maps positions in the file to names, in order. It omits blank headers, and our own columns in a results
    file. `blank` has the positions of blank headers before the last name, and `width` is the position after it.
    `cells` is the number of all its cells; `is_results`: it is a results file.
    """

    row: int
    cells: int
    width: int
    columns: dict[int, str]
    blank: tuple[int, ...] = ()
    is_results: bool = False

    @classmethod
    def of(cls, row: int, cells: Sequence[str]) -> Header:
        own = columns_of_results(cells)
        named = {i: name for i, name in enumerate(cells) if name}
        width = max(named, default=-1) + 1
        blank = tuple(i for i in range(width) if i not in named)
        return cls(row, len(cells), width, named if own is None else own, blank, own is not None)


_PHONE = re.compile(r"[\d\s().+-]+")
_PHONE_DIGITS = 10
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
# myKaarma's ids: 32 hexadecimal digits, or 43 letters and digits.
_ID = re.compile(r"[0-9a-f]{32}|(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[\w-]{43}", re.ASCII)
#: The message does not quote the row, because names and phone numbers must not end up in logs.
_NO_HEADERS = (
    "Its first row looks like a customer, not headers: it has a phone number, an e-mail address or a myKaarma id. "
    "Add a row of column names above it."
)


@dataclass(frozen=True)
class RowShape:
    """How wide the rows of a list are, and which columns without a header are left alone."""

    header: Header
    #: Cells of the widest row that is not malformed.
    width: int
    left_alone: Collection[int]

    @property
    def letters_left_alone(self) -> tuple[str, ...]:
        return tuple(column_letter(position + 1) for position in sorted(self.left_alone))

    def problem(self, cells: int, stray: int, last_used: int) -> str | None:
        """What is wrong with a row of a text file; None if nothing is.

        `cells` is their number. `stray` is the position of the row's last value without a header, -1 if none.
        `last_used` is the position of the last column that the campaign uses.
        """
        end = self.header.width
        if cells > self.width:
            return f"has {cells} cells, " + (
                f"the header has {end}" if self.width == end else f"other rows have {self.width}"
            )
        if stray >= end:
            return (
                f"has a value in column {column_letter(stray + 1)}, "
                f"but the header ends in column {column_letter(end)}"
            )
        if stray >= 0 and stray not in self.left_alone:
            return f"has a value in column {column_letter(stray + 1)}, which has no header"
        if cells <= last_used:
            return (
                f"ends in column {column_letter(cells)}, but the campaign uses "
                f'"{self.header.columns[last_used]}" in column {column_letter(last_used + 1)}'
            )
        return None


class ListProblem(NamedTuple):
    """A problem of the list as a whole. `option`: the list option that solves it, if one does."""

    sentence: str
    option: str | None = None


@dataclass
class Examination:
    """The result of reading a whole list once."""

    header: Header = field(default_factory=lambda: Header(0, 0, 0, {}))
    rows: int = 0
    hidden: list[int] = field(default_factory=list)
    problems: list[ListProblem] = field(default_factory=list)
    #: The first rows of the file, with their numbers.
    top: tuple[tuple[int, tuple[str, ...]], ...] = ()
    #: Number of cells -> rows, for the rows of a text file.
    widths: Counter[int] = field(default_factory=Counter)
    #: Position of a column without a header -> rows with a value there.
    headless: Counter[int] = field(default_factory=Counter)
    is_text: bool = False
    #: The number of the last row, and its cells.
    last_row: int = 0
    last_width: int = 0

    @property
    def shape(self) -> RowShape:
        """The shape of the rows.

        Rows that are wider than the header are not malformed if all of them are: many programs write a delimiter at
        the end of each row. A single row proves nothing. In a text file, a value without a header means that the
        row's cells are shifted, unless every row has one in the first column, as pandas writes it.
        """
        header, widths = self.header, self.widths
        width = min((width for width in widths if width >= header.width), default=header.width)
        if self.rows == 1:
            width = max(header.width, min(width, header.cells))
        if not self.is_text:
            return RowShape(header, width, self.headless)
        is_index = 0 < self.headless[0] == self.rows
        return RowShape(header, width, (0,) if is_index else ())

    @property
    def notes(self) -> list[str]:
        """Facts about the header and the columns, one phrase each."""
        notes = [f"the header is in row {self.header.row}"] if self.header.row > 1 else []
        alone = self.shape.letters_left_alone
        if alone:
            has = "column {} has no header and is" if len(alone) == 1 else "columns {} have no header and are"
            notes.append(f"{has.format(_and(_few(alone)))} left alone")
        return notes


def examine(source: Source, options: ListOptions, spool: Spool, *, rows_needed: bool) -> Examination:
    """Reads all rows of `source` and collects the problems of the list as a whole.

    Stores the rows below the header in `spool`, without blank ones. Raises `NoRoomError` if they do not fit.
    """
    rows = source.rows()
    some = [(number, tuple(cells)) for number, cells in islice(rows, TOP_ROWS)]
    top = tuple((number, cells) for number, cells in some if any(cells))
    rows = chain(((number, [*cells]) for number, cells in some), rows)
    first = next(((number, cells) for number, cells in rows if _is_header(number, cells, options)), None)
    if first is None:
        return Examination(problems=[_no_header(options)], top=top)
    found = Examination(Header.of(*first), is_text=source.short_rows_are_malformed, top=top)
    if any(map(_is_of_customer, found.header.columns.values())):
        return Examination(problems=[ListProblem(_NO_HEADERS)], top=top)
    row_problems = _examine_rows(found, rows, source.hidden, spool)
    found.problems += [*_too_many_columns(found.header), *_duplicate_headers(found.header), *row_problems]
    if rows_needed and not found.rows and not row_problems:
        found.problems.append(ListProblem(_ONLY_A_HEADER))
    if found.is_text and found.shape.width > found.header.cells:
        found.problems += _short_header(found)
    if found.hidden and options.hidden_rows is None:
        found.problems.append(ListProblem(_hidden(found.hidden), "hidden_rows"))
    return found


def _is_header(number: int, cells: Sequence[str], options: ListOptions) -> bool:
    return any(cells) and options.header_row in (None, number)


def _no_header(options: ListOptions) -> ListProblem:
    if options.header_row is None:
        return ListProblem(EMPTY)
    sentence = Sentence(
        f"Its row {options.header_row:,} is blank or missing, but header_row under [list_options] names it as the "
        "row with the headers. Correct the number, or remove header_row if the headers are in the first row.",
        f"Its row {options.header_row:,} was chosen as the row with the column names, but it is blank or missing. "
        f"Choose again.",
    )
    return ListProblem(sentence, "header_row")


def _is_of_customer(header: str) -> bool:
    """Whether this is a value and no header. Dates such as `2026-03-01` have fewer digits than phone numbers."""
    is_phone = bool(_PHONE.fullmatch(header)) and sum(map(str.isdigit, header)) >= _PHONE_DIGITS
    return is_phone or bool(_EMAIL.fullmatch(header) or _ID.fullmatch(header))


def _examine_rows(
    found: Examination, rows: Iterator[tuple[int, list[str]]], hidden: frozenset[int], spool: Spool
) -> list[ListProblem]:
    """Counts and stores the rows below the header."""
    too_long: int | None = None
    while some := list(islice(rows, BLOCK_ROWS)):
        if some[-1][0] > MAX_ROWS:
            sentence = f"It has more than {MAX_ROWS:,} rows, which is too many. Split it into several lists."
            return [ListProblem(sentence)]
        filled = [row for row in some if any(row[1])]
        if not filled:
            continue
        too_long = too_long or _first_too_long(filled)
        block = _block(found, filled, hidden)
        found.rows += len(filled)
        found.last_row, found.last_width = filled[-1][0], len(filled[-1][1])
        found.hidden += block.hidden
        spool.add(block)
    return [] if too_long is None else [ListProblem(cell_too_long(too_long))]


def _first_too_long(rows: Sequence[tuple[int, list[str]]]) -> int | None:
    """The number of the first row with a cell that is too long; None if there is none."""
    for number, cells in rows:
        # Joining cells is faster than measuring each of them.
        if len("".join(cells)) > MAX_CELL_LENGTH and max(map(len, cells)) > MAX_CELL_LENGTH:
            return number
    return None


def _block(found: Examination, rows: Sequence[tuple[int, list[str]]], hidden: frozenset[int]) -> RowBlock:
    """Fits rows to the header and counts those that do not fit exactly."""
    header = found.header
    numbers = [number for number, _ in rows]
    cells = [cells for _, cells in rows]
    widths = Counter(map(len, cells))
    if found.is_text:
        found.widths += widths
    odd: dict[int, tuple[int, int]] = {}
    if header.blank or widths.keys() != {header.width}:
        odd = dict(_odd_rows(found, rows))
        cells = [
            row if len(row) == header.width else [*row[: header.width], *[""] * (header.width - len(row))]
            for row in cells
        ]
    columns = list(zip(*cells, strict=True))
    return RowBlock(
        numbers,
        [columns[position] for position in header.columns],
        odd,
        [number for number in numbers if number in hidden] if hidden else [],
    )


def _odd_rows(
    found: Examination, rows: Sequence[tuple[int, list[str]]]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Counts the values without a header; yields the rows of `RowBlock.odd`."""
    header = found.header
    for number, cells in rows:
        places = chain(header.blank, range(header.width, len(cells)))
        strays = [position for position in places if position < len(cells) and cells[position]]
        found.headless.update(strays)
        if found.is_text and (strays or len(cells) != header.width):
            yield number, (len(cells), strays[-1] if strays else -1)


def _too_many_columns(header: Header) -> list[ListProblem]:
    if header.width <= MAX_COLUMNS:
        return []
    sentence = (
        f"Its header has {header.width:,} columns; at most {MAX_COLUMNS:,} can be read. "
        "Delete the columns that the campaign does not need."
    )
    return [ListProblem(sentence)]


def _duplicate_headers(header: Header) -> list[ListProblem]:
    alike: dict[str, list[int]] = defaultdict(list)
    for position, name in header.columns.items():
        alike[match_key(name)].append(position)
    return [
        ListProblem(
            f"{_number(len(positions))} headers mean the same column: "
            + _and([f'"{header.columns[p]}" (column {column_letter(p + 1)})' for p in positions])
            + ". Rename or delete all but one of them."
        )
        for positions in alike.values()
        if len(positions) > 1
    ]


def _short_header(found: Examination) -> list[ListProblem]:
    """The problem of a text file in which most rows have a value beyond the header."""
    header, width = found.header, found.shape.width
    if 2 * max(found.headless[position] for position in range(header.width, width)) <= found.rows:
        return []
    names = "1 name" if header.width == 1 else f"{header.width} names"
    problem = (
        f"Its header, row {header.row}, has {names}, but the rows have {width} cells, so it is unclear which name "
        f"belongs to which cell. Give every column a header; delete a title above the header, or"
    )
    quotes = "put quotation marks around cells that have the separator in them."
    sentence = Sentence(
        f"{problem} name the header's row with header_row under [list_options]; {quotes}",
        f"{problem} choose the row with the column names; {quotes}",
    )
    return [ListProblem(sentence, "header_row")]


def _hidden(rows: Sequence[int]) -> str:
    are, them = ("is", "it") if len(rows) == 1 else ("are", "them")
    shown = _and(_few([str(row) for row in rows]))
    found = (
        f"{row_count(len(rows))} {are} hidden or filtered out (row{'s' if len(rows) > 1 else ''} {shown})."
    )
    return Sentence(
        f'{found} Choose under [list_options]: hidden_rows = "skip" leaves {them} out, hidden_rows = "include" texts '
        f"{them}.",
        f"{found} Choose whether to leave {them} out.",
    )


def _few(words: Sequence[str]) -> Sequence[str]:
    """`7`, `8` and `25 more`: the first few words, and how many are omitted."""
    more = len(words) - _SHOWN
    return [*words[:_SHOWN], f"{more:,} more"] if more > 0 else words


def _and(words: Sequence[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def _number(count: int) -> str:
    return {2: "Two", 3: "Three"}.get(count, f"{count:,}")


def columns_of_results(headers: Sequence[str]) -> dict[int, str] | None:
    """Positions and names of the list's own columns in a results file's header; None for any other header."""
    if tuple(headers[: len(_RESULTS_START)]) != _RESULTS_START or _BEFORE_LIST_COLUMNS not in headers:
        return None
    start = headers.index(_BEFORE_LIST_COLUMNS) + 1
    if _AFTER_LIST_COLUMNS not in headers[start:]:
        return None
    end = headers.index(_AFTER_LIST_COLUMNS, start)
    return {position: headers[position].removesuffix(LIST_SUFFIX) for position in range(start, end)}
