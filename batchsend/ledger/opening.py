"""Opens a ledger for sending or for reading, and creates the temporary ledger of a plan."""

from __future__ import annotations

import glob
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url

from batchsend.errors import BusyError, LedgerError, StoppedError
from batchsend.ledger.database_errors import damaged, is_refused_for_now, retry
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.location import check_place
from batchsend.ledger.migrations import upgrade_tables
from batchsend.ledger.postgres import CONNECTIONS, server_engine
from batchsend.ledger.schema import SCHEMA_VERSION, messages, meta, metadata
from batchsend.utils.files import make_folder, sqlite_uri

#: The number of a plan's only run in its scratch ledger.
SCRATCH_RUN = 0

Locks = AbstractContextManager[object]
#: Another process may hold SQLite's write lock while it stores a long plan.
_BUSY_TIMEOUT_SECONDS = 60.0
_LOG_ATTEMPTS = 10
#: SQLite's log grows to 40 MB before it is copied into the ledger: copying delays a commit, and pages that were
#: written several times are copied once (`make bench`: sending phase).
_LOG_PAGES = 10_000
#: Ledgers up to this size, in bytes, are checked completely when they are opened; 100 MB take 1 s.
_CHECKED_SIZE = 256 * 1024 * 1024
#: A process keeps at most so many connections to PostgreSQL for its transactions, and one more for its leases. A
#: worker uses one for each run that it sends.
_CONNECTIONS, _MORE_CONNECTIONS = 2, 20
#: How long a start waits for a free connection.
_WAIT_SECONDS = 60.0
#: PostgreSQL's advisory lock for creating tables: "batchsend" on a phone's keys.
_CREATION_LOCK = 228247363


def open_ledger(url: str, *, busy_timeout: float = _BUSY_TIMEOUT_SECONDS) -> Ledger:
    """Opens a ledger for sending and creates it if there is none.

    `url` is a SQLAlchemy URL; `busy_timeout`: how many seconds to wait for another process. Raises `LedgerError`,
    also for a ledger of another version.
    """
    return _open_and(_create_or_check, url, busy_timeout)


def open_when_free(url: str, on_wait: Callable[[float, str], object]) -> Ledger:
    """As `open_ledger`, but waits for a database that is starting or has no free connection.

    `on_wait` gets the longest time to wait, in seconds, and the reason. Raises `StoppedError` after that time.
    """
    try:
        return open_ledger(url)
    except LedgerError as error:
        if not is_refused_for_now(error):
            raise
    on_wait(_WAIT_SECONDS, f"{ledger_name(url)}: the database is starting, or has no free connection")
    try:
        return retry(lambda: open_ledger(url), seconds=_WAIT_SECONDS, may_pass=is_refused_for_now)
    except LedgerError as error:
        if not is_refused_for_now(error):
            raise
        raise StoppedError(f"{error}\nIt was waited for; nothing was sent by this start.") from error


def upgrade_ledger(url: str, locked: Callable[[Ledger], Locks] = nullcontext) -> tuple[Ledger, int]:
    """Upgrades a ledger's tables in one transaction, opens it, and returns the version that they had before.

    Creates the ledger if there is none. `locked` keeps other processes from storing a plan meanwhile. Raises
    `LedgerError`, or `BusyError` while workers are running; then nothing was changed.
    """
    before = SCHEMA_VERSION

    def upgrade(connection: Connection, where: str) -> None:
        nonlocal before
        _wait_for_others(connection)
        if inspect(connection).has_table("meta"):
            before = _stored_version(connection, where)
            if before < SCHEMA_VERSION:
                _refuse_workers(connection, where)
                upgrade_tables(connection, before, where)
        _create_or_check(connection, where)

    return _open_and(upgrade, url, _BUSY_TIMEOUT_SECONDS, locked), before


