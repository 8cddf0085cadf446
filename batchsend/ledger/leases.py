"""Leases: which of several processes may send a run or holds a lock. A claim lasts as long as its owner's lease.

Every process renews its leases in time, from one thread. If it does not (killed, suspended, cut off), other processes
take its locks and mark its claims as `unconfirmed`: these texts may have been sent and are not sent again. A process
whose lease has expired by either of its clocks sends nothing until it has renewed the lease, or has found that it
lost it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Update,
    and_,
    delete,
    exists,
    func,
    select,
    update,
)

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.bulk import insert_into
from batchsend.ledger.cluster_schema import COUNTED, SERVER_CLOCK, handovers, leases, seconds_of
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import notify, run_channel, server_engine
from batchsend.ledger.schema import messages, runs
from batchsend.statuses import IN_FLIGHT, Code, Status

#: How long a lease lasts unless it is renewed.
LEASE_SECONDS = 10.0
#: How often it is renewed ...
_RENEW_SECONDS = 2.5
#: ... and how soon a failed renewal is retried.
_RETRY_SECONDS = 0.5
#: Its owner stops this much earlier, because a request that is just leaving needs a moment.
_MARGIN_SECONDS = 1.0

_server_age = SERVER_CLOCK - seconds_of(func.pg_postmaster_start_time())
#: After the database restarted, all processes first get the time to renew their leases.
EXPIRED = and_(leases.c.lease_until < SERVER_CLOCK, _server_age > LEASE_SECONDS)
ALIVE = ~EXPIRED
_renewed_until = SERVER_CLOCK + LEASE_SECONDS
#: Locks and presences of processes that will not come back.
_FORGOTTEN = and_(leases.c.run_id.is_(None), leases.c.lease_until < SERVER_CLOCK - 30 * 86_400)
#: How often a start checks whether an expired lease was renewed.
_WATCH_SECONDS = 0.25


class Holder(NamedTuple):
    """A process that holds leases: its name for people, the API to which it sends, and whether it is a worker."""

    holder: str
    base_url: str
    worker: bool


class LeaseLostError(LedgerError):
    """Other processes took this one for dead and marked its claims as `unconfirmed`."""

    def __init__(self) -> None:
        super().__init__(
            "This process was suspended or could not reach the ledger for so long that others continued without it. "
            "Its requests in flight are now `unconfirmed`."
        )


def clocks() -> tuple[float, float]:
    """The current time by this computer's monotonic clock and by its wall clock."""
    return time.monotonic(), time.time()


class Lease:
    """One process's right to send one run, its lock, or its presence as a worker. May be used from any thread."""

    def __init__(self) -> None:
        self.owner = uuid.uuid4().hex
        self.lost = False
        self._until = (0.0, 0.0)

    def extend(self, began: tuple[float, float]) -> None:
        """Notes that a statement that began at this time took or renewed it. The server's time starts later."""
        lasts = LEASE_SECONDS - _MARGIN_SECONDS
        (monotonic, wall), (began_monotonic, began_wall) = self._until, began
        self._until = (max(monotonic, began_monotonic + lasts), max(wall, began_wall + lasts))

    def valid(self) -> bool:
        """Whether it lasts by both clocks: one may stop while the machine is suspended, the other may be set.

        Raises `LeaseLostError` where it is lost.
        """
        if self.lost:
            raise LeaseLostError
        return all(clock < until for clock, until in zip(clocks(), self._until, strict=True))

    def is_held_in(self, connection: Connection) -> bool:
        """Whether it was not ended. Until the transaction ends, no other process can end it or take its lock."""
        # Its own thread can still renew it: that changes no key.
        own = select(leases.c.owner).where(leases.c.owner == self.owner)
        return connection.scalar(own.with_for_update(read=True, key_share=True)) is not None


class LeaseKeeper:
    """Takes leases for this process and renews them, from one thread and over one connection for each database.

    May be used from any thread.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = Ledger(server_engine(ledger.url, connections=1), ledger.where, None)
        self._leases: dict[str, Lease] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, ledger: Ledger) -> LeaseKeeper:
        """The keeper of this process's leases in this database. It needs no open ledger."""
        if ledger.full_url not in _keepers:
            _keepers[ledger.full_url] = cls(ledger)
        return _keepers[ledger.full_url]

    def take(
        self,
        holder: Holder,
        run_id: int | None = None,
        start_id: int | None = None,
        lock_name: str | None = None,
    ) -> Lease | None:
        """Takes a lease on a run as this start planned it, or on a lock. Without either, it shows a waiting worker.

        `None`: the run was closed, stopped or planned again, so that it may not be sent any more; or another process
        holds the lock.
        """
        lease = Lease()
        lease.extend(clocks())
        row = {"owner": lease.owner, "run_id": run_id, "lock_name": lock_name, **holder._asdict()}
        with self._changed:
            with self._write() as connection:
                connection.execute(delete(leases).where(_FORGOTTEN))
                may_be_sent = run_id is None or _may_be_sent(connection, run_id, start_id)
                if not may_be_sent or not _store(connection, row):
                    return None
            self._leases[lease.owner] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, name="leases", daemon=True)
                self._thread.start()
        return lease

    def give_up(self, lease: Lease, *, settled: bool = True) -> None:
        """Gives a lease up. If the ledger cannot be reached, it expires by itself.

        `settled`: no row is claimed under it; otherwise such rows become `unconfirmed`.
        """
        with self._changed:
            self._leases.pop(lease.owner, None)
            self._changed.notify()
        with suppress(LedgerError), self._write() as connection:
            end_leases(connection, leases.c.owner == lease.owner, settled=settled)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """A transaction. Without a lease, its connection is not kept."""
        with self._changed:
            try:
                with self._ledger.write() as connection:
                    yield connection
            finally:
                if not self._leases:
                    self._ledger.close()

    def _renew_all(self) -> None:
        """Renews leases until none is left."""
        pause = _RENEW_SECONDS
        with self._changed:
            while not self._changed.wait_for(lambda: not self._leases, pause):
                try:
                    self._renew()
                    pause = _RENEW_SECONDS
                except LedgerError:
                    pause = _RETRY_SECONDS
            self._thread = None
            self._ledger.close()

    def _renew(self) -> None:
        began = clocks()
        with self._write() as connection:
            renewed = set(
                connection.scalars(renewal(leases.c.owner.in_(self._leases)).returning(leases.c.owner))
            )
        for owner, lease in list(self._leases.items()):
            if owner in renewed:
                lease.extend(began)
            else:
                lease.lost = True
                del self._leases[owner]


