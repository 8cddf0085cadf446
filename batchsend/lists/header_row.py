"""Reads a list's header and finds every problem of the list as a whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchsend.lists.cells import column_letter
from batchsend.lists.headers import match_key
from batchsend.lists.source import EMPTY, MAX_CELL_LENGTH, MAX_COLUMNS, MAX_ROWS, Source, cell_too_long
from batchsend.lists.spool import Spool
from batchsend.utils.wording import row_count

_SHOWN_ROWS = 5
_RESULTS_START = ("row", "status", "messageUUID")
_BEFORE_LIST_COLUMNS = "message"
_AFTER_LIST_COLUMNS = "customerUUID"
LIST_SUFFIX = " (list)"


@dataclass(frozen=True)
class Header:
    """A list's header.

    `columns` maps positions in the file to names, in order. It omits blank headers, and our own columns in a results
    file.
    """

    row: int
    width: int
    columns: dict[int, str]

    @classmethod
    def of(cls, row: int, cells: Sequence[str]) -> Header:
        own = columns_of_results(cells)
        columns = own if own is not None else {i: name for i, name in enumerate(cells) if name}
        return cls(row, len(cells), columns)


_PHONE = re.compile(r"[\d\s().+-]+")
_PHONE_DIGITS = 10
#: The message does not quote the row, because names and phone numbers must not end up in logs.
_NO_HEADERS = (
    "Its first row looks like a customer, not headers: it has a phone number. "
    "Add a row of column names above it."
)


@dataclass
class _RowSample:
    """The number of some rows, and the first few of them."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, row: int) -> None:
        self.count += 1
        if len(self.first) < _SHOWN_ROWS:
            self.first.append(row)


@dataclass
class Examination:
    """The result of reading a whole list once."""

    header: Header = field(default_factory=lambda: Header(0, 0, {}))
    rows: int = 0
    hidden: _RowSample = field(default_factory=_RowSample)
    problems: list[str] = field(default_factory=list)


def examine(
    source: Source, hidden_rows: Literal["skip", "include"] | None, spool: Spool, *, rows_needed: bool
) -> Examination:
    """Reads all rows of `source` and collects the problems of the list as a whole.

    Stores the rows below the header in `spool`, without blank ones. Raises `NoRoomError` if they do not fit.
    """
    rows = source.rows()
    first = next(((number, cells) for number, cells in rows if any(cells)), None)
    if first is None:
        return Examination(problems=[EMPTY])
    found = Examination(Header.of(*first))
    if any(map(_is_phone, found.header.columns.values())):
        return Examination(problems=[_NO_HEADERS])
    blank = [position for position, name in enumerate(first[1]) if not name]
    row_problems = _examine_rows(found, rows, source.hidden, blank, spool)
    found.problems += [*_too_many_columns(found.header), *_duplicate_headers(found.header), *row_problems]
    if rows_needed and not found.rows and not row_problems:
        found.problems.append("It has only a header and no rows. Export the list again, with its rows.")
    if found.hidden.count and hidden_rows is None:
        found.problems.append(_hidden(found.hidden))
    return found


def _is_phone(header: str) -> bool:
    """Whether this is a phone number. Dates such as `2026-03-01` have fewer digits."""
    return bool(_PHONE.fullmatch(header)) and sum(map(str.isdigit, header)) >= _PHONE_DIGITS


def _examine_rows(
    found: Examination,
    rows: Iterator[tuple[int, list[str]]],
    hidden: frozenset[int],
    blank: Sequence[int],
    spool: Spool,
) -> list[str]:
    """Counts and stores the rows below the header. `blank` has the positions of blank headers."""
    headless: dict[int, _RowSample] = defaultdict(_RowSample)
    too_long: int | None = None
    for number, cells in rows:
        if number > MAX_ROWS:
            return [f"It has more than {MAX_ROWS:,} rows, which is too many. Split it into several lists."]
        if not any(cells):
            continue
        found.rows += 1
        is_hidden = number in hidden
        if is_hidden:
            found.hidden.add(number)
        for position in blank:
            if position < len(cells) and cells[position]:
                headless[position].add(number)
        if too_long is None and max(map(len, cells)) > MAX_CELL_LENGTH:
            too_long = number
        spool.add(number, cells, is_hidden=is_hidden)
    spool.finish()
    problems = [_missing_header(position, where) for position, where in sorted(headless.items())]
    return problems if too_long is None else [*problems, cell_too_long(too_long)]


def _too_many_columns(header: Header) -> list[str]:
    if header.width <= MAX_COLUMNS:
        return []
    sentence = (
        f"Its header has {header.width:,} columns; at most {MAX_COLUMNS:,} can be read. "
        "Delete the columns that the campaign does not need."
    )
    return [sentence]


def _duplicate_headers(header: Header) -> list[str]:
    alike: dict[str, list[int]] = defaultdict(list)
    for position, name in header.columns.items():
        alike[match_key(name)].append(position)
    return [
        f"{_number(len(positions))} headers mean the same column: "
        + _and([f'"{header.columns[p]}" (column {column_letter(p + 1)})' for p in positions])
        + ". Rename or delete all but one of them."
        for positions in alike.values()
        if len(positions) > 1
    ]


def _missing_header(position: int, rows: _RowSample) -> str:
    return (
        f"Column {column_letter(position + 1)} has no header but has values in {_rows(rows)}. "
        "Give it a header, or delete the column."
    )


def _hidden(rows: _RowSample) -> str:
    are, them = ("is", "it") if rows.count == 1 else ("are", "them")
    return (
        f"{row_count(rows.count)} {are} hidden or filtered out ({_rows(rows)}). Choose under [list_options]: "
        f'hidden_rows = "skip" leaves {them} out, hidden_rows = "include" texts {them}.'
    )


def _rows(rows: _RowSample) -> str:
    """`row 7`, `rows 7, 8 and 9`, `rows 7, 8, 9, 10, 11 and 25 more`."""
    shown = [str(row) for row in rows.first]
    if rows.count == 1:
        return f"row {shown[0]}"
    more = rows.count - len(shown)
    return f"rows {_and([*shown, f'{more:,} more'] if more else shown)}"


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


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
