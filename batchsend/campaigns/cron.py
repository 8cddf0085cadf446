"""The times of a schedule: a crontab(5) expression in a time zone, or a single time. Pure functions.

The rules are those of Debian's cron. 0 and 7 are Sunday. Day of month and weekday are ORed if neither begins with
`*`. If neither minute nor hour begins with `*`, a local time that occurs twice counts once, the first time, and a
local time that does not exist becomes the next one that does. Other expressions mean every minute with such a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_WEEKDAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"
#: Each field: its name, the names that it may contain, and its values in words.
_FIELDS = (
    ("minute", "", "0 to 59"),
    ("hour", "", "0 to 23"),
    ("day of the month", "", "1 to 31"),
    ("month", _MONTHS, "1 to 12 or JAN to DEC"),
    ("weekday", _WEEKDAYS, "0 to 7 or SUN to SAT, where 0 and 7 are Sunday"),
)
#: The names that crontab(5) has for some expressions.
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: Clock changes are smaller than this.
_LARGEST_CHANGE = timedelta(hours=3)
_MINUTE = timedelta(minutes=1)
#: Any time will do: whether an expression is valid does not depend on it.
_SOME_TIME = datetime(2026, 1, 1)  # noqa: DTZ001
#: How far back `latest` searches first, and the factor for each further search.
_FIRST_LOOK = timedelta(hours=1)
_FARTHER = 12


class Times(Protocol):
    """The times of a schedule."""

    def after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in UTC; `None` if there is none."""


@dataclass(frozen=True)
class CronTimes:
    """The times of a valid cron expression in `zone`."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in UTC; `None` if there is none within 50 years."""
        change = _LARGEST_CHANGE if self._changes_near(moment) else timedelta(0)
        begin = moment.astimezone(self.zone).replace(tzinfo=None) - change
        found: datetime | None = None
        last_look = datetime.max  # noqa: DTZ901
        # The library only finds local times. Which moments have that local time is worked out here, because the
        # library misses times on days when clocks change by half an hour.
        for local in CronSim(self.expression, begin):
            if local > last_look:
                break
            later = [time for time in self._moments(local) if time > moment]
            if later and (found is None or min(later) < found):
                found = min(later)
                last_look = local + change
        return found

    def _changes_near(self, moment: datetime) -> bool:
        before, behind = moment - _LARGEST_CHANGE, moment + _LARGEST_CHANGE
        return before.astimezone(self.zone).utcoffset() != behind.astimezone(self.zone).utcoffset()

    def _moments(self, local: datetime) -> Iterator[datetime]:
        minute, hour, *_ = self.expression.split()
        if not minute.startswith("*") and not hour.startswith("*"):
            yield first_moment(local, self.zone)
            return
        for fold in (0, 1):
            moment = local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
            if _shows(moment, local, self.zone):
                yield moment


@dataclass(frozen=True)
class OneTime:
    """A single time."""

    at: datetime

    def after(self, moment: datetime) -> datetime | None:
        """The time itself if it is after `moment`, else `None`."""
        return self.at if self.at > moment else None


def first_moment(local: datetime, zone: ZoneInfo) -> datetime:
    """The first moment with this local time in `zone`, in UTC; a skipped time becomes the next one that exists."""
    while True:
        moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if _shows(moment, local, zone):
            return moment
        local = local.replace(second=0, microsecond=0) + _MINUTE


def latest(times: Times, after: datetime, until: datetime) -> datetime | None:
    """The last time after `after` and not after `until`, in UTC."""
    look = _FIRST_LOOK
    while True:
        begin = max(after, until - look)
        found = None
        moment = times.after(begin)
        while moment is not None and moment <= until:
            found = moment
            moment = times.after(moment)
        if found is not None or begin == after:
            return found
        look *= _FARTHER


def five_fields(expression: str) -> str:
    """The expression with single spaces, and for a name such as `@daily` its five fields."""
    words = " ".join(expression.split())
    return NICKNAMES.get(words.lower(), words)


def cron_problem(expression: str) -> str | None:
    """What is wrong with an expression, as a clause; `None` if it is valid, "" if it does not have five fields."""
    fields = expression.split()
    if expression.lower() == "@reboot":
        return "@reboot is not a time: campaigns start at set times, not when the computer does"
    if len(fields) != len(_FIELDS):
        return ""
    for number, ((name, words, allowed), field) in enumerate(zip(_FIELDS, fields, strict=True)):
        alone = ["*"] * len(fields)
        alone[number] = field
        written = re.fullmatch(
            rf"(?:[\d*,/-]{f'|{words}' if words else ''})+", field, re.IGNORECASE | re.ASCII
        )
        if not written or not _valid(" ".join(alone)):
            return f'the {name} "{field}" is not valid (use {allowed})'
    return None if _valid(expression) else "these months have no such day"


def _valid(expression: str) -> bool:
    try:
        return next(CronSim(expression, _SOME_TIME), None) is not None
    except CronSimError:
        return False


def _shows(moment: datetime, local: datetime, zone: ZoneInfo) -> bool:
    return moment.astimezone(zone).replace(tzinfo=None) == local


@dataclass(frozen=True)
class Missed:
    """Starts that did not happen: the first and the last, which may be the same."""

    first: datetime
    last: datetime


@dataclass(frozen=True)
class Due:
    """What to do now. `start`: the planned time of the start that is due; `missed`: starts to report as missed."""

    start: datetime | None = None
    missed: Missed | None = None


def due(times: Times, after: datetime, now: datetime, expires_after: timedelta) -> Due:
    """What is due between `after`, the last time that was handled, and now.

    Only the last of several times is started, and only if it is not more than `expires_after` ago.
    """
    last = latest(times, after, now)
    if last is None:
        return Due()
    first = times.after(after)
    if now - last > expires_after:
        return Due(missed=Missed(first or last, last))
    earlier = latest(times, after, last - timedelta(microseconds=1))
    return Due(last, Missed(first, earlier) if first is not None and earlier is not None else None)
