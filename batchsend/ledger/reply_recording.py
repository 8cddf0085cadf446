"""Records customers' replies: each once, with the text that it answers. STOP becomes an opt-out at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, or_, select, union_all, update

from batchsend.ledger.bulk import in_chunks, insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import EVERYWHERE, Person, add_replied, scope_of_answer, this_person
from batchsend.ledger.replies import StoredReply, find
from batchsend.ledger.schema import campaigns, messages, replies, starts, superseded
from batchsend.ledger.update_matching import Send
from batchsend.messages.stop_words import Meaning, meaning_of
from batchsend.mykaarma.replies import CustomerText
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED
from batchsend.utils.timestamps import from_text, to_text

#: A reply answers the latest text of this time.
ANSWERED_WITHIN = timedelta(days=30)
#: How much the API's clock may be behind this computer's.
CLOCK_BEHIND = timedelta(minutes=10)
_IN_VALUES = 500


class _Text(NamedTuple):
    """A text that a reply may answer."""

    customer_uuid: str
    send: Send
    sent_at: str
    base_url: str


class Recorded(NamedTuple):
    """Message UUID -> the request that it answers; the ids of replies that are new or whose words are."""

    answered: dict[str, Send | None]
    new: list[int]


class Decision(StrEnum):
    """What a person decides about a reply; the value says it in words."""

    OPT_OUT = "opted out"
    LEAVE = "left as it is"
    REMOVE = "taken off the opt-outs"


def decide(
    ledger: Ledger, reply_id: int, decision: Decision, person: Person, moment: datetime
) -> StoredReply | None:
    """Records a decision, and adds the customer to the opt-outs if that is the decision.

    Returns the reply; `None` if there is no such reply that waits for a decision. To take customers off the opt-outs
    is up to the caller.
    """
    waits = and_(replies.c.id == reply_id, replies.c.handled_at.is_(None))
    values = {"handled_at": to_text(moment), "handled_by": person.os_user, "handled_as": decision}
    with ledger.write() as connection:
        if not connection.execute(update(replies).where(waits).values(values)).rowcount:
            return None
        (reply,) = find(connection, replies.c.id == reply_id)
        if decision is Decision.OPT_OUT:
            _opt_out(connection, reply, person, moment)
    return reply


def record_replies(
    connection: Connection, texts: Sequence[CustomerText], moment: datetime, asked: str | None = None
) -> Recorded:
    """Stores customers' texts that are not stored yet; a request to stop becomes an opt-out in the same transaction.

    `asked`: the base URL of the API whose conversations have the texts; `None` for events, which do not name it.
    `answered` has also those that were stored before.
    """
    texts = _with_customers(connection, texts, moment)
    sent = _sent_to(connection, {text.customer_uuid for text in texts} - {""}, moment)
    recorded = Recorded({}, [])
    # In one order, so that two receivers do not wait for each other.
    for text in sorted(texts, key=lambda text: text.message_uuid):
        answer_to = _answered(_of_its_api(sent.get(text.customer_uuid, ()), text, asked), text.at or moment)
        new = _record(connection, text, answer_to, _base_url(text, answer_to, asked), moment)
        recorded.answered[text.message_uuid] = answer_to.send if answer_to is not None else None
        recorded.new.extend([] if new is None else [new])
    return recorded


def _with_customers(
    connection: Connection, texts: Sequence[CustomerText], moment: datetime
) -> list[CustomerText]:
    """The texts, also with the customer where only the phone is known: whom a campaign texted there last.

    An opt-out needs the customer, because rows without a phone go to a phone that myKaarma chooses. Phones have no
    index, so this looks only for replies that may become an opt-out, and only in runs of the time that counts.
    """
    phones = {text.phone for text in texts if not text.customer_uuid and _meaning(text) != Meaning.OTHER}
    customers: dict[str, str] = {}
    for chunk in in_chunks(sorted(phones - {""}), _IN_VALUES):
        since = to_text(moment - 2 * ANSWERED_WITHIN)
        every = union_all(*(_at_phones(table, chunk, since) for table in (messages, superseded))).subquery()
        query = select(every.c.phone, every.c.customer_uuid).order_by(every.c.sent_at)
        customers.update((phone, customer) for phone, customer in connection.execute(query))
    return [
        text if text.customer_uuid else replace(text, customer_uuid=customers.get(text.phone, ""))
        for text in texts
    ]


def _at_phones(table: Any, phones: Sequence[str], since: str) -> Select[Any]:
    lately = select(starts.c.run_id).where(or_(starts.c.ended_at.is_(None), starts.c.ended_at >= since))
    return select(table.c.phone, table.c.customer_uuid, table.c.sent_at).where(
        table.c.run_id.in_(lately),
        table.c.phone.in_(phones),
        table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
        table.c.sent_at >= since,
    )


def _meaning(text: CustomerText) -> Meaning:
    return Meaning.UNCLEAR if text.body is None else meaning_of(text.body)


def _sent_to(connection: Connection, customers: Collection[str], moment: datetime) -> dict[str, list[_Text]]:
    """Customer -> the texts that they may have received lately, oldest first."""
    since = to_text(moment - 2 * ANSWERED_WITHIN)
    found: dict[str, list[_Text]] = {}
    for chunk in in_chunks(sorted(customers), _IN_VALUES):
        every = union_all(*(_texts(table, chunk, since) for table in (messages, superseded))).subquery()
        for customer, run_id, row, generation, *facts in connection.execute(
            select(every).order_by(every.c.sent_at)
        ):
            found.setdefault(customer, []).append(_Text(customer, Send(run_id, row, generation), *facts))
    return found


def _texts(table: Any, customers: Sequence[str], since: str) -> Select[Any]:
    return (
        select(
            table.c.customer_uuid,
            table.c.run_id,
            table.c.row,
            table.c.generation,
            table.c.sent_at,
            campaigns.c.base_url,
        )
        .join(campaigns, campaigns.c.id == table.c.campaign_id)
        .where(
            table.c.customer_uuid.in_(customers),
            table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
            table.c.sent_at >= since,
        )
    )


def _of_its_api(sent: Sequence[_Text], text: CustomerText, asked: str | None) -> list[_Text]:
    """The texts that the API of this reply may have sent."""
    if asked is not None:
        return [one for one in sent if one.base_url == asked]
    return [one for one in sent if _is_trial(one) or not text.from_sandbox]


def _is_trial(text: _Text) -> bool:
    return scope_of_answer(text.base_url) != EVERYWHERE


def _answered(sent: Sequence[_Text], at: datetime) -> _Text | None:
    """The text that a reply of this time answers: the latest one, of a real API if there is one."""
    first, last = to_text(at - ANSWERED_WITHIN), to_text(at + CLOCK_BEHIND)
    possible = [text for text in sent if first <= text.sent_at <= last]
    real = [text for text in possible if not _is_trial(text)]
    return next(reversed(real or possible), None)


def _base_url(text: CustomerText, answer_to: _Text | None, asked: str | None) -> str:
    """The API that a reply comes from; "" if it is not known, so that a request to stop holds everywhere.

    An event may reach a ledger that has only trials with its customer, or only older texts to them.
    """
    if asked is not None:
        return asked
    if answer_to is None or (_is_trial(answer_to) and not text.from_sandbox):
        return ""
    return answer_to.base_url


def _record(
    connection: Connection, text: CustomerText, answer_to: _Text | None, base_url: str, moment: datetime
) -> int | None:
    """Returns the reply's id; `None` if it was stored before."""
    meaning = _meaning(text)
    values = {
        "base_url": base_url,
        "message_uuid": text.message_uuid,
        "customer_uuid": text.customer_uuid,
        "phone": text.phone,
        "received_at": to_text(min(text.at or moment, moment)),
        "recorded_at": to_text(moment),
        "body": text.body,
        "meaning": meaning,
        **(dict.fromkeys(Send._fields) if answer_to is None else answer_to.send._asdict()),
    }
    insert = insert_into(connection, replies)
    # An event may come without the words, and again with them.
    statement = insert.on_conflict_do_update(
        index_elements=["base_url", "message_uuid"],
        set_={"body": insert.excluded.body, "meaning": insert.excluded.meaning},
        where=and_(
            replies.c.body.is_(None), replies.c.purged_at.is_(None), insert.excluded.body.is_not(None)
        ),
    ).returning(replies.c.id)
    new: int | None = connection.scalar(statement, values)
    if new is not None and meaning is Meaning.STOP:
        (stored,) = find(connection, replies.c.id == new)
        _opt_out(connection, stored, this_person(), from_text(stored.received_at))
    return new


def _opt_out(connection: Connection, reply: StoredReply, person: Person, moment: datetime) -> None:
    """Adds the customer and the phone to the opt-outs, with the words."""
    request = reply.opt_out
    if request.customer_uuid or request.phone:
        optout = add_replied(connection, request, reply.scope, person, moment)
        connection.execute(update(replies).where(replies.c.id == reply.id).values(optout_id=optout))
