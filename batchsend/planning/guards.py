"""Guards: checks that refuse a list that looks wrong, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchsend.utils.wording import text_count, time_span

#: Runs needed to know what a campaign usually sends.
_RUNS_KNOWN = 3
#: A run is unusual with this many times the texts of the largest run, or this fraction of the smallest run.
_FAR = 2


@dataclass(frozen=True)
class Facts:
    """What guards judge. `texts`: all texts of the run, without regard to quiet hours, caps and `--limit`."""

    texts: int
    list_saved_at: datetime
    now: datetime


@dataclass(frozen=True)
class Bounds:
    """The campaign's `[guards]`; `None`: not set."""

    max_texts: int | None = None
    min_texts: int | None = None
    list_max_age: timedelta | None = None


def refusals(bounds: Bounds, facts: Facts) -> list[str]:
    """Why nothing may be sent, each with what to do; empty if all guards pass."""
    reasons = []
    if bounds.max_texts is not None and facts.texts > bounds.max_texts:
        reasons.append(
            f"guards.max_texts is {bounds.max_texts:,}, but {facts.texts:,} texts would be sent. Check that this is "
            "the right list. If it is, raise max_texts under [guards]."
        )
    if bounds.min_texts is not None and facts.texts < bounds.min_texts:
        reasons.append(
            f"guards.min_texts is {bounds.min_texts:,}, but only {text_count(facts.texts)} would be sent. Check that "
            f"the list is complete. If it is, lower min_texts under [guards]."
        )
    age = facts.now - facts.list_saved_at
    if bounds.list_max_age is not None and age > bounds.list_max_age:
        oldest = time_span(bounds.list_max_age.total_seconds())
        reasons.append(
            f"guards.list_max_age is {oldest}, but the list was saved {time_span(age.total_seconds())} ago. Export "
            "it again, or raise list_max_age under [guards]."
        )
    return reasons


def unusual(texts: int, earlier: Sequence[int]) -> str | None:
    """A warning if a run has far more or fewer texts than each of the `earlier` ones, else `None`."""
    runs = [count for count in earlier if count]
    if len(runs) < _RUNS_KNOWN or not texts:
        return None
    if texts > _FAR * max(runs):
        return f"UNUSUAL: {texts:,} texts; the largest earlier run of this campaign had {max(runs):,}"
    if texts * _FAR < min(runs):
        return f"UNUSUAL: {text_count(texts)}; the smallest earlier run of this campaign had {min(runs):,}"
    return None
