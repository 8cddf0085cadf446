"""The sandbox's HTTP server. `responder` decides the responses."""

from __future__ import annotations

import asyncio
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
from batchsend.sandbox.callbacks import CallbackSender
from batchsend.sandbox.checks import Fault, content_type_fault, parse_json
from batchsend.sandbox.conversations import Conversations
from batchsend.sandbox.options import DEFAULT_HOST, SandboxOptions
from batchsend.sandbox.pages import of_customer, texts_page
from batchsend.sandbox.request_log import ReceivedRequest, RequestLog, Submission
from batchsend.sandbox.responder import IncomingRequest, Responder
from batchsend.sandbox.responses import Response, ResponseEnding, gateway_page, refused
from batchsend.utils.net import SILENT, cannot_listen, in_url, is_this_machine

_MESSAGE_PATH = "/communications/department/{department}/user/{user}/customer/{customer}/message"
_CONVERSATION_PATH = f"{_MESSAGE_PATH}/list"
_SEARCH_PATH = "/customer/v2/department/{department}/customer/list"
_CUSTOMER_PATH = "/customer/v2/department/{department}/customer/{customer}"

#: The most bytes of a request's body; a text has at most a few kilobytes.
_MAX_BODY = 1_000_000

#: Seconds for requests in flight to finish when the sandbox closes.
_SHUTDOWN_TIMEOUT = 2.0

_SUSPECT = "perhaps a sandbox that is already running"

