"""The sandbox's server: HTTP in, HTTP out. What is answered is decided in `judge`."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from batchsend.errors import BatchsendError
from batchsend.sandbox.answers import Reply, ReplyEnding, gateway_page
from batchsend.sandbox.callbacks import CallbackSender
from batchsend.sandbox.judge import Arrival, Judge
from batchsend.sandbox.options import DEFAULT_HOST, SandboxOptions
from batchsend.sandbox.pages import newest, texts_page
from batchsend.sandbox.record import ReceivedText, Record, Submission

_MESSAGE_PATH = "/communications/department/{department}/user/{user}/customer/{customer}/message"

#: Bytes of a request's body; a text is at most a few kilobytes.
_LARGEST_BODY = 1_000_000

#: Seconds that requests in flight have to finish when the sandbox closes.
_CLOSING = 2.0

_PRIVATE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Sandbox:
    """The stand-in for the API as an asynchronous context manager.

    Inside, it listens at `base_url`, in its caller's event loop. Port 0 takes any free one. What arrived can
    be read after it closed. Raises `BatchsendError` where it cannot listen or cannot write its record.
    """

    def __init__(
        self, options: SandboxOptions | None = None, *, host: str = DEFAULT_HOST, port: int = 0
    ) -> None:
        self._options = options or SandboxOptions()
        self._host = host
        self._port = port
        self._record = Record(self._options.record, self._options.keep)
        self._judge = Judge(self._options)
        self._postman = CallbackSender(self._options)
        self._closing = asyncio.Event()
        self._resources = ExitStack()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """What `MYKAARMA_BASE_URL` is for this sandbox, `http://127.0.0.1:8398` for instance."""
        return f"http://{_in_url(self._host)}:{self._port}"

    @property
    def requests(self) -> Sequence[ReceivedText]:
        """Every request to send a text, accepted or not, in the order of arrival; the last `keep` of them."""
        return self._record.requests

    @property
    def texts(self) -> Sequence[ReceivedText]:
        """Those of the requests after which a text left; the last `keep` of them."""
        return self._record.texts

    def texts_per_customer(self) -> Counter[str]:
        """Customer UUID -> number of texts that left."""
        return self._record.texts_per_customer()

    def clear(self) -> None:
        """Starts over as if nothing had arrived; a record file stays as it is."""
        self._record.clear()
        self._judge.forget()

    async def __aenter__(self) -> Self:
        self._resources.enter_context(self._record)
        await self._postman.__aenter__()
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[self._known_host])
        app.router.add_post(_MESSAGE_PATH, self._take_message)
        app.router.add_get("/", self._show_page)
        app.router.add_get("/texts.json", self._list_texts)
        app.router.add_get("/requests.json", self._list_requests)
        app.router.add_delete("/texts", self._clear)
        # Cancellation ends the handlers of clients that no longer wait for an answer that never comes.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_CLOSING
        )
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        except (OSError, OverflowError) as error:
            await self._close()
            raise BatchsendError(_cannot_listen(self._host, self._port, error)) from error
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._closing.set()
        try:
            if self._runner:
                await self._runner.cleanup()
        finally:
            await self._postman.__aexit__(None, None, None)
            self._resources.close()

    @web.middleware
    async def _known_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # DNS rebinding: a web page could point its own name at this address and read the texts as its own.
        if _is_loopback(self._host) and not _is_loopback(_without_port(request.headers.get("Host", ""))):
            return web.Response(
                status=421,
                text="The sandbox answers to this computer alone: its address is 127.0.0.1 or localhost.\n",
            )
        return await handler(request)

    async def _take_message(self, request: web.Request) -> web.StreamResponse:
        wall, monotonic = time.time(), time.monotonic()
        try:
            raw: bytes | None = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raw = None
        match, headers = request.match_info, request.headers
        arrival = Arrival(
            monotonic=monotonic,
            authorization=headers.get("Authorization"),
            content_type=request.content_type,
            department_uuid=match["department"],
            user_uuid=match["user"],
            customer_uuid=match["customer"],
            raw=raw,
        )
        payload, answer, seconds = self._judge.decide(arrival)
        received = ReceivedText(
            number=self._record.request_count + 1,
            wall=wall,
            monotonic=monotonic,
            department_uuid=arrival.department_uuid,
            user_uuid=arrival.user_uuid,
            customer_uuid=arrival.customer_uuid,
            submission=Submission.of(payload),
            answer=answer,
        )
        # Before any waiting: a client that gives up must not take the request out of the record.
        try:
            self._record.add(received)
        except OSError:
            return _response(gateway_page(503))
        self._postman.tell(received)
        if seconds:
            await self._wait(seconds)
        if answer.ending is ReplyEnding.NEVER:
            await self._closing.wait()
        if answer.ending is not ReplyEnding.ANSWERED and request.transport:
            request.transport.abort()
        return _response(answer)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _show_page(self, request: web.Request) -> web.Response:
        page = texts_page(self._record, _customer(request), live="live" in request.query)
        # A body may hold half a surrogate pair, which JSON can carry and UTF-8 cannot.
        return web.Response(
            body=page.encode("utf-8", "replace"), content_type="text/html", charset="utf-8", headers=_PRIVATE
        )

    async def _list_texts(self, request: web.Request) -> web.Response:
        return _listing(self._record.texts, _customer(request))

    async def _list_requests(self, request: web.Request) -> web.Response:
        return _listing(self._record.requests, _customer(request))

    async def _clear(self, _: web.Request) -> web.Response:
        cleared = self._record.text_count
        self.clear()
        return web.json_response({"cleared": cleared})


async def serve(
    options: SandboxOptions, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Runs a sandbox until `stop` is set; `ready` gets its base URL once it listens."""
    async with Sandbox(options, host=host, port=port) as sandbox:
        ready(sandbox.base_url)
        await stop.wait()


def _customer(request: web.Request) -> str | None:
    return request.query.get("customer", "").strip() or None


def _listing(received: Sequence[ReceivedText], customer: str | None) -> web.Response:
    listed: list[dict[str, Any]] = [one.as_json() for one in newest(received, customer)]
    return web.json_response(listed, headers=_PRIVATE)


def _response(answer: Reply) -> web.Response:
    return web.Response(
        status=answer.http_status or 500, body=answer.body.encode("utf-8"), headers=answer.headers
    )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


@lru_cache(maxsize=16)
def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_url(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


def _cannot_listen(host: str, port: int, error: OSError | OverflowError) -> str:
    where = f"The sandbox cannot listen on {host}, port {port}"
    if isinstance(error, OverflowError):
        return f"{where}: a port is a number from 0 to 65535. Choose another port."
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where}: another program uses it, perhaps a sandbox that is already running. "
            "Stop that one, or choose another port."
        )
    if error.errno == errno.EACCES:
        return f"{where}: this user may not use it. Choose a port above 1023."
    return (
        f"{where}: this computer has no such address. Use 127.0.0.1, or one of the computer's own addresses."
    )
