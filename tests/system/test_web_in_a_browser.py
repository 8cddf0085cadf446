"""`batchsend web` in a real browser: from an empty folder to results by clicks alone, and whatever people do to it.

With `BATCHSEND_PICTURES=FOLDER` set, what the browser shows is kept there.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import SIZES, browser
from openpyxl import load_workbook
from playwright.sync_api import Browser, BrowserContext, Page, expect
from web_client import Clicker, Served, serving
from world import World, customers, running_sandbox

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DEPARTMENT, USER = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e", "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
EVERYBODY = [f"customer-{number}" for number in range(30)]
#: Milliseconds; a check starts a process of its own.
PATIENTLY = 60_000
expect.set_options(timeout=PATIENTLY)


@dataclass
class Tab:
    """A tab of a browser that is in, and what it complained about or asked others for."""

    page: Page
    context: BrowserContext
    served: Served
    complaints: list[str]
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
    """A browser of its own that comes in by a link."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENTLY)
        tab = Tab(page, context, served, [], [])
        page.on("console", lambda said: tab.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        origin = f"http://127.0.0.1:{served.port}/"
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(origin) else tab.foreign.append(asked.url),
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


def send_what_is_shown(page: Page, texts: int) -> None:
    """Answers the question of a check."""
    expect(page.get_by_role("heading", name=f"Send {texts} texts?")).to_be_visible()
    page.get_by_role("radio", name="All: ").check()
    page.get_by_label("Type the number of texts").fill(str(texts))
    page.get_by_role("button", name="Send the texts").click()


def edit(page: Page, selector: str, change: Any) -> None:
    """Changes what stands in an editor, as somebody who types does."""
    text = page.locator(selector).input_value()
    page.locator(selector).fill(change(text))


def test_from_an_empty_folder_to_a_sent_campaign_only_by_clicking(browser: Browser, tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        world = empty_folder(tmp_path, sandbox.base_url)
        good = [[f"customer-{n}", f"NAME{n}", "Civic", f"(312) 500-{n:04}", "Y"] for n in range(29)]
        headers = ["Account", "First Name", "Model", "Mobile", "OK to Text"]
        broken = write_rows(
            tmp_path / "may.csv", headers, [*good, ["customer-29", "X", "Fit", "555-0142", "Y"]]
        )
        fixed = tmp_path / "may-fixed.csv"
        write_rows(fixed, headers, [*good, ["customer-29", "X", "Fit", "(312) 500-0029", "Y"]])
        unreadable = tmp_path / "photo.xlsx"
        unreadable.write_bytes(b"\x89PNG not a list")
        with serving(world) as served, tab_of(browser, served, accept_downloads=True) as tab:
            page = tab.page
            expect(page.get_by_role("heading", name="No campaigns yet")).to_be_visible()
            page.get_by_label("Name").fill("May service")
            page.get_by_role("button", name="Create").click()
            expect(page.get_by_role("heading", level=1, name="May service")).to_be_visible()

            # A list that is none is refused with the way out, and the campaign keeps its own.
            page.get_by_label("A new list").set_input_files(unreadable)
            page.get_by_role("button", name="Use this list").click()
            expect(page.get_by_role("alert").first).to_contain_text("photo.xlsx")
            expect(page.get_by_role("alert").first).to_contain_text("still uses its previous list")

            page.get_by_label("A new list").set_input_files(broken)
            page.get_by_role("button", name="Use this list").click()
            expect(page.get_by_text("Choose the columns")).to_be_visible()
            page.get_by_label("The customer’s id in myKaarma").select_option("Account")
            page.get_by_role("button", name="Save the columns").click()
            expect(page.get_by_text("The columns are saved")).to_be_visible()

            page.get_by_label("Department id").fill(DEPARTMENT)
            page.get_by_label("User id").fill(USER)
            page.get_by_role("button", name="Save the sender").click()
            expect(page.get_by_text("The sender is saved")).to_be_visible()

            # The text is tried as it is typed, on any row, before it is saved.
            expect(page.locator("#tried .bubble")).to_contain_text("Hi Name0")
            edit(page, "#template", lambda _: "Hi {{ first_nam }}")
            expect(page.locator("#tried")).to_contain_text("the nearest is first_name")
            edit(
                page,
                "#template",
                lambda _: "Hi {{ first_name | name_case }}, your {{ model }} waits 🙂 call us",
            )
            expect(page.locator("#tried .cost")).to_contain_text("UCS-2")
            edit(page, "#template", lambda text: text.replace("🙂", "-"))
            expect(page.locator("#tried .cost")).to_contain_text("1 segment, GSM-7")
            page.get_by_role("button", name="Next row").click()
            expect(page.locator("#tried .bubble")).to_contain_text("Hi Name1")
            page.get_by_role("button", name="Save the text").click()
            expect(page.get_by_text("May service.txt.j2 is saved")).to_be_visible()

            # The campaign file's mistakes are the command line's.
            edit(page, "#file-text", lambda text: text.replace("rate = 10 ", 'rate = "fast" '))
            expect(page.locator("#file-problems .problem")).to_contain_text("rate")
            # Quiet hours would make this test depend on the time of day.
            edit(
                page,
                "#file-text",
                lambda text: re.sub(r"quiet_hours.*|\"fast\"", "", text).replace("rate = ", "rate = 10"),
            )
            expect(page.locator("#file-problems .problem")).to_have_count(0)
            page.get_by_role("button", name="Save the campaign file").click()
            expect(page.get_by_text("May service.toml is saved")).to_be_visible()

            # The check finds the broken row; a fixed list has none.
            page.get_by_role("button", name="Check and send").click()
            expect(page.get_by_role("heading", name="Send 29 texts?")).to_be_visible()
            expect(page.locator("main")).to_contain_text("INVALID_PHONE")
            page.get_by_role("link", name="May service").first.click()
            page.get_by_label("A new list").set_input_files(fixed)
            page.get_by_role("button", name="Use this list").click()
            expect(page.get_by_text("may-fixed.csv is now the campaign's list")).to_be_visible()
            page.get_by_role("button", name="Check and send").click()
            expect(page.get_by_role("heading", name="Send 30 texts?")).to_be_visible()
            assert sandbox.requests() == []
            question = page.url

            # Another number sends nothing; the right one, with a double click, sends once.
            page.get_by_role("radio", name="All: ").check()
            page.get_by_label("Type the number of texts").fill("29")
            page.get_by_role("button", name="Send the texts").click()
            expect(page.get_by_role("alert").first).to_contain_text("Nothing was sent: you typed")
            page.goto(question)
            page.get_by_role("radio", name="All: ").check()
            page.get_by_label("Type the number of texts").fill("30")
            page.get_by_role("button", name="Send the texts").dblclick()
            expect(page.get_by_role("heading", name="Run 1")).to_be_visible()
            expect(page.get_by_role("heading", name="This run is over")).to_be_visible()
            assert sandbox.texts() == dict.fromkeys(EVERYBODY, 1)

            # Back to the question, which is no question any more.
            page.go_back()
            page.reload()
            if page.get_by_role("button", name="Send the texts").count():
                page.get_by_role("button", name="Send the texts").click()
            expect(page.locator("body")).to_contain_text(re.compile("already used|This run is over"))
            assert sandbox.texts() == dict.fromkeys(EVERYBODY, 1)

            tab.go("/")
            page.get_by_role("link", name="Run 1").click()
            with page.expect_download() as download:
                page.get_by_role("link", name="Download the workbook").click()
            kept = tmp_path / "downloaded.xlsx"
            download.value.save_as(kept)
            book = load_workbook(kept, read_only=True)
            assert book["Results"].max_row == 31
            book.close()
            page.get_by_label("Find").fill("customer-17")
            expect(page.locator("#rows tbody tr")).to_have_count(1)
            page.get_by_role("link", name="History").click()
            page.get_by_label("Phone or customer id").fill("312 500 0017")
            page.get_by_role("button", name="Look up").click()
            expect(page.locator("main")).to_contain_text("Hi Name17, your Civic waits")
            assert tab.foreign == []
            # A browser tells of every answer that is not a success: the wrong number's is the only one.
            assert all("400 (Bad Request)" in said for said in tab.complaints), tab.complaints
        assert "30 accepted by myKaarma" in world.run("runs").out


def test_paused_killed_started_again_and_gone_on_with(browser: Browser, tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--latency", "0.02") as sandbox:
        world = empty_folder(tmp_path, sandbox.base_url)
        world.write(customers(150), campaign="\n[sending]\nrate = 10\n")
        with serving(world) as served, tab_of(browser, served) as tab:
            page = tab.page
            page.get_by_role("link", name="Spring").click()
            page.get_by_role("button", name="Check and send").click()
            send_what_is_shown(page, 150)
            expect(page.locator("#progress .said")).to_contain_text(
                re.compile(r"[1-9]\d* of 150 texts tried")
            )
            page.get_by_role("button", name="Pause").click()
            expect(page.get_by_role("button", name="Continue")).to_be_visible()
            sent = len(sandbox.requests())
            assert 0 < sent < 150
            served.kill()
        with serving(world) as served, tab_of(browser, served) as tab:
            page = tab.page
            expect(page.locator("main")).to_contain_text(f"{150 - sent} rows waiting")
            page.get_by_role("link", name="Run 1").click()
            page.get_by_role("button", name="Continue").click()
            send_what_is_shown(page, 150 - sent)
            expect(page.get_by_role("heading", name="This run is over")).to_be_visible()
        assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(150)), 1)


def test_a_wrong_link_and_other_people_s_pages_get_nowhere(browser: Browser, tmp_path: Path) -> None:
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
                # A page of somebody else's, in the browser that is in, posts to ours: as a form and by a script.
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
                said = evil.evaluate(
                    "address => fetch(address, {method: 'POST', credentials: 'include'})"
                    ".then(() => 'read', () => 'refused')",
                    address,
                )
                assert said == "refused"
                with evil.expect_response(address) as refused:
                    evil.get_by_role("button", name="Win").click()
                assert refused.value.status in (401, 403)
                assert not list((world.folder / "previews").glob("*"))
                tab.go("/campaign/here/campaign")
                expect(tab.page.get_by_role("button", name="Check and send")).to_be_visible()
        assert sandbox.requests() == []


@dataclass
class Site:
    """A server with something on each of its pages. `pages`: a name for each, and its address."""

    served: Served
    cookies: list[Any]
    pages: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("web")
    with running_sandbox(folder) as sandbox:
        world = empty_folder(folder, sandbox.base_url)
        people = customers(40)
        people[5]["Phone"] = "555-0142"
        doubtful = [
            {"Customer UUID": f"sandbox-{what}-1", "First Name": "Eve", "Phone": ""}
            for what in ("500", "locked")
        ]
        world.write([*people, *doubtful])
        world.send()
        (world.folder / "broken.toml").write_text('name = "Broken"\nlist = "nothing.csv"\n', encoding="utf-8")
        slow = (world.folder / "campaign.toml").read_text(encoding="utf-8")
        slow = slow.replace('"Spring"', '"Slow"').replace('"customers.csv"', '"others.csv"')
        (world.folder / "slow.toml").write_text(f"{slow}\n[sending]\nrate = 0.5\n", encoding="utf-8")
        world.write_list(customers(300, "other"), "others.csv")
        (world.folder / "new.toml").write_text(slow.replace('"Slow"', '"New"'), encoding="utf-8")
        failing = slow.replace('"Slow"', '"Failing"').replace("message.txt.j2", "gone.txt.j2")
        (world.folder / "failing.toml").write_text(failing, encoding="utf-8")
        with serving(world) as served:
            clicker = served.signed_in()
            new, _ = clicker.check("/campaign/here/new")
            used, _ = clicker.check("/campaign/here/slow")
            clicker.submit(f"{used}/send", {"choice": "all", "number": "300"})
            clicker.wait_for_run(used)
            nothing, _ = clicker.check("/campaign/here/campaign")
            again, _ = clicker.check("/campaign/here/campaign", resend="unconfirmed")
            failed, _ = clicker.check("/campaign/here/failing")
            rehearsed = rehearsal(clicker, again)
            cookies = [
                {"name": name, "value": value, "url": clicker.origin}
                for name, value in clicker.cookies.items()
            ]
            pages = {
                "campaigns": "/",
                "campaign": "/campaign/here/campaign",
                "broken": "/campaign/here/broken",
                "check": new,
                "used": used,
                "nothing": nothing,
                "again": again,
                "failed": failed,
                "run": "/campaign/here/campaign/run/1",
                "sending": "/campaign/here/slow/run/2",
                "rehearsed": rehearsed,
                "history": "/history?q=customer-3",
                "nobody": "/history?q=unknown",
                "missing": "/nothing",
            }
            yield Site(served, cookies, pages)
            clicker.post("/campaign/here/slow/run/2/pause")


def rehearsal(clicker: Clicker, check: str) -> str:
    """A rehearsal of a check, once it is over: its address."""
    nonce = clicker.get(check).hidden("nonce")
    address = str(clicker.submit(f"{check}/rehearse", {"nonce": nonce}).headers["Location"])
    clicker.wait(address, "No text left this computer")
    return address


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_for_everybody(browser: Browser, site: Site, size: str, scheme: str) -> None:
    pictures = os.environ.get("BATCHSEND_PICTURES")
    found = []
    # The pages' own policy would keep axe out.
    with tab_of(browser, site.served, size, scheme, link="/login", bypass_csp=True) as tab:
        pages = {"login": "/login", "wrong": "/enter?token=guessed", **site.pages}
        for name, address in pages.items():
            if name == "campaigns":
                tab.context.add_cookies(site.cookies)
            page = tab.go(address)
            if name == "campaign":
                expect(page.locator("#tried .bubble")).to_be_visible()
            if page.evaluate("document.documentElement.scrollWidth") > SIZES[size][0]:
                found.append(f"{name} is wider than the screen")
            if pictures:
                page.screenshot(path=Path(pictures) / f"web-{name}-{size}-{scheme}.png", full_page=True)
            for details in page.query_selector_all("details"):
                details.evaluate("one => { one.open = true; }")
            checked = Axe().run(page)
            if checked.violations_count:
                found.append(f"{name}: {checked.generate_report()}")
    assert not found, "\n".join(found)


def test_the_keyboard_alone_sends_nothing_by_accident(browser: Browser, site: Site) -> None:
    with tab_of(browser, site.served, link="/login") as tab:
        tab.context.add_cookies(site.cookies)
        page = tab.go(site.pages["check"])
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached: set[str] = set()
        for _ in range(80):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.name || document.activeElement.tagName"))
        assert {"choice", "number", "SUMMARY"} <= reached
        page.get_by_label("Type the number of texts").press("Enter")
        # Nothing was chosen and nothing typed: the browser itself stays on the question.
        expect(page.get_by_role("heading", name="Send 300 texts?")).to_be_visible()
