"""The manual's site: complete, the same as on GitHub, without anything from other servers, and accessible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import browser
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, expect

from batchsend import __version__

__all__ = ["browser"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")])
#: What makes up a page. Paragraphs are missing: in lists, GitHub and the site space them differently.
ELEMENTS = {"h1", "h2", "h3", "h4", "ul", "ol", "li", "pre", "table", "tr", "td", "img", "blockquote"}
WCAG = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
LOOKS: list[dict[str, Any]] = [
    {"viewport": {"width": 1300, "height": 900}, "color_scheme": "light"},
    {"viewport": {"width": 375, "height": 800}, "color_scheme": "dark"},
]
_FROM_ELSEWHERE = re.compile(
    r"""<(?:link|script|img|iframe)\b[^>]*\b(?:href|src)=["']?(?:https?:)?//|@import|url\(["']?(?:https?:)?//"""
)


class Outline(HTMLParser):
    """Counts the elements inside of the article, or of all if there is none."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(html.partition("<article")[2].partition("</article>")[0] or html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ELEMENTS:
            self.counts[tag] += 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "excluded" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def page_of(source: Path) -> str:
    names = {"README.md": "about.html", "docs/README.md": "index.html"}
    return names.get(source.relative_to(ROOT).as_posix(), f"{source.stem.lower()}.html")


@pytest.mark.parametrize("source", PAGES, ids=lambda source: source.relative_to(ROOT).as_posix())
def test_a_page_is_the_same_as_on_github(source: Path, site: Path) -> None:
    github = MarkdownIt("commonmark").enable("table").render(source.read_text(encoding="utf-8"))
    page = (site / page_of(source)).read_text(encoding="utf-8")
    assert Outline(page).counts == Outline(github).counts


def test_nothing_comes_from_another_server(site: Path) -> None:
    texts = {file: file.read_text("utf-8") for kind in ("html", "css") for file in site.rglob(f"*.{kind}")}
    assert len(texts) > len(PAGES)
    assert {file.name for file, text in texts.items() if _FROM_ELSEWHERE.search(text)} == set()


def test_all_pages_are_accessible_and_fit_the_screen(site: Path, address: str, browser: Browser) -> None:
    asked = []
    names = sorted(file.relative_to(site).as_posix() for file in site.rglob("*.html"))
    for number, look in enumerate(LOOKS):
        page = browser.new_context(**look).new_page()
        page.on("request", lambda request: asked.append(request.url))
        for position, name in enumerate(names):
            page.goto(f"{address}/{name}")
            assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"], name
            # Half of the pages in each look: the check takes a second or two.
            if position % len(LOOKS) == number:
                checked = Axe().run(page, options=WCAG)
                assert not checked.violations_count, f"{name}: {checked.generate_report()}"
        page.context.close()
    assert {url for url in asked if not url.startswith(f"{address}/")} == set()


def test_the_start_leads_everywhere_and_names_the_version(address: str, browser: Browser) -> None:
    page = opened(browser, address)
    expect(page).to_have_title(re.compile(rf"batchsend {re.escape(__version__)}"))
    tabs = page.get_by_label("Tabs").get_by_role("link")
    assert tabs.all_inner_texts() == [
        "Home", "Start", "Campaigns", "Jobs and servers", "Developers", "Reference",
    ]  # fmt: skip
    tabs.get_by_text("Reference").click()
    page.get_by_label("Navigation").get_by_role("link", name="Changelog").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Changelog")
    assert page.get_by_role("heading", level=2).first.get_attribute("id")


def test_the_search_finds_a_page(address: str, browser: Browser) -> None:
    page = opened(browser, address)
    # Words typed before the index is loaded find nothing.
    expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")
    # The search listens to keys.
    page.get_by_role("textbox", name="Search").press_sequentially("FREQUENCY_CAP")
    page.locator(".md-search-result__link").first.click()
    expect(page.get_by_role("article")).to_contain_text("FREQUENCY_CAP")


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_context(**LOOKS[0]).new_page()
    page.goto(f"{address}/index.html", wait_until="networkidle")
    return page
