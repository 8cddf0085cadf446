"""Requests to a sandbox, over HTTP and as its `Responder` gets them."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.responder import IncomingRequest
from batchsend.sandbox.server import Sandbox

DEPARTMENT = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
USER = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
CUSTOMER = "-eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3_x"
PHONE = "+12125550123"
ANY_CREDENTIALS = aiohttp.encode_basic_auth("subscriber", "any password")


def payload(body: str = "Hi Maria", **sending: Any) -> dict[str, Any]:
    """The JSON of a well-formed request; `sending` are its messageSendingAttributes."""
    return {
        "messageAttributes": {"body": body, "isManual": False, "protocol": "TEXT", "type": "OUTGOING"},
        "messageSendingAttributes": sending,
    }


def path(customer: str = CUSTOMER, user: str = USER, department: str = DEPARTMENT) -> str:
    return f"/communications/department/{department}/user/{user}/customer/{customer}/message"


def without(name: str) -> dict[str, Any]:
    """A payload without one of its messageAttributes."""
    broken = payload()
    del broken["messageAttributes"][name]
    return broken


def incoming(customer: str, sent: object = None) -> IncomingRequest:
    """A request with valid credentials; `sent` is its JSON (default: a well-formed payload)."""
    raw = json.dumps(payload() if sent is None else sent).encode()
    return IncomingRequest(0.0, ANY_CREDENTIALS, "application/json", DEPARTMENT, USER, customer, raw)


class Client:
    """Sends requests to a sandbox and returns their HTTP status, body and headers."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.base_url = base_url

    async def send(
        self, customer: str = CUSTOMER, body: str = "Hi Maria", **sending: Any
    ) -> tuple[int, str, Any]:
        return await self.request("POST", path(customer), json=payload(body, **sending))

    async def request(self, method: str, where: str, **arguments: Any) -> tuple[int, str, Any]:
        arguments["headers"] = {"Authorization": ANY_CREDENTIALS} | arguments.get("headers", {})
        async with self.session.request(
            method,
            aiohttp.client.URL(self.base_url + where, encoded=True),
            allow_redirects=False,
            **arguments,
        ) as response:
            return response.status, await response.text(), response.headers


@asynccontextmanager
async def running(
    options: SandboxOptions | None = None, **where: Any
) -> AsyncIterator[tuple[Sandbox, Client]]:
    """A sandbox in this event loop, and a client of it. `where`: its host and port."""
    async with Sandbox(options, **where) as sandbox, aiohttp.ClientSession() as session:
        yield sandbox, Client(session, sandbox.base_url)


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine, with the same arguments. It fails after 100 seconds."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 100))

    return run


async def until(condition: Callable[[], object]) -> None:
    """Lets other tasks run until the condition is true."""
    while not condition():  # noqa: ASYNC110 (the conditions have no event to wait for)
        await asyncio.sleep(0)


def codes(body: str) -> list[str]:
    """The error codes of a response."""
    return [error["errorCode"] for error in json.loads(body)["errors"]]
