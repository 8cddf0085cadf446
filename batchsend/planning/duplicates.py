"""Finds rows above in the list with the same key, phone or customer.

A list may be long. Of the chunks above the present one only hashes are in memory. The rows themselves are read from
where they were stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import bindparam, or_, select, update

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.purged_phones import PhoneHash
from batchsend.ledger.runs import TakenRow
from batchsend.ledger.schema import messages
from batchsend.messages.keys import canonical_value
from batchsend.statuses import Code, Status

#: Reads the rows with these numbers from where they are stored. It may yield other rows too.
Fetch = Callable[[Sequence[int]], Iterator[TakenRow]]


class TakenRows:
    """The rows that are sent, of the chunks above, and the rows that an earlier start of this run tried.

    `fetch` reads them. `names`: the columns to index, of `key`, `phone` and `customer_uuid`. `phone_hash`: what a
    purge left of phones.
    """

    def __init__(
        self,
        fetch: Fetch | None = None,
        names: Sequence[str] = (),
        phone_hash: PhoneHash | None = None,
    ) -> None:
        self._fetch = fetch
        self._phone_hash = phone_hash
        #: Hash -> phone, of the purged phones that were found.
        self._known: dict[str, str] = {}
        self._indexes = {name: _Index() for name in names}

    def add(self, rows: pd.DataFrame) -> None:
        """Adds rows. The index has their numbers; columns that are not there are not indexed."""
        for name, index in self._indexes.items():
            if name in rows:
                index.add(rows[name].dropna())

    def find(self, name: str, values: pd.Series[Any]) -> dict[str, list[int]]:
        """Value -> the numbers of the rows with this value, ascending."""
        if name not in self._indexes:
            return {}
        # Each value once: looking all rows of one customer up for each of them would be quadratic.
        values = values.dropna().drop_duplicates()
        found = self._indexes[name].find(values)
        if name == "phone" and self._phone_hash is not None:
            hashes = {self._phone_hash(phone): phone for phone in values}
            purged = self._indexes[name].find(pd.Series(list(hashes), dtype=object))
            self._known |= {value: hashes[value] for value in purged}
            for value, rows in purged.items():
                found[hashes[value]] = sorted([*found.get(hashes[value], ()), *rows])
        return found

    def rows(self, numbers: Collection[int]) -> dict[int, list[TakenRow]]:
        """The rows with these numbers, with the purged phones that `find` has found."""
        found: dict[int, list[TakenRow]] = {}
        for row in self._fetch(sorted(numbers)) if self._fetch is not None and numbers else ():
            phone = self._known.get(row.phone or "", row.phone)
            found.setdefault(row.row, []).append(row._replace(phone=phone))
        return found


class _Index:
    """Row numbers by the hash of a value, in 12 bytes a row."""

    def __init__(self) -> None:
        #: Ascending, with the row of each hash.
        self._hashes: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._rows: NDArray[np.int32] = np.empty(0, np.int32)

    def add(self, values: pd.Series[Any]) -> None:
        hashes = np.concatenate([self._hashes, _hashes(values)])
        rows = np.concatenate([self._rows, values.index.to_numpy(np.int32)])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], rows[order]

    def find(self, values: pd.Series[Any]) -> dict[str, list[int]]:
        if not len(self._hashes):
            return {}
        wanted, texts = _hashes(values), values.tolist()
        begins = np.searchsorted(self._hashes, wanted)
        ends = np.searchsorted(self._hashes, wanted, side="right")
        return {
            texts[place]: sorted(self._rows[begins[place] : ends[place]].tolist())
            for place in np.flatnonzero(ends > begins).tolist()
        }


def _hashes(values: pd.Series[Any]) -> NDArray[np.uint64]:
    # Python's hash has 64 bits and a key of this process, so that no list can be made to collide.
    return np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)


class _First(NamedTuple):
    """The first row that is sent with some key or to some phone. `cells`: the list's own."""

    row: int
    customer_uuid: str
    cells: Sequence[str]


def repeats(
    rows: pd.DataFrame,
    headers: Sequence[str],
    taken: TakenRows,
    reached: Mapping[str, int],
    *,
    region: str,
    skip_phones: bool,
    max_messages: int | None,
) -> pd.DataFrame:
    """Verdicts on rows that share a key or phone with a row above, or whose customer gets too many texts.

    `rows`: as in `rules`; `taken`: the chunks above; `reached`: customer UUID -> texts that count for `max_messages`.
    Each row is judged by what is sent above it, so these rows are taken one after another; most rows share nothing.
    """
    found = {name: taken.find(name, rows[name]) for name in ("key", "phone", "customer_uuid")}
    shared = rows["key"].duplicated(keep=False) | rows["key"].isin(list(found["key"]))
    if skip_phones:
        shared |= rows["phone"].notna() & rows["phone"].duplicated(keep=False)
        shared |= rows["phone"].isin(list(found["phone"]))
    if max_messages is not None:
        customers = rows["customer_uuid"]
        shared |= customers.duplicated(keep=False)
        shared |= customers.isin([*found["customer_uuid"], *reached])
    above = _Above(found, taken, reached, region)
    verdicts = {}
    for number, key, phone, customer, resend, *cells in rows.loc[
        shared, ["key", "phone", "customer_uuid", "resend", *range(len(headers))]
    ].itertuples(name=None):
        row = _First(number, customer, cells)
        verdict = (
            above.duplicate(row, key, headers)
            or (above.duplicate_phone(row, phone) if skip_phones else None)
            or (
                above.too_many(customer, max_messages)
                if max_messages is not None and resend is None
                else None
            )
        )
        if verdict is not None:
            verdicts[number] = verdict
        else:
            above.add(row, key, phone)
    names = ("code", "description", "differs")
    return pd.DataFrame(list(verdicts.values()), index=list(verdicts), columns=names, dtype=object)


