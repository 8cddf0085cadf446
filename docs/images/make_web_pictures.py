"""Makes the manual's pictures of the web console: `python docs/images/make_web_pictures.py`.

Clicks through `batchsend web` with made-up customers and the sandbox, on a desktop and on a phone. Needs Chromium and
`pip install -e ".[system]"`.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from batchsend.web.auth.users import Users

HERE = Path(__file__).parent
PASSWORD = "four words are good"  # noqa: S105 - made up
COMMAND = [sys.executable, "-m", "batchsend"]
LISTENING = re.compile(r"http://127\.0\.0\.1:\d+[^\s]*")
DESKTOP, PHONE = (1000, 760), (375, 760)
CUSTOMERS, BROKEN = 240, 17
NAMES = ("Anna", "Luis", "Maya", "Owen", "Priya", "Sam", "Tessa", "Viktor", "Wendy", "Zoë")
MODELS = ("Civic", "CR-V", "Accord", "Pilot", "Fit", "Odyssey")
#: Customers who get an error from the sandbox.
FAILING = {"sandbox-500-1": "Rosa", "sandbox-locked-1": "Ben"}

CAMPAIGN = """
name = "{name}"
list = "{list}"
template = "{template}"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
department_label = "Service, Lakeside Honda"

[columns]
customer_uuid = "Customer ID"

[recipients]
consent = {{ column = "OK to Text", yes = ["Y"] }}

[sending]
rate = {rate}
"""
TEXT = (
    'Hi {{ first_name | name_case | default("there") }}, it is time for your {{ model }}\'s service at Lakeside '
    "Honda. Call (312) 555-0100 to book."
)


def write_campaigns(folder: Path) -> None:
    """Writes three campaigns: one to send beforehand, one to send in the pictures, one without a list."""
    (folder / "service.txt.j2").write_text(TEXT, encoding="utf-8")
    rows = [
        [f"lk{number:05}", NAMES[number % 10].upper(), MODELS[number % 6], f"(312) 500-{number:04}", "Y"]
        for number in range(CUSTOMERS)
    ]
    rows[BROKEN][3] = "555-0142"
    failing = [[name, first, "Fit", "", "Y"] for name, first in FAILING.items()]
    write_list(folder / "may_service.csv", [*rows[:150], *failing])
    write_list(folder / "june_service.csv", rows)
    for stem, name, found, rate in (
        ("may_service", "May service", "may_service.csv", 50),
        ("june_service", "June service", "june_service.csv", 8),
        ("recall", "Recall notice", "recall.csv", 10),
    ):
        text = CAMPAIGN.format(name=name, list=found, template="service.txt.j2", rate=rate)
        (folder / f"{stem}.toml").write_text(text, encoding="utf-8")


def write_list(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["Customer ID", "First Name", "Model", "Phone", "OK to Text"], *rows])


@contextmanager
def running(*arguments: str, folder: Path, base_url: str = "") -> Iterator[str]:
    """Runs one of batchsend's servers. Yields the first lines of its output, which have its address."""
    with subprocess.Popen(  # noqa: S603 - a fixed command
        [*COMMAND, *arguments], cwd=folder, env=environment(base_url), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            output = ""
            for line in process.stdout or ():
                output += line
                if "Ctrl-C" in line:
                    break
            yield output
        finally:
            process.terminate()


def environment(base_url: str) -> dict[str, str]:
    """The environment without settings from outside, and with made-up ones."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MYKAARMA", "BATCHSEND"))
    }
    return {
        **kept,
        "MYKAARMA_BASE_URL": base_url,
        "MYKAARMA_USERNAME": "lakeside",
        "MYKAARMA_PASSWORD": "made up",
        "LOGNAME": "dana",
        "PYTHONUNBUFFERED": "1",
    }


def draw(page: Page, name: str, at: str = "", size: tuple[int, int] = DESKTOP) -> None:
    """Takes a picture of the page, scrolled to the element `at`."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    if at:
        page.locator(at).evaluate("one => one.scrollIntoView({block: 'start', behavior: 'instant'})")
    else:
        page.evaluate("window.scrollTo(0, 0)")
    suffix = "-phone" if size is PHONE else ""
    page.screenshot(path=HERE / f"web-{name}{suffix}.png")
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})


