"""Quiet hours: when a recipient may be texted.

A recipient's clock is one or more time zones, such as those of a phone's area code. A time is allowed only if it is
allowed in all of them. If no zone is known, the campaign's zone decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache

from batchsend.campaigns.zones import zone_with_newest_rules

_MINUTE = timedelta(minutes=1)
#: Within this time, every clock shows each time of day at least once.
_SEARCHED = timedelta(hours=49)
#: Separates the zones of one clock. No zone name contains it.
_SEPARATOR = "|"

Clock = str


@dataclass(frozen=True)
class Hours:
    """Quiet hours from `begins` until just before `ends`; over midnight if `ends` is earlier.

    `fallback`: the campaign's zone. `fixed`: the zone that applies to all recipients; `None`: each recipient's own.
    `lead`: how long a request may take. A request does not start if quiet hours could begin while it runs.
    """

    begins: time
    ends: time
    fallback: str
    fixed: str | None = None
    lead: timedelta = timedelta(0)

    def allows(self, moment: datetime, clock: Clock) -> bool:
        """Whether a request to a recipient with this clock may start at this moment."""
        return all(self.allows_in(zone, moment) for zone in self._zones(clock))

    def allows_in(self, zone: str, moment: datetime) -> bool:
        """Whether a request may start at this moment as far as this zone is concerned."""
        return self._is_outside(moment, zone) and (
            not self.lead or self._is_outside(moment + self.lead, zone)
        )

    def next_allowed(self, moment: datetime, clock: Clock) -> datetime | None:
        """The first allowed moment in the next two days, to the minute.

        `None` if there is none, because the zones are so far apart that the hours of one are the night of another.
        """
        if self.allows(moment, clock):
            return moment
        candidate = moment.replace(second=0, microsecond=0) + _MINUTE
        while candidate <= moment + _SEARCHED:
            latest = candidate
            for zone in self._zones(clock):
                opening = _opening(self, zone, candidate)
                if opening is None:
                    return None
                latest = max(latest, opening)
            if latest == candidate:
                return candidate
            candidate = latest
        return None

    def _zones(self, clock: Clock) -> Sequence[str]:
        return (self.fixed or clock or self.fallback).split(_SEPARATOR)

    def _is_outside(self, moment: datetime, zone: str) -> bool:
        """Whether the time in this zone is outside the quiet hours."""
        local = moment.astimezone(zone_with_newest_rules(zone)).time()
        if self.begins < self.ends:
            return not self.begins <= local < self.ends
        return self.ends <= local < self.begins


# Many clocks share a zone.
@lru_cache(maxsize=4096)
def _opening(hours: Hours, zone: str, moment: datetime) -> datetime | None:
    """The first minute from `moment` on that this zone allows."""
    candidate = moment
    while candidate <= moment + _SEARCHED:
        if hours.allows_in(zone, candidate):
            return candidate
        candidate += _MINUTE
    return None


def clock_of(zones: Iterable[str]) -> Clock:
    """The clock of a recipient in one of these zones, as the ledger stores it; '' if none is known."""
    return _SEPARATOR.join(sorted(set(zones)))


def first_allowed(hours: Hours, moment: datetime, clocks: Iterable[Clock]) -> datetime | None:
    """When the first of these recipients may be texted; `None` if that is never or there are no recipients."""
    moments = (hours.next_allowed(moment, clock) for clock in clocks)
    return min((allowed for allowed in moments if allowed is not None), default=None)
