"""People who are never texted: the campaign's suppression files and the ledger's opt-outs, by customer or phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import BatchsendError
from batchsend.ledger.optouts import OptOuts
from batchsend.planning.list_checks import look_like_dms_numbers
from batchsend.planning.optout_files import OptOutRow, read_opt_outs, row_numbers
from batchsend.utils.wording import row_count


@dataclass(frozen=True)
class Suppression:
    """Customer UUIDs and E.164 phones to skip -> the name of the file that has them.

    `phones_only`: one of the files has phones and no customer UUIDs, so a row without a phone cannot be checked.
    The ledger's opt-outs do not count, because a single number among them must not block a whole campaign.
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
    phones_only = False
    notes: list[str] = []
    errors: list[BatchsendError] = []
    for path in paths:
        try:
            rows = read_opt_outs(path, region)
        except BatchsendError as error:
            errors.append(error)
            continue
        customers_here = {row.customer_uuid for row in rows if row.customer_uuid}
        phones_here = {phone for row in rows for phone in row.phones}
        customer_uuids |= dict.fromkeys(customers_here, path.name)
        phones |= dict.fromkeys(phones_here, path.name)
        phones_only |= bool(phones_here) and not customers_here
        contents = _contents(len(customers_here), len(phones_here))
        notes += [f"{path.name}: {note}" for note in (contents, *notes_on(rows))]
    if errors:
        raise errors[0] if len(errors) == 1 else BatchsendError("\n".join(map(str, errors)))
    return Suppression(customer_uuids, phones, phones_only, tuple(notes))


def _contents(customers: int, phones: int) -> str:
    ids = f"{customers:,} customer {'id' if customers == 1 else 'ids'}" if customers else ""
    numbers = f"{phones:,} {'phone' if phones == 1 else 'phones'}" if phones else ""
    return " and ".join(filter(None, (ids, numbers))) or "no customer ids and no phones"


def notes_on(rows: Sequence[OptOutRow]) -> Iterator[str]:
    """What a person should know about the rows of one file."""
    empty = [row.row for row in rows if row.is_empty]
    if empty:
        has = "has" if len(empty) == 1 else "have"
        yield f"{row_count(len(empty))} {has} no customer id and no phone: {row_numbers(empty)}"
    invalid = [row.row for row in rows if row.has_invalid]
    if invalid:
        has = "has" if len(invalid) == 1 else "have"
        yield (
            f"{row_count(len(invalid))} {has} an invalid customer id or phone number, only the other values are "
            f"used: {row_numbers(invalid)}"
        )
    if look_like_dms_numbers({row.customer_uuid for row in rows}):
        yield "the customer ids look like DMS numbers, not myKaarma ids, and may match no customer"
