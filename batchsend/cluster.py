"""The queue of a ledger on PostgreSQL: the only module that knows Procrastinate."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from procrastinate.schema import SchemaManager
from sqlalchemy import Connection, bindparam, insert, select, text, update

from batchsend.errors import LedgerError
from batchsend.ledger import Ledger
from batchsend.schema import meta

if TYPE_CHECKING:
    import psycopg

#: Under this name `meta` says up to which of Procrastinate's migrations its tables are.
_MIGRATED = "queue_migration"


def upgrade_queue(ledger: Ledger) -> str:
    """Makes Procrastinate's tables in the ledger's database, or brings those that are there to this version.

    Returns a sentence that says what was done. Raises `LedgerError`; then nothing was changed.
    """
    migrations = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    newest = migrations[-1].name
    known = f"Procrastinate {version('procrastinate')}"
    with ledger.write() as connection:
        before = connection.scalar(select(meta.c.value).where(meta.c.name == _MIGRATED).with_for_update())
        if not has_queue(connection):
            _run(connection, SchemaManager.get_schema())
            done = f"made, as of {known}"
        elif before is None:
            _refuse_older(connection, ledger.where)
            done = f"found as made by somebody else, as of {known}"
        else:
            missing = [file for file in migrations if file.name > before]
            for file in missing:
                _run(connection, file.read_text(encoding="utf-8"))
            done = f"brought up to {known}" if missing else f"up to date, as of {known}"
        if before is None:
            connection.execute(insert(meta).values(name=_MIGRATED, value=newest))
        elif before < newest:
            connection.execute(update(meta).where(meta.c.name == _MIGRATED).values(value=newest))
    return done


def has_queue(connection: Connection) -> bool:
    """Are Procrastinate's tables in this database?"""
    return connection.scalar(text("SELECT to_regclass('procrastinate_jobs')")) is not None


def _refuse_older(connection: Connection, where: str) -> None:
    """Which migrations tables have seen stands nowhere; that all functions of the present ones exist can be seen."""
    wanted = set(re.findall(r"CREATE FUNCTION (\w+)", SchemaManager.get_schema()))
    query = text("SELECT proname FROM pg_proc WHERE proname IN :names").bindparams(
        bindparam("names", expanding=True)
    )
    missing = wanted - set(connection.scalars(query, {"names": sorted(wanted)}))
    if missing:
        raise LedgerError(
            f"{where}: this database has tables of an older Procrastinate, which another program made "
            f"({', '.join(sorted(missing))} missing). Nothing was changed. Bring them up to Procrastinate "
            f"{version('procrastinate')} with its own migrations, or use a database of batchsend's own."
        )


def _run(connection: Connection, script: str) -> None:
    """Runs a script of several statements in the connection's transaction."""
    _driver(connection).execute(script.encode())


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's own connection, within the same transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
