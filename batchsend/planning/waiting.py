"""Decides which rows have to wait: for quiet hours, for a daily or hourly cap, or because of `--limit`.

Rows that can be sent now are `pending` `STOPPED`. A row that has to wait gets another code, which says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import accumulate, takewhile
from math import inf
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, bindparam, func, select, true, update

from batchsend.campaigns.quiet_hours import Clock, Hours, first_allowed
from batchsend.errors import GuardError
from batchsend.ledger.bulk import execute_for_all
from batchsend.ledger.history import Waited
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import messages
from batchsend.planning.hourly_cap import HourlyCap
from batchsend.statuses import Code, Status


@dataclass(frozen=True)
class WaitRules:
    """What makes rows wait. `wait`: this start stays until quiet hours end and all are sent.

    `left_today` and `segments_left_today`: what is left under the daily caps.
    """

    now: datetime
    zone: ZoneInfo
    hours: Hours | None = None
    left_today: int | None = None
    segments_left_today: int | None = None
    hourly: HourlyCap | None = None
    limit: int | None = None
    wait: bool = False

    @property
    def leaving(self) -> tuple[Code, ...]:
        """The codes of the rows that this start sends, now or after their quiet hours."""
        return (Code.STOPPED, Code.QUIET_HOURS) if self.wait else (Code.STOPPED,)

    def is_quiet(self, clock: Clock) -> bool:
        """Whether a recipient with this clock has quiet hours now."""
        return self.hours is not None and not self.hours.allows(self.now, clock)

    def has_no_hours(self, clock: Clock) -> bool:
        """Whether the quiet hours of a recipient with this clock do not end."""
        return self.hours is not None and self.hours.next_allowed(self.now, clock) is None


#: Finds out how long keys have waited for a text of the campaign.
HowLong = Callable[[Sequence[str]], Mapping[str, Waited]]


def mark_waiting(plan: Ledger, run_id: int, rules: WaitRules, how_long: HowLong = lambda _: {}) -> None:
    """Gives each row of a plan that has to wait the code that says why.

    A row that waits for its quiet hours does not count for a cap, unless this start waits for it and they end.
    Caps let the rows go first that have waited longest, so that no row waits forever; `--limit` keeps the list's
    order.
    """
    if rules.limit is not None and rules.limit < 0:
        raise GuardError("--limit needs a number of texts, 0 or more")
    _hold_for_quiet_hours(plan, run_id, rules.has_no_hours if rules.wait else rules.is_quiet)
    _hold_beyond_cap(plan, run_id, Code.DAILY_CAP, rules.left_today, rules.segments_left_today, how_long)
    if rules.hourly is not None and not rules.wait:
        _hold_beyond_cap(plan, run_id, Code.HOURLY_CAP, rules.hourly.left, None, how_long)
    _hold_beyond_limit(plan, run_id, rules.limit)
    if rules.wait:
        _hold_for_quiet_hours(plan, run_id, rules.is_quiet)


def waiting_until(ledger: Ledger, run_id: int, rules: WaitRules) -> datetime | None:
    """When the first of the run's waiting rows may be sent, in UTC; `None` if no row waits for a time."""
    moments = []
    quiet = _clocks(ledger, run_id, Code.QUIET_HOURS)
    if rules.hours is not None and quiet:
        moments.append(first_allowed(rules.hours, rules.now, quiet))
    capped = _clocks(ledger, run_id, Code.DAILY_CAP)
    if capped:
        tomorrow = next_midnight(rules.now, rules.zone)
        if rules.hours is None:
            moments.append(tomorrow)
        else:
            moments.append(first_allowed(rules.hours, tomorrow, capped))
    if rules.hourly is not None and (later := _clocks(ledger, run_id, Code.HOURLY_CAP)):
        again = max(rules.now, rules.hourly.again_at)
        moments.append(again if rules.hours is None else first_allowed(rules.hours, again, later))
    return min((moment for moment in moments if moment is not None), default=None)


def next_midnight(moment: datetime, zone: ZoneInfo) -> datetime:
    """The start of the next calendar day in `zone`, as a time in the zone of `moment`."""
    tomorrow = moment.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time.min, tzinfo=zone).astimezone(moment.tzinfo)


