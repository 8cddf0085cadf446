"""Texts whose outcome is unknown: finds them, and records what a conversation has shown about them.

All texts to a customer are read in the transaction that records the decision, after the conversation was read. A text
is in the ledger before its request leaves, so each text of this ledger that can be in the conversation is among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, or_, select, union, update

from batchsend.ledger.deliveries import ReceivedUpdate, deliver, lock_rows
from batchsend.ledger.ledger import Held, Ledger
from batchsend.ledger.plan_import import REPLACED, UNTRIED
from batchsend.ledger.schema import campaigns, messages, superseded, updates
from batchsend.ledger.update_matching import Send, rows_at, send_columns
from batchsend.mykaarma.conversation import ConversationMessage
from batchsend.mykaarma.settlement import RequestFacts, UnknownText, settle
from batchsend.mykaarma.updates import Update, UpdateOutcome
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED, Status
from batchsend.utils.timestamps import from_text, now, to_text


class Thread(NamedTuple):
    """A conversation with a customer, as the API names it."""

    department_uuid: str
    user_uuid: str
    customer_uuid: str


@dataclass(frozen=True, slots=True)
class ReadConversation:
    """The messages that were read of one customer's conversations, and how far the server's clock is ahead."""

    messages: Sequence[ConversationMessage]
    clock_ahead: timedelta | None


#: A text that was opened again and not sent since: if its first request is found, it need not be sent again.
_opened_again = exists().where(REPLACED, UNTRIED)


def unknown_texts(ledger: Ledger, run_id: int) -> dict[str, dict[Send, tuple[Thread, UnknownText]]]:
    """Customer -> the run's texts to them that are to be looked for."""
    found: dict[str, dict[Send, tuple[Thread, UnknownText]]] = {}
    with ledger.read() as connection:
        for table in (messages, superseded):
            query = select(table).where(table.c.run_id == run_id, _wanted(table))
            for row in connection.execute(query.order_by(table.c.row)).mappings():
                thread = Thread(*(row[name] or "" for name in Thread._fields))
                found.setdefault(thread.customer_uuid, {})[_send(row)] = (thread, _text(row, wanted=True))
    return found


def record_reading(
    ledger: Ledger,
    held: Held,
    run_id: int,
    base_url: str,
    customer_uuid: str,
    read: ReadConversation,
    facts: RequestFacts,
) -> list[Status]:
    """Settles the run's texts to a customer by their conversation. Returns the new statuses.

    The others get the time at which they were looked for. A row that changed meanwhile, or that another process is
    changing, is left alone. `held` raises an error if the lock under which the conversation was read was lost.
    """
    at = to_text(now())
    with ledger.write() as connection:
        held(connection)
        texts = _texts_of(connection, run_id, base_url, customer_uuid)
        # Read after the texts: a text whose message becomes known in between counts in both ways.
        recorded = _recorded(connection, {message.uuid for message in read.messages})
        decided = settle([*texts.values()], read.messages, recorded, facts, read.clock_ahead)
        ours = lock_rows(connection, {send.place for send, text in texts.items() if text.wanted})
        free = [
            (n, send) for n, (send, text) in enumerate(texts.items()) if text.wanted and send.place in ours
        ]
        found = {send: decided[position] for position, send in free if position in decided}
        deliver(connection, {send: [_update(message, at)] for send, message in found.items()}, ours)
        _note_search(connection, [send for _, send in free if send not in found], at)
    return [_outcome(message).status for message in found.values()]


def _wanted(table: Table) -> ColumnElement[bool]:
    unconfirmed = table.c.status == Status.UNCONFIRMED
    return unconfirmed if table is messages else and_(unconfirmed, _opened_again)


def _texts_of(
    connection: Connection, run_id: int, base_url: str, customer_uuid: str
) -> dict[Send, UnknownText]:
    """All texts to a customer, by all campaigns, whose message or outcome is not known."""
    texts: dict[Send, UnknownText] = {}
    at_this_api = select(campaigns.c.id).where(campaigns.c.base_url == base_url)
    for table in (messages, superseded):
        query = select(table, _wanted(table).label("is_wanted")).where(
            table.c.customer_uuid == customer_uuid,
            table.c.campaign_id.in_(at_this_api),
            table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
            or_(table.c.message_uuid.is_(None), _wanted(table)),
        )
        for row in connection.execute(query).mappings():
            texts[_send(row)] = _text(row, wanted=row["run_id"] == run_id and bool(row["is_wanted"]))
    return texts


def _send(row: Mapping[Any, Any]) -> Send:
    return Send(row["run_id"], row["row"], row["generation"])


def _text(row: Mapping[Any, Any], *, wanted: bool) -> UnknownText:
    sent_at = row["sent_at"]
    return UnknownText(
        body=row["body"],
        phone=row["phone"],
        requested_at=from_text(sent_at) if sent_at is not None else None,
        wanted=wanted,
        message_uuid=row["message_uuid"],
    )


def _recorded(connection: Connection, uuids: set[str]) -> set[str]:
    """Which of these messages belong to texts whose message is known."""
    tables = (messages, superseded, updates)
    of_a_row = [
        select(table.c.message_uuid).where(table.c.message_uuid.in_(uuids), table.c.run_id.is_not(None))
        for table in tables
    ]
    return set(connection.scalars(union(*of_a_row)))


def _update(message: ConversationMessage, at: str) -> ReceivedUpdate:
    return ReceivedUpdate("", "", at, Update(None, message.uuid, _outcome(message)))


def _outcome(message: ConversationMessage) -> UpdateOutcome:
    return message.outcome or UpdateOutcome(Status.ACCEPTED)


def _note_search(connection: Connection, sends: Sequence[Send], at: str) -> None:
    for table in (messages, superseded):
        for condition in rows_at(table, (send.place for send in sends)):
            this = or_(*(and_(*_is_send(table, send)) for send in sends))
            connection.execute(update(table).where(condition, this, _wanted(table)).values(looked_for_at=at))


def _is_send(table: Table, send: Send) -> Iterator[ColumnElement[bool]]:
    return (column == value for column, value in zip(send_columns(table), send, strict=True))
