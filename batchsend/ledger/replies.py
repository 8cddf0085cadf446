"""The texts that customers sent: each is stored once, with the text that it answers, and STOP becomes an opt-out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, union_all, update

from batchsend.ledger.bulk import in_chunks, insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import EVERYWHERE, OptOutRequest, add_replied, scope_of_answer
from batchsend.ledger.schema import campaigns, messages, optouts, replies, runs, superseded
from batchsend.ledger.update_matching import Send
from batchsend.messages.stop_words import Meaning, meaning_of
from batchsend.mykaarma.conversation import ConversationQuery
from batchsend.mykaarma.replies import CustomerText
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED
from batchsend.utils.timestamps import from_text, to_text
from batchsend.utils.wording import reply_count

#: A reply answers the latest text of this time.
ANSWERED_WITHIN = timedelta(days=30)
#: How much the API's clock may be behind this computer's.
CLOCK_BEHIND = timedelta(minutes=10)
_IN_VALUES = 500
#: How many characters of a request stand in the reason of an opt-out.
_LONGEST_WORDS = 80


class _Text(NamedTuple):
    """A text that a reply may answer."""

    customer_uuid: str
    send: Send
    sent_at: str
    phone: str
    base_url: str
    campaign: str


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A customer's text, with the text that it answers if there is one. Times are UTC text.

    `opted_out`: the customer or the phone is on the opt-out list now. `handled_as`: what a person decided, in words.
    """

    id: int
    received_at: str
    customer_uuid: str
    phone: str
    body: str | None
    meaning: str
    run_id: int | None
    row: int | None
    campaign: str | None
    sent_at: str | None
    sent_body: str | None
    opted_out: bool
    handled_at: str | None
    handled_by: str | None
    handled_as: str | None
    purged_at: str | None

    @property
    def needs_you(self) -> bool:
        """Whether a person has to decide: it is unclear, or the customer wants texts again."""
        wants_back = self.meaning == Meaning.START and self.opted_out
        return self.handled_at is None and (self.meaning == Meaning.UNCLEAR or wants_back)

    @property
    def asks_to_stop(self) -> bool:
        return self.meaning == Meaning.STOP

    @property
    def words(self) -> str:
        """The reply as people read it."""
        if self.purged_at is not None:
            return f"(the words were purged on {self.purged_at[:10]})"
        if self.body is None:
            return "(the words did not come with it: look in myKaarma)"
        return self.body or "(no words, perhaps a picture: look in myKaarma)"

    @property
    def outcome(self) -> str:
        """What it asks for and what became of that; "" for a reply that asks for nothing here."""
        if self.handled_as is not None:
            return f"{self.handled_as} by {self.handled_by}"
        if self.asks_to_stop:
            return (
                "asked for no more texts: opted out"
                if self.opted_out
                else "asked for no more texts; the opt-out was removed"
            )
        if self.meaning == Meaning.UNCLEAR:
            return "unclear: decide whether they want no more texts"
        if self.meaning == Meaning.START:
            return (
                "wants texts again: decide whether to remove the opt-out"
                if self.opted_out
                else "wants texts again"
            )
        return ""


def replies_to(ledger: Ledger, run_ids: Collection[int]) -> list[StoredReply]:
    """The replies to the texts of these runs, oldest first."""
    return _find(ledger, replies.c.run_id.in_(run_ids))


def replies_of(ledger: Ledger, *, customer_uuid: str | None, phone: str | None) -> list[StoredReply]:
    """The replies of this customer or from this phone (E.164), oldest first."""
    named = or_(replies.c.customer_uuid == customer_uuid, replies.c.phone == phone)
    return _find(ledger, named)


