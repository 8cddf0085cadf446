"""What the rows before have taken: a key and a phone are texted once, a customer only so often.

A list may be long, so for all rows above the present chunk only an index is kept; the rows themselves are looked up
where they were stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from batchsend.ledger.runs import Taken
from batchsend.rows_by_value import RowsByValue

#: Gives the rows of these numbers, from wherever they are stored, or more than those.
Fetch = Callable[[Sequence[int]], Iterator[Taken]]


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
        self._by_key: dict[str, Taken] = {}
        self._by_phone: dict[str, Taken] = {}
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
        rows: dict[int, list[Taken]] = {}
        numbers = {
            row for found in (by_key, by_phone, by_customer) for some in found.values() for row in some
        }
        for taken in self._fetch(sorted(numbers)) if numbers else ():
            rows.setdefault(taken.row, []).append(taken)
        # An index may name a row that holds something else.
        self._by_key = _first(
            (key, taken) for key, some in by_key.items() for row in sorted(some)
            for taken in rows.get(row, ()) if taken.key == key
        )  # fmt: skip
        self._by_phone = _first(
            (phone, taken) for phone, some in by_phone.items() for row in sorted(some)
            for taken in rows.get(row, ()) if taken.phone == phone
        )  # fmt: skip
        self._by_customer = Counter(
            customer for customer, some in by_customer.items() for row in set(some)
            if any(taken.customer_uuid == customer for taken in rows.get(row, ()))
        )  # fmt: skip

    def by_key(self, key: str) -> Taken | None:
        """The first row that took this key."""
        return self._by_key.get(key)

    def by_phone(self, phone: str) -> Taken | None:
        """The first row that took this phone."""
        return self._by_phone.get(phone)

    def of_customer(self, customer_uuid: str) -> int:
        """How many rows are sent to this customer."""
        return self._by_customer[customer_uuid]

    def take(self, taken: Taken) -> None:
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


def _first(found: Iterator[tuple[str, Taken]]) -> dict[str, Taken]:
    first: dict[str, Taken] = {}
    for value, taken in found:
        first.setdefault(value, taken)
    return first
