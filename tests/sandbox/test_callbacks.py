"""The sandbox's updates: what is told to whom, in which shapes, how often and in which order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sandbox_requests import ANY_CREDENTIALS, path, payload

from batchsend.errors import BatchsendError
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.server import Sandbox
from batchsend.sandbox.updates import Text, TextOutcome, is_loopback_url, updates_of

METADATA = {"run": "7", "row": "2"}


class Listener:
    """Takes updates down; refuses as many as it is told to first."""

    def __init__(self) -> None:
        self.url = ""
        self.refuse = 0
        self.bodies: list[Any] = []
        self.types: list[str] = []
        self.changed = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        if self.refuse:
            self.refuse -= 1
            return web.Response(status=500)
        async with self.changed:
            self.bodies.append(json.loads(body))
            self.types.append(request.content_type)
            self.changed.notify_all()
        return web.Response(status=204)

    async def heard(self, count: int) -> list[Any]:
        """The first `count` updates, once they are here."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.bodies) >= count)
        return self.bodies


@asynccontextmanager
async def world(
    **options: Any,
) -> AsyncIterator[tuple[Listener, Callable[..., Coroutine[Any, Any, str | None]]]]:
    """A listener, and a function that sends a text and returns its messageUUID."""
    listener = Listener()
    app = web.Application()
    app.router.add_post("/heard", listener.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}/heard"
    chosen = SandboxOptions(**{"updates": True, "update_delay": 0.001, **options})
    async with Sandbox(chosen) as sandbox, aiohttp.ClientSession() as session:

        async def send(customer: str, **sending: Any) -> str | None:
            usual = {"callbackURL": listener.url, "callbackMetaData": METADATA, "sendSynchronously": False}
            async with session.post(
                sandbox.base_url + path(customer),
                json=payload(**{**usual, **sending}),
                headers={"Authorization": ANY_CREDENTIALS},
            ) as response:
                answer = await response.json()
                return str(answer["messageUUID"]) if "messageUUID" in answer else None

        yield listener, send
    await runner.cleanup()


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


@asynchronous
async def test_a_text_is_followed_by_the_attempt_and_by_its_outcome() -> None:
    async with world() as (listener, send):
        message_uuid = await send("Maria")
        said = json.dumps(await listener.heard(2))
    assert message_uuid is not None
    assert said.count(message_uuid) == 2
    assert said.count("SUCCESS") == 1
    assert said.count("DELIVERED") == 1


@asynchronous
async def test_nothing_is_told_that_was_not_asked_for() -> None:
    async with world() as (listener, send):
        await send("one", sendSynchronously=True)
        await send("two", callbackURL=None)
        await send("three", callbackURL="http://192.0.2.1/heard")
        await send("sandbox-locked-4")
        await send("sandbox-500-5")
        await send("sandbox-no-update-6")
        last = await send("seven")
        await listener.heard(2)
    assert last is not None
    assert all(last in json.dumps(body) for body in listener.bodies)


@asynchronous
async def test_nothing_is_told_unless_the_sandbox_is_asked_to() -> None:
    async with world(updates=False) as (listener, send):
        assert await send("Maria")
    assert listener.bodies == []


@asynchronous
async def test_the_client_that_never_learned_of_its_text_is_told() -> None:
    async with world() as (listener, send):
        assert await send("sandbox-500-sent-1") is None
        said = json.dumps(await listener.heard(2))
    assert '"row"' in said.replace("\\", "")


@pytest.mark.parametrize(
    ("customer", "words", "count"),
    [
        ("sandbox-undelivered-1", ["SUCCESS", "UNDELIVERED", "30003"], 2),
        ("sandbox-not-sent-1", ["FAILURE", "TWILIO_SENDING_FAILURE"], 1),
        ("sandbox-opted-out-later-1", ["FAILURE", "OPTED_OUT_COMMUNICATION_VALUE"], 1),
    ],
)
@asynchronous
async def test_customers_provoke_what_becomes_of_their_text(
    customer: str, words: list[str], count: int
) -> None:
    async with world(update_repeat=1) as (listener, send):
        await send(customer)
        said = json.dumps(await listener.heard(2 * count))
    assert [word for word in words if word not in said] == []


@asynchronous
async def test_updates_come_twice_out_of_order_and_undelivered_as_often_as_asked_for() -> None:
    async with world(update_repeat=1, update_shuffle=True, undelivered_rate=1, seed=3, update_delay=0.02) as (
        listener,
        send,
    ):
        for number in range(20):
            await send(f"customer-{number}")
        said = [json.dumps(body) for body in await listener.heard(80)]
    assert sum("UNDELIVERED" in body for body in said) == 40
    firsts = {}
    for body in said:
        uuid = body.replace("\\", "").lower().partition('uuid": "')[2][:43]
        firsts.setdefault(uuid, "UNDELIVERED" in body)
    assert set(firsts.values()) == {True, False}


@asynchronous
async def test_what_is_not_taken_is_told_again() -> None:
    async with world() as (listener, send):
        listener.refuse = 2
        await send("sandbox-not-sent-1")
        assert len(await listener.heard(1)) == 1


def test_all_known_shapes_are_used() -> None:
    text = Text("m", "c", METADATA)
    shapes = {
        (
            post.content_type,
            *sorted(json.loads(post.body)),
            type(json.loads(post.body).get("payload")).__name__,
        )
        for number in range(100)
        for post in updates_of(text, TextOutcome.DELIVERED, number / 100)
    }
    assert shapes == {
        (
            "application/json",
            "callbackMetaData",
            "customerUUID",
            "errors",
            "messageUUID",
            "status",
            "NoneType",
        ),
        ("application/json", "errors", "messageUuid", "metaData", "status", "NoneType"),
        ("text/plain", "payload", "dict"),
        ("text/plain", "payload", "str"),
        ("text/plain", "messageDTO", "NoneType"),
    }


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8399/batchsend/x", True),
        ("http://localhost/x", True),
        ("https://[::1]:8399/x", True),
        ("http://127.0.0.1.example.com/", False),
        ("http://example.com/?127.0.0.1", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://0.0.0.0/", False),
        ("http://10.0.0.1/", False),
        ("ftp://127.0.0.1/", False),
        ("http://[::1", False),
        ("http://127.0.0.1:99999/", False),
        ("", False),
        (None, False),
    ],
)
def test_updates_go_to_this_computer_alone(url: str | None, local: bool) -> None:
    assert is_loopback_url(url) is local


@pytest.mark.parametrize(
    "wrong",
    [{"update_delay": -1}, {"update_delay": float("nan")}, {"update_repeat": 2}, {"undelivered_rate": -0.1}],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BatchsendError, match="must be"):
        SandboxOptions(**wrong)  # type: ignore[arg-type]
