"""What customers reply: asked for or received, shown, and STOP holds from the next text on."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest
from update_listener import listening
from world import Sandbox, World, customers, read_results, running_sandbox

PHRASES = Path(__file__).parents[1] / "messages" / "replies"
WORDS = ["stop", "Quit", "END", "revoke.", "opt out", "Cancel!", "UNSUBSCRIBE", "alto", "baja"]


def lines(name: str) -> list[str]:
    """The replies of a file, one a line."""
    return (PHRASES / name).read_text("utf-8").splitlines()


def reply(sandbox: Sandbox, customer: str, body: str, phone: str = "") -> None:
    """A text from a customer arrives at the stand-in."""
    request = urllib.request.Request(
        f"{sandbox.base_url}/replies",
        json.dumps({"customer": customer, "body": body, "phone": phone}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def test_replies_are_asked_for_and_shown(world: World, sandbox: Sandbox) -> None:
    world.write(customers(4)).send()
    reply(sandbox, "customer-0", "Please stop texting me", "+13125000000")
    reply(sandbox, "customer-1", "Tuesday at 10?")
    reply(sandbox, "customer-2", "I'll stop by")
    done = world.run("replies", "campaign.toml")
    assert (done.code, done.err) == (0, "Conversations read: 4 of 4.\n")
    first, *lines = done.out.splitlines()
    assert first == "3 replies: 1 asks for no more texts, 1 is unclear and needs attention."
    assert [line.partition("| ")[2] for line in lines if "| " in line] == [
        "I'll stop by",
        "Please stop texting me",
        "Tuesday at 10?",
    ]
    assert "asked for no more texts: opted out" in done.out
    # Asking again finds nothing new, and sends nothing.
    assert world.run("replies", "1").out == done.out
    assert world.run("replies", "1", "--recorded").out == done.out
    assert len(sandbox.requests()) == 4
    assert 'answered "Please stop texting me" to' in world.run("optouts", "list").out
    assert "(312) 500-0001  to" in done.out
    assert first in world.run("runs").out
    assert "| Tuesday at 10?" in world.run("history", "--customer", "customer-1").out

    world.run("results", "campaign.toml")
    book = world.workbook()
    assert [book[row]["reply"] for row in (2, 3, 4, 5)] == [
        "Please stop texting me",
        "Tuesday at 10?",
        "I'll stop by",
        None,
    ]
    assert book[3]["repliedAtUTC"].endswith("Z")
    page = (world.folder / "results" / "campaign-1.html").read_text("utf-8")
    assert "I&#39;ll stop by" in page


def test_the_next_run_skips_a_customer_who_wrote_stop(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2), campaign="[recipients]\nrepeat_after_days = 1\n").send()
    reply(sandbox, "customer-0", "STOP")
    world.run("replies", "1")
    other = world.folder / "other.toml"
    text = (world.folder / "campaign.toml").read_text("utf-8")
    other.write_text(text.replace('name = "', 'name = "Other '), "utf-8")
    assert world.run("send", "other.toml", "--yes").code == 0
    rows = read_results(world.folder / "results" / "other-2.xlsx")
    assert (rows[2]["status"], rows[2]["errorCodes"]) == ("skipped", "SUPPRESSED")
    assert 'answered "STOP" to' in rows[2]["errorDescriptions"]
    assert rows[3]["status"] == "accepted"


def test_an_opt_out_that_answers_another_campaign_is_named(world: World, sandbox: Sandbox) -> None:
    world.write(customers(1)).send()
    other = world.folder / "other.toml"
    text = (world.folder / "campaign.toml").read_text("utf-8")
    other.write_text(text.replace('name = "', 'name = "Other '), "utf-8")
    assert world.run("send", "other.toml", "--yes").code == 0
    reply(sandbox, "customer-0", "STOP")
    done = world.run("replies", "campaign.toml")
    first, second, *lines = done.out.splitlines()
    assert first == "No replies to campaign.toml yet."
    assert second.startswith(
        "1 new reply to texts of other runs, 1 opted out: see `batchsend replies 2` (Other "
    )
    assert lines[-1].strip() == "asked for no more texts: opted out"
    again = world.run("replies", "1").out
    assert again == "No replies to run 1 yet.\n"
    assert "| STOP" in world.run("history", "--phone", customers(1)[0]["Phone"]).out


def test_an_account_without_the_permission_is_told_so_and_sees_what_is_recorded(
    world: World, sandbox: Sandbox
) -> None:
    world.write(customers(1)).send()
    reply(sandbox, "customer-0", "Thanks")
    world.run("replies", "1")
    world.environment = {"MYKAARMA_PASSWORD": "wrong"}
    done = world.run("replies", "1")
    assert done.code == 3
    assert "| Thanks" in done.out
    assert "communications.message.get" in done.err
    assert "texts can still be sent" in done.err


@pytest.mark.system
@pytest.mark.timeout(180)
def test_every_word_and_phrase_that_is_received_blocks_the_next_run(tmp_path: Path) -> None:
    requests = [*WORDS, *lines("stop_english.txt"), *lines("stop_spanish.txt")]
    ordinary = lines("ordinary.txt")[::10]
    people = customers(len(requests) + len(ordinary))
    with (
        running_sandbox(tmp_path, "--updates", "--update-delay", "0.01") as sandbox,
        listening(tmp_path) as listener,
    ):
        world = World(tmp_path, sandbox.base_url)
        settings = f'[message]\ncallback_url = "{listener.url}"\n[sending]\nrate = 1000\n'
        world.write(people, campaign=settings)
        assert world.send("--quiet").code == 0
        for person, words in zip(people, [*requests, *ordinary], strict=True):
            reply(sandbox, person["Customer UUID"], words, person["Phone"])
        began = time.monotonic()
        while listener.query("SELECT count(*) FROM replies") != [(len(people),)]:
            assert time.monotonic() < began + 60
            time.sleep(0.05)
        other = tmp_path / "other.toml"
        text = (tmp_path / "campaign.toml").read_text("utf-8")
        other.write_text(text.replace('name = "', 'name = "Other '), "utf-8")
        assert world.run("send", "other.toml", "--yes", "--quiet").code == 0
    rows = read_results(tmp_path / "results" / "other-2.xlsx")
    skipped = [row["Customer UUID"] for row in rows.values() if row["errorCodes"] == "SUPPRESSED"]
    assert set(skipped) == {person["Customer UUID"] for person in people[: len(requests)]}
    assert time.monotonic() < began + 60
