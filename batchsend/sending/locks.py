"""Locks, so that only one process sends a campaign. Restarts never wait long for a lock of a process that died.

A ledger file has file locks, which the operating system releases. A ledger on PostgreSQL has leases, which expire: a
process that was suspended or cut off may lose its lock without knowing. So what it does under the lock is stored only
if the lock is still held, which is checked in the same transaction.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, exists, inspect, select, text, true

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.cluster_schema import SERVER_CLOCK, leases
from batchsend.ledger.database_errors import RETRY_SECONDS, is_refused_for_now, retry
from batchsend.ledger.ledger import Held, Ledger, hold_nothing
from batchsend.ledger.schema import campaigns


@contextmanager
def sending_lock(ledger: Ledger, name: str, formerly: str | None, base_url: str) -> Iterator[Held]:
    """Locks the campaign while this process sends it. Raises `BusyError` where another process sends it.

    Locks the campaign's former name too, as long as the ledger has no run under the new one. Requests that were in
    flight when an earlier process ended become `unconfirmed`. On PostgreSQL, the campaign's open runs stay open to
    workers until a transaction calls what this returns.
    """
    with ExitStack() as locks:
        names = [name]
        held = [locks.enter_context(_process_lock(ledger, name, base_url))]
        if formerly is not None and ledger.campaign(name, base_url) is None:
            names.append(formerly)
            held.append(locks.enter_context(_process_lock(ledger, formerly, base_url)))
        yield _all([*held, *(_no_other_sender(ledger, locked, base_url) for locked in names)])


def _no_other_sender(ledger: Ledger, name: str, base_url: str) -> Held:
    """Makes sure that no dead process and no worker sends the campaign."""
    if ledger.file is not None:
        ledger.interrupt_claims(name, base_url)
        return hold_nothing
    from batchsend.sending.cluster.open_runs import wait_for_senders

    return wait_for_senders(ledger, name, base_url)


@contextmanager
def campaign_lock(ledger: Ledger, name: str, base_url: str) -> Iterator[Held]:
    """Locks the campaign. Raises `BusyError` where another process has locked it, or workers send it."""
    with _process_lock(ledger, name, base_url) as held:
        if ledger.file is None:
            from batchsend.sending.cluster.open_runs import check_free

            with ledger.read() as connection:
                check_free(connection, name, base_url)
        yield held


@contextmanager
def settling_lock(ledger: Ledger, name: str, base_url: str) -> Iterator[Held]:
    """Locks the campaign while texts whose outcome is unknown are looked for. Raises `BusyError` as `sending_lock`.

    Requests that were in flight when an earlier process ended become `unconfirmed`, and can be looked for. On
    PostgreSQL, the campaign's open runs stay open to workers.
    """
    with _process_lock(ledger, name, base_url) as held:
        _no_other_sender(ledger, name, base_url)
        yield held


@contextmanager
def scheduling_lock(ledger: Ledger, name: str, base_url: str) -> Iterator[None]:
    """Locks the scheduled starts of the campaign. Raises `BusyError` where another scheduler has locked them.

    A scheduler holds it from before it claims a start until that start's process has ended and its end is recorded.
    It is not waited for: schedulers try again.
    """
    with _process_lock(ledger, name, base_url, "scheduled starts", wait=False):
        yield


def campaign_is_locked(ledger: Ledger, name: str, base_url: str) -> bool:
    """Whether another process sends the campaign now. On PostgreSQL, a process that was killed counts until its lease
    expires.
    """
    try:
        if ledger.file is not None:
            with campaign_lock(ledger, name, base_url):
                return False
        from batchsend.ledger.leases import live_leases
        from batchsend.sending.cluster.open_runs import check_free

        with ledger.read() as connection:
            check_free(connection, name, base_url)
            return bool(live_leases(connection, leases.c.lock_name == _lock_name(name, base_url)))
    except BusyError:
        return True


def _lock_name(name: str, base_url: str, purpose: str = "") -> str:
    # Names have no line breaks, so no two locks have the same words.
    words = f"{name}\n{base_url}\n{purpose}" if purpose else f"{name}\n{base_url}"
    return hashlib.sha256(words.encode()).hexdigest()


@contextmanager
def _process_lock(
    ledger: Ledger, name: str, base_url: str, purpose: str = "", *, wait: bool = True
) -> Iterator[Held]:
    digest = _lock_name(name, base_url, purpose)
    if ledger.file is not None:
        with _file_lock(ledger.file, digest, name):
            # Only the end of the process releases it.
            yield hold_nothing
    else:
        with _leased_lock(ledger, digest, name, base_url, wait=wait) as held:
            yield held


def _all(checks: Iterable[Held]) -> Held:
    every = tuple(checks)

    def check(connection: Connection) -> None:
        for one in every:
            one(connection)

    return check


@contextmanager
def _file_lock(ledger_file: Path, digest: str, name: str) -> Iterator[None]:
    """A file lock. The operating system releases it when the process ends in any way."""
    # A ledger behind a symbolic link has its locks in the folder of the real file.
    file = ledger_file.resolve()
    # The file stays on Windows too: it shows that campaigns were sent from the ledger. The system locks the open
    # file, so a process that died leaves no lock behind.
    lock = FileLock(file.with_name(f"{file.stem}-{digest[:16]}.lock"), mode=0o600, preserve_lock_file=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError.sending(name) from error
    except (OSError, NotImplementedError) as error:
        raise LedgerError(
            f"{lock.lock_file}: the campaign cannot be locked here ({error}), so two processes could send it at the "
            f"same time. Nothing was sent. Make the folder writable, or choose another ledger with --ledger or "
            f"BATCHSEND_LEDGER."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _leased_lock(ledger: Ledger, lock_name: str, name: str, base_url: str, *, wait: bool) -> Iterator[Held]:
    """A lease that this process renews. Waits for the lease of a process that may have died, if it is to `wait`."""
    from batchsend.ledger.leases import Holder, LeaseKeeper, wait_until_expired

    def check(connection: Connection) -> None:
        assert lease is not None  # noqa: S101 - else this is not called
        if not lease.is_held_in(connection):
            raise _lost(name)

    if wait:
        wait_until_expired(ledger, leases.c.lock_name == lock_name, BusyError.sending(name))
    holder = Holder(f"{socket.gethostname()} ({os.getpid()})", base_url, False)
    # The lock of scheduled starts outlives the ledger that it was taken with, and so does the keeper.
    keeper = LeaseKeeper.of(ledger)
    seconds = RETRY_SECONDS if wait else 0
    lease = retry(
        lambda: keeper.take(holder, lock_name=lock_name), seconds=seconds, may_pass=is_refused_for_now
    )
    if lease is None:
        raise BusyError.sending(name)
    try:
        yield check
    finally:
        keeper.give_up(lease)


def _lost(name: str) -> BusyError:
    return BusyError(
        f'"{name}" was taken over by another process, because this one was suspended or could not reach the ledger '
        f"for too long. Nothing was sent or changed by this start. Run it again once the other process has ended.",
        on_page="This campaign was taken over by another process. Nothing was sent or changed. Check again once it "
        "has ended.",
    )


@contextmanager
def all_campaigns_locked(ledger: Ledger) -> Iterator[Held]:
    """Locks all campaigns of the ledger. Raises `BusyError` where one of them is being sent."""
    with ledger.read() as connection:
        # A new ledger and one of version 1 have no table of shared runs yet.
        ready = inspect(connection).has_table(leases.name)
        known = connection.execute(select(campaigns.c.name, campaigns.c.base_url)).all() if ready else ()
        earlier = ready and not any(
            column["name"] == leases.c.lock_name.name
            for column in inspect(connection).get_columns(leases.name)
        )
    if ready and ledger.file is None:
        from batchsend.ledger.leases import wait_until_expired

        # Processes that were killed a moment ago hold leases still. What runs is found below.
        with suppress(BusyError):
            wait_until_expired(ledger, true(), BusyError("A process renews its lease."))
    with ExitStack() as locks:
        held = []
        # No table is read in this transaction, so that the upgrade can change all of them.
        locking = locks.enter_context(ledger.read()) if earlier and ledger.file is None else None
        if locking is not None:
            # It is idle as long as the upgrade takes.
            locking.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        for name, base_url in known:
            try:
                if locking is not None:
                    _lock_as_earlier_version(ledger, locking, name, base_url)
                else:
                    held.append(locks.enter_context(campaign_lock(ledger, name, base_url)))
            except BusyError as error:
                raise BusyError(
                    f'"{name}" is being sent right now. Nothing was changed. Let it finish, or stop it with '
                    f'"batchsend stop", then run this again.'
                ) from error
        yield _all(held)


def _lock_as_earlier_version(ledger: Ledger, locking: Connection, name: str, base_url: str) -> None:
    """Locks a campaign as batchsend did on PostgreSQL before version 6 of the tables, to upgrade them.

    `locking`: the transaction that has the lock.
    """
    with ledger.read() as connection:
        sent = connection.scalar(
            select(exists().where(leases.c.run_id.is_not(None), leases.c.lease_until > SERVER_CLOCK))
        )
    number = int.from_bytes(bytes.fromhex(_lock_name(name, base_url))[:8], signed=True)
    if sent or not locking.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number}):
        raise BusyError.sending(name)
