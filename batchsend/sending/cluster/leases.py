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
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from typing import NamedTuple, NoReturn

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Table,
    Update,
    and_,
    cast,
    delete,
    extract,
    func,
    or_,
    select,
    update,
)

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import notify, run_channel, server_engine
from batchsend.ledger.schema import COUNTED, SERVER_CLOCK, handovers, leases, messages, runs
from batchsend.statuses import IN_FLIGHT, Code, Status

#: How long a lease lasts unless it is renewed.
LEASE_SECONDS = 10.0
#: How often it is renewed ...
_RENEW_SECONDS = 2.5
#: ... and how soon a failed renewal is retried.
_RETRY_SECONDS = 0.5
#: Its owner stops this much earlier, because a request that is just leaving needs a moment.
_MARGIN_SECONDS = 1.0

_server_started = cast(extract("epoch", func.pg_postmaster_start_time()), Double)
#: After the database restarted, all processes first get the time to renew their leases.
EXPIRED = and_(leases.c.lease_until < SERVER_CLOCK, SERVER_CLOCK - _server_started > LEASE_SECONDS)
ALIVE = ~EXPIRED
#: How often a start checks whether an expired lease was renewed.
_WATCH_SECONDS = 0.25


class Holder(NamedTuple):
    """A process that holds leases: its name for people, the API to which it sends, and whether it is a worker."""

    name: str
    base_url: str
    worker: bool


class LeaseLostError(LedgerError):
    """Other processes took this one for dead and marked its claims as `unconfirmed`."""

    def __init__(self) -> None:
        super().__init__(
            "This process was suspended or could not reach the ledger for so long that others continued without it. "
            "Its requests in flight are now `unconfirmed`."
        )


class Lease:
    """One process's right to send one run, its lock, or its presence as a worker. May be used from any thread."""

    def __init__(
        self, holder: Holder, run_id: int | None = None, lock_name: str | None = None, owner: str = ""
    ) -> None:
        self.owner = owner or uuid.uuid4().hex
        self.run_id = run_id
        self.lost = False
        self._holder = holder
        self._lock_name = lock_name
        self._until = (0.0, 0.0)

    @property
    def is_presence(self) -> bool:
        return self.run_id is None and self._lock_name is None

    def store(self, connection: Connection) -> bool:
        """Stores it. `False`: its lock is another process's."""
        row = {
            "owner": self.owner,
            "run_id": self.run_id,
            "lock_name": self._lock_name,
            "base_url": self._holder.base_url,
            "holder": self._holder.name,
            "worker": self._holder.worker,
            "lease_until": SERVER_CLOCK + LEASE_SECONDS,
        }
        insertion = insert_into(connection, leases).values(row)
        replaced = {name: insertion.excluded[name] for name in row}
        taken = insertion.on_conflict_do_update(index_elements=["lock_name"], set_=replaced, where=EXPIRED)
        return connection.scalar(taken.returning(leases.c.owner)) is not None

    def extend(self, began: Moment) -> None:
        """Notes that a statement that began at this moment took or renewed it. The server's time starts later."""
        lasts = LEASE_SECONDS - _MARGIN_SECONDS
        monotonic, wall = self._until
        self._until = (max(monotonic, began.monotonic + lasts), max(wall, began.wall + lasts))

    def valid(self) -> bool:
        """Whether it lasts by both clocks: one may stop while the machine is suspended, the other may be set."""
        monotonic, wall = self._until
        return not self.lost and time.monotonic() < monotonic and time.time() < wall

    def lose(self) -> NoReturn:
        self.lost = True
        raise LeaseLostError

    def check(self) -> None:
        """Raises `LeaseLostError` where it is lost."""
        if self.lost:
            raise LeaseLostError


class Moment:
    """The current time by both clocks."""

    def __init__(self) -> None:
        self.monotonic = time.monotonic()
        self.wall = time.time()


