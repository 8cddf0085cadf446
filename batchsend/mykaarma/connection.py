"""Requests to one server over aiohttp's connections, without aiohttp's session.

A session does a hundred things that no request here needs, or that all of them would do the same way: cookies,
redirects, proxies, headers put together anew. That takes longer than all the rest of sending a text (`make bench`:
sending phase). What is used of aiohttp are its connections (pool, names, TLS) and its parser; what is left to do here
is to write a POST and to read its answer.
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

#: An answer is about a kilobyte; what is longer than this is not one.
ANSWER_BYTES = 1_000_000
#: A request must not meet a connection that the other side is just dropping; common servers do so after 5 s idle.
KEEP_ALIVE_SECONDS = 4.0
_SWITCHING_PROTOCOLS = 101

#: What an answer that breaks off, or is none, raises.
BROKEN_ANSWER = (HttpProcessingError, aiohttp.ClientPayloadError)


@dataclass(slots=True)
class HttpResponse:
    """What has come in of an answer. `status` is 0 until there is one; `body` is `None` unless it is there whole."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


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


class ApiConnections:
    """At most `limit` connections to the server of `base_url`. Belongs to the event loop in which it is made.

    `headers` go with each request; `timeout`: seconds for opening a connection.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, limit: int, timeout: float) -> None:
        url = URL(base_url)
        self._connector = _CleanConnector(limit=limit, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout)
        #: Says to the connector where to connect to; it is never sent.
        self._target = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
        self._path = url.raw_path.rstrip("/")
        fixed = {"Host": url.host_port_subcomponent, "Accept-Encoding": "gzip, deflate", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())

    async def close(self) -> None:
        await self._connector.close()

    async def connect(self) -> Connection:
        """A connection that is ready to be written to. Raises what aiohttp raises where there is none."""
        return await self._connector.connect(self._target, [], self._timeout)

    async def post(self, connection: Connection, path: str, body: bytes, answer: HttpResponse) -> None:
        """Writes one request at once, before anything is waited for, and fills `answer` with what comes back.

        `path` is encoded and stands below the base URL. Raises `aiohttp.ClientError`, `OSError` or
        `HttpProcessingError` where the answer breaks off; `connection` is used up in any case.
        """
        try:
            await self._exchange(connection, path, body, answer)
        except BaseException:
            connection.close()
            raise
        if answer.body is None:
            connection.close()
        else:
            # Where the server wants it closed, the connector does so.
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
            # Others of these are an interim word before the answer.
            if not 100 <= message.code < 200 or message.code == _SWITCHING_PROTOCOLS:
                break
        answer.status, answer.headers = message.code, message.headers
        answer.body = await _read(content)


def is_usable(connection: Connection) -> bool:
    """Whether the other side has not dropped it or said anything since it was given out."""
    protocol = connection.protocol
    return protocol is not None and protocol.is_connected() and not protocol.should_close


async def _read(content: StreamReader) -> bytes | None:
    """The answer's body, or `None` where it is too long, cut short or damaged while its status is known."""
    body = b""
    try:
        # Nearly every answer is there at once and whole.
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
