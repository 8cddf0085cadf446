"""Looking for unconfirmed texts from the page of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from moments import statuses
from web_client import Clicker, serving
from world import Sandbox, World, customers

RUN = "/campaign/here/campaign/run/1"


@pytest.fixture
def sent(world: World) -> World:
    """A campaign whose rows 2 and 3 are unconfirmed in run 1; only row 2 was sent."""
    rows = customers(3)
    rows[0]["Customer UUID"], rows[1]["Customer UUID"] = "sandbox-500-sent", "sandbox-502"
    world.write(rows).send()
    return world


@pytest.fixture
def clicker(sent: World) -> Iterator[Clicker]:
    with serving(sent) as served:
        yield served.signed_in()


def test_the_page_of_the_run_offers_it_and_says_what_was_found(
    world: World, clicker: Clicker, sandbox: Sandbox
) -> None:
    offer = clicker.get(RUN)
    assert "Look for 2 unconfirmed texts in myKaarma?" in offer.plain
    name = offer.hidden("name")
    sought = clicker.post(f"{RUN}/settle", {"name": name})
    assert (sought.status, sought.url) == (200, f"{RUN}/settle/{name}")
    assert "Looking for texts in myKaarma" in sought.plain
    done = clicker.wait(sought.url, "What was found")
    assert "Found: 1 of 2 texts." in done.plain
    assert re.search("1 text ?: Accepted", done.plain)
    assert "1 text not found" in done.plain
    assert statuses(world) == {2: "accepted", 3: "unconfirmed", 4: "accepted"}
    assert len(sandbox.requests()) == 3
    # A second click on the same button finds what the first one has begun.
    assert clicker.post(f"{RUN}/settle", {"name": name}).url == sought.url
    after = clicker.get(RUN)
    assert "Look for 1 unconfirmed text in myKaarma?" in after.plain
    assert re.search("Looked for on .* not found. Sending is queued", after.plain)


def test_pages_of_other_runs_and_made_up_names_are_not_found(clicker: Clicker) -> None:
    name = clicker.get(RUN).hidden("name")
    assert "nothing was done" in clicker.post(f"{RUN}/settle", {"name": "../x"}).plain
    assert clicker.get(f"{RUN}/settle/{name}").status == 404
    done = clicker.wait(clicker.post(f"{RUN}/settle", {"name": name}).url, "What was found")
    assert done.status == 200
    assert clicker.get(f"{RUN.removesuffix('1')}2/settle/{name}").status == 404


def test_an_account_without_the_permission(sent: World) -> None:
    before = statuses(sent)
    sent.environment = {"MYKAARMA_PASSWORD": "wrong"}
    with serving(sent) as served:
        clicker = served.signed_in()
        name = clicker.get(RUN).hidden("name")
        done = clicker.wait(clicker.post(f"{RUN}/settle", {"name": name}).url, "What was found")
    assert "Found: 0 of 2 texts." in done.plain
    assert "Texts can be sent all the same." in done.plain
    assert "communications.message.get" in done.plain
    assert statuses(sent) == before
