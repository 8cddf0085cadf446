"""The HTTP client of the send-text API: sends what `protocol` builds and has it judge the answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError

from batchsend.mykaarma.connection import (
    BROKEN_ANSWER,
    ApiConnections,
    HttpResponse,
    is_usable,
    request_headers,
)
from batchsend.mykaarma.protocol import (
    Answered,
    Judgement,
    Refused,
    Request,
    RetryLater,
    SendingAttributes,
    judge,
    request_json,
    request_path,
)
from batchsend.mykaarma.retry_after import retry_seconds, server_time
from batchsend.settings import Credentials
from batchsend.statuses import Code, Status

#: How many connections in a row may be dropped before a request is sent; then it is tried again later.
_MOST_DROPPED = 3


class Departure:
    """Permits one request and records when it is sent.

    `allowed` is awaited after the connection is ready and directly before the request is written; it returns when the
    request may be sent. While `left_at` is not set, canceling `post` ensures that the request is never sent.
    """

    def __init__(self, allow: Callable[[], Awaitable[None]]) -> None:
        #: Waits until the request may be sent.
        self.allowed = allow
        #: The event loop's time when the request was sent; `None`: it was certainly not sent.
        self.left_at: float | None = None
        self.sent_at: datetime | None = None

    def left(self) -> None:
        """Records that the request is sent now; its first byte is written without waiting."""
        self.left_at = asyncio.get_running_loop().time()
        self.sent_at = datetime.now(UTC)


class Poster(Protocol):
    """Makes requests: `ApiClient`."""

    async def post(self, request: Request, departure: Departure) -> Judgement: ...


class ApiClient:
    """A client of one API. `timeout`: seconds for connecting, and the same again for a request with its answer."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        options: SendingAttributes,
        timeout: float,
        sender_per_row: bool,
    ) -> None:
        self._base_url = base_url
        self._headers = {**request_headers(credentials), "Content-Type": "application/json"}
        self._origin = credentials.origin
        self._options = options
        self._timeout = timeout
        self._sender_per_row = sender_per_row
        self._connections: ApiConnections | None = None

    async def __aenter__(self) -> Self:
        self._connections = ApiConnections(self._base_url, self._headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connections is not None:
            await self._connections.close()

    async def post(self, request: Request, departure: Departure) -> Judgement:
        """Sends one text once and judges the answer. Problems of the server or the network never raise."""
        assert self._connections is not None  # noqa: S101
        path = request_path(request)
        data = request_json(request, self._options)
        answer = HttpResponse()
        try:
            connection = await self._ready_connection(self._connections, departure)
            await self._connections.post(connection, path, data, answer)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            return Refused(
                f"the server at {self._base_url} could not prove who it is (its certificate is not valid). "
                f"Nothing was sent to it. Check this address, this computer's clock, and your network's proxy."
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError, HttpProcessingError) as error:
            # A status that is not a success is enough, even if the rest of the answer is missing.
            if answer.status < 300:
                return self._judge_trouble(error, departure)
        wait = _wait_asked_for(answer.headers)
        judgement = judge(answer.status, answer.body, wait, sender_per_row=self._sender_per_row)
        if answer.status == 401 and isinstance(judgement, Refused):
            return Refused(f"{judgement.reason}\n{self._origin}".rstrip())
        if isinstance(judgement, Answered) and judgement.ends_run is not None:
            return judgement._replace(ends_run=f"{self._base_url}{path} {judgement.ends_run}")
        return judgement

    async def _ready_connection(self, connections: ApiConnections, departure: Departure) -> Connection:
        """A connection on which the request is to be written now; it counts as sent.

        If the server drops the connection while the request waits for permission, nothing was written to it, and
        another one is used.
        """
        for _ in range(_MOST_DROPPED):
            connection = connections.idle() or await connections.open()
            try:
                await departure.allowed()
            except BaseException:
                # The server could drop it at the moment of its next use: it may have been idle for long.
                connection.close()
                raise
            if is_usable(connection):
                departure.left()
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("connections are dropped before anything is sent")

    def _judge_trouble(self, error: Exception, departure: Departure) -> Judgement:
        if departure.left_at is None:
            return RetryLater(
                f"cannot reach {self._base_url} ({_plain(error)})",
                "Check this computer's network connection and this address.",
                slow_down=False,
            )
        if isinstance(error, TimeoutError):
            return Answered(Status.UNCONFIRMED, (Code.TIMEOUT,))
        if isinstance(error, BROKEN_ANSWER):
            return Answered(Status.UNCONFIRMED, (Code.BAD_RESPONSE,))
        return Answered(Status.UNCONFIRMED, (Code.CONNECTION_LOST,))


def _wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """The seconds of a `Retry-After` header."""
    retry_after = headers.get("Retry-After")
    if retry_after is None:
        return None
    return retry_seconds(retry_after, server_time(headers.get("Date"), datetime.now(UTC)))


def _plain(error: Exception) -> str:
    """A network error in a few words."""
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
