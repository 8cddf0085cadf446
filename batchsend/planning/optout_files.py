"""Reads files of people who must not be texted: suppression files, and opt-outs to import into the ledger."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchsend.errors import ListError
from batchsend.ledger.optouts import OptOutRequest
from batchsend.lists.customer_list import Chunk, CustomerList, ListOptions, open_list
from batchsend.lists.formula_guard import unescape_formula
from batchsend.lists.headers import ALIASES, in_quotes, match_key
from batchsend.messages.phones import all_phones
from batchsend.planning.list_checks import (
    is_customer_id,
    rows_that_repeat_the_header,
    rows_with_a_total,
    unused_phone_columns,
)
from batchsend.utils.wording import row_count

if TYPE_CHECKING:
    import pandas as pd

_CUSTOMER_HEADERS = tuple(map(match_key, ALIASES["customer_uuid"]))
_PHONE_HEADERS = tuple(map(match_key, ALIASES["phone"]))
#: Words for a missing phone, or one digit again and again.
_no_phone = re.compile(
    r"(?:n/?a|none|no|no phone|null|unknown)?|[^\w#]*(?:(\d)(?:[^\w#]|\1)*)?", re.IGNORECASE
)
_REASON_HEADER = match_key("reason")
#: Row numbers that a sentence names before it says "...".
_ROWS_NAMED = 5


@dataclass(frozen=True, slots=True)
class OptOutRow:
    """The person in one row of a file: the customer UUID ("" if none) and the phones (E.164)."""

    row: int
    customer_uuid: str
    phones: Sequence[str]
    reason: str
    #: Whether the row also has a customer id or a phone that is not valid.
    has_invalid: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the row names no customer and no phone."""
        return not self.customer_uuid and not self.phones


class _Columns(NamedTuple):
    """The headers of the columns that are read, and of those that could have had the customer's id."""

    customer: str | None
    phones: Sequence[str]
    reason: str | None
    other_ids: Sequence[str]

    def __str__(self) -> str:
        return " and ".join((*filter(None, [self.customer]), *self.phones))


@dataclass(frozen=True)
class OptOutFile:
    """The people in a file. `lost`: why rows name nobody although they should -> their numbers.

    `remarks`: sentences about columns that were not used.
    """

    rows: Sequence[OptOutRow]
    lost: Mapping[str, Sequence[int]]
    remarks: Sequence[str]


def read_opt_outs(path: Path, region: str) -> OptOutFile:
    """Reads a list in any format with a column for the customer or the phone.

    Raises `ListError`, also for a file that could lose an opt-out. Rows whose cells for both are blank are returned:
    they have no one to skip.
    """
    found = read_usable_opt_outs(path, region)
    problems = [_in_a_sentence(reason, rows) for reason, rows in found.lost.items()]
    if problems:
        raise ListError(path, problems)
    return found


def read_usable_opt_outs(path: Path, region: str) -> OptOutFile:
    """Reads such a list as far as it can be read. Raises `ListError` for a file that has no usable row."""
    people = _open(path)
    if people.columns_left_alone:
        raise ListError(
            path,
            f"Column {people.columns_left_alone[0]} has values but no header, and could name people who opted out. "
            "Give it a header, or delete it.",
        )
    columns = _find_columns(people)
    rows: list[OptOutRow] = []
    lost: defaultdict[str, list[int]] = defaultdict(list)
    unread: Mapping[str, str] | None = None
    for chunk in people.chunks(used=()):
        if unread is None:
            unread = _unread_phones(chunk.frame, columns, region)
        for row, problem in chunk.malformed.items():
            lost[_MALFORMED.format(problem=problem)].append(row)
        for found in _read(chunk, columns, region):
            reason = _why_lost(found, chunk.frame, unread)
            if reason is None:
                rows.append(found)
            else:
                lost[reason].append(found.row)
    if not lost and rows and all(row.is_empty for row in rows):
        raise ListError(
            path,
            f"It has {row_count(len(rows))}, but no customer id or phone number in {columns}. "
            "Export the file again, with the people who opted out.",
        )
    return OptOutFile(rows, lost, tuple(_remarks(columns, unread or {})))


#: Why a row names no one, as the end of a sentence that begins with its number.
_MALFORMED = (
    "{problem}, so it is unclear who it names. Correct it (a cell with a comma in it needs quotation marks), or "
    "export the file again."
)
_INVALID = (
    "has no valid customer id or phone number, so the person who opted out there could still be texted. Correct or "
    "delete this row."
)


def _why_lost(row: OptOutRow, frame: pd.DataFrame, unread: Mapping[str, str]) -> str | None:
    """Why the person in this row could still be texted; `None` if the row names a person or is blank."""
    if not row.is_empty:
        return None
    if filled := [header for header in unread if frame.at[row.row, header]]:
        return (
            f"has a phone number only in {in_quotes(filled)}, whose header is not known as a phone. Rename that "
            f"column to {unread[filled[0]]}."
        )
    return _INVALID if row.has_invalid else None


