"""Sends the sandbox's updates to `callbackURL`; the options can delay, repeat and reorder them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp

from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.request_log import ReceivedRequest
from batchsend.sandbox.responder import random_numbers
from batchsend.sandbox.scenarios import find_scenario
from batchsend.sandbox.updates import Text, TextOutcome, UpdatePost, is_loopback_url, updates_of

_MAX_CONNECTIONS = 20
#: Seconds to wait for an answer.
_TIMEOUT = 5.0
#: An update that gets no 2xx is sent again this often, after a back-off that begins with so many seconds.
_RETRIES = 5
_FIRST_BACKOFF = 0.2


class CallbackSender:
    """The updates of one sandbox, as an asynchronous context manager; closing it drops unsent updates.

    `sent` is called when all updates of a text were sent, with its UUID and the outcome that they reported.
    """

    def __init__(self, options: SandboxOptions, sent: Callable[[str, TextOutcome], None]) -> None:
        self._options = options
        self._sent = sent
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
        """Sends the text's updates later, if a text was sent and its request names a URL on this computer."""
        submission, message_uuid = received.submission, received.message_uuid
        url = submission.callback_url
        if not self._options.updates or submission.send_synchronously or message_uuid is None:
            return
        if url is None or not is_loopback_url(url) or self._session is None:
            return
        text = Text(message_uuid, received.customer_uuid, submission.metadata)
        task = asyncio.create_task(self._send(self._session, url, text, received.number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        self._sent(text.message_uuid, outcome)

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
