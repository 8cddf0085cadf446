"""`per_hour`: at most so many texts of a campaign in any hour, evenly spread."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from world import Sandbox, World, customers

from batchsend.planning.hourly_cap import HOUR, HourlyCap, between_texts, first_slot

NOON = datetime(2026, 3, 2, 18, tzinfo=UTC)
EARLIER = st.lists(st.integers(-10, 4000).map(lambda seconds: NOON - timedelta(seconds=seconds)), max_size=40)


class Sent:
    """A campaign that has sent these texts."""

    def __init__(self, moments: list[datetime]) -> None:
        self.moments = sorted(moments, reverse=True)

    def last_texts(self, since: datetime, before: datetime, count: int) -> list[datetime]:
        return [at for at in self.moments if since <= at < before][:count]


@given(st.integers(1, 30), EARLIER)
def test_no_hour_with_a_new_text_has_more_than_the_cap(per_hour: int, earlier: list[datetime]) -> None:
    cap = HourlyCap.of(per_hour, NOON, Sent(earlier))
    new = [cap.first_at + number * between_texts(per_hour) for number in range(3 * per_hour)]
    everything = [min(at, NOON) for at in earlier] + new
    for moment in new:
        assert sum(moment - HOUR < at <= moment for at in everything) <= per_hour
    # Evenly spread, and as many as fit into the hour of this start.
    assert {later - at for at, later in pairwise(new)} <= {between_texts(per_hour)}
    assert cap.left == sum(at < NOON + HOUR for at in new)
    assert cap.again_at == new[cap.left]


@given(st.integers(1, 30))
def test_the_first_text_of_a_campaign_leaves_at_once(per_hour: int) -> None:
    assert HourlyCap.of(per_hour, NOON, Sent([])) == HourlyCap(per_hour, NOON, per_hour)


@given(st.integers(1, 30), st.integers(1, 60))
def test_a_run_that_is_continued_keeps_its_pace(per_hour: int, sent: int) -> None:
    apart = between_texts(per_hour)
    earlier = [NOON - number * apart for number in range(sent)]
    assert first_slot(NOON, earlier[:per_hour], per_hour) == NOON + apart


def test_texts_of_a_clock_that_was_far_ahead_hold_no_rows() -> None:
    """A clock was a year ahead for a run, and right before and after it."""
    wrong = [NOON + timedelta(days=365, minutes=number) for number in range(9)]
    assert HourlyCap.of(4, NOON, Sent([*wrong, NOON - timedelta(minutes=5)])).left == 4
    assert HourlyCap.of(4, NOON, Sent(wrong)) == HourlyCap(4, NOON, 4)


def test_a_kill_while_a_text_waits_for_its_slot_leaves_it_to_be_sent(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2), campaign="[sending]\nper_hour = 20\n")
    process = world.start("send", "campaign.toml", "--yes")
    ledger = world.folder / ".batchsend" / "ledger.db"
    try:
        sandbox.wait_for(1)
        while statuses(ledger)[0] != "accepted":
            assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    # The second text may leave in three minutes.
    assert statuses(ledger) == ["accepted", "pending"]


def statuses(ledger: Path) -> list[str]:
    """The statuses of the rows of all runs."""
    with closing(sqlite3.connect(ledger)) as connection:
        return [status for (status,) in connection.execute("SELECT status FROM messages ORDER BY row")]


def test_a_start_sends_what_fits_into_an_hour(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3), campaign="[sending]\nper_hour = 1\n")
    preview = world.run("preview", "campaign.toml")
    assert "at 1 an hour" in preview.out
    done = world.send()
    assert done.code == 5, done.err
    assert len(sandbox.requests()) == 1
    assert [(row["status"], row["errorCodes"]) for _, row in sorted(world.workbook().items())] == [
        ("accepted", None),
        ("pending", "HOURLY_CAP"),
        ("pending", "HOURLY_CAP"),
    ]
    assert "Some rows are waiting: run the same command again from " in done.out
    # A rehearsal does not take hours.
    assert world.send("--sandbox").code == 0
