"""Queries about past runs, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ledgers import (
    came_to,
    history,
    identity,
    outbox,
    planned,
    send_all,
    store_plan,
)

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.runs import code_counts, run_rows, segments_to_send
from batchsend.statuses import IN_FLIGHT, Code, Status


def test_outcomes_of_a_key_in_other_runs_are_found(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(row, key=f"key-{row}") for row in range(2, 8)])
    sender = outbox(ledger, first)
    sender.exchange([], 4)
    sender.exchange(
        [came_to(2), came_to(3, Status.FAILED, "NOPE"), came_to(4, Status.UNCONFIRMED, "TIMEOUT")], 0
    )
    second = store_plan(ledger, [planned(2, key="key-3"), planned(3, key="key-8")])
    send_all(ledger, second)
    keys = [f"key-{row}" for row in range(2, 10)]
    # For a third run: every tried row, including those in flight, latest run first.
    found = history(ledger).earlier(keys)
    assert {key: [(e.run_id, e.status, e.codes) for e in outcomes] for key, outcomes in found.items()} == {
        "key-2": [(first.run_id, "accepted", "")],
        "key-3": [(second.run_id, "accepted", ""), (first.run_id, "failed", "NOPE")],
        "key-4": [(first.run_id, "unconfirmed", "TIMEOUT")],
        "key-5": [(first.run_id, IN_FLIGHT, "STOPPED")],
        "key-8": [(second.run_id, "accepted", "")],
    }
    assert found["key-2"][0].message_uuid == "message-2"
    assert found["key-2"][0].sent_at == "2026-03-02T10:00:00.000Z"
    # The run itself, other campaigns and other APIs do not count.
    assert set(history(ledger, second.run_id).earlier(keys)) == {"key-2", "key-3", "key-4", "key-5"}
    assert set(history(ledger, first.run_id).earlier(keys)) == {"key-3", "key-8"}
    store_plan(ledger, [planned(2, key="key-9")], who=identity("Summer"))
    assert history(ledger, name="Summer").earlier(keys) == {}
    assert history(ledger, name="Never sent").earlier(keys) == {}


def test_more_keys_than_fit_into_one_statement(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2, key="key-11000")])
    send_all(ledger, stored_plan)
    assert list(history(ledger).earlier([f"key-{number}" for number in range(11_001)])) == ["key-11000"]


def test_a_row_opened_again_and_not_sent_counts_with_its_old_outcome(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3)])
    send_all(ledger, first, came_to(2, Status.UNCONFIRMED, "TIMEOUT"))
    again = store_plan(ledger, [planned(2, generation=1, resend="unconfirmed")], run_id=first.run_id)
    asked = history(ledger, first.run_id)
    assert [(row, outcome["status"]) for row, outcome in sorted(asked.tried_rows(2, 3).items())] == [
        (2, "unconfirmed"),
        (3, "accepted"),
    ]
    assert sorted(row for row, *_ in asked.tried_keys()) == [2, 3]
    assert {taken.key for taken in asked.tried([2, 3, 4])} == {"key-2", "key-3"}
    assert asked.chosen(2, 3) == {2: "unconfirmed"}
    assert [e.status for e in history(ledger).earlier(["key-2"])["key-2"]] == ["unconfirmed"]
    # After it is sent, only the new outcome counts.
    send_all(ledger, again)
    assert asked.tried_rows(2, 2)[2]["status"] == "accepted"
    assert asked.chosen(2, 3) == {}
    assert [e.status for e in history(ledger).earlier(["key-2"])["key-2"]] == ["accepted"]


def test_a_choice_is_unfinished_while_a_row_waits_or_its_start_was_killed(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3)])
    send_all(ledger, first, came_to(2, Status.FAILED, "NOPE"), came_to(3, Status.FAILED, "NOPE"))
    ledger.end_start(first.start_id, 1, "done")
    asked = history(ledger, first.run_id)
    assert not asked.unfinished("failed")
    opened = [planned(row, generation=1, resend="failed") for row in (2, 3)]
    again = store_plan(ledger, opened, run_id=first.run_id, resend="failed")
    sender = outbox(ledger, again)
    sender.exchange([], 2)
    # Both are in flight and none waits, but the start has not ended.
    assert asked.unfinished("failed")
    assert not asked.unfinished("unconfirmed")
    sender.release([replace(claimed, attempts=2) for claimed in sender.exchange([came_to(2)], 0)])
    ledger.end_start(again.start_id, 1, "done")
    assert not asked.unfinished("failed")


def test_how_many_texts_may_have_reached_a_customer(ledger: Ledger) -> None:
    since = datetime(2026, 3, 2, tzinfo=UTC)
    early, late = "2026-03-01T23:59:59.999Z", "2026-03-02T00:00:00.000Z"
    spring = store_plan(ledger, [planned(row, customer_uuid="ann") for row in range(2, 9)])
    sender = outbox(ledger, spring)
    sender.exchange([], 6)
    sender.exchange(
        [
            came_to(2, Status.ACCEPTED, sent_at=late),
            came_to(3, Status.UNCONFIRMED, "TIMEOUT", sent_at=late),
            came_to(4, Status.UNDELIVERED, sent_at=late),
            # These do not count: too early, and refused. Row 7 is in flight, row 8 was never tried.
            came_to(5, Status.ACCEPTED, sent_at=early),
            came_to(6, Status.FAILED, "NOPE", sent_at=late),
        ],
        0,
    )
    assert history(ledger).reached(["ann", "bob"], since) == {"ann": 4}
    # Other campaigns count too, but not those at another API.
    summer = store_plan(ledger, [planned(2, customer_uuid="ann")], who=identity("Summer"))
    send_all(ledger, summer, came_to(2, sent_at=late))
    trial = store_plan(ledger, [planned(2, customer_uuid="ann")], who=identity(base_url="http://localhost:1"))
    send_all(ledger, trial, came_to(2, sent_at=late))
    assert history(ledger).reached(["ann", "bob"], since) == {"ann": 5}
    # A row that was sent again counts twice, because both texts may have arrived.
    opened = store_plan(
        ledger, [planned(3, customer_uuid="ann", generation=1, resend="unconfirmed")], run_id=spring.run_id
    )
    outbox(ledger, opened).exchange([], 1)
    assert history(ledger).reached(["ann"], since) == {"ann": 6}


def test_texts_of_an_older_template_are_counted(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(row) for row in range(2, 7)], template="old")
    sender = outbox(ledger, first)
    sender.exchange([], 4)
    sender.exchange([came_to(2), came_to(3), came_to(4, Status.FAILED, "NOPE")], 0)
    # Two texts arrived, one may have, and the refused one did not.
    asked = history(ledger, first.run_id)
    assert asked.sent_with_other_template("new") == 3
    assert asked.sent_with_other_template("old") == 0
    second = store_plan(ledger, [planned(6)], run_id=first.run_id, template="new")
    send_all(ledger, second)
    assert asked.sent_with_other_template("new") == 3
    assert asked.sent_with_other_template("old") == 1


def test_a_runs_rows_codes_and_segments(ledger: Ledger) -> None:
    stored_plan = store_plan(
        ledger,
        [
            planned(4, segments=2),
            planned(2, segments=3),
            planned(3, status=Status.SKIPPED, codes=Code.DUPLICATE),
            planned(5, codes=Code.HELD_BACK, segments=9),
            planned(6, status=Status.SKIPPED, codes=Code.DUPLICATE),
        ],
    )
    assert segments_to_send(ledger, stored_plan.run_id) == (2, 5)
    assert segments_to_send(ledger, stored_plan.run_id + 1) == (0, 0)
    assert [row["row"] for row in run_rows(ledger, stored_plan.run_id)] == [2, 3, 4, 5, 6]
    assert [row["row"] for row in run_rows(ledger, stored_plan.run_id, ["skipped"])] == [3, 6]
    # Most frequent first, then by name.
    assert code_counts(ledger, stored_plan.run_id) == [
        ("pending", "STOPPED", 2),
        ("skipped", "DUPLICATE", 2),
        ("pending", "HELD_BACK", 1),
    ]
