"""Records updates in the ledger and changes the rows that they are about. Customers' replies come the same way.

An update overrules our own answer, and of several updates one overrules the others (`updates.overrules`). A row
therefore ends the same way in whatever order updates and answer arrive, and however often.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy import Update as UpdateStatement

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import add_opted_out
from batchsend.ledger.plan_import import restore_opened
from batchsend.ledger.reply_recording import record_replies
from batchsend.ledger.schema import messages, superseded, updates
from batchsend.ledger.update_matching import (
    Place,
    Send,
    find_sends,
    matchable_updates,
    rows_at,
    send_columns,
)
from batchsend.mykaarma.replies import CustomerText, read_reply
from batchsend.mykaarma.updates import Update, UpdateEvent, UpdateOutcome, overrules, read_events
from batchsend.statuses import OPTED_OUT, Status
from batchsend.utils.timestamps import from_text

#: How many characters of a body are kept.
_LONGEST_RAW = 8000


@dataclass(frozen=True, slots=True)
class ReceivedUpdate:
    """A received event and what it means. `at` is UTC text; `update` is `None` for an event without known facts.

    `reply`: the customer's text that it reports. Such an event is no update of a text that was sent.
    """

    digest: str
    raw: str
    at: str
    update: Update | None
    reply: CustomerText | None = None

    @classmethod
    def all_of(cls, body: bytes, at: str) -> list[ReceivedUpdate]:
        """One for each event of a body."""
        return [cls._of(event, at) for event in read_events(body)]

    def without_facts(self) -> ReceivedUpdate:
        """The event only as it came."""
        return replace(self, update=None, reply=None)

    @classmethod
    def _of(cls, event: UpdateEvent, at: str) -> ReceivedUpdate:
        beginning = event.body[: 4 * _LONGEST_RAW].decode("utf-8", "replace")
        raw = beginning.replace("\0", "\ufffd")[:_LONGEST_RAW]
        reply = read_reply(event.body)
        update = event.update if reply is None else None
        return cls(hashlib.sha256(event.body).hexdigest(), raw, at, update, reply)


@dataclass(frozen=True)
class Recorded:
    """The result of a batch. `busy`: digests not stored, because another process is changing their rows."""

    matched: int
    unmatched: int
    busy: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of one request according to its updates so far; `at` is when it was first reported."""

    outcome: UpdateOutcome | None
    at: str | None
    message_uuid: str | None
    #: The UUID comes from our own answer, so updates cannot change it.
    answered: bool

    def with_update(self, update: Update, at: str) -> Delivery:
        """The delivery after one more update. The order and number of updates make no difference."""
        uuid = self.message_uuid
        if update.message_uuid is not None and not (self.answered and uuid is not None):
            uuid = max(update.message_uuid, uuid or "")
        outcome, since = self.outcome, self.at
        if update.outcome is not None:
            if overrules(update.outcome, outcome):
                outcome, since = update.outcome, at
            elif update.outcome == outcome and since is not None:
                since = min(since, at)
        return replace(self, outcome=outcome, at=since, message_uuid=uuid)


