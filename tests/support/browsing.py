"""The browser of the tests, and the screen sizes of a phone and a desktop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

LAUNCH = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: How long to wait for what has to come, in milliseconds. Other tests may keep the computer busy.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
SIZES = {"desktop": (1200, 900), "phone": (375, 800)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable is not None, "chromium is missing; `make test-system` installs it"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=LAUNCH)
        yield chromium
        chromium.close()


@contextmanager
def screen(browser: Browser, size: str) -> Iterator[Page]:
    """Opens a page of a phone or a desktop."""
    width, height = SIZES[size]
    # The pages' security policy would block axe.
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=size == "phone", bypass_csp=True
    )
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        yield page
    finally:
        context.close()


def look_at(page: Page, name: str) -> None:
    """Checks that the page fits the screen and is accessible.

    With `BATCHSEND_PICTURES=FOLDER` set, a picture is saved there.
    """
    size = page.viewport_size
    assert size is not None
    if pictures := os.environ.get("BATCHSEND_PICTURES"):
        page.screenshot(path=Path(pictures) / f"web-{name}-{size['width']}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
    closed = page.query_selector_all("details:not([open])")
    for details in closed:
        details.evaluate("one => { one.open = true; }")
    checked = Axe().run(page)
    assert not checked.violations_count, f"{name}: {checked.generate_report()}"
    for details in closed:
        details.evaluate("one => { one.open = false; }")
