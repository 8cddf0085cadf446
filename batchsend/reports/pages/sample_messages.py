"""Picks the messages that a person should check, of all that are ready: in one pass, without keeping the rows.

The first ones show that it works; the longest, the most expensive and the odd ones show where it might not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, Generic, TypeVar

import pandas as pd

from batchsend.messages.sms import Encoding

T = TypeVar("T")

#: How many of the first and of the most expensive messages are shown.
FIRST, DEAREST = 3, 2
#: Columns for which a row with a blank value is shown.
_ODD_COLUMNS = 6
#: A value is very long from this many characters on, if it also has this many times the average.
_LONG_VALUE, _TIMES_AVERAGE = 20, 2


@dataclass
class Bubble:
    """A message as it appears on the phone. `phone`: E.164, `None` for the customer's preferred number."""

    row: int
    phone: str | None
    body: str
    segments: int
    encoding: str
    why: list[str] = field(default_factory=list)

    @property
    def is_ucs2(self) -> bool:
        return self.encoding == Encoding.UCS2


@dataclass
class SampleMessages:
    """The messages to show. Each is in one list only, with all reasons why it is shown."""

    first: list[Bubble]
    extreme: list[Bubble]
    odd: list[Bubble]


@dataclass
class _Column:
    blank: int = 0
    blank_example: Bubble | None = None
    characters: int = 0
    filled: int = 0
    longest: tuple[str, Bubble] | None = None

    def add(self, rows: pd.DataFrame, values: pd.Series[Any]) -> None:
        lengths = values.str.len()
        blank = rows[lengths == 0]
        self.blank += len(blank)
        self.blank_example = self.blank_example or next(iter(_bubbles(blank.iloc[:1])), None)
        self.filled += len(rows) - len(blank)
        self.characters += int(lengths.sum())
        if lengths.max() > len(self.longest[0] if self.longest is not None else ""):
            place = int(lengths.to_numpy().argmax())
            self.longest = values.iloc[place], _bubbles(rows.iloc[[place]])[0]


class MessageSampler:
    """Sees each message once. `used`: positions of the columns that the texts use."""

    def __init__(self, headers: Sequence[str], used: Collection[int], *, phone_in_list: bool) -> None:
        self._headers = headers
        self._columns = {position: _Column() for position in sorted(used)}
        self._phone_in_list = phone_in_list
        self._first: list[Bubble] = []
        self._of_template: dict[str, Bubble] = {}
        self._longest: Bubble | None = None
        self._dearest: list[Bubble] = []
        self._preferred: Bubble | None = None
        self.preferred = 0
        self.ucs2 = 0

    def add(self, rows: pd.DataFrame, used: Collection[int], template: str) -> None:
        """Adds rows of the ledger's `messages` that are ready to send, with their cells in columns numbered from 0.

        `used`: the columns that their template, called `template`, uses.
        """
        if rows.empty:
            return
        self.ucs2 += int((rows["encoding"] == Encoding.UCS2).sum())
        self._first += _bubbles(rows.iloc[: FIRST - len(self._first)])
        lengths = rows["body"].str.len()
        if self._longest is None or lengths.max() > len(self._longest.body):
            (self._longest,) = _bubbles(rows.iloc[[int(lengths.to_numpy().argmax())]])
        dear = rows[
            rows["segments"] > max(1, self._dearest[-1].segments - 1 if len(self._dearest) == DEAREST else 1)
        ]
        self._dearest = nlargest(DEAREST, [*self._dearest, *_bubbles(dear)], key=_cost)
        preferred = rows[rows["phone"].isna()] if self._phone_in_list else rows.iloc[:0]
        self.preferred += len(preferred)
        self._preferred = self._preferred or next(iter(_bubbles(preferred.iloc[:1])), None)
        if template not in self._of_template:
            (self._of_template[template],) = _bubbles(rows.iloc[:1])
        for position in used:
            self._columns[position].add(rows, rows[position])

    def blanks(self, position: int) -> int:
        """Returns the number of messages in which this column is blank."""
        return self._columns[position].blank if position in self._columns else 0

    def samples(self) -> SampleMessages:
        """Returns the messages to show, after all have been added."""
        distinct = _Distinct()
        first = distinct.add((bubble, "") for bubble in self._first)
        if len(self._of_template) > 1:
            first += distinct.add((bubble, f"from {name}") for name, bubble in self._of_template.items())
        longest = [(self._longest, "the longest")] if self._longest is not None else []
        extreme = distinct.add(
            [*longest, *((bubble, "among the most expensive") for bubble in self._dearest)]
        )
        return SampleMessages(first, extreme, distinct.add(self._odd()))

    def _odd(self) -> list[tuple[Bubble, str]]:
        odd: list[tuple[Bubble, str]] = []
        for position, column in self._columns.items():
            header = self._headers[position]
            if column.blank_example is not None and len(odd) < _ODD_COLUMNS:
                others = f", as in {column.blank - 1:,} more" if column.blank > 1 else ""
                odd.append((column.blank_example, f"{header} is blank{others}"))
        if self._preferred is not None:
            others = f", as in {self.preferred - 1:,} more" if self.preferred > 1 else ""
            odd.append((self._preferred, f"the phone is blank{others}: goes to the preferred number"))
        for position, column in self._columns.items():
            if column.longest is None:
                continue
            value, bubble = column.longest
            average = column.characters / column.filled
            if len(value) >= _LONG_VALUE and len(value) >= _TIMES_AVERAGE * average:
                odd.append((bubble, f"a very long value in {self._headers[position]}"))
        return odd


