"""Starting, waiting and closing, and which hosts are answered."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from sandbox_requests import Client, asynchronous, running, until

import batchsend.sandbox
from batchsend.errors import BatchsendError
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.responses import ResponseEnding
from batchsend.sandbox.server import Sandbox, serve


@asynchronous
async def test_closing_ends_requests_that_wait() -> None:
    async with running(SandboxOptions(latency=3600)) as (sandbox, client):
        never = asyncio.create_task(client.send("sandbox-no-answer"))
        slow = asyncio.create_task(client.send("sandbox-slow"))
        ordinary = asyncio.create_task(client.send())
        await until(lambda: len(sandbox.requests) == 3)
        # The sandbox closes before the client does.
        await sandbox.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await never
        assert [(await slow)[0], (await ordinary)[0]] == [200, 200]


@asynchronous
async def test_a_client_that_gives_up_stays_on_record() -> None:
    async with running() as (sandbox, client):
        idle = len(asyncio.all_tasks())
        sending = asyncio.create_task(client.send("sandbox-no-answer-sent"))
        await until(lambda: sandbox.requests)
        sending.cancel()
        await asyncio.wait([sending])
        # No client waits any more, so the server must not wait either.
        await until(lambda: len(asyncio.all_tasks()) == idle)
        assert sandbox.requests[0].response.ending is ResponseEnding.NEVER
        assert sandbox.texts_per_customer() == {"sandbox-no-answer-sent": 1}
        assert (await client.send())[0] == 200


@asynchronous
async def test_serve_runs_until_stop_is_set() -> None:
    ready: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(SandboxOptions(), "127.0.0.1", 0, ready.put_nowait, stop))
    base_url = await ready.get()
    async with aiohttp.ClientSession() as session:
        assert (await Client(session, base_url).send())[0] == 200
        stop.set()
        await serving
        with pytest.raises(aiohttp.ClientConnectorError):
            await Client(session, base_url).send()


HOSTS = [
    ("127.0.0.1", 200),
    ("localhost:8398", 200),
    ("LOCALHOST", 200),
    ("[::1]:8398", 200),
    ("evil.example:8398", 421),  # a name whose owner made it point to this computer (DNS rebinding)
    ("127.0.0.1.evil.example", 421),
    ("localhost.evil.example", 421),
    ("", 421),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
@asynchronous
async def test_only_this_computers_names_are_answered(host: str, status: int) -> None:
    async with running() as (sandbox, client):
        await client.send()
        for method, where in [("GET", "/"), ("GET", "/texts.json"), ("GET", "/requests.json")]:
            got, body, _ = await client.request(method, where, headers={"Host": host})
            assert got == status
            assert ("Hi Maria" in body) == (status == 200)
        got, _, _ = await client.request("DELETE", "/texts", headers={"Host": host})
        assert (got, len(sandbox.texts)) == ((200, 0) if status == 200 else (421, 1))


@asynchronous
async def test_any_name_is_answered_if_it_listens_on_the_network() -> None:
    async with running(host="0.0.0.0") as (sandbox, client):
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert (await client.request("GET", "/", headers={"Host": "office-pc:8398"}))[0] == 200


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@asynchronous
async def test_a_port_in_use(taken_port: int) -> None:
    with pytest.raises(BatchsendError) as caught:
        async with Sandbox(port=taken_port):
            pass
    assert str(caught.value) == (
        f"The sandbox cannot listen on 127.0.0.1, port {taken_port}: another program uses it, perhaps a sandbox "
        "that is already running. Stop that one, or choose another --port."
    )


CANNOT_LISTEN = [
    (
        "127.0.0.1",
        65536,
        (
            "The sandbox cannot listen on 127.0.0.1, port 65536: a port is a number from 0 to 65535. "
            "Choose another --port."
        ),
    ),
    (
        "203.0.113.7",  # reserved for documentation
        0,
        (
            "The sandbox cannot listen on 203.0.113.7, port 0: this computer has no such address. "
            "Use 127.0.0.1, or one of this computer's addresses."
        ),
    ),
]


@pytest.mark.parametrize(("host", "port", "sentence"), CANNOT_LISTEN)
@asynchronous
async def test_where_it_cannot_listen(host: str, port: int, sentence: str) -> None:
    with pytest.raises(BatchsendError) as caught:
        async with Sandbox(host=host, port=port):
            pass
    assert str(caught.value) == sentence


def test_it_shares_no_code_with_the_client() -> None:
    # A mistake in shared code would be made on both sides, and no rehearsal or test would show it.
    sources = [file.read_text(encoding="utf-8") for file in Path(batchsend.sandbox.__path__[0]).glob("*.py")]
    imported = {name for source in sources for name in re.findall(r"(?:from|import) (batchsend\S*)", source)}
    others = {name for name in imported if not name.startswith("batchsend.sandbox")}
    assert others == {"batchsend.errors", "batchsend.utils.net", "batchsend.utils.wording"}
