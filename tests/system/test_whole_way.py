"""The whole way in a real browser, as a person in marketing who has never seen a terminal.

Two consoles of one empty folder are started. From then on, everything is clicked, typed and chosen: no file is edited
and no command is run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsing import browser, look_at, screen
from openpyxl import load_workbook
from playwright.sync_api import Browser, Page, expect
from web_client import serving
from workbooks import new_workbook
from world import Sandbox, World, read_results

from batchsend.web.auth.users import Users

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PASSWORD = "four words are good"
DEPARTMENT, USER = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e", "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
STEPS = ("List", "Columns", "Text", "Sender", "When", "Check", "Send")
HEADERS = ["myKaarma Customer ID", "Cust Name", "Cell Phone", "Vehicle", "OK to Text"]


def messy_export(folder: Path) -> Path:
    """A report as a dealership's system exports it.

    A title above the headers, and 20 customers: rows 20 and 21 are hidden, rows 22 and 23 have a bad phone, rows 17
    to 19 did not agree to texts, and row 4 opts out later.
    """
    people = [
        [
            f"lk{row:05}",
            f"NAME{row}",
            f"(312) 500-{row:04}",
            "Civic",
            "Yes" if row not in (17, 18, 19) else "No",
        ]
        for row in range(4, 24)
    ]
    people[-2][2], people[-1][2] = "555-0142", "call work"
    workbook, sheet = new_workbook(
        [
            ["Lakeside Honda: service due"],
            [],
            HEADERS,
            *people,
        ]
    )
    for row in (20, 21):
        sheet.row_dimensions[row].hidden = True
    workbook.save(folder / "Service due (3).xlsx")
    return folder / "Service due (3).xlsx"


def overview(page: Page) -> dict[str, str]:
    """Goes to the campaign's page; returns what it says of each step, once everything is checked."""
    if back := page.locator(".crumbs a", has_text="Service due").all():
        back[0].click()
    expect(page.locator("#overview:not([hx-get])")).to_be_visible()
    found: dict[str, str] = dict(
        page.locator("#overview .states li").evaluate_all(
            "rows => rows.map(row => [row.querySelector('a').innerText, row.querySelector('.badge').innerText])"
        )
    )
    return found


def expect_states(page: Page, *, done: str = "", attention: str = "") -> None:
    """Expects these steps to be done and to need attention, and the others not yet."""
    states = dict.fromkeys(STEPS, "not yet")
    states |= dict.fromkeys(done.split(), "done") | dict.fromkeys(attention.split(), "needs attention")
    assert overview(page) == states


def go_to(page: Page, step: str) -> None:
    page.locator(f"#step-{step.lower()}").click()
    expect(page.locator('.step-bar [aria-current="step"]')).to_contain_text(step)


def save(page: Page, question: str) -> None:
    """Saves a step, which leads to the next one."""
    page.get_by_role("button", name="Save and continue").click()
    expect(page.get_by_role("heading", level=1, name=question)).to_be_visible()


def create(page: Page) -> None:
    page.get_by_label("Name").fill("Service due")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1, name="Service due")).to_be_visible()
    states = overview(page)
    assert states["Check"] == states["Send"] == "not yet"
    assert states["Sender"] == "needs attention"
    look_at(page, "way-1-new")


def choose_list(page: Page, file: Path) -> None:
    """Chooses the row with the column names and leaves hidden rows out."""
    go_to(page, "List")
    page.get_by_label("A new list").set_input_files(file)
    page.get_by_role("button", name="Use this list").click()
    expect(page.get_by_text("is now the campaign's list")).to_be_visible()
    expect(page.get_by_text("2 rows are hidden or filtered out. Should")).to_be_visible()
    look_at(page, "way-2-hidden")
    page.get_by_label("No, leave hidden rows out").check()
    page.get_by_role("button", name="Use this answer").click()
    expect(page.get_by_role("button", name="Row 3")).to_be_visible()
    look_at(page, "way-2-title")
    page.get_by_role("button", name="Row 3").click()
    expect(page.get_by_text("20 rows, 2 of them hidden and left out")).to_be_visible()
    look_at(page, "way-2-list")
    page.get_by_role("link", name="Continue").click()


def choose_columns(page: Page) -> None:
    expect(page.get_by_role("heading", level=1, name="What is in the columns?")).to_be_visible()
    page.get_by_label("The customer’s id in myKaarma").select_option("myKaarma Customer ID")
    expect(page.get_by_label("Phone", exact=True)).to_have_value("Cell Phone")
    expect(page.get_by_label("The column that says it")).to_have_value("OK to Text")
    look_at(page, "way-3-columns")
    save(page, "What does the text say?")