class Deliveries:
    """The updates of one ledger. Each method is one transaction and may block: call it from a thread.

    Raises `LedgerError`; then nothing of the call was stored.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ledger_id = ledger.ledger_id()

    def record(self, received: Sequence[ReceivedUpdate]) -> Recorded:
        """Stores updates and changes the rows that they are about, in one commit."""
        with self._ledger.write() as connection:
            return self._record(connection, received)

    def match_again(self, since: str, limit: int = 1000) -> int:
        """Matches updates received after `since` that had no row. Returns how many have one now.

        An update that names only the message can arrive before our own answer has told the message's UUID.
        """
        with self._ledger.write() as connection:
            found = [
                ReceivedUpdate(row.digest, row.raw, row.received_at, _stored_update(row))
                for row in connection.execute(matchable_updates(since).limit(limit))
            ]
            return self._record(connection, found).matched if found else 0

    def unmatched(self, since: str) -> int:
        """How many different updates received after `since` have no known row."""
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
        sends = find_sends(
            connection, self._ledger_id, {digest: one.update for digest, one in distinct.items()}
        )
        generations = lock_rows(connection, {send.place for send in sends.values()})
        busy = frozenset(digest for digest, send in sends.items() if send.place not in generations)
        ready = [one for one in distinct.values() if one.digest not in busy]
        answered = _record_replies(connection, ready)
        about: dict[Send, list[ReceivedUpdate]] = {}
        for one in ready:
            if one.digest in sends:
                about.setdefault(sends[one.digest], []).append(one)
        deliver(connection, about, generations)
        _record_opt_outs(connection, ready, sends)
        known = sends | answered
        _store(connection, ready, known)
        matched = sum(one.digest in known for one in ready)
        return Recorded(matched, len(ready) - matched, busy)


def lock_rows(connection: Connection, places: set[Place]) -> dict[Place, int]:
    """Locks messages until the commit, without waiting for other processes. Returns place -> generation.

    If two processes waited for each other's rows, the database would abort one of them, perhaps a sender.
    """
    locked: dict[Place, int] = {}
    for condition in rows_at(messages, places):
        query = select(*send_columns(messages)).where(condition).with_for_update(skip_locked=True)
        for send in map(Send._make, connection.execute(query)):
            locked[send.place] = send.generation
    return locked


def _record_replies(connection: Connection, received: Sequence[ReceivedUpdate]) -> dict[str, Send]:
    """Records the replies among the events. Returns digest -> the request that it answers."""
    texts = {one.digest: one.reply for one in received if one.reply is not None}
    if not texts:
        return {}
    moment = from_text(max(one.at for one in received if one.reply is not None))
    answered = record_replies(connection, list(texts.values()), moment).answered
    return {digest: send for digest, text in texts.items() if (send := answered[text.message_uuid])}


def deliver(
    connection: Connection, about: Mapping[Send, Sequence[ReceivedUpdate]], generations: Mapping[Place, int]
) -> None:
    """Changes the rows that updates are about. `generations`: the result of `lock_rows` for all of them."""
    current = {send for send in about if generations[send.place] == send.generation}
    _apply(connection, messages, current, about)
    for send in _apply(connection, superseded, about.keys() - current, about):
        # The row was opened again because its outcome was unknown. Now it is known, and the row may still wait.
        restore_opened(connection, and_(messages.c.run_id == send.run_id, messages.c.row == send.row))


def _apply(
    connection: Connection,
    table: Table,
    sends: Collection[Send],
    about: Mapping[Send, Sequence[ReceivedUpdate]],
) -> list[Send]:
    """Applies updates to rows. Returns the requests whose outcome is known from updates now."""
    changes = []
    settled = []
    for send, before in _deliveries(connection, table, sends).items():
        after = before
        for one in about[send]:
            if one.update is not None:
                after = after.with_update(one.update, one.at)
        if after.outcome is not None:
            settled.append(send)
        if after != before:
            changes.append((send, before, after))
    with_outcome = [_outcome_values(send, after) for send, _, after in changes if after.outcome is not None]
    if with_outcome:
        connection.execute(_set_outcome(table), with_outcome)
    with_uuid = [
        _send_values(send) | {"uuid": after.message_uuid}
        for send, before, after in changes
        if after.message_uuid != before.message_uuid
    ]
    if with_uuid:
        connection.execute(_set_uuid(table), with_uuid)
    return settled


def _deliveries(connection: Connection, table: Table, sends: Collection[Send]) -> dict[Send, Delivery]:
    found: dict[Send, Delivery] = {}
    for condition in rows_at(table, (send.place for send in sends)):
        query = select(
            *send_columns(table),
            table.c.codes,
            table.c.descriptions,
            table.c.delivery_status,
            table.c.delivery_at,
            table.c.message_uuid,
            table.c.api_status,
        ).where(condition)
        for row in connection.execute(query):
            outcome = _outcome(row.delivery_status, row.codes, row.descriptions)
            found[Send(row.run_id, row.row, row.generation)] = Delivery(
                outcome, row.delivery_at, row.message_uuid, row.api_status == "SUCCESS"
            )
    return {send: found[send] for send in sends if send in found}


def _outcome(status: str | None, codes: str, descriptions: str) -> UpdateOutcome | None:
    return UpdateOutcome(Status(status), codes, descriptions) if status is not None else None


def _is_send(table: Table) -> tuple[ColumnElement[bool], ...]:
    return tuple(table.c[name] == bindparam(f"of_{name}") for name in Send._fields)


def _send_values(send: Send) -> dict[str, Any]:
    return {f"of_{name}": value for name, value in send._asdict().items()}


def _set_outcome(table: Table) -> UpdateStatement:
    # For a row in any status: the text was sent, even if this ledger (perhaps a backup) does not have it as sent.
    return (
        update(table)
        .where(*_is_send(table))
        .values(
            status=bindparam("new_status"),
            codes=bindparam("new_codes"),
            descriptions=bindparam("new_descriptions"),
            delivery_status=bindparam("new_status"),
            delivery_at=bindparam("at"),
            sent_at=func.coalesce(table.c.sent_at, bindparam("at")),
        )
    )


def _outcome_values(send: Send, delivery: Delivery) -> dict[str, Any]:
    outcome = delivery.outcome or UpdateOutcome(Status.ACCEPTED)
    return _send_values(send) | {
        "new_status": outcome.status,
        "new_codes": outcome.codes,
        "new_descriptions": outcome.descriptions,
        "at": delivery.at,
    }


def _set_uuid(table: Table) -> UpdateStatement:
    return update(table).where(*_is_send(table)).values(message_uuid=bindparam("uuid"))


def _record_opt_outs(
    connection: Connection, received: Sequence[ReceivedUpdate], sends: Mapping[str, Send]
) -> None:
    """Adds customers to the ledger's opt-outs if an update says that they opted out.

    Each update counts once: when it is repeated, the customer may have opted in again.
    """
    opted_out = {one.digest: one for one in received if one.digest in sends and _is_opt_out(one.update)}
    if not opted_out:
        return
    known = select(updates.c.digest).where(
        updates.c.digest.in_(list(opted_out)), updates.c.run_id.is_not(None)
    )
    rows: dict[int, dict[int, str]] = {}
    for digest in opted_out.keys() - set(connection.scalars(known)):
        send = sends[digest]
        rows.setdefault(send.run_id, {})[send.row] = opted_out[digest].at
    for run_id, times in sorted(rows.items()):
        add_opted_out(connection, run_id, list(times), from_text(min(times.values())))


def _is_opt_out(update_: Update | None) -> bool:
    outcome = update_.outcome if update_ is not None else None
    return outcome is not None and not OPTED_OUT.isdisjoint(outcome.codes.split("; "))


def _store(connection: Connection, received: Sequence[ReceivedUpdate], sends: Mapping[str, Send]) -> None:
    """Stores received updates; one that is stored already only gets its request."""
    if not received:
        return
    upsert = insert_into(connection, updates)
    statement = upsert.on_conflict_do_update(
        index_elements=["digest"],
        set_={name: upsert.excluded[name] for name in Send._fields},
        where=updates.c.run_id.is_(None),
    )
    # In one order, so that two receivers do not wait for each other.
    connection.execute(
        statement,
        [_values(one, sends.get(one.digest)) for one in sorted(received, key=lambda one: one.digest)],
    )


def _values(one: ReceivedUpdate, send: Send | None) -> dict[str, Any]:
    update_ = one.update
    outcome = update_.outcome if update_ is not None else None
    return {
        "digest": one.digest,
        "received_at": one.at,
        "raw": one.raw,
        "message_uuid": update_.message_uuid if update_ is not None else None,
        "status": outcome.status if outcome is not None else None,
        "codes": outcome.codes if outcome is not None else "",
        "descriptions": outcome.descriptions if outcome is not None else "",
        **(dict.fromkeys(Send._fields) if send is None else send._asdict()),
    }


def _stored_update(row: Row[Any]) -> Update:
    """The facts of a stored update that names only its message."""
    return Update(None, row.message_uuid, _outcome(row.status, row.codes, row.descriptions))
