"""Every page and every form of the console, found by its router: each fits the screen and is accessible.

A new page fails these tests until `PAGES` names an address of it.

With `BATCHSEND_PICTURES=FOLDER` set, a picture of each page is saved there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import PATIENCE, SIZES, browser
from console_pages import Routes
from plain_words import terms_on_page
from playwright.sync_api import Browser, Page, Response, expect
from web_client import Clicker, Served, serving
from workbooks import new_workbook
from world import World, customers, running_sandbox

from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.opening import open_ledger
from batchsend.settings import PASSWORD, USERNAME
from batchsend.utils.timestamps import now, to_text
from batchsend.web.auth.users import Users
from batchsend.web.more_settings import GROUPS
from batchsend.web.senders import USER, Senders

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SIGN_IN = "four words are good"
SECRET = "the-password-of-the-api"
SPRING = "/campaign/here/campaign"
Looks = tuple[tuple[str, Literal["light", "dark"]], ...]
#: The looks in which each page is checked.
LOOKS: Looks = (("desktop", "light"), ("phone", "dark"))
#: Routes without a page: files, parts of pages that a script loads, and links that lead elsewhere.
NO_PAGES = {
    "/health",
    "/static/{name}",
    "/opt-outs/download",
    "/campaign/{folder}/{stem}/check/{check}/list",
    "/campaign/{folder}/{stem}/check/{check}/problems",
    "/campaign/{folder}/{stem}/check/{check}/workbook",
    "/campaign/{folder}/{stem}/list/rows/workbook",
    "/campaign/{folder}/{stem}/run/{number}/events",
    "/campaign/{folder}/{stem}/run/{number}/list",
    "/campaign/{folder}/{stem}/run/{number}/list/offer",
    "/campaign/{folder}/{stem}/run/{number}/report",
    "/campaign/{folder}/{stem}/run/{number}/workbook",
    "/campaign/{folder}/{stem}/states",
}
#: Forms that only a script sends.
TRIED = {
    "/campaign/{folder}/{stem}/file/try",
    "/campaign/{folder}/{stem}/text/try",
    "/campaign/{folder}/{stem}/when/starts",
}
#: Forms that are shown only while something is waited for, one that leads to a page that waits, and the one that ends
#: the session. Other tests send them.
OTHERS = {
    "/logout",
    "/campaign/{folder}/{stem}/run/{number}/settle",
    "/campaign/{folder}/{stem}/check/{check}/cancel",
    "/campaign/{folder}/{stem}/list/cancel",
    "/campaign/{folder}/{stem}/list/read",
    "/campaign/{folder}/{stem}/list/upload/cancel",
    "/campaign/{folder}/{stem}/list/lookup/cancel",
}


@dataclass
class Site:
    """Two consoles of one folder: on this computer, and for the people of an office. `pages`: name -> address."""

    folder: Path
    served: Served
    office: Served
    cookies: list[Any]
    pages: dict[str, str]
    office_pages: dict[str, str] = field(default_factory=dict)


def write_campaigns(world: World) -> None:
    """Writes campaigns in every state, next to one that was sent."""
    people = customers(40)
    people[5]["Phone"] = "555-0142"
    doubtful = [
        {"Customer UUID": f"sandbox-{what}-1", "First Name": "Eve", "Phone": ""} for what in ("500", "locked")
    ]
    world.write([*people, *doubtful])
    world.send()
    receive_replies(world.folder)
    usual = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    usual = usual.replace('"customers.csv"', '"others.csv"')
    world.write_list(customers(300, "other"), "others.csv")
    world.write_list(customers(3), "left-out.csv")
    for stem, more in (
        ("slow", "[sending]\nrate = 0.5\n"),
        ("new", ""),
        ("leaving", ""),
        ("without-ids", "[sending]\nrate = 0.5\n"),
        ("approved", "[guards]\napproval = true\n"),
        ("asked", "[guards]\napproval = true\n"),
        (
            "weekly",
            (
                '[recipients]\nsuppress = ["left-out.csv"]\n[hours.FL]\nsunday = "no texts"\n'
                '[schedule]\ncron = "0 10 * * MON"\n'
            ),
        ),
    ):
        text = f"{usual.replace('Spring', stem.title())}\n{more}"
        (world.folder / f"{stem}.toml").write_text(text, encoding="utf-8")
    numbered = [{"Cust No": str(10_200 + row), "Last Name": f"Name{row}"} for row in range(3)]
    world.write_list(numbered, "without-ids.csv")
    without_ids = (world.folder / "without-ids.toml").read_text(encoding="utf-8")
    (world.folder / "without-ids.toml").write_text(
        without_ids.replace("others.csv", "without-ids.csv"), encoding="utf-8"
    )
    (world.folder / "archive").mkdir()
    (world.folder / "archive" / "old.toml").write_text(usual.replace("Spring", "Old"), encoding="utf-8")
    (world.folder / "broken.toml").write_text('name = "Broken"\nlist = "nothing.csv"\n', encoding="utf-8")
    failing = usual.replace("Spring", "Failing").replace("message.txt.j2", "gone.txt.j2")
    (world.folder / "failing.toml").write_text(failing, encoding="utf-8")
    for stem, sheets in (("sheets", 2), ("title", 1)):
        workbook, _ = new_workbook([["Spring service"], [], list(people[0]), list(people[1].values())])
        for _ in range(sheets - 1):
            workbook.create_sheet("Notes").append(["Call Dana"])
        workbook.save(world.folder / f"{stem}.xlsx")
        text = usual.replace("Spring", stem).replace('"others.csv"', f'"{stem}.xlsx"')
        (world.folder / f"{stem}.toml").write_text(text, encoding="utf-8")


def addresses(clicker: Clicker) -> dict[str, str]:
    """Brings the campaigns into their states; returns the pages to look at."""
    new, _ = clicker.check("/campaign/here/new")
    used, _ = clicker.check("/campaign/here/slow")
    clicker.submit(f"{used}/send", {"choice": "all", "number": "300"})
    clicker.wait_for_run(used)
    nothing, _ = clicker.check(SPRING)
    again, _ = clicker.check(SPRING, resend="unconfirmed")
    failed, _ = clicker.check("/campaign/here/failing")
    clicker.submit("/link")
    approved, _ = clicker.check("/campaign/here/approved")
    sender = "/campaign/here/weekly/sender"
    named = {"department_uuid": "a-department-1", "department_label": "Parts"}
    clicker.submit(sender, {**clicker.shown(sender), "department": "new", **named})
    dealt_with = f"{SPRING}/run/1/dismiss?status=invalid&code=INVALID_PHONE"
    clicker.post(dealt_with, {"count": clicker.get(dealt_with).hidden("count"), "reason": "corrected"})
    clicker.submit("/opt-outs/add", {"customer": "sandbox-opted-out-1", "reason": "asked"})
    # As if it was changed under an open form.
    clicker.submit("/campaign/here/weekly/file", {"loaded": "another version", "text": "Mine"})
    return {
        "campaigns": "/",
        "campaign": SPRING,
        **{
            step: f"{SPRING}/{step}"
            for step in ("list", "columns", "text", "sender", "when", "check", "send")
        },
        "file": f"{SPRING}/file",
        "rows": f"{SPRING}/list/rows",
        "without-ids": "/campaign/here/without-ids/list",
        "look-up": "/campaign/here/without-ids/list/lookup",
        "languages": f"{SPRING}/columns/languages",
        "saved-senders": "/campaign/here/weekly/sender/saved",
        "people": "/campaign/here/weekly/when/people",
        "states": "/campaign/here/weekly/when/states",
        "weekly": "/campaign/here/weekly/when",
        **{f"more-{group.name}": f"/campaign/here/weekly/when/more/{group.name}" for group in GROUPS},
        "sheets": "/campaign/here/sheets/list",
        "title": "/campaign/here/title/list",
        "broken": "/campaign/here/broken",
        "new": new,
        "used": used,
        "sent": f"{used}/sent",
        "nothing": nothing,
        "again": f"{again}/send",
        "question": f"{new}/send",
        "trial": f"{new}/trial",
        "failed": failed,
        "approval-needed": approved,
        "run": f"{SPRING}/run/1",
        "sending": "/campaign/here/slow/run/2",
        "rehearsed": rehearsal(clicker, again),
        "history": "/history?q=customer-3",
        "unknown": "/history?q=unknown",
        "replies": "/replies",
        "replies found": replies_found(clicker),
        "opt-outs": "/opt-outs",
        "opt-out": "/opt-outs/add",
        "opted-in": "/opt-outs/remove?customer=sandbox-opted-out-1",
        "import": "/opt-outs/import",
        "duplicate": "/campaign/here/campaign/duplicate",
        "rename": "/campaign/here/campaign/rename",
        "to archive": "/campaign/here/leaving/archive",
        "dismiss": f"{SPRING}/run/1/dismiss?status=failed&code=CUSTOMER_LOCKED",
        "saved senders": f"{SPRING}/sender/saved",
        "archive": "/archive",
        "archived": "/archive/here/old",
        "conflict": "/campaign/here/weekly/conflict?page=/campaign/here/weekly/file",
        "link": "/link",
        "missing": "/nothing",
        "settled": settled(clicker),
    }


def receive_replies(folder: Path) -> None:
    """Customers answer: with thanks, with unclear words, and a stranger with STOP and START."""
    ledger = open_ledger(f"sqlite:///{folder / '.batchsend' / 'ledger.db'}")
    at = to_text(now())
    for number, (customer, words) in enumerate(
        (
            ("customer-1", "Thanks!\nTuesday at 10?"),
            ("customer-2", "<b>Great</b> service " * 20),
            ("customer-3", "Please stop by"),
            ("customer-4", "Can you cancel my appointment"),
            ("stranger", "STOP"),
            ("stranger", "START"),
        )
    ):
        message = {"uuid": f"reply-{number}", "messageType": "R", "customerUuid": customer, "body": words}
        event = {
            "messageDTO": {**message, "fromNumber": "(312) 555-0199" if customer == "stranger" else None}
        }
        Deliveries(ledger).record(ReceivedUpdate.all_of(json.dumps(event).encode(), at))
    ledger.close()


def replies_found(clicker: Clicker) -> str:
    """Looks for new replies; returns the address that says what was found."""
    name = clicker.get("/replies").hidden("name")
    address = str(clicker.submit("/replies/look", {"name": name}).headers["Location"])
    clicker.wait(address, "conversations read")
    return address


def settled(clicker: Clicker) -> str:
    """Looks for a run's unconfirmed texts; returns the address that says what was found."""
    name = clicker.get(f"{SPRING}/run/1").hidden("name")
    address = str(clicker.submit(f"{SPRING}/run/1/settle", {"name": name}).headers["Location"])
    clicker.wait(address, "What was found")
    return address


