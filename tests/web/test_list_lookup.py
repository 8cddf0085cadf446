"""The page that finds the customers of a list without ids."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from web_client import Answer, Clicker, serving
from world import World, running_sandbox

from batchsend.campaigns.file import load_campaign
from batchsend.lists.customer_list import open_list

PAGE = "/campaign/here/campaign/list"
TRUTH = """customer_uuid,customer_key,first_name,last_name,company,phones,vins
u-ann,10234,Ann,Smith,,(312) 555-0142,
u-bob,12,Bob,Jones,,(312) 555-0143,
"""
ROWS = [
    {"Cust No": "10234", "First Name": "Ann", "Last Name": "Smith", "Cell": "(312) 555-0142"},
    {"Cust No": "12", "First Name": "Zoe", "Last Name": "Miller", "Cell": "(312) 555-0777"},
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "truth.csv").write_text(TRUTH, encoding="utf-8")
    with running_sandbox(tmp_path, "--customers", "truth.csv") as sandbox:
        folder = tmp_path / "dealership"
        folder.mkdir()
        campaign = '[columns]\ncustomer_uuid = "Customer ID"\n'
        yield World(folder, sandbox.base_url).write(ROWS, campaign=campaign)


@pytest.fixture
def clicker(world: World) -> Iterator[Clicker]:
    with serving(world) as server:
        yield server.signed_in()


def look_up(clicker: Clicker, **fields: str) -> Answer:
    """Looks up; returns the page after the end."""
    answer = clicker.post(f"{PAGE}/lookup", fields)
    deadline = time.monotonic() + 60
    while "Looking up the customers" in answer.plain:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        answer = clicker.get(f"{PAGE}/lookup")
    return answer


def test_a_list_without_ids_becomes_one_with_ids(world: World, clicker: Clicker) -> None:
    offer = clicker.get(PAGE)
    assert 'href="/campaign/here/campaign/list/lookup"' in offer.text
    assert 'By customer number "Cust No", phone "Cell"' in offer.plain
    asked = clicker.get(f"{PAGE}/lookup")
    assert "Find 2 rows in myKaarma" in asked.plain
    done = look_up(clicker)
    assert "is now the campaign's list" in done.plain
    assert "Customers were found for 1 of 2 rows. The other rows" in done.plain
    assert "Find the customers in myKaarma" not in clicker.get(PAGE).plain
    campaign = load_campaign(world.folder / "campaign.toml")
    assert campaign.list.name == "customers (with ids).xlsx"
    [chunk] = open_list(campaign.list).chunks()
    assert chunk.frame["customer_uuid"].tolist() == ["u-ann", ""]
    assert chunk.frame["match"].tolist() == ["one", "differs"]
    assert world.run("preview", "campaign.toml").code == 1
    # There is nothing to look up any more.
    assert clicker.get(f"{PAGE}/lookup").url == PAGE


class _Broken(BaseHTTPRequestHandler):
    """An API that cannot look for the customer number 12."""

    def do_GET(self) -> None:
        fails = "searchTerm=12&" in self.path
        self.send_response(400 if fails else 200)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"errorCode": "X"}]}' if fails else b'{"customers": []}')

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def broken_api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_rows_without_an_answer_leave_the_list_unchanged_until_a_person_goes_on_without_them(
    broken_api: str, tmp_path: Path
) -> None:
    folder = tmp_path / "dealership"
    folder.mkdir()
    campaign = '[columns]\ncustomer_uuid = "Customer ID"\n[sending]\nrate = 100\n'
    world = World(folder, broken_api).write(ROWS, campaign=campaign)
    text = (folder / "campaign.toml").read_text(encoding="utf-8")
    with serving(world) as server:
        clicker = server.signed_in()
        clicker.get(f"{PAGE}/lookup")
        assert "continue without" not in clicker.get(f"{PAGE}/lookup").plain
        answer = look_up(clicker)
        assert "myKaarma gave no usable answer for 1 row, so the list is unchanged." in answer.plain
        assert (folder / "campaign.toml").read_text(encoding="utf-8") == text
        assert not list(folder.glob("*with ids*"))
        assert "Look up again, and continue without them" in answer.plain
        gone_on = look_up(clicker, without="yes")
    assert "or myKaarma gave no usable answer" in gone_on.plain
    [copy] = folder.glob("*with ids*")
    assert load_campaign(folder / "campaign.toml").list == copy


def test_what_stops_a_look_up_is_said_on_its_page(world: World, clicker: Clicker) -> None:
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    sample = text.replace("3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e", "put-your-department-uuid-here")
    (world.folder / "campaign.toml").write_text(sample, encoding="utf-8")
    clicker.get(f"{PAGE}/lookup")
    answer = look_up(clicker)
    assert "Choose the department on the page Sender first" in answer.plain
    assert 'aria-describedby="lookup-help lookup-error"' in answer.text
    assert (world.folder / "campaign.toml").read_text(encoding="utf-8") == sample


def test_a_list_with_ids_has_no_offer(world: World, clicker: Clicker) -> None:
    world.write_list([{"Customer ID": "u-ann", "Cust No": "10234", "First Name": "Ann"}])
    assert "list/lookup" not in clicker.get(PAGE).text


def test_a_campaign_that_looks_up_its_customers_is_checked(world: World, clicker: Clicker) -> None:
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    looks_up = text.replace('customer_uuid = "Customer ID"', "lookup = {}")
    (world.folder / "campaign.toml").write_text(looks_up, encoding="utf-8")
    assert "list/lookup" not in clicker.get(PAGE).text
    columns = clicker.get("/campaign/here/campaign/columns")
    assert "The customers’ ids are looked up in myKaarma" in columns.plain
    _, checked = clicker.check("/campaign/here/campaign")
    assert "1 text ready to send" in checked.plain
