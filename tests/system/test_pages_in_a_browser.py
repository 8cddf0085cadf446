"""The pages in a real browser: nothing is loaded, nothing runs that is not ours, and everybody can use them.

With `BATCHSEND_PICTURES=FOLDER` set, what the browser shows is kept there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import SIZES, browser
from ledgers import planned, store_plan
from playwright.sync_api import Browser, BrowserContext, Page
from sqlalchemy import insert
from world import World, customers, running_sandbox

from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages
from batchsend.reports.output_files import write_run_page
from batchsend.utils.timestamps import to_text

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
TEMPLATE = 'Hi {{ first_name }}, it is time for the service of your {{ model | default("car") }}.'
LISTS = {"3": 3, "100000": 100_000}


def rows(count: int) -> list[dict[str, str]]:
    """Sound rows, and among them one of each kind that the page has a place for."""
    made = customers(count)
    for number, row in enumerate(made):
        row["Model"] = "Civic" if number % 7 else ""
    made[0]["First Name"] = HOSTILE
    made[1]["First Name"] = "Lucía"
    if count > 3:
        for number in range(10, count, 50):
            made[number]["Phone"] = "555-0142"
        made[20]["Customer UUID"] = made[21]["Customer UUID"]
    return made


@dataclass
class Opened:
    """A page in the browser, and what it asked for or complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages: `preview-3`, `preview-100000`, `report-3` (a real run), `report-100000`."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    with running_sandbox(folder) as sandbox:
        for name, count in LISTS.items():
            world = World(folder / name, sandbox.base_url)
            world.folder.mkdir()
            world.write(
                rows(count), template=TEMPLATE, campaign="[sending]\nrate = 2000\nconcurrency = 200\n"
            )
            world.run("preview", "campaign.toml")
            found[f"preview-{name}"] = world.folder / "previews" / "campaign.html"
        world = World(folder / "3", sandbox.base_url)
        # A customer whose text stays unconfirmed, and one whose text is refused.
        doubtful = [
            {"Customer UUID": f"sandbox-{what}-1", "First Name": "Eve", "Phone": "", "Model": "Fit"}
            for what in ("500", "locked")
        ]
        world.write_list([*rows(3), *doubtful])
        world.send()
        found["report-3"] = world.folder / "results" / "campaign-1.html"
    found["report-100000"] = report_of_a_long_run(folder)
    return found


__all__ = ["browser"]
PAGES = ("preview-3", "preview-100000", "report-3", "report-100000")


def report_of_a_long_run(folder: Path) -> Path:
    """A run of 100,000 rows in an hour and a half, with every kind of trouble."""
    began = datetime(2026, 3, 2, 15, tzinfo=UTC)
    troubles = {
        0: ("failed", "CUSTOMER_LOCKED"),
        1: ("unconfirmed", "TIMEOUT"),
        2: ("invalid", "INVALID_PHONE"),
        3: ("skipped", "NO_CONSENT"),
        4: ("pending", "QUIET_HOURS"),
    }
    ledger = open_ledger(f"sqlite:///{folder / 'long.db'}")
    try:
        run_id = store_plan(ledger, [planned(2)]).run_id
        made = []
        for row in range(3, 100_002):
            status, codes = troubles.get(row % 100, ("accepted", ""))
            sent_at = (
                to_text(began + timedelta(seconds=row / 20)) if status not in ("invalid", "skipped") else None
            )
            made.append(
                {**planned(row, status=status, codes=codes, sent_at=sent_at, start_id=1), "run_id": run_id}
            )
        with ledger.write() as connection:
            connection.execute(insert(messages), made)
        run = ledger.run(run_id)
        assert run is not None
        return write_run_page(ledger, run, folder / "long.html", folder / "long.xlsx")
    finally:
        ledger.close()


def opened(context: BrowserContext, file: Path) -> Opened:
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.log.append(message.text))
    found.page.on("pageerror", lambda error: found.log.append(str(error)))
    found.page.goto(file.as_uri())
    return found


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens a page at a size and in a colour scheme."""
    contexts: list[BrowserContext] = []

    def open_page(file: Path, size: str = "desktop", scheme: Any = "light", **more: Any) -> Opened:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **more
        )
        contexts.append(context)
        return opened(context, file)

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_loads_nothing_fits_the_screen_and_is_accessible(
    files: dict[str, Path], open_page: Any, name: str, size: str, scheme: str
) -> None:
    shown = open_page(files[name], size, scheme)
    assert shown.requests == [files[name].as_uri()]
    assert shown.log == []
    assert shown.page.title() != "owned"
    assert shown.page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
    pictures = os.environ.get("BATCHSEND_PICTURES")
    if pictures:
        shown.page.screenshot(path=Path(pictures) / f"{name}-{size}-{scheme}.png", full_page=True)
    # The page's own policy would keep axe out.
    for_axe = open_page(files[name], size, scheme, bypass_csp=True).page
    for details in for_axe.query_selector_all("details"):
        details.evaluate("one => { one.open = true; }")
    checked = Axe().run(for_axe)
    assert checked.violations_count == 0, checked.generate_report()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stays_small(files: dict[str, Path], name: str) -> None:
    assert files[name].stat().st_size < 2_000_000


def test_text_of_customers_is_shown_as_it_is(files: dict[str, Path], open_page: Any) -> None:
    page = open_page(files["preview-3"]).page
    assert page.locator(".bubble").first.inner_text().startswith(f"Hi {HOSTILE}, it is time")
    page.fill("input[name=row]", "2")
    page.press("input[name=row]", "Enter")
    assert page.locator("#found .bubble").inner_text().startswith(f"Hi {HOSTILE}, it is time")
    assert page.title() != "owned"
    assert page.locator("img").count() == 0


def test_any_row_by_its_number(files: dict[str, Path], open_page: Any) -> None:
    page = open_page(files["preview-100000"]).page
    page.click("#problems a[data-row] >> nth=0")
    assert "INVALID_PHONE" not in page.locator("#found").inner_text()
    assert "Row 12 is invalid" in page.locator("#found").inner_text()
    page.fill("input[name=row]", "100999")
    page.click("form button")
    assert "Row 100999 is not among the" in page.locator("#found").inner_text()


def test_the_keyboard_gets_everywhere(files: dict[str, Path], open_page: Any) -> None:
    page = open_page(files["preview-3"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"INPUT", "BUTTON", "SUMMARY"} <= reached


def test_without_scripts_nothing_that_needs_them_is_shown(files: dict[str, Path], open_page: Any) -> None:
    page = open_page(files["preview-3"], java_script_enabled=False).page
    assert not page.locator("#lookup").is_visible()
    assert page.locator(".bubble").first.is_visible()
    assert page.locator("h1").inner_text() == "Spring"
