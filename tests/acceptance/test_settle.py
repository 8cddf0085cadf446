"""`batchsend settle`: texts whose answers were lost are found again, and nothing else changes."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from crash_settle import Verdict, rounds
from misbehaving import answer, misbehaving, refusal, says
from moments import statuses
from world import Sandbox, World, customers

from batchsend.ledger.opening import open_ledger
from batchsend.sending.locks import sending_lock

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


def test_another_address_than_that_of_the_run(lost: World) -> None:
    lost.environment = {"MYKAARMA_BASE_URL": "http://127.0.0.1:9"}
    done = lost.run("settle", "1")
    assert (done.code, done.out) == (2, "")
    assert f"Run 1 was sent to {lost.base_url}" in done.err


def test_a_run_that_was_never_sent(world: World) -> None:
    world.write(customers(1))
    assert world.run("settle", "campaign.toml").code == 2


def test_send_settles_at_its_end(world: World) -> None:
    rows = customers(2)
    rows[0]["Customer UUID"] = LOST[0]
    done = world.write(rows).send("--settle", "--log-format", "json")
    assert done.code == 0
    assert json.loads(done.out)["settled"] == {
        "unknown": 1,
        "found": 1,
        "accepted": 1,
        "not_found": 0,
        "not_read": 0,
        "stopped": None,
    }
    assert set(statuses(world).values()) == {"accepted"}
    assert {row["status"] for row in world.workbook().values()} == {"accepted"}


@pytest.mark.parametrize("option", ["--sandbox", "--detach"])
def test_send_settles_only_what_it_sends_itself(world: World, option: str) -> None:
    refused = world.write(customers(1)).send("--settle", option)
    assert refused.code == 2
    assert option in refused.err


@pytest.mark.parametrize(
    "listed",
    [
        answer(403, refusal("NOT_AUTHORIZED_REQUEST")),
        answer(200, b"<html>Sign in</html>", "Content-Type: text/html"),
    ],
)
def test_an_account_without_the_permission_can_send_all_the_same(tmp_path: Path, listed: bytes) -> None:
    rows = customers(2)
    with misbehaving() as bench:
        bench.scripts[rows[0]["Customer UUID"]] = [[says(answer(500, b""))], [says(listed)]]
        world = World(tmp_path, bench.base_url).write(rows)
        done = world.send("--settle")
        assert (done.code, statuses(world)) == (1, {2: "unconfirmed", 3: "accepted"})
        assert "communications.message.get" in done.out
        alone = world.run("settle", "1")
        assert (alone.code, statuses(world)) == (3, {2: "unconfirmed", 3: "accepted"})
        assert "communications.message.get" in alone.out


def test_a_campaign_that_is_being_sent_is_left_alone(lost: World) -> None:
    file = lost.folder / ".batchsend" / "ledger.db"
    with (
        closing(open_ledger(f"sqlite:///{file}")) as ledger,
        sending_lock(ledger, "Spring", None, lost.base_url),
    ):
        assert lost.run("settle", "1").code == 4
    assert lost.run("settle", "1").code == 1


@pytest.mark.system
def test_killed_while_texts_are_on_their_way(tmp_path: Path) -> None:
    verdicts: list[Verdict] = []
    rounds(tmp_path, range(2), lambda _, verdict: verdicts.append(verdict))
    assert [verdict.complaints for verdict in verdicts] == [[], []]
    assert verdicts[1].sent == verdicts[1].settled > 0