def rehearsal(clicker: Clicker, check: str) -> str:
    """Rehearses a check; returns the address of the finished rehearsal."""
    nonce = clicker.get(f"{check}/trial").hidden("nonce")
    address = str(clicker.submit(f"{check}/rehearse", {"nonce": nonce}).headers["Location"])
    clicker.wait(address, "No text left this computer")
    return address


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("web")
    with running_sandbox(folder) as sandbox:
        # Credentials from a file can be changed on a page.
        world = World(folder / "dealership", sandbox.base_url, dict.fromkeys((USERNAME, PASSWORD), ""))
        world.folder.mkdir()
        env = f"{USERNAME}=lakeside\n{PASSWORD}={SECRET}\n"
        (world.folder / ".env").write_text(env, encoding="utf-8")
        write_campaigns(world)
        users = Users(world.folder / ".batchsend" / "web-users.json")
        users.put("ann", SIGN_IN)
        Senders(world.folder / ".batchsend").keep(USER, "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3", "Ann")
        with serving(world) as served, serving(world, "--name", "texts.example") as office:
            clicker = served.signed_in()
            pages = addresses(clicker)
            asked, _ = clicker.check("/campaign/here/asked")
            approval = str(clicker.submit(f"{asked}/approval").headers["Location"])
            cookies = [
                {"name": name, "value": value, "url": clicker.origin}
                for name, value in clicker.cookies.items()
            ]
            yield Site(
                world.folder, served, office, cookies, {**pages, "asked": approval}, {"approve": approval}
            )
            clicker.post("/campaign/here/slow/run/2/pause")


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    return Routes(tmp_path_factory.mktemp("routes"))


