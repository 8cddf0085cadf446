"""The console by keyboard alone: from a new campaign to its results, with Tab, Enter, Space and the arrow keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import PATIENCE, browser, screen
from playwright.sync_api import Browser, Locator, Page, expect
from web_client import serving
from world import Sandbox, World, customers

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DEPARTMENT, USER = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e", "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
#: More elements than any page has that can be reached with Tab.
MOST = 120
#: What is wrong with the focus; "" if a person can see where it is.
UNSEEN = """() => {
  const one = document.activeElement;
  const name = one.outerHTML.slice(0, 120);
  if (one === document.body || one === document.documentElement) return "";
  const look = getComputedStyle(one), place = one.getBoundingClientRect();
  const marked = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0;
  if (!marked && look.boxShadow === "none") return `no mark on ${name}`;
  const inside = place.bottom > 0 && place.top < innerHeight && place.right > 0 && place.left < innerWidth;
  return inside && place.width && place.height ? "" : `outside the screen: ${name}`;
}"""


def skip_to_content(page: Page) -> None:
    """Follows the first link of a page, past the menu. A page that says what was saved begins there."""
    page.wait_for_load_state("load")
    if notice := page.locator("[data-notice]").all():
        expect(notice[0]).to_be_focused()
        return
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    assert page.evaluate(UNSEEN) == ""
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    jumping = page.evaluate(
        "[...document.querySelectorAll('[tabindex]')].filter(one => one.tabIndex > 0).length"
    )
    assert jumping == 0, "the order is that of the page"


def tab_to(page: Page, target: Locator) -> None:
    """Presses Tab until the target has the focus, which has to be visible all the way."""
    expect(target).to_be_visible()
    for _ in range(MOST):
        page.keyboard.press("Tab")
        page.wait_for_function(f"({UNSEEN})() === ''", timeout=PATIENCE)
        if target.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"{target} cannot be reached")


def press(page: Page, name: str, *, role: str = "button") -> None:
    """Goes to a button or a link and presses Enter."""
    tab_to(page, page.locator("main").get_by_role(role, name=name, exact=True).first)  # type: ignore[arg-type]
    page.keyboard.press("Enter")


def write(page: Page, label: str, text: str) -> None:
    tab_to(page, page.get_by_label(label, exact=True))
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def expect_page(page: Page, heading: str) -> None:
    expect(page.get_by_role("heading", level=1, name=heading)).to_be_visible()


def choose_list(page: Page, file: Path) -> None:
    expect_page(page, "Who gets the text?")
    expect(page.locator("#step-bar[hx-get]")).to_have_count(0)
    skip_to_content(page)
    tab_to(page, page.get_by_label("A new list"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(file)
    press(page, "Use this list")
    expect(page.get_by_text("is now the campaign's list")).to_be_visible()
    press(page, "Continue", role="link")


def choose_columns(page: Page) -> None:
    """Chooses the customer's column with the arrow keys; Alt keeps the menu closed."""
    expect_page(page, "What is in the columns?")
    skip_to_content(page)
    customer = page.get_by_label("The customer’s id in myKaarma")
    tab_to(page, customer)
    page.keyboard.type("Customer UUID")
    expect(customer).to_have_value("Customer UUID")
    press(page, "Save and continue")


def write_text(page: Page) -> None:
    expect_page(page, "What does the text say?")
    skip_to_content(page)
    tab_to(page, page.locator("#text"))
    page.keyboard.press("Control+a")
    page.keyboard.type("Hi ")
    press(page, "First Name")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type(", it is time for your service.")
    expect(page.locator("#tried .bubble").first).to_contain_text("Hi Name0, it is time for your service.")
    press(page, "Save and continue")


def name_sender(page: Page) -> None:
    expect_page(page, "Who sends it?")
    skip_to_content(page)
    write(page, "Department id", DEPARTMENT)
    write(page, "User id", USER)
    press(page, "Save and continue")


def allow_any_hour(page: Page) -> None:
    """Tab goes to the choice that is made, and the arrow keys choose another one."""
    expect_page(page, "When may it go out?")
    skip_to_content(page)
    hours = page.locator("input[name='sending.quiet_hours']")
    tab_to(page, page.locator("input[name='sending.quiet_hours']:checked"))
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("None: texts go out at any hour")).to_be_checked()
    expect(hours.last).to_be_focused()
    press(page, "Save and continue")


def send(page: Page) -> None:
    tab_to(page, page.locator("input[name=choice]").first)
    page.keyboard.press("Space")
    write(page, "Type the number of texts", "3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="This run is over")).to_be_visible()


def test_from_a_new_campaign_to_its_results(
    browser: Browser, world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write_list([{**row, "OK to Text": "Y"} for row in customers(3)], "customers.csv")
    (world.folder / "customers.csv").rename(tmp_path / "customers.csv")
    with serving(world) as served, screen(browser, "desktop") as page:
        page.goto(f"http://127.0.0.1:{served.port}{served.link}")
        skip_to_content(page)
        write(page, "Name", "May")
        page.keyboard.press("Enter")
        expect_page(page, "May")
        skip_to_content(page)
        press(page, "List", role="link")
        choose_list(page, tmp_path / "customers.csv")
        choose_columns(page)
        write_text(page)
        name_sender(page)
        allow_any_hour(page)
        press(page, "Review and send 3 texts", role="link")
        expect_page(page, "Send 3 texts?")
        assert sandbox.requests() == []
        send(page)
        with page.expect_download() as download:
            press(page, "Download the workbook", role="link")
        assert download.value.suggested_filename.endswith(".xlsx")
    assert sum(sandbox.texts().values()) == 3
