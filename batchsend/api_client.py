"""The HTTP client of the send-text API: a thin shell of aiohttp around the pure functions in `api.py`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from batchsend._version import __version__
from batchsend.api import (
    Answered,
    Judgement,
    Refused,
    Request,
    SendingAttributes,
    TurnedAway,
    judge,
    request_json,
    request_path,
    server_time,
)
from batchsend.statuses import Code, Status

#: An answer is about a kilobyte; what is longer than this is not one.
ANSWER_BYTES = 1_000_000
#: A request must not meet a connection that the other side is just dropping; common servers do so after 5 s idle.
KEEP_ALIVE_SECONDS = 4.0
#: When its time is up, a request waits so much longer: after a standstill of this computer (suspended, stopped) the
#: answer may lie here and only have to be read.
_LAST_LOOK_SECONDS = 0.25


class Departure:
    """Watches one request leave.

    `allow` is awaited when the connection is ready and nothing has been written yet; it returns when the
    request may leave and is the last thing that happens before it does. Until `left_at` is set, cancelling `post`
    makes sure that it never leaves.
    """

    def __init__(self, allow: Callable[[], Awaitable[None]], timeout: float) -> None:
        self._allow = allow
        self._timeout = timeout
        self._time_is_up: asyncio.TimerHandle | None = None
        self.deadline: asyncio.Timeout | None = None
        #: The event loop's time when the request left; `None`: it certainly has not.
        self.left_at: float | None = None
        self.sent_at: datetime | None = None

    async def leave(self) -> None:
        await self._allow()
        loop = asyncio.get_running_loop()
        self.left_at = loop.time()
        self.sent_at = datetime.now(UTC)
        self._time_is_up = loop.call_at(self.left_at + self._timeout, self._look_once_more)

    def over(self) -> None:
        """The request has ended; nothing limits its time any more."""
        if self._time_is_up is not None:
            self._time_is_up.cancel()

    def _look_once_more(self) -> None:
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + _LAST_LOOK_SECONDS)


class _CleanConnector(aiohttp.TCPConnector):
    """Gives no connection on which something arrived while nobody had asked: it would answer the next request."""

    async def connect(  # the signature is aiohttp's
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class ApiClient:
    """One session with one API. `timeout`: seconds for connecting, and again for a request and its answer."""

    def __init__(
        self, base_url: str, username: str, password: str, *, options: SendingAttributes, timeout: float,
        connections: int, sender_per_row: bool,
    ) -> None:  # fmt: skip
        self._base_url = base_url
        self._authorization = aiohttp.encode_basic_auth(username, password, encoding="utf-8")
        self._options = options
        self._timeout = timeout
        self._connections = connections
        self._sender_per_row = sender_per_row
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig(trace_config_ctx_factory=_departure_of)  # type: ignore[arg-type]
        trace.on_request_headers_sent.append(_about_to_leave)
        self._session = aiohttp.ClientSession(
            connector=_CleanConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Authorization": self._authorization,
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": f"batchsend/{__version__}",
            },
            trace_configs=[trace],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, request: Request, departure: Departure) -> Judgement:
        """Sends one text, once, and judges the answer. Never raises for what a server or a network does."""
        assert self._session is not None  # noqa: S101
        url = URL(self._base_url + request_path(request), encoded=True)
        data = request_json(request, self._options).encode()
        head: tuple[int, Mapping[str, str]] | None = None
        body: bytes | None = None
        try:
            async with asyncio.timeout(None) as departure.deadline:
                post = self._session.post(url, data=data, allow_redirects=False, trace_request_ctx=departure)
                async with post as response:
                    head = response.status, response.headers
                    body = await _read(response)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            return Refused(
                f"the server at {self._base_url} could not prove who it is (its certificate is not valid). "
                f"Nothing was sent to it. Check MYKAARMA_BASE_URL, this computer's clock, and your network's proxy."
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            # A status that is no success says enough, also where the rest never comes.
            if head is None or head[0] < 300:
                return self._judge_trouble(error, departure)
        finally:
            departure.over()
        status, headers = head
        wish, time = headers.get("Retry-After"), datetime.now(UTC)
        if wish is not None:  # nothing else needs the server's clock, and reading a date takes a while
            time = server_time(headers.get("Date"), time)
        return judge(status, body, wish, time, sender_per_row=self._sender_per_row)

    def _judge_trouble(self, error: Exception, departure: Departure) -> Judgement:
        if departure.left_at is None:
            return TurnedAway(
                f"cannot reach {self._base_url} ({_plain(error)})",
                "Check this computer's network connection and MYKAARMA_BASE_URL.",
                slow_down=False,
            )
        if isinstance(error, TimeoutError):
            return Answered(Status.UNCONFIRMED, (Code.TIMEOUT,))
        if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
            return Answered(Status.UNCONFIRMED, (Code.BAD_RESPONSE,))
        return Answered(Status.UNCONFIRMED, (Code.CONNECTION_LOST,))


def _departure_of(trace_request_ctx: Any) -> SimpleNamespace:
    return SimpleNamespace(departure=trace_request_ctx)


async def _about_to_leave(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    await context.departure.leave()


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The answer's body, or `None` where it is too long, cut short or damaged while its status is known."""
    parts: list[bytes] = []
    length = 0
    try:
        async for part in response.content.iter_any():
            parts.append(part)
            length += len(part)
            if length > ANSWER_BYTES:
                response.close()
                return None
    except (aiohttp.ClientError, ConnectionError):
        return None
    return b"".join(parts)


def _plain(error: Exception) -> str:
    """A network error in a few words, without addresses of Python objects."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be found"
    if isinstance(error, TimeoutError):
        return "no connection within the time-out"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "no secure connection"
    os_error = getattr(error, "os_error", None)
    if isinstance(os_error, ConnectionRefusedError):
        return "connection refused"
    return getattr(os_error, "strerror", None) or "no connection"
