"""The columns of the results, one line each, and the rows below them.

The sheet `Results` and the CSV are derived from `COLUMNS` and, where customers replied, `REPLY_COLUMNS`. The tests
compare `docs/results.md` with them. The list's own columns are between the leading and the folded ones, where
`lists.header_row` finds them again when results are used as a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Protocol, get_type_hints
from zoneinfo import ZoneInfo

from batchsend.lists.header_row import LIST_SUFFIX

Value = str | int | None


class ResultRow(NamedTuple):
    """One row of the list with all that is known about it.

    `row` is numbered as in the spreadsheet; `codes` and `descriptions` are joined by `advice.JOINED_BY`; `cells` are
    the list's own, in the order of its headers, `""` if blank; `sent_at` looks like `2026-11-22T10:00:00.123Z`,
    `sent_at_local` like `2026-11-22 04:00:00`; `latency_ms` is in milliseconds; `run` is the run that tried the row.
    `replied_at` is when the customer first replied (UTC). Fields with the name of a column of the ledger's `messages`
    are read from it.
    """

    row: int
    status: str
    message_uuid: str | None
    codes: str
    descriptions: str
    phone: str | None
    body: str | None
    cells: Sequence[str]
    customer_uuid: str | None
    segments: int | None
    encoding: str | None
    api_status: str | None
    http_status: int | None
    request_uuid: str | None
    warning_codes: str | None
    attempts: int
    sent_at: str | None
    latency_ms: int | None
    sent_at_local: str | None
    run: int | None
    replied_at: str | None = None
    reply: str | None = None


class ColumnPlace(Enum):
    """Where a column is: before the list's own columns, or behind them and folded (`ANSWER`: myKaarma's answer).

    `REPLY` columns are last, and only where customers replied.
    """

    LEADING = "leading"
    FOLDED = "folded"
    ANSWER = "answer"
    REPLY = "reply"


class Column(NamedTuple):
    """A column: its header, width in characters, the field or property of `ResultRow` it shows, and its place.

    `docs/results.md` explains it.
    """

    header: str
    width: int
    field: str
    place: ColumnPlace


_LEADING, _FOLDED, _ANSWER, _REPLY = ColumnPlace
#: In the order of the sheet; `ANSWER` columns are next to each other.
COLUMNS: tuple[Column, ...] = (
    Column("row", 7, "row", _LEADING),
    Column("status", 13, "status", _LEADING),
    Column("messageUUID", 16, "message_uuid", _LEADING),
    Column("errorCodes", 28, "codes", _LEADING),
    Column("errorDescriptions", 40, "descriptions", _LEADING),
    Column("phone", 16, "phone", _LEADING),
    Column("message", 70, "body", _LEADING),
    Column("customerUUID", 16, "customer_uuid", _FOLDED),
    Column("segments", 12, "segments", _FOLDED),
    Column("encoding", 12, "encoding", _FOLDED),
    Column("apiStatus", 13, "api_status", _ANSWER),
    Column("httpStatus", 14, "http_status", _ANSWER),
    Column("requestUUID", 16, "request_uuid", _ANSWER),
    Column("warningCodes", 20, "warning_codes", _ANSWER),
    Column("attempts", 12, "attempts", _FOLDED),
    Column("sentAtUTC", 26, "sent_at", _FOLDED),
    Column("sentAt", 20, "sent_at_local", _FOLDED),
    Column("latencyMs", 13, "latency_ms", _FOLDED),
    Column("run", 12, "run", _FOLDED),
)
REPLY_COLUMNS = (Column("repliedAtUTC", 26, "replied_at", _REPLY), Column("reply", 50, "reply", _REPLY))
_types = get_type_hints(ResultRow)
NUMBER_HEADERS = tuple(column.header for column in COLUMNS if _types[column.field] in (int, int | None))
LEADING_COLUMNS = tuple(column for column in COLUMNS if column.place is ColumnPlace.LEADING)
FOLDED_COLUMNS = tuple(column for column in COLUMNS if column.place is not ColumnPlace.LEADING)
_leading_values, _folded_values = (
    attrgetter(*(column.field for column in part)) for part in (LEADING_COLUMNS, FOLDED_COLUMNS)
)
ANSWER_COLUMNS = tuple(column for column in COLUMNS if column.place is ColumnPlace.ANSWER)


class ResultsSource(Protocol):
    """Where the results come from: a run of a ledger, or a preview."""

    @property
    def headers(self) -> Sequence[str]:
        """The list's own headers."""

    @property
    def summary(self) -> Sequence[tuple[str, Value]]:
        """The lines of the `Summary` sheet: label and value; a line without a value is a heading."""

    @property
    def row_count(self) -> int:
        """How many rows `rows` gives."""

    @property
    def replied(self) -> bool:
        """Whether customers replied, so that the results have `REPLY_COLUMNS`."""

    def rows(self) -> Iterator[ResultRow]:
        """All rows in the list's order; may be called more than once."""

    def problems(self) -> Iterator[ResultRow]:
        """The `failed`, `undelivered`, `unconfirmed` and `invalid` rows; may be called more than once."""


def column(header: str) -> Column:
    """The column of `COLUMNS` with this header."""
    return next(one for one in COLUMNS if one.header == header)


def our_columns(*, replied: bool = False) -> tuple[Column, ...]:
    """All columns but the list's own."""
    return (*COLUMNS, *REPLY_COLUMNS) if replied else COLUMNS


def column_headers(list_headers: Iterable[str], *, replied: bool = False) -> list[str]:
    """The header row of the results: our columns around the list's own, every name once."""
    ours = [one.header for one in our_columns(replied=replied)]
    own = distinct_headers(ours, list_headers)
    return [*ours[: len(LEADING_COLUMNS)], *own, *ours[len(LEADING_COLUMNS) :]]


def distinct_headers(ours: Iterable[str], list_headers: Iterable[str]) -> list[str]:
    """`list_headers`, with `LIST_SUFFIX` added until each differs, in any letter case, from `ours` and the others."""
    taken = {header.casefold() for header in ours}
    headers = []
    for header in list_headers:
        name = header
        while name.casefold() in taken:
            name += LIST_SUFFIX
        taken.add(name.casefold())
        headers.append(name)
    return headers


def values(row: ResultRow, width: int, *, replied: bool = False) -> list[Value]:
    """The cells of one row, one for each of `column_headers`; `width` is the number of the list's own headers."""
    own = [*_leading_values(row), *list_cells(row, width), *_folded_values(row)]
    return [*own, row.replied_at, row.reply] if replied else own


def list_cells(row: ResultRow, width: int) -> Sequence[str]:
    """Exactly `width` cells of the list: a row that is too long or too short must not shift the columns behind it."""
    cells = row.cells
    if len(cells) == width:
        return cells
    return [*cells[:width], *[""] * (width - len(cells))]


def local_time(utc: str | None, zone: ZoneInfo) -> str | None:
    """`2026-11-22T10:00:00.123Z` by the clock in `zone`: `2026-11-22 04:00:00`."""
    return _local_second(utc[:19], zone) if utc else None


@lru_cache(maxsize=4096)
def _local_second(utc_second: str, zone: ZoneInfo) -> str:
    moment = datetime.fromisoformat(f"{utc_second}+00:00").astimezone(zone)
    return moment.replace(tzinfo=None).isoformat(sep=" ")
