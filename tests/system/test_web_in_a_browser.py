"""`batchsend web` in a real browser: from an empty folder to results by clicks alone, and attacks.

With `BATCHSEND_PICTURES=FOLDER` set, a picture of each page is saved there.
"""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import PATIENCE, SIZES, browser
from openpyxl import load_workbook
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect
from web_client import Served, serving
from world import Sandbox, World, customers, running_sandbox

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DEPARTMENT, USER = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e", "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
CUSTOMERS = [f"customer-{number}" for number in range(30)]


@dataclass
class Tab:
    """A tab of a browser that is signed in. `errors`: its console's; `foreign`: requests to other servers."""

    page: Page
    context: BrowserContext
    served: Served
    errors: list[str]
    foreign: list[str]

    def go(self, path: str) -> Page:
        self.page.goto(f"http://127.0.0.1:{self.served.port}{path}")
        return self.page


@contextmanager
def tab_of(
    browser: Browser,
    served: Served,
    size: str = "desktop",
    scheme: Any = "light",
    *,
    link: str = "",
    **more: Any,
) -> Iterator[Tab]:
    """Opens a new browser that signs in by a link."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        tab = Tab(page, context, served, [], [])
        page.on(
            "console", lambda message: tab.errors.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: tab.errors.append(str(error)))
        origin = f"http://127.0.0.1:{served.port}/"
        page.on(
            "request",
            lambda request: None if request.url.startswith(origin) else tab.foreign.append(request.url),
        )
        tab.go(link or served.link)
        yield tab
    finally:
        context.close()


def write_rows(path: Path, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([headers, *rows])
    return path


def empty_folder(tmp_path: Path, base_url: str) -> World:
    folder = tmp_path / "dealership"
    folder.mkdir()
    return World(folder, base_url)


def confirm(page: Page, texts: int) -> None:
    """Confirms the number of texts of a check."""
    page.get_by_role("link", name=f"Review and send {texts} texts").first.click()
    expect(page.get_by_role("heading", name=f"Send {texts} texts?")).to_be_visible()
    page.get_by_role("radio", name="All: ").check()
    page.get_by_label("Type the number of texts").fill(str(texts))
    page.get_by_role("button", name="Send the texts").click()


def edit(page: Page, selector: str, change: Any) -> None:
    """Changes the text of an editor, as a user does who types."""
    text = page.locator(selector).input_value()
    page.locator(selector).fill(change(text))


def write_lists(folder: Path) -> tuple[Path, Path]:
    """Writes a list with a broken phone in its last row, and the corrected list."""
    headers = ["Account", "First Name", "Model", "Mobile", "OK to Text"]
    good = [[f"customer-{n}", f"NAME{n}", "Civic", f"(312) 500-{n:04}", "Y"] for n in range(29)]
    last = ["customer-29", "X", "Fit", "(312) 500-0029", "Y"]
    broken = write_rows(folder / "may.csv", headers, [*good, [*last[:3], "555-0142", "Y"]])
    return broken, write_rows(folder / "may-fixed.csv", headers, [*good, last])


def use_list(page: Page, path: Path) -> None:
    page.get_by_label("A new list").set_input_files(path)
    page.get_by_role("button", name="Use this list").click()


def expect_step(page: Page, question: str) -> None:
    """Expects the page of a step, and that the bar marks it."""
    expect(page.get_by_role("heading", level=1, name=question)).to_be_visible()
    expect(page.locator('.step-bar [aria-current="step"]')).to_have_count(1)


def create_campaign(page: Page, unreadable: Path, broken: Path) -> None:
    """Creates the campaign and gives it a list and columns."""
    expect(page.get_by_role("heading", name="No campaigns yet")).to_be_visible()
    page.get_by_label("Name").fill("May service")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1, name="May service")).to_be_visible()
    page.get_by_role("link", name="List", exact=True).click()
    expect_step(page, "Who gets the text?")

    # An unreadable list is refused, and the campaign keeps its previous list.
    use_list(page, unreadable)
    expect(page.get_by_role("alert").first).to_contain_text("photo.xlsx")
    expect(page.get_by_role("alert").first).to_contain_text("still uses its previous list")
    expect(page).to_have_title(re.compile("^Error: "))
    assert page.evaluate("document.activeElement.id") == "error-summary"

    use_list(page, broken)
    expect(page.get_by_text("may.csv is now the campaign's list")).to_be_visible()
    page.get_by_role("link", name="Continue").click()
    expect_step(page, "What is in the columns?")
    expect(page.locator("#step-bar .problem")).to_contain_text("Customer ID")
    page.get_by_label("The customer’s id in myKaarma").select_option("Account")
    page.get_by_role("button", name="Save and continue").click()
    expect(page.get_by_text("The columns are saved")).to_be_visible()


def write_text(page: Page) -> None:
    """Edits the text; every change is tried on a row before it is saved."""
    expect_step(page, "What does the text say?")
    expect(page.locator("#tried .bubble")).to_contain_text("Hi Name0")
    edit(page, "#text", lambda _: "Hi ((Frist Name))")
    expect(page.locator("#text-error")).to_contain_text("Did you mean ((First Name))?")
    edit(page, "#text", lambda _: "Hi ")
    page.get_by_role("button", name="First Name").click()
    page.keyboard.type(", your ")
    page.get_by_role("button", name="Model").click()
    page.keyboard.type(" waits 🙂 call us")
    page.get_by_role("group", name="First Name").get_by_label("Format").select_option("name_case")
    expect(page.locator("#tried .bubble")).to_contain_text("Hi Name0, your Civic waits")
    expect(page.locator("#tried .cost")).to_contain_text("of 70 characters")
    edit(page, "#text", lambda text: text.replace("🙂", "-"))
    expect(page.locator("#tried .cost")).to_contain_text("1 segment: 57 of 160 characters")
    page.get_by_role("button", name="Next row").click()
    expect(page.locator("#tried .bubble")).to_contain_text("Hi Name1")
    page.get_by_label("Find a customer").fill("0017")
    expect(page.locator("#tried .bubble")).to_contain_text("Hi Name17")
    page.get_by_role("button", name="Save and continue").click()
    expect(page.get_by_text("May service.txt.j2 is saved")).to_be_visible()


def choose_sender_and_hours(page: Page) -> None:
    """A wrong rate is shown next to its field, and what was typed is kept."""
    expect_step(page, "Who sends it?")
    page.get_by_label("Department id").fill(DEPARTMENT)
    page.get_by_label("User id").fill(USER)
    page.get_by_role("button", name="Save and continue").click()
    expect(page.get_by_text("The sender is saved")).to_be_visible()
    expect_step(page, "When may it go out?")
    # Quiet hours would make this test depend on the time of day.
    page.get_by_label("None: texts go out at any hour").check()
    page.get_by_label("Texts a second").fill("fast")
    page.get_by_role("button", name="Save and continue").click()
    expect(page.locator("#sending-rate-error")).to_contain_text("a number")
    expect(page.get_by_label("Texts a second")).to_have_value("fast")
    expect(page.get_by_label("None: texts go out at any hour")).to_be_checked()
    page.get_by_label("Texts a second").fill("10")
    page.get_by_role("button", name="Save and continue").click()


def edit_campaign_file(page: Page) -> None:
    """Makes a mistake, which is shown while it is typed, and corrects it."""
    page.get_by_role("link", name="May service").first.click()
    page.get_by_role("link", name="Advanced: the campaign file").click()
    edit(page, "#text", lambda text: text.replace("rate = 10 ", 'rate = "fast" '))
    expect(page.locator("#file-problems .problem")).to_contain_text("rate")
    edit(page, "#text", lambda text: re.sub(r"\"fast\"", "", text).replace("rate = ", "rate = 10"))
    expect(page.locator("#file-problems .problem")).to_have_count(0)
    page.get_by_role("button", name="Save the campaign file").click()
    expect(page.get_by_text("May service.toml is saved")).to_be_visible()


def check_and_fix_the_list(page: Page, fixed: Path) -> None:
    """The check finds the broken row; the corrected list has none."""
    page.get_by_role("link", name="Back to the campaign").click()
    expect(page.get_by_text("1 row cannot be sent as it is")).to_be_visible()
    page.locator("#overview").get_by_role("link", name="Check and send").click()
    expect(page.get_by_role("heading", name="29 texts ready to send", exact=True)).to_be_visible()
    expect(page.locator("main")).to_contain_text("INVALID_PHONE")
    page.locator("#step-list").click()
    use_list(page, fixed)
    expect(page.get_by_text("may-fixed.csv is now the campaign's list")).to_be_visible()
    page.locator("#step-check").click()
    expect(page.get_by_role("heading", name="30 texts ready to send", exact=True)).to_be_visible()


def send_once(page: Page, sandbox: Sandbox) -> None:
    """A wrong number sends nothing. The right number sends once, in spite of a double click and the back button."""
    page.get_by_role("link", name="Review and send 30 texts").first.click()
    page.get_by_role("radio", name="All: ").check()
    page.get_by_label("Type the number of texts").fill("29")
    page.get_by_role("button", name="Send the texts").click()
    expect(page.locator("#number-error")).to_contain_text("Nothing was sent: you typed")
    assert page.evaluate("document.activeElement.id") == "error-summary"
    page.reload()
    expect(page.locator("#number-error")).to_contain_text("To send, type 30")
    expect(page.get_by_role("radio", name="All: ")).to_be_checked()
    assert sandbox.requests() == []
    page.get_by_label("Type the number of texts").fill("30")
    page.get_by_role("button", name="Send the texts").dblclick()
    expect(page.get_by_role("heading", name="Run 1")).to_be_visible()
    expect(page.get_by_role("heading", name="This run is over")).to_be_visible()
    assert sandbox.texts() == dict.fromkeys(CUSTOMERS, 1)

    page.go_back()
    page.reload()
    if page.get_by_role("button", name="Send the texts").count():
        page.get_by_role("button", name="Send the texts").click()
    expect(page.locator("body")).to_contain_text(re.compile("already used|This run is over"))
    assert sandbox.texts() == dict.fromkeys(CUSTOMERS, 1)


def look_at_the_results(page: Page, workbook: Path) -> None:
    """Downloads the workbook, finds a row, and looks a customer up."""
    page.get_by_role("link", name="Run 1").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the workbook").click()
    download.value.save_as(workbook)
    book = load_workbook(workbook, read_only=True)
    assert book["Results"].max_row == 31
    book.close()
    page.get_by_label("Find").fill("customer-17")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.get_by_role("link", name="History").click()
    page.get_by_label("Phone, name, or customer id").fill("312 500 0017")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator("main")).to_contain_text("Hi Name17, your Civic waits")


def test_from_an_empty_folder_to_a_sent_campaign_only_by_clicking(browser: Browser, tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        world = empty_folder(tmp_path, sandbox.base_url)
        broken, fixed = write_lists(tmp_path)
        unreadable = tmp_path / "photo.xlsx"
        unreadable.write_bytes(b"\x89PNG not a list")
        with serving(world) as served, tab_of(browser, served, accept_downloads=True) as tab:
            create_campaign(tab.page, unreadable, broken)
            write_text(tab.page)
            choose_sender_and_hours(tab.page)
            edit_campaign_file(tab.page)
            check_and_fix_the_list(tab.page, fixed)
            assert sandbox.requests() == []
            send_once(tab.page, sandbox)
            tab.go("/")
            look_at_the_results(tab.page, tmp_path / "downloaded.xlsx")
            assert tab.foreign == []
            # The browser logs every response that is an error.
            assert tab.errors == []
        assert "30 accepted by myKaarma" in world.run("runs").out


def test_a_run_is_paused_and_continued_after_the_server_was_killed(browser: Browser, tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--latency", "0.02") as sandbox:
        world = empty_folder(tmp_path, sandbox.base_url)
        world.write(customers(150), campaign="\n[sending]\nrate = 10\n")
        with serving(world) as served, tab_of(browser, served) as tab:
            page = tab.page
            page.get_by_role("link", name="Spring").click()
            page.get_by_role("link", name="Check and send").click()
            confirm(page, 150)
            expect(page.locator("#progress .headline")).to_contain_text(
                re.compile(r"[1-9]\d* of 150 texts tried")
            )
            page.get_by_role("button", name="Pause").click()
            expect(page.get_by_role("button", name="Continue")).to_be_visible()
            sent = len(sandbox.requests())
            assert 0 < sent < 150
            served.kill()
        with serving(world) as served, tab_of(browser, served) as tab:
            page = tab.page
            expect(page.locator("main")).to_contain_text(f"{150 - sent} waiting")
            page.get_by_role("link", name="Run 1").click()
            page.get_by_role("button", name="Continue").click()
            confirm(page, 150 - sent)
            expect(page.get_by_role("heading", name="This run is over")).to_be_visible()
        assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(150)), 1)


def test_changes_that_are_not_saved_are_not_lost_without_a_question(browser: Browser, tmp_path: Path) -> None:
    world = empty_folder(tmp_path, "http://127.0.0.1:9").write(customers(3))
    with serving(world) as served, tab_of(browser, served) as tab:
        page = tab.go("/campaign/here/campaign/columns")
        asked: list[str] = []

        def answer(dialog: Dialog) -> None:
            asked.append(dialog.type)
            if len(asked) == 1:
                dialog.dismiss()
            else:
                dialog.accept()

        page.on("dialog", answer)
        page.get_by_label("The column that says it").select_option("First Name")
        expect(page.locator("[data-samples-of=consent]")).to_contain_text("Name0")
        page.get_by_role("link", name="Campaigns").first.click(no_wait_after=True)
        # The user stays, and the choice is still there.
        expect(page.get_by_label("The column that says it")).to_have_value("First Name")
        assert asked == ["beforeunload"]
        page.get_by_role("button", name="Save and continue").click()
        expect_step(page, "What does the text say?")
        assert asked == ["beforeunload"], "saving asks nothing"
        assert "First Name" in (world.folder / "campaign.toml").read_text(encoding="utf-8")
        edit(page, "#text", lambda text: f"{text} Bye")
        page.get_by_role("link", name="Back").click()
        expect_step(page, "What is in the columns?")
        assert asked == ["beforeunload"] * 2


def test_a_wrong_link_and_other_websites_can_do_nothing(browser: Browser, tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        world = empty_folder(tmp_path, sandbox.base_url).write(customers(3))
        with serving(world) as served:
            with tab_of(browser, served, link="/enter?token=guessed") as tab:
                expect(tab.page.get_by_role("alert")).to_contain_text("This link does not work")
                tab.go("/campaign/here/campaign")
                expect(tab.page.get_by_role("heading", name="Sign in")).to_be_visible()
            with tab_of(browser, served) as tab:
                link = served.link
                with tab_of(browser, served, link=link) as second:
                    expect(second.page.get_by_role("alert")).to_contain_text("works once")
                # Another website in the same browser posts to the console, by a script and by a form.
                address = f"http://127.0.0.1:{served.port}/campaign/here/campaign/check"
                evil = tab.context.new_page()
                evil.route(
                    "http://evil.example/",
                    lambda route: route.fulfill(
                        content_type="text/html",
                        body=f'<form method="post" action="{address}"><button>Win</button></form>',
                    ),
                )
                evil.goto("http://evil.example/")
                outcome = evil.evaluate(
                    "address => fetch(address, {method: 'POST', credentials: 'include'})"
                    ".then(() => 'read', () => 'refused')",
                    address,
                )
                assert outcome == "refused"
                with evil.expect_response(address) as refused:
                    evil.get_by_role("button", name="Win").click()
                assert refused.value.status in (401, 403)
                assert not list((world.folder / "previews").glob("*"))
                tab.go("/campaign/here/campaign")
                expect(tab.page.get_by_role("link", name="Check and send")).to_be_visible()
        assert sandbox.requests() == []


def long_list(folder: Path) -> tuple[World, Path]:
    """Writes a campaign with a list that takes seconds to be read, and another one that takes seconds to be sent."""
    folder.mkdir()
    world = World(folder).write(customers(3))
    rows = [
        [f"customer-{number}", "ANN", f"(312) {200 + number // 10000}-{number % 10000:04}"]
        for number in range(400_000)
    ]
    write_rows(folder / "customers.csv", ["Customer UUID", "First Name", "Phone"], rows)
    return world, write_rows(
        folder.parent / "may.csv", ["Customer UUID", "First Name", "Phone"], rows[:50_000]
    )


def check_waiting(page: Page, name: str) -> None:
    """Looks at a page that waits: its percentage, its accessibility, its picture."""
    bar = page.get_by_role("progressbar", name=re.compile(r": \d+%"))
    expect(bar).to_be_visible()
    save_picture(page, name)
    checked = Axe().run(page)
    assert checked.violations_count == 0, checked.generate_report()


def save_picture(page: Page, name: str) -> None:
    folder = os.environ.get("BATCHSEND_PICTURES")
    if folder is not None:
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_reading_and_checking_a_long_list_show_a_percentage_and_can_be_canceled(
    browser: Browser, tmp_path: Path
) -> None:
    world, _ = long_list(tmp_path / "dealership")
    with serving(world) as served, tab_of(browser, served) as tab:
        campaign = "/campaign/here/campaign"
        page = tab.go(campaign)
        page.get_by_role("link", name="List").first.click()
        expect(page.locator("label[for=bar]")).to_contain_text("Reading the list")
        check_waiting(page, "waiting-list")
        page.get_by_role("button", name="Cancel").click()
        expect(page).to_have_url(re.compile(f"{campaign}$"))

        page = tab.go(f"{campaign}/list")
        expect(page.get_by_role("heading", name="The list was not read")).to_be_visible()
        page.get_by_role("button", name="Read the list").click()
        # Without a reload by the user.
        expect(page.get_by_text("400,000 rows").first).to_be_visible()

        page = tab.go(f"{campaign}/check")
        expect(page.get_by_role("heading", name="Checking the campaign")).to_be_visible()
        check_waiting(page, "waiting-check")
        page.get_by_role("button", name="Cancel").click()
        expect(page).to_have_url(re.compile(f"{campaign}$"))
        page = tab.go(f"{campaign}/check")
        expect(page.get_by_role("alert")).to_contain_text("The check was canceled")
        assert tab.errors == []


def test_sending_a_list_to_the_server_shows_a_percentage_and_can_be_canceled(
    browser: Browser, tmp_path: Path
) -> None:
    world, other = long_list(tmp_path / "dealership")
    write_rows(
        world.folder / "customers.csv",
        ["Customer UUID", "First Name"],
        [["customer-1", "ANN"], ["c-2", "BOB"]],
    )
    with serving(world) as served, tab_of(browser, served) as tab:
        page = tab.go("/campaign/here/campaign/list")
        expect(page.get_by_text("2 rows").first).to_be_visible()
        devtools = tab.context.new_cdp_session(page)
        devtools.send("Network.enable")
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
        devtools.send("Network.emulateNetworkConditions", slow)
        use_list(page, other)
        expect(page.get_by_role("progressbar", name=re.compile(r"Sending may.csv: \d+%"))).to_be_visible()
        save_picture(page, "waiting-upload")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("button", name="Use this list")).to_be_visible()
        deadline = time.monotonic() + 60
        while left := list(world.folder.glob(".batchsend-*.tmp")):
            assert time.monotonic() < deadline, left
            page.wait_for_timeout(50)
        assert not (world.folder / "may.csv").exists()

        devtools.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
        use_list(page, other)
        expect(page.get_by_text("may.csv is now the campaign's list")).to_be_visible()
        expect(page.get_by_text("50,000 rows").first).to_be_visible()
        # htmx logs a request that the user gave up as an error.
        assert [error for error in tab.errors if not error.startswith("htmx:")] == []