def faults(page: Page, name: str, looks: Looks = LOOKS) -> list[str]:
    """Returns what is wrong with a page, in each look."""
    found = []
    if not page.title().removesuffix("· batchsend").strip() or page.locator("h1").count() != 1:
        found.append(f"{name} has no title, or not one heading")
    found += [f"{name}: {term}" for term in terms_on_page(page.url, page.content())]
    for details in page.query_selector_all("details"):
        details.evaluate("one => { one.open = true; }")
    for size, scheme in looks:
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{name} is wider than a {size}")
        if pictures := os.environ.get("BATCHSEND_PICTURES"):
            page.screenshot(path=Path(pictures) / f"web-{name}-{size}.png", full_page=True)
        checked = Axe().run(page)
        if checked.violations_count:
            found.append(f"{name} ({size}): {checked.generate_report()}")
    return found


@pytest.fixture
def local(browser: Browser, site: Site) -> Iterator[Page]:
    """A browser at the console on this computer, not signed in yet."""
    # The pages' security policy would block axe.
    context = browser.new_context(bypass_csp=True, base_url=f"http://127.0.0.1:{site.served.port}")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def in_office(browser: Browser, site: Site) -> Iterator[Page]:
    """A browser at the console of the office, signed in as ann."""
    context = browser.new_context(bypass_csp=True, base_url=f"http://127.0.0.1:{site.office.port}")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto("/login")
    page.get_by_role("textbox", name="Name").fill("ann")
    page.get_by_label("Password").fill(SIGN_IN)
    page.get_by_role("button", name="Sign in").click()
    yield page
    context.close()


