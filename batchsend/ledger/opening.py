"""Opening a ledger: for sending, for reading only, or as a throw-away for one plan."""

from __future__ import annotations

import glob
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url

from batchsend.errors import LedgerError
from batchsend.ledger.database_errors import not_sound
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.location import check_place
from batchsend.ledger.migrations import upgrade_tables
from batchsend.ledger.postgres import server_options
from batchsend.ledger.schema import SCHEMA_VERSION, messages, meta, metadata

#: Another process may hold SQLite's write lock while it stores a long plan.
_BUSY_TIMEOUT_SECONDS = 60.0
_LOG_ATTEMPTS = 10
#: SQLite's log grows to 40 MB before it is copied into the ledger: copying holds up a commit, and what was written
#: several times meanwhile is copied once (`make bench`: sending phase).
_LOG_PAGES = 10_000
#: A ledger up to this size, in bytes, is checked from end to end before it is used: that takes 1 s for 100 MB.
_CHECKED_SIZE = 256 * 1024 * 1024
#: PostgreSQL's advisory lock for making the tables: "batchsend" in the digits of a telephone.
_CREATION_LOCK = 228247363


def open_ledger(url: str, *, busy_timeout: float = _BUSY_TIMEOUT_SECONDS) -> Ledger:
    """Opens a ledger for sending; a new one is made where there is none.

    `url` is a SQLAlchemy URL; `busy_timeout` is how many seconds another process is waited for. Raises `LedgerError`.
    """
    return _open_and(_create_or_check, url, busy_timeout)


def upgrade_ledger(url: str) -> tuple[Ledger, int]:
    """Opens a ledger after bringing its tables to this version, in one transaction, and gives the version they had.

    A new one is made where there is none. Raises `LedgerError`; then nothing was changed.
    """
    before = SCHEMA_VERSION

    def upgrade(connection: Connection, where: str) -> None:
        nonlocal before
        _wait_for_others(connection)
        if inspect(connection).has_table("meta"):
            before = _stored_version(connection, where)
            if before < SCHEMA_VERSION:
                upgrade_tables(connection, before, where)
        _create_or_check(connection, where)

    return _open_and(upgrade, url, _BUSY_TIMEOUT_SECONDS), before


def _open_and(prepare: Callable[[Connection, str], None], url: str, busy_timeout: float) -> Ledger:
    check_ledger_place(url)
    parsed = make_url(url)
    file = _sqlite_file(parsed)
    if file is not None:
        _make_private_file(file)
        _refuse_emptied(file)
    ledger = Ledger(_engine(parsed, busy_timeout=busy_timeout), _where(parsed), file)
    with _closed_on_error(ledger), ledger.write() as connection:
        prepare(connection, ledger.where)
    if file is not None and _size(file) <= _CHECKED_SIZE:
        with _closed_on_error(ledger):
            _refuse_damaged(ledger)
    return ledger


def open_for_reading(url: str) -> Ledger | None:
    """Opens an existing ledger and changes nothing; `None` where there is none. Raises `LedgerError`."""
    parsed = make_url(url)
    file = _sqlite_file(parsed)
    if file is not None:
        if _size(file) == 0:
            _refuse_emptied(file)
            return None
        parsed = URL.create(
            "sqlite", database=file.absolute().as_uri(), query={**_reading_mode(file), "uri": "true"}
        )
    ledger = Ledger(_engine(parsed), _where(make_url(url)), file)
    with _closed_on_error(ledger), ledger.read() as connection:
        if inspect(connection).has_table("meta"):
            _check_version(connection, ledger.where)
            return ledger
    ledger.close()
    return None


def check_ledger_place(url: str) -> None:
    """Raises `LedgerError` where this ledger would be refused for sending, whether or not it exists yet."""
    file = _sqlite_file(make_url(url))
    if file is not None:
        check_place(file)


def scratch_ledger(folder: Path) -> Ledger:
    """A throw-away ledger for one plan; nothing in it needs to survive a crash."""
    file = folder / "plan.db"
    _make_private_file(file)
    engine = _engine(URL.create("sqlite", database=str(file)), synchronous="OFF")
    with engine.begin() as connection:
        metadata.create_all(connection)
        # A plan is read from its first row to its last, and by the numbers of rows.
        for index in messages.indexes:
            index.drop(connection)
        connection.execute(insert(meta).values(name="ledger_id", value=uuid.uuid4().hex))
    return Ledger(engine, str(file), file)


@contextmanager
def _closed_on_error(ledger: Ledger) -> Iterator[None]:
    try:
        yield
    except BaseException:
        ledger.close()
        raise


