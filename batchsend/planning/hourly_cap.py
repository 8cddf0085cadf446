"""The most texts of a campaign in any hour, evenly spread. Pure rules over the times of earlier texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Protocol, Self

HOUR = timedelta(hours=1)
#: Texts that are further in the future have their times from a clock that was wrong, and would hold rows for ever.
_CLOCK_AHEAD = timedelta(days=1)


class SentTexts(Protocol):
    """Knows when texts of the campaign left."""

    def last_texts(self, since: datetime, before: datetime, count: int) -> Sequence[datetime]:
        """When the last texts since then and before then left, `count` of them at most, the latest first."""
        ...


@dataclass(frozen=True)
class HourlyCap:
    """`first_at`: when the next text may leave, in UTC; `left`: how many fit into the hour from the start on."""

    per_hour: int
    first_at: datetime
    left: int

    @classmethod
    def of(cls, per_hour: int, moment: datetime, sent: SentTexts) -> Self:
        """The cap for a start at this moment."""
        first = first_slot(moment, sent.last_texts(moment - HOUR, moment + _CLOCK_AHEAD, per_hour), per_hour)
        left = ceil((moment + HOUR - first) / between_texts(per_hour))
        return cls(per_hour, first, max(0, min(per_hour, left)))

    @property
    def again_at(self) -> datetime:
        """When the first row that does not fit may be sent."""
        return self.first_at + self.left * between_texts(self.per_hour)


def between_texts(per_hour: int) -> timedelta:
    """The time between two texts, rounded up, so that an hour never holds one more."""
    return timedelta(microseconds=ceil(HOUR / timedelta(microseconds=1) / per_hour))


def first_slot(moment: datetime, sent: Sequence[datetime], per_hour: int) -> datetime:
    """From when on evenly spread texts keep the cap in any hour. `sent`: the earlier texts, the latest first.

    When the new text number n leaves (n from 0), the earlier text in place p (from 1) must be over an hour old if
    n + p reaches the cap. Texts in the future, by a clock that was ahead, count as sent now.
    """
    apart = between_texts(per_hour)
    return max([moment, *(min(at, moment) + place * apart for place, at in enumerate(sent, 1))])
