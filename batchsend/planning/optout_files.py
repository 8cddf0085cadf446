"""Files that name people who are not to be texted: suppression lists, and the ledger's opt-outs going out and in."""

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
_EXPORTED = ("customer_uuid", "phone", "reason", "source", "added_by", "added_at")


@dataclass(frozen=True, slots=True)
class Named:
    """Who one row of a file names: "" and no phones (E.164) where it names nobody that could be found again."""

    row: int
    customer_uuid: str
    phones: Sequence[str]
    reason: str
    #: How many more phones stand in the row, but are none.
    unusable_phones: int = 0


def read_people(path: Path, region: str) -> Iterator[Named]:
    """Each row of a list of any format with a column for the customer or the phone. Raises `ListError`."""
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
        # Who opted out stays opted out when somebody filters the sheet.
        return open_list(path, ListOptions(hidden_rows="include"), rows_needed=False)
    except ListError as error:
        if not any("[list_options]" in problem for problem in error.problems):
            raise
        remedy = (
            "But [list_options] is for the campaign's list: save this file anew, with one sheet as .xlsx, or as "
            '"CSV UTF-8".'
        )
        raise ListError(path, (*error.problems, remedy)) from None


def _customer_column(people: CustomerList, headers: Sequence[str]) -> int | None:
    own, *others = _CUSTOMER_HEADERS
    if own in headers:
        return headers.index(own)
    found = [headers.index(name) for name in others if name in headers]
    if len(found) > 1:
        names = " and ".join(f'"{people.headers[position]}"' for position in sorted(found))
        raise ListError(
            people.path,
            f"{names} could each be the customer's id in myKaarma. Call the right one customer_uuid.",
        )
    return found[0] if found else None


def _named(
    people: CustomerList, customer: int | None, phones: Sequence[int], reason: int | None, region: str
) -> Iterator[Named]:
    # A row may end early, but one that is shifted could name another person than it means.
    for chunk in people.chunks(used=()):
        for row, what in chunk.malformed.items():
            raise ListError(
                people.path,
                f"Row {row} {what}, so that nobody can tell whom it means. Put it right (a cell with a comma in it "
                "needs quotation marks), or export the file again.",
            )
        for row, cells in zip(chunk.numbers, chunk.rows, strict=True):
            customer_uuid = cells[customer] if customer is not None else ""
            numbers = [number for position in phones if (number := cells[position])]
            usable = _usable(numbers, region)
            yield Named(
                row,
                "" if is_damaged(customer_uuid) else customer_uuid,
                usable,
                unescape_formula(cells[reason]) if reason is not None else "",
                len(numbers) - len(usable),
            )


def _usable(numbers: Iterable[str], region: str) -> list[str]:
    usable = []
    for number in numbers:
        try:
            usable.append(to_e164(number, region))
        except PhoneProblem:
            continue
    return usable


def wishes_of(named: Named, otherwise: str) -> list[OptOutRequest]:
    """What the ledger keeps of a row; `otherwise` is the reason where the row gives none."""
    reason = named.reason or otherwise
    if named.phones:
        return [OptOutRequest(named.customer_uuid, phone, reason) for phone in named.phones]
    return [OptOutRequest(named.customer_uuid, "", reason)] if named.customer_uuid else []
