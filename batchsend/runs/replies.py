"""Asks myKaarma for customers' replies, for those who cannot receive its events.

It sends nothing and takes no lock: a run that is being sent goes on, and skips customers who asked for no more texts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from batchsend.errors import StoppedError
from batchsend.ledger.replies import StoredReply, replies_with, texted_since
from batchsend.ledger.reply_recording import ANSWERED_WITHIN, CLOCK_BEHIND, record_replies
from batchsend.messages.stop_words import Meaning, meaning_of
from batchsend.mykaarma.conversation import ConversationClient, ConversationQuery, oldest
from batchsend.mykaarma.reading import NotRead
from batchsend.mykaarma.replies import CustomerText, customer_text
from batchsend.runs.lookup import Found, campaign_of
from batchsend.runs.settle import Ask, access_of, asking_patiently, pages_of
from batchsend.utils.timestamps import from_text, now

#: The most pages of one conversation that are read.
_MOST_PAGES = 5
_DEFAULT_RATE, _DEFAULT_TIMEOUT = 10.0, 30.0
_WITHOUT_TIMES = "myKaarma's answer has messages without a readable time, so older ones were not read."


@dataclass
class Poll:
    """What was asked of `wanted` conversations.

    `asked`: how many were read; `unread`: why others were not, or not to their end -> how many; `undated`: how many
    replies had no readable time and were left out; `new`: the replies that were not known before; `elsewhere`: those
    of them that answer texts of other runs; `stopped`: why it ended early.
    """

    wanted: int = 0
    asked: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    undated: int = 0
    new: list[StoredReply] = field(default_factory=list)
    elsewhere: list[StoredReply] = field(default_factory=list)
    stopped: str | None = None


def poll_replies(found: Found, tell: Callable[[Poll], object] = lambda _poll: None) -> Poll:
    """Records the replies of all customers whom these runs texted in the last 30 days.

    `tell` gets what was asked until then, after each conversation.

    Raises `BatchsendError` if it cannot ask at all. A refusal ends it early; what was found until then is recorded.
    """
    credentials = access_of(found)
    wanted = texted_since(found.ledger, found.run_ids, now() - ANSWERED_WITHIN)
    campaign, poll = campaign_of(found.run), Poll(len(wanted))
    rate = campaign.sending.rate if campaign is not None else _DEFAULT_RATE
    timeout = float(campaign.sending.timeout) if campaign is not None else _DEFAULT_TIMEOUT
    record = partial(_record, found, poll)

    async def ask_all() -> None:
        async with ConversationClient(found.campaign.base_url, credentials, timeout=timeout) as client:
            ask = asking_patiently(client, rate)
            for query, sent_at in wanted:
                await _read(ask, query, from_text(sent_at) - CLOCK_BEHIND, record, poll)
                tell(poll)

    try:
        if wanted:
            asyncio.run(ask_all())
    except StoppedError as stopped:
        poll.stopped = str(stopped)
    return poll


async def _read(
    ask: Ask,
    query: ConversationQuery,
    since: datetime,
    record: Callable[[Sequence[CustomerText]], None],
    poll: Poll,
) -> None:
    """Records the customer's texts page by page, so that a page that cannot be read costs no other one."""
    async for page in pages_of(ask, query, _MOST_PAGES):
        if isinstance(page, NotRead):
            poll.unread[page.reason] += 1
            return
        texts = [text for message in page.messages if (text := customer_text(message, query.customer_uuid))]
        counting = [text for text in texts if _counts(text, since)]
        poll.undated += sum(text.at is None and text not in counting for text in texts)
        record(counting)
        first = oldest(page.messages)
        if page.is_full and page.messages and first is None:
            poll.unread[_WITHOUT_TIMES] += 1
            return
        if first is not None and first < since:
            break
    poll.asked += 1


def _counts(text: CustomerText, since: datetime) -> bool:
    """Whether a text is recorded: older ones belong to another time, and may have been taken back.

    Without a time, one that may ask for no more texts is recorded: a missed request is worse than an old one.
    """
    if text.at is not None:
        return text.at >= since
    return text.body is None or meaning_of(text.body) in (Meaning.STOP, Meaning.UNCLEAR)


def _record(found: Found, poll: Poll, texts: Sequence[CustomerText]) -> None:
    if not texts:
        return
    with found.ledger.write() as connection:
        recorded = record_replies(connection, texts, now(), found.campaign.base_url)
    if recorded.new:
        stored = replies_with(found.ledger, recorded.new)
        poll.new += stored
        poll.elsewhere += (reply for reply in stored if reply.run_id not in found.run_ids)
