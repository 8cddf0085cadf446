"""Records schedules in the ledger: since when each one exists, and which of its times were started or missed.

The key of a start is its campaign and its planned time, so only one of several schedulers on a ledger makes it. Each
attempt at a start has its own `claimed_at`, so only one of several schedulers takes a start over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from batchsend.exits import Exit
from batchsend.ledger.approvals import ApprovalState
from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import approvals, campaigns, messages, planned_starts, runs, schedules, starts
from batchsend.statuses import IN_FLIGHT, TRIED, Status
from batchsend.utils.timestamps import from_text, to_text

#: Exit codes after which the same start is not tried again. 3, 4, signals and unknown codes are not among them.
FINAL_EXITS = (Exit.DONE, Exit.ATTENTION, Exit.REFUSED, Exit.LATER, Exit.INTERRUPTED)


#: Starts that are, or once were, `StartOutcome.STARTED`.
_MADE = or_(planned_starts.c.outcome == "started", planned_starts.c.ended_at.is_not(None))


class StartOutcome(StrEnum):
    """The outcome of a planned time."""

    STARTED = "started"
    MISSED = "missed"


@dataclass(frozen=True)
class Scheduled:
    """The campaign of a schedule: its name and API base URL."""

    campaign: str
    base_url: str


@dataclass(frozen=True)
class PlannedStart:
    """A planned time and what came of it.

    `claimed_at`: when its latest attempt began; `ended_at` and `exit_code`: how that attempt ended. A start that was
    never made is `MISSED` without an end, with exit code 4 if an earlier start was in the way; one that was made and
    given up is `MISSED` with its end. `approval`: the state of the approval for whose lack that attempt was refused,
    if it can be sent once that is given.
    """

    planned_at: datetime
    outcome: StartOutcome
    claimed_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None
    approval: ApprovalState | None = None

    @property
    def open(self) -> bool:
        """Whether it was started and its end is unknown: it is running, or it was cut short."""
        return self.outcome is StartOutcome.STARTED and self.ended_at is None

    @property
    def unfinished(self) -> bool:
        """Whether it is open, or ended in a way that is tried again."""
        if self.outcome is not StartOutcome.STARTED:
            return False
        return self.open or self.exit_code not in FINAL_EXITS or self.approval is not None


class Attempt(NamedTuple):
    """One start of `send` in the ledger. `exit_code` is `None` while it runs, and for good if it was killed.

    `stop_requested`: whether `batchsend stop` stopped its run, and no later start continued it. `given_up`: whether a
    person stopped it for good.
    """

    run_id: int
    start_id: int
    started_at: datetime
    exit_code: int | None
    stop_requested: bool
    given_up: bool


def watch(ledger: Ledger, who: Scheduled, schedule: str, now: datetime) -> datetime:
    """The time up to which this schedule is handled: its last handled time, else the time since it exists.

    A new or changed schedule begins now, so that earlier times do not count as missed.
    """
    row = {"campaign": who.campaign, "base_url": who.base_url}
    new = {"schedule": schedule, "since": to_text(now)}
    latest = select(func.max(planned_starts.c.planned_at)).where(_of(who))
    with ledger.write() as connection:
        insertion = insert_into(connection, schedules)
        connection.execute(insertion.on_conflict_do_nothing(), {**row, **new})
        changed = update(schedules).where(_schedule_of(who), schedules.c.schedule != schedule)
        connection.execute(changed.values(new))
        since = str(connection.scalar(select(schedules.c.since).where(_schedule_of(who))))
        handled = connection.scalar(latest)
    return from_text(max(since, handled or ""))


def begin_anew(ledger: Ledger, who: Scheduled) -> None:
    """Forgets since when the schedule exists: it begins when a scheduler next sees it."""
    with ledger.write() as connection:
        connection.execute(delete(schedules).where(_schedule_of(who)))


def forget_future(ledger: Ledger, who: Scheduled, now: datetime, since: datetime) -> list[PlannedStart]:
    """Deletes planned starts after `now` and returns them. A schedule from after `now` begins at `since` instead."""
    future = and_(_of(who), planned_starts.c.planned_at > to_text(now))
    with ledger.write() as connection:
        deleted = connection.execute(delete(planned_starts).where(future).returning(*planned_starts.columns))
        forgotten = [_planned(row) for row in deleted.mappings()]
        later = update(schedules).where(_schedule_of(who), schedules.c.since > to_text(now))
        connection.execute(later.values(since=to_text(since)))
    return sorted(forgotten, key=lambda start: start.planned_at)


def claim(
    ledger: Ledger,
    who: Scheduled,
    planned_at: datetime,
    now: datetime,
    outcome: StartOutcome = StartOutcome.STARTED,
    exit_code: int | None = None,
) -> PlannedStart | None:
    """Claims a planned time for this process. Returns `None` if it was handled before, by any scheduler.

    `exit_code`: why a start is `MISSED` that no attempt was made at.
    """
    values = {
        "campaign": who.campaign,
        "base_url": who.base_url,
        "planned_at": to_text(planned_at),
        "outcome": outcome,
        "exit_code": exit_code,
        "claimed_at": to_text(now),
    }
    with ledger.write() as connection:
        insertion = insert_into(connection, planned_starts)
        statement = insertion.on_conflict_do_nothing().returning(*planned_starts.columns)
        row = connection.execute(statement, values).mappings().one_or_none()
    return None if row is None else _planned(row)


def take_over(ledger: Ledger, who: Scheduled, start: PlannedStart, now: datetime) -> PlannedStart | None:
    """Begins another attempt at an unfinished start. Returns `None` where another scheduler was faster.

    The caller must hold the campaign's lock for scheduled starts.
    """
    values = {"claimed_at": to_text(now), "ended_at": None, "exit_code": None}
    with ledger.write() as connection:
        statement = update(planned_starts).where(_same(who, start)).returning(*planned_starts.columns)
        row = connection.execute(statement.values(values)).mappings().one_or_none()
    return None if row is None else _planned(row)


def end(ledger: Ledger, who: Scheduled, start: PlannedStart, exit_code: int, now: datetime) -> bool:
    """Records how the attempt ended. Returns `False` where the start is not this scheduler's any more."""
    return _change(ledger, who, start, ended_at=to_text(now), exit_code=exit_code)


