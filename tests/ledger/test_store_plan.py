"""Storing a plan on both databases: a new run, a further start and rows opened again."""

from __future__ import annotations

import pytest
from ledgers import (
    BASE_URL,
    HOST,
    came_to,
    everything,
    identity,
    outbox,
    planned,
    send_all,
    store_plan,
    stored,
)
from sqlalchemy import select, text

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.runs import overview
from batchsend.ledger.schema import superseded
from batchsend.statuses import IN_FLIGHT, Code, Status


def test_a_plan_is_stored_completely_or_not_at_all(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    with ledger.write() as connection:
        # Row 1,101 violates this, long after the first batch was written.
        connection.execute(text("CREATE UNIQUE INDEX one_text_each ON messages (body)"))
    before = everything(ledger)
    rows = [planned(row, body=f"New {min(row, 1100)}") for row in range(2, 1200)]
    for attempt in ({}, {"run_id": stored_plan.run_id}):
        with pytest.raises(LedgerError):
            store_plan(ledger, rows, **attempt)
        assert everything(ledger) == before


def test_a_further_start_keeps_tried_rows_and_replaces_the_others(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(row) for row in range(2, 9)])
    sender = outbox(ledger, first)
    sender.exchange([], 5)
    outcomes = [
        came_to(2, Status.ACCEPTED),
        came_to(3, Status.FAILED, "NOPE"),
        came_to(4, Status.UNCONFIRMED, "TIMEOUT"),
    ]
    sender.exchange(outcomes, 0)
    again = store_plan(
        ledger,
        [
            # A plan made while row 5 was in flight must not open it, nor any other.
            *(planned(row, body="new") for row in (2, 3, 4, 5)),
            planned(6, status=Status.INVALID, codes=Code.MISSING_VALUE),
            planned(7, body="new"),
            planned(8, status=Status.SKIPPED, codes=Code.SUPPRESSED),
        ],
        run_id=first.run_id,
    )
    assert again.run_id == first.run_id
    assert again.start_id != first.start_id
    assert again.closed == {}
    assert stored(ledger, first.run_id) == {
        2: ("accepted", ""),
        3: ("failed", "NOPE"),
        4: ("unconfirmed", "TIMEOUT"),
        5: (IN_FLIGHT, "STOPPED"),
        6: (IN_FLIGHT, "STOPPED"),
        7: ("pending", "STOPPED"),
        8: ("skipped", "SUPPRESSED"),
    }
    assert [claimed.body for claimed in outbox(ledger, again, "you").exchange([], 9)] == ["new"]
    assert ledger.counts(first.run_id) == {
        "accepted": 1,
        "failed": 1,
        "unconfirmed": 1,
        IN_FLIGHT: 3,
        "skipped": 1,
    }


def test_the_outcome_of_a_row_that_is_opened_again_is_kept(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3), planned(4)])
    send_all(ledger, first, came_to(2, Status.FAILED, "NOPE"), came_to(3, Status.UNCONFIRMED, "TIMEOUT"))
    again = store_plan(
        ledger, [planned(row, generation=1, resend="failed") for row in (2, 3, 4)], run_id=first.run_id
    )
    # A plan cannot open an accepted row.
    assert stored(ledger, first.run_id) == {
        2: ("pending", "STOPPED"),
        3: ("pending", "STOPPED"),
        4: ("accepted", ""),
    }
    assert {name: len(rows) for name, rows in everything(ledger).items()}["superseded"] == 2
    sender = outbox(ledger, again)
    assert [(c.row, c.generation, c.attempts) for c in sender.exchange([], 9)] == [(2, 1, 1), (3, 1, 1)]
    sender.exchange([came_to(2), came_to(3, Status.FAILED, "NOPE")], 0)
    # The same generation does not open anything a second time.
    store_plan(ledger, [planned(row, generation=1, resend="failed") for row in (2, 3)], run_id=first.run_id)
    assert stored(ledger, first.run_id)[3] == ("failed", "NOPE")
    store_plan(ledger, [planned(3, generation=2, resend="failed")], run_id=first.run_id)
    with ledger.read() as connection:
        query = select(superseded.c.row, superseded.c.generation, superseded.c.status).order_by(
            superseded.c.row, superseded.c.generation
        )
        left = [tuple(row) for row in connection.execute(query)]
    assert left == [(2, 0, "failed"), (3, 0, "unconfirmed"), (3, 1, "failed")]


