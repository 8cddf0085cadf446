"""The page of a run in a real browser: what stays while it changes by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browsing import browser, look_at, screen
from playwright.sync_api import Browser, expect
from web_client import serving
from world import customers, running_world

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SPRING = "/campaign/here/campaign"
RUN = f"{SPRING}/run/1"
TOP = "document.querySelector('#find').getBoundingClientRect().top"


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_end_of_a_run_keeps_the_filter_the_focus_and_the_place(
    browser: Browser, tmp_path: Path, size: str
) -> None:
    with running_world(tmp_path) as (world, sandbox):
        world.write(customers(120), campaign="\n[sending]\nrate = 2\n")
        with serving(world) as served, screen(browser, size) as page:
            clicker = served.signed_in()
            address, _ = clicker.check(SPRING)
            clicker.submit(f"{address}/send", {"choice": "all", "number": "120"})
            clicker.wait_for_run(address)
            page.goto(f"http://127.0.0.1:{served.port}{served.new_link()}")
            page.goto(f"http://127.0.0.1:{served.port}{RUN}")
            sandbox.wait_for(5)
            expect(page).to_have_title(re.compile("sending now"))
            look_at(page, "run-sending")

            page.locator("#status").select_option("taken")
            expect(page).to_have_url(re.compile("status=taken"))
            expect(page.get_by_role("status").filter(has_text="on this page")).to_have_count(1)
            page.get_by_label("Find").focus()
            page.keyboard.type("3")
            before = page.evaluate(TOP)
            clicker.post(f"{RUN}/pause")

            # The page follows without being loaded again.
            expect(page.get_by_role("button", name="Continue")).to_have_count(1)
            expect(page.get_by_role("status").filter(has_text="accepted by myKaarma")).to_have_count(1)
            expect(page).to_have_title(re.compile("paused"))
            expect(page.get_by_label("Find")).to_be_focused()
            expect(page.get_by_label("Find")).to_have_value("3")
            expect(page.locator("#status")).to_have_value("taken")
            assert abs(page.evaluate(TOP) - before) < 5
            page.reload()
            expect(page.locator("#status")).to_have_value("taken")
            look_at(page, "run-waiting")


def test_the_focus_goes_to_the_heading_if_its_button_is_gone(browser: Browser, tmp_path: Path) -> None:
    with running_world(tmp_path) as (world, sandbox):
        world.write(customers(60), campaign="\n[sending]\nrate = 3\n")
        with serving(world) as served, screen(browser, "desktop") as page:
            clicker = served.signed_in()
            address, _ = clicker.check(SPRING)
            clicker.submit(f"{address}/send", {"choice": "all", "number": "60"})
            clicker.wait_for_run(address)
            page.goto(f"http://127.0.0.1:{served.port}{served.new_link()}")
            page.goto(f"http://127.0.0.1:{served.port}{RUN}")
            page.get_by_role("button", name="Pause").focus()
            expect(page.get_by_role("heading", name="This run is over")).to_be_focused()
            assert sum(sandbox.texts().values()) == 60
