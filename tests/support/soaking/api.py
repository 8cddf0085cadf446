"""The API's server: answers, refuses, breaks off and keeps silent, and records every request before it answers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import resource
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from misbehaving import answer, refusal, success

from soaking.machine import Machine, MachineLoop

#: What the server does with a request, with its share of all requests when nothing else is wrong.
NOISE = {
    "success": 0.92,
    "busy": 0.02,
    "unavailable": 0.01,
    "error": 0.015,
    "silent": 0.01,
    "lost": 0.015,
    "opted_out": 0.005,
    "garbage": 0.005,
}
#: After these, the customer may have a text.
MAY_HAVE_SENT = frozenset({"success", "error", "silent", "lost", "garbage", "html", "killed", "down"})


@dataclass(frozen=True)
class Weather:
    """A span (true seconds) in which the server treats all requests alike."""

    begins: float
    ends: float
    kind: str


@dataclass(frozen=True)
class Api:
    """The server for one process. `kill_at`: the request, counted from 1, at which the process is killed."""

    record: Path
    start: int
    seed: str
    weather: Sequence[Weather] = ()
    kill_at: int | None = None
    kill_before_answer: bool = True

    def __call__(self, loop: MachineLoop, machine: Machine) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        refusing = socket.socket()
        refusing.bind(("127.0.0.1", 0))  # nothing listens there
        handler = _Handler(self, machine)
        loop.create_task(_serve(handler, listening))

        def route() -> object:
            return (refusing if handler.kind_now() == "down" else listening).getsockname()

        loop.route = route


async def _serve(handler: _Handler, listening: socket.socket) -> None:
    server = await asyncio.start_server(handler.connected, sock=listening)
    async with server:
        await server.serve_forever()


class _Handler:
    def __init__(self, api: Api, machine: Machine) -> None:
        self._api = api
        self._machine = machine
        self._random = random.Random(api.seed)
        self._requests = 0
        self._file = os.open(api.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def kind_now(self) -> str | None:
        elapsed = self._machine.elapsed
        return next((one.kind for one in self._api.weather if one.begins <= elapsed < one.ends), None)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)content-length: *(\d+)", head)
        body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        self._requests += 1
        kind = self.kind_now() or self._random.choices(list(NOISE), list(NOISE.values()))[0]
        dies = self._requests == self._api.kill_at
        if dies:
            kind = "killed"
        self._write(head, body, kind)
        if dies and self._api.kill_before_answer:
            os.kill(os.getpid(), signal.SIGKILL)
        writer.write(_ANSWERS.get(kind, b""))
        await writer.drain()
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "silent":
            await reader.read()  # until the client gives up
        if kind == "lost":
            writer.transport.abort()
        # Answering takes a while, so that texts of one run do not all have the same time.
        await asyncio.sleep(0)
        return kind not in ("silent", "lost")

    def _write(self, head: str, body: dict[str, Any], kind: str) -> None:
        customer = re.search(r"/customer/([^/ ]+)/message", head)
        machine = self._machine
        line = {
            "elapsed": machine.elapsed,
            "wall": machine.wall.isoformat(),
            "start": self._api.start,
            "customer": customer[1] if customer else head,
            "phone": body["messageSendingAttributes"].get("communicationValueOfCustomer"),
            "body": body["messageAttributes"]["body"],
            "kind": kind,
        }
        with _room_on_the_disk():
            os.write(self._file, (json.dumps(line) + "\n").encode())


@contextmanager
def _room_on_the_disk() -> Iterator[None]:
    """The process's disk may be full; the server's is not."""
    full, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, most))


_HTML = b"<html><body>Not the page that you are looking for</body></html>"
_ANSWERS = {
    "success": answer(200, success()),
    "killed": answer(200, success()),
    "busy": answer(429, b"", "Retry-After: 2"),
    "unavailable": answer(503, b""),
    "error": answer(500, {"errors": []}),
    "opted_out": answer(400, refusal("OPTED_OUT_COMMUNICATION_VALUE")),
    "garbage": answer(200, b"{}"),
    "html": answer(200, _HTML),
    "unauthorized": answer(401, b""),
}
