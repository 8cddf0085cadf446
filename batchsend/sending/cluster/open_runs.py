"""Shared state of a run that several processes send. All of it is in the ledger.

A run is *open* from the moment its plan is stored until it ends. While it is open, workers may help to send it, and
they continue if the `send` that planned it leaves or dies, until a start plans it again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, update

from batchsend.campaigns.quiet_hours import first_allowed
from batchsend.errors import BusyError, LedgerError
from batchsend.exits import Exit, exit_of_rows
from batchsend.ledger.bulk import insert_into
from batchsend.ledger.cluster_schema import COUNTED, SERVER_CLOCK, handovers, leases, paces
from batchsend.ledger.leases import (
    ALIVE,
    EXPIRED,
    end_leases,
    interrupt_orphans,
    live_leases,
    wait_until_expired,
)
from batchsend.ledger.ledger import Held, Ledger
from batchsend.ledger.postgres import notify
from batchsend.ledger.runs import code_counts
from batchsend.ledger.schema import campaigns, messages, runs, starts
from batchsend.sending.outbox import OPEN_ROW, Outbox
from batchsend.sending.run_settings import RunSettings
from batchsend.statuses import IN_FLIGHT
from batchsend.utils.timestamps import now

#: Workers ignore a run that no process has sent for so many seconds. To send it, start it again.
FORGOTTEN_AFTER = timedelta(hours=24).total_seconds()

_of_run = messages.c.run_id == handovers.c.run_id
#: Conditions on `handovers`: rows of the run are left to claim; or claimed rows have no outcome yet.
ROWS_TO_CLAIM = exists().where(_of_run, OPEN_ROW)
_ROWS_LEFT = exists().where(_of_run, or_(OPEN_ROW, messages.c.status == IN_FLIGHT))
#: A request or a problem stopped the run.
_stopped = or_(
    handovers.c.stopped_because.is_not(None),
    exists().where(runs.c.id == handovers.c.run_id, runs.c.stop_requested_at.is_not(None)),
)
_IS_OVER = and_(
    ~exists().where(leases.c.run_id == handovers.c.run_id, ALIVE),
    or_(_stopped, and_(handovers.c.open, ~_ROWS_LEFT)),
)


@dataclass(frozen=True)
class OpenRun:
    """A run that workers may send, as planned by the start `start_id`."""

    run_id: int
    start_id: int
    settings: RunSettings


def channel_of(base_url: str) -> str:
    """The channel of all runs to one API, hashed because PostgreSQL's channels have short names."""
    return f"batchsend-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}"


def hand_over(
    connection: Connection, run_id: int, start_id: int, settings: RunSettings, first_in: float = 0.0
) -> None:
    """Opens a run for workers, in the transaction that stores its plan. `first_in`: seconds until its first slot."""
    values = {
        "run_id": run_id,
        "start_id": start_id,
        "base_url": settings.base_url,
        "settings": settings.to_json(),
        "open": True,
        "stopped_because": None,
        **dict.fromkeys(COUNTED, 0),
    }
    pace = {"run_id": run_id, "configured_rate": settings.rate, "rate": settings.rate}
    first = SERVER_CLOCK + first_in
    fresh = {"next_slot": first, "paused_until": 0.0, "slowed_at": 0.0}
    # Slots that are reserved stay reserved when the run is started again.
    kept = {"next_slot": func.greatest(paces.c.next_slot, first)}
    for table, row, new, old in ((handovers, values, {}, {}), (paces, pace, fresh, kept)):
        insertion = insert_into(connection, table).values(row | new)
        replaced = {name: insertion.excluded[name] for name in row} | old
        connection.execute(insertion.on_conflict_do_update(index_elements=["run_id"], set_=replaced))
    notify(connection, channel_of(settings.base_url), str(run_id))