class LeaseKeeper:
    """Takes leases for this process, which its renewer then renews. May be used from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._renewer = _renewers.setdefault(ledger.full_url, _Renewer(ledger))

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
        lease = Lease(holder, run_id, lock_name)
        lease.extend(Moment())
        with self._ledger.write() as connection:
            may_be_sent = run_id is None or _may_be_sent(connection, run_id, start_id)
            if not may_be_sent or not lease.store(connection):
                return None
        return self._renewer.add(lease)

    def give_up(self, *given_up: Lease, settled: bool = True) -> None:
        """Gives leases up. If the ledger cannot be reached, they expire by themselves.

        `settled`: no row is claimed under them; otherwise such rows become `unconfirmed`.
        """
        owners = [lease.owner for lease in given_up]
        self._renewer.remove(owners)
        with suppress(LedgerError), self._ledger.write() as connection:
            _end(connection, leases.c.owner.in_(owners), settled=settled)


def _may_be_sent(connection: Connection, run_id: int, start_id: int | None) -> bool:
    run = select(handovers.c.run_id).join(runs, runs.c.id == handovers.c.run_id)
    allowed = run.where(
        handovers.c.run_id == run_id,
        handovers.c.start_id == start_id,
        handovers.c.open,
        runs.c.stop_requested_at.is_(None),
    )
    # A process that reclaims the campaign waits for this transaction, or this one waits for its.
    return connection.scalar(allowed.with_for_update(read=True, of=handovers)) is not None


class _Renewer:
    """Renews all leases that this process has in one database, in a thread, over one connection."""

    def __init__(self, ledger: Ledger) -> None:
        self._url, self._where = ledger.url, ledger.where
        self._leases: dict[str, Lease] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> Lease:
        """Renews a lease from now on. It must be committed: one that is not in the database is taken for lost."""
        with self._changed:
            self._leases[lease.owner] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        return lease

    def remove(self, owners: Iterable[str]) -> None:
        with self._changed:
            for owner in owners:
                self._leases.pop(owner, None)
            self._changed.notify()

    def _run(self) -> None:
        """Renews leases until none is left."""
        pause = _RENEW_SECONDS
        with closing(Ledger(server_engine(self._url, connections=1), self._where, None)) as ledger:
            while held := self._held_after(pause):
                try:
                    self._renew(ledger, held)
                    pause = _RENEW_SECONDS
                except LedgerError:
                    pause = _RETRY_SECONDS

    def _held_after(self, pause: float) -> dict[str, Lease]:
        """The leases to renew after this pause. Without any, the thread ends, and the next lease starts a new one."""
        with self._changed:
            self._changed.wait_for(lambda: not self._leases, pause)
            if not self._leases:
                self._thread = None
            return dict(self._leases)

    def _renew(self, ledger: Ledger, held: Mapping[str, Lease]) -> None:
        began = Moment()
        with ledger.write() as connection:
            renewed = set(connection.scalars(renewal(leases.c.owner.in_(held)).returning(leases.c.owner)))
            for owner, lease in held.items():
                # A presence that is lost is taken again.
                if owner not in renewed and owner in self._leases and lease.is_presence:
                    lease.store(connection)
                    renewed.add(owner)
        for owner, lease in held.items():
            if owner in renewed:
                lease.extend(began)
                continue
            with self._changed:
                # It may also have been given up.
                lease.lost = self._leases.pop(owner, None) is not None


#: By the URL of their database.
_renewers: dict[str, _Renewer] = {}


def wait_until_expired(live: Callable[[], Mapping[str, float]], busy: BusyError) -> None:
    """Waits until `live` (owner -> end of its lease) is empty. Raises `busy` once a process takes or renews a lease.

    So a start waits for a process that was killed a moment ago, and not for one that runs.
    """
    seen: Mapping[str, float] | None = None
    while found := live():
        if seen is not None and any(until != seen.get(owner) for owner, until in found.items()):
            raise busy
        seen = found
        time.sleep(_WATCH_SECONDS)


def live_leases(connection: Connection, which: ColumnElement[bool]) -> dict[str, float]:
    """Which of these leases are alive: owner -> their end."""
    return dict(connection.execute(select(leases.c.owner, leases.c.lease_until).where(which, ALIVE)).all())


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether a lock is still this process's. Until the transaction ends, no other process can take it."""
    # Its own thread can still renew it: that changes no key.
    own = select(leases.c.owner).where(leases.c.owner == lease.owner)
    return connection.scalar(own.with_for_update(read=True, key_share=True)) is not None