class _Verdict(NamedTuple):
    """`differs`: the earlier row and the headers of the columns in which a duplicate differs."""

    code: str
    description: str
    differs: tuple[int, tuple[str, ...]] | None = None


class _Above:
    """The rows that are sent above the present one, as far as they share something with it."""

    def __init__(
        self,
        found: Mapping[str, Mapping[str, Sequence[int]]],
        taken: TakenRows,
        reached: Mapping[str, int],
        region: str,
    ) -> None:
        self._region = region
        stored = taken.rows(
            {row for by_value in found.values() for rows in by_value.values() for row in rows}
        )
        # Different values can share a hash, so the rows themselves decide.
        self._by_key = _firsts(found["key"], stored, lambda row: row.key)
        self._by_phone = _firsts(found["phone"], stored, lambda row: row.phone)
        self._texts = Counter(reached)
        for customer, numbers in found["customer_uuid"].items():
            self._texts[customer] += sum(
                any(row.customer_uuid == customer for row in stored.get(number, ()))
                for number in set(numbers)
            )

    def add(self, row: _First, key: str, phone: str | None) -> None:
        self._by_key.setdefault(key, row)
        if phone is not None:
            self._by_phone.setdefault(phone, row)
        self._texts[row.customer_uuid] += 1

    def duplicate(self, row: _First, key: str, headers: Sequence[str]) -> _Verdict | None:
        first = self._by_key.get(key)
        if first is None or first.row == row.row:
            return None
        differing = tuple(
            header
            for header, a, b in zip(headers, first.cells, row.cells, strict=False)
            if header and a != b and self._value(a) != self._value(b)
        )
        if not differing:
            return _Verdict(str(Code.DUPLICATE), f"the same as row {first.row}")
        return _Verdict(
            str(Code.DUPLICATE),
            f"the same key as row {first.row}, but another {', '.join(differing)}. To text both, add a column "
            "that differs to the campaign's `key`",
            (first.row, differing),
        )

    def _value(self, cell: str) -> str:
        # Another spelling would not tell the rows apart if its column were in the key.
        return canonical_value(cell, self._region, keeps_zeros=True)

    def duplicate_phone(self, row: _First, phone: str | None) -> _Verdict | None:
        first = self._by_phone.get(phone) if phone is not None else None
        if first is None or first.customer_uuid == row.customer_uuid:
            return None
        return _Verdict(str(Code.DUPLICATE_PHONE), f"row {first.row} has the same phone")

    def too_many(self, customer: str, max_messages: int) -> _Verdict | None:
        texts = self._texts[customer]
        if texts < max_messages:
            return None
        return _Verdict(str(Code.FREQUENCY_CAP), f"{texts} of at most {max_messages} texts")


def _firsts(
    found: Mapping[str, Sequence[int]],
    stored: Mapping[int, Sequence[TakenRow]],
    value_of: Callable[[TakenRow], str | None],
) -> dict[str, _First]:
    firsts: dict[str, _First] = {}
    for value, numbers in found.items():
        same = (row for number in numbers for row in stored.get(number, ()) if value_of(row) == value)
        if (row := next(same, None)) is not None:
            firsts[value] = _First(row.row, row.customer_uuid, row.texts())
    return firsts


def skip_texted_phones(plan: Ledger, run_id: int) -> None:
    """Marks rows as `DUPLICATE_PHONE` if an `ALREADY_SENT` or `ALREADY_TRIED` row has the same phone.

    That row may come later in the list, so this runs after the whole list is planned. One customer may get several
    messages on one phone.
    """
    in_run = messages.c.run_id == run_id
    is_pending = messages.c.status == Status.PENDING
    is_texted = messages.c.codes.in_([Code.ALREADY_SENT, Code.ALREADY_TRIED])
    query = select(messages.c.row, messages.c.phone, messages.c.customer_uuid, messages.c.status).where(
        in_run,
        or_(is_pending, is_texted),
        *(
            messages.c.phone.in_(select(messages.c.phone).where(in_run, some).correlate(None))
            for some in (is_pending, is_texted)
        ),
    )
    with plan.read() as connection:
        rows = connection.execute(query.order_by(messages.c.row)).all()
    #: Phone -> customer -> the first row that got the text.
    texted: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row, phone, customer, status in rows:
        if status == Status.SKIPPED:
            texted[phone].setdefault(customer, row)
    shared = [
        {"of_row": row, "description": f"row {other} has the same phone and already got the text"}
        for row, phone, customer, status in rows
        if status == Status.PENDING
        and (other := next((at for one, at in texted.get(phone, {}).items() if one != customer), None))
    ]
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
        connection.execute(skip, shared)