def close_run(ledger: Ledger, run: OpenRun, because: str | None = None) -> None:
    """Closes a run, so that no process claims more rows, unless it was planned again since.

    `because`: the problem that the others should report.
    """
    values: dict[str, Any] = {"open": False}
    if because is not None:
        values["stopped_because"] = func.coalesce(handovers.c.stopped_because, because)
    this = (handovers.c.run_id == run.run_id, handovers.c.start_id == run.start_id)
    with ledger.write() as connection:
        connection.execute(update(handovers).where(*this).values(values))


def _open_runs(*which: ColumnElement[bool]) -> Select[tuple[int]]:
    """The query for the runs that workers may send and that meet these conditions on `handovers`."""
    return (
        select(handovers.c.run_id)
        .join(runs, runs.c.id == handovers.c.run_id)
        .join(paces, paces.c.run_id == handovers.c.run_id)
        .where(
            handovers.c.open,
            runs.c.stop_requested_at.is_(None),
            paces.c.next_slot > SERVER_CLOCK - FORGOTTEN_AFTER,
            *which,
        )
        .order_by(handovers.c.run_id)
    )


def open_run(ledger: Ledger, run_id: int, *conditions: ColumnElement[bool]) -> OpenRun | None:
    """The run, or `None` where workers may not send it, or where it does not meet the conditions.

    Raises `LedgerError`, also where another version of batchsend planned it.
    """
    query = _open_runs(handovers.c.run_id == run_id, *conditions)
    with ledger.read() as connection:
        found = connection.execute(
            query.add_columns(handovers.c.start_id, handovers.c.settings)
        ).one_or_none()
    return None if found is None else _planned_run(*found)


def open_run_ids(ledger: Ledger, *which: ColumnElement[bool]) -> list[int]:
    """All runs that workers may send and that meet these conditions on `handovers`."""
    with ledger.read() as connection:
        return list(connection.scalars(_open_runs(*which)))


def open_runs_of(ledger: Ledger, name: str, base_url: str) -> list[int]:
    """The campaign's runs that have rows left for workers, also if no worker is there now."""
    return open_run_ids(ledger, handovers.c.run_id.in_(_runs_of(name, base_url)), _ROWS_LEFT)


def _planned_run(run_id: int, start_id: int, settings: str) -> OpenRun:
    return OpenRun(run_id, start_id, RunSettings.from_json(settings))


def wait_for_senders(ledger: Ledger, name: str, base_url: str) -> Held:
    """Waits until no other process sends this campaign. Returns a function that takes its runs back.

    A process that was killed a moment ago still has a lease, which is waited for. Raises `BusyError` where a process
    renews its lease. The function closes the runs, in the transaction that plans the campaign again. Until that is
    committed, workers may continue them; where one has, the function raises `BusyError`.
    """
    of_campaign = handovers.c.run_id.in_(_runs_of(name, base_url))
    of_leases = leases.c.run_id.in_(_runs_of(name, base_url))

    def lock(connection: Connection) -> None:
        # A process that takes a lease finds these rows locked, and others lock them before rows of `messages`, too.
        connection.execute(select(handovers.c.run_id).where(of_campaign).with_for_update())
        # A process that was suspended meanwhile could renew its lease later, and send the rows that it has claimed.
        end_leases(connection, and_(EXPIRED, of_leases))
        check_free(connection, name, base_url)

    def take_back(connection: Connection) -> None:
        lock(connection)
        if _sent_so_far(connection, of_campaign) != sent:
            raise BusyError(
                f'"{name}" was sent by workers since this start planned it. Nothing was sent by this start. Run it '
                f"again to send what is left."
            )
        connection.execute(update(handovers).where(of_campaign).values(open=False))

    with ledger.read() as connection:
        _check_not_left_to_workers(connection, name, base_url)
    wait_until_expired(ledger, of_leases, BusyError.sending(name))
    with ledger.write() as connection:
        lock(connection)
        interrupt_orphans(connection, messages.c.run_id.in_(_runs_of(name, base_url)))
        sent = _sent_so_far(connection, of_campaign)
    return take_back