def _open_and(
    prepare: Callable[[Connection, str], None],
    url: str,
    busy_timeout: float,
    locked: Callable[[Ledger], Locks] = nullcontext,
) -> Ledger:
    check_ledger_place(url)
    parsed = make_url(url)
    file = _sqlite_file(parsed)
    if file is not None:
        _refuse_emptied(file)
        _make_private_file(file)
    ledger = Ledger(_engine(parsed, busy_timeout=busy_timeout), ledger_name(url), file)
    with _closed_on_error(ledger), locked(ledger), ledger.write() as connection:
        prepare(connection, ledger.where)
    if file is not None and _size(file) <= _CHECKED_SIZE:
        with _closed_on_error(ledger):
            _refuse_damaged(ledger)
    return ledger


def open_for_reading(url: str, *, any_version: bool = False) -> Ledger | None:
    """Opens an existing ledger read-only; `None` if there is none. Raises `LedgerError`, also for another version."""
    parsed = make_url(url)
    file = _sqlite_file(parsed)
    if file is not None:
        if _size(file) == 0:
            _refuse_emptied(file)
            return None
        parsed = URL.create(
            "sqlite", database=sqlite_uri(file.absolute()), query={**_reading_mode(file), "uri": "true"}
        )
    ledger = Ledger(_engine(parsed), ledger_name(url), file)
    with _closed_on_error(ledger), ledger.read() as connection:
        if inspect(connection).has_table("meta"):
            if not any_version:
                _check_version(connection, ledger.where)
            return ledger
    ledger.close()
    return None


def check_ledger_place(url: str) -> None:
    """Raises `LedgerError` if this ledger, existing or not, would be refused for sending because of its place."""
    file = _sqlite_file(make_url(url))
    if file is not None:
        check_place(file)


def ledger_name(url: str) -> str:
    """The ledger's file or address for messages, without a password."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed.database or "memory"
    plain = parsed.set(drivername="postgresql")  # as people write it, without the driver
    return plain.difference_update_query(["password", CONNECTIONS]).render_as_string()


def scratch_ledger(folder: Path) -> Ledger:
    """A temporary ledger for one plan; it does not need to survive a crash."""
    file = folder / "plan.db"
    _make_private_file(file)
    engine = _engine(URL.create("sqlite", database=str(file)), synchronous="OFF")
    scratch = Ledger(engine, str(file), file)
    with _closed_on_error(scratch), scratch.write() as connection:
        metadata.create_all(connection, checkfirst=False)
        # A plan is read in order and by row number only.
        for index in messages.indexes:
            index.drop(connection)
        connection.execute(insert(meta).values(name="ledger_id", value=uuid.uuid4().hex))
    return scratch


def index_plan(scratch: Ledger) -> None:
    """Indexes the rows of a whole plan by status. Without it, each of a dozen counts reads all texts."""
    with scratch.write() as connection:
        connection.exec_driver_sql(
            f"CREATE INDEX plan_by_status ON {messages.name} (run_id, status, codes, segments, clock)"
        )


@contextmanager
def _closed_on_error(ledger: Ledger) -> Iterator[None]:
    try:
        yield
    except BaseException:
        ledger.close()
        raise


def _engine(url: URL, *, synchronous: str = "FULL", busy_timeout: float = _BUSY_TIMEOUT_SECONDS) -> Engine:
    if url.get_backend_name() != "sqlite":
        return server_engine(url, _CONNECTIONS, _MORE_CONNECTIONS)
    engine = create_engine(url, connect_args={"timeout": busy_timeout}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # Otherwise the driver would not begin a transaction for reads.
        connection.isolation_level = None
        cursor = connection.cursor()
        if "uri" not in url.query:  # else it is open read-only
            _use_write_ahead_log(cursor)
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("batchsend_reading", False)
        # A writer that begins as a reader fails if another process writes in between.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Turns the log on. If another process is doing the same, SQLite waits only for the write lock."""
    for _ in range(_LOG_ATTEMPTS):
        with suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")
    cursor.execute("PRAGMA journal_mode=WAL")


def _sqlite_file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def _make_private_file(file: Path) -> None:
    """Creates the file if needed, readable by its owner only: a ledger contains texts and phone numbers."""
    try:
        make_folder(file.parent)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise LedgerError(
            f"{file}: the ledger cannot be written here ({error.strerror}). Nothing was sent. Make the "
            f"folder writable, or name another place with --ledger or BATCHSEND_LEDGER."
        ) from error


