"""Who is never texted: the campaign's suppression files, by customer UUID or by phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchsend.columns import ALIASES
from batchsend.customers import ListOptions, open_list
from batchsend.damage import is_damaged
from batchsend.errors import BatchsendError, ListError
from batchsend.headers import match_key
from batchsend.phones import PhoneProblem, to_e164

_CUSTOMER_HEADERS = tuple(map(match_key, ALIASES["customer_uuid"]))
_PHONE_HEADERS = tuple(map(match_key, ALIASES["phone"]))
#: Row numbers that a note names before it says "...".
_ROWS_NAMED = 5


@dataclass(frozen=True)
class Suppression:
    """Customer UUIDs and E.164 phones to leave out. `phones_only`: no file names customers."""

    customer_uuids: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    phones_only: bool = False
    notes: tuple[str, ...] = ()

    def covers(self, customer_uuid: str, phone: str | None) -> bool:
        return customer_uuid in self.customer_uuids or (phone is not None and phone in self.phones)


def load_suppression(paths: Sequence[Path], region: str) -> Suppression:
    """Reads all suppression files. Raises what is wrong with any of them, together."""
    customer_uuids: set[str] = set()
    phones: set[str] = set()
    notes: list[str] = []
    errors: list[BatchsendError] = []
    for path in paths:
        try:
            notes += _load(path, region, customer_uuids, phones)
        except BatchsendError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else BatchsendError("\n".join(map(str, errors)))
    phones_only = bool(phones) and not customer_uuids
    return Suppression(frozenset(customer_uuids), frozenset(phones), phones_only, tuple(notes))


def _load(path: Path, region: str, customer_uuids: set[str], phones: set[str]) -> list[str]:
    # Who opted out stays opted out when somebody filters the sheet.
    people = open_list(path, ListOptions(hidden_rows="include"), rows_needed=False)
    headers = [match_key(header) for header in people.headers]
    customer = next((headers.index(name) for name in _CUSTOMER_HEADERS if name in headers), None)
    phone_columns = [position for position, header in enumerate(headers) if header in _PHONE_HEADERS]
    if customer is None and not phone_columns:
        raise ListError(
            path,
            "a suppression file needs a column `customer_uuid` or `phone`; it has: "
            + ", ".join(header for header in people.headers if header),
        )
    unusable: list[int] = []
    for chunk in people.chunks():
        columns = [chunk.frame[position].tolist() for position in range(len(headers))]
        for index, row in enumerate(chunk.frame.index.tolist()):
            customer_uuid = columns[customer][index] if customer is not None else ""
            named = bool(customer_uuid) and not is_damaged(customer_uuid)
            if named:
                customer_uuids.add(customer_uuid)
            numbers = [columns[position][index] for position in phone_columns]
            named = _add_phones([number for number in numbers if number], region, phones) or named
            if not named:
                unusable.append(row)
    if not unusable:
        return []
    rows = ", ".join(map(str, unusable[:_ROWS_NAMED])) + (", ..." if len(unusable) > _ROWS_NAMED else "")
    count = f"{len(unusable):,} {'row' if len(unusable) == 1 else 'rows'}"
    return [f"{path.name}: {count} name nobody (no customer id, no usable phone): {rows}"]


def _add_phones(numbers: Sequence[str], region: str, phones: set[str]) -> bool:
    usable = False
    for number in numbers:
        try:
            phones.add(to_e164(number, region))
            usable = True
        except PhoneProblem:
            continue
    return usable
