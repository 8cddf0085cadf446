"""Opening a ledger: for sending, for reading only, or as a throw-away for one plan."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import URL, make_url

from batchsend.errors import LedgerError
from batchsend.ledger import Ledger
from batchsend.schema import SCHEMA_VERSION, meta, metadata

#: Another process may hold SQLite's write lock while it stores a long plan.
_BUSY_TIMEOUT_SECONDS = 60


def open_ledger(url: str) -> Ledger:
    """Opens a ledger for sending; a new one is made where there is none.

    `url` is a SQLAlchemy URL. Raises `LedgerError`.
    """
    parsed = make_url(url)
    file = _sqlite_file(parsed)
    if file is not None:
        _make_private_file(file)
    ledger = Ledger(_engine(parsed), _where(parsed), file)
    with ledger.write() as connection:
        _create_or_check(connection, ledger.where)
    return ledger


def open_for_reading(url: str) -> Ledger | None:
    """Opens an existing ledger and changes nothing; `None` where there is none. Raises `LedgerError`."""
    parsed = make_url(url)
    file = _sqlite_file(parsed)
    if file is not None:
        if not file.exists() or file.stat().st_size == 0:
            return None
        # SQLite cannot read a WAL database in a folder where it may not write unless told that nobody writes.
        mode = "mode=ro" if os.access(file.parent, os.W_OK) else "immutable=1"
        parsed = make_url(f"sqlite:///file:{file.as_posix()}?{mode}&uri=true")
    ledger = Ledger(_engine(parsed), _where(make_url(url)), file)
    with ledger.read() as connection:
        if not inspect(connection).has_table("meta"):
            ledger.close()
            return None
        _check_version(connection, ledger.where)
    return ledger


def scratch_ledger(folder: Path) -> Ledger:
    """A throw-away ledger for one plan; nothing in it needs to survive a crash."""
    file = folder / "plan.db"
    _make_private_file(file)
    engine = _engine(URL.create("sqlite", database=str(file)), synchronous="OFF")
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(insert(meta).values(name="ledger_id", value=uuid.uuid4().hex))
    return Ledger(engine, str(file), file)


def _engine(url: URL, synchronous: str = "FULL") -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins would leave reads outside of it.
        connection.isolation_level = None
        cursor = connection.cursor()
        if "mode=ro" not in str(url) and "immutable" not in str(url):
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("batchsend_reading", False)
        # A writer that begins as a reader can find the ledger changed under it and fail half-way.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _sqlite_file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def _where(url: URL) -> str:
    return url.database or "memory" if url.get_backend_name() == "sqlite" else url.render_as_string()


def _make_private_file(file: Path) -> None:
    """Texts and phone numbers stand in a ledger: only its owner may read it."""
    try:
        if not file.parent.exists():
            file.parent.mkdir(parents=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise LedgerError(
            f"{file}: the ledger cannot be written here ({error.strerror}). Nothing was sent. Make the "
            f"folder writable, or name another place with --ledger or BATCHSEND_LEDGER."
        ) from error


def _create_or_check(connection: Connection, where: str) -> None:
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


def _check_version(connection: Connection, where: str) -> None:
    version = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    if version is None or int(version) != SCHEMA_VERSION:
        raise LedgerError(
            f"{where}: this ledger was written by another version of batchsend (its tables are version "
            f"{version}, this program's are {SCHEMA_VERSION}). Use that version of batchsend."
        )