def test_every_page_fits_the_screen_and_is_accessible(
    site: Site, routes: Routes, local: Page, in_office: Page
) -> None:
    found = []
    visits = [(local, {"login": "/login", "wrong": "/enter?token=guessed"}), (local, site.pages)]
    for page, pages in [*visits, (in_office, site.office_pages)]:
        if pages is site.pages:
            page.context.add_cookies(site.cookies)
        for name, address in pages.items():
            answer = page.goto(address)
            settle(page)
            found += faults(page, name)
            for url in redirects(answer):
                routes.saw("GET", url)
    assert not found, "\n".join(found)
    unseen = {path for path in routes.unseen("GET") - NO_PAGES if not path.endswith("/progress")}
    assert unseen == set(), "add an address of each to `addresses`"


#: The parts that a page loads after it.
LATER = "#overview[hx-get], #step-bar[hx-get], #tried:empty"
#: The parts of a page that reloads itself when work ends.
WAITING = "[hx-get*='/progress'][hx-trigger^=load]"


def settle(page: Page, parts: str = f"{LATER}, {WAITING}") -> None:
    """Waits until a page is complete and has none of these parts. A page that reloads itself is first empty."""
    page.wait_for_function(
        "parts => document.readyState === 'complete' && !document.querySelector(parts)", arg=parts
    )


def redirects(answer: Response | None) -> Iterator[str]:
    """Yields the addresses that led to an answer, the last one first."""
    request = answer.request if answer else None
    while request is not None:
        yield request.url
        request = request.redirected_from


def forms(page: Page) -> list[str]:
    """Returns the paths to which the forms of a page are sent, as they are in it."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('form[method=post]')].map(one => new URL(one.action).pathname)"
    )
    return found


def send_empty(page: Page, number: int) -> None:
    """Empties the fields of a form and sends it, without the browser's own checks."""
    with page.expect_navigation():
        page.evaluate(
            """number => {
                const form = document.querySelectorAll('form[method=post]')[number];
                form.noValidate = true;
                for (const one of form.querySelectorAll('input:not([type=hidden]), textarea')) {
                    one.checked = false;
                    if (!["checkbox", "radio", "submit"].includes(one.type)) one.value = "";
                }
                const buttons = [...document.querySelectorAll("button")];
                const button = buttons.find((one) => one.form === form && one.type === "submit");
                form.requestSubmit(button);
            }""",
            number,
        )


#: What pages ask for while they wait.
PROGRESS = re.compile(r"/(progress|events)\b")
#: Forms that end what the other pages need; they are sent last, in this order.
LAST = (
    "/link",
    "/campaign/{folder}/{stem}/run/{number}/pause",
    "/campaign/{folder}/{stem}/run/{number}/stop",
    "/campaign/{folder}/{stem}/archive",
)


