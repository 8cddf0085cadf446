"""People who are never texted: the campaign's suppression files and the ledger's opt-outs, by customer or phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import BatchsendError
from batchsend.ledger.optouts import OptOuts
from batchsend.planning.optout_files import read_opt_outs
from batchsend.utils.wording import row_count

#: Row numbers that a note names before it says "...".
_ROWS_NAMED = 5


@dataclass(frozen=True)
class Suppression:
    """Customer UUIDs and E.164 phones to skip -> the name of the file that has them.

    `phones_only`: the files name no customers. The ledger's opt-outs do not count for it, because a single number
    among them must not block a whole campaign.
    """

    customer_uuids: Mapping[str, str] = field(default_factory=dict)
    phones: Mapping[str, str] = field(default_factory=dict)
    phones_only: bool = False
    notes: tuple[str, ...] = ()
    opt_outs: OptOuts = field(default_factory=OptOuts)

    @property
    def has_entries(self) -> bool:
        """Whether there is any customer or phone to skip."""
        return bool(self.customer_uuids or self.phones or self.opt_outs.has_entries)

    def why(self, customer_uuid: str, phone: str | None) -> str | None:
        """Why this customer or phone is skipped; `None` if it is not."""
        if customer_uuid in self.customer_uuids:
            return f"{self.customer_uuids[customer_uuid]} names this customer"
        if phone is not None and phone in self.phones:
            return f"{self.phones[phone]} names this phone"
        return self.opt_outs.why(customer_uuid, phone)


def load_suppression(paths: Sequence[Path], region: str) -> Suppression:
    """Reads all suppression files. Raises the problems of all files in one `BatchsendError`."""
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
    """Adds the people of one file; returns notes about the file."""
    empty_rows: list[int] = []
    invalid_phones: list[int] = []
    customers_here: set[str] = set()
    phones_here: set[str] = set()
    for row in read_opt_outs(path, region):
        if row.customer_uuid:
            customers_here.add(row.customer_uuid)
        phones_here.update(row.phones)
        if not row.customer_uuid and not row.phones:
            empty_rows.append(row.row)
        elif row.invalid_phones:
            invalid_phones.append(row.row)
    customer_uuids |= dict.fromkeys(customers_here, path.name)
    phones |= dict.fromkeys(phones_here, path.name)
    notes = [_contents(len(customers_here), len(phones_here))]
    if empty_rows:
        notes.append(note_on_empty_rows(empty_rows))
    if invalid_phones:
        notes.append(note_on_invalid_phones(invalid_phones))
    return [f"{path.name}: {note}" for note in notes]


def _contents(customers: int, phones: int) -> str:
    ids = f"{customers:,} customer {'id' if customers == 1 else 'ids'}" if customers else ""
    numbers = f"{phones:,} {'phone' if phones == 1 else 'phones'}" if phones else ""
    return " and ".join(filter(None, (ids, numbers))) or "no customer ids and no phones"


def _numbers(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:_ROWS_NAMED])) + (", ..." if len(rows) > _ROWS_NAMED else "")


def note_on_invalid_phones(rows: Sequence[int]) -> str:
    """A note on rows that have an invalid phone and also a customer UUID or a valid phone."""
    has = "has" if len(rows) == 1 else "have"
    return f"{row_count(len(rows))} {has} an invalid phone number, only the other values are used: {_numbers(rows)}"


def note_on_empty_rows(rows: Sequence[int]) -> str:
    """A note on rows without a customer UUID and without a valid phone."""
    has = "has" if len(rows) == 1 else "have"
    return f"{row_count(len(rows))} {has} no customer id and no valid phone: {_numbers(rows)}"
