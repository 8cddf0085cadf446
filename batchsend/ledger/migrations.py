"""Upgrades the tables of an older ledger, version by version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, bindparam, inspect, select, text, update
from sqlalchemy.schema import CreateColumn

from batchsend.errors import BatchsendError, LedgerError
from batchsend.ledger.cluster_schema import handovers, leases, paces
from batchsend.ledger.ledger import CUSTOMER_COLUMN
from batchsend.ledger.schema import (
    ROOM_FOR_CHANGES,
    SCHEMA_VERSION,
    approvals,
    campaigns,
    dismissals,
    dismissed_rows,
    lookups,
    messages,
    meta,
    replies,
    superseded,
)


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


def _respell_keys(connection: Connection) -> None:
    """Turns keys into values: they followed the spelling of the list.

    Of several spellings of one value, each row keeps its outcome, and all are found by the value.
    """
    connection.execute(
        text(f"ALTER TABLE campaigns ADD COLUMN key_region TEXT NOT NULL DEFAULT '{_USUAL_REGION}'")
    )
    known = select(campaigns.c.id, campaigns.c.name, campaigns.c.file, campaigns.c.key_columns)
    for campaign, name, file, key_columns in connection.execute(known).all():
        columns = json.loads(key_columns)
        if columns == [CUSTOMER_COLUMN]:
            continue
        region = _region_of(_campaign_files(connection, file), name)
        for table in (messages, superseded):
            in_campaign = table.c.campaign_id == campaign
            keys = connection.scalars(
                select(table.c.key).where(in_campaign, table.c.key.is_not(None)).distinct()
            )
            changed = [
                {"before": key, "after": after}
                for key in keys
                if (after := _by_value(key, columns, region)) != key
            ]
            if changed:
                respell = update(table).where(in_campaign, table.c.key == bindparam("before"))
                connection.execute(respell.values(key=bindparam("after")), changed)
        connection.execute(update(campaigns).where(campaigns.c.id == campaign).values(key_region=region))


def _add_phone_hashes(connection: Connection) -> None:
    """Adds the hashes that a purge leaves of phones. Phones that were purged before are gone."""
    for table in (messages, superseded):
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN phone_hash TEXT"))


def _forget_zones_of_no_place(connection: Connection) -> None:
    """Toll-free numbers and the like had all zones of the numbering plan. It is always night in one of them."""
    everywhere = messages.c.clock.startswith("America/Adak|America/Anchorage|America/Anguilla|")
    connection.execute(update(messages).where(everywhere).values(clock=None))


def _to_version_5(connection: Connection) -> None:
    _add_phone_hashes(connection)
    _forget_zones_of_no_place(connection)


def _to_version_6(connection: Connection) -> None:
    """Gives leases locks, runs counters and rows room for changes. Drops columns that no query read.

    A new process takes new leases.
    """
    leases.drop(connection)
    leases.create(connection)
    known = {column["name"] for column in inspect(connection).get_columns(handovers.name)}
    for column in (column for column in handovers.c if column.name not in known):
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE {handovers.name} ADD COLUMN {definition}"))
    for name in ("host", "process"):
        connection.execute(text(f"ALTER TABLE planned_starts DROP COLUMN {name}"))
    if connection.dialect.name == "postgresql":
        connection.execute(ROOM_FOR_CHANGES)


def _to_version_7(connection: Connection) -> None:
    """Adds approvals. Earlier starts had none."""
    approvals.create(connection)
    connection.execute(text("ALTER TABLE starts ADD COLUMN approval_id INTEGER"))


def _to_version_8(connection: Connection) -> None:
    """Adds dismissals, and what a run waits for and who stopped it. Neither is known of earlier runs."""
    for table in (dismissals, dismissed_rows):
        table.create(connection)
    for name in ("stop_requested_by", "given_up_at", "given_up_by", "waits_until", "waits_because"):
        connection.execute(text(f"ALTER TABLE runs ADD COLUMN {name} TEXT"))


def _to_version_9(connection: Connection) -> None:
    """Adds replies, the answers of customer searches, and when `settle` looked for a text."""
    for new in (lookups, replies):
        new.create(connection)
    for table in (messages, superseded):
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN looked_for_at TEXT"))


def _by_value(key: str, columns: Sequence[str], region: str) -> str:
    from batchsend.messages.keys import key_of

    values = json.loads(key) if key.startswith("[") else ()
    if len(values) != len(columns):
        return key
    return key_of(values, region, columns.index(CUSTOMER_COLUMN) if CUSTOMER_COLUMN in columns else None)


def _campaign_files(connection: Connection, file: str) -> Iterator[Path]:
    """Where the campaign file may be: the folder can have been moved with its ledger."""
    yield Path(file)
    if connection.dialect.name == "sqlite":
        yield Path(connection.engine.url.database or "").absolute().parent.parent / Path(file).name


def _region_of(files: Iterator[Path], name: str) -> str:
    """The `default_region` of the first of these files that is the campaign."""
    from batchsend.campaigns.file import load_campaign

    for file in files:
        with suppress(BatchsendError):
            campaign = load_campaign(file)
            if campaign.name == name:
                return campaign.recipients.default_region
    return _USUAL_REGION


#: The region of campaigns whose file is not found.
_USUAL_REGION = "US"
#: From a version to the step that leads to the next one.
_STEPS: Mapping[int, Callable[[Connection], None]] = {
    1: _add_shared_runs,
    2: _drop_unread_columns,
    3: _respell_keys,
    4: _to_version_5,
    5: _to_version_6,
    6: _to_version_7,
    7: _to_version_8,
    8: _to_version_9,
}
