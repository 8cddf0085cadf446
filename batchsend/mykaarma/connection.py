"""Requests to one server over aiohttp's connections, without aiohttp's session.

A session handles cookies, redirects, proxies and headers for each request. None of it is needed here, and it takes
longer than the rest of sending a text (`make bench`: sending phase). This module uses aiohttp's connections (pool,
DNS, TLS) and parser, and writes the POST and reads the answer itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from batchsend.settings import Credentials
from batchsend.utils.version import __version__

#: A longer body is not an answer of the API; answers have about a kilobyte.
ANSWER_BYTES = 1_000_000
#: An idle connection is closed after this time, before the server drops it: common servers do after 5 s.
KEEP_ALIVE_SECONDS = 4.0
#: How often to look for late answers and idle connections. A request waits this much longer after its time-out: if
#: the computer was suspended, the answer may have arrived and only needs to be read.
_CHECK_SECONDS = 0.25
_SWITCHING_PROTOCOLS = 101

#: Raised for an answer that breaks off or is not HTTP.
BROKEN_ANSWER = (HttpProcessingError, aiohttp.ClientPayloadError)


def request_headers(credentials: Credentials) -> dict[str, str]:
    """The headers of every request to the API."""
    authorization = aiohttp.encode_basic_auth(credentials.username, credentials.password, encoding="utf-8")
    return {
        "Authorization": authorization,
        "Accept": "application/json",
        "User-Agent": f"batchsend/{__version__}",
    }


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Reads the body, or its beginning if it is longer than `ANSWER_BYTES`."""
    body = b""
    async for part in response.content.iter_any():
        body += part
        if len(body) > ANSWER_BYTES:
            break
    return body


@dataclass(slots=True)
class HttpResponse:
    """The received part of an answer. `status` is 0 until it arrives; `body` is `None` unless it is complete."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request whose answer is due at `until` (the event loop's time)."""

    transport: asyncio.Transport
    until: float
    late: bool = False
    cut: bool = False

    def check(self) -> None:
        """Cuts the connection if the answer was late before, too."""
        self.cut = self.late
        self.late = True
        if self.cut:
            self.transport.abort()


class ApiConnections:
    """Connections to the server of `base_url`. Belongs to the event loop that creates it.

    `headers` are sent with each request; `timeout`: seconds for opening a connection, and the same again for a
    request with its answer.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, timeout: float) -> None:
        url = URL(base_url)
        self._loop = asyncio.get_running_loop()
        # It only opens connections: taking one from its pool for each request takes longer than `idle`.
        self._connector = aiohttp.TCPConnector(limit=0)
        self._opening = aiohttp.ClientTimeout(total=None, connect=timeout)
        self._timeout = timeout
        #: Connections without a request, and since when (the event loop's time), oldest first.
        self._idle: deque[tuple[Connection, float]] = deque()
        #: Requests whose answers have not come, oldest first.
        self._waiting: dict[_Waiting, None] = {}
        self._checking: asyncio.TimerHandle | None = None
        #: Tells the connector where to connect to; it is not sent.
        self._target = aiohttp.ClientRequest("POST", url, loop=self._loop)
        self._path = url.raw_path.rstrip("/")
        fixed = {"Host": url.host_port_subcomponent, "Accept-Encoding": "gzip, deflate", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())

    async def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
        for connection, _ in self._idle:
            connection.release()
        await self._connector.close()

    def idle(self) -> Connection | None:
        """A connection that is open and was used a short time ago."""
        # A timer may be late, such as after a suspension.
        self._drop_old()
        while self._idle:
            connection, _ = self._idle.pop()
            if is_usable(connection):
                return connection
            connection.close()
        return None

    async def open(self) -> Connection:
        """A new connection. Raises aiohttp's errors if there is none."""
        return await self._connector.connect(self._target, [], self._opening)

    async def post(self, connection: Connection, path: str, body: bytes, answer: HttpResponse) -> None:
        """Writes one request without waiting for anything, and fills `answer`.

        `path` is encoded and relative to the base URL. Raises `aiohttp.ClientError`, `OSError` or
        `HttpProcessingError` if the answer breaks off, `TimeoutError` if it takes too long. The caller must not use
        `connection` again in any case.
        """
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ClientConnectionError("the connection is closed")
        # A new parser, because the last one may have the beginning of an answer that belongs to no request.
        protocol.set_response_params(read_until_eof=True)
        head = f"POST {self._path}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        transport.write(head.encode("ascii") + body)
        waiting = _Waiting(transport, self._loop.time() + self._timeout)
        self._waiting[waiting] = None
        self._begin_checking()
        try:
            await _receive(protocol, answer)
        except Exception:
            if not waiting.cut:
                raise
        finally:
            del self._waiting[waiting]
            if answer.body is None:
                connection.close()
            else:
                self.put_back(connection)
        if waiting.cut and answer.body is None:
            raise TimeoutError

    def put_back(self, connection: Connection) -> None:
        """Keeps a connection for the next request, and closes it if none comes in time."""
        self._idle.append((connection, self._loop.time()))
        self._begin_checking()

    def _begin_checking(self) -> None:
        if self._checking is None:
            self._checking = self._loop.call_later(_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        self._drop_old()
        now = self._loop.time()
        for waiting in takewhile(lambda waiting: waiting.until <= now, self._waiting):
            waiting.check()
        self._checking = None
        if self._idle or self._waiting:
            self._begin_checking()

    def _drop_old(self) -> None:
        while self._idle and self._idle[0][1] <= self._loop.time() - KEEP_ALIVE_SECONDS:
            connection, _ = self._idle.popleft()
            connection.close()


def is_usable(connection: Connection) -> bool:
    """Whether the server has neither dropped the connection nor sent data on it."""
    protocol = connection.protocol
    return protocol is not None and protocol.is_connected() and not protocol.should_close


async def _receive(protocol: ResponseHandler, answer: HttpResponse) -> None:
    while True:
        message, content = await protocol.read()
        # Other 1xx statuses are interim answers.
        if not 100 <= message.code < 200 or message.code == _SWITCHING_PROTOCOLS:
            break
    answer.status, answer.headers = message.code, message.headers
    answer.body = await _read(content)


async def _read(content: StreamReader) -> bytes | None:
    """The answer's body; `None` if it is too long, cut short or damaged."""
    body = b""
    try:
        # Nearly every answer arrives as one complete part.
        while not content.is_eof() or not body:
            part = await content.readany()
            if not part:
                break
            body += part
            if len(body) > ANSWER_BYTES:
                return None
    except (aiohttp.ClientError, ConnectionError):
        return None
    return body
