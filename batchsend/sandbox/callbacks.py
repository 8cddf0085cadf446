"""Takes the sandbox's updates to `callbackURL`: late, twice and out of order where that is asked for."""

from __future__ import annotations

import asyncio
import secrets
from types import TracebackType
from typing import Self

import aiohttp

from batchsend.sandbox.answers import provocation_of
from batchsend.sandbox.judge import chances
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.record import ReceivedText
from batchsend.sandbox.updates import Post, Text, TextOutcome, is_loopback_url, posts

#: Connections at once, seconds for an answer, and how often an update is sent again that got no 2xx.
_CONNECTIONS = 20
_PATIENCE = 5.0
_RETRIES = 5
_FIRST_PAUSE = 0.2


class CallbackSender:
    """The updates of one sandbox, as an asynchronous context manager; what is not sent when it closes is dropped."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._seed = secrets.randbits(64) if options.seed is None else options.seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=_PATIENCE),
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

    def tell(self, received: ReceivedText) -> None:
        """Sends what becomes of a text, if it left and its request asks to be told, to this computer alone."""
        submission, message_uuid = received.submission, received.message_uuid
        url = submission.callback_url
        if not self._options.updates or submission.send_synchronously or message_uuid is None:
            return
        if url is None or not is_loopback_url(url):
            return
        if self._session is None:
            return
        task = asyncio.create_task(self._deliver(self._session, url, received, message_uuid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, session: aiohttp.ClientSession, url: str, received: ReceivedText, message_uuid: str
    ) -> None:
        options, customer = self._options, received.customer_uuid
        unlucky, shape, late, later = chances(self._seed, f"update:{customer}", received.number)
        first_again, second_again, swapped, _ = chances(self._seed, f"repeat:{customer}", received.number)
        text = Text(message_uuid, customer, received.metadata)
        delays = [options.update_delay * (0.5 + late), options.update_delay * (1.5 + late + later)]
        if options.update_shuffle and swapped < 0.5:
            delays.reverse()
        ways = []
        for post, delay, again in zip(
            posts(text, self._fate(customer, unlucky), shape),
            delays,
            (first_again, second_again),
            strict=False,
        ):
            times = 2 if again < options.update_repeat else 1
            ways += [_take(session, url, post, delay + options.update_delay * time) for time in range(times)]
        await asyncio.gather(*ways)

    def _fate(self, customer: str, unlucky: float) -> TextOutcome:
        provocation = provocation_of(customer)
        if provocation is not None and provocation.fate is not None:
            return provocation.fate
        return TextOutcome.UNDELIVERED if unlucky < self._options.undelivered_rate else TextOutcome.DELIVERED


async def _take(session: aiohttp.ClientSession, url: str, post: Post, delay: float) -> None:
    await asyncio.sleep(delay)
    for retry in range(_RETRIES + 1):
        try:
            async with session.post(
                url,
                data=post.body.encode(),
                headers={"Content-Type": post.content_type},
                allow_redirects=False,
            ) as response:
                if 200 <= response.status < 300:
                    return
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        if retry < _RETRIES:
            share = (1 + secrets.randbelow(1000) / 1000) / 2
            await asyncio.sleep(_FIRST_PAUSE * 2**retry * share)
