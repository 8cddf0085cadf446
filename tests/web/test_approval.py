"""Approval in the web console: asked for on the check page, given by another user, and then sent."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from web_client import Answer, Clicker, Served, serving
from world import Sandbox, World, customers

from batchsend.web.auth.users import Users

pytestmark = pytest.mark.system

SPRING = "/campaign/here/campaign"
GUARD = "[guards]\napproval = true\n"
PASSWORD = "four words are good"


def at_desk(served: Served, name: str) -> Clicker:
    """A browser in which this user has signed in."""
    clicker = served.clicker()
    body = f"name={name}&password={PASSWORD.replace(' ', '+')}".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert clicker.raw("POST", "/login", body, form).status == 303
    clicker.get("/")
    return clicker


@pytest.fixture
def office(world: World, sandbox: Sandbox) -> Iterator[Served]:
    """A console for ann, dana and eva."""
    world.write(customers(12), campaign=GUARD)
    users = Users(world.folder / ".batchsend" / "web-users.json")
    users_folder = world.folder / ".batchsend"
    users_folder.mkdir()
    for name in ("ann", "dana", "eva"):
        users.put(name, PASSWORD)
    with serving(world, "--name", "texts.example") as served:
        yield served


def ask(ann: Clicker) -> tuple[str, Answer]:
    """Asks for the approval of the campaign; returns the check's address and the page of the request."""
    address, checked = ann.check(SPRING)
    assert "12 texts must be approved first" in checked.plain
    assert "Type the number of texts" not in checked.plain
    asked = ann.post(f"{address}/approval")
    assert "Waiting for approval" in asked.plain
    return address, asked


def link_on(page: Answer) -> str:
    found = re.search(r'id="link" value="http://[^/"]+(/[^"]+)"', page.text)
    assert found is not None, page.plain
    return found[1]


def opened(clicker: Clicker, link: str) -> Answer:
    return clicker.wait(link, "See all texts")


def approve(clicker: Clicker, link: str) -> Answer:
    page = opened(clicker, link)
    return clicker.post(f"{link.partition('?')[0]}/approve", {"check": page.hidden("check")})


def test_ann_asks_dana_approves_and_ann_sends(office: Served, world: World, sandbox: Sandbox) -> None:
    ann, dana = at_desk(office, "ann"), at_desk(office, "dana")
    address, asked = ask(ann)
    link = link_on(asked)
    number = link.partition("?")[0]
    # She can neither send nor approve, by whatever request.
    assert "another person must approve these texts" in ann.post(f"{address}/send", {"number": "12"}).plain
    assert "You (ann) asked for this approval" in approve(ann, link).plain
    assert not sandbox.requests()

    page = opened(dana, link)
    assert "Approve 12 texts?" in page.plain
    assert "Agreed to texts" in page.plain
    assert "When No quiet hours are set: texts may go out at any hour of the day or night." in page.plain
    assert "Asked by ann," in page.plain
    assert "Hi Name0, it is time for your service." in page.plain
    assert "Hi Name2, it is time for your service." in page.plain
    assert "Hi Name3" not in page.plain
    assert dana.raw("GET", f"{number}/progress?state=asked").status == 204
    approved = approve(dana, link)
    assert "Approved by dana," in approved.plain
    assert ann.raw("GET", f"{number}/progress?state=asked").headers["HX-Refresh"] == "true"

    checked = dana.get(address)
    assert "dana approved these texts" in checked.plain
    assert "Send 12 texts?" not in checked.plain
    assert "Review and send" in ann.get(link).plain
    assert "Approved by dana," in ann.get(address).plain
    assert "Approved by dana," in ann.get(f"{address}/send").plain
    assert ann.submit(f"{address}/send", {"choice": "all", "number": "12"}).status == 303
    ann.wait_for_run(address)
    assert "Approved by dana," in ann.wait_for_end(f"{SPRING}/run/1").plain
    assert len(sandbox.requests()) == 12
    assert "approved by dana on" in world.run("runs").out
    assert "See run 1" in ann.get(link).plain


def test_a_request_follows_its_campaign_to_a_new_name(office: Served, world: World, sandbox: Sandbox) -> None:
    ann, dana = at_desk(office, "ann"), at_desk(office, "dana")
    _, asked = ask(ann)
    # Before and after the answer.
    ann.post(f"{SPRING}/rename", {"name": "Summer"})
    assert "Approved by dana," in approve(dana, link_on(asked)).plain
    ann.post(f"{SPRING}/rename", {"name": "Fall"})
    address, checked = ann.check(SPRING)
    assert "Approved by dana," in checked.plain
    assert ann.submit(f"{address}/send", {"choice": "all", "number": "12"}).status == 303
    ann.wait_for_run(address)
    ann.wait_for_end(f"{SPRING}/run/1")
    assert len(sandbox.requests()) == 12
    # A campaign that takes the old name has no approval.
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    (world.folder / "again.toml").write_text(text.replace('"Fall"', '"Spring"'), encoding="utf-8")
    _, other = ann.check("/campaign/here/again")
    assert "12 texts must be approved first" in other.plain


def test_the_text_is_changed_between_approval_and_send(
    office: Served, world: World, sandbox: Sandbox
) -> None:
    ann, dana = at_desk(office, "ann"), at_desk(office, "dana")
    address, asked = ask(ann)
    approve(dana, link_on(asked))
    world.write(campaign=GUARD, template="Hi {{ first_name }}, it is time for your service!")
    assert ann.submit(f"{address}/send", {"choice": "all", "number": "12"}).status == 303
    assert "The text was changed." in ann.wait_for_run(address).plain
    _, checked = ann.check(SPRING)
    assert "dana approved 12 texts" in checked.plain
    assert "a text, a recipient, the sender or a setting is different now" in checked.plain
    assert not sandbox.requests()