def _unread_phones(frame: pd.DataFrame, columns: _Columns, region: str) -> dict[str, str]:
    """The headers of columns with phones that are not read -> a header that would be read and is free."""
    read = {columns.customer, columns.reason, *columns.phones}
    used = [position for position, header in enumerate(frame.columns) if header in read]
    taken = {match_key(header) for header in columns.phones}
    names = (
        name for name in chain(["Phone"], map("Phone {}".format, count(2))) if match_key(name) not in taken
    )
    return dict(zip(unused_phone_columns(frame, used, region), names, strict=False))


def _remarks(columns: _Columns, unread: Mapping[str, str]) -> Iterator[str]:
    if unread:
        has = "has phone numbers and was" if len(unread) == 1 else "have phone numbers and were"
        these = "this column" if len(unread) == 1 else "these columns"
        names = " and ".join(unread.values())
        yield f"{in_quotes(unread)} {has} not used; to skip these numbers too, rename {these} to {names}"
    if columns.other_ids:
        yield f"{in_quotes(columns.other_ids)} was not used, because {columns.customer} has the ids"


def _in_a_sentence(reason: str, rows: Sequence[int]) -> str:
    if len(rows) == 1:
        return f"Row {rows[0]} {reason}"
    return f"{len(rows):,} rows ({row_numbers(rows)}): each {reason}"


def row_numbers(rows: Sequence[int]) -> str:
    """`3, 7`; the first five and `...` if there are more."""
    return ", ".join(map(str, rows[:_ROWS_NAMED])) + (", ..." if len(rows) > _ROWS_NAMED else "")


def _open(path: Path) -> CustomerList:
    try:
        # A person in a hidden or filtered row has opted out all the same.
        return open_list(path, ListOptions(hidden_rows="include"), rows_needed=False)
    except ListError as error:
        if not any("[list_options]" in problem for problem in error.problems):
            raise
        remedy = (
            "But [list_options] applies only to the campaign's list. Save this file again as .xlsx with one sheet or "
            'as "CSV UTF-8".'
        )
        raise ListError(path, (*error.problems, remedy)) from None


def _find_columns(people: CustomerList) -> _Columns:
    headers = {match_key(header): header for header in people.headers}
    customer = _customer_column(people.path, headers)
    phones = [header for key, header in headers.items() if key.rstrip("0123456789") in _PHONE_HEADERS]
    if customer is None and not phones:
        raise ListError(
            people.path,
            f"a list of opt-outs needs a column `customer_uuid` or `phone`; it has: {', '.join(headers.values())}",
        )
    others = [header for key, header in headers.items() if key in _CUSTOMER_HEADERS and header != customer]
    return _Columns(customer, phones, headers.get(_REASON_HEADER), others)


def _customer_column(path: Path, headers: Mapping[str, str]) -> str | None:
    exact, *others = _CUSTOMER_HEADERS
    if exact in headers:
        return headers[exact]
    found = [header for key, header in headers.items() if key in others]
    if len(found) > 1:
        raise ListError(
            path,
            f"{in_quotes(found)} could each be the customer's id in myKaarma. Rename the right one to customer_uuid.",
        )
    return found[0] if found else None


def _read(chunk: Chunk, columns: _Columns, region: str) -> Iterator[OptOutRow]:
    # Rows that end early are fine, but a row with shifted cells could name the wrong person.
    frame = chunk.frame.drop(index=list(chunk.malformed))
    blank = [""] * len(frame)
    ids = _ids(frame, columns.customer) if columns.customer is not None else blank
    reasons = frame[columns.reason] if columns.reason is not None else blank
    phones = frame[list(columns.phones)].to_numpy()
    for row, customer, numbers, reason in zip(frame.index, ids, phones, reasons, strict=True):
        filled = [number for number in numbers if not _is_placeholder(number)]
        found = [all_phones(number, region) for number in filled]
        valid = list(dict.fromkeys(phone for phones, _ in found for phone in phones))
        is_id = is_customer_id(customer, region)
        has_invalid = not all(phones and complete for phones, complete in found) or bool(
            customer and not is_id
        )
        yield OptOutRow(row, customer if is_id else "", valid, unescape_formula(reason), has_invalid)


def _ids(frame: pd.DataFrame, customer: str) -> pd.Series[str]:
    no_customers = rows_that_repeat_the_header(frame, customer) | rows_with_a_total(frame, customer)
    return frame[customer].mask(no_customers, "")


def _is_placeholder(phone: str) -> bool:
    """Whether this stands for no phone: blank, `n/a`, `000-000-0000`, or the header once more."""
    return _no_phone.fullmatch(phone) is not None or match_key(phone) in _PHONE_HEADERS


def opt_out_requests(row: OptOutRow, default_reason: str) -> list[OptOutRequest]:
    """The opt-outs of a row; none if it has no customer UUID and no valid phone."""
    reason = row.reason or default_reason
    if row.phones:
        return [OptOutRequest(row.customer_uuid, phone, reason) for phone in row.phones]
    return [OptOutRequest(row.customer_uuid, "", reason)] if row.customer_uuid else []
