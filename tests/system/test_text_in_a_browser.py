"""The step "Text" in a real browser: what is typed is tried at once, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import browser, look_at, screen
from playwright.sync_api import Browser, Page, expect
from web_client import serving
from world import World, customers

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def write(page: Page) -> None:
    """Inserts a column at the cursor and says what a blank becomes, by clicks and keys alone."""
    text = page.get_by_label("message.txt.j2")
    expect(page.locator("#tried .bubble")).to_contain_text("Hi Name0")
    text.fill("Hi , your car waits.")
    text.evaluate("one => one.setSelectionRange(3, 3)")
    page.get_by_role("button", name="Nickname").click()
    expect(text).to_have_value("Hi ((Nickname)), your car waits.")
    expect(page.locator("#tried")).to_contain_text("This row would not be sent")
    choices = page.get_by_role("group", name="Nickname")
    choices.get_by_label("If it is blank").select_option("say")
    choices.get_by_label("say instead").fill("friend")
    expect(page.locator("#tried .bubble")).to_contain_text("Hi friend, your car waits.")


def test_a_text_is_written_without_knowing_templates(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "dealership"
    folder.mkdir()
    rows = [
        {**row, "Nickname": "" if number == 0 else "ZOË" * number} for number, row in enumerate(customers(9))
    ]
    world = World(folder).write(rows)
    with serving(world) as served, screen(browser, "phone") as page:
        page.goto(f"http://127.0.0.1:{served.port}{served.link}")
        page.goto(f"http://127.0.0.1:{served.port}/campaign/here/campaign/text")
        look_at(page, "text")
        write(page)
        look_at(page, "text-written")

        # A column that is moved keeps its choices, and typing goes on where it was.
        text = page.get_by_label("message.txt.j2")
        text.fill("Your car waits, ")
        expect(page.get_by_role("group", name="Nickname")).to_have_count(0)
        page.get_by_role("button", name="Nickname").click()
        page.keyboard.type("!")
        expect(page.locator("#tried .bubble")).to_contain_text("Your car waits, friend!")
        expect(text).to_be_focused()

        page.get_by_role("button", name="Longest text").click()
        expect(page.locator("#tried .to")).to_contain_text("Row 10")
        page.get_by_role("button", name="Strangest row").click()
        expect(page.locator("#tried .to")).to_contain_text("Row 2")
        page.get_by_role("button", name="Next row").click()
        expect(page.locator("#tried .to")).to_contain_text("Row 3")
        page.get_by_label("Find a customer").fill("name7")
        expect(page.locator("#tried .to")).to_contain_text("Row 9")

        text.press_sequentially("((Nick")
        expect(page.locator("#text-error")).to_contain_text("is not closed")
        look_at(page, "text-mistake")
        page.get_by_role("button", name="Save and continue").click()
        assert page.evaluate("document.activeElement.id") == "error-summary"
        expect(text).to_have_value("Your car waits, ((Nickname))!((Nick")
        expect(text).to_have_attribute("aria-invalid", "true")
        text.fill("Your car waits, ((Nickname))!")
        expect(text).not_to_have_attribute("aria-invalid", "true")

        page.get_by_role("button", name="Show the source").click()
        expect(text).to_have_value('Your car waits, {{ nickname | default("friend") }}!')
        look_at(page, "text-source")
        page.get_by_role("button", name="Save and continue").click()
        expect(page.get_by_text("message.txt.j2 is saved.")).to_be_visible()
    saved = (folder / "message.txt.j2").read_text(encoding="utf-8")
    assert saved == 'Your car waits, {{ nickname | default("friend") }}!'
