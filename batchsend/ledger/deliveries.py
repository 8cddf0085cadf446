"""The ledger's side of updates: whose text each one is about, and what stands in its row from then on.

An update finds its row by the metadata that every request carries, else by the message's UUID. What updates say
stands above what our own answer said, and of several updates one prevails (`updates.prevails`), so that a row ends
the same in whatever order updates and answer come, and however often.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy import Update as UpdateStatement

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger, restore_opened
from batchsend.ledger.optouts import learn
from batchsend.ledger.schema import messages, superseded, updates
from batchsend.mykaarma.updates import Update, UpdateOutcome, prevails, read_update
from batchsend.statuses import OPTED_OUT, Status
from batchsend.utils.timestamps import from_text

_T = TypeVar("_T")
#: Characters of a body that are kept.
_LONGEST_RAW = 8000
#: Values in one `IN (...)`.
_VALUES = 1000

#: (run, row): where a message stands; with its generation, one request for it.
_Place = tuple[int, int]
_Send = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReceivedUpdate:
    """A body that came in, and what was made out of it. `at` is UTC text; `update` is `None` if nothing was."""

    digest: str
    raw: str
    at: str
    update: Update | None

    @classmethod
    def of(cls, body: bytes, at: str) -> ReceivedUpdate:
        raw = body[: 4 * _LONGEST_RAW].decode("utf-8", "replace").replace("\0", "\ufffd")[:_LONGEST_RAW]
        return cls(hashlib.sha256(body).hexdigest(), raw, at, read_update(body))


@dataclass(frozen=True)
class Recorded:
    """What became of a batch. `busy`: digests not stored, because another process is changing their rows."""

    matched: int
    unmatched: int
    busy: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What updates have said about one request so far; `at` is when that was first said."""

    verdict: UpdateOutcome | None
    at: str | None
    message_uuid: str | None
    #: The UUID comes from our own answer, which is not to be doubted.
    answered: bool

    def with_update(self, update: Update, at: str) -> Delivery:
        """The same, one update later. It makes no difference in which order updates come, or how often."""
        uuid = self.message_uuid
        if update.message_uuid is not None and not (self.answered and uuid is not None):
            uuid = max(update.message_uuid, uuid or "")
        verdict, since = self.verdict, self.at
        if update.verdict is not None:
            if prevails(update.verdict, verdict):
                verdict, since = update.verdict, at
            elif update.verdict == verdict and since is not None:
                since = min(since, at)
        return replace(self, verdict=verdict, at=since, message_uuid=uuid)


