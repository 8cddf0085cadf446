"""Requests to one server over aiohttp's connections, without aiohttp's session.

A session handles cookies, redirects, proxies and headers for each request. None of it is needed here, and it takes
longer than the rest of sending a text (`make bench`: sending phase). This module uses aiohttp's connections (pool,
DNS, TLS) and parser, and writes the POST and reads the answer itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace
from yarl import URL

#: A longer body is not an answer of the API; answers have about a kilobyte.
ANSWER_BYTES = 1_000_000
#: An idle connection is closed after this time, before the server drops it: common servers do after 5 s.
KEEP_ALIVE_SECONDS = 4.0
_SWITCHING_PROTOCOLS = 101

#: Raised for an answer that breaks off or is not HTTP.
BROKEN_ANSWER = (HttpProcessingError, aiohttp.ClientPayloadError)


@dataclass(slots=True)
class HttpResponse:
    """The received part of an answer. `status` is 0 until it arrives; `body` is `None` unless it is complete."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class _CleanConnector(aiohttp.TCPConnector):
    """Discards connections with unrequested data, which would be taken as the answer to the next request."""

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


class ApiConnections:
    """At most `limit` connections to the server of `base_url`. Belongs to the event loop that creates it.

    `headers` are sent with each request; `timeout`: seconds for opening a connection.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, limit: int, timeout: float) -> None:
        url = URL(base_url)
        self._connector = _CleanConnector(limit=limit, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout)
        #: Tells the connector where to connect to; it is not sent.
        self._target = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
        self._path = url.raw_path.rstrip("/")
        fixed = {"Host": url.host_port_subcomponent, "Accept-Encoding": "gzip, deflate", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())

    async def close(self) -> None:
        await self._connector.close()

    async def connect(self) -> Connection:
        """A connection that is ready for writing. Raises aiohttp's errors if there is none."""
        return await self._connector.connect(self._target, [], self._timeout)

    async def post(self, connection: Connection, path: str, body: bytes, answer: HttpResponse) -> None:
        """Writes one request without waiting for anything, and fills `answer`.

        `path` is encoded and relative to the base URL. Raises `aiohttp.ClientError`, `OSError` or
        `HttpProcessingError` if the answer breaks off. `connection` cannot be used again in any case.
        """
        try:
            await self._exchange(connection, path, body, answer)
        except BaseException:
            connection.close()
            raise
        if answer.body is None:
            connection.close()
        else:
            # The connector closes it if the server asks for that.
            connection.release()

    async def _exchange(self, connection: Connection, path: str, body: bytes, answer: HttpResponse) -> None:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ClientConnectionError("the connection is closed")
        protocol.set_response_params(read_until_eof=True)
        head = f"POST {self._path}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        transport.write(head.encode("ascii") + body)
        while True:
            message, content = await protocol.read()
            # Other 1xx statuses are interim answers.
            if not 100 <= message.code < 200 or message.code == _SWITCHING_PROTOCOLS:
                break
        answer.status, answer.headers = message.code, message.headers
        answer.body = await _read(content)


def is_usable(connection: Connection) -> bool:
    """Whether the server has neither dropped the connection nor sent data on it."""
    protocol = connection.protocol
    return protocol is not None and protocol.is_connected() and not protocol.should_close


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