def click_through(browser: Browser, link: str) -> None:
    """Goes from the list of campaigns to a customer's history, with a picture of each page."""
    settings: dict[str, Any] = {"color_scheme": "light", "timezone_id": "America/Chicago", "locale": "en-US"}
    page = browser.new_context(**settings).new_page()
    page.set_default_timeout(60_000)
    page.goto(link)
    for size in (DESKTOP, PHONE):
        draw(page, "campaigns", size=size)
    page.get_by_role("link", name="June service").click()
    page.wait_for_selector("#overview:not([hx-get])")
    for size in (DESKTOP, PHONE):
        draw(page, "campaign", size=size)
    page.get_by_role("link", name="Text", exact=True).click()
    expect(page.locator("#tried .bubble")).to_be_visible()
    for size in (DESKTOP, PHONE):
        draw(page, "text", size=size)
    page.locator("#step-check").click()
    review = page.get_by_role("link", name=re.compile(r"Review and send \d+ texts")).first
    expect(review).to_be_visible(timeout=60_000)
    for size in (DESKTOP, PHONE):
        draw(page, "check", size=size)
    review.click()
    question = page.get_by_role("heading", name=re.compile(r"Send \d+ texts\?"))
    expect(question).to_be_visible()
    for size in (DESKTOP, PHONE):
        draw(page, "question", size=size)
    number = re.sub(r"\D", "", question.inner_text())
    page.get_by_role("radio", name="All: ").check()
    page.get_by_label("Type the number of texts").fill(number)
    page.get_by_role("button", name="Send the texts").click()
    expect(page.locator("#progress .headline")).to_contain_text(re.compile(r"[4-9]\d of"), timeout=60_000)
    for size in (DESKTOP, PHONE):
        draw(page, "sending", size=size)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("link", name="Campaigns").first.click()
    page.get_by_role("link", name="Run 1").click()
    expect(page.get_by_text("Your own list with the results cannot be downloaded")).to_be_visible()
    for size in (DESKTOP, PHONE):
        draw(page, "run", size=size)
    page.goto(f"{link.partition('/enter')[0]}/history?q=312+500+0021")
    for size in (DESKTOP, PHONE):
        draw(page, "history", size=size)


def ask_for_approval(folder: Path, base_url: str) -> str:
    """Adds users and a campaign with the guard, and asks for its approval. Returns the request's address."""
    users = Users(folder / ".batchsend" / "web-users.json")
    users.put("dana", PASSWORD)
    text = CAMPAIGN.format(name="July service", list="june_service.csv", template="service.txt.j2", rate=8)
    (folder / "july_service.toml").write_text(f"{text}\n[guards]\napproval = true\n", encoding="utf-8")
    subprocess.run(  # noqa: S603 - a fixed command
        [*COMMAND, "send", "july_service.toml", "--yes"],
        cwd=folder,
        env={**environment(base_url), "LOGNAME": "ann"},
        check=False,
    )
    return "/campaign/here/july_service/approval/1"


def open_on_a_phone(browser: Browser, address: str) -> None:
    """Signs in as the person who is asked, with a picture of the request."""
    page = browser.new_context(color_scheme="light", timezone_id="America/Chicago", locale="en-US").new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.get_by_role("textbox", name="Name").fill("dana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="See all texts")).to_be_visible(timeout=60_000)
    draw(page, "approval", "h1", PHONE)


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is missing. Install Chromium.")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary) / "lakeside"
        folder.mkdir()
        write_campaigns(folder)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        with running("sandbox", "--port", "0", "--latency", "0.05", folder=folder) as output:
            base_url = LISTENING.findall(output)[0].rstrip(".,/")
            subprocess.run(  # noqa: S603 - a fixed command
                [*COMMAND, "send", "may_service.toml", "--yes", "--quiet"],
                cwd=folder,
                env=environment(base_url),
                check=False,
            )
            with running("web", "--no-open", "--port", "0", folder=folder, base_url=base_url) as printed:
                click_through(browser, next(url for url in LISTENING.findall(printed) if "/enter" in url))
            asked = ask_for_approval(folder, base_url)
            office = ("web", "--no-open", "--port", "0", "--name", "texts.example")
            with running(*office, folder=folder, base_url=base_url) as printed:
                open_on_a_phone(browser, LISTENING.findall(printed)[0].rstrip(".,/") + asked)
        browser.close()


if __name__ == "__main__":
    main()
