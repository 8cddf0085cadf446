"""The page of a run: its outcomes in words and as a chart, and what people do about them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import came_to, identity, planned, send_all, store_plan
from sqlalchemy import update
from web_client import Clicker, serving
from world import World, customers

from batchsend.ledger.dismissals import dismissals_of
from batchsend.ledger.ledger import Ledger, StoredPlan
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.runs import note_undelivered, overview
from batchsend.ledger.schema import messages
from batchsend.mykaarma.protocol import SendingAttributes
from batchsend.runs.lookup import state_of as run_words
from batchsend.sending.cluster.open_runs import end_runs, hand_over
from batchsend.sending.run_settings import RunSettings
from batchsend.settings import os_user
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
        planned(row)
        if row in tried
        else planned(row, status=status, codes=codes, body=None, descriptions="`Phone` is short")
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


def test_a_notice_that_was_not_delivered_is_named(clicker: Clicker, ledger: Ledger) -> None:
    note_undelivered(
        ledger, 1, ["The notice to hooks.example.com was not delivered: x. Check `url` under [n]."]
    )
    note_undelivered(ledger, 1, ["The notice by e-mail was not delivered: y."])
    shown = clicker.get(RUN)
    assert "The notice to hooks.example.com was not delivered: x" in shown.plain
    assert "The notice by e-mail was not delivered: y" in shown.plain
    assert "under [n]" not in shown.plain
    assert "/campaign/here/campaign/when/more/notices" in shown.text


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


def test_dismissed_rows_need_no_attention_and_stay_on_the_page(clicker: Clicker, ledger: Ledger) -> None:
    locked = f"{RUN}/dismiss?status=failed&code=CUSTOMER_LOCKED"
    assert "4 rows need attention" in clicker.get(RUN).plain
    asked = clicker.get(locked)
    assert "Dismiss 2 rows?" in asked.plain

    refused = clicker.post(locked, {"count": asked.hidden("count"), "reason": " "})
    assert "Say what was done about these rows" in refused.plain
    assert 'aria-invalid="true"' in refused.text
    changed = clicker.post(locked, {"count": "1", "reason": "Called <both>."})
    assert "There are 2 rows with this outcome now" in changed.plain
    assert 'value="Called &lt;both&gt;."' in changed.text
    assert dismissals_of(ledger, [1]) == []

    page = clicker.post(locked, {"count": "2", "reason": "Called <both>."})
    assert "2 rows need attention. 2 rows dismissed." in page.plain
    dismissed = page.plain[page.plain.index("Dismissed 2 rows") :]
    assert f"Called <both>. {os_user()}, " in dismissed
    assert "2 rows need attention" in clicker.get("/").plain
    assert "2 dismissed" in clicker.get("/campaign/here/campaign").plain
    assert clicker.raw("GET", locked).status == 404
    assert "refused texts again?" not in page.plain

    (one,) = dismissals_of(ledger, [1])
    page = clicker.post(f"{RUN}/restore", {"dismissal": str(one.id)})
    assert "These rows need attention again." in page.plain
    assert "4 rows need attention" in page.plain


def test_giving_up_says_so_everywhere(world: World, ledger: Ledger) -> None:
    who = identity(base_url=world.base_url, file=str(world.folder / "campaign.toml"))
    stored = store_plan(ledger, [planned(row) for row in range(2, 6)], who=who)
    ledger.end_start(stored.start_id, 130, "interrupted")
    with serving(world) as served:
        clicker = served.signed_in()
        assert "4 rows waiting" in clicker.get(RUN).plain
        stopped = clicker.post(f"{RUN}/stop")
        assert f"Stopped for good by {os_user()}, " in stopped.plain
        assert "4 rows were given up and not texted. If you check the same list again" in stopped.plain
        assert "Run 1: Stopped for good" in clicker.get("/campaign/here/campaign").plain
        assert "Stopped for good" in clicker.get("/").plain
        assert "starts by itself" not in stopped.plain
        world.write(campaign='\n[schedule]\ncron = "0 10 * * *"\n')
        assert "This campaign starts by itself on" in clicker.get(RUN).plain
    (listed,) = overview(ledger)
    assert f"stopped for good by {os_user()}, " in run_words(ledger, listed).words


def test_a_stop_for_good_is_finished_after_the_console_was_killed(world: World, ledger: Ledger) -> None:
    who = identity(base_url=world.base_url, file=str(world.folder / "campaign.toml"))
    stored = store_plan(ledger, [planned(row) for row in range(2, 6)], who=who)
    # The console had asked for it, and was killed while the texts under way were finished.
    ledger.request_stop(stored.run_id, "dana", for_good=True)
    ledger.end_start(stored.start_id, 130, "a stop was requested")
    with serving(world) as served:
        clicker = served.signed_in()
        clicker.get(RUN)
        page = clicker.wait(RUN, "4 rows were given up and not texted.")
        assert "Stopped for good by dana, " in page.plain


def test_a_run_that_was_continued_is_not_given_up_after_all(world: World, ledger: Ledger) -> None:
    who = identity(base_url=world.base_url, file=str(world.folder / "campaign.toml"))
    rows = [planned(row) for row in range(2, 6)]
    stored = store_plan(ledger, rows, who=who)
    ledger.request_stop(stored.run_id, "dana", for_good=True)
    ledger.end_start(stored.start_id, 130, "a stop was requested")
    again = store_plan(ledger, rows, who=who, run_id=stored.run_id)
    ledger.end_start(again.start_id, 130, "interrupted")
    run = ledger.run(stored.run_id)
    assert run is not None
    assert not run.is_to_be_given_up
    with serving(world) as served:
        assert "4 rows waiting" in served.signed_in().get(RUN).plain


def test_a_run_whose_rows_wait_says_why_and_until_when(world: World, ledger: Ledger) -> None:
    world.write(campaign='\n[sending.quiet_hours]\nfrom = "20:00"\nto = "08:00"\n')
    who = identity(base_url=world.base_url, file=str(world.folder / "campaign.toml"))
    rows = [planned(2), planned(3, codes="QUIET_HOURS", clock="America/Chicago")]
    stored = store_plan(ledger, rows, who=who)
    ledger.request_stop(stored.run_id, "dana")
    ledger.end_start(stored.start_id, 130, "a stop was requested")
    with serving(world) as served:
        page = served.signed_in().get(RUN)
    assert "Paused by dana, " in page.plain
    assert "It waits until a person continues it." in page.plain
    assert "1 row : Not sent yet: where this customer is, no texts are sent at this hour" in page.plain
    assert re.search(r"The first of them can be sent at <time datetime=", page.text)


def handed_over(ledger: Ledger, world: World) -> StoredPlan:
    """Stores run 1, with two rows that workers may send."""
    who = identity(base_url=world.base_url, file=str(world.folder / "campaign.toml"))
    stored = store_plan(ledger, [planned(2), planned(3)], who=who)
    settings = RunSettings(world.base_url, 10.0, 20, 30.0, 25, 900.0, SendingAttributes(), False, None, False)
    with ledger.write() as connection:
        hand_over(connection, stored.run_id, stored.start_id, settings)
    return stored


def test_a_start_that_left_its_run_to_workers_was_not_killed(tmp_path: Path, postgres_url: str) -> None:
    world = World(tmp_path, environment={"BATCHSEND_LEDGER": postgres_url}).write(customers(2))
    with closing(open_ledger(postgres_url)) as ledger, serving(world) as served:
        run = handed_over(ledger, world)
        with ledger.write() as connection:
            connection.execute(update(messages).values(status=Status.ACCEPTED, codes=""))
        clicker = served.signed_in()
        # The last worker has sent its rows, and the next look for runs that are over is still to come.
        assert "Left to the workers, which record its end." in clicker.get(RUN).plain
        assert [ended.run_id for ended in end_runs(ledger)] == [run.run_id]
        assert "Left to the workers" not in (page := clicker.get(RUN).plain)
        assert ": done." in page


def test_a_run_that_no_worker_takes_says_so_and_can_be_stopped(tmp_path: Path, postgres_url: str) -> None:
    world = World(tmp_path, environment={"BATCHSEND_LEDGER": postgres_url}).write(customers(2))
    with closing(open_ledger(postgres_url)) as ledger, serving(world) as served:
        handed_over(ledger, world)
        clicker = served.signed_in()
        waiting = clicker.get(RUN).plain
        assert "Waiting for a worker" in waiting
        assert "No worker is running." in waiting
        assert "Waiting for a worker" in clicker.get("/").plain
        paused = clicker.post(f"{RUN}/pause").plain
        assert f"Paused by {os_user()}, " in paused
        assert "2 rows waiting" in paused
        assert "2 rows were given up" in clicker.post(f"{RUN}/stop").plain
