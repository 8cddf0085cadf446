"""Quiet hours: when a recipient may be texted.

A recipient's clock is one or more time zones, such as those of a phone's area code, and the states whose own hours
apply. A time is allowed only if every rule allows it in every zone. If no zone is known, the campaign's zone decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import NamedTuple

from batchsend.campaigns.days_off import is_day_off
from batchsend.campaigns.zones import zone_with_newest_rules

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
#: More than any row of Sundays and holidays.
_SEARCHED = timedelta(days=32)
#: Separates the parts of one clock. No zone name contains it.
_SEPARATOR = "|"
#: Begins a state in a clock. No zone name begins so.
_STATE = "state:"
_SATURDAY, _SUNDAY = 5, 6

Clock = str


class Window(NamedTuple):
    """Quiet from `begins` until just before `ends`; over midnight if `ends` is earlier, all day if they are equal."""

    begins: time
    ends: time

    def is_quiet(self, local: time) -> bool:
        if self.begins < self.ends:
            return self.begins <= local < self.ends
        return not self.ends <= local < self.begins


ALL_DAY = Window(time.min, time.min)


class Rule(NamedTuple):
    """Quiet hours by the day of the week. Saturday and Sunday have those of `daily` if they have none of their own.

    `days_off`: names of days that are quiet all day, as in `days_off`.
    """

    daily: Window | None = None
    saturday: Window | None = None
    sunday: Window | None = None
    days_off: tuple[str, ...] = ()

    def is_quiet(self, local: datetime) -> bool:
        """Whether this local time is in the quiet hours."""
        window = self.window_on(local.weekday())
        if window is not None and window.is_quiet(local.time()):
            return True
        return bool(self.days_off) and is_day_off(self.days_off, local.date())

    def window_on(self, weekday: int) -> Window | None:
        """The quiet hours of a day of the week (Monday is 0) that is no day off."""
        own = {_SATURDAY: self.saturday, _SUNDAY: self.sunday}.get(weekday)
        return self.daily if own is None else own

    @property
    def changes(self) -> Iterator[time]:
        """The times of day at which quiet hours can begin or end."""
        yield time.min
        for window in (self.daily, self.saturday, self.sunday):
            yield from window or ()


@dataclass(frozen=True)
class Hours:
    """Quiet hours from `begins` until just before `ends`; over midnight if `ends` is earlier.

    `begins` and `ends` are `None` if no hours apply to everyone.
    `fallback`: the campaign's zone. `fixed`: the zone that applies to all recipients; `None`: each recipient's own.
    `lead`: how long a request may take. A request does not start if quiet hours could begin while it runs.
    `days_off`: names of days without texts. `states`: the rules of states, which apply in addition.
    """

    begins: time | None
    ends: time | None
    fallback: str
    fixed: str | None = None
    lead: timedelta = timedelta(0)
    days_off: tuple[str, ...] = ()
    states: tuple[tuple[str, Rule], ...] = ()

    @property
    def window(self) -> Window | None:
        """The hours that apply to everyone."""
        return Window(self.begins, self.ends) if self.begins is not None and self.ends is not None else None

    def allows(self, moment: datetime, clock: Clock) -> bool:
        """Whether a request to a recipient with this clock may start at this moment."""
        zones, rules = self._parts(clock)
        return all(_allows(rules, self.lead, zone, moment) for zone in zones)

    def next_allowed(self, moment: datetime, clock: Clock) -> datetime | None:
        """The first allowed moment in the next weeks, to the minute.

        `None` if there is none, because the zones are so far apart that the hours of one are the night of another.
        """
        if self.allows(moment, clock):
            return moment
        zones, rules = self._parts(clock)
        candidate = moment.replace(second=0, microsecond=0) + _MINUTE
        while candidate <= moment + _SEARCHED:
            latest = candidate
            for zone in zones:
                opening = _opening(rules, self.lead, zone, candidate)
                if opening is None:
                    return None
                latest = max(latest, opening)
            if latest == candidate:
                return candidate
            candidate = latest
        return None

    def _parts(self, clock: Clock) -> tuple[tuple[str, ...], tuple[Rule, ...]]:
        """The zones and the rules for a recipient with this clock."""
        if (known := self._known_clocks.get(clock)) is None:
            zones, states = parts_of(clock)
            own = (rule for state in states for rule in self._rules_by_state.get(state, ()))
            everywhere = Rule(self.window, days_off=self.days_off)
            known = (self.fixed,) if self.fixed else zones or (self.fallback,), (everywhere, *own)
            self._known_clocks[clock] = known
        return known

    @cached_property
    def _known_clocks(self) -> dict[Clock, tuple[tuple[str, ...], tuple[Rule, ...]]]:
        return {}

    @cached_property
    def _rules_by_state(self) -> dict[str, list[Rule]]:
        rules: dict[str, list[Rule]] = {}
        for state, rule in self.states:
            rules.setdefault(state, []).append(rule)
        return rules


def _allows(rules: tuple[Rule, ...], lead: timedelta, zone: str, moment: datetime) -> bool:
    """Whether a request may start at this moment as far as this zone is concerned."""
    place = zone_with_newest_rules(zone)
    moments = (moment, moment + lead) if lead else (moment,)
    return not any(
        rule.is_quiet(local) for at in moments for local in (at.astimezone(place),) for rule in rules
    )


# Many clocks share a zone and its rules.
@lru_cache(maxsize=4096)
def _opening(rules: tuple[Rule, ...], lead: timedelta, zone: str, moment: datetime) -> datetime | None:
    """The first minute from `moment` on that these rules allow in this zone."""
    changes = sorted({change for rule in rules for change in rule.changes})
    candidate = moment
    while candidate <= moment + _SEARCHED:
        if _allows(rules, lead, zone, candidate):
            return candidate
        candidate += min(_unchanged(changes, zone, at) for at in (candidate, candidate + lead))
    return None


def _unchanged(changes: list[time], zone: str, moment: datetime) -> timedelta:
    """How long quiet hours neither begin nor end after this moment, in whole minutes, at least one.

    `changes`: when they may begin or end, midnight included. Clock changes end the time, too.
    """
    local = moment.astimezone(zone_with_newest_rules(zone))
    start, now = datetime.combine(local, time.min), local.replace(tzinfo=None)
    following = (datetime.combine(start, change) for change in changes)
    left = min((change for change in following if change > now), default=start + _DAY) - now
    whole = -(-left // _MINUTE) * _MINUTE
    while whole > _MINUTE and (moment + whole).astimezone(local.tzinfo).utcoffset() != local.utcoffset():
        whole = max(whole // 2 // _MINUTE * _MINUTE, _MINUTE)
    return whole


def clock_of(zones: Iterable[str], states: Iterable[str] = ()) -> Clock:
    """The clock of a recipient in one of these zones and in these states, as the ledger stores it.

    It is '' if neither is known. Clocks of earlier versions have no states.
    """
    return _SEPARATOR.join([*sorted(set(zones)), *(f"{_STATE}{state}" for state in sorted(set(states)))])


@lru_cache(maxsize=4096)
def parts_of(clock: Clock) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The zones and the states of a clock."""
    parts = clock.split(_SEPARATOR) if clock else []
    zones = tuple(part for part in parts if not part.startswith(_STATE))
    return zones, tuple(part.removeprefix(_STATE) for part in parts if part.startswith(_STATE))


def first_allowed(hours: Hours, moment: datetime, clocks: Iterable[Clock]) -> datetime | None:
    """When the first of these recipients may be texted; `None` if that is never or there are no recipients."""
    moments = (hours.next_allowed(moment, clock) for clock in clocks)
    return min((allowed for allowed in moments if allowed is not None), default=None)
