"""The sandbox's updates: which are sent, where, in which shapes, how often and in which order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sandbox_requests import ANY_CREDENTIALS, asynchronous, path, payload

from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.server import Sandbox
from batchsend.sandbox.updates import Text, TextOutcome, is_loopback_url, updates_of

METADATA = {"run": "7", "row": "2"}


class Listener:
    """Receives updates, after refusing the first `refuse` of them."""

    def __init__(self) -> None:
        self.url = self.sandbox_url = ""
        self.refuse = 0
        self.bodies: list[Any] = []
        self.types: list[str] = []
        self.changed = asyncio.Condition()

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.text()
        if self.refuse:
            self.refuse -= 1
            return web.Response(status=500)
        async with self.changed:
            self.bodies.append(json.loads(body))
            self.types.append(request.content_type)
            self.changed.notify_all()
        return web.Response(status=204)

    async def wait_for(self, count: int) -> list[Any]:
        """All updates so far, once there are `count`."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.bodies) >= count)
        return self.bodies


@asynccontextmanager
async def listener_and_sender(
    **options: Any,
) -> AsyncIterator[tuple[Listener, Callable[..., Coroutine[Any, Any, str | None]]]]:
    """A listener, and a function that sends a text and returns its messageUUID."""
    listener = Listener()
    app = web.Application()
    app.router.add_post("/updates", listener.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}/updates"
    chosen = SandboxOptions(**{"updates": True, "update_delay": 0.001, **options})
    async with Sandbox(chosen) as sandbox, aiohttp.ClientSession() as session:
        listener.sandbox_url = sandbox.base_url

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


@asynchronous
async def test_a_text_is_followed_by_two_updates() -> None:
    async with listener_and_sender() as (listener, send):
        message_uuid = await send("Maria")
        received = json.dumps(await listener.wait_for(2))
    assert message_uuid is not None
    assert received.count(message_uuid) == 2
    assert received.count("SUCCESS") == 1
    assert received.count("DELIVERED") == 1


@asynchronous
async def test_no_update_for_other_texts() -> None:
    async with listener_and_sender() as (listener, send):
        await send("one", sendSynchronously=True)
        await send("two", callbackURL=None)
        await send("three", callbackURL="http://192.0.2.1/updates")  # another computer
        await send("sandbox-locked-4")  # refused
        await send("sandbox-500-5")  # not sent
        await send("sandbox-no-update-6")
        last = await send("seven")
        await listener.wait_for(2)
    assert last is not None
    assert all(last in json.dumps(body) for body in listener.bodies)


@asynchronous
async def test_no_updates_unless_the_option_is_on() -> None:
    async with listener_and_sender(updates=False) as (listener, send):
        assert await send("Maria")
    assert listener.bodies == []


@asynchronous
async def test_an_update_follows_even_if_the_client_could_not_know_that_the_text_was_sent() -> None:
    async with listener_and_sender() as (listener, send):
        assert await send("sandbox-500-sent-1") is None
        received = json.dumps(await listener.wait_for(2))
    assert '"row"' in received.replace("\\", "")


@pytest.mark.parametrize(
    ("customer", "words", "count"),
    [
        ("sandbox-undelivered-1", ["SUCCESS", "UNDELIVERED", "30003"], 2),
        ("sandbox-not-sent-1", ["FAILURE", "TWILIO_SENDING_FAILURE"], 1),
        ("sandbox-opted-out-later-1", ["FAILURE", "OPTED_OUT_COMMUNICATION_VALUE"], 1),
    ],
)
@asynchronous
async def test_scenarios_decide_the_update(customer: str, words: list[str], count: int) -> None:
    async with listener_and_sender(update_repeat=1) as (listener, send):
        await send(customer)
        received = json.dumps(await listener.wait_for(2 * count))
    assert [word for word in words if word not in received] == []


@asynchronous
async def test_repeated_reordered_and_undelivered_updates() -> None:
    options = {"update_repeat": 1, "update_shuffle": True, "undelivered_rate": 1, "update_delay": 0.02}
    async with listener_and_sender(seed=3, **options) as (listener, send):
        for number in range(20):
            await send(f"customer-{number}")
        received = [json.dumps(body) for body in await listener.wait_for(80)]
    assert sum("UNDELIVERED" in body for body in received) == 40
    firsts = {}
    for body in received:
        uuid = body.replace("\\", "").lower().partition('uuid": "')[2][:43]
        firsts.setdefault(uuid, "UNDELIVERED" in body)
    assert set(firsts.values()) == {True, False}


@asynchronous
async def test_a_refused_update_is_sent_again() -> None:
    async with listener_and_sender() as (listener, send):
        listener.refuse = 2
        await send("sandbox-not-sent-1")
        assert len(await listener.wait_for(1)) == 1


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
        ("http://127.0.0.1.example.com/", False),  # another host
        ("http://example.com/?127.0.0.1", False),
        ("http://127.0.0.1@example.com/", False),  # a username
        ("http://0.0.0.0/", False),  # every address, not only this computer
        ("http://10.0.0.1/", False),
        ("ftp://127.0.0.1/", False),
        ("http://[::1", False),  # cut short
        ("http://127.0.0.1:99999/", False),  # no such port
        ("", False),
        (None, False),
    ],
)
def test_updates_go_only_to_this_computer(url: str | None, local: bool) -> None:
    assert is_loopback_url(url) is local


@asynchronous
async def test_customers_who_answer_are_reported_by_an_event() -> None:
    async with listener_and_sender(reply_rate=1.0) as (listener, send):
        await send("sandbox-no-update-1")
        event = (await listener.wait_for(1))[0]
    payload = event["payload"]
    message = (json.loads(payload) if isinstance(payload, str) else payload)["messageDTO"]
    assert event["type"] == "messages"
    assert (message["messageType"], message["customerUuid"]) == ("R", "sandbox-no-update-1")
    assert message["messageExtnDTO"]["messageBody"]


@asynchronous
async def test_a_reply_that_is_added_by_hand_is_reported_too() -> None:
    async with listener_and_sender() as (listener, send):
        await send("sandbox-no-update-1")
        url = listener.sandbox_url + "/replies"
        async with aiohttp.ClientSession() as session:
            await session.post(url, json={"customer": "sandbox-no-update-1", "body": "STOP"})
        received = json.dumps(await listener.wait_for(1))
    assert "STOP" in received
