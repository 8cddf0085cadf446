"""Leases: which of several processes may send a run. A claim lasts as long as its owner's lease.

Every sending process renews its lease in time. If it does not (killed, suspended, cut off), other processes mark its
claims as `unconfirmed`: these texts may have been sent and are not sent again. A process whose lease has expired by
either of its clocks sends nothing until it has renewed the lease, or has found that it lost it.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
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

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import SERVER_CLOCK, handovers, leases, messages, runs
from batchsend.sending.cluster.pacing import requeue_request
from batchsend.sending.pacing import Pacing, Pause
from batchsend.statuses import IN_FLIGHT, Code, Status

#: How long a lease lasts unless it is renewed.
LEASE_SECONDS = 10.0
#: How often it is renewed ...
_RENEW_SECONDS = 2.5
#: ... and how soon a failed renewal is retried.
_RETRY_SECONDS = 0.5
#: Its owner stops this much earlier, because a request that is just leaving needs a moment.
_MARGIN_SECONDS = 1.0

ALIVE = leases.c.lease_until > SERVER_CLOCK
_server_started = cast(extract("epoch", func.pg_postmaster_start_time()), Double)
#: How often to check whether an expired lease was renewed.
_CHECK_SECONDS = 0.05


class LeaseLostError(LedgerError):
    """Other processes took this one for dead and marked its claims as `unconfirmed`."""


class Lease:
    """One process's right to send one run. May be used from any thread."""

    def __init__(self, owner: str, run_id: int | None) -> None:
        self.owner = owner
        self.run_id = run_id
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


class Moment:
    """The current time by both clocks."""

    def __init__(self) -> None:
        self.monotonic = time.monotonic()
        self.wall = time.time()


