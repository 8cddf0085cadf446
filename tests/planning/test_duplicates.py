"""Earlier rows are found exactly as a plain dictionary of all rows would find them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.ledger.runs import TakenRow
from batchsend.planning import duplicates as duplicates_module
from batchsend.planning.duplicates import EarlierRows, RowsByValue

VALUES = st.sampled_from(["", "a", "b", "c", "d", "é", "+13125550142"])
#: Key, phone, customer; and whether an earlier start tried the row.
ROWS = st.lists(st.tuples(VALUES, st.none() | VALUES, VALUES, st.booleans()), max_size=40)


@pytest.fixture(params=["spread", "colliding"], autouse=True)
def _hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test a second time with different values that share a hash."""
    if request.param == "colliding":
        monkeypatch.setattr(duplicates_module, "hash", lambda value: len(value) << 24, raising=False)


@given(
    added=st.lists(st.tuples(VALUES, st.integers(1, 5_000_000))),
    asked=st.sets(VALUES),
    recent=st.integers(1, 9),
)
def test_every_row_of_a_value_is_among_the_candidates(
    added: list[tuple[str, int]], asked: set[str], recent: int
) -> None:
    rows = RowsByValue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates_module, "RECENT", recent)
        for value, row in added:
            rows.add(value, row)
    found = rows.candidates(asked)
    assert set(found) <= asked
    for value in asked:
        assert {row for one, row in added if one == value} <= set(found.get(value, ()))


class Stored:
    """Rows that can be fetched by number, and plain dictionaries of the ones that are sent."""

    def __init__(self, rows: list[tuple[str, str | None, str, bool]]) -> None:
        self.rows = [
            (TakenRow(number, key, phone, customer, json.dumps([str(number)])), tried)
            for number, (key, phone, customer, tried) in enumerate(rows, 2)
        ]
        self.by_key: dict[str, TakenRow] = {}
        self.by_phone: dict[str, TakenRow] = {}
        self.by_customer: Counter[str] = Counter()

    def fetch(self, numbers: Sequence[int]) -> Iterator[TakenRow]:
        return (taken for taken, _ in self.rows if taken.row in numbers)

    def add(self, taken: TakenRow) -> None:
        self.by_key.setdefault(taken.key, taken)
        if taken.phone is not None:
            self.by_phone.setdefault(taken.phone, taken)


@given(rows=ROWS, chunk=st.integers(1, 7), recent=st.integers(1, 9))
def test_chunk_by_chunk_the_same_rows_are_found(
    rows: list[tuple[str, str | None, str, bool]], chunk: int, recent: int
) -> None:
    plain = Stored(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates_module, "RECENT", recent)
        known = EarlierRows(plain.fetch, phones=True, customers=True)
        for taken, tried in plain.rows:
            if tried:
                known.add_tried(taken.row, taken.key, taken.phone)
                plain.add(taken)
        for start in range(0, len(plain.rows), chunk):
            part = plain.rows[start : start + chunk]
            known.begin_chunk(
                [taken.key for taken, _ in part],
                [taken.phone for taken, _ in part if taken.phone is not None],
                [taken.customer_uuid for taken, _ in part],
            )
            for taken, tried in part:
                assert known.first_with_key(taken.key) == plain.by_key.get(taken.key)
                if taken.phone is not None:
                    assert known.first_with_phone(taken.phone) == plain.by_phone.get(taken.phone)
                assert known.count_for_customer(taken.customer_uuid) == plain.by_customer[taken.customer_uuid]
                if not tried:
                    known.add(taken)
                    plain.add(taken)
                    plain.by_customer[taken.customer_uuid] += 1
