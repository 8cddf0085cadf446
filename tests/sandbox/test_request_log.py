"""The record of requests, in memory and in a file."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pytest
from sandbox_requests import PHONE, asynchronous, path, payload, running, until

from batchsend.errors import BatchsendError
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.server import Sandbox


@asynchronous
async def test_the_file_gets_a_line_before_the_response(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    options = SandboxOptions(record=record)
    async with running(options) as (_, client):
        await client.send(body="Hi 李 🚗\n2nd line", communicationValueOfCustomer=PHONE)
        sending = asyncio.create_task(client.send("sandbox-no-answer"))
        await until(lambda: record.read_bytes().count(b"\n") == 2)
        sending.cancel()
    # A second sandbox appends to the same file.
    async with running(options) as (_, client):
        await client.send("sandbox-opted-out")
    first, second, third = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    assert (first["body"], first["phone"], first["textLeft"]) == ("Hi 李 🚗\n2nd line", PHONE, True)
    assert json.loads(first["answer"])["messageUUID"] == first["messageUUID"]
    assert (second["ending"], second["textLeft"], second["httpStatus"]) == ("never", False, None)
    assert (third["errorCodes"], third["customerUUID"]) == (
        ["OPTED_OUT_COMMUNICATION_VALUE"],
        "sandbox-opted-out",
    )
    assert first["monotonic"] <= second["monotonic"] <= third["monotonic"]
    assert first["arrivedAt"] <= second["arrivedAt"]
    if sys.platform != "win32":
        assert record.stat().st_mode & 0o777 == 0o600


@asynchronous
async def test_credentials_are_not_recorded_or_shown(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    options = SandboxOptions(username="dealer-user", password="hush-hush", record=record)
    right = {"Authorization": aiohttp.encode_basic_auth("dealer-user", "hush-hush")}
    async with running(options) as (sandbox, client):
        await client.request("POST", path(), json=payload(), headers=right)
        _, page, _ = await client.request("GET", "/")
        _, listed, _ = await client.request("GET", "/requests.json")
    shown = "".join([page, listed, record.read_text(encoding="utf-8"), repr(sandbox.requests), repr(options)])
    assert "hush-hush" not in shown
    assert right["Authorization"].removeprefix("Basic ") not in shown


@asynchronous
async def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BatchsendError) as caught:
        async with Sandbox(SandboxOptions(record=tmp_path)):
            pass
    assert str(caught.value) == (
        f"{tmp_path}: The sandbox cannot write its record there (Is a directory). Choose another place."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@asynchronous
async def test_a_request_that_cannot_be_recorded_is_not_accepted() -> None:
    async with running(SandboxOptions(record=Path("/dev/full"))) as (sandbox, client):
        status, _, _ = await client.send()
    assert status == 503
    assert not sandbox.texts


@asynchronous
async def test_only_the_last_requests_are_kept() -> None:
    async with running(SandboxOptions(keep=2)) as (sandbox, client):
        for n in range(3):
            await client.send(f"customer-{n}")
        _, page, _ = await client.request("GET", "/")
    assert [text.customer_uuid for text in sandbox.texts] == ["customer-1", "customer-2"]
    assert [request.number for request in sandbox.requests] == [2, 3]
    assert "3 texts received" in page
