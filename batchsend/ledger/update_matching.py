"""Finds the request that an update is about: by the metadata of the request, else by the UUID of its message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, or_, select, true

from batchsend.ledger.bulk import in_chunks
from batchsend.ledger.schema import messages, superseded, updates
from batchsend.mykaarma.updates import Update

#: Values in one `IN (...)`.
_VALUES = 1000


class Place(NamedTuple):
    """A row of a run."""

    run_id: int
    row: int


class Send(NamedTuple):
    """One request for a row. `generation`: how often `--resend` had opened the row before."""

    run_id: int
    row: int
    generation: int

    @property
    def place(self) -> Place:
        return Place(self.run_id, self.row)


def find_sends(
    connection: Connection, ledger_id: str, received: Mapping[str, Update | None]
) -> dict[str, Send]:
    """Digest -> the request that the update is about, for the updates whose request this ledger knows."""
    named: dict[str, Send] = {}
    for digest, update in received.items():
        ref = update.send if update is not None else None
        if ref is not None and ref.ledger_id == ledger_id:
            named[digest] = Send(ref.run_id, ref.row, ref.generation)
    known = _existing(connection, set(named.values()))
    found = {digest: send for digest, send in named.items() if send in known}
    others = {
        digest: update.message_uuid
        for digest, update in received.items()
        if digest not in found and update is not None and update.message_uuid is not None
    }
    by_uuid = _sends_of_messages(connection, set(others.values()))
    return found | {digest: by_uuid[uuid] for digest, uuid in others.items() if uuid in by_uuid}


def matchable_updates(since: str) -> Select[Any]:
    """Unmatched updates received since then whose message is known now."""
    named = updates.alias("named")
    known = or_(
        exists().where(messages.c.message_uuid == updates.c.message_uuid, messages.c.earlier_run.is_(None)),
        exists().where(superseded.c.message_uuid == updates.c.message_uuid),
        exists().where(named.c.message_uuid == updates.c.message_uuid, named.c.run_id.is_not(None)),
    )
    return select(updates).where(
        updates.c.run_id.is_(None),
        updates.c.message_uuid.is_not(None),
        updates.c.received_at >= since,
        known,
    )


def rows_at(table: Table, places: Iterable[Place]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together select the rows of these places."""
    by_run: dict[int, list[int]] = {}
    for place in sorted(set(places)):
        by_run.setdefault(place.run_id, []).append(place.row)
    for run_id, rows in by_run.items():
        for chunk in in_chunks(rows, _VALUES):
            yield and_(table.c.run_id == run_id, table.c.row.in_(chunk))


def send_columns(table: Table) -> Sequence[ColumnElement[Any]]:
    """The columns that make a `Send`, in its order."""
    return [table.c[name] for name in Send._fields]


def _existing(connection: Connection, sends: set[Send]) -> set[Send]:
    known: set[Send] = set()
    for table in (messages, superseded):
        for condition in rows_at(table, (send.place for send in sends)):
            found = connection.execute(select(*send_columns(table)).where(condition))
            known.update(map(Send._make, found))
    return known & sends


def _sends_of_messages(connection: Connection, uuids: set[str]) -> dict[str, Send]:
    """Message UUID -> its request. If our answer got lost, an earlier update may have named both."""
    found: dict[str, Send] = {}
    usable = {
        messages: messages.c.earlier_run.is_(None),
        superseded: true(),
        updates: updates.c.run_id.is_not(None),
    }
    for table, condition in usable.items():
        missing = sorted(uuids - found.keys())
        for chunk in in_chunks(missing, _VALUES):
            query = (
                select(table.c.message_uuid, *send_columns(table))
                .where(table.c.message_uuid.in_(chunk), condition)
                .order_by(*send_columns(table))
            )
            found.update({uuid: Send._make(send) for uuid, *send in connection.execute(query)})
    return found
