"""The listener for myKaarma's updates: answers each one once it is committed.

It never prints phones, texts or the secret.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.ledger.deliveries import Deliveries
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.location import resolve_ledger_url
from batchsend.ledger.opening import open_ledger
from batchsend.runs.lookup import find_ledger
from batchsend.services.callback_auth import SIGNATURE_HEADER, CallbackAuth, load_callback_auth
from batchsend.services.update_recorder import Recorder, UpdateCounts
from batchsend.settings import load_settings
from batchsend.utils.net import cannot_listen, in_url
from batchsend.utils.signals import stopping_on_signals

DEFAULT_HOST = "127.0.0.1"
#: 8398 spells TEXT on a phone's keypad.
DEFAULT_PORT = 8399

#: The largest body in bytes; updates have one or two thousand.
LARGEST_BODY = 256_000
#: Time limits in seconds: for a body to arrive, for its commit, for open requests when the listener closes.
_ARRIVAL = 10.0
_COMMIT = 0.9
_CLOSING = 2.0
#: How many seconds another process may lock a SQLite ledger.
_BUSY_TIMEOUT = 20.0

_HEALTH = "/health"
_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Listener:
    """The listener as an asynchronous context manager; port 0 takes any free port.

    Raises `BatchsendError` where it cannot listen.
    """

    def __init__(self, recorder: Recorder, auth: CallbackAuth, host: str, port: int) -> None:
        self._recorder = recorder
        self._auth = auth
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The URL for updates, with the secret."""
        return f"http://{in_url(self._host)}:{self._port}{self._auth.path}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise BatchsendError(
                cannot_listen(self._host, self._port, error, "perhaps `batchsend callbacks` itself")
            ) from error
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path == _HEALTH and request.method in ("GET", "HEAD"):
            return _answer(200, "ok\n")
        if not self._auth.has_secret(request.path):
            return _answer(404)
        if request.method != "POST":
            return _answer(405, headers={"Allow": "POST"})
        try:
            async with asyncio.timeout(_ARRIVAL):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _answer(413)
        except TimeoutError:
            return _answer(408)
        if not self._auth.is_signed(body, request.headers.get(SIGNATURE_HEADER)):
            return _answer(401)
        if not await self._recorder.record(body, _COMMIT):
            return _answer(503, headers={"Retry-After": "5"})
        return _answer(200)


async def listen(
    ledger: Ledger,
    auth: CallbackAuth,
    host: str,
    port: int,
    *,
    ready: Callable[[str], None],
    complain: Callable[[str], None],
    stop: asyncio.Event,
) -> UpdateCounts:
    """Records updates until `stop` is set, then those that have arrived. Calls `ready` with the URL for updates."""
    recorder = Recorder(Deliveries(ledger), complain)
    running = asyncio.create_task(recorder.run())
    try:
        async with Listener(recorder, auth, host, port) as listener:
            ready(listener.url)
            await stop.wait()
    finally:
        recorder.close()
        await running
    return recorder.counts


def serve(
    ledger_option: str | None,
    host: str,
    port: int,
    *,
    ready: Callable[[str], None],
    complain: Callable[[str], None],
) -> UpdateCounts:
    """Listens until Ctrl-C or SIGTERM. Raises `BatchsendError`."""

    async def run(ledger: Ledger, auth: CallbackAuth) -> UpdateCounts:
        stop = asyncio.Event()
        with stopping_on_signals(stop):
            return await listen(ledger, auth, host, port, ready=ready, complain=complain, stop=stop)

    with _ledger_of(ledger_option) as ledger:
        return asyncio.run(run(ledger, _auth_of(ledger)))


@contextmanager
def _ledger_of(option: str | None) -> Iterator[Ledger]:
    """The named ledger, created if necessary; where none is named, an existing one."""
    here = Path.cwd()
    settings = load_settings(here, here, os.environ)
    if option is None and settings.ledger_url is None:
        with find_ledger(None, None, _open) as ledger:
            yield ledger
        return
    with closing(_open(resolve_ledger_url(option, settings, here))) as ledger:
        yield ledger


def _open(url: str) -> Ledger:
    return open_ledger(url, busy_timeout=_BUSY_TIMEOUT)


def _auth_of(ledger: Ledger) -> CallbackAuth:
    here = Path.cwd()
    folder = ledger.file.absolute().parent if ledger.file is not None else here / ".batchsend"
    campaigns = folder.parent if folder.name == ".batchsend" else here
    return load_callback_auth(load_settings(campaigns, here, os.environ), folder)


def _answer(status: int, text: str = "", headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text, headers={**_PLAIN, **(headers or {})})
