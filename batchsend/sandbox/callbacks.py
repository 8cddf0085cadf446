"""Sends the sandbox's updates to `callbackURL`; the options can delay, repeat and reorder them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import aiohttp

from batchsend.sandbox.conversations import Conversations, Reply
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.request_log import ReceivedRequest
from batchsend.sandbox.responder import random_numbers
from batchsend.sandbox.scenarios import find_scenario
from batchsend.sandbox.updates import (
    Text,
    TextOutcome,
    UpdatePost,
    is_loopback_url,
    reply_event,
    updates_of,
)

_MAX_CONNECTIONS = 20
#: Seconds to wait for an answer.
_TIMEOUT = 5.0
#: An update that gets no 2xx is sent again this often, after a back-off that begins with so many seconds.
_RETRIES = 5
_FIRST_BACKOFF = 0.2
#: What customers answer: ordinary, unclear, and requests for no more texts.
_REPLIES = (
    "Thanks!",
    "Yes, Tuesday at 10 works",
    "How much is it?",
    "I'll stop by tomorrow",
    "Can you cancel my appointment?",
    "STOP",
    "Please stop texting me",
    "No me manden más mensajes",
)


class CallbackSender:
    """The updates of one sandbox, as an asynchronous context manager; closing it drops unsent updates.

    `conversations` get the outcomes that updates reported, and the replies of customers who answer.
    """

    def __init__(self, options: SandboxOptions, conversations: Conversations) -> None:
        self._options = options
        self._conversations = conversations
        self._seed = secrets.randbits(64) if options.seed is None else options.seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def schedule(self, received: ReceivedRequest) -> None:
        """Sends the text's updates later, and the reply of a customer who answers.

        Updates need a text that was sent and a URL on this computer.
        """
        if received.message_uuid is None or not (self._options.updates or self._options.reply_rate):
            return
        self._begin(self._follow_up(received))

    def report(self, reply: Reply, text: ReceivedRequest) -> None:
        """Sends the event of a reply to the URL of the text that it answers, where updates go there."""
        url = self._url_of(text)
        if url is not None and self._session is not None:
            (shape, *_) = random_numbers(self._seed, f"shape:{reply.message_uuid}", text.number)
            event = reply_event(reply.as_message(), reply.customer_uuid, text.department_uuid, shape)
            self._begin(_post(self._session, url, event, 0))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _url_of(self, received: ReceivedRequest) -> str | None:
        url = received.submission.callback_url
        return url if self._options.updates and url is not None and is_loopback_url(url) else None

    async def _follow_up(self, received: ReceivedRequest) -> None:
        customer, submission, url = received.customer_uuid, received.submission, self._url_of(received)
        if url is not None and not submission.send_synchronously and self._session is not None:
            text = Text(received.message_uuid or "", customer, submission.metadata)
            await self._send(self._session, url, text, received.number)
        answers, which, late, _ = random_numbers(self._seed, f"reply:{customer}", received.number)
        if answers < self._options.reply_rate:
            await asyncio.sleep(self._options.update_delay * (0.5 + late))
            words = _REPLIES[int(which * len(_REPLIES))]
            self.report(self._conversations.add_reply(customer, words, phone=submission.phone), received)

    async def _send(self, session: aiohttp.ClientSession, url: str, text: Text, number: int) -> None:
        options, customer = self._options, text.customer_uuid
        bad_luck, shape, late, later = random_numbers(self._seed, f"update:{customer}", number)
        *repeats, swap, _ = random_numbers(self._seed, f"repeat:{customer}", number)
        delays = [options.update_delay * (0.5 + late), options.update_delay * (1.5 + late + later)]
        if options.update_shuffle and swap < 0.5:
            delays.reverse()
        posts = []
        outcome = self._outcome(customer, bad_luck)
        updates = updates_of(text, outcome, shape)
        for update, delay, repeat in zip(updates, delays, repeats, strict=False):
            copies = 2 if repeat < options.update_repeat else 1
            posts += [_post(session, url, update, delay + options.update_delay * n) for n in range(copies)]
        await asyncio.gather(*posts)
        self._conversations.note_outcome(text.message_uuid, outcome)

    def _outcome(self, customer: str, bad_luck: float) -> TextOutcome:
        scenario = find_scenario(customer)
        if scenario is not None and scenario.text_outcome is not None:
            return scenario.text_outcome
        return TextOutcome.UNDELIVERED if bad_luck < self._options.undelivered_rate else TextOutcome.DELIVERED


async def _post(session: aiohttp.ClientSession, url: str, update: UpdatePost, delay: float) -> None:
    await asyncio.sleep(delay)
    for retry in range(_RETRIES + 1):
        try:
            async with session.post(
                url,
                data=update.body.encode(),
                headers={"Content-Type": update.content_type},
                allow_redirects=False,
            ) as response:
                if 200 <= response.status < 300:
                    return
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        if retry < _RETRIES:
            jitter = (1 + secrets.randbelow(1000) / 1000) / 2
            await asyncio.sleep(_FIRST_BACKOFF * 2**retry * jitter)
