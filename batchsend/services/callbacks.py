"""The listener for myKaarma's updates: answers each one once it is committed.

It never prints phones, texts, bodies or the secret, and neither does the HTTP library on its behalf.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from batchsend.errors import BatchsendError
from batchsend.ledger.deliveries import Deliveries
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.location import resolve_ledger_url
from batchsend.ledger.opening import open_ledger
from batchsend.runs.lookup import find_ledger
from batchsend.runs.status_metrics import Sample
from batchsend.runs.status_server import ServiceStatus, StatusAddress, serving_loop_status
from batchsend.services.callback_auth import SIGNATURE_HEADER, CallbackAuth, load_callback_auth
from batchsend.services.update_recorder import Recorder, UpdateCounts
from batchsend.settings import CALLBACK_SIGNING_KEY, load_settings
from batchsend.utils.net import SILENT, cannot_listen, in_url, is_this_machine
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
_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "batchsend"}
#: The values of `Content-Encoding` that can be read -> zlib's `wbits`: the format that it expects.
_COMPRESSED = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _BodyError(Exception):
    """A body cannot be read; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Listener:
    """The listener as an asynchronous context manager; port 0 takes any free port.

    Raises `BatchsendError` where it cannot listen.
    """

    def __init__(
        self,
        recorder: Recorder,
        auth: CallbackAuth,
        host: str,
        port: int,
        complain: Callable[[str], None],
    ) -> None:
        self._recorder = recorder
        self._auth = auth
        self._complain = complain
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """Where it listens, without a path."""
        return f"http://{in_url(self._host)}:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, logger=SILENT, auto_decompress=False, shutdown_timeout=_CLOSING
        )
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
        if not self._auth.admits(request.path, request.headers.get("Authorization")):
            return _answer(404)
        if request.method != "POST":
            return _answer(405, headers={"Allow": "POST"})
        try:
            body = await _body_of(request)
        except _BodyError as error:
            return _answer(error.status)
        if not self._auth.is_signed(body, request.headers.get(SIGNATURE_HEADER)):
            return _answer(401)
        try:
            recorded = await self._recorder.record(body, _COMMIT)
        except Exception as error:  # noqa: BLE001 - aiohttp would log a traceback with parts of the body
            self._complain(f"An update could not be read ({type(error).__name__}). It was answered with 500.")
            return _answer(500)
        return _answer(200) if recorded else _answer(503, headers={"Retry-After": "5"})


async def _body_of(request: web.Request) -> bytes:
    """The whole body, decompressed. Raises `_BodyError`."""
    try:
        async with asyncio.timeout(_ARRIVAL):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _BodyError(413) from error
    except TimeoutError as error:
        raise _BodyError(408) from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise _BodyError(400) from error
    given = [
        *request.headers.getall("Content-Encoding", ()),
        *request.headers.getall("Transfer-Encoding", ()),
    ]
    for encoding in reversed(",".join(given).lower().split(",")):
        if encoding.strip() not in ("", "identity", "chunked"):
            body = _decompressed(body, encoding.strip())
    return body


def _decompressed(body: bytes, encoding: str) -> bytes:
    """Raises `_BodyError` for an unknown encoding, broken or truncated data, and data that becomes too large."""
    if encoding not in _COMPRESSED:
        raise _BodyError(415)
    # Some programs send deflated data without zlib's header, whose first byte ends in 8.
    bare = encoding == "deflate" and body[:1] != b"" and body[0] & 0x0F != 8
    unpacking = zlib.decompressobj(-15 if bare else _COMPRESSED[encoding])
    try:
        unpacked = unpacking.decompress(body, LARGEST_BODY + 1)
    except zlib.error as error:
        raise _BodyError(400) from error
    if len(unpacked) > LARGEST_BODY:
        raise _BodyError(413)
    if not unpacking.eof or unpacking.unused_data:
        raise _BodyError(400)
    return unpacked


async def listen(
    ledger: Ledger,
    auth: CallbackAuth,
    host: str,
    port: int,
    *,
    status: StatusAddress | None,
    ready: Callable[[str, CallbackAuth], None],
    complain: Callable[[str], None],
    stop: asyncio.Event,
) -> UpdateCounts:
    """Records updates until `stop` is set, then those that have arrived. Calls `ready` with the address."""
    recorder = Recorder(Deliveries(ledger), complain)
    running = asyncio.create_task(recorder.run())
    try:
        async with (
            serving_loop_status(status, _status_of(ledger, recorder)),
            Listener(recorder, auth, host, port, complain) as listener,
        ):
            ready(listener.address, auth)
            if not is_this_machine(host) and auth.signing_key is None:
                complain(_open_to_others(host))
            await stop.wait()
    finally:
        recorder.close()
        await running
    return recorder.counts


def _status_of(ledger: Ledger, recorder: Recorder) -> ServiceStatus:
    def samples() -> list[Sample]:
        return [
            Sample("updates_recorded", recorder.counts.recorded),
            Sample("updates_waiting", recorder.left),
        ]

    return ServiceStatus("callbacks", lambda: [ledger.full_url], problem=recorder.problem, samples=samples)


def _open_to_others(host: str) -> str:
    return (
        f"Warning: with --host {host}, other computers can reach this port, and updates and their secret cross the "
        f"network unencrypted. Use --host 127.0.0.1 and put nginx or Caddy with https in front, or close the port to "
        f"all but that proxy. docs/callbacks.md shows how. If myKaarma signs its updates, also set "
        f"{CALLBACK_SIGNING_KEY}."
    )


def serve(
    ledger_option: str | None,
    host: str,
    port: int,
    status: StatusAddress | None = None,
    *,
    ready: Callable[[str, CallbackAuth], None],
    complain: Callable[[str], None],
) -> UpdateCounts:
    """Listens until Ctrl-C or SIGTERM. Raises `BatchsendError`."""

    async def run(ledger: Ledger, auth: CallbackAuth) -> UpdateCounts:
        stop = asyncio.Event()
        with stopping_on_signals(stop):
            return await listen(
                ledger, auth, host, port, status=status, ready=ready, complain=complain, stop=stop
            )

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