class LeaseKeeper:
    """Takes leases for this process and renews them. Belongs to one event loop.

    `holder` names the process for people. A worker has one more lease than the runs that it sends: it shows that the
    worker waits for runs.
    """

    def __init__(self, ledger: Ledger, base_url: str, holder: str, *, worker: bool) -> None:
        self._ledger = ledger
        self._base_url = base_url
        self._holder = holder
        self._worker = worker
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._worker:
            await self._in_thread(self._take_presence)
        self._renewing = asyncio.create_task(self._keep_renewing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        with suppress(LedgerError):
            await self._in_thread(self._give_up_all)
        await asyncio.to_thread(self._thread.shutdown)

    async def give_up(self, lease: Lease, *, settled: bool) -> None:
        """Gives a lease up. If the ledger cannot be reached, the lease expires by itself.

        `settled`: no row is claimed under it; otherwise such rows become `unconfirmed`.
        """
        with suppress(LedgerError):
            await self._in_thread(lambda: self._give_up([lease], settled=settled))

    def take(self, run_id: int, start_id: int) -> Lease | None:
        """Takes a lease on this run as this start planned it. May be called from any thread.

        `None`: the run was closed, stopped or planned again, so that it may not be sent any more.
        """
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
            lease = self._insert(connection, run_id)
        self._register(lease)
        return lease

    def _take_presence(self) -> None:
        with self._ledger.write() as connection:
            lease = self._insert(connection, None)
        self._register(lease)

    def _register(self, lease: Lease) -> None:
        # Only after its commit: a renewal that does not find it in the database would take it for lost.
        with self._lock:
            self._leases[lease.owner] = lease

    def _insert(self, connection: Connection, run_id: int | None) -> Lease:
        lease = Lease(uuid.uuid4().hex, run_id)
        lease.extend(Moment())
        connection.execute(
            insert(leases).values(
                owner=lease.owner,
                run_id=run_id,
                base_url=self._base_url,
                holder=self._holder,
                worker=self._worker,
                lease_until=SERVER_CLOCK + LEASE_SECONDS,
            )
        )
        return lease

    def _give_up(self, given_up: list[Lease], *, settled: bool) -> None:
        owners = [lease.owner for lease in given_up]
        with self._lock:
            for owner in owners:
                self._leases.pop(owner, None)
        with self._ledger.write() as connection:
            connection.execute(delete(leases).where(leases.c.owner.in_(owners)))
            for lease in given_up:
                if not settled and lease.run_id is not None:
                    _interrupt(connection, lease.run_id, messages.c.owner == lease.owner)

    def _give_up_all(self) -> None:
        self._give_up(list(self._leases.values()), settled=False)

    async def _keep_renewing(self) -> None:
        while True:
            try:
                await self._in_thread(self._renew)
            except LedgerError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await asyncio.sleep(_RENEW_SECONDS)

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._leases)
        if not held:
            return
        began = Moment()
        with self._ledger.write() as connection:
            renewed = set(connection.scalars(renewal(leases.c.owner.in_(held)).returning(leases.c.owner)))
        presence_lost = False
        for owner, lease in held.items():
            if owner in renewed:
                lease.extend(began)
            elif self._leases.pop(owner, None) is not None:
                lease.lost = True
                presence_lost = presence_lost or lease.run_id is None
        if presence_lost:
            self._take_presence()

    async def _in_thread(self, action: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, action)


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

    After the database restarted, all processes first get the time to renew their leases. With `run_id`, it does so
    for this run only, and also marks rows that were claimed under a lease that is gone.
    """
    expired = and_(leases.c.lease_until < SERVER_CLOCK, SERVER_CLOCK - _server_started > LEASE_SECONDS)
    if run_id is not None:
        expired = and_(expired, leases.c.run_id == run_id)
    with ledger.write() as connection:
        gone = connection.execute(
            delete(leases).where(expired).returning(leases.c.owner, leases.c.run_id)
        ).all()
        owners: dict[int, list[str]] = {}
        for owner, of_run in gone:
            if of_run is not None:
                owners.setdefault(of_run, []).append(owner)
        rows = sum(
            _interrupt(connection, of_run, messages.c.owner.in_(own)) for of_run, own in owners.items()
        )
        if run_id is not None:
            holders = select(leases.c.owner).where(leases.c.run_id == run_id)
            orphaned = or_(messages.c.owner.is_(None), messages.c.owner.not_in(holders))
            rows += _interrupt(connection, run_id, orphaned)
        return rows


def _interrupt(connection: Connection, run_id: int, owners: ColumnElement[bool]) -> int:
    claimed = (messages.c.run_id == run_id, messages.c.status == IN_FLIGHT, owners)
    interrupted = {"status": Status.UNCONFIRMED, "codes": Code.INTERRUPTED, "owner": None}
    return connection.execute(update(messages).where(*claimed).values(interrupted)).rowcount


def lease_lost_error() -> LeaseLostError:
    return LeaseLostError(
        "This process was suspended or could not reach the ledger for so long that others continued without it. Its "
        "requests in flight are now `unconfirmed`."
    )


class LeasedPacer:
    """A pacer whose requests leave only while a lease is valid."""

    def __init__(self, pacer: Pacing, lease: Lease) -> None:
        self._pacer = pacer
        self._lease = lease

    @property
    def rate(self) -> float:
        return self._pacer.rate

    async def slot(self) -> float:
        while True:
            await self._wait_until_valid()
            slot = await self._pacer.slot()
            if self._lease.valid():
                return slot

    async def departure(self) -> None:
        await self._pacer.departure()
        if self._lease.lost:
            raise lease_lost_error()
        if not self._lease.valid():
            await requeue_request()

    def back_off(
        self, departed: float, retry_after: float | None, *, slow_down: bool, reason: str
    ) -> Pause | None:
        return self._pacer.back_off(departed, retry_after, slow_down=slow_down, reason=reason)

    def reset_backoff(self) -> None:
        self._pacer.reset_backoff()

    async def _wait_until_valid(self) -> None:
        while not self._lease.valid():
            if self._lease.lost:
                raise lease_lost_error()
            await asyncio.sleep(_CHECK_SECONDS)
