"""The page "Replies": what customers answered, and decisions about unclear answers."""

from __future__ import annotations

import json
import re
import urllib.request
from contextlib import closing
from pathlib import Path

from ledgers import BASE_URL, came_to, identity, planned, send_all, store_plan
from web_client import Answer, Clicker, serving
from world import Sandbox, World, customers

from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.optouts import OptOut, opt_outs, opt_outs_ever
from batchsend.settings import os_user

PAGE = "/replies"


def opened(folder: Path) -> Ledger:
    return open_ledger(f"sqlite:///{folder / '.batchsend' / 'ledger.db'}")


def entries(folder: Path) -> list[OptOut]:
    with closing(opened(folder)) as ledger:
        return list(opt_outs(ledger))


def receive(folder: Path, *replies: tuple[str, str], base_url: str = BASE_URL) -> None:
    """Sends a text to each of these customers, who answer with these words."""
    with closing(opened(folder)) as ledger:
        rows = [planned(row, customer_uuid=customer) for row, (customer, _) in enumerate(replies, start=2)]
        run = store_plan(ledger, rows, who=identity(base_url=base_url))
        at = "2026-03-02T10:00:00.000Z"
        send_all(ledger, run, *(came_to(row["row"], sent_at=at) for row in rows))
        for customer, words in replies:
            message = {
                "uuid": f"{customer}-{words}",
                "messageType": "R",
                "customerUuid": customer,
                "body": words,
            }
            dealer = "sandbox-dealer" if base_url != BASE_URL else "dealer"
            event = json.dumps({"dealeruuid": dealer, "messageDTO": message}).encode()
            Deliveries(ledger).record(ReceivedUpdate.all_of(event, "2026-03-02T11:00:00.000Z"))


def arrive(sandbox: Sandbox, customer: str, words: str) -> None:
    """A text from a customer arrives at the stand-in for myKaarma."""
    body = json.dumps({"customer": customer, "body": words}).encode()
    request = urllib.request.Request(
        f"{sandbox.base_url}/replies", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def decide(clicker: Clicker, shown: Answer, words: str, decision: str) -> Answer:
    """Presses the button of the reply with these words."""
    found = re.search(
        rf'<blockquote class="reply">{words}.*?name="place" value="(\w+)".*?name="reply" value="(\d+)"',
        shown.text,
        re.DOTALL,
    )
    assert found is not None
    return clicker.post(PAGE, {"place": found[1], "reply": found[2], "decision": decision})


def test_no_reply_yet(office: tuple[World, Clicker]) -> None:
    _, clicker = office
    shown = clicker.get(PAGE).plain
    assert "No reply has come in" in shown
    assert "unless replies come in by themselves" in shown


def look(clicker: Clicker) -> Answer:
    """Looks for new replies; returns the page that says what was found."""
    begun = clicker.post("/replies/look", {"name": clicker.get(PAGE).hidden("name")})
    return clicker.wait(begun.url, "New replies")


def test_new_replies_are_looked_for_in_mykaarma(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3)).send()
    other = (world.folder / "campaign.toml").read_text("utf-8").replace('name = "', 'name = "Other ')
    (world.folder / "other.toml").write_text(other, "utf-8")
    arrive(sandbox, "customer-0", "Please stop texting me")
    arrive(sandbox, "customer-1", "I'll stop by")
    with serving(world) as served:
        clicker = served.signed_in()
        found = look(clicker)
        assert "2 replies: 1 asks for no more texts, 1 is unclear and needs attention." in found.plain
        assert "3 of 3 conversations read." in found.plain
        assert "Please decide about 1 reply" in clicker.get(PAGE).plain
        assert [one.customer_uuid for one in entries(world.folder)] == ["customer-0"]
        assert "There are no new replies." in look(clicker).plain
        # The second click on one button finds the page of the first.
        name = found.url.rpartition("/")[2]
        assert clicker.post("/replies/look", {"name": name}).url == found.url
        assert "nothing was done" in clicker.post("/replies/look", {"name": "../x"}).plain
        assert clicker.get(f"{PAGE}/look/{name[::-1]}").status == 404
    assert len(sandbox.requests()) == 3