def give_up(ledger: Ledger, who: Scheduled, start: PlannedStart, now: datetime) -> bool:
    """Records that an unfinished start is not tried again. Returns `False` where another scheduler recorded it."""
    ended = to_text(start.ended_at or now)
    return _change(ledger, who, start, outcome=StartOutcome.MISSED, ended_at=ended)


def last_made(ledger: Ledger, who: Scheduled) -> PlannedStart | None:
    """The last start of this schedule that was made, whether or not it was given up later."""
    return _last(ledger, _of(who), _MADE)


def last_planned(ledger: Ledger, who: Scheduled) -> PlannedStart | None:
    """The last start of this schedule that was made or missed, except where an earlier start was in the way."""
    return _last(ledger, _of(who), or_(_MADE, planned_starts.c.exit_code.is_(None)))


def _last(ledger: Ledger, *conditions: ColumnElement[bool]) -> PlannedStart | None:
    query = select(planned_starts).where(*conditions).order_by(planned_starts.c.planned_at.desc()).limit(1)
    with ledger.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    who = Scheduled(row["campaign"], row["base_url"])
    return with_approval(ledger, who, _planned(row))


def with_approval(ledger: Ledger, who: Scheduled, start: PlannedStart) -> PlannedStart:
    """The start, with the state of the approval for whose lack it was refused."""
    if start.exit_code != Exit.REFUSED:
        return start
    # One that was given before the attempt did not help it, and was not noted.
    lacked = approvals.c.needed_at >= to_text(start.claimed_at)
    query = (
        select(approvals.c.state)
        .where(approvals.c.campaign == who.campaign, approvals.c.base_url == who.base_url)
        .where(lacked, approvals.c.state.in_([ApprovalState.ASKED, ApprovalState.APPROVED]))
        .order_by(approvals.c.id.desc())
        .limit(1)
    )
    with ledger.read() as connection:
        state = connection.scalar(query)
    return start if state is None else replace(start, approval=ApprovalState(state))


