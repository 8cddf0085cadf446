"""Approval in a real browser: Ann asks at her desk, Dana approves on her phone, Ann's page says so, and she sends."""

from __future__ import annotations

import pytest
from browsing import browser, look_at, screen
from playwright.sync_api import Browser, Page, expect
from web_client import Served, serving
from world import Sandbox, World, customers

from batchsend.web.auth.users import Users

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
PASSWORD = "four words are good"


def sign_in(page: Page, served: Served, address: str, name: str) -> None:
    """Opens an address as a person who has to sign in first."""
    page.goto(f"http://127.0.0.1:{served.port}{address}")
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_three_taps_on_a_phone(browser: Browser, world: World, sandbox: Sandbox) -> None:
    world.write(customers(12), campaign="[guards]\napproval = true\n")
    (world.folder / ".batchsend").mkdir()
    users = Users(world.folder / ".batchsend" / "web-users.json")
    for name in ("ann", "dana"):
        users.put(name, PASSWORD)
    with (
        serving(world, "--name", "texts.example") as served,
        screen(browser, "desktop") as desk,
        screen(browser, "phone") as phone,
    ):
        sign_in(desk, served, "/campaign/here/campaign/send", "ann")
        expect(desk.get_by_role("heading", name="12 texts must be approved first")).to_be_visible()
        look_at(desk, "approval-needed")
        desk.get_by_role("button", name="Ask for approval").click()
        expect(desk.get_by_role("heading", name="Waiting for approval")).to_be_visible()
        look_at(desk, "approval-waiting")
        link = desk.get_by_label("Link").input_value()

        # Dana taps the link and signs in.
        sign_in(phone, served, link.partition(str(served.port))[2], "dana")
        expect(phone.get_by_role("heading", name="Approve 12 texts?")).to_be_visible()
        expect(phone.get_by_text("Hi Name0, it is time for your service.")).to_be_visible()
        look_at(phone, "approval-asked")
        phone.get_by_role("link", name="See all texts").tap()
        expect(phone.get_by_text("ann asked for the approval of these texts")).to_be_visible()
        phone.get_by_role("link", name="See the request").tap()
        assert not sandbox.requests()
        phone.get_by_role("button", name="Approve 12 texts").tap()
        expect(phone.get_by_role("heading", name="Approved", exact=True)).to_be_visible()
        look_at(phone, "approval-given")

        # Ann's page has changed by itself.
        desk.get_by_role("link", name="Review and send").click()
        expect(desk.get_by_role("heading", name="Send 12 texts?")).to_be_visible()
        desk.get_by_role("radio", name="All: ").check()
        desk.get_by_label("Type the number of texts").fill("12")
        desk.get_by_role("button", name="Send the texts").click()
        expect(desk.get_by_text("12 texts accepted by myKaarma", exact=True)).to_be_visible()
        expect(desk.get_by_text("Approved by", exact=True)).to_be_visible()
    assert len(sandbox.requests()) == 12
