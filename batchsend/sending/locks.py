"""Locks, so that only one process sends a campaign. A lock ends with its process, so restarts never wait for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.pool import NullPool

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.database_errors import ledger_errors
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_options
from batchsend.ledger.schema import campaigns, handovers


@contextmanager
def sending_lock(ledger: Ledger, name: str, formerly: str | None, base_url: str) -> Iterator[None]:
    """Locks the campaign while this process sends it. Raises `BusyError` where another process sends it.

    Locks the campaign's former name too, as long as the ledger has no run under the new one. Requests that were in
    flight when an earlier process ended become `unconfirmed`.
    """
    with ExitStack() as locks:
        names = [name]
        locks.enter_context(_process_lock(ledger, name, base_url))
        if formerly is not None and ledger.campaign(name, base_url) is None:
            locks.enter_context(_process_lock(ledger, formerly, base_url))
            names.append(formerly)
        for locked in names:
            if ledger.file is None:
                from batchsend.sending.cluster.open_runs import reclaim_campaign

                reclaim_campaign(ledger, locked, base_url)
            ledger.interrupt_claims(locked, base_url)
        yield


@contextmanager
def campaign_lock(ledger: Ledger, name: str, base_url: str) -> Iterator[None]:
    """Locks the campaign. Raises `BusyError` where another process has locked it, or workers send it."""
    with _process_lock(ledger, name, base_url):
        if ledger.file is None:
            from batchsend.sending.cluster.open_runs import check_not_shared

            check_not_shared(ledger, name, base_url)
        yield


@contextmanager
def scheduling_lock(ledger: Ledger, name: str, base_url: str) -> Iterator[None]:
    """Locks the scheduled starts of the campaign. Raises `BusyError` where another scheduler has locked them.

    A scheduler holds it from before it claims a start until that start's process has ended and its end is recorded.
    """
    with _process_lock(ledger, name, base_url, "scheduled starts"):
        yield


def campaign_is_locked(ledger: Ledger, name: str, base_url: str) -> bool:
    """Whether another process sends the campaign now."""
    try:
        with campaign_lock(ledger, name, base_url):
            return False
    except BusyError:
        return True


@contextmanager
def _process_lock(ledger: Ledger, name: str, base_url: str, purpose: str = "") -> Iterator[None]:
    # Names have no line breaks, so no two locks have the same words.
    words = f"{name}\n{base_url}\n{purpose}" if purpose else f"{name}\n{base_url}"
    digest = hashlib.sha256(words.encode()).digest()
    lock = (
        _server_lock(ledger, digest, name) if ledger.file is None else _file_lock(ledger.file, digest, name)
    )
    with lock:
        yield


@contextmanager
def _file_lock(ledger_file: Path, digest: bytes, name: str) -> Iterator[None]:
    """A file lock. The operating system releases it when the process ends in any way."""
    # A ledger behind a symbolic link has its locks in the folder of the real file.
    file = ledger_file.resolve()
    lock = FileLock(file.with_name(f"{file.stem}-{digest.hex()[:16]}.lock"), mode=0o600)
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
def _server_lock(ledger: Ledger, digest: bytes, name: str) -> Iterator[None]:
    """An advisory lock. PostgreSQL releases it when the connection ends."""
    number = int.from_bytes(digest[:8], signed=True)
    engine = create_engine(
        ledger.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=server_options(ledger.url)
    )
    with ledger_errors(ledger.where), engine.connect() as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}):
            raise BusyError.sending(name)
        yield


@contextmanager
def all_campaigns_locked(ledger: Ledger) -> Iterator[None]:
    """Locks all campaigns of the ledger. Raises `BusyError` where one of them is being sent."""
    with ledger.read() as connection:
        # A new ledger and one of version 1 have no table of shared runs yet.
        ready = inspect(connection).has_table(handovers.name)
        known = connection.execute(select(campaigns.c.name, campaigns.c.base_url)).all() if ready else ()
    with ExitStack() as locks:
        for name, base_url in known:
            try:
                locks.enter_context(campaign_lock(ledger, name, base_url))
            except BusyError as error:
                raise BusyError(
                    f'"{name}" is being sent right now. Nothing was changed. Let it finish, or stop it with '
                    f'"batchsend stop", then run this again.'
                ) from error
        yield