def latest_replies(ledger: Ledger, most: int) -> list[StoredReply]:
    """The latest replies to any text or to none: first those that need a person, then the latest."""
    first = case(
        (and_(replies.c.meaning.in_([Meaning.UNCLEAR, Meaning.START]), replies.c.handled_at.is_(None)), 0),
        else_=1,
    )
    found = _find(ledger, replies.c.id.is_not(None), order=(first, replies.c.received_at.desc()), most=most)
    return sorted(found, key=lambda reply: not reply.needs_you)


class ReplyCounts(NamedTuple):
    """How many replies there are, how many ask for no more texts, and how many unclear ones wait for a person."""

    replies: int
    stops: int
    unclear: int

    def sentence(self) -> str:
        """`12 replies: 2 ask for no more texts, 1 is unclear and needs you.`"""
        parts = []
        if self.stops:
            parts.append(f"{self.stops:,} {'asks' if self.stops == 1 else 'ask'} for no more texts")
        if self.unclear:
            verbs = ("is", "needs") if self.unclear == 1 else ("are", "need")
            parts.append(f"{self.unclear:,} {verbs[0]} unclear and {verbs[1]} you")
        return (
            f"{reply_count(self.replies)}: {', '.join(parts)}." if parts else f"{reply_count(self.replies)}."
        )


def reply_counts(ledger: Ledger, run_ids: Collection[int]) -> dict[int, ReplyCounts]:
    """Run number -> how many replies its texts have, for runs with replies."""
    unclear = and_(replies.c.meaning == Meaning.UNCLEAR, replies.c.handled_at.is_(None))
    query = (
        select(
            replies.c.run_id,
            func.count(),
            func.count(case((replies.c.meaning == Meaning.STOP, 1))),
            func.count(case((unclear, 1))),
        )
        .where(replies.c.run_id.in_(run_ids))
        .group_by(replies.c.run_id)
    )
    with ledger.read() as connection:
        return {run_id: ReplyCounts(*counts) for run_id, *counts in connection.execute(query)}


def texted_since(
    ledger: Ledger, run_ids: Collection[int], since: datetime
) -> list[tuple[ConversationQuery, str]]:
    """The conversations in which these runs may have texted customers since then, each with its first time."""
    thread = [messages.c[name] for name in ("department_uuid", "user_uuid", "customer_uuid")]
    query = (
        select(*thread, func.min(messages.c.sent_at))
        .where(
            messages.c.run_id.in_(run_ids),
            messages.c.status.in_(MAY_HAVE_REACHED),
            messages.c.sent_at >= to_text(since),
        )
        .group_by(*thread)
    )
    with ledger.read() as connection:
        return [(ConversationQuery(*names), sent_at) for *names, sent_at in connection.execute(query)]


class RowReplies(NamedTuple):
    """The replies to one row: when the first one came (UTC text), and all of their words, one a line."""

    replied_at: str
    words: str


def replies_by_row(ledger: Ledger, run_id: int) -> dict[int, RowReplies]:
    """Row -> its replies."""
    query = (
        select(replies.c.row, replies.c.received_at, replies.c.body)
        .where(replies.c.run_id == run_id)
        .order_by(replies.c.received_at, replies.c.id)
    )
    found: dict[int, RowReplies] = {}
    with ledger.read() as connection:
        for row, received_at, body in connection.execute(query):
            before = found.get(row)
            words = body or ""
            found[row] = (
                RowReplies(received_at, words)
                if before is None
                else before._replace(words=f"{before.words}\n{words}")
            )
    return found


