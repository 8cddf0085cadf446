"""The ledger's tables for runs that several processes send, which is done on PostgreSQL.

Their times are seconds since 1970 by the server's clock, which all processes share.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    cast,
    extract,
    func,
    text,
)

from batchsend.ledger.schema import metadata


def seconds_of(moment: ColumnElement[Any]) -> ColumnElement[float]:
    """A time of PostgreSQL as such seconds."""
    return cast(extract("epoch", moment), Double)


SERVER_CLOCK = seconds_of(func.clock_timestamp())

#: The outcomes that a start's processes count.
COUNTED = ("accepted", "failed", "unconfirmed", "skipped")


def _counters() -> list[Column[int]]:
    return [Column(status, Integer, nullable=False, server_default=text("0")) for status in COUNTED]


#: The settings of a run for the workers that help to send it, and whether it is `open` to them.
handovers = Table(
    "handovers",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("start_id", Integer, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON object, see `sending.run_settings`
    Column("open", Boolean, nullable=False),
    Column("stopped_because", Text),  # the problem at which one process stopped all of them
    *_counters(),  # under leases that have ended
)

#: When any process may send the next request of a run.
paces = Table(
    "paces",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("configured_rate", Double, nullable=False),
    Column("rate", Double, nullable=False),
    Column("next_slot", Double, nullable=False),
    Column("paused_until", Double, nullable=False),
    Column("slowed_at", Double, nullable=False),
)

#: The processes that are alive, each until `lease_until` unless it renews its lease. `owner` marks its claims. A
#: lease is the right to send a run, a lock, or shows that a worker waits for runs (neither `run_id` nor `lock_name`).
leases = Table(
    "leases",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("run_id", Integer),
    Column("lock_name", Text),
    Column("base_url", Text, nullable=False),
    Column("holder", Text, nullable=False),  # shown to people: the process and its host
    Column("worker", Boolean, nullable=False),
    Column("lease_until", Double, nullable=False),
    *_counters(),  # under it
    Index("leases_by_run", "run_id"),
    Index("leases_by_lock", "lock_name", unique=True),
)