def _size(file: Path) -> int:
    """The file's size in bytes; 0 if there is no file."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LedgerError(
            f"{file}: the ledger cannot be read ({error.strerror}). Ask the person who sends the campaign for "
            f"permission to read it."
        ) from error


def _refuse_emptied(file: Path) -> None:
    """Refuses an empty or missing file next to a campaign's lock: locks come after the tables, so it was not new."""
    if any(file.parent.glob(f"{glob.escape(file.stem)}-*.lock")) and _size(file) == 0:
        state, cause = ("empty", "emptied") if file.exists() else ("missing", "moved or deleted")
        raise LedgerError(
            f"{file}: this ledger is {state}, but campaigns were sent from it. A full disk, a broken copy or another "
            f"program {cause} it, and nothing else knows who was texted. Nothing was sent. Put it back, or restore "
            f"a backup. If there is none, delete the file and the .lock files next to it: then every customer counts "
            f"as new.",
            on_page=f"The record of what was sent is {state}, although campaigns were sent. A full disk or another "
            f"program {cause} it, so batchsend no longer knows who was texted. Nothing was sent. Ask the person who "
            f"looks after batchsend to restore the backup.",
        )


def _refuse_damaged(ledger: Ledger) -> None:
    """Checks the file, because SQLite does not notice a damaged index, which could hide who was texted."""
    with ledger.read() as connection:
        found = str(connection.scalar(text("PRAGMA integrity_check(1)")))
    if found != "ok":
        raise LedgerError(f"{ledger.where}: {damaged(found.replace(chr(10), ' '))}")


def _reading_mode(file: Path) -> dict[str, str]:
    """How to open a file read-only.

    In a folder that is not writable, SQLite reads a WAL database only as "immutable". If a log file exists, from a
    running or a killed process, it must be read too, and SQLite can do so.
    """
    if os.access(file.parent, os.W_OK) or _size(file.with_name(f"{file.name}-wal")):
        return {"mode": "ro"}
    return {"immutable": "1"}


def _wait_for_others(connection: Connection) -> None:
    """Lets one process at a time create the tables; on SQLite, the write lock already does."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))


def _refuse_workers(connection: Connection, where: str) -> None:
    """Raises `BusyError` while workers are running: they would work on with tables that they do not know."""
    if connection.dialect.name != "postgresql" or not inspect(connection).has_table("leases"):
        return
    # No version has renamed these columns.
    running = text(
        "SELECT DISTINCT holder FROM leases WHERE worker "
        "AND lease_until > extract(epoch FROM clock_timestamp()) ORDER BY holder"
    )
    if names := connection.scalars(running).all():
        raise BusyError(
            f"{where}: workers are running that do not know the upgraded tables ({', '.join(names)}). Nothing was "
            f"changed. Stop them and run this again; a worker that was killed counts for ten seconds."
        )


def _create_or_check(connection: Connection, where: str) -> None:
    _wait_for_others(connection)
    if inspect(connection).has_table("meta"):
        _check_version(connection, where)
        return
    metadata.create_all(connection, checkfirst=False)
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
            f"{where}: this database has a table `meta` that is not batchsend's. Name another ledger "
            f"with --ledger or BATCHSEND_LEDGER."
        )
    return int(version)


_OTHER_VERSION = (
    "The record of what was sent was written by a {} version of batchsend. Nothing was sent. Ask the person who "
    "looks after batchsend to upgrade it."
)


def _check_version(connection: Connection, where: str) -> None:
    version = _stored_version(connection, where)
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{where}: this ledger was written by a newer version of batchsend (its tables are version {version}, "
            f"this program knows version {SCHEMA_VERSION}). Nothing was sent. Upgrade batchsend and run this again.",
            on_page=_OTHER_VERSION.format("newer"),
        )
    if version < SCHEMA_VERSION:
        raise LedgerError(
            f"{where}: this ledger was written by an older version of batchsend (its tables are version {version}, "
            f"this program needs version {SCHEMA_VERSION}). Nothing was sent. Run `batchsend ledger upgrade`, and "
            f"then this again.",
            on_page=_OTHER_VERSION.format("older"),
        )