def _sent_so_far(connection: Connection, which: ColumnElement[bool]) -> list[Any]:
    """What changes whenever a process sends rows of these runs, or skips them."""
    query = (
        select(paces.c.run_id, paces.c.next_slot, *(handovers.c[name] for name in COUNTED))
        .join(handovers, handovers.c.run_id == paces.c.run_id)
        .where(which)
        .order_by(paces.c.run_id)
    )
    return list(connection.execute(query).all())


def check_free(connection: Connection, name: str, base_url: str) -> None:
    """Raises `BusyError` where a process sends this campaign, or workers can send what is left of it."""
    _check_not_left_to_workers(connection, name, base_url)
    if live_leases(connection, leases.c.run_id.in_(_runs_of(name, base_url))):
        raise BusyError.sending(name)


def _check_not_left_to_workers(connection: Connection, name: str, base_url: str) -> None:
    of_campaign = handovers.c.run_id.in_(_runs_of(name, base_url))
    of_api = leases.c.base_url == handovers.c.base_url
    has_worker = exists().where(leases.c.worker, leases.c.run_id.is_(None), of_api, ALIVE)
    run_id = connection.scalar(_open_runs(of_campaign, has_worker, _ROWS_LEFT))
    if run_id is not None:
        raise BusyError(
            f'"{name}" is being sent by workers: run {run_id} was handed over to them. `batchsend results {run_id}` '
            f"writes its results so far. To send the rest from here, stop it with `batchsend stop {run_id}` and run "
            f"this again. Nothing was sent by this start."
        )


def _runs_of(name: str, base_url: str) -> Any:
    return (
        select(runs.c.id)
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .where(campaigns.c.name == name, campaigns.c.base_url == base_url)
    )


class EndedRun(NamedTuple):
    """A run that is over, and why: the exit code of its start, and what ended it."""

    run_id: int
    exit: Exit
    because: str


def end_runs(ledger: Ledger) -> list[EndedRun]:
    """Ends the runs that no process sends and that are done, or that a request or a problem stopped.

    With `wait`, rows in quiet hours keep a run open, if these hours end.
    """
    ended = []
    columns = (handovers.c.run_id, handovers.c.start_id, handovers.c.settings, _stopped)
    query = select(*columns).join(starts, starts.c.id == handovers.c.start_id)
    with ledger.read() as connection:
        over = connection.execute(query.where(starts.c.ended_at.is_(None), _IS_OVER)).all()
    for run_id, start_id, settings, stopped in over:
        try:
            if not stopped and end_quiet_hours(ledger, _planned_run(run_id, start_id, settings)):
                continue
        except LedgerError:
            # Another version of batchsend planned it.
            continue
        this = (handovers.c.run_id == run_id, handovers.c.start_id == start_id, _IS_OVER)
        closed = update(handovers).where(*this).values(open=False).returning(handovers.c.stopped_because)
        with ledger.write() as connection:
            # Another worker may just have let rows be claimed whose quiet hours ended.
            last = connection.execute(closed).one_or_none()
        if last is not None:
            end = EndedRun(run_id, *_end_of(ledger, run_id, last.stopped_because, stopped=stopped))
            ledger.end_start(start_id, end.exit, end.because)
            ended.append(end)
    return ended


def end_quiet_hours(ledger: Ledger, run: OpenRun) -> bool:
    """Lets rows be claimed again whose quiet hours have ended. Returns whether any can be sent, now or later."""
    hours = run.settings.awaited_hours
    if hours is None:
        return False
    # It claims nothing.
    outbox = Outbox(ledger, run.run_id, run.start_id, "")
    clocks = outbox.quiet_clocks()
    outbox.end_quiet_hours([clock for clock in clocks if hours.allows(now(), clock)])
    return first_allowed(hours, now(), clocks) is not None


def _end_of(ledger: Ledger, run_id: int, because: str | None, *, stopped: bool) -> tuple[Exit, str]:
    """The exit code of a run that is over, and what ended it."""
    if because is not None:
        return Exit.STOPPED, because
    if stopped:
        return Exit.INTERRUPTED, "a stop was requested"
    rows = {(status, codes): count for status, codes, count in code_counts(ledger, run_id)}
    return exit_of_rows(rows), "done"
