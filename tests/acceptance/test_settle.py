"""`batchsend settle`: texts whose answers were lost are found again, and nothing else changes."""

from __future__ import annotations

import re

import pytest
from moments import statuses
from world import Sandbox, World, customers

#: Customers whose answers are lost: two whose texts were sent, and one whose text was not.
LOST = ("sandbox-500-sent-1", "sandbox-dropped-sent-2", "sandbox-502-3")


@pytest.fixture
def lost(world: World) -> World:
    """A campaign that was sent; rows 2 and 3 were sent and row 4 was not, but all are `unconfirmed`."""
    rows = customers(4)
    for row, customer in zip(rows, LOST, strict=False):
        row["Customer UUID"] = customer
    world.write(rows)
    assert world.send().code == 1
    assert statuses(world) == {2: "unconfirmed", 3: "unconfirmed", 4: "unconfirmed", 5: "accepted"}
    return world


def test_texts_that_were_sent_are_found(lost: World, sandbox: Sandbox) -> None:
    done = lost.run("settle", "campaign.toml")
    assert (done.code, done.err) == (1, "")
    assert statuses(lost) == {2: "accepted", 3: "accepted", 4: "unconfirmed", 5: "accepted"}
    assert (
        "3 texts of this run were unconfirmed. Found in myKaarma: 2 (2 accepted). Not found: 1." in done.out
    )
    book = lost.workbook()
    sent = {request["customerUUID"]: request["messageUUID"] for request in sandbox.requests()}
    assert [book[row]["messageUUID"] for row in (2, 3, 4)] == [sent[LOST[0]], sent[LOST[1]], None]
    assert re.search("Looked for on 20.*, not found", book[4]["errorDescriptions"])
    assert book[2]["errorCodes"] in (None, "")
    # Nothing was sent, and looking again changes nothing.
    assert len(sandbox.requests()) == 4
    again = lost.run("settle", "1")
    assert again.code == 1
    assert "Found in myKaarma: 0. Not found: 1." in again.out


def test_the_customers_that_were_found_are_not_texted_again(lost: World, sandbox: Sandbox) -> None:
    lost.run("settle", "1")
    again = lost.send("--resend", "unconfirmed", "--expect", "1")
    assert again.code == 1
    assert sandbox.texts()[LOST[0]] == 1


def test_nothing_to_look_for(world: World) -> None:
    world.write(customers(1)).send()
    done = world.run("settle", "campaign.toml")
    assert done.code == 0
    assert done.out.startswith("No text of this run is unconfirmed. There is nothing to look for.\n")


def test_an_account_that_may_not_read_conversations(lost: World) -> None:
    lost.environment = {"MYKAARMA_PASSWORD": "wrong"}
    before = statuses(lost)
    done = lost.run("settle", "campaign.toml")
    assert done.code == 3
    assert "communications.message.get" in done.out
    assert statuses(lost) == before


def test_another_address_than_that_of_the_run(lost: World) -> None:
    lost.environment = {"MYKAARMA_BASE_URL": "http://127.0.0.1:9"}
    done = lost.run("settle", "1")
    assert (done.code, done.out) == (2, "")
    assert f"Run 1 was sent to {lost.base_url}" in done.err


def test_a_run_that_was_never_sent(world: World) -> None:
    world.write(customers(1))
    assert world.run("settle", "campaign.toml").code == 2
