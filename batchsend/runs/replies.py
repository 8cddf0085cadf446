"""Asks myKaarma for customers' replies, for those who cannot receive its events.

It sends nothing and takes no lock: a run that is being sent goes on, and skips customers who asked for no more texts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchsend.errors import StoppedError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.replies import texted_since
from batchsend.ledger.reply_recording import ANSWERED_WITHIN, CLOCK_BEHIND, record_replies
from batchsend.mykaarma.conversation import ConversationClient, ConversationMessage, ConversationQuery, oldest
from batchsend.mykaarma.reading import NotRead
from batchsend.mykaarma.replies import CustomerText, customer_text
from batchsend.runs.lookup import Found
from batchsend.runs.settle import Ask, access_of, asking_patiently, campaign_of
from batchsend.utils.timestamps import from_text, now

#: The most pages of one conversation that are read.
_MOST_PAGES = 5
_DEFAULT_RATE, _DEFAULT_TIMEOUT = 10.0, 30.0
#: `lastMessageReceivedOn` has whole seconds, so this asks also for the other messages of the oldest second.
_WHOLE_SECOND = timedelta(seconds=1)


@dataclass
class Poll:
    """What was asked of `wanted` conversations.

    `asked`: how many were read; `unread`: why others were not -> how many; `stopped`: why it ended early.
    """

    wanted: int = 0
    asked: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


def poll_replies(found: Found) -> Poll:
    """Records the replies of all customers whom these runs texted in the last 30 days.

    Raises `BatchsendError` if it cannot ask at all. A refusal ends it early; what was found until then is recorded.
    """
    credentials = access_of(found)
    wanted = texted_since(found.ledger, found.run_ids, now() - ANSWERED_WITHIN)
    campaign, poll = campaign_of(found), Poll(len(wanted))
    rate = campaign.sending.rate if campaign is not None else _DEFAULT_RATE
    timeout = float(campaign.sending.timeout) if campaign is not None else _DEFAULT_TIMEOUT

    async def ask_all() -> None:
        async with ConversationClient(found.campaign.base_url, credentials, timeout=timeout) as client:
            ask = asking_patiently(client, rate)
            for query, sent_at in wanted:
                texts = await _read(ask, query, from_text(sent_at) - CLOCK_BEHIND)
                if isinstance(texts, NotRead):
                    poll.unread[texts.reason] += 1
                    continue
                poll.asked += 1
                _record(found.ledger, texts)

    try:
        if wanted:
            asyncio.run(ask_all())
    except StoppedError as stopped:
        poll.stopped = str(stopped)
    return poll


async def _read(ask: Ask, query: ConversationQuery, since: datetime) -> list[CustomerText] | NotRead:
    """The customer's texts since then. Older ones belong to another time, and may have been taken back."""
    messages: dict[str, ConversationMessage] = {}
    for _ in range(_MOST_PAGES):
        page = await ask(query)
        if isinstance(page, NotRead):
            return page
        is_new = not messages.keys() >= {message.uuid for message in page.messages}
        messages |= {message.uuid: message for message in page.messages}
        first = oldest(page.messages)
        if not page.is_full or not is_new or first is None or first < since:
            break
        query = query._replace(before=first + _WHOLE_SECOND, known=tuple(messages))
    texts = (customer_text(message, query.customer_uuid) for message in messages.values())
    return [text for text in texts if text is not None and text.at is not None and text.at >= since]


def _record(ledger: Ledger, texts: Sequence[CustomerText]) -> None:
    if texts:
        with ledger.write() as connection:
            record_replies(connection, texts, now())
