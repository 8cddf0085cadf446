"""Conversations of the sandbox, as the client reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sandbox_requests import CUSTOMER, DEPARTMENT, PHONE, USER, asynchronous, path, running, until

from batchsend.mykaarma.conversation import (
    PAGE_MESSAGES,
    Conversation,
    ConversationClient,
    ConversationQuery,
    Direction,
)
from batchsend.mykaarma.protocol import Refused, RetryLater
from batchsend.mykaarma.updates import UpdateOutcome
from batchsend.sandbox.options import SandboxOptions
from batchsend.settings import Credentials
from batchsend.statuses import Status

QUERY = ConversationQuery(DEPARTMENT, USER, CUSTOMER)


def reading(base_url: str, password: str = "any") -> ConversationClient:
    return ConversationClient(base_url, Credentials("subscriber", password), timeout=60)


async def read(client: ConversationClient, query: ConversationQuery = QUERY) -> Conversation:
    answer = await client.ask(query)
    assert isinstance(answer, Conversation)
    return answer


@asynchronous
async def test_texts_and_replies_newest_first() -> None:
    async with running() as (sandbox, client), reading(sandbox.base_url) as reader:
        assert not (await read(reader)).messages
        await client.send(body="Hi Maria", communicationValueOfCustomer=PHONE)
        await client.send(body="Hi Maria", addTCPAFooter=False)
        await client.send("somebody-else")
        sandbox.conversations.add_reply(CUSTOMER, "Yes", phone=PHONE)
        conversation = await read(reader)
    assert [(m.direction, m.body, m.phone) for m in conversation.messages] == [
        (Direction.RECEIVED, "Yes", PHONE),
        (Direction.SENT, "Hi Maria", None),
        (Direction.SENT, "Hi Maria\nText STOP to opt-out", PHONE),
    ]
    assert [m.uuid for m in conversation.messages[1:]] == [text.message_uuid for text in sandbox.texts][1::-1]
    assert conversation.clock_ahead is not None
    assert abs(conversation.clock_ahead) <= timedelta(seconds=2)


@pytest.mark.parametrize("customer", ["sandbox-500-sent", "sandbox-dropped-sent", "sandbox-garbage-sent"])
@asynchronous
async def test_a_text_whose_answer_was_lost_is_there(customer: str) -> None:
    async with running() as (sandbox, client), reading(sandbox.base_url) as reader:
        with suppress(OSError, aiohttp.ClientError):
            await client.send(customer)
        [message] = (await read(reader, QUERY._replace(customer_uuid=customer))).messages
        assert message.uuid == sandbox.texts[0].message_uuid
        assert message.is_manual is False


@asynchronous
async def test_a_request_that_was_not_sent_is_not_there() -> None:
    async with running() as (sandbox, client), reading(sandbox.base_url) as reader:
        await client.send("sandbox-500")
        assert not (await read(reader, QUERY._replace(customer_uuid="sandbox-500"))).messages


@asynchronous
async def test_older_pages_until_the_beginning() -> None:
    begin = datetime(2026, 11, 1, 12, tzinfo=UTC)
    async with running() as (sandbox, _), reading(sandbox.base_url) as reader:
        # Three in each second, so that a page ends within a second.
        for n in range(2 * PAGE_MESSAGES + 5):
            sandbox.conversations.add_reply(CUSTOMER, f"{n}", at=begin + timedelta(seconds=n // 3))
        pages = [await read(reader)]
        while pages[-1].is_full:
            known = [message for page in pages for message in page.messages]
            query = QUERY._replace(before=known[-1].at, known=tuple(message.uuid for message in known))
            pages.append(await read(reader, query))
    assert len(pages) == 3
    bodies = [message.body for page in pages for message in page.messages]
    assert sorted(map(int, filter(None, bodies))) == list(range(2 * PAGE_MESSAGES + 5))


@pytest.mark.parametrize(
    ("customer", "outcome"),
    [
        ("one", UpdateOutcome(Status.DELIVERED)),
        (
            "sandbox-undelivered",
            UpdateOutcome(Status.UNDELIVERED, "", "30003 Unreachable destination handset"),
        ),
    ],
)
@asynchronous
async def test_the_delivery_status_follows_the_updates(customer: str, outcome: UpdateOutcome) -> None:
    query = QUERY._replace(customer_uuid=customer)
    options = SandboxOptions(updates=True, update_delay=0)
    async with listening() as url, running(options) as (sandbox, client), reading(sandbox.base_url) as reader:
        await client.send(customer, callbackURL=url)
        await until(lambda: sandbox.conversations._outcomes)
        assert [message.outcome for message in (await read(reader, query)).messages] == [outcome]


@asynccontextmanager
async def listening() -> AsyncIterator[str]:
    """A URL that accepts every update."""

    async def accept(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/updates", accept)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/updates"
    await runner.cleanup()


@asynchronous
async def test_wrong_credentials_are_refused() -> None:
    async with running() as (sandbox, _), reading(sandbox.base_url, "wrong") as reader:
        assert isinstance(await reader.ask(QUERY), Refused)
    async with reading("http://127.0.0.1:9") as reader:
        assert isinstance(await reader.ask(QUERY), RetryLater)


@pytest.mark.parametrize(
    "body",
    [[], {"maxResults": 0}, {"maxResults": "20"}, {"lastMessageReceivedOn": "yesterday"}],
)
@asynchronous
async def test_malformed_requests_are_refused(body: Any) -> None:
    async with running() as (_, client):
        status, answer, _ = await client.request("POST", f"{path()}/list", json=body)
    assert (status, json.loads(answer)["errors"][0]["errorCode"]) == (400, "MALFORMED_REQUEST")


@asynchronous
async def test_a_reply_over_http() -> None:
    async with running() as (sandbox, client), reading(sandbox.base_url) as reader:
        reply = {"customer": CUSTOMER, "body": "STOP", "phone": PHONE}
        assert (await client.request("POST", "/replies", json=reply))[0] == 200
        assert (await client.request("POST", "/replies", json={"customer": CUSTOMER}))[0] == 400
        # A web page could send this without asking.
        plain = {"data": json.dumps(reply), "headers": {"Content-Type": "text/plain"}}
        assert (await client.request("POST", "/replies", **plain))[0] == 400
        [message] = (await read(reader)).messages
        assert (message.body, message.phone, message.direction) == ("STOP", PHONE, Direction.RECEIVED)
        sandbox.clear()
        assert not (await read(reader)).messages