def test_a_row_opened_again_and_never_sent_gets_its_outcome_back(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3), planned(4)])
    send_all(ledger, first, came_to(2, Status.FAILED, "NOPE"), came_to(3, Status.UNCONFIRMED, "TIMEOUT"))
    before = everything(ledger)
    opened = [planned(row, generation=1, resend="failed") for row in (2, 3)]
    store_plan(ledger, opened, run_id=first.run_id)
    # The next start opens only one of them again.
    store_plan(ledger, opened[:1], run_id=first.run_id)
    assert stored(ledger, first.run_id) == {
        2: ("pending", "STOPPED"),
        3: ("unconfirmed", "TIMEOUT"),
        4: ("accepted", ""),
    }
    # Another list opens none of them.
    other = store_plan(ledger, [planned(2, key="other")])
    assert other.closed == {}
    after = everything(ledger)
    assert [row for row in after["messages"] if row[0] == first.run_id] == before["messages"]
    assert after["superseded"] == []


def test_a_new_run_closes_the_untried_rows_of_the_campaigns_other_runs(ledger: Ledger) -> None:
    first = store_plan(
        ledger,
        [*(planned(row) for row in (2, 3, 4)), planned(5, status=Status.INVALID, codes=Code.MISSING_VALUE)],
    )
    other = store_plan(ledger, [planned(2)], who=identity("Summer"))
    sender = outbox(ledger, first)
    sender.exchange([], 1)
    sender.exchange([came_to(2)], 0)
    second = store_plan(ledger, [planned(2), planned(3)])
    assert second.closed == {first.run_id: 2}
    assert stored(ledger, first.run_id) == {
        2: ("accepted", ""),
        3: ("skipped", "CLOSED"),
        4: ("skipped", "CLOSED"),
        5: ("invalid", "MISSING_VALUE"),
    }
    # If the old process is still running, it finds nothing more to send.
    assert sender.exchange([], 5) == []
    assert stored(ledger, other.run_id) == {2: ("pending", "STOPPED")}
    # The first list again continues its run, and the second run is unchanged.
    back = store_plan(ledger, [planned(3), planned(4)], run_id=first.run_id)
    assert back.closed == {}
    assert stored(ledger, first.run_id)[3] == ("pending", "STOPPED")
    assert stored(ledger, second.run_id)[3] == ("pending", "STOPPED")


def test_a_campaign_keeps_its_record_under_a_new_name_and_file(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2)])
    record = ledger.campaign("Spring", BASE_URL)
    assert record is not None
    assert ledger.campaign("Spring", "https://elsewhere.example.com") is None
    assert ledger.campaigns_of_file("/campaigns/spring.toml", HOST, BASE_URL) == [record]
    store_plan(
        ledger,
        [planned(2)],
        run_id=first.run_id,
        campaign_id=record.id,
        who=identity("Summer", file="/campaigns/summer.toml", key_columns=("vin",)),
    )
    renamed = ledger.campaign("Summer", BASE_URL)
    assert renamed is not None
    assert (renamed.id, renamed.file, renamed.key_columns) == (record.id, "/campaigns/summer.toml", ("vin",))
    assert ledger.campaign("Spring", BASE_URL) is None
    assert ledger.campaigns_of_file("/campaigns/spring.toml", HOST, BASE_URL) == []


def test_campaigns_of_a_file_are_listed_oldest_first(ledger: Ledger) -> None:
    for name in ("Spring", "Autumn", "Summer"):
        store_plan(ledger, [planned(2)], who=identity(name))
    store_plan(ledger, [planned(2)], who=identity("Spring"))
    found = ledger.campaigns_of_file("/campaigns/spring.toml", HOST, BASE_URL)
    assert [campaign.name for campaign in found] == ["Spring", "Autumn", "Summer"]


def test_the_end_of_a_start_is_recorded(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3)])
    [line] = overview(ledger)
    assert (line.run_id, line.campaign, line.ended_at, line.ending) == (first.run_id, "Spring", None, None)
    assert line.counts == {"pending": 2}
    ledger.end_start(first.start_id, 3, "the disk is full")
    store_plan(ledger, [planned(2)], who=identity("Summer"))
    latest, earlier = overview(ledger)
    assert latest.campaign == "Summer"
    assert earlier.ending == "the disk is full"
    assert earlier.ended_at is not None
    assert [line.campaign for line in overview(ledger, "Summer")] == ["Summer"]
