"""The page that shows the texts, its JSON for scripts, and the table for the manual."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sandbox_requests import PHONE, asynchronous, running

from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.pages import scenarios_markdown
from batchsend.sandbox.scenarios import SCENARIOS


@asynchronous
async def test_the_page_without_texts() -> None:
    async with running() as (_, client):
        status, page, headers = await client.request("GET", "/")
        _, of_one, _ = await client.request("GET", "/?customer=nobody")
    assert status == 200
    assert "0 texts received" in page
    assert "No texts yet. Send a campaign to the sandbox, then reload this page." in page
    assert "No texts to this customer yet." in of_one
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert headers["Cache-Control"] == "no-store"


@asynchronous
async def test_the_page_shows_texts_as_a_phone_does() -> None:
    async with running() as (_, client):
        await client.send("first", "Hi <b>Tom</b> & Co", communicationValueOfCustomer=PHONE)
        await client.send("second", "no footer", addTCPAFooter=False)
        await client.send("sandbox-opted-out", "never arrives")
        _, page, _ = await client.request("GET", "/")
        _, of_one, _ = await client.request("GET", "/?customer=second")
    assert "2 texts received" in page
    assert "3 requests came in." in page
    assert "never arrives" not in page
    assert "Hi &lt;b&gt;Tom&lt;/b&gt; &amp; Co<span>Text STOP to opt-out</span>" in page
    assert ">no footer</div>" in page
    assert page.index("no footer") < page.index("Tom")  # newest first
    assert PHONE in page
    assert "Preferred number" in page
    assert "no footer" in of_one
    assert "Tom" not in of_one
    assert all(scenario.prefix in page for scenario in SCENARIOS)


@asynchronous
async def test_the_page_loads_no_other_file_and_runs_no_script() -> None:
    async with running() as (_, client):
        await client.send("a", '"><script src=//example.com></script>')
        _, page, _ = await client.request("GET", '/?customer="><script>')
        _, all_customers, _ = await client.request("GET", "/?live=1")
    for shown in (page, all_customers):
        assert "<script" not in shown
        # Quotation marks in texts are escaped, so these can only be attributes of tags.
        assert not re.search(r"""\b(src|href)=["'](https?:|//)""", shown)
    assert '<meta http-equiv="refresh" content="2">' in all_customers
    assert "http-equiv" not in page


@asynchronous
async def test_the_page_shows_the_last_200() -> None:
    async with running() as (_, client):
        for n in range(201):
            await client.send(f"customer-{n:03}")
        _, page, _ = await client.request("GET", "/")
        _, listed, _ = await client.request("GET", "/texts.json")
    assert page.count("<article>") == 200
    assert "customer-000" not in page
    assert "The newest 200 are shown." in page
    assert len(json.loads(listed)) == 201


@asynchronous
async def test_half_a_surrogate_pair_does_not_break_page_json_or_record(tmp_path: Path) -> None:
    # JSON can hold it as an escape, UTF-8 cannot.
    async with running(SandboxOptions(record=tmp_path / "r.jsonl")) as (_, client):
        assert (await client.send(body="half \ud83d"))[0] == 200
        status, page, _ = await client.request("GET", "/")
        _, listed, _ = await client.request("GET", "/texts.json")
    assert status == 200
    assert "half ?" in page
    assert json.loads(listed)[0]["body"] == "half \ud83d"


@asynchronous
async def test_json_for_scripts_and_clearing() -> None:
    async with running() as (sandbox, client):
        await client.send("first")
        await client.send("sandbox-locked")
        _, texts, headers = await client.request("GET", "/texts.json")
        _, requests, _ = await client.request("GET", "/requests.json")
        _, of_one, _ = await client.request("GET", "/requests.json?customer=sandbox-locked")
        assert headers["Content-Type"].startswith("application/json")
        assert [text["customerUUID"] for text in json.loads(texts)] == ["first"]
        assert [one["httpStatus"] for one in json.loads(requests)] == [200, 400]
        assert [one["errorCodes"] for one in json.loads(of_one)] == [["CUSTOMER_LOCKED"]]
        status, body, _ = await client.request("DELETE", "/texts")
        assert (status, json.loads(body)) == (200, {"cleared": 1})
        assert (await client.request("GET", "/requests.json"))[1] == "[]"
        assert not sandbox.requests


# --- where it listens, and to whom --------------------------------------------------------------------------------


def test_the_table_for_the_manual() -> None:
    lines = scenarios_markdown().splitlines()
    assert len(lines) == 2 + len(SCENARIOS)
    assert "| `sandbox-opted-out` | 400 OPTED_OUT_COMMUNICATION_VALUE. |" in lines
    assert "| `sandbox-502`, `sandbox-502-sent` | 502 with a gateway's error page. |" in lines