def attempts_since(ledger: Ledger, who: Scheduled, moment: datetime) -> list[Attempt]:
    """The starts of `send` by anyone that began or ended since `moment`, in order."""
    since = to_text(moment)
    query = (
        select(
            starts.c.run_id,
            starts.c.id,
            starts.c.started_at,
            starts.c.exit_code,
            runs.c.stop_requested_at.is_not(None),
            runs.c.given_up_at.is_not(None),
        )
        .join(runs, runs.c.id == starts.c.run_id)
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .where(campaigns.c.name == who.campaign, campaigns.c.base_url == who.base_url)
        .where(or_(starts.c.started_at >= since, starts.c.ended_at >= since))
        .order_by(starts.c.id)
    )
    with ledger.read() as connection:
        rows = connection.execute(query).all()
    return [
        Attempt(run, start, from_text(started_at), exit_code, stop_requested, given_up)
        for run, start, started_at, exit_code, stop_requested, given_up in rows
    ]


def stop_requested(ledger: Ledger, who: Scheduled, start: PlannedStart) -> bool:
    """Whether `batchsend stop` stopped the run of this start."""
    attempts = attempts_since(ledger, who, start.claimed_at)
    return bool(attempts) and attempts[-1].stop_requested


def was_given_up(ledger: Ledger, who: Scheduled, start: PlannedStart) -> bool:
    """Whether a person has stopped the run of this start for good."""
    attempts = attempts_since(ledger, who, start.planned_at)
    return bool(attempts) and attempts[-1].given_up


def rows_left(ledger: Ledger, who: Scheduled, start: PlannedStart) -> int | None:
    """How many rows have no outcome in the run that this start began or resumed; `None` if it stored no run.

    They wait to be sent, or were being sent when the process was killed.
    """
    attempts = attempts_since(ledger, who, start.planned_at)
    if not attempts:
        return None
    waiting = select(func.count()).where(
        messages.c.run_id == attempts[-1].run_id, messages.c.status.in_([Status.PENDING, IN_FLIGHT])
    )
    with ledger.read() as connection:
        return connection.scalar(waiting) or 0


def costs_rows(ledger: Ledger, who: Scheduled, start: PlannedStart) -> bool:
    """Whether the last two attempts at this start texted no one and left rows `failed` or `unconfirmed`."""
    attempts = attempts_since(ledger, who, start.planned_at)[-2:]
    for attempt in attempts:
        tried = select(messages.c.status).where(
            messages.c.run_id == attempt.run_id,
            messages.c.start_id == attempt.start_id,
            messages.c.status.in_(TRIED),
        )
        with ledger.read() as connection:
            statuses = set(connection.scalars(tried.distinct()))
        if not statuses or not statuses <= {Status.FAILED, Status.UNCONFIRMED}:
            return False
    return len(attempts) == 2


def _change(ledger: Ledger, who: Scheduled, start: PlannedStart, **values: Any) -> bool:
    with ledger.write() as connection:
        return (
            connection.execute(update(planned_starts).where(_same(who, start)).values(values)).rowcount == 1
        )


def _same(who: Scheduled, start: PlannedStart) -> ColumnElement[bool]:
    """The start as it was read: not when another scheduler took it over or gave it up since."""
    return and_(
        _of(who),
        planned_starts.c.planned_at == to_text(start.planned_at),
        planned_starts.c.claimed_at == to_text(start.claimed_at),
        planned_starts.c.outcome == start.outcome,
    )


def _planned(row: Any) -> PlannedStart:
    ended = row["ended_at"]
    return PlannedStart(
        from_text(row["planned_at"]),
        StartOutcome(row["outcome"]),
        from_text(row["claimed_at"]),
        None if ended is None else from_text(ended),
        row["exit_code"],
    )


def _of(who: Scheduled) -> ColumnElement[bool]:
    return and_(planned_starts.c.campaign == who.campaign, planned_starts.c.base_url == who.base_url)


def _schedule_of(who: Scheduled) -> ColumnElement[bool]:
    return and_(schedules.c.campaign == who.campaign, schedules.c.base_url == who.base_url)
