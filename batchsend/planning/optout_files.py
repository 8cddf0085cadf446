"""Reads files of people who must not be texted: suppression files, and opt-outs to import into the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchsend.errors import ListError
from batchsend.ledger.optouts import OptOutRequest
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list
from batchsend.lists.damage import is_damaged
from batchsend.lists.formula_guard import unescape_formula
from batchsend.lists.headers import ALIASES, match_key
from batchsend.messages.phones import PhoneProblem, to_e164

_CUSTOMER_HEADERS = tuple(map(match_key, ALIASES["customer_uuid"]))
_PHONE_HEADERS = tuple(map(match_key, ALIASES["phone"]))
_REASON_HEADER = match_key("reason")


@dataclass(frozen=True, slots=True)
class OptOutRow:
    """The person in one row of a file: the customer UUID ("" if none) and the phones (E.164)."""

    row: int
    customer_uuid: str
    phones: Sequence[str]
    reason: str
    #: How many other phones in the row are invalid.
    invalid_phones: int = 0


def read_opt_outs(path: Path, region: str) -> Iterator[OptOutRow]:
    """Reads a list in any format with a column for the customer or the phone. Raises `ListError`."""
    people = _open(path)
    headers = [match_key(header) for header in people.headers]
    customer = _customer_column(people, headers)
    phones = [position for position, header in enumerate(headers) if header in _PHONE_HEADERS]
    reason = headers.index(_REASON_HEADER) if _REASON_HEADER in headers else None
    if customer is None and not phones:
        raise ListError(
            path,
            "a list of opt-outs needs a column `customer_uuid` or `phone`; it has: "
            + ", ".join(header for header in people.headers if header),
        )
    return _named(people, customer, phones, reason, region)


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


def _customer_column(people: CustomerList, headers: Sequence[str]) -> int | None:
    exact, *others = _CUSTOMER_HEADERS
    if exact in headers:
        return headers.index(exact)
    found = [headers.index(name) for name in others if name in headers]
    if len(found) > 1:
        names = " and ".join(f'"{people.headers[position]}"' for position in sorted(found))
        raise ListError(
            people.path,
            f"{names} could each be the customer's id in myKaarma. Rename the right one to customer_uuid.",
        )
    return found[0] if found else None


def _named(
    people: CustomerList, customer: int | None, phones: Sequence[int], reason: int | None, region: str
) -> Iterator[OptOutRow]:
    # Rows that end early are fine, but a row with shifted cells could name the wrong person.
    for chunk in people.chunks(used=()):
        for row, what in chunk.malformed.items():
            raise ListError(
                people.path,
                f"Row {row} {what}, so it is unclear who it names. Correct it (a cell with a comma in it needs "
                "quotation marks), or export the file again.",
            )
        for row, *cells in chunk.frame.itertuples():
            customer_uuid = cells[customer] if customer is not None else ""
            numbers = [number for position in phones if (number := cells[position])]
            valid = _valid(numbers, region)
            yield OptOutRow(
                row,
                "" if is_damaged(customer_uuid) else customer_uuid,
                valid,
                unescape_formula(cells[reason]) if reason is not None else "",
                len(numbers) - len(valid),
            )


def _valid(numbers: Iterable[str], region: str) -> list[str]:
    valid = []
    for number in numbers:
        try:
            valid.append(to_e164(number, region))
        except PhoneProblem:
            continue
    return valid


def opt_out_requests(row: OptOutRow, default_reason: str) -> list[OptOutRequest]:
    """The opt-outs of a row; none if it has no customer UUID and no valid phone."""
    reason = row.reason or default_reason
    if row.phones:
        return [OptOutRequest(row.customer_uuid, phone, reason) for phone in row.phones]
    return [OptOutRequest(row.customer_uuid, "", reason)] if row.customer_uuid else []
