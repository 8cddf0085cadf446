"""Upgrades the tables of an older ledger, version by version."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, text, update

from batchsend.errors import LedgerError
from batchsend.ledger.schema import SCHEMA_VERSION, handovers, leases, meta, paces


def upgrade_tables(connection: Connection, version: int, where: str) -> None:
    """Changes the tables from `version` to `SCHEMA_VERSION`. Raises `LedgerError` for an unknown version."""
    while version < SCHEMA_VERSION:
        step = _STEPS.get(version)
        if step is None:
            raise LedgerError(
                f"{where}: the tables of this ledger are version {version}, which no released batchsend wrote. "
                f"Nothing was changed. Restore a backup, or ask for help before you start with a new ledger: a new "
                f"one does not know what was sent."
            )
        step(connection)
        version += 1
    connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=str(version)))


def _add_shared_runs(connection: Connection) -> None:
    """Adds the tables with which several processes send one run."""
    for table in (handovers, paces, leases):
        table.create(connection)


def _drop_unread_columns(connection: Connection) -> None:
    """Removes columns that no query read: always NULL, or known from a campaign's first run (`created_at`)."""
    for column in (
        "campaigns.created_at",
        "runs.owner",
        "runs.lease_until",
        "messages.lease_until",
        "superseded.lease_until",
    ):
        table, name = column.split(".")
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {name}"))


#: From a version to the step that leads to the next one.
_STEPS: Mapping[int, Callable[[Connection], None]] = {1: _add_shared_runs, 2: _drop_unread_columns}
