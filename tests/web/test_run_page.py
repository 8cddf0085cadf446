"""The page of a run: its outcomes in words and as a chart, and what people do about them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgers import came_to, identity, planned, send_all, store_plan
from web_client import Clicker, serving
from world import World, customers

from batchsend.ledger.ledger import Ledger
from batchsend.statuses import Status

RUN = "/campaign/here/campaign/run/1"
#: Row -> its outcome.
OUTCOMES = {
    2: ("accepted", ""),
    3: ("delivered", ""),
    4: ("failed", "CUSTOMER_LOCKED"),
    5: ("failed", "CUSTOMER_LOCKED"),
    6: ("unconfirmed", "TIMEOUT"),
    7: ("invalid", "INVALID_PHONE"),
    8: ("skipped", "DUPLICATE"),
}


def send_mixed(ledger: Ledger, world: World) -> None:
    """Stores run 1 with each of `OUTCOMES`."""
    tried = {row: one for row, one in OUTCOMES.items() if one[0] not in ("invalid", "skipped")}
    rows = [
        planned(row) if row in tried else planned(row, status=status, codes=codes, body=None)
        for row, (status, codes) in OUTCOMES.items()
    ]
    who = identity(base_url=world.base_url, file=str(world.folder / "campaign.toml"))
    stored = store_plan(ledger, rows, who=who)
    send_all(ledger, stored, *(came_to(row, Status(status), codes) for row, (status, codes) in tried.items()))
    ledger.end_start(stored.start_id, 1, "done")


@pytest.fixture
def world(tmp_path: Path, ledger_url: str) -> World:
    folder = tmp_path / "dealership"
    folder.mkdir()
    return World(folder, environment={"BATCHSEND_LEDGER": ledger_url}).write(customers(7))


@pytest.fixture
def clicker(world: World, ledger: Ledger) -> Iterator[Clicker]:
    """A browser that is signed in, where run 1 is over."""
    send_mixed(ledger, world)
    with serving(world) as served:
        yield served.signed_in()


def chart(text: str) -> dict[str, int]:
    """Outcome -> rows, as the chart's table says to those who cannot see it."""
    table = text[text.index('<table class="outcomes">') :]
    found = re.findall(r'<tr><th scope="row">([^<]+)</th><td class="number">([\d,]+)</td>', table)
    return {html.unescape(words): int(count.replace(",", "")) for words, count in found}


def test_the_chart_counts_every_row_once(clicker: Clicker) -> None:
    page = clicker.get(RUN)
    counts = chart(page.text)
    assert counts == {
        "Delivered to the phone": 1,
        "Accepted by myKaarma": 1,
        "Refused, nothing was sent": 2,
        "Unknown whether it was sent": 1,
        "Could not be turned into a text": 1,
        "Not sent on purpose": 1,
        "All rows": 7,
    }
    # The longest bar belongs to the most rows.
    widths = [
        float(width) for width in re.findall(r'<rect class="\w+" width="([\d.]+)" height="4">', page.text)
    ]
    assert max(widths) == widths[2] == pytest.approx(200 / 7, abs=0.01)


def test_a_code_is_said_in_words_and_kept_in_a_tooltip(clicker: Clicker) -> None:
    page = clicker.get(RUN)
    shown = re.sub(r'<span class="hidden">.*?</span>', "", page.text)
    for code in ("CUSTOMER_LOCKED", "TIMEOUT", "INVALID_PHONE", "DUPLICATE"):
        assert f'title="{code}"' in page.text
        assert f"(code {code})" in page.text
        assert code not in re.sub(r"<[^>]+>", "", shown)
    assert "The customer's record is locked in myKaarma at the moment." in page.plain


def test_the_filter_says_in_words_which_rows_are_shown(clicker: Clicker) -> None:
    page = clicker.get(f"{RUN}?status=failed&code=CUSTOMER_LOCKED")
    assert "Only these rows: The customer's record is locked" in page.plain
    assert re.findall(r'data-label="Row">(\d+)', page.text) == ["4", "5"]
    part = clicker.raw("GET", f"{RUN}?status=invalid&find=", headers={"HX-Target": "rows"})
    assert "Only these rows" not in part.plain
    assert re.findall(r'data-label="Row">(\d+)', part.text) == ["7"]
