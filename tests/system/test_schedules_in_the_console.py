"""A campaign is scheduled in a real browser, and the console's own scheduler starts it."""

from __future__ import annotations

import re
import time
import tomllib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from browsing import browser, look_at, screen
from playwright.sync_api import Browser, Page, expect
from schedules import scheduled, soon
from web_client import serving
from world import Sandbox, World, customers

from batchsend.utils.scheduler_mark import SchedulerMark

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
WHEN = "/campaign/here/campaign/when"


def wait_until_gone(world: World) -> None:
    """Waits until no scheduler watches the folder."""
    deadline = time.monotonic() + 60
    while SchedulerMark(world.folder).is_there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def choose_tomorrow(page: Page) -> datetime:
    tomorrow = datetime.now(ZoneInfo("America/Denver")) + timedelta(days=1)
    expect(page.get_by_label("Day", exact=True)).to_be_hidden()
    page.get_by_label("Once, at a time that I choose").check()
    page.get_by_label("Day", exact=True).fill(f"{tomorrow:%Y-%m-%d}")
    page.get_by_label("Time", exact=True).fill("10:30")
    page.get_by_label("In which time zone?").select_option("Mountain")
    expect(page.locator("#starts")).to_contain_text("The next start")
    expect(page.locator("#starts")).to_contain_text(f"{tomorrow:%A}, {tomorrow:%B} {tomorrow.day}, ")
    return tomorrow


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_campaign_is_scheduled_for_tomorrow_by_clicks_alone(
    browser: Browser, world: World, sandbox: Sandbox, size: str
) -> None:
    world.write(customers(4), campaign="# Mine\n[sending]\nrate = 10 # slow\n")
    with serving(world) as served, screen(browser, size) as page:
        page.goto(f"http://127.0.0.1:{served.port}{served.link}")
        page.get_by_role("link", name="Spring").click()
        page.locator("#step-when").click()
        look_at(page, "when")
        tomorrow = choose_tomorrow(page)
        look_at(page, "when-once")
        page.get_by_role("button", name="Save and continue").click()
        expect(page.get_by_role("status")).to_contain_text("One thing is left")
        look_at(page, "when-off")
        page.get_by_role("button", name="Turn scheduled starts on").click()
        expect(page.locator("#scheduler .badge")).to_have_text("On")
        expect(page.locator("#scheduler")).to_contain_text(f"once, on {tomorrow:%A}, ")
        look_at(page, "when-on")
        text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
        assert tomllib.loads(text)["schedule"]["at"] == datetime.fromisoformat(f"{tomorrow:%Y-%m-%d}T10:30")
        assert "# Mine\n[sending]\nrate = 10 # slow" in text
        page.get_by_role("link", name="Campaigns").first.click()
        expect(page.locator(".card")).to_contain_text("Next scheduled start")
        page.go_back()
        page.get_by_role("button", name="Turn scheduled starts off").click()
        expect(page.locator("#scheduler .badge")).to_have_text("Off")
    assert sandbox.requests() == []


def test_every_choice_has_a_page_without_faults(browser: Browser, world: World, sandbox: Sandbox) -> None:
    world.write(customers(4), campaign='[schedule]\ncron = "0 10 * * *"\n')
    # So that the form for them is shown.
    world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": ""}
    for size in ("desktop", "phone"):
        with serving(world) as served, screen(browser, size) as page:
            page.goto(f"http://127.0.0.1:{served.port}{served.link}")
            for group in ("starts", "again", "safety", "mykaarma", "trouble", "reading"):
                page.goto(f"http://127.0.0.1:{served.port}{WHEN}/more/{group}")
                look_at(page, f"more-{group}")
            page.goto(f"http://127.0.0.1:{served.port}{WHEN}/people")
            look_at(page, "people")
            page.goto(f"http://127.0.0.1:{served.port}/campaign/here/campaign/sender")
            look_at(page, "sender-known")
            page.goto(f"http://127.0.0.1:{served.port}{WHEN}")
            page.get_by_label("By a pattern of my own").check()
            expect(page.get_by_label("At what time?")).to_be_hidden()
            look_at(page, "when-pattern")
            page.get_by_label("On some days of the week").check()
            page.get_by_label("Other hours").check()
            look_at(page, "when-days")
            page.get_by_role("button", name="Save and continue").click()
            expect(page.locator("#day-error")).to_have_text(re.compile("Choose at least one day"))
            look_at(page, "when-error")


def test_the_console_starts_campaigns_until_it_ends(world: World, sandbox: Sandbox) -> None:
    scheduled(world, 3, soon(6))
    with serving(world) as served:
        clicker = served.signed_in()
        assert "scheduled starts are off" in clicker.get(WHEN).plain
        on = clicker.post(f"{WHEN}/scheduler", {"scheduler": "on"})
        assert "This console starts campaigns" in on.plain
        sandbox.wait_for(3)
    wait_until_gone(world)
    # It runs again with the console, and ends with it even if the console is killed.
    with serving(world) as served:
        clicker = served.signed_in()
        clicker.wait(WHEN, "This console starts campaigns")
        deadline = time.monotonic() + 60
        while not SchedulerMark(world.folder).is_there():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        served.kill()
        wait_until_gone(world)
    with serving(world) as served:
        off = served.signed_in().post(f"{WHEN}/scheduler", {"scheduler": "off"})
        assert "Turn scheduled starts on" in off.plain
    wait_until_gone(world)
    assert len(sandbox.requests()) == 3


def test_a_campaign_under_way_continues_when_the_console_ends(world: World, sandbox: Sandbox) -> None:
    scheduled(world, 30, soon(6).replace("[schedule]", "[sending]\nrate = 10\n[schedule]"))
    with serving(world) as served:
        served.signed_in().post(f"{WHEN}/scheduler", {"scheduler": "on"})
        sandbox.wait_for(3)
    wait_until_gone(world)
    assert len(sandbox.requests()) < 30
    sandbox.wait_for(30)
    assert set(sandbox.texts().values()) == {1}


def test_a_scheduler_of_another_program_is_seen(world: World, sandbox: Sandbox) -> None:
    scheduled(world, 3, 'timezone = "UTC"\n[schedule]\ncron = "0 0 1 1 *"\n')
    process = world.start("schedule")
    try:
        with serving(world) as served:
            clicker = served.signed_in()
            page = clicker.wait(WHEN, "Another program on this computer starts the campaigns")
            assert "Turn scheduled starts" not in page.plain
            process.kill()
            clicker.wait(WHEN, "scheduled starts are off")
    finally:
        process.kill()
        process.communicate()