def test_a_campaign_that_cannot_be_asked_is_named(world: World) -> None:
    world.write(customers(1)).send()
    (world.folder / "broken.toml").write_text('list = "x.csv"\n', "utf-8")
    world.environment = {"MYKAARMA_PASSWORD": "wrong"}
    with serving(world) as served:
        found = look(served.signed_in())
    assert "0 of 1 conversation read." in found.plain
    assert "Not all could be read" in found.plain
    assert "broken: " in found.plain
    assert "communications.message.get" in found.plain


def test_a_look_before_anything_was_sent(office: tuple[World, Clicker]) -> None:
    _, clicker = office
    assert "No customer was texted in the last 30 days" in look(clicker).plain


def test_unclear_replies_come_first_and_an_opt_out_counts_everywhere(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    other = world.folder / "campaigns"
    opened(other).close()
    receive(world.folder, ("ann", "Thanks <3"), ("bob", "Please stop by"), ("eve", "STOP"))
    shown = clicker.get(PAGE)
    assert "opted out only in the place of the campaign that texted them" in shown.plain
    assert "Please decide about 1 reply" in shown.plain
    assert shown.plain.index("Please stop by") < shown.plain.index("Thanks <3")
    assert "Text 3" in shown.plain
    assert "asked for no more texts: opted out" in shown.plain
    done = decide(clicker, shown, "Please stop by", "OPT_OUT")
    assert "From now on, no campaign texts them" in done.plain
    assert "Please decide" not in done.plain
    assert f"opted out by {os_user()}" in done.plain
    for folder in (world.folder, other):
        reasons = {one.customer_uuid: one.reason for one in entries(folder)}
        assert reasons["bob"] == 'answered "Please stop by" to Spring, run 1, row 3'
    assert "has decided about this reply already" in decide(clicker, shown, "Please stop by", "LEAVE").plain


def test_an_unclear_reply_is_left(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    receive(world.folder, ("bob", "Can you cancel my appointment"))
    done = decide(clicker, clicker.get(PAGE), "Can you cancel", "LEAVE")
    assert "Nothing was changed" in done.plain
    assert "Please decide" not in done.plain
    assert entries(world.folder) == []


def test_start_offers_to_remove_the_opt_out_and_does_nothing_by_itself(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    receive(world.folder, ("bob", "STOP"))
    receive(world.folder, ("bob", "START"))
    shown = clicker.get(PAGE)
    assert "wants texts again" in shown.plain
    assert len(entries(world.folder)) == 1
    assert "Campaigns may text them again" in decide(clicker, shown, "START", "REMOVE").plain
    assert entries(world.folder) == []
    assert "the opt-out was removed" in clicker.get(PAGE).plain
    with closing(opened(world.folder)) as ledger:
        (entry,) = opt_outs_ever(ledger)
    # Without the words: this reason is not purged.
    assert re.fullmatch(
        r"asked for texts again by a reply to Spring, run \d, row 2", entry.removed_because or ""
    )


def test_a_decision_about_a_trial_counts_only_there(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    receive(world.folder, ("bob", "Please stop by"), base_url="http://127.0.0.1:8398")
    decide(clicker, clicker.get(PAGE), "Please stop by", "OPT_OUT")
    assert [one.base_url for one in entries(world.folder)] == ["http://127.0.0.1:8398"]


def test_forms_that_name_nothing_are_refused(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    receive(world.folder, ("bob", "Please stop by"))
    for fields in ({}, {"place": "x", "reply": "1", "decision": "LEAVE"}, {"place": "", "reply": "1"}):
        clicker.get(PAGE)
        assert "There is no such reply" in clicker.post(PAGE, fields).plain
    assert "Please decide about 1 reply" in clicker.get(PAGE).plain


def test_the_page_of_a_run_counts_its_replies(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    receive(world.folder, ("bob", "Please stop by"), ("eve", "STOP"), base_url=world.base_url)
    shown = clicker.get("/campaign/here/campaign/run/1").plain
    assert "2 replies: 1 asks for no more texts, 1 is unclear and needs attention." in shown


def test_the_history_of_a_customer_has_the_replies(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    receive(world.folder, ("bob", "Tuesday?"))
    assert "Tuesday?" in clicker.get("/history?customer=bob").plain
    # The reply came without its phone; the list had the one that was texted.
    assert "Tuesday?" in clicker.get("/history?q=%2B13125550002").plain
