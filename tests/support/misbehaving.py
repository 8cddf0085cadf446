"""A server that misbehaves as scripted, on raw sockets, and records the requests that it received.

It listens in a separate thread. The customer UUID decides the answer to a request: a list of scripts, one for the
first request for that customer, one for the second, and so on; the last one repeats. A script is a sequence of acts;
where it ends without closing, the connection is kept alive for the next request. A customer without a script is
answered with `SUCCESS`.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from free_ports import free_port

T = TypeVar("T")

#: A self-signed certificate with its key, for another host.
WRONG_CERTIFICATE = Path(__file__).with_name("wrong_certificate.pem")

_TIME_LIMIT = 60.0


@dataclass
class Connection:
    """One accepted connection. `requests`: how many it has carried."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: int = 0
    reset_next: bool = False
    ended_by_client: bool = False

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_the_client_leaves(self) -> None:
        while await self.reader.read(65536):
            pass
        self.ended_by_client = True

    async def until_closed(self) -> None:
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Ends with RST: unread and unsent data is lost."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Act = Callable[[Connection], Awaitable[None]]
Script = Sequence[Act]


@dataclass(frozen=True)
class Received:
    """A request that arrived whole. `nth`: which one of its connection it was; `at`: the monotonic clock."""

    customer: str
    target: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    connection: int
    nth: int
    at: float


# Acts of a script


def says(*parts: bytes) -> Act:
    """Sends these bytes as they are."""

    async def act(connection: Connection) -> None:
        for part in parts:
            await connection.say(part)

    return act


def waits_until(event: threading.Event) -> Act:
    async def act(_: Connection) -> None:
        while not event.is_set():  # noqa: ASYNC110 - it belongs to another thread
            await asyncio.sleep(0.005)

    return act


async def never(connection: Connection) -> None:
    """Sends nothing more until the client closes the connection."""
    await connection.until_the_client_leaves()


async def closes(connection: Connection) -> None:
    """Ends the connection in an orderly way (FIN)."""
    connection.writer.close()
    await connection.until_closed()


async def half_closes(connection: Connection) -> None:
    """Sends FIN and continues to read."""
    connection.writer.write_eof()


async def resets(connection: Connection) -> None:
    connection.reset()
    await connection.until_closed()


async def resets_at_reuse(connection: Connection) -> None:
    """Keeps the connection, and resets it as soon as the next request has arrived on it."""
    connection.reset_next = True


def drips(data: bytes, seconds: float) -> Act:
    """Sends one byte at a time, as long as the client reads."""

    async def act(connection: Connection) -> None:
        for byte in data:
            await connection.say(bytes([byte]))
            await asyncio.sleep(seconds)

    return act


def endless(chunk: bytes) -> Act:
    """Sends the same chunk for ever."""

    async def act(connection: Connection) -> None:
        while True:
            await connection.say(chunk)

    return act


def answer(status: int, body: bytes | object = b"", *headers: str, length: int | None = None) -> bytes:
    """A whole answer; `length` is a wrong Content-Length. A body that is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if content.startswith(b"<") else "application/json"
    lines = [
        f"HTTP/1.1 {status} Reason",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def success(uuid: str = "message-1") -> dict[str, Any]:
    return {"status": "SUCCESS", "messageUUID": uuid, "errors": None}


def refusal(*codes: str, status: str | None = "FAILURE") -> dict[str, Any]:
    errors = [{"errorCode": code, "errorDescription": f"About {code}"} for code in codes]
    return {"errors": errors} if status is None else {"status": status, "errors": errors}


class Misbehaving:
    """The running server and its record."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.scripts: dict[str, Sequence[Script]] = {}
        self.received: list[Received] = []
        self.connections: list[Connection] = []
        self.mistakes: list[BaseException] = []
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._asked: Counter[str] = Counter()
        self.port = free_port()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def customers(self) -> Counter[str]:
        """Customer -> requests that arrived."""
        return Counter(request.customer for request in self.received)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Waits until `condition` holds; `what` describes it."""
        deadline = time.monotonic() + _TIME_LIMIT
        while not condition():
            assert time.monotonic() < deadline, f"this never happened: {what}"
            time.sleep(0.005)

    def wait_for_requests(self, count: int) -> None:
        self.wait_for(lambda: len(self.received) >= count, f"{count} requests")

    def listen(self) -> None:
        """Accepts connections from now on; before, they are refused."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Refuses connections from now on, and resets open ones."""
        self._run(self._refuse())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._run(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_TIME_LIMIT)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, ssl=self._tls, limit=2**22
        )

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self.connections:
            if not connection.writer.transport.is_closing():
                connection.reset()
        for handler in list(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        connection = Connection(len(self.connections), reader, writer)
        self.connections.append(connection)
        try:
            await self._serve(connection)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - errors of the bench itself fail the test
            self.mistakes.append(error)
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _serve(self, connection: Connection) -> None:
        while not connection.writer.transport.is_closing():
            request = await self._read(connection)
            if request is None:
                connection.ended_by_client = True
                return
            self.received.append(request)
            if connection.reset_next:
                connection.reset()
                return
            scripts = self.scripts.get(request.customer, [[says(answer(200, success()))]])
            script = scripts[min(self._asked[request.customer], len(scripts) - 1)]
            self._asked[request.customer] += 1
            for act in script:
                await act(connection)

    async def _read(self, connection: Connection) -> Received | None:
        try:
            head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as cut:
            assert not cut.partial, cut.partial
            return None
        first, *lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await connection.reader.readexactly(int(headers["content-length"]))
        target = first.split(" ")[1]
        customer = re.fullmatch(r".*/customer/([^/]+)/message(?:/list)?", target)
        assert customer, target
        connection.requests += 1
        return Received(
            customer=unquote(customer[1]),
            target=target,
            headers=headers,
            body=json.loads(body),
            connection=connection.number,
            nth=connection.requests,
            at=time.monotonic(),
        )


@contextmanager
def misbehaving(*, listening: bool = True, tls: bool = False) -> Iterator[Misbehaving]:
    """A bench on a free port; where it does not listen yet, connections are refused."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(WRONG_CERTIFICATE)
    bench = Misbehaving(context)
    bench.start()
    try:
        if listening:
            bench.listen()
        yield bench
    finally:
        bench.stop()
    assert not bench.mistakes, bench.mistakes
