"""What changed in the ledger's tables from version to version: an older ledger is brought up step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, update

from batchsend.errors import LedgerError
from batchsend.ledger.schema import SCHEMA_VERSION, handovers, leases, meta, paces


def bring_up(connection: Connection, version: int, where: str) -> None:
    """Changes tables of an older version, step by step, to this one. Raises `LedgerError` where no step is known."""
    while version < SCHEMA_VERSION:
        step = _STEPS.get(version)
        if step is None:
            raise LedgerError(
                f"{where}: the tables of this ledger are version {version}, which no released batchsend wrote. "
                f"Nothing was changed. Put back a backup, or ask for help before you start with a new ledger: a new "
                f"one knows nothing of what was sent."
            )
        step(connection)
        version += 1
    connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=str(version)))


def _share_runs(connection: Connection) -> None:
    """Several processes can send a run together."""
    for table in (handovers, paces, leases):
        table.create(connection)


_STEPS: Mapping[int, Callable[[Connection], None]] = {1: _share_runs}
