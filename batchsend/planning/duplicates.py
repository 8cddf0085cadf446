"""What the rows before have taken: a key and a phone are texted once, a customer only so often.

A list may be long, so for all rows above the present chunk only an index is kept; the rows themselves are looked up
where they were stored.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import messages
from batchsend.statuses import Code, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from batchsend.ledger.runs import TakenRow

#: Gives the rows of these numbers, from wherever they are stored, or more than those.
Fetch = Callable[[Sequence[int]], Iterator[TakenRow]]
#: Values that are kept as they are before they are packed; a list with fewer rows does not load numpy.
RECENT = 50_000
#: Bits of a row's number, which is at most `readers.source.MAX_ROWS`.
_ROW_BITS = 24
_ROW = (1 << _ROW_BITS) - 1
_HASH = ((1 << 64) - 1) ^ _ROW


class TakenRows:
    """Rows that have taken something, and what; to be asked chunk by chunk.

    `phones`, `customers`: whether anybody will ask for these.
    """

    def __init__(self, fetch: Fetch, *, phones: bool, customers: bool) -> None:
        self._fetch = fetch
        self._rows_by_key = RowsByValue()
        self._rows_by_phone = RowsByValue() if phones else None
        self._rows_by_customer = RowsByValue() if customers else None
        #: The first row that took a key or a phone, and how many rows a customer has; of the present chunk's alone.
        self._by_key: dict[str, TakenRow] = {}
        self._by_phone: dict[str, TakenRow] = {}
        self._by_customer: Counter[str] = Counter()

    def tried(self, row: int, key: str, phone: str | None) -> None:
        """A row of the list that an earlier start tried, wherever it stands; it does not count for its customer."""
        self._rows_by_key.add(key, row)
        if phone is not None and self._rows_by_phone is not None:
            self._rows_by_phone.add(phone, row)

    def begin(self, keys: Collection[str], phones: Collection[str], customers: Collection[str]) -> None:
        """A chunk with these begins: what rows before it have taken of them is looked up at once."""
        by_key = self._rows_by_key.candidates(keys)
        by_phone = self._rows_by_phone.candidates(phones) if self._rows_by_phone is not None else {}
        by_customer = (
            self._rows_by_customer.candidates(customers) if self._rows_by_customer is not None else {}
        )
        rows: dict[int, list[TakenRow]] = {}
        numbers = {
            row for found in (by_key, by_phone, by_customer) for some in found.values() for row in some
        }
        for taken in self._fetch(sorted(numbers)) if numbers else ():
            rows.setdefault(taken.row, []).append(taken)
        # An index may name a row that holds something else.
        self._by_key = _first(
            (key, taken)
            for key, some in by_key.items()
            for row in sorted(some)
            for taken in rows.get(row, ())
            if taken.key == key
        )
        self._by_phone = _first(
            (phone, taken)
            for phone, some in by_phone.items()
            for row in sorted(some)
            for taken in rows.get(row, ())
            if taken.phone == phone
        )
        self._by_customer = Counter(
            customer
            for customer, some in by_customer.items()
            for row in set(some)
            if any(taken.customer_uuid == customer for taken in rows.get(row, ()))
        )

    def by_key(self, key: str) -> TakenRow | None:
        """The first row that took this key."""
        return self._by_key.get(key)

    def by_phone(self, phone: str) -> TakenRow | None:
        """The first row that took this phone."""
        return self._by_phone.get(phone)

    def of_customer(self, customer_uuid: str) -> int:
        """How many rows are sent to this customer."""
        return self._by_customer[customer_uuid]

    def take(self, taken: TakenRow) -> None:
        """This row of the present chunk is sent."""
        if taken.key not in self._by_key:
            self._by_key[taken.key] = taken
            self._rows_by_key.add(taken.key, taken.row)
        if taken.phone is not None and self._rows_by_phone is not None and taken.phone not in self._by_phone:
            self._by_phone[taken.phone] = taken
            self._rows_by_phone.add(taken.phone, taken.row)
        if self._rows_by_customer is not None:
            self._by_customer[taken.customer_uuid] += 1
            self._rows_by_customer.add(taken.customer_uuid, taken.row)


def _first(found: Iterator[tuple[str, TakenRow]]) -> dict[str, TakenRow]:
    first: dict[str, TakenRow] = {}
    for value, taken in found:
        first.setdefault(value, taken)
    return first


class RowsByValue:
    """Rows by the text that one of their columns holds."""

    def __init__(self) -> None:
        self._recent: dict[str, tuple[int, ...]] = {}
        #: Sorted.
        self._packed: NDArray[np.uint64] | None = None

    def add(self, value: str, row: int) -> None:
        """`row` (below 16,777,216) holds `value`."""
        recent = self._recent
        recent[value] = (*recent[value], row) if value in recent else (row,)
        if len(recent) >= RECENT:
            self._pack()

    def candidates(self, values: Collection[str]) -> dict[str, list[int]]:
        """For each of `values` that may have been added all rows that may hold it, those that do among them."""
        recent = self._recent
        found = {value: list(recent[value]) for value in values if value in recent}
        if self._packed is not None:
            for value, rows in self._packed_candidates(values):
                found[value] = [*rows, *found.get(value, ())]
        return found

    def _packed_candidates(self, values: Collection[str]) -> list[tuple[str, list[int]]]:
        import numpy as np

        packed = self._packed
        assert packed is not None  # noqa: S101 - asked before
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
    """Rows whose phone is that of an `ALREADY_SENT` or `ALREADY_TRIED` row become `DUPLICATE_PHONE`.

    That row may stand below them, so this is asked once the whole list is planned. The same customer may have
    several messages on one phone.
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
            row: {"of_row": row, "said": f"row {other} has the same phone, and the text already"}
            for row, other in connection.execute(query)
        }
    if not shared:
        return
    skip = (
        update(messages)
        .where(messages.c.run_id == run_id, messages.c.row == bindparam("of_row"))
        .values(
            status=Status.SKIPPED, codes=Code.DUPLICATE_PHONE, descriptions=bindparam("said"), resend=None
        )
    )
    with plan.write() as connection:
        connection.execute(skip, list(shared.values()))
