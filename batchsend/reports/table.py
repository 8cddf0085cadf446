"""The results as a table: one row for each row of the list, and which columns it has in which order.

Both forms of the results, the workbook and the CSV, are this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

#: Our columns before the list's own.
LEADING_COLUMNS = ("row", "status", "messageUUID", "errorCodes", "errorDescriptions", "phone", "message")
#: Our columns after the list's own; folded away in the workbook.
TRAILING_COLUMNS = (
    "customerUUID",
    "segments",
    "encoding",
    "apiStatus",
    "httpStatus",
    "requestUUID",
    "warningCodes",
    "attempts",
    "sentAtUTC",
    "sentAt",
    "latencyMs",
    "run",
)
RESULT_COLUMNS = LEADING_COLUMNS + TRAILING_COLUMNS

#: Stands behind a list's header that would otherwise be one of ours.
LIST_SUFFIX = " (list)"


class ResultRow(NamedTuple):
    """One row of the list with all that is known about it.

    `row` is numbered as the spreadsheet shows it; `codes` and `descriptions` are joined by `advice.JOINED_BY`;
    `cells` are the list's own, in the order of its headers, `""` where blank; `sent_at_utc` looks like
    `2026-11-22T10:00:00.123Z`; `latency_ms` is in milliseconds.
    """

    row: int
    status: str
    message_uuid: str | None
    codes: str
    descriptions: str
    phone: str | None
    message: str | None
    cells: Sequence[str]
    customer_uuid: str | None
    segments: int | None
    encoding: str | None
    api_status: str | None
    http_status: int | None
    request_uuid: str | None
    warning_codes: str | None
    attempts: int
    sent_at_utc: str | None
    latency_ms: int | None
    run: int | None


class ResultsSource(Protocol):
    """Where the results come from: a ledger's run, or a preview."""

    @property
    def headers(self) -> Sequence[str]:
        """The list's own headers."""

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's zone, for the `sentAt` column."""

    @property
    def summary(self) -> Sequence[tuple[str, str | int | None]]:
        """The lines of the `Summary` sheet: label and value; a line without a value is a heading."""

    @property
    def row_count(self) -> int:
        """How many rows `rows` gives."""

    def rows(self) -> Iterator[ResultRow]:
        """All rows in the list's order; may be called more than once."""

    def problems(self) -> Iterator[ResultRow]:
        """The `failed`, `undelivered`, `unconfirmed` and `invalid` rows; may be called more than once."""


def column_headers(list_headers: Iterable[str]) -> list[str]:
    """The header row of the results: our columns around the list's own, every name once.

    A header of the list that is one of ours, in whatever case, gets `LIST_SUFFIX` behind it.
    """
    return [*LEADING_COLUMNS, *unlike(RESULT_COLUMNS, list_headers), *TRAILING_COLUMNS]


def unlike(ours: Iterable[str], list_headers: Iterable[str]) -> list[str]:
    """`list_headers`, each with as many `LIST_SUFFIX` behind it as it takes to be unlike all others and `ours`."""
    taken = {name.casefold() for name in ours}
    headers = []
    for header in list_headers:
        name = header
        while name.casefold() in taken:
            name += LIST_SUFFIX
        taken.add(name.casefold())
        headers.append(name)
    return headers


def values(result: ResultRow, zone: ZoneInfo, width: int) -> list[str | int | None]:
    """The cells of one row, one for each of `column_headers`; `width` is the number of the list's own headers."""
    # The fields of a `ResultRow` are in the order of the columns.
    fields: tuple[Any, ...] = result
    return [
        *fields[: len(LEADING_COLUMNS)],
        *own_cells(result, width),
        *fields[len(LEADING_COLUMNS) + 1 : -2],
        local_time(result.sent_at_utc, zone) if result.sent_at_utc else None,
        result.latency_ms,
        result.run,
    ]


def own_cells(result: ResultRow, width: int) -> Sequence[str]:
    """Exactly `width` cells: a row that is too long or too short must not shift our columns behind it."""
    cells = result.cells
    if len(cells) == width:
        return cells
    return [*cells[:width], *[""] * (width - len(cells))]


def local_time(utc: str, zone: ZoneInfo) -> str:
    """`2026-11-22T10:00:00.123Z` as the clock on the wall showed it in `zone`: `2026-11-22 04:00:00`."""
    return _local_second(utc[:19], zone)


@lru_cache(maxsize=4096)
def _local_second(utc_second: str, zone: ZoneInfo) -> str:
    moment = datetime.fromisoformat(f"{utc_second}+00:00").astimezone(zone)
    return moment.replace(tzinfo=None).isoformat(sep=" ")
