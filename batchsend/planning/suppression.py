"""Who is never texted: the campaign's suppression files and the ledger's opt-outs, by customer UUID or by phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import BatchsendError
from batchsend.ledger.optouts import OptOuts
from batchsend.planning.optout_files import read_people

#: Row numbers that a note names before it says "...".
_ROWS_NAMED = 5


@dataclass(frozen=True)
class Suppression:
    """Customer UUIDs and E.164 phones to leave out, each with a file's name. `phones_only`: no file names customers.

    The ledger's opt-outs do not count for `phones_only`: one number on them must not hold up a whole campaign.
    """

    customer_uuids: Mapping[str, str] = field(default_factory=dict)
    phones: Mapping[str, str] = field(default_factory=dict)
    phones_only: bool = False
    notes: tuple[str, ...] = ()
    opt_outs: OptOuts = field(default_factory=OptOuts)

    @property
    def has_entries(self) -> bool:
        """Is there anybody to leave out at all?"""
        return bool(self.customer_uuids or self.phones or self.opt_outs.has_entries)

    def why(self, customer_uuid: str, phone: str | None) -> str | None:
        """Why this customer or this phone is left out; `None` where neither is."""
        if customer_uuid in self.customer_uuids:
            return f"{self.customer_uuids[customer_uuid]} names this customer"
        if phone is not None and phone in self.phones:
            return f"{self.phones[phone]} names this phone"
        return self.opt_outs.why(customer_uuid, phone)


def load_suppression(paths: Sequence[Path], region: str) -> Suppression:
    """Reads all suppression files. Raises what is wrong with any of them, together."""
    customer_uuids: dict[str, str] = {}
    phones: dict[str, str] = {}
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
    return Suppression(customer_uuids, phones, phones_only, tuple(notes))


def _load(path: Path, region: str, customer_uuids: dict[str, str], phones: dict[str, str]) -> list[str]:
    nobody: list[int] = []
    no_phone: list[int] = []
    customers_here: set[str] = set()
    phones_here: set[str] = set()
    for named in read_people(path, region):
        if named.customer_uuid:
            customers_here.add(named.customer_uuid)
        phones_here.update(named.phones)
        if not named.customer_uuid and not named.phones:
            nobody.append(named.row)
        elif named.unusable_phones:
            no_phone.append(named.row)
    customer_uuids |= dict.fromkeys(customers_here, path.name)
    phones |= dict.fromkeys(phones_here, path.name)
    notes = [_names(len(customers_here), len(phones_here))]
    if nobody:
        notes.append(unnamed_rows(nobody))
    if no_phone:
        notes.append(no_phone_in(no_phone))
    return [f"{path.name}: {note}" for note in notes]


def _names(customers: int, phones: int) -> str:
    if not customers and not phones:
        return "names nobody"
    ids = f"{customers:,} customer {'id' if customers == 1 else 'ids'}"
    numbers = f"{phones:,} {'phone' if phones == 1 else 'phones'}"
    return f"names {' and '.join(said for said, count in ((ids, customers), (numbers, phones)) if count)}"


def _rows(rows: Sequence[int], one: str, many: str) -> str:
    return f"{len(rows):,} {f'row {one}' if len(rows) == 1 else f'rows {many}'}"


def _numbers(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:_ROWS_NAMED])) + (", ..." if len(rows) > _ROWS_NAMED else "")


def no_phone_in(rows: Sequence[int]) -> str:
    """A note about rows of a file whose phone is of no use, beside something that is."""
    return (
        f"{_rows(rows, 'has', 'have')} a phone that is none, and {'is' if len(rows) == 1 else 'are'} left out by the "
        f"rest alone: {_numbers(rows)}"
    )


def unnamed_rows(rows: Sequence[int]) -> str:
    """A note about rows of a file that name nobody."""
    return f"{_rows(rows, 'names', 'name')} nobody (no customer id, no usable phone): {_numbers(rows)}"
