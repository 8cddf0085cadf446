"""Times as the ledger keeps them and as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """`2026-11-22T10:00:00.123Z`; such texts sort as their moments do."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def from_text(text: str) -> datetime:
    """The moment of `to_text`'s form, in UTC."""
    return datetime.fromisoformat(text)


def for_people(moment: datetime, zone: ZoneInfo) -> str:
    """`2026-11-22 04:00` in `zone`, to the minute."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def start_of_window(moment: datetime, days: int, zone: ZoneInfo) -> datetime:
    """When the last `days` calendar days in `zone`, today included, began.

    With calendar days a weekly text on Mondays at ten is not late for being sent three seconds earlier.
    """
    first_day = moment.astimezone(zone).date() - timedelta(days=days - 1)
    return datetime.combine(first_day, time.min, tzinfo=zone).astimezone(UTC)
