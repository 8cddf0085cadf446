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
from contextlib import suppress
from typing import NamedTuple

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
    insert,
    or_,
    select,
    update,
)

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_engine
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
#: How often to check whether an expired lease was renewed, for a request that is to leave and for a start.
_CHECK_SECONDS, _WATCH_SECONDS = 0.05, 0.25


class Holder(NamedTuple):
    """A process that holds leases: its name for people, the API to which it sends, and whether it is a worker."""

    name: str
    base_url: str
    worker: bool


class LeaseLostError(LedgerError):
    """Other processes took this one for dead and marked its claims as `unconfirmed`."""


class Lease:
    """One process's right to send one run, its lock, or its presence as a worker. May be used from any thread."""

    def __init__(self, owner: str, run_id: int | None, presence: Holder | None = None) -> None:
        self.owner = owner
        self.run_id = run_id
        self.presence = presence
        self.lost = False
        self._until = (0.0, 0.0)

    def extend(self, began: Moment) -> None:
        """Notes that a statement that began at this moment took or renewed it. The server's time starts later."""
        lasts = LEASE_SECONDS - _MARGIN_SECONDS
        monotonic, wall = self._until
        self._until = (max(monotonic, began.monotonic + lasts), max(wall, began.wall + lasts))

    def valid(self) -> bool:
        """Whether it lasts by both clocks: one may stop while the machine is suspended, the other may be set."""
        monotonic, wall = self._until
        return not self.lost and time.monotonic() < monotonic and time.time() < wall

    def check(self) -> None:
        """Raises `LeaseLostError` where it is lost."""
        if self.lost:
            raise lease_lost_error()


class Moment:
    """The current time by both clocks."""

    def __init__(self) -> None:
        self.monotonic = time.monotonic()
        self.wall = time.time()


class LeaseKeeper:
    """Takes leases for this process, which its renewer then renews. May be used from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._renewer = _renewer_of(ledger)

    def take(self, run_id: int, start_id: int, holder: Holder) -> Lease | None:
        """Takes a lease on this run as this start planned it.

        `None`: the run was closed, stopped or planned again, so that it may not be sent any more.
        """
        lease = _new_lease(run_id)
        with self._ledger.write() as connection:
            run = select(handovers.c.run_id).join(runs, runs.c.id == handovers.c.run_id)
            allowed = run.where(
                handovers.c.run_id == run_id,
                handovers.c.start_id == start_id,
                handovers.c.open,
                runs.c.stop_requested_at.is_(None),
            )
            # A process that reclaims the campaign waits for this transaction, or this one waits for its.
            if connection.execute(allowed.with_for_update(read=True, of=handovers)).one_or_none() is None:
                return None
            connection.execute(insert(leases).values(_row(lease, holder)))
        return self._renewer.add(lease)

    def take_presence(self, holder: Holder) -> Lease:
        """Takes the lease that shows that a worker waits for runs. A presence that is lost is taken again."""
        lease = _new_lease(None, presence=holder)
        with self._ledger.write() as connection:
            connection.execute(insert(leases).values(_row(lease, holder)))
        return self._renewer.add(lease)

    def take_lock(self, name: str, holder: Holder) -> Lease | None:
        """Takes a lock. `None`: another process holds it."""
        lease = _new_lease(None)
        row = _row(lease, holder)
        with self._ledger.write() as connection:
            insertion = insert_into(connection, leases).values(row | {"lock_name": name})
            taken = insertion.on_conflict_do_update(
                index_elements=["lock_name"],
                set_={column: insertion.excluded[column] for column in row},
                where=EXPIRED,
            )
            if connection.scalar(taken.returning(leases.c.owner)) is None:
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


class _Renewer:
    """Renews all leases that this process has in one database, in a thread, over one connection."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = Ledger(server_engine(ledger.url, connections=1), ledger.where, None)
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
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._leases, pause)
                if not self._leases:
                    self._ledger.close()
                    self._thread = None
                    return
                held = dict(self._leases)
            try:
                self._renew(held)
                pause = _RENEW_SECONDS
            except LedgerError:
                pause = _RETRY_SECONDS

    def _renew(self, held: Mapping[str, Lease]) -> None:
        began = Moment()
        with self._ledger.write() as connection:
            renewed = set(connection.scalars(renewal(leases.c.owner.in_(held)).returning(leases.c.owner)))
            for owner, lease in held.items():
                if owner not in renewed and owner in self._leases and lease.presence is not None:
                    connection.execute(insert(leases).values(_row(lease, lease.presence)))
                    renewed.add(owner)
        for owner, lease in held.items():
            if owner in renewed:
                lease.extend(began)
                continue
            with self._changed:
                # It may also have been given up.
                lease.lost = self._leases.pop(owner, None) is not None


_renewers: dict[str, _Renewer] = {}
_renewers_lock = threading.Lock()


def _renewer_of(ledger: Ledger) -> _Renewer:
    with _renewers_lock:
        if ledger.full_url not in _renewers:
            _renewers[ledger.full_url] = _Renewer(ledger)
        return _renewers[ledger.full_url]


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


def lock_holders(connection: Connection, name: str) -> dict[str, float]:
    """The live lease of a lock, if it is held: owner -> its end."""
    query = select(leases.c.owner, leases.c.lease_until).where(leases.c.lock_name == name, ALIVE)
    return dict(connection.execute(query).all())


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether a lock is still this process's. Until the transaction ends, no other process can take it."""
    # Its own thread can still renew it: that changes no key.
    own = select(leases.c.owner).where(leases.c.owner == lease.owner)
    return connection.scalar(own.with_for_update(read=True, key_share=True)) is not None


def _new_lease(run_id: int | None, presence: Holder | None = None) -> Lease:
    lease = Lease(uuid.uuid4().hex, run_id, presence)
    lease.extend(Moment())
    return lease


def _row(lease: Lease, holder: Holder) -> dict[str, object]:
    return {
        "owner": lease.owner,
        "run_id": lease.run_id,
        "base_url": holder.base_url,
        "holder": holder.name,
        "worker": holder.worker,
        "lease_until": SERVER_CLOCK + LEASE_SECONDS,
    }


def renewal(which: ColumnElement[bool]) -> Update:
    """The statement that renews leases, including expired ones that are still in the database."""
    return update(leases).where(which).values(lease_until=SERVER_CLOCK + LEASE_SECONDS)


def renew_in(connection: Connection, lease: Lease) -> None:
    """Renews a lease within a transaction that claims under it. Raises `LeaseLostError`."""
    began = Moment()
    if connection.execute(renewal(leases.c.owner == lease.owner)).rowcount != 1:
        lease.lost = True
        raise lease_lost_error()
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


def lease_lost_error() -> LeaseLostError:
    return LeaseLostError(
        "This process was suspended or could not reach the ledger for so long that others continued without it. Its "
        "requests in flight are now `unconfirmed`."
    )
