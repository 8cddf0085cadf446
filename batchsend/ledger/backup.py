"""Backs up a ledger file, also while campaigns are being sent from it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import func, select

from batchsend.errors import LedgerError
from batchsend.ledger.database_errors import damaged
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import messages, runs
from batchsend.utils.files import write_private


class Backup(NamedTuple):
    """A backup: its file, how many runs it has, and when its last text was sent (UTC text; `None` if none was)."""

    file: Path
    runs: int
    last_sent_at: str | None


def back_up(ledger: Ledger, target: Path, moment: datetime) -> Backup:
    """Copies the ledger to `target`, or to a new file in the folder `target`, named by `moment`.

    The copy is one consistent state of the ledger, complete or not there at all, and readable by its owner only.
    Raises `LedgerError`, also for a ledger on PostgreSQL and if the file exists.
    """
    if ledger.file is None:
        raise LedgerError(
            f"{ledger.where}: this ledger is a PostgreSQL database. Back up the whole database with its own tools, "
            f"such as pg_dump."
        )
    file = target / f"ledger-{moment:%Y-%m-%d-%H%M%S}.db" if target.is_dir() else target
    if file.exists():
        raise LedgerError(
            f"{file}: this file exists, and it was not overwritten. Choose another name, or a folder."
        )
    with ledger.read() as connection:
        run_count = connection.scalar(select(func.count()).select_from(runs))
        last_sent_at = connection.scalar(select(func.max(messages.c.sent_at)))
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)  # noqa: S101 - every ledger file is opened with this driver
        _copy(source, ledger.where, file)
    return Backup(file, run_count or 0, last_sent_at)


def _copy(source: sqlite3.Connection, where: str, file: Path) -> None:
    def write(temporary: Path) -> None:
        with closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
            # One file, without a log next to it.
            copy.execute("PRAGMA journal_mode=DELETE")
            (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise LedgerError(f"{where}: {damaged(str(found))}")

    try:
        write_private(file, write)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LedgerError(
            f"{file}: the backup could not be written ({reason}). Choose another place."
        ) from error