def _find(
    ledger: Ledger,
    condition: ColumnElement[bool],
    order: Iterable[Any] = (replies.c.received_at,),
    most: int | None = None,
) -> list[StoredReply]:
    named = or_(
        and_(replies.c.customer_uuid != "", optouts.c.customer_uuid == replies.c.customer_uuid),
        and_(replies.c.phone != "", optouts.c.phone == replies.c.phone),
    )
    opted_out = select(optouts.c.id).where(optouts.c.removed_at.is_(None), named).exists()
    of_send = [
        and_(*(table.c[name] == replies.c[name] for name in Send._fields)) for table in (messages, superseded)
    ]
    own = [replies.c[name] for name in StoredReply.__slots__ if name in replies.c]
    query = (
        select(
            *own,
            campaigns.c.name.label("campaign"),
            func.coalesce(messages.c.sent_at, superseded.c.sent_at).label("sent_at"),
            func.coalesce(messages.c.body, superseded.c.body).label("sent_body"),
            opted_out.label("opted_out"),
        )
        .outerjoin(runs, runs.c.id == replies.c.run_id)
        .outerjoin(campaigns, campaigns.c.id == runs.c.campaign_id)
        .outerjoin(messages, of_send[0])
        .outerjoin(superseded, of_send[1])
        .where(condition)
        .order_by(*order, replies.c.id)
        .limit(most)
    )
    with ledger.read() as connection:
        return [StoredReply(**row) for row in connection.execute(query).mappings()]


# --- recording


def record_replies(
    connection: Connection, texts: Sequence[CustomerText], moment: datetime
) -> dict[str, Send | None]:
    """Stores customers' texts that are not stored yet; a request to stop becomes an opt-out in the same transaction.

    Returns message UUID -> the request that it answers, also of those that were stored before.
    """
    sent = _sent_to(connection, {text.customer_uuid for text in texts} - {""}, moment)
    answered: dict[str, Send | None] = {}
    # In one order, so that two receivers do not wait for each other.
    for text in sorted(texts, key=lambda text: text.message_uuid):
        answer_to = _answered(sent.get(text.customer_uuid, ()), text.at or moment)
        _record(connection, text, answer_to, moment)
        answered[text.message_uuid] = answer_to.send if answer_to is not None else None
    return answered


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
            func.coalesce(table.c.phone, table.c.phone_hash, "").label("phone"),
            campaigns.c.base_url,
            campaigns.c.name,
        )
        .join(campaigns, campaigns.c.id == table.c.campaign_id)
        .where(
            table.c.customer_uuid.in_(customers),
            table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
            table.c.sent_at >= since,
        )
    )


def _answered(sent: Sequence[_Text], at: datetime) -> _Text | None:
    """The text that a reply of this time answers: the latest one, of a real API if there is one.

    A trial's texts must not keep a real customer's request to stop from reaching everywhere.
    """
    first, last = to_text(at - ANSWERED_WITHIN), to_text(at + CLOCK_BEHIND)
    possible = [text for text in sent if first <= text.sent_at <= last]
    real = [text for text in possible if scope_of_answer(text.base_url) == EVERYWHERE]
    return next(reversed(real or possible), None)


def _record(connection: Connection, text: CustomerText, answer_to: _Text | None, moment: datetime) -> None:
    base_url = answer_to.base_url if answer_to is not None else ""
    meaning = Meaning.UNCLEAR if text.body is None else meaning_of(text.body)
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
    new = connection.scalar(statement, values)
    if new is not None and meaning is Meaning.STOP:
        _opt_out(connection, new, text, answer_to, from_text(str(values["received_at"])))


def _opt_out(
    connection: Connection, reply: int, text: CustomerText, answer_to: _Text | None, moment: datetime
) -> None:
    """Adds the customer and the phone to the opt-outs, with the words."""
    words = " ".join((text.body or "").split())
    shown = words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}..."
    about, phone, scope = "", text.phone, EVERYWHERE
    if answer_to is not None:
        about = f" to {answer_to.campaign}, run {answer_to.send.run_id}, row {answer_to.send.row}"
        phone, scope = phone or answer_to.phone, scope_of_answer(answer_to.base_url)
    if not text.customer_uuid and not phone:
        return
    request = OptOutRequest(text.customer_uuid, phone, f'answered "{shown}"{about}')
    optout = add_replied(connection, request, scope, moment)
    connection.execute(update(replies).where(replies.c.id == reply).values(optout_id=optout))
