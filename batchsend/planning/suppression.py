"""People who are never texted: the campaign's suppression files and the ledger's opt-outs, by customer or phone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from batchsend.errors import BatchsendError, StoppedError
from batchsend.ledger.optouts import OptOuts
from batchsend.planning.list_checks import look_like_dms_numbers
from batchsend.planning.optout_files import OptOutFile, read_opt_outs, row_numbers
from batchsend.utils.wording import row_count

#: How long to wait for a file that cannot be read, because another program may be writing it, and between attempts.
_PATIENCE_SECONDS, _RETRY_SECONDS = 10.0, 0.25


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
    #: The files' sizes and times before they were read; `None` for a file that is not there.
    versions: tuple[tuple[int, int] | None, ...] = ()
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
    versions = _versions(paths)
    for path in paths:
        try:
            file = read_opt_outs(path, region)
        except BatchsendError as error:
            errors.append(error)
            continue
        rows = file.rows
        customers_here = {row.customer_uuid for row in rows if row.customer_uuid}
        phones_here = {phone for row in rows for phone in row.phones}
        customer_uuids |= dict.fromkeys(customers_here, path.name)
        phones |= dict.fromkeys(phones_here, path.name)
        phones_only |= bool(phones_here) and not customers_here
        contents = _contents(len(customers_here), len(phones_here))
        notes += [f"{path.name}: {note}" for note in (contents, *notes_on(file))]
    if errors:
        raise errors[0] if len(errors) == 1 else BatchsendError("\n".join(map(str, errors)))
    return Suppression(customer_uuids, phones, phones_only, tuple(notes), versions)


def _versions(paths: Sequence[Path]) -> tuple[tuple[int, int] | None, ...]:
    def version(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    return tuple(map(version, paths))


class WatchedSuppression:
    """Suppression files of a run that is being sent: they are read again after each change.

    A person who was in a file when the run was planned stays skipped until the next start, so that a file that is
    being written loses no opt-out.
    """

    def __init__(self, paths: Sequence[Path], region: str, planned: Suppression) -> None:
        self._paths, self._region = paths, region
        self._known = planned

    def why(self, customer_uuid: str, phone: str | None) -> str | None:
        """Why this customer or phone is skipped; `None` if it is not."""
        return self._known.why(customer_uuid, phone)

    def refresh(self) -> None:
        """Reads the files again if they have changed. Raises `StoppedError` if one cannot be read."""
        if _versions(self._paths) == self._known.versions:
            return
        found = self._read()
        self._known = replace(
            found,
            customer_uuids={**self._known.customer_uuids, **found.customer_uuids},
            phones={**self._known.phones, **found.phones},
        )

    def _read(self) -> Suppression:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return load_suppression(self._paths, self._region)
            except BatchsendError as error:
                if time.monotonic() > deadline:
                    raise StoppedError(
                        f"a suppression file has changed and cannot be read, so that people who opted out could be "
                        f"texted. {error}"
                    ) from error
            time.sleep(_RETRY_SECONDS)


def _contents(customers: int, phones: int) -> str:
    ids = f"{customers:,} customer {'id' if customers == 1 else 'ids'}" if customers else ""
    numbers = f"{phones:,} {'phone' if phones == 1 else 'phones'}" if phones else ""
    return " and ".join(filter(None, (ids, numbers))) or "no customer ids and no phones"


def notes_on(file: OptOutFile) -> Iterator[str]:
    """What a person should know about the rows of one file."""
    rows = file.rows
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
    yield from file.remarks
