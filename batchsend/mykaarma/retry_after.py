"""Reads `Retry-After`: how long a server asks to wait. Pure functions."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: A longer `Retry-After` is cut to this, in seconds.
LONGEST_RETRY_AFTER = 3600.0


def retry_seconds(value: str | None, now: datetime) -> float | None:
    """`Retry-After` (seconds or an HTTP date) as seconds from `now`; `None` if it asks for no wait.

    A date in the past asks for no wait either: a clock may be wrong.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now)
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER)


def server_time(date: str | None, ours: datetime) -> datetime:
    """The server's time from its `Date` header, else ours. Dates in an answer follow the server's clock."""
    return (_moment(date) if date is not None else None) or ours


def _seconds_until(http_date: str, now: datetime) -> float:
    moment = _moment(http_date)
    return math.nan if moment is None else (moment - now).total_seconds()


def _moment(http_date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
