"""Which start of a schedule is due, and which were missed. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from batchsend.campaigns.cron import Times, latest


@dataclass(frozen=True)
class Missed:
    """Starts that nobody made: the first and the last of them, which may be one."""

    first: datetime
    last: datetime


@dataclass(frozen=True)
class Due:
    """What is to be done now. `start`: the planned time of the one start that is due; `missed`: to be reported."""

    start: datetime | None = None
    missed: Missed | None = None


def due(times: Times, after: datetime, now: datetime, expires_after: timedelta) -> Due:
    """What became due after `after`, the last time that was dealt with, up to now.

    Of several times that went by, the last one stands for all; where it went by longer than `expires_after` ago, it
    is never made up for.
    """
    last = latest(times, after, now)
    if last is None:
        return Due()
    first = times.after(after)
    if now - last > expires_after:
        return Due(missed=Missed(first or last, last))
    earlier = latest(times, after, last - timedelta(microseconds=1))
    return Due(last, Missed(first, earlier) if first is not None and earlier is not None else None)