def _engine(url: URL, *, synchronous: str = "FULL", busy_timeout: float = _BUSY_TIMEOUT_SECONDS) -> Engine:
    if url.get_backend_name() != "sqlite":
        return _server_engine(url)
    engine = create_engine(url, connect_args={"timeout": busy_timeout}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins would leave reads outside of it.
        connection.isolation_level = None
        cursor = connection.cursor()
        if "uri" not in url.query:  # else it is opened for reading only
            _use_write_ahead_log(cursor)
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("batchsend_reading", False)
        # A writer that begins as a reader can find the ledger changed under it and fail half-way.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """SQLite does not wait for another process that is just doing the same; taking the write lock does."""
    for _ in range(_LOG_ATTEMPTS):
        with suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")
    cursor.execute("PRAGMA journal_mode=WAL")


def _server_engine(url: URL) -> Engine:
    # A worker has a hand in many runs at once.
    engine = create_engine(
        url, pool_pre_ping=True, max_overflow=50, hide_parameters=True, connect_args=server_options(url)
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # A server, a database or a role may be set up to commit before it is on disk.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.commit()

    return engine


def _sqlite_file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def _where(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return url.database or "memory"
    return url.difference_update_query(["password"]).render_as_string()


def _make_private_file(file: Path) -> None:
    """Texts and phone numbers stand in a ledger: only its owner may read it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise LedgerError(
            f"{file}: the ledger cannot be written here ({error.strerror}). Nothing was sent. Make the "
            f"folder writable, or name another place with --ledger or BATCHSEND_LEDGER."
        ) from error


def _size(file: Path) -> int:
    """In bytes; 0 where there is no such file."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LedgerError(
            f"{file}: the ledger cannot be read ({error.strerror}). Whoever sends the campaign has to let you "
            f"read it."
        ) from error


def _refuse_emptied(file: Path) -> None:
    """A ledger without a byte is a new one, unless a campaign was locked beside it: that comes after the tables."""
    if any(file.parent.glob(f"{glob.escape(file.stem)}-*.lock")) and _size(file) == 0:
        raise LedgerError(
            f"{file}: this ledger is empty, but campaigns were sent from it. A full disk, a broken copy or another "
            f"program emptied it, and it no longer knows who was texted. Nothing was sent. Put back a backup. If "
            f"there is none, delete the file and the .lock files beside it: then everybody is new."
        )


def _refuse_damaged(ledger: Ledger) -> None:
    """A damaged index would not find who was texted before, and SQLite itself would not notice."""
    with ledger.read() as connection:
        found = str(connection.scalar(text("PRAGMA integrity_check(1)")))
    if found != "ok":
        raise LedgerError(f"{ledger.where}: {not_sound(found.replace(chr(10), ' '))}")


def _reading_mode(file: Path) -> dict[str, str]:
    """SQLite cannot read a WAL database in a folder where it may not write, unless told that nobody writes.

    Where a log is left from a killed process or a running one, it has to be read too, and then it can be.
    """
    if os.access(file.parent, os.W_OK) or _size(file.with_name(f"{file.name}-wal")):
        return {"mode": "ro"}
    return {"immutable": "1"}


def _wait_for_others(connection: Connection) -> None:
    """Two processes that both find no tables would both make them; SQLite's write lock is held already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))


def _create_or_check(connection: Connection, where: str) -> None:
    _wait_for_others(connection)
    if inspect(connection).has_table("meta"):
        _check_version(connection, where)
        return
    metadata.create_all(connection)
    connection.execute(
        insert(meta),
        [
            {"name": "schema_version", "value": str(SCHEMA_VERSION)},
            {"name": "ledger_id", "value": uuid.uuid4().hex},
        ],
    )


def _stored_version(connection: Connection, where: str) -> int:
    version = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    if version is None or not version.isdecimal():
        raise LedgerError(
            f"{where}: this database has a table `meta` that is not batchsend's. Name another place for the ledger "
            f"with --ledger or BATCHSEND_LEDGER."
        )
    return int(version)


def _check_version(connection: Connection, where: str) -> None:
    version = _stored_version(connection, where)
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{where}: this ledger was written by a newer version of batchsend (its tables are version {version}, "
            f"this program knows version {SCHEMA_VERSION}). Nothing was sent. Upgrade batchsend and run this again."
        )
    if version < SCHEMA_VERSION:
        raise LedgerError(
            f"{where}: this ledger was written by an older version of batchsend (its tables are version {version}, "
            f"this program needs version {SCHEMA_VERSION}). Nothing was sent. Run `batchsend ledger upgrade`, and "
            f"then this again."
        )
