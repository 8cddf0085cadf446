"""Bounds what clients can take up: open connections, the time that a request takes to arrive, malformed requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from batchsend.utils.net import SILENT

#: The name in the `Server` header. aiohttp's own tells the versions of Python and aiohttp.
SERVER = "batchsend"
#: What aiohttp raises about the body of a request.
_MALFORMED = (
    ValueError,
    LookupError,
    AssertionError,
    RuntimeError,
    HttpProcessingError,
    web.RequestPayloadError,
)


@dataclass(frozen=True)
class Limits:
    """The limits of one server, in seconds unless said otherwise.

    `connections`: how many may be open. `headers`: from connecting to the end of the first request's headers. `idle`:
    between two requests; longer than proxies keep a connection, so that they never send a request into a closed one.
    `body`: for a form, or for the next piece of an upload.
    """

    connections: int = 500
    headers: float = 20.0
    idle: float = 180.0
    body: float = 30.0


class Connection(web.RequestHandler):
    """A client's connection. `signed_in`: its latest request had a session; `latest`: when that request began."""

    def __init__(self, server: web.Server, limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle,
            auto_decompress=False,  # browsers compress no forms
            access_log=SILENT,
            logger=server_logger if os.environ.get("BATCHSEND_DEBUG") else SILENT,
        )
        self.limits = limits
        self.signed_in = False
        self.latest = monotonic()
        self._server = server
        self._silent = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(self.limits.headers, self._end_if_silent)
        self._make_room()

    def begin(self, *, signed_in: bool) -> None:
        """Notes that a request has arrived."""
        self.signed_in, self.latest, self._silent = signed_in, monotonic(), False

    def end(self) -> None:
        """Closes the connection without waiting for the client to take what was sent."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers a request that is not HTTP. The answer does not repeat parts of it, as aiohttp's own does."""
        if message is not None:
            message = "The request is malformed, or its headers are too large.\n"
        response = super().handle_error(request, status, exc, message)
        response.headers["Server"] = SERVER
        return response

    def _end_if_silent(self) -> None:
        if self._silent:
            self.end()

    def _make_room(self) -> None:
        """Ends a connection if there are too many: one without a session first, then the longest unused."""
        if len(self._server.connections) <= self.limits.connections:
            return
        others = [cast("Connection", one) for one in self._server.connections]
        is_open = [one for one in others if one.transport is not None and not one.transport.is_closing()]
        if len(is_open) > self.limits.connections:
            min(is_open, key=lambda one: (one.signed_in, one.latest)).end()


class RequestRefusedError(Exception):
    """A request that is refused. `status`: the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def connection_of(request: web.Request) -> Connection:
    """Returns the connection of a request."""
    return cast("Connection", request.protocol)


@asynccontextmanager
async def receiving(request: web.Request) -> AsyncIterator[None]:
    """Bounds the time to receive a part of the body. Raises `RequestRefusedError`, also if the body is malformed."""
    try:
        async with asyncio.timeout(connection_of(request).limits.body):
            yield
    except TimeoutError as error:
        raise RequestRefusedError(
            408, "The form took too long to arrive, and nothing was done. Check the network, then try again."
        ) from error
    except _MALFORMED as error:
        raise RequestRefusedError(
            400, "The form is malformed or incomplete, and nothing was done. Reload the page and try again."
        ) from error