def write_text(page: Page) -> None:
    """Types the words and clicks the columns in."""
    page.locator("#text").fill("Hi ")
    page.get_by_role("button", name="Cust Name", exact=True).click()
    page.keyboard.type(", your ")
    page.get_by_role("button", name="Vehicle", exact=True).click()
    page.keyboard.type(" is due for service. Call Lakeside Honda at (312) 555-0100.")
    menu = page.get_by_role("group", name="Cust Name", exact=True).get_by_label("Format")
    menu.select_option("Name: John O’Brien, also from JOHN O’BRIEN")
    expect(page.locator("#tried .bubble").first).to_contain_text("Hi Name4, your Civic is due for service.")
    look_at(page, "way-4-text")
    save(page, "Who sends it?")


def name_sender(page: Page) -> None:
    """Saves the department and the user, then the password, and tests the connection."""
    page.get_by_label("Name", exact=True).fill("lakeside")
    page.get_by_label("Password").fill("made up")
    look_at(page, "way-5-sender")
    page.get_by_role("button", name="Save the name and password").click()
    expect(page.get_by_text("This computer has a name and a password")).to_be_visible()
    page.get_by_label("Department id").fill(DEPARTMENT)
    page.get_by_label("The department’s name").fill("Service, Lakeside Honda")
    page.get_by_label("User id").fill(USER)
    page.get_by_label("The user’s name").fill("Dana Reyes")
    save(page, "When may it go out?")
    go_to(page, "Sender")
    expect(page.get_by_label("Service, Lakeside Honda")).to_be_checked()
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#tested")).to_be_visible()
    look_at(page, "way-5-tested")


def allow_any_hour(page: Page) -> None:
    """So that the story does not depend on the time of day."""
    go_to(page, "When")
    page.get_by_label("None: texts go out at any hour").check()
    look_at(page, "way-6-when")
    page.get_by_role("button", name="Save and continue").click()


def add_opt_out(page: Page) -> None:
    page.get_by_role("link", name="Opt-outs").click()
    page.get_by_role("link", name="Add a person").click()
    page.get_by_label("Phone number").fill("312 500 0004")
    page.get_by_label("Why").fill("asked at the desk")
    page.get_by_role("button", name="Add to the opt-outs").click()
    expect(page.get_by_text("asked at the desk").first).to_be_visible()
    look_at(page, "way-7-opt-outs")
    page.get_by_role("link", name="Campaigns").first.click()


def correct_a_phone(page: Page) -> None:
    """Corrects one of the two rows with a bad phone on its page."""
    page.get_by_role("link", name="Look at them").click()
    expect(page.get_by_role("heading", name="2 rows cannot be sent")).to_be_visible()
    page.get_by_label("Cell Phone in row 22").fill("(312) 500-0022")
    look_at(page, "way-8-rows")
    page.get_by_role("button", name="Save the corrections").click()
    expect(page.get_by_role("heading", name="1 row cannot be sent")).to_be_visible()
    expect(page.get_by_text("The corrected list is Service due (3) (corrected).xlsx.")).to_be_visible()


def send(page: Page, sandbox: Sandbox) -> None:
    """Sends a test to herself, then all 13 texts: of 18 rows, one bad phone, 3 without consent, one opt-out."""
    go_to(page, "Check")
    look_at(page, "way-9-check")
    page.get_by_role("link", name="Review and send 13 texts").first.click()
    expect(page.get_by_role("heading", name="Send 13 texts?")).to_be_visible()
    look_at(page, "way-9-question")
    page.get_by_role("link", name="Try it out first").click()
    look_at(page, "way-9-try")
    page.get_by_label("Your own customer id in myKaarma").fill("me-1")
    page.get_by_label("A name, such as “me”").fill("me")
    page.get_by_role("button", name="Send one text to me").click()
    expect(page.get_by_text("Accepted by myKaarma").first).to_be_visible()
    look_at(page, "way-9-tested")
    assert sandbox.texts() == {"me-1": 1}
    page.get_by_role("link", name="Review and send").click()
    confirm(page, 13)
    look_at(page, "way-9-run")


def confirm(page: Page, texts: int) -> None:
    """Confirms the number of texts and waits for the end of the run."""
    page.get_by_role("radio", name="All: ").check()
    page.get_by_label("Type the number of texts").fill(str(texts))
    page.get_by_role("button", name="Send the texts").click()
    expect(page.get_by_role("heading", name="This run is over")).to_be_visible()


