"""Rows that share a key, phone or customer are judged as by going through the whole list, one row after another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.ledger.runs import TakenRow
from batchsend.planning import duplicates as duplicates_module
from batchsend.planning.duplicates import TakenRows, repeats
from batchsend.planning.row_frame import rows_of

VALUES = st.sampled_from(["", "a", "b", "c", "d", "é", "+13125550142"])
#: Key, phone, customer; whether an earlier start tried the row; whether it is sent again.
ROWS = st.lists(st.tuples(VALUES, st.none() | VALUES, VALUES, st.booleans(), st.booleans()), max_size=40)


@pytest.fixture(params=["spread", "colliding"], autouse=True)
def _hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the test a second time with different values that share a hash."""
    if request.param == "colliding":
        monkeypatch.setattr(duplicates_module, "hash", len, raising=False)


def one_by_one(
    rows: list[tuple[str, str | None, str, bool, bool]],
    reached: dict[str, int],
    max_messages: int | None,
    *,
    skip_phones: bool,
) -> dict[int, str]:
    """The codes of the rows that are stopped, found with plain dictionaries of all rows."""
    keys: dict[str, int] = {}
    phones: dict[str, str] = {}
    texts = Counter(reached)
    codes = {}

    def take(number: int, key: str, phone: str | None, customer: str) -> None:
        keys.setdefault(key, number)
        if phone is not None:
            phones.setdefault(phone, customer)

    for number, (key, phone, customer, tried, _) in enumerate(rows, 2):
        if tried:
            take(number, key, phone, customer)
    for number, (key, phone, customer, tried, again) in enumerate(rows, 2):
        if tried:
            continue
        if keys.get(key, number) != number:
            codes[number] = "DUPLICATE"
        elif skip_phones and phone is not None and phones.get(phone, customer) != customer:
            codes[number] = "DUPLICATE_PHONE"
        elif max_messages is not None and not again and texts[customer] >= max_messages:
            codes[number] = "FREQUENCY_CAP"
        else:
            take(number, key, phone, customer)
            texts[customer] += 1
    return codes


@given(
    rows=ROWS,
    chunk=st.integers(1, 7),
    skip_phones=st.booleans(),
    max_messages=st.none() | st.integers(1, 3),
    reached=st.dictionaries(VALUES, st.integers(1, 2), max_size=3),
)
def test_chunk_by_chunk_the_rows_are_judged_as_one_by_one(
    rows: list[tuple[str, str | None, str, bool, bool]],
    chunk: int,
    skip_phones: bool,
    max_messages: int | None,
    reached: dict[str, int],
) -> None:
    stored = [
        TakenRow(number, key, phone, customer, json.dumps([str(number)]))
        for number, (key, phone, customer, *_) in enumerate(rows, 2)
    ]

    def fetch(numbers: Sequence[int]) -> Iterator[TakenRow]:
        return (row for row in stored if row.row in numbers)

    names = ["key", *(["phone"] if skip_phones else []), *(["customer_uuid"] if max_messages else [])]
    taken = TakenRows(fetch, names)
    frame = rows_of(
        pd.DataFrame([[str(row.row)] for row in stored], [row.row for row in stored], dtype=object)
    )
    for name in ("key", "phone", "customer_uuid"):
        frame[name] = pd.Series([getattr(row, name) for row in stored], frame.index, dtype=object)
    frame["resend"] = pd.Series(["failed" if row[4] else None for row in rows], frame.index, dtype=object)
    tried = pd.Series([row[3] for row in rows], frame.index, dtype=bool)
    taken.add(frame.loc[tried, ["key", "phone"]])
    codes = {}
    untried = frame[~tried]
    for start in range(0, len(untried), chunk):
        part = untried.iloc[start : start + chunk]
        stops = repeats(
            part, ["Row"], taken, reached, region="US", skip_phones=skip_phones, max_messages=max_messages
        )
        codes |= stops["code"].to_dict()
        taken.add(part.drop(index=stops.index))
    assert codes == one_by_one(rows, reached, max_messages, skip_phones=skip_phones)


@pytest.mark.timeout(20)
def test_many_rows_of_one_customer_are_found_in_one_go() -> None:
    taken = TakenRows(names=["customer_uuid"])
    above = pd.DataFrame({"customer_uuid": "one"}, index=range(2, 150_002), dtype=object)
    taken.add(above)
    found = taken.find("customer_uuid", pd.Series("one", range(150_002, 300_002), dtype=object))
    assert found == {"one": above.index.tolist()}