#: By the URL of their database.
_keepers: dict[str, LeaseKeeper] = {}


def _store(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Stores a new lease. `False`: its lock is another process's."""
    insertion = insert_into(connection, leases).values({**row, "lease_until": _renewed_until})
    replaced = {name: insertion.excluded[name] for name in (*row, "lease_until")}
    taken = insertion.on_conflict_do_update(index_elements=["lock_name"], set_=replaced, where=EXPIRED)
    return connection.scalar(taken.returning(leases.c.owner)) is not None


def _may_be_sent(connection: Connection, run_id: int, start_id: int | None) -> bool:
    run = select(handovers.c.run_id).join(runs, runs.c.id == handovers.c.run_id)
    allowed = run.where(
        handovers.c.run_id == run_id,
        handovers.c.start_id == start_id,
        handovers.c.open,
        runs.c.stop_requested_at.is_(None),
    )
    # A start that plans the campaign again waits for this transaction. This one fails meanwhile and is retried: a
    # large plan takes long, and this process has other leases to renew.
    return connection.scalar(allowed.with_for_update(read=True, nowait=True, of=handovers)) is not None


def wait_until_expired(ledger: Ledger, which: ColumnElement[bool], busy: BusyError) -> None:
    """Waits until none of these leases is alive. Raises `busy` once a process takes or renews one.

    So a start waits for a process that was killed a moment ago, and not for one that runs.
    """
    seen: Mapping[str, float] | None = None
    while True:
        with ledger.read() as connection:
            found = live_leases(connection, which)
        if not found:
            return
        if seen is not None and any(until != seen.get(owner) for owner, until in found.items()):
            raise busy
        seen = found
        time.sleep(_WATCH_SECONDS)


def live_leases(connection: Connection, which: ColumnElement[bool]) -> dict[str, float]:
    """Which of these leases are alive: owner -> their end."""
    return dict(connection.execute(select(leases.c.owner, leases.c.lease_until).where(which, ALIVE)).all())


def renewal(which: ColumnElement[bool]) -> Update:
    """The statement that renews leases, including expired ones that are still in the database."""
    return update(leases).where(which).values(lease_until=_renewed_until)


def interrupt_expired(ledger: Ledger, run_id: int | None = None) -> None:
    """Deletes expired leases and marks the rows claimed under them as `unconfirmed`.

    Expired locks and presences stay, for a process that renews one later. With `run_id`, it does so for this run
    only, and also marks rows that were claimed under a lease that is gone.
    """
    of_run = leases.c.run_id.is_not(None) if run_id is None else leases.c.run_id == run_id
    with ledger.write() as connection:
        end_leases(connection, and_(EXPIRED, of_run))
        if run_id is not None:
            interrupt_orphans(connection, messages.c.run_id == run_id)


def end_leases(connection: Connection, which: ColumnElement[bool], *, settled: bool = False) -> None:
    """Deletes leases, adds what they counted to their runs, and marks the rows claimed under them as `unconfirmed`.

    `settled`: no row is claimed under them.
    """
    # In the order in which other transactions lock them.
    of_leases = select(leases.c.run_id).where(which)
    connection.execute(select(handovers.c.run_id).where(handovers.c.run_id.in_(of_leases)).with_for_update())
    ended = delete(leases).where(which).returning(leases).cte("ended")
    counts = {name: func.sum(ended.c[name]) for name in COUNTED}
    run_ids = connection.scalars(_counted(ended, counts).returning(handovers.c.run_id)).all()
    if not settled and run_ids:
        interrupt_orphans(connection, messages.c.run_id.in_(run_ids))
    for run_id in run_ids:
        notify(connection, run_channel(run_id))


def interrupt_orphans(connection: Connection, which: ColumnElement[bool]) -> None:
    """Marks rows as `unconfirmed` that were claimed under leases that are gone.

    `which`: a condition on `messages`.
    """
    has_lease = exists().where(leases.c.owner == messages.c.owner)
    orphaned = update(messages).where(which, messages.c.status == IN_FLIGHT, ~has_lease)
    interrupted = {"status": Status.UNCONFIRMED, "codes": Code.INTERRUPTED, "owner": None}
    marked = orphaned.values(interrupted).returning(messages.c.run_id).cte("marked")
    connection.execute(_counted(marked, {"unconfirmed": func.count()}))


def _counted(changed: CTE, counts: Mapping[str, ColumnElement[Any]]) -> Update:
    """The statement that changes rows and adds these aggregates of them to the counters of their runs."""
    by_run = select(changed.c.run_id, *(count.label(name) for name, count in counts.items()))
    more = by_run.group_by(changed.c.run_id).subquery()
    sums = {name: handovers.c[name] + more.c[name] for name in counts}
    return update(handovers).where(handovers.c.run_id == more.c.run_id).values(sums)