_is_local = lru_cache(maxsize=16)(is_this_machine)

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

    Inside, it listens at `base_url`, in the caller's event loop; port 0 takes any free port. The requests can
    be read after it is closed. Raises `BatchsendError` if it cannot listen or cannot write its `record` file.
    """

    def __init__(
        self, options: SandboxOptions | None = None, *, host: str = DEFAULT_HOST, port: int = 0
    ) -> None:
        self._options = options or SandboxOptions()
        self._host = host
        self._port = port
        self._log = RequestLog(self._options.record, self._options.keep)
        self._responder = Responder(self._options)
        #: The customers' conversations; `add_reply` adds a text from a customer.
        self.conversations = Conversations(self._log, self._options.keep)
        self._callbacks = CallbackSender(self._options, self.conversations)
        self._closing = asyncio.Event()
        self._resources = ExitStack()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """The value of `MYKAARMA_BASE_URL` for this sandbox, such as `http://127.0.0.1:8398`."""
        return f"http://{in_url(self._host)}:{self._port}"

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """The last `keep` requests to send a text, accepted or not, in the order of incoming."""
        return self._log.requests

    @property
    def texts(self) -> Sequence[ReceivedRequest]:
        """The last `keep` requests for which a text was sent."""
        return self._log.texts

    def texts_per_customer(self) -> Counter[str]:
        """Customer UUID -> number of texts sent."""
        return self._log.texts_per_customer()

    def clear(self) -> None:
        """Starts over as if no request had arrived; the `record` file stays as it is."""
        self._log.clear()
        self._responder.reset()
        self.conversations.clear()

    async def __aenter__(self) -> Self:
        self._resources.enter_context(self._log)
        await self._callbacks.__aenter__()
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[self._check_host])
        app.router.add_post(_MESSAGE_PATH, self._receive_message)
        app.router.add_post(_CONVERSATION_PATH, self._read_conversation)
        app.router.add_get(_SEARCH_PATH, self._find_customers)
        app.router.add_get(_CUSTOMER_PATH, self._read_customer)
        app.router.add_get("/", self._show_page)
        app.router.add_get("/texts.json", self._list_texts)
        app.router.add_get("/requests.json", self._list_requests)
        app.router.add_post("/replies", self._add_reply)
        app.router.add_delete("/texts", self._clear)
        # Cancellation ends the handlers of clients that stop waiting for a response that never comes.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=SILENT,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        except (OSError, OverflowError) as error:
            await self._close()
            raise BatchsendError(
                cannot_listen(self._host, self._port, error, _SUSPECT, program="The sandbox")
            ) from error
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
            await self._callbacks.__aexit__(None, None, None)
            self._resources.close()

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Against DNS rebinding: a web page could point its own name at this address and read the texts.
        if _is_local(self._host) and not _is_local(_without_port(request.headers.get("Host", ""))):
            return web.Response(
                status=421,
                text="The sandbox answers only this computer. Its address is 127.0.0.1 or localhost.\n",
            )
        return await handler(request)

    async def _receive_message(self, request: web.Request) -> web.StreamResponse:
        wall, monotonic = time.time(), time.monotonic()
        try:
            raw: bytes | None = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raw = None
        match, headers = request.match_info, request.headers
        incoming = IncomingRequest(
            monotonic=monotonic,
            authorization=headers.get("Authorization"),
            content_type=request.content_type,
            department_uuid=match["department"],
            user_uuid=match["user"],
            customer_uuid=match["customer"],
            raw=raw,
        )
        payload, response, delay = self._responder.decide(incoming)
        received = ReceivedRequest(
            number=self._log.request_count + 1,
            wall=wall,
            monotonic=monotonic,
            department_uuid=incoming.department_uuid,
            user_uuid=incoming.user_uuid,
            customer_uuid=incoming.customer_uuid,
            submission=Submission.of(payload),
            response=response,
        )
        # Logged before any delay: the request stays on record if the client gives up.
        try:
            self._log.add(received)
        except OSError:
            return _web_response(gateway_page(503))
        self._callbacks.schedule(received)
        if delay:
            await self._wait(delay)
        if response.ending is ResponseEnding.NEVER:
            await self._closing.wait()
        if response.ending is not ResponseEnding.ANSWERED and request.transport:
            request.transport.abort()
        return _web_response(response)

    async def _find_customers(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization")
        return _web_response(self._responder.find_customers(authorization, request.query))

    async def _read_customer(self, request: web.Request) -> web.Response:
        return _web_response(
            self._responder.read_customer(
                request.headers.get("Authorization"),
                request.match_info["customer"],
                vehicles=request.query.get("excludeVehicles") != "true",
            )
        )

    async def _read_conversation(self, request: web.Request) -> web.Response:
        """Answers with a customer's conversation."""
        refusal = self._responder.refuse_credentials(request.headers.get("Authorization"))
        if refusal is not None:
            return _web_response(refusal)
        payload = await _json_of(request)
        match = request.match_info
        return _web_response(self.conversations.answer(match["department"], match["customer"], payload))

    async def _add_reply(self, request: web.Request) -> web.Response:
        """Adds a text from a customer, as if one had answered, and sends its event where updates are sent."""
        payload = await _json_of(request)
        values = [payload.get(name) for name in ("customer", "body")] if isinstance(payload, dict) else []
        if not isinstance(payload, dict) or not all(isinstance(value, str) and value for value in values):
            fault = Fault(
                400, "MALFORMED_REQUEST", 'Send {"customer": "...", "body": "...", "phone": "..."}.'
            )
            return _web_response(refused([fault]))
        phone = payload.get("phone")
        customer, body = map(str, values)
        reply = self.conversations.add_reply(customer, body, phone=phone if isinstance(phone, str) else None)
        latest = next(iter(of_customer(reversed(self._log.texts), customer)), None)
        if latest is not None:
            self._callbacks.report(reply, latest)
        return web.json_response({"messageUUID": reply.message_uuid})

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _show_page(self, request: web.Request) -> web.Response:
        page = texts_page(self._log, _customer(request), live="live" in request.query)
        # A body may have a lone surrogate, which JSON can hold and UTF-8 cannot.
        return web.Response(
            body=page.encode("utf-8", "replace"), content_type="text/html", charset="utf-8", headers=_PRIVATE
        )

    async def _list_texts(self, request: web.Request) -> web.Response:
        return _listing(self._log.texts, _customer(request))

    async def _list_requests(self, request: web.Request) -> web.Response:
        return _listing(self._log.requests, _customer(request))

    async def _clear(self, _: web.Request) -> web.Response:
        cleared = self._log.text_count
        self.clear()
        return web.json_response({"cleared": cleared})


async def serve(
    options: SandboxOptions, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Runs a sandbox until `stop` is set; `ready` gets its base URL once it listens."""
    async with Sandbox(options, host=host, port=port) as sandbox:
        ready(sandbox.base_url)
        await stop.wait()


async def _json_of(request: web.Request) -> object:
    """The JSON of a request; `None` if it has none, or another content type, which any web page can send."""
    if content_type_fault(request.content_type):
        return None
    try:
        return parse_json(await request.read())
    except (ValueError, web.HTTPRequestEntityTooLarge):
        return None


def _customer(request: web.Request) -> str | None:
    return request.query.get("customer", "").strip() or None


def _listing(received: Sequence[ReceivedRequest], customer: str | None) -> web.Response:
    listed: list[dict[str, Any]] = [one.as_json() for one in of_customer(received, customer)]
    return web.json_response(listed, headers=_PRIVATE)


def _web_response(response: Response) -> web.Response:
    return web.Response(
        status=response.http_status or 500, body=response.body.encode("utf-8"), headers=response.headers
    )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
