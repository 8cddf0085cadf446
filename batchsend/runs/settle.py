"""Looks for texts whose outcome is unknown in myKaarma's conversations, and settles those that are there.

It sends nothing, and changes no row unless the conversation shows beyond doubt that the text was sent.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, SettingsError, StoppedError
from batchsend.exits import Exit
from batchsend.ledger.ledger import Held, Ledger, hold_nothing
from batchsend.ledger.settlements import ReadConversation, Thread, record_reading, unknown_texts
from batchsend.ledger.update_matching import Send
from batchsend.mykaarma.conversation import (
    Conversation,
    ConversationClient,
    ConversationMessage,
    ConversationQuery,
    oldest,
)
from batchsend.mykaarma.protocol import Refused, RetryLater, attributes_of
from batchsend.mykaarma.reading import NotRead
from batchsend.mykaarma.settlement import RequestFacts, UnknownText, time_to_read
from batchsend.planning.plan import PlanRequest
from batchsend.runs.lookup import Found, campaign_of
from batchsend.sending.locks import settling_lock
from batchsend.sending.pacing import backoff, bucket
from batchsend.settings import Credentials, load_settings, require_credentials
from batchsend.statuses import Status, Tally
from batchsend.utils.files import current_folder
from batchsend.utils.signals import finishing_on_signals
from batchsend.utils.timestamps import now

#: The most pages of one conversation that are read.
_MOST_PAGES = 10
#: How often one question is asked before it is given up, and the longest wait between, in seconds.
_MOST_TRIES, _LONGEST_WAIT = 5, 60.0
#: After so many questions in a row without an answer, all are given up. A single one may have its own reason.
_MOST_UNANSWERED = 3
_DEFAULT_RATE = 10.0
#: `lastMessageReceivedOn` has whole seconds, so this asks also for the other messages of the oldest second.
_WHOLE_SECOND = timedelta(seconds=1)
_TOO_LONG = NotRead("The conversation is too long to look through, or its messages have no times.")

Texts = Mapping[Send, tuple[Thread, UnknownText]]
Ask = Callable[[ConversationQuery], Awaitable[Conversation | NotRead]]


@dataclass
class Settlement:
    """What became of the texts of a run that were looked for.

    `unknown`: how many there were; `statuses`: how many are settled, by their new status; `not_found`: how many were
    looked for in vain; `unread`: why some could not be looked for -> how many; `needs_you`: rows of the run that need
    attention afterward; `stopped`: why it ended early; `interrupted`: a signal ended it early.
    """

    unknown: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    not_found: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    needs_you: int = 0
    stopped: str | None = None
    interrupted: bool = False

    def as_json(self) -> dict[str, Any]:
        """What was found, for programs."""
        return {
            "unknown": self.unknown,
            "found": self.settled,
            **{str(status): count for status, count in self.statuses.items()},
            "not_found": self.not_found,
            "not_read": self.unread.total(),
            "stopped": self.stopped,
        }

    @property
    def settled(self) -> int:
        return self.statuses.total()

    @property
    def exit(self) -> Exit:
        if self.interrupted:
            return Exit.INTERRUPTED
        if self.stopped is not None:
            return Exit.STOPPED
        return Exit.ATTENTION if self.needs_you else Exit.DONE


def settle_run(found: Found) -> Settlement:
    """Settles a run by the conversations of its customers. Raises `BatchsendError`; then nothing was changed."""
    record, credentials = found.campaign, access_of(found)
    with settling_lock(found.ledger, record.name, record.base_url) as held:
        return look_for_texts(
            found.ledger, found.run.id, record.base_url, credentials, campaign_of(found.run), held
        )


def access_of(found: Found) -> Credentials:
    """The credentials for the API that the run was sent to. Raises `SettingsError` if the settings name another."""
    record = found.campaign
    folder = Path(record.file).parent
    folder = folder if folder.is_dir() else current_folder(Path.cwd())
    settings = load_settings(folder, current_folder(folder), os.environ)
    if settings.base_url != record.base_url:
        raise SettingsError(
            f"Run {found.run.id} was sent to {record.base_url}, but MYKAARMA_BASE_URL is {settings.base_url}. Set it "
            f"to {record.base_url} to look there. Nothing was changed.",
            on_page="This run was sent to another address than the one that is set now, so its texts cannot be "
            "looked for. Ask the person who looks after batchsend.",
        )
    return require_credentials(settings)


def look_for_texts(
    ledger: Ledger,
    run_id: int,
    base_url: str,
    credentials: Credentials,
    campaign: Campaign | None,
    held: Held = hold_nothing,
) -> Settlement:
    """Looks for the texts of a run whose outcome is unknown. The caller holds the campaign's lock.

    `campaign`: the campaign file, for what its requests have in common; without one, the defaults count.
    """
    wanted = unknown_texts(ledger, run_id)
    found = Settlement(sum(map(len, wanted.values())))
    facts = _facts_of(campaign)

    def record(customer_uuid: str, texts: Texts, answer: ReadConversation | NotRead) -> None:
        if isinstance(answer, NotRead):
            found.unread[answer.reason] += len(texts)
        else:
            settled = record_reading(ledger, held, run_id, base_url, customer_uuid, answer, facts)
            found.statuses.update(settled)
            found.not_found += len(texts) - len(settled)

    async def look() -> None:
        rate = campaign.sending.rate if campaign is not None else _DEFAULT_RATE
        looking = asyncio.current_task()
        assert looking is not None  # noqa: S101
        with finishing_on_signals(lambda _number: looking.cancel()):
            async with ConversationClient(base_url, credentials, timeout=facts.timeout) as client:
                ask = asking_patiently(client, rate)
                for customer_uuid, texts in wanted.items():
                    record(customer_uuid, texts, await _read(ask, texts, facts))

    if wanted:
        _run(look(), found)
    found.needs_you = Tally.of(ledger.counts(run_id)).needs_you
    return found


def _run(look: Coroutine[Any, Any, None], found: Settlement) -> None:
    """Looks for texts, and notes in `found` why it ended early if it did."""
    try:
        asyncio.run(look)
    except StoppedError as stopped:
        found.stopped = str(stopped)
    except asyncio.CancelledError:
        found.interrupted = True


def settle_after_sending(
    ledger: Ledger, run_id: int, request: PlanRequest, credentials: Credentials
) -> Settlement:
    """As `look_for_texts`, by a process that has sent the run. No problem with it changes how the run ended."""
    try:
        return look_for_texts(ledger, run_id, request.base_url, credentials, request.campaign)
    except BatchsendError as error:
        return Settlement(stopped=str(error))


def _facts_of(campaign: Campaign | None) -> RequestFacts:
    if campaign is None:
        return RequestFacts()
    return RequestFacts(
        attributes_of(campaign), float(campaign.sending.timeout), campaign.message.opt_out_line
    )


def asking_patiently(client: ConversationClient, rate: float) -> Ask:
    """Asks at this rate, and again after answers that ask for patience; gives up one question before all.

    Raises `StoppedError` if myKaarma refuses, wants a long break or leaves several questions in a row unanswered.
    """
    pace = bucket(rate)
    # Spreads retries out; nothing secret depends on it.
    jitter = random.Random()  # noqa: S311
    unanswered = 0

    async def ask(query: ConversationQuery) -> Conversation | NotRead:
        nonlocal unanswered
        for tries in range(1, _MOST_TRIES + 1):
            await pace.acquire()
            answer = await client.ask(query)
            if isinstance(answer, Refused):
                raise StoppedError(answer.reason)
            if not isinstance(answer, RetryLater):
                unanswered = 0
                return answer
            wait = answer.retry_after or backoff(tries, jitter)
            if tries == _MOST_TRIES or wait > _LONGEST_WAIT:
                break
            await asyncio.sleep(wait)
        assert isinstance(answer, RetryLater)  # noqa: S101
        unanswered += 1
        given_up = f"{answer.reason}. {answer.advice}"
        if unanswered == _MOST_UNANSWERED or (answer.slow_down and wait > _LONGEST_WAIT):
            raise StoppedError(given_up)
        return NotRead(given_up)

    return ask


async def _read(ask: Ask, texts: Texts, facts: RequestFacts) -> ReadConversation | NotRead:
    """Reads what decides about texts to one customer, in all conversations that they belong to."""
    messages: dict[str, ConversationMessage] = {}
    ahead: timedelta | None = None
    for thread in sorted({thread for thread, _ in texts.values()}):
        wanted = [text for _, text in texts.values()]
        read = await _read_thread(ask, thread, wanted, facts)
        if isinstance(read, NotRead):
            return read
        messages |= {message.uuid: message for message in read.messages}
        ahead = read.clock_ahead
    return ReadConversation([*messages.values()], ahead)


async def _read_thread(
    ask: Ask, thread: Thread, texts: Collection[UnknownText], facts: RequestFacts
) -> ReadConversation | NotRead:
    messages: dict[str, ConversationMessage] = {}
    async for page in pages_of(ask, _first_query(thread, texts, facts), _MOST_PAGES):
        if isinstance(page, NotRead):
            return page
        messages |= {message.uuid: message for message in page.messages}
        span, first = time_to_read([*texts], facts, page.clock_ahead), oldest(page.messages)
        if not page.is_full or span is None or (first is not None and first < span.start):
            return ReadConversation([*messages.values()], page.clock_ahead)
    return _TOO_LONG


async def pages_of(ask: Ask, query: ConversationQuery, most: int) -> AsyncIterator[Conversation | NotRead]:
    """The pages of a conversation, the latest first, `most` of them at most. `NotRead` is the last one.

    Ends after a page that is not full, brings nothing new or has no times.
    """
    known: set[str] = set()
    for _ in range(most):
        page = await ask(query)
        yield page
        if isinstance(page, NotRead):
            return
        is_new = not known >= {message.uuid for message in page.messages}
        known |= {message.uuid for message in page.messages}
        first = oldest(page.messages)
        if not page.is_full or first is None or not is_new:
            return
        query = query._replace(before=first + _WHOLE_SECOND, known=tuple(known))


def _first_query(thread: Thread, texts: Iterable[UnknownText], facts: RequestFacts) -> ConversationQuery:
    """Asks for the latest messages, or for those before the end of the time that matters if that is over."""
    span = time_to_read([*texts], facts, None)
    over = span is not None and span.end + _WHOLE_SECOND < now()
    return ConversationQuery(*thread, before=span.end if span is not None and over else None)