def _bubbles(rows: pd.DataFrame) -> list[Bubble]:
    values = rows[["row", "phone", "body", "segments", "encoding"]]
    return [Bubble(*row) for row in values.itertuples(index=False, name=None)]


class _Distinct:
    """Keeps each message once: adding it again only adds a reason."""

    def __init__(self) -> None:
        self._known: dict[int, Bubble] = {}

    def add(self, chosen: Iterable[tuple[Bubble, str]]) -> list[Bubble]:
        new = []
        for bubble, why in chosen:
            if bubble.row not in self._known:
                self._known[bubble.row] = bubble
                new.append(bubble)
            if why:
                self._known[bubble.row].why.append(why)
        return new


def _cost(bubble: Bubble) -> tuple[int, bool, int, int]:
    return bubble.segments, bubble.is_ucs2, len(bubble.body), -bubble.row


class EvenSample(Generic[T]):
    """As many items as fit, spread evenly over all: every item, or every second, every fourth ...

    `budget` is in the unit of the items' sizes; the sample never exceeds it.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        self._step = 1
        self._seen = 0
        self._kept: list[tuple[int, int, T]] = []

    def add(self, make: Callable[[], tuple[T, int]]) -> None:
        """Keeps or skips the next item. `make` returns the item and its size; it is called only if needed."""
        self.extend(1, lambda _: make())

    def extend(self, count: int, make: Callable[[int], tuple[T, int]]) -> None:
        """Keeps or skips the next `count` items. `make` gets a number from 0; it is called only for items to keep."""
        number = -self._seen % self._step
        while number < count:
            self._keep(self._seen + number, *make(number))
            number += 1
            number += -(self._seen + number) % self._step
        self._seen += count

    def _keep(self, place: int, item: T, size: int) -> None:
        self._kept.append((place, size, item))
        self._size += size
        while self._size > self._budget and self._kept:
            self._step *= 2
            self._kept = [one for one in self._kept if one[0] % self._step == 0]
            self._size = sum(one[1] for one in self._kept)
            if len(self._kept) == 1 and self._size > self._budget:
                self._kept, self._size = [], 0

    @property
    def items(self) -> list[T]:
        return [item for _, _, item in self._kept]

    @property
    def complete(self) -> bool:
        """Have all items been kept?"""
        return len(self._kept) == self._seen