def download_results(page: Page, folder: Path) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the workbook").click()
    download.value.save_as(folder / "results.xlsx")
    found = {cells["Cust Name"]: cells["status"] for cells in read_results(folder / "results.xlsx").values()}
    accepted = [f"NAME{number}" for number in (*range(5, 17), 22)]
    left_out = {"NAME4": "skipped", "NAME17": "skipped", "NAME18": "skipped", "NAME19": "skipped"}
    assert found == {**dict.fromkeys(accepted, "accepted"), **left_out, "NAME23": "invalid"}
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the list with results").click()
    download.value.save_as(folder / "list.xlsx")
    book = load_workbook(folder / "list.xlsx", read_only=True)
    (header, *rows) = book.worksheets[0].values
    book.close()
    assert header[:6] == (*HEADERS, "status")
    assert [row[5] for row in rows if row[1] == "NAME22"] == ["accepted"]


def ask_for_approval(page: Page, folder: Path) -> str:
    """Uploads a list of new customers and lets another person approve; returns the path of the link for them."""
    go_to(page, "When")
    page.get_by_role("link", name="Safety checks").click()
    page.get_by_role("group", name="Another person must approve").get_by_label("Yes").check()
    page.get_by_role("button", name="Save", exact=True).click()
    workbook, _ = new_workbook(
        [HEADERS, *([f"new-{n}", "ANN", f"(312) 600-000{n}", "Fit", "Yes"] for n in range(3))]
    )
    workbook.save(folder / "New.xlsx")
    go_to(page, "List")
    page.get_by_label("A new list").set_input_files(folder / "New.xlsx")
    page.get_by_role("button", name="Use this list").click()
    expect(page.get_by_text("New.xlsx is now the campaign's list")).to_be_visible()
    page.locator("#step-send").click()
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_role("heading", name="Waiting for approval")).to_be_visible()
    look_at(page, "way-10-asked")
    return urlsplit(page.get_by_label("Link").input_value())._replace(scheme="", netloc="").geturl()


def approve(phone: Page, address: str) -> None:
    """Another person signs in on a phone and approves."""
    phone.goto(address)
    phone.get_by_role("textbox", name="Name").fill("dana")
    phone.get_by_label("Password").fill(PASSWORD)
    phone.get_by_role("button", name="Sign in").tap()
    expect(phone.get_by_text("Hi Ann, your Fit is due")).to_have_count(3)
    look_at(phone, "way-10-approve")
    phone.get_by_role("button", name="Approve 3 texts").tap()
    expect(phone.get_by_role("heading", name="Approved", exact=True)).to_be_visible()


def schedule_for_tomorrow(page: Page) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    overview(page)
    go_to(page, "When")
    page.get_by_label("Once, at a time that I choose").check()
    page.get_by_label("Day", exact=True).fill(f"{tomorrow:%Y-%m-%d}")
    page.get_by_label("Time", exact=True).fill("10:30")
    page.get_by_role("button", name="Save and continue").click()
    page.get_by_role("button", name="Turn scheduled starts on").click()
    expect(page.locator("#scheduler .badge")).to_have_text("On")
    look_at(page, "way-11-scheduled")
    page.get_by_role("link", name="Campaigns").first.click()
    expect(page.locator(".card")).to_contain_text("Next scheduled start")
    look_at(page, "way-11-campaigns")


def test_the_whole_way(browser: Browser, world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": ""}
    (world.folder / ".batchsend").mkdir()
    users = Users(world.folder / ".batchsend" / "web-users.json")
    users.put("dana", PASSWORD)
    with (
        serving(world) as served,
        serving(world, "--name", "texts.example") as office,
        screen(browser, "desktop") as page,
        screen(browser, "phone") as phone,
    ):
        page.goto(f"http://127.0.0.1:{served.port}{served.link}")
        create(page)
        choose_list(page, messy_export(tmp_path))
        choose_columns(page)
        write_text(page)
        name_sender(page)
        allow_any_hour(page)
        # Texts at any hour are probably not meant.
        expect_states(page, done="Columns Text Sender Check", attention="List When")
        assert sandbox.requests() == []
        add_opt_out(page)
        page.get_by_role("link", name="Service due").click()
        correct_a_phone(page)
        send(page, sandbox)
        download_results(page, tmp_path)
        expect_states(page, done="Columns Text Sender Check Send", attention="List When")
        approve(phone, f"http://127.0.0.1:{office.port}{ask_for_approval(page, tmp_path)}")
        page.get_by_role("link", name="Review and send").click()
        expect(page.get_by_text("Approved by").first).to_be_visible()
        confirm(page, 3)
        assert sandbox.texts().total() == 1 + 13 + 3
        schedule_for_tomorrow(page)
