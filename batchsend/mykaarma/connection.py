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

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

#: A longer body is not an answer of the API; answers have about a kilobyte.
ANSWER_BYTES = 1_000_000
#: An idle connection is closed after this time, before the server drops it: common servers do after 5 s.
KEEP_ALIVE_SECONDS = 4.0
#: How much longer a request waits after its time-out. If the computer was suspended, the answer may have arrived and
#: only needs to be read.
_EXTRA_SECONDS = 0.25
_SWITCHING_PROTOCOLS = 101

#: Raised for an answer that breaks off or is not HTTP.
BROKEN_ANSWER = (HttpProcessingError, aiohttp.ClientPayloadError)


@dataclass(slots=True)
class HttpResponse:
    """The received part of an answer. `status` is 0 until it arrives; `body` is `None` unless it is complete."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class _Deadline:
    """Cuts a connection if the answer to its request does not arrive in time."""

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self.passed = False
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._extend)

    def cancel(self) -> None:
        self._timer.cancel()

    def _extend(self) -> None:
        self._timer = self._loop.call_later(_EXTRA_SECONDS, self._cut)

    def _cut(self) -> None:
        self.passed = True
        self._transport.abort()


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
        self._dropping: asyncio.TimerHandle | None = None
        #: Tells the connector where to connect to; it is not sent.
        self._target = aiohttp.ClientRequest("POST", url, loop=self._loop)
        self._path = url.raw_path.rstrip("/")
        fixed = {"Host": url.host_port_subcomponent, "Accept-Encoding": "gzip, deflate", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())

    async def close(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
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
        connection = await self._connector.connect(self._target, [], self._opening)
        if connection.protocol is not None:
            connection.protocol.set_response_params(read_until_eof=True)
        return connection

    async def post(self, connection: Connection, path: str, body: bytes, answer: HttpResponse) -> None:
        """Writes one request without waiting for anything, and fills `answer`.

        `path` is encoded and relative to the base URL. Raises `aiohttp.ClientError`, `OSError` or
        `HttpProcessingError` if the answer breaks off, `TimeoutError` if it takes too long. The caller must not use
        `connection` again in any case.
        """
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ClientConnectionError("the connection is closed")
        head = f"POST {self._path}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        transport.write(head.encode("ascii") + body)
        deadline = _Deadline(transport, self._timeout)
        try:
            await _receive(protocol, answer)
        except Exception:
            if not deadline.passed:
                raise
        finally:
            deadline.cancel()
            if answer.body is None:
                connection.close()
            else:
                self.put_back(connection)
        if deadline.passed and answer.body is None:
            raise TimeoutError

    def put_back(self, connection: Connection) -> None:
        """Keeps a connection for the next request, and closes it if none comes in time."""
        self._idle.append((connection, self._loop.time()))
        if self._dropping is None:
            self._dropping = self._loop.call_later(KEEP_ALIVE_SECONDS, self._drop_in_time)

    def _drop_in_time(self) -> None:
        self._drop_old()
        self._dropping = None
        if self._idle:
            self._dropping = self._loop.call_at(self._idle[0][1] + KEEP_ALIVE_SECONDS, self._drop_in_time)

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
