"""Approval in a real browser: Ann asks at her desk, Dana approves on her phone, Ann's page says so, and she sends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import SIZES, browser
from playwright.sync_api import Browser, Page, expect
from web_client import Served, serving
from world import Sandbox, World, customers

from batchsend.web.auth.users import Users

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
PASSWORD = "four words are good"
expect.set_options(timeout=60_000)


@contextmanager
def screen(browser: Browser, size: str) -> Iterator[Page]:
    width, height = SIZES[size]
    # The pages' security policy would block axe.
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=size == "phone", bypass_csp=True
    )
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page
    finally:
        context.close()


def sign_in(page: Page, served: Served, address: str, name: str) -> None:
    """Opens an address as a person who has to sign in first."""
    page.goto(f"http://127.0.0.1:{served.port}{address}")
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def look_at(page: Page, name: str) -> None:
    """Checks that the page fits the screen and is accessible."""
    size = page.viewport_size
    assert size is not None
    if pictures := os.environ.get("BATCHSEND_PICTURES"):
        page.screenshot(path=Path(pictures) / f"web-{name}-{size['width']}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
    for details in page.query_selector_all("details"):
        details.evaluate("one => { one.open = true; }")
    checked = Axe().run(page)
    assert not checked.violations_count, f"{name}: {checked.generate_report()}"
    for details in page.query_selector_all("details"):
        details.evaluate("one => { one.open = false; }")


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
        desk.get_by_role("radio", name="All: ").check()
        desk.get_by_label("Type the number of texts").fill("12")
        desk.get_by_role("button", name="Send the texts").click()
        expect(desk.get_by_text("12 texts accepted by myKaarma")).to_be_visible()
        expect(desk.get_by_text("Approved by", exact=True)).to_be_visible()
    assert len(sandbox.requests()) == 12