def test_every_form_sent_empty_leads_to_an_accessible_page(
    site: Site, routes: Routes, local: Page, in_office: Page
) -> None:
    """Errors are shown on a page that can be reloaded, and a form without fields does what it says."""
    local.goto("/login")
    routes.saw("POST", forms(local)[0])
    send_empty(local, 0)
    found = faults(local, "login after /login", LOOKS[:1])
    local.context.add_cookies(site.cookies)
    local.on("dialog", lambda dialog: dialog.accept())
    todo: dict[str, tuple[Page, str, str, int]] = {}
    for page, pages in ((local, site.pages), (in_office, site.office_pages)):
        for name, address in pages.items():
            page.goto(address)
            settle(page)
            for number, path in enumerate(forms(page)):
                todo.setdefault(routes.saw("POST", path), (page, name, address, number))
    for page in (local, in_office):
        # A page that waits for work would lead on by itself while it is examined.
        page.route(PROGRESS, lambda shown: shown.fulfill(status=204))
    in_order = sorted(todo.keys() - OTHERS, key=lambda route: LAST.index(route) if route in LAST else -1)
    for route in in_order:
        page, name, address, number = todo[route]
        page.goto(address)
        if len(forms(page)) <= number:
            continue
        send_empty(page, number)
        settle(page, LATER)
        reloaded = page.reload()
        if reloaded is None or reloaded.status != 200:
            found.append(f"{route} from {name}: a reload shows {reloaded and reloaded.status}")
        found += faults(page, f"{name} after {route}", LOOKS[:1])
    assert not found, "\n".join(found)
    assert routes.unseen("POST") - TRIED - OTHERS == set(), "add an address that has each to `addresses`"


def test_the_keyboard_alone_sends_nothing_by_accident(site: Site, local: Page) -> None:
    local.context.add_cookies(site.cookies)
    page = local
    page.goto(site.pages["question"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached: set[str] = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.tagName"))
    assert {"choice", "number", "BUTTON"} <= reached
    page.get_by_label("Type the number of texts").press("Enter")
    expect(page.locator("#choice-error")).to_contain_text("Nothing was sent: choose how many.")
    assert page.evaluate("document.activeElement.id") == "error-summary"


#: Sends each form of a page with one of its fields changed at a time; returns the address, field and answer of each.
ATTACK = """async (value) => {
  const answers = [];
  for (const form of document.querySelectorAll("form[method=post]")) {
    const action = new URL(form.action);
    if (action.pathname.endsWith("/credentials")) continue;
    for (const name of new Set([...new FormData(form).keys()].filter((one) => one !== "csrf"))) {
      const fields = new FormData(form);
      fields.set(name, fields.get(name) instanceof File ? new File(["a,b\\n1,2\\n"], value) : value);
      const body = form.enctype === "multipart/form-data" ? fields : new URLSearchParams(fields);
      const answer = await fetch(action, { method: "POST", body });
      answers.push([action.pathname, name, answer.status, await answer.text()]);
    }
  }
  return answers;
}"""


@pytest.mark.parametrize("value", [".env", "/etc/passwd", "../outside.csv"])
def test_no_field_of_any_form_leads_to_another_file(site: Site, local: Page, value: str) -> None:
    """No page shows a password or a file outside the folder, and no file outside is written."""
    outside = site.folder.parent / "outside.csv"
    outside.write_text("Customer UUID,First Name\nkept-away,Ann\n", encoding="utf-8")
    beside = sorted(site.folder.parent.iterdir())
    credentials = (site.folder / ".env").read_bytes()
    local.context.add_cookies(site.cookies)
    local.on("dialog", lambda dialog: dialog.accept())
    tried = 0
    for address in site.pages.values():
        local.goto(address)
        for path, name, status, text in local.evaluate(ATTACK, value):
            tried += 1
            assert status != 500, (path, name)
            assert not [secret for secret in (SECRET, "root:x:0:0", "kept-away") if secret in text], (
                path,
                name,
            )
        for secret in (SECRET, "root:x:0:0", "kept-away"):
            assert secret not in local.goto(address).text(), address
    assert tried > 100
    assert sorted(site.folder.parent.iterdir()) == beside
    assert outside.read_text(encoding="utf-8").endswith("kept-away,Ann\n")
    assert (site.folder / ".env").read_bytes() == credentials
