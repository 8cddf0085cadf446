"""Times as the ledger stores them and as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """`2026-11-22T10:00:00.123Z`; such texts sort in order of time."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def from_text(text: str) -> datetime:
    """The time of a text from `to_text`, in UTC."""
    return datetime.fromisoformat(text)


def for_people(moment: datetime, zone: ZoneInfo) -> str:
    """`2026-11-22 04:00` in `zone`, to the minute."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def start_of_window(moment: datetime, days: int, zone: ZoneInfo) -> datetime:
    """When the last `days` calendar days in `zone`, including today, began.

    Calendar days let a weekly text go out a few seconds earlier than the week before.
    """
    first_day = moment.astimezone(zone).date() - timedelta(days=days - 1)
    return datetime.combine(first_day, time.min, tzinfo=zone).astimezone(UTC)
