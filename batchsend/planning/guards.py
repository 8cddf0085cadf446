"""Guards: reasons why a list cannot be right, so that nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchsend.utils.wording import text_count

#: What a campaign usually sends is known after this many runs.
_RUNS_KNOWN = 3
#: This many times the most, or a fraction of the fewest, that any run ever sent is unusual.
_FAR = 2


@dataclass(frozen=True)
class Facts:
    """What guards judge. `texts`: how many the whole run comes to, quiet hours, caps and `--limit` aside."""

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
    """Why nothing may be sent, each with what to do; empty where all guards hold."""
    found = []
    if bounds.max_texts is not None and facts.texts > bounds.max_texts:
        found.append(
            f"guards.max_texts is {bounds.max_texts:,}, but {facts.texts:,} texts would leave. Look at the list: is "
            f"it the right one? If it is, raise max_texts under [guards]."
        )
    if bounds.min_texts is not None and facts.texts < bounds.min_texts:
        found.append(
            f"guards.min_texts is {bounds.min_texts:,}, but only {text_count(facts.texts)} would leave. Look at the "
            f"list: is it whole? If it is, lower min_texts under [guards]."
        )
    age = facts.now - facts.list_saved_at
    if bounds.list_max_age is not None and age > bounds.list_max_age:
        found.append(
            f"guards.list_max_age is {_span(bounds.list_max_age)}, but the list was saved {_span(age)} ago. Export "
            f"it again, or raise list_max_age under [guards]."
        )
    return found


def unusual(texts: int, earlier: Sequence[int]) -> str | None:
    """Says so where a run comes to far more or fewer texts than any `earlier` run did; `None` where it does not."""
    runs = [count for count in earlier if count]
    if len(runs) < _RUNS_KNOWN or not texts:
        return None
    if texts > _FAR * max(runs):
        return f"UNUSUAL: {texts:,} texts; the most that a run of this campaign came to was {max(runs):,}"
    if texts * _FAR < min(runs):
        return (
            f"UNUSUAL: {text_count(texts)}; the fewest that a run of this campaign came to were {min(runs):,}"
        )
    return None


def _span(span: timedelta) -> str:
    """`20 hours`, `3 days`: the largest unit that says it to a tenth."""
    seconds = span.total_seconds()
    for unit, size in (("days", 172_800), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            value = seconds / (86_400 if unit == "days" else size)
            return f"{value:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} seconds"
