"""Finds earlier rows of the list with the same key, phone or customer.

A list may be long. For rows above the present chunk only an index is in memory; the rows themselves are read from
where they were stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.runs import TakenRow
from batchsend.ledger.schema import messages
from batchsend.statuses import Code, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Reads the rows with these numbers from where they are stored. It may yield other rows too.
Fetch = Callable[[Sequence[int]], Iterator[TakenRow]]
#: Values that a dictionary holds before they are packed into an array. A shorter list never loads numpy.
RECENT = 50_000
#: Bits of a row number, which is at most `lists.source.MAX_ROWS`.
_ROW_BITS = 24
_ROW = (1 << _ROW_BITS) - 1
_HASH = ((1 << 64) - 1) ^ _ROW


class EarlierRows:
    """The rows that are sent so far, by key, phone and customer.

    Call `begin_chunk` before a chunk, then look up and `add` its rows. `phones`, `customers`: index these too.
    """

    def __init__(self, fetch: Fetch, *, phones: bool, customers: bool) -> None:
        self._fetch = fetch
        self._rows_by_key = RowsByValue()
        self._rows_by_phone = RowsByValue() if phones else None
        self._rows_by_customer = RowsByValue() if customers else None
        # For the values of the present chunk only.
        self._first_by_key: dict[str, TakenRow] = {}
        self._first_by_phone: dict[str, TakenRow] = {}
        self._count_by_customer: Counter[str] = Counter()

    def add_tried(self, row: int, key: str, phone: str | None) -> None:
        """Adds a row that an earlier start tried, above or below the present one.

        The ledger already counts its text for the customer, so it is not counted here.
        """
        self._rows_by_key.add(key, row)
        if phone is not None and self._rows_by_phone is not None:
            self._rows_by_phone.add(phone, row)

    def begin_chunk(self, keys: Collection[str], phones: Collection[str], customers: Collection[str]) -> None:
        """Looks up the earlier rows for all values of a chunk in one go."""
        by_key = self._rows_by_key.candidates(keys)
        by_phone = self._rows_by_phone.candidates(phones) if self._rows_by_phone is not None else {}
        by_customer = (
            self._rows_by_customer.candidates(customers) if self._rows_by_customer is not None else {}
        )
        rows: dict[int, list[TakenRow]] = {}
        numbers = {
            row for found in (by_key, by_phone, by_customer) for some in found.values() for row in some
        }
        for earlier in self._fetch(sorted(numbers)) if numbers else ():
            rows.setdefault(earlier.row, []).append(earlier)
        # Candidates may be wrong: different values can share a hash.
        self._first_by_key = _first(
            (key, earlier)
            for key, some in by_key.items()
            for row in sorted(some)
            for earlier in rows.get(row, ())
            if earlier.key == key
        )
        self._first_by_phone = _first(
            (phone, earlier)
            for phone, some in by_phone.items()
            for row in sorted(some)
            for earlier in rows.get(row, ())
            if earlier.phone == phone
        )
        self._count_by_customer = Counter(
            customer
            for customer, some in by_customer.items()
            for row in set(some)
            if any(earlier.customer_uuid == customer for earlier in rows.get(row, ()))
        )

    def first_with_key(self, key: str) -> TakenRow | None:
        """The first row that is sent with this key."""
        return self._first_by_key.get(key)

    def first_with_phone(self, phone: str) -> TakenRow | None:
        """The first row that is sent to this phone."""
        return self._first_by_phone.get(phone)

    def count_for_customer(self, customer_uuid: str) -> int:
        """The number of rows that are sent to this customer."""
        return self._count_by_customer[customer_uuid]

    def add(self, row: TakenRow) -> None:
        """Adds a row of the present chunk that is sent."""
        if row.key not in self._first_by_key:
            self._first_by_key[row.key] = row
            self._rows_by_key.add(row.key, row.row)
        if (
            row.phone is not None
            and self._rows_by_phone is not None
            and row.phone not in self._first_by_phone
        ):
            self._first_by_phone[row.phone] = row
            self._rows_by_phone.add(row.phone, row.row)
        if self._rows_by_customer is not None:
            self._count_by_customer[row.customer_uuid] += 1
            self._rows_by_customer.add(row.customer_uuid, row.row)


def _first(found: Iterator[tuple[str, TakenRow]]) -> dict[str, TakenRow]:
    first: dict[str, TakenRow] = {}
    for value, row in found:
        first.setdefault(value, row)
    return first


class RowsByValue:
    """Row numbers by the value of one column, in little memory."""

    def __init__(self) -> None:
        self._recent: dict[str, tuple[int, ...]] = {}
        #: Sorted.
        self._packed: NDArray[np.uint64] | None = None

    def add(self, value: str, row: int) -> None:
        """Adds a row with this value. `row` is below 16,777,216."""
        recent = self._recent
        recent[value] = (*recent[value], row) if value in recent else (row,)
        if len(recent) >= RECENT:
            self._pack()

    def candidates(self, values: Collection[str]) -> dict[str, list[int]]:
        """Value -> all rows with this value, and perhaps others with the same hash."""
        recent = self._recent
        found = {value: list(recent[value]) for value in values if value in recent}
        if self._packed is not None:
            for value, rows in self._packed_candidates(values):
                found[value] = [*rows, *found.get(value, ())]
        return found

    def _packed_candidates(self, values: Collection[str]) -> list[tuple[str, list[int]]]:
        import numpy as np

        packed = self._packed
        assert packed is not None  # noqa: S101 - the caller checks
        values = list(values)
        hashes = np.fromiter((hash(value) & _HASH for value in values), np.uint64, len(values))
        begins = np.searchsorted(packed, hashes)
        ends = np.searchsorted(packed, hashes | np.uint64(_ROW), side="right")
        return [
            (values[index], (packed[begins[index] : ends[index]] & np.uint64(_ROW)).tolist())
            for index in np.flatnonzero(ends > begins).tolist()
        ]

    def _pack(self) -> None:
        import numpy as np

        entries = [(hash(value) & _HASH) | row for value, rows in self._recent.items() for row in rows]
        new = np.array(entries, np.uint64)
        self._recent = {}
        self._packed = new if self._packed is None else np.concatenate([self._packed, new])
        self._packed.sort()


def skip_texted_phones(plan: Ledger, run_id: int) -> None:
    """Marks rows as `DUPLICATE_PHONE` if an `ALREADY_SENT` or `ALREADY_TRIED` row has the same phone.

    That row may come later in the list, so this runs after the whole list is planned. One customer may get several
    messages on one phone.
    """
    texted = messages.alias("texted")
    query = select(messages.c.row, texted.c.row).where(
        messages.c.run_id == run_id,
        messages.c.status == Status.PENDING,
        texted.c.run_id == run_id,
        texted.c.status == Status.SKIPPED,
        texted.c.codes.in_([Code.ALREADY_SENT, Code.ALREADY_TRIED]),
        texted.c.phone == messages.c.phone,
        texted.c.customer_uuid != messages.c.customer_uuid,
    )
    with plan.read() as connection:
        shared = {
            row: {"of_row": row, "description": f"row {other} has the same phone and already got the text"}
            for row, other in connection.execute(query)
        }
    if not shared:
        return
    skip = (
        update(messages)
        .where(messages.c.run_id == run_id, messages.c.row == bindparam("of_row"))
        .values(
            status=Status.SKIPPED,
            codes=Code.DUPLICATE_PHONE,
            descriptions=bindparam("description"),
            resend=None,
        )
    )
    with plan.write() as connection:
        connection.execute(skip, list(shared.values()))