def renewal(which: ColumnElement[bool]) -> Update:
    """The statement that renews leases, including expired ones that are still in the database."""
    return update(leases).where(which).values(lease_until=SERVER_CLOCK + LEASE_SECONDS)


def renew_in(connection: Connection, lease: Lease) -> None:
    """Renews a lease within a transaction that claims under it. Raises `LeaseLostError`."""
    began = Moment()
    if connection.execute(renewal(leases.c.owner == lease.owner)).rowcount != 1:
        lease.lose()
    lease.extend(began)


def interrupt_expired(ledger: Ledger, run_id: int | None = None) -> int:
    """Deletes expired leases and marks the rows claimed under them as `unconfirmed`. Returns how many rows.

    Expired locks stay, for a process that renews one before another process takes it. With `run_id`, it does so for
    this run only, and also marks rows that were claimed under a lease that is gone.
    """
    expired = and_(EXPIRED, leases.c.lock_name.is_(None))
    if run_id is not None:
        expired = and_(expired, leases.c.run_id == run_id)
    with ledger.write() as connection:
        rows = _end(connection, expired)
        if run_id is not None:
            holders = select(leases.c.owner).where(leases.c.run_id == run_id)
            orphaned = or_(messages.c.owner.is_(None), messages.c.owner.not_in(holders))
            rows += _interrupt(connection, run_id, orphaned)
        return rows


def _end(connection: Connection, which: ColumnElement[bool], *, settled: bool = False) -> int:
    """Deletes leases and adds what they counted to their runs. Returns how many claims became `unconfirmed`.

    `settled`: no row is claimed under them.
    """
    # In the order in which other transactions lock them.
    of_leases = select(leases.c.run_id).where(which)
    connection.execute(select(handovers.c.run_id).where(handovers.c.run_id.in_(of_leases)).with_for_update())
    counters = [leases.c[name] for name in COUNTED]
    ended = delete(leases).where(which).returning(leases.c.owner, leases.c.run_id, *counters)
    rows = 0
    for owner, run_id, *counts in connection.execute(ended).all():
        if run_id is not None:
            add_outcomes(
                connection, handovers, handovers.c.run_id == run_id, dict(zip(COUNTED, counts, strict=True))
            )
            rows += 0 if settled else _interrupt(connection, run_id, messages.c.owner == owner)
            notify(connection, run_channel(run_id))
    return rows


def add_outcomes(
    connection: Connection, table: Table, where: ColumnElement[bool], counts: Mapping[str, int]
) -> None:
    """Adds to the counters of a lease or of a run."""
    more = {name: table.c[name] + count for name, count in counts.items()}
    connection.execute(update(table).where(where).values(more))


def _interrupt(connection: Connection, run_id: int, owners: ColumnElement[bool]) -> int:
    claimed = (messages.c.run_id == run_id, messages.c.status == IN_FLIGHT, owners)
    interrupted = {"status": Status.UNCONFIRMED, "codes": Code.INTERRUPTED, "owner": None}
    rows = connection.execute(update(messages).where(*claimed).values(interrupted)).rowcount
    if rows:
        add_outcomes(connection, handovers, handovers.c.run_id == run_id, {"unconfirmed": rows})
    return rows
