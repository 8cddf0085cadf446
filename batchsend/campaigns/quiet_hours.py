"""When a recipient may be texted: quiet hours, by whose clock they count, and when they end.

A recipient's clock is one or more time zones. Where a phone's area code lies in several zones, an hour is allowed
that all of them allow; failing that, the campaign's own zone decides, as it does where nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
#: Every clock shows each time of day at least once within this time.
_SEARCHED = timedelta(hours=49)
#: Separates the zones of one clock; no zone's name holds it.
_SEPARATOR = "|"

Clock = str


@dataclass(frozen=True)
class Hours:
    """Quiet hours from `begins` until just before `ends`, over midnight where `ends` is earlier.

    `fallback` is the campaign's zone. `fixed`: whose clock counts for everybody; `None`: each recipient's own.
    `lead` is how long a request may take to leave: it is not begun where quiet hours begin meanwhile.
    """

    begins: time
    ends: time
    fallback: str
    fixed: str | None = None
    lead: timedelta = timedelta(0)

    def allows(self, moment: datetime, clock: Clock) -> bool:
        """May a request to a recipient with this clock begin at this moment?"""
        return self.awake(moment, clock) and (not self.lead or self.awake(moment + self.lead, clock))

    def awake(self, moment: datetime, clock: Clock) -> bool:
        """Is this moment outside a recipient's quiet hours?"""
        if self.fixed is not None:
            return self._shows(moment, self.fixed)
        zones = clock.split(_SEPARATOR) if clock else []
        if zones and all(self._shows(moment, zone) for zone in zones):
            return True
        return len(zones) != 1 and self._shows(moment, self.fallback)

    def opens(self, moment: datetime, clock: Clock) -> datetime | None:
        """The first moment from `moment` on, to the minute, at which `allows` holds; `None`: never."""
        if self.allows(moment, clock):
            return moment
        candidate = moment.replace(second=0, microsecond=0)
        while candidate <= moment + _SEARCHED:
            candidate += _MINUTE
            if self.allows(candidate, clock):
                return candidate
        return None

    def _shows(self, moment: datetime, zone: str) -> bool:
        """Does this zone's clock show a time outside the quiet hours?"""
        local = moment.astimezone(_zone(zone)).time()
        if self.begins < self.ends:
            return not self.begins <= local < self.ends
        return self.ends <= local < self.begins


def clock_of(zones: Iterable[str]) -> Clock:
    """The clock of a recipient who lives in one of these zones, as the ledger keeps it; '' where none is known."""
    return _SEPARATOR.join(sorted(set(zones)))


def first_opening(hours: Hours, moment: datetime, clocks: Iterable[Clock]) -> datetime | None:
    """When the first of these recipients may be texted; `None` where nobody ever may, or there is nobody."""
    openings = (hours.opens(moment, clock) for clock in clocks)
    return min((opening for opening in openings if opening is not None), default=None)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