def test_a_request_whose_texts_are_different_now_cannot_be_approved(office: Served, world: World) -> None:
    ann, dana = at_desk(office, "ann"), at_desk(office, "dana")
    _, asked = ask(ann)
    number = link_on(asked).partition("?")[0]
    world.write(campaign=GUARD, template="Hi {{ first_name }}, it is time for your service!")
    page = dana.wait(number, "cannot be approved or sent as it is")
    assert "Approve 12 texts" not in re.sub(r"<h1>.*</h1>", "", page.text)
    check, _ = dana.check(SPRING)
    refused = dana.post(f"{number}/approve", {"check": check.rpartition("/")[2]})
    assert "The texts have changed since they were shown. Nothing was approved." in refused.plain


def test_a_refusal_is_shown_with_its_reason(office: Served, world: World, sandbox: Sandbox) -> None:
    ann, dana, eva = (at_desk(office, name) for name in ("ann", "dana", "eva"))
    address, asked = ask(ann)
    link = link_on(asked)
    number = link.partition("?")[0]
    opened(dana, link)
    assert "Say why you refuse it" in dana.post(f"{number}/refuse", {"reason": " "}).plain
    assert "Refused. It is not sent." in dana.post(f"{number}/refuse", {"reason": "wrong <month>"}).plain
    assert "dana refused these texts" in ann.get(address).plain
    assert "wrong <month>" in ann.get(link).plain
    assert "Only dana can approve it now." in approve_after_all(eva, link, world).plain
    assert "Approved by dana," in approve(dana, link).plain
    assert not sandbox.requests()


def approve_after_all(clicker: Clicker, link: str, world: World) -> Answer:
    """Sends the form that the page does not show to this user."""
    check = opened(clicker, link).url.partition("check=")[2]
    return clicker.post(f"{link.partition('?')[0]}/approve", {"check": check})


def test_who_asked_can_withdraw_the_request_and_ask_again(office: Served, sandbox: Sandbox) -> None:
    ann, dana = at_desk(office, "ann"), at_desk(office, "dana")
    address, asked = ask(ann)
    number = link_on(asked).partition("?")[0]
    withdrawn = ann.post(f"{number}/refuse")
    assert "Withdrawn." in withdrawn.plain
    assert "No longer asked for" in withdrawn.plain
    assert "No longer asked for" in dana.get(number).plain
    forced = dana.post(f"{number}/approve", {"check": address.rpartition("/")[2]})
    assert "Nothing was approved." in forced.plain
    assert "Waiting for approval" not in dana.get("/").plain
    assert "Ask for approval" in ann.get(address).plain
    again = ann.post(f"{address}/approval")
    assert "Approved by dana," in approve(dana, link_on(again)).plain


def test_what_the_command_line_asked_for_is_approved_in_the_console(
    office: Served, world: World, sandbox: Sandbox
) -> None:
    world.environment["LOGNAME"] = "texts"
    assert world.send().code == 2
    dana = at_desk(office, "dana")
    assert "Waiting for approval texts asked for 12 texts" in dana.get("/").plain
    page = dana.get(SPRING)
    assert "texts asked for the approval of 12 texts" in page.plain
    found = re.search(rf'href="({SPRING}/approval/\d+)"', page.text)
    assert found is not None
    assert "Approved by dana," in approve(dana, found[1]).plain
    assert world.send().code == 0
    assert len(sandbox.requests()) == 12


def test_a_console_with_a_link_says_that_approval_needs_named_users(world: World, sandbox: Sandbox) -> None:
    world.environment["LOGNAME"] = "ann"
    world.write(customers(12), campaign=GUARD)
    with serving(world) as served:
        ann = served.signed_in()
        _, checked = ann.check(SPRING)
        assert "Approval needs named users" in checked.plain
        _, asked = ask(ann)
        number = link_on(asked).partition("?")[0]
    world.environment["LOGNAME"] = "dana"
    with serving(world) as served:
        dana = served.signed_in()
        page = dana.wait(number, "Approval needs named users")
        assert "/approve" not in page.text
        check, _ = dana.check(SPRING)
        for action in ("approve", "refuse"):
            answered = dana.post(f"{number}/{action}", {"check": check.rpartition("/")[2], "reason": "no"})
            assert answered.url == number
            assert "Sign in with your own name. The person who looks after" in answered.plain
    assert not sandbox.requests()


def test_strangers_and_forged_forms_approve_nothing(office: Served, sandbox: Sandbox) -> None:
    ann, dana = at_desk(office, "ann"), at_desk(office, "dana")
    _, asked = ask(ann)
    link = link_on(asked)
    number = link.partition("?")[0]
    check = opened(dana, link).hidden("check")
    stranger = office.clicker()
    assert stranger.get(link).status == 401
    assert dana.submit(f"{number}/approve", {"check": check}, token="wrong").status == 403
    assert dana.raw("GET", f"{number}/approve").headers["Location"] == number
    assert dana.get(f"{SPRING}/approval/99").status == 404
    assert "This check is no longer kept" in dana.post(f"{number}/approve", {"check": "x" * 24}).plain
    assert "Approve 12 texts?" in dana.get(link).plain
