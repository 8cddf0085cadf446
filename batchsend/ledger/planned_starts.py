"""Records schedules in the ledger: since when each one exists, and which of its times were started or missed.

The key of a start is its campaign and its planned time, so only one of several schedulers on a ledger starts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, select, update

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import planned_starts, schedules
from batchsend.utils.timestamps import from_text, to_text


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
class Scheduler:
    """A process that starts campaigns: its computer and process id."""

    host: str
    process: int


@dataclass(frozen=True)
class LastStart:
    """The last start of a schedule; `exit_code` is `None` if its end is unknown."""

    planned_at: datetime
    exit_code: int | None


def watch(ledger: Ledger, who: Scheduled, schedule: str, now: datetime) -> datetime:
    """The time up to which this schedule is handled: its last handled time, else the time since it exists.

    A new or changed schedule begins now, so that earlier times do not count as missed.
    """
    row = {"campaign": who.campaign, "base_url": who.base_url}
    new = {"schedule": schedule, "since": to_text(now)}
    of_campaign = and_(schedules.c.campaign == who.campaign, schedules.c.base_url == who.base_url)
    latest = select(func.max(planned_starts.c.planned_at)).where(_of(who))
    with ledger.write() as connection:
        insertion = insert_into(connection, schedules)
        connection.execute(insertion.on_conflict_do_nothing(), {**row, **new})
        connection.execute(update(schedules).where(of_campaign, schedules.c.schedule != schedule).values(new))
        since = str(connection.scalar(select(schedules.c.since).where(of_campaign)))
        handled = connection.scalar(latest)
    return from_text(max(since, handled or ""))


def claim(
    ledger: Ledger, who: Scheduled, planned_at: datetime, outcome: StartOutcome, by: Scheduler, now: datetime
) -> bool:
    """Claims a planned time for this scheduler. Returns False if it was handled before, by any scheduler."""
    values = {
        "campaign": who.campaign,
        "base_url": who.base_url,
        "planned_at": to_text(planned_at),
        "outcome": outcome,
        "claimed_at": to_text(now),
        "host": by.host,
        "process": by.process,
    }
    with ledger.write() as connection:
        insertion = insert_into(connection, planned_starts)
        statement = insertion.on_conflict_do_nothing().returning(planned_starts.c.planned_at)
        return connection.execute(statement, values).one_or_none() is not None


def end(ledger: Ledger, who: Scheduled, planned_at: datetime, exit_code: int, now: datetime) -> None:
    """Records how a start ended."""
    statement = update(planned_starts).where(_of(who), planned_starts.c.planned_at == to_text(planned_at))
    with ledger.write() as connection:
        connection.execute(statement.values(ended_at=to_text(now), exit_code=exit_code))


def take_over(
    ledger: Ledger,
    who: Scheduled,
    since: datetime,
    by: Scheduler,
    alive: Callable[[int], bool],
    now: datetime,
) -> datetime | None:
    """Takes over the last start if its scheduler ran on this computer and ended before it did.

    Returns its planned time, else `None`. `since`: earlier planned times are ignored; `alive`: whether a process with
    this id is running.
    """
    last = select(planned_starts).where(_of(who)).order_by(planned_starts.c.planned_at.desc()).limit(1)
    with ledger.write() as connection:
        row = connection.execute(last).mappings().one_or_none()
        if (
            row is None
            or row["outcome"] != StartOutcome.STARTED
            or row["ended_at"] is not None
            or row["planned_at"] < to_text(since)
            or row["host"] != by.host
            or (row["process"] != by.process and alive(row["process"]))
        ):
            return None
        statement = update(planned_starts).where(
            _of(who),
            planned_starts.c.planned_at == row["planned_at"],
            planned_starts.c.process == row["process"],
            planned_starts.c.claimed_at == row["claimed_at"],
        )
        taken = connection.execute(statement.values(process=by.process, claimed_at=to_text(now)))
        return from_text(row["planned_at"]) if taken.rowcount == 1 else None


def last_start(ledger: Ledger, who: Scheduled) -> LastStart | None:
    """The last start of this campaign by a scheduler."""
    query = (
        select(planned_starts.c.planned_at, planned_starts.c.exit_code)
        .where(_of(who), planned_starts.c.outcome == StartOutcome.STARTED)
        .order_by(planned_starts.c.planned_at.desc())
        .limit(1)
    )
    with ledger.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else LastStart(from_text(row.planned_at), row.exit_code)


def _of(who: Scheduled) -> ColumnElement[bool]:
    return and_(planned_starts.c.campaign == who.campaign, planned_starts.c.base_url == who.base_url)