class Deliveries:
    """The updates of one ledger. Every method is one transaction and may block: call it from a thread.

    Raises `LedgerError`; then nothing of the call was stored.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ledger_id = ledger.ledger_id()

    def record(self, received: Sequence[ReceivedUpdate]) -> Recorded:
        """Stores updates and moves the rows that they are about, in one commit."""
        with self._ledger.write() as connection:
            return self._record(connection, received)

    def match_again(self, since: str, limit: int = 1000) -> int:
        """Looks once more for the rows of updates received after `since` that had none. Returns how many had one now.

        An update that names only the message can be here before our own answer has told the message's UUID.
        """
        with self._ledger.write() as connection:
            found = [
                ReceivedUpdate(row.digest, row.raw, row.received_at, _update_of(row))
                for row in connection.execute(_now_known(since).limit(limit))
            ]
            return self._record(connection, found).matched if found else 0

    def unmatched(self, since: str) -> int:
        """How many different updates received after `since` no row is known for."""
        query = select(func.count()).where(updates.c.run_id.is_(None), updates.c.received_at >= since)
        with self._ledger.read() as connection:
            return connection.scalar(query) or 0

    def forget(self, before: str, most: int) -> int:
        """Deletes updates received before, and the oldest ones beyond the `most` latest. Rows keep their outcome."""
        oldest_kept = (
            select(updates.c.received_at).order_by(updates.c.received_at.desc()).offset(most).limit(1)
        )
        with self._ledger.write() as connection:
            too_many = connection.scalar(oldest_kept)
            return connection.execute(
                delete(updates).where(
                    or_(updates.c.received_at < before, updates.c.received_at <= (too_many or ""))
                )
            ).rowcount

    def _record(self, connection: Connection, received: Iterable[ReceivedUpdate]) -> Recorded:
        distinct = {one.digest: one for one in sorted(received, key=lambda one: one.at, reverse=True)}
        sends = self._sends(connection, list(distinct.values()))
        generations = _lock(connection, {send[:2] for send in sends.values()})
        busy = frozenset(digest for digest, send in sends.items() if send[:2] not in generations)
        ready = [one for one in distinct.values() if one.digest not in busy]
        about: dict[_Send, list[ReceivedUpdate]] = {}
        for one in ready:
            if one.digest in sends:
                about.setdefault(sends[one.digest], []).append(one)
        _deliver(connection, about, generations)
        _learn_opt_outs(connection, ready, sends)
        _keep(connection, ready, sends)
        matched = sum(one.digest in sends for one in ready)
        return Recorded(matched, len(ready) - matched, busy)

    def _sends(self, connection: Connection, received: Sequence[ReceivedUpdate]) -> dict[str, _Send]:
        """Digest -> the request that the update is about, where the ledger knows it."""
        named: dict[str, _Send] = {}
        for one in received:
            ref = one.update.send if one.update is not None else None
            if ref is not None and ref.ledger_id == self._ledger_id:
                named[one.digest] = (ref.run_id, ref.row, ref.generation)
        known = _existing(connection, set(named.values()))
        found = {digest: send for digest, send in named.items() if send in known}
        others = {
            one.digest: one.update.message_uuid
            for one in received
            if one.digest not in found and one.update is not None and one.update.message_uuid is not None
        }
        by_uuid = _sends_of_messages(connection, set(others.values()))
        return found | {digest: by_uuid[uuid] for digest, uuid in others.items() if uuid in by_uuid}


def _existing(connection: Connection, sends: set[_Send]) -> set[_Send]:
    known: set[_Send] = set()
    for table in (messages, superseded):
        for where in _among(table, {send[:2] for send in sends}):
            rows = connection.execute(select(table.c.run_id, table.c.row, table.c.generation).where(where))
            known.update((run_id, row, generation) for run_id, row, generation in rows)
    return known & sends


def _sends_of_messages(connection: Connection, uuids: set[str]) -> dict[str, _Send]:
    """Message UUID -> its request. An earlier update may have named both, where our answer never came."""
    found: dict[str, _Send] = {}
    own = {
        messages: messages.c.earlier_run.is_(None),
        superseded: true(),
        updates: updates.c.run_id.is_not(None),
    }
    for table, condition in own.items():
        wanted = sorted(uuids - found.keys())
        for part in _parts(wanted):
            query = (
                select(table.c.message_uuid, table.c.run_id, table.c.row, table.c.generation)
                .where(table.c.message_uuid.in_(part), condition)
                .order_by(table.c.run_id, table.c.row, table.c.generation)
            )
            found.update({uuid: (*send,) for uuid, *send in connection.execute(query)})
    return found


def _lock(connection: Connection, places: set[_Place]) -> dict[_Place, int]:
    """Holds messages until the commit, never waiting for whoever holds them now. Returns place -> generation.

    Two that wait for each other's rows would have to be torn apart by the database, and a sender would fail.
    """
    locked: dict[_Place, int] = {}
    for where in _among(messages, places):
        query = (
            select(messages.c.run_id, messages.c.row, messages.c.generation)
            .where(where)
            .with_for_update(skip_locked=True)
        )
        locked.update({(run_id, row): generation for run_id, row, generation in connection.execute(query)})
    return locked


def _deliver(
    connection: Connection, about: Mapping[_Send, Sequence[ReceivedUpdate]], generations: Mapping[_Place, int]
) -> None:
    current = {send for send in about if generations[send[:2]] == send[2]}
    _move(connection, messages, current, about)
    for run_id, row, _ in _move(connection, superseded, about.keys() - current, about):
        # Somebody asked to send it again because nobody knew. Now it is known, and it may not have been sent yet.
        restore_opened(connection, and_(messages.c.run_id == run_id, messages.c.row == row))


def _move(
    connection: Connection,
    table: Table,
    sends: Collection[_Send],
    about: Mapping[_Send, Sequence[ReceivedUpdate]],
) -> list[_Send]:
    """Brings rows up to what updates say. Returns those of whose text it is known now what became of it."""
    changes = []
    settled = []
    for send, before in _deliveries(connection, table, sends).items():
        after = before
        for one in about[send]:
            if one.update is not None:
                after = after.with_update(one.update, one.at)
        if after.verdict is not None:
            settled.append(send)
        if after != before:
            changes.append((send, before, after))
    with_verdict = [_verdict_values(send, after) for send, _, after in changes if after.verdict is not None]
    if with_verdict:
        connection.execute(_set_verdict(table), with_verdict)
    with_uuid = [
        _uuid_values(send, after)
        for send, before, after in changes
        if after.message_uuid != before.message_uuid
    ]
    if with_uuid:
        connection.execute(_set_uuid(table), with_uuid)
    return settled


def _deliveries(connection: Connection, table: Table, sends: Collection[_Send]) -> dict[_Send, Delivery]:
    found: dict[_Send, Delivery] = {}
    for where in _among(table, {send[:2] for send in sends}):
        query = select(
            table.c.run_id,
            table.c.row,
            table.c.generation,
            table.c.codes,
            table.c.descriptions,
            table.c.delivery_status,
            table.c.delivery_at,
            table.c.message_uuid,
            table.c.api_status,
        ).where(where)
        for run_id, row, generation, codes, descriptions, status, at, uuid, api_status in connection.execute(
            query
        ):
            verdict = UpdateOutcome(Status(status), codes, descriptions) if status is not None else None
            found[run_id, row, generation] = Delivery(verdict, at, uuid, api_status == "SUCCESS")
    return {send: found[send] for send in sends if send in found}


def _of_send(table: Table) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.run_id == bindparam("of_run"),
        table.c.row == bindparam("of_row"),
        table.c.generation == bindparam("of_generation"),
    )


def _set_verdict(table: Table) -> UpdateStatement:
    # Whatever status the row has: the text was taken, even if this ledger (a backup, perhaps) does not remember it.
    return (
        update(table)
        .where(*_of_send(table))
        .values(
            status=bindparam("said"),
            codes=bindparam("said_codes"),
            descriptions=bindparam("said_descriptions"),
            delivery_status=bindparam("said"),
            delivery_at=bindparam("at"),
            sent_at=func.coalesce(table.c.sent_at, bindparam("at")),
        )
    )


def _set_uuid(table: Table) -> UpdateStatement:
    return update(table).where(*_of_send(table)).values(message_uuid=bindparam("uuid"))


def _verdict_values(send: _Send, delivery: Delivery) -> dict[str, Any]:
    verdict = delivery.verdict or UpdateOutcome(Status.ACCEPTED)
    said = {
        "said": verdict.status,
        "said_codes": verdict.codes,
        "said_descriptions": verdict.descriptions,
        "at": delivery.at,
    }
    return _send_values(send) | said


def _uuid_values(send: _Send, delivery: Delivery) -> dict[str, Any]:
    return _send_values(send) | {"uuid": delivery.message_uuid}


def _send_values(send: _Send) -> dict[str, Any]:
    return {"of_run": send[0], "of_row": send[1], "of_generation": send[2]}


def _learn_opt_outs(
    connection: Connection, received: Sequence[ReceivedUpdate], sends: Mapping[str, _Send]
) -> None:
    """Puts whom an update says to have opted out on the ledger's opt-outs.

    Once for each update: its repeat may come after somebody has opted in again.
    """
    told = {one.digest: one for one in received if one.digest in sends and _says_opted_out(one.update)}
    if not told:
        return
    known = select(updates.c.digest).where(updates.c.digest.in_(list(told)), updates.c.run_id.is_not(None))
    rows: dict[int, dict[int, str]] = {}
    for digest in told.keys() - set(connection.scalars(known)):
        run_id, row, _ = sends[digest]
        rows.setdefault(run_id, {})[row] = told[digest].at
    for run_id, when in sorted(rows.items()):
        learn(connection, run_id, list(when), from_text(min(when.values())))


def _says_opted_out(update_: Update | None) -> bool:
    verdict = update_.verdict if update_ is not None else None
    return verdict is not None and not OPTED_OUT.isdisjoint(verdict.codes.split("; "))


def _keep(connection: Connection, received: Sequence[ReceivedUpdate], sends: Mapping[str, _Send]) -> None:
    """Stores what came in; what is there already only learns whose it is."""
    if not received:
        return
    upsert = insert_into(connection, updates)
    owner = {name: upsert.excluded[name] for name in ("run_id", "row", "generation")}
    statement = upsert.on_conflict_do_update(
        index_elements=["digest"], set_=owner, where=updates.c.run_id.is_(None)
    )
    # In one order, so that two listeners do not wait for each other.
    connection.execute(
        statement,
        [_stored(one, sends.get(one.digest)) for one in sorted(received, key=lambda one: one.digest)],
    )


def _stored(one: ReceivedUpdate, send: _Send | None) -> dict[str, Any]:
    update_ = one.update
    verdict = update_.verdict if update_ is not None else None
    run_id, row, generation = send or (None, None, None)
    return {
        "digest": one.digest,
        "received_at": one.at,
        "raw": one.raw,
        "message_uuid": update_.message_uuid if update_ is not None else None,
        "status": verdict.status if verdict is not None else None,
        "codes": verdict.codes if verdict is not None else "",
        "descriptions": verdict.descriptions if verdict is not None else "",
        "run_id": run_id,
        "row": row,
        "generation": generation,
    }


def _update_of(row: Row[Any]) -> Update:
    """What was made out of a stored update that names only its message."""
    verdict = (
        UpdateOutcome(Status(row.status), row.codes, row.descriptions) if row.status is not None else None
    )
    return Update(None, row.message_uuid, verdict)


def _now_known(since: str) -> Select[Any]:
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


def _among(table: Table, places: set[_Place]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together pick the rows of these places."""
    by_run: dict[int, list[int]] = {}
    for run_id, row in sorted(places):
        by_run.setdefault(run_id, []).append(row)
    for run_id, rows in by_run.items():
        for part in _parts(rows):
            yield and_(table.c.run_id == run_id, table.c.row.in_(part))


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _VALUES):
        yield values[start : start + _VALUES]