def _hold_for_quiet_hours(plan: Ledger, run_id: int, has_to_wait: Callable[[Clock], bool]) -> None:
    held = [clock for clock in _clocks(plan, run_id, Code.STOPPED) if has_to_wait(clock)]
    if held:
        _recode(plan, run_id, _has_clock(held), Code.QUIET_HOURS)


def rows_without_hours(plan: Ledger, run_id: int, rules: WaitRules) -> int:
    """How many rows wait for quiet hours that do not end: it is always night in one of the recipient's zones."""
    never = [clock for clock in _clocks(plan, run_id, Code.QUIET_HOURS) if rules.has_no_hours(clock)]
    query = select(func.count()).where(*_waiting(run_id, Code.QUIET_HOURS), _has_clock(never))
    with plan.read() as connection:
        return connection.scalar(query) or 0 if never else 0


def _has_clock(clocks: Sequence[str]) -> ColumnElement[bool]:
    return func.coalesce(messages.c.clock, "").in_(clocks)


def _hold_beyond_cap(
    plan: Ledger, run_id: int, code: Code, texts: int | None, segments: int | None, how_long: HowLong
) -> None:
    """Holds the rows beyond so many texts and segments."""
    if texts is None and segments is None:
        return
    columns = (messages.c.row, messages.c.key, messages.c.segments)
    query = select(*columns).where(*_waiting(run_id, Code.STOPPED)).order_by(messages.c.row)
    with plan.read() as connection:
        rows = connection.execute(query).all()
    if _fitting(rows, texts, segments) == len(rows):
        return
    waited = how_long([row.key for row in rows])
    # Sorting keeps the list's order among rows that have waited equally long.
    rows = sorted(rows, key=lambda row: _place(waited.get(row.key)))
    _recode(plan, run_id, true(), code)
    if fitting := _fitting(rows, texts, segments):
        first = update(messages).where(messages.c.run_id == run_id, messages.c.row == bindparam("first"))
        with plan.write() as connection:
            execute_for_all(
                connection, first.values(codes=Code.STOPPED), [{"first": row.row} for row in rows[:fitting]]
            )


def _fitting(rows: Sequence[Any], texts: int | None, segments: int | None) -> int:
    """How many of the first rows are within so many texts and segments."""
    fitting = len(rows) if texts is None else min(texts, len(rows))
    if segments is None:
        return fitting
    sums = accumulate(row.segments for row in rows[:fitting])
    return sum(1 for _ in takewhile(lambda so_far: so_far <= segments, sums))


def _place(waited: Waited | None) -> tuple[str, float]:
    """A row's place in the queue for today's cap.

    First rows that were never tried, those that earlier runs left waiting before new ones; then by the day of the
    last request, in UTC. A customer whose texts fail each day goes to the end each day.
    """
    if waited is None:
        return "", inf
    if waited.tried_at:
        return waited.tried_at[:10], 0
    return "", inf if waited.since_run is None else waited.since_run


def _hold_beyond_limit(plan: Ledger, run_id: int, count: int | None) -> None:
    if count is None:
        return
    query = (
        select(messages.c.row)
        .where(*_waiting(run_id, Code.STOPPED))
        .order_by(messages.c.row)
        .offset(count)
        .limit(1)
    )
    with plan.read() as connection:
        first = connection.scalar(query)
    if first is not None:
        _recode(plan, run_id, messages.c.row >= first, Code.HELD_BACK)


def _recode(plan: Ledger, run_id: int, which: ColumnElement[bool], code: Code) -> None:
    with plan.write() as connection:
        connection.execute(update(messages).where(*_waiting(run_id, Code.STOPPED), which).values(codes=code))


def _clocks(ledger: Ledger, run_id: int, code: Code) -> list[str]:
    query = select(messages.c.clock).where(*_waiting(run_id, code)).distinct()
    with ledger.read() as connection:
        return [clock or "" for clock in connection.scalars(query)]


def _waiting(run_id: int, code: Code) -> Iterable[ColumnElement[bool]]:
    return messages.c.run_id == run_id, messages.c.status == Status.PENDING, messages.c.codes == code
