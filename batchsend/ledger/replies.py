"""The texts that customers sent, as people read them: with the texts that they answer, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import (
    OptOutRequest,
    scope_of_answer,
)
from batchsend.ledger.purged_phones import is_purged, spellings
from batchsend.ledger.schema import campaigns, messages, optouts, replies, runs, superseded
from batchsend.ledger.update_matching import Send
from batchsend.messages.stop_words import Meaning
from batchsend.mykaarma.conversation import ConversationQuery
from batchsend.mykaarma.protocol import short_text
from batchsend.statuses import MAY_HAVE_REACHED
from batchsend.utils.timestamps import to_text
from batchsend.utils.wording import reply_count

#: How many characters of a request stand in the reason of an opt-out.
_LONGEST_WORDS = 80


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A customer's text, with the text that it answers if there is one. Times are UTC text.

    `opted_out`: the customer or the phone is on the opt-out list now. `handled_as`: what a person decided, in words.
    """

    id: int
    base_url: str
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
    sent_phone: str
    opted_out: bool
    handled_at: str | None
    handled_by: str | None
    handled_as: str | None
    purged_at: str | None

    @property
    def opt_out(self) -> OptOutRequest:
        """The opt-out of this customer, with the words."""
        words = short_text(self.body) or ""
        shown = words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}..."
        return OptOutRequest(
            self.customer_uuid, self.phone or self.sent_phone, f'answered "{shown}"{self._about}'
        )

    @property
    def removal_reason(self) -> str:
        """Why the opt-out is removed, without the words: a purge keeps this reason."""
        return f"asked for texts again by a reply{self._about}"

    @property
    def _about(self) -> str:
        return f" to {self.campaign}, run {self.run_id}, row {self.row}" if self.run_id is not None else ""

    @property
    def number(self) -> str:
        """The customer's phone (E.164), or the one that was texted; "" if neither is known."""
        return self.phone or ("" if is_purged(self.sent_phone) else self.sent_phone)

    @property
    def scope(self) -> str:
        """Where an opt-out by this reply applies."""
        return scope_of_answer(self.base_url)

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
    with ledger.read() as connection:
        return find(connection, replies.c.run_id.in_(run_ids))


def replies_of(ledger: Ledger, *, customer_uuid: str | None, phone: str | None) -> list[StoredReply]:
    """The replies of this customer, or from this phone (E.164) or to a text to it, oldest first.

    A reply may come without its phone.
    """
    named = [replies.c.customer_uuid == customer_uuid, replies.c.phone == phone]
    with ledger.read() as connection:
        if phone is not None:
            named += _at_phone(connection, phone)
        return find(connection, or_(*named))


def _at_phone(connection: Connection, phone: str) -> list[ColumnElement[bool]]:
    """The conditions of replies to texts to this phone, also if it was purged."""
    phones = spellings(connection, phone)
    return [or_(table.c.phone == phone, table.c.phone_hash.in_(phones)) for table in (messages, superseded)]


def replies_with(ledger: Ledger, ids: Collection[int]) -> list[StoredReply]:
    """The replies with these ids, oldest first."""
    with ledger.read() as connection:
        return find(connection, replies.c.id.in_(ids))


def latest_replies(ledger: Ledger, most: int) -> list[StoredReply]:
    """The latest replies to any text or to none: first those that need a person, then the latest."""
    wants_back = and_(replies.c.meaning == Meaning.START, _opted_out)
    waits = and_(replies.c.handled_at.is_(None), or_(replies.c.meaning == Meaning.UNCLEAR, wants_back))
    order = (case((waits, 0), else_=1), replies.c.received_at.desc())
    with ledger.read() as connection:
        found = find(connection, replies.c.id.is_not(None), order=order, most=most)
    return sorted(found, key=lambda reply: not reply.needs_you)


class ReplyCounts(NamedTuple):
    """How many replies there are, how many ask for no more texts, and how many unclear ones wait for a person."""

    replies: int
    stops: int
    unclear: int

    def sentence(self) -> str:
        """`12 replies: 2 ask for no more texts, 1 is unclear and needs attention.`"""
        parts = []
        if self.stops:
            parts.append(f"{self.stops:,} {'asks' if self.stops == 1 else 'ask'} for no more texts")
        if self.unclear:
            verbs = ("is", "needs") if self.unclear == 1 else ("are", "need")
            parts.append(f"{self.unclear:,} {verbs[0]} unclear and {verbs[1]} attention")
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


_named = or_(
    and_(replies.c.customer_uuid != "", optouts.c.customer_uuid == replies.c.customer_uuid),
    and_(replies.c.phone != "", optouts.c.phone == replies.c.phone),
)
_opted_out = select(optouts.c.id).where(optouts.c.removed_at.is_(None), _named).exists()


def find(
    connection: Connection,
    condition: ColumnElement[bool],
    order: Iterable[Any] = (replies.c.received_at,),
    most: int | None = None,
) -> list[StoredReply]:
    of_send = [
        and_(*(table.c[name] == replies.c[name] for name in Send._fields)) for table in (messages, superseded)
    ]
    phones = [table.c[name] for table in (messages, superseded) for name in ("phone", "phone_hash")]
    own = [replies.c[name] for name in StoredReply.__slots__ if name in replies.c]
    query = (
        select(
            *own,
            campaigns.c.name.label("campaign"),
            func.coalesce(messages.c.sent_at, superseded.c.sent_at).label("sent_at"),
            func.coalesce(messages.c.body, superseded.c.body).label("sent_body"),
            func.coalesce(*phones, "").label("sent_phone"),
            _opted_out.label("opted_out"),
        )
        .outerjoin(runs, runs.c.id == replies.c.run_id)
        .outerjoin(campaigns, campaigns.c.id == runs.c.campaign_id)
        .outerjoin(messages, of_send[0])
        .outerjoin(superseded, of_send[1])
        .where(condition)
        .order_by(*order, replies.c.id)
        .limit(most)
    )
    return [StoredReply(**row) for row in connection.execute(query).mappings()]
