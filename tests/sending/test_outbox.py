"""Claims and outcomes of rows, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledgers import (
    BASE_URL,
    came_to,
    identity,
    outbox,
    planned,
    send_all,
    sqlite_url,
    store_plan,
    stored,
)
from sqlalchemy import select

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.optouts import OptOutRequest, OptOutSource, Person, add_opt_outs
from batchsend.ledger.schema import messages
from batchsend.sending.rows import Outcome
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.utils.timestamps import now, to_text


def test_rows_are_claimed_in_list_order_and_only_once(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(row) for row in (9, 2, 300, 4, 5)])
    mine, yours = outbox(ledger, stored_plan, "me"), outbox(ledger, stored_plan, "you")
    first = mine.exchange([], 2)
    assert [claimed.row for claimed in first] == [2, 4]
    assert (first[0].customer_uuid, first[0].phone, first[0].body) == ("customer-2", "+13125550002", "Text 2")
    assert [claimed.row for claimed in yours.exchange([], 2)] == [5, 9]
    assert [claimed.row for claimed in mine.exchange([], 10)] == [300]
    assert mine.exchange([], 10) == yours.exchange([], 10) == []
    assert set(stored(ledger, stored_plan.run_id).values()) == {(IN_FLIGHT, "STOPPED")}


def test_only_rows_to_be_sent_now_are_claimed(ledger: Ledger) -> None:
    stored_plan = store_plan(
        ledger,
        [
            planned(2, codes=Code.HELD_BACK),
            planned(3, status=Status.INVALID, codes=Code.MISSING_PHONE),
            planned(4, status=Status.SKIPPED, codes=Code.NO_CONSENT),
            planned(5),
            planned(6, codes=Code.QUIET_HOURS),
        ],
    )
    assert [claimed.row for claimed in outbox(ledger, stored_plan).exchange([], 10)] == [5]


def test_another_runs_rows_are_not_claimed(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    other = store_plan(ledger, [planned(2), planned(3)], who=identity("Summer"))
    assert [claimed.row for claimed in outbox(ledger, stored_plan).exchange([], 10)] == [2]
    assert stored(ledger, other.run_id)[2] == ("pending", "STOPPED")


def test_all_of_an_outcome_is_stored_together_with_the_next_claims(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    sender = outbox(ledger, stored_plan)
    sender.exchange([], 1)
    outcome = Outcome(
        row=2,
        status=Status.FAILED,
        codes="A; B",
        descriptions="It went wrong",
        warning_codes="W",
        message_uuid="m",
        request_uuid="r",
        api_status="FAILURE",
        http_status=400,
        attempts=3,
        sent_at="2026-03-02T10:00:00.000Z",
        latency_ms=12,
    )
    assert [claimed.row for claimed in sender.exchange([outcome], 1)] == [3]
    with ledger.read() as connection:
        row = connection.execute(select(messages).where(messages.c.row == 2)).mappings().one()
    for name in Outcome._fields:
        assert row[name] == getattr(outcome, name), name
    assert row["owner"] is None
    assert row["start_id"] == stored_plan.start_id


def test_an_outcome_counts_only_for_a_row_that_the_process_claimed(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3), planned(4)])
    mine, yours = outbox(ledger, stored_plan, "me"), outbox(ledger, stored_plan, "you")
    mine.exchange([], 1)
    yours.exchange([], 1)
    # Only row 2 is mine, row 4 is unclaimed, and a second outcome comes too late.
    mine.exchange([came_to(2), came_to(3), came_to(4)], 0)
    mine.exchange([came_to(2, Status.FAILED, "LATE")], 0)
    assert stored(ledger, stored_plan.run_id) == {
        2: ("accepted", ""),
        3: (IN_FLIGHT, "STOPPED"),
        4: ("pending", "STOPPED"),
    }


def test_a_released_row_waits_again_and_keeps_its_attempts(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    sender = outbox(ledger, stored_plan)
    first, second = sender.exchange([], 2)
    sender.release([first._replace(attempts=3)])
    sender.release([])
    outbox(ledger, stored_plan, "you").release([second])
    assert stored(ledger, stored_plan.run_id) == {2: ("pending", "STOPPED"), 3: (IN_FLIGHT, "STOPPED")}
    again = outbox(ledger, stored_plan).exchange([], 5)
    assert [(claimed.row, claimed.attempts) for claimed in again] == [(2, 3)]


def test_people_who_opted_out_after_the_plan_are_skipped_when_they_are_claimed(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3, phone="+13125550142")])
    send_all(
        ledger, first, came_to(2, Status.FAILED, "CUSTOMER_LOCKED"), came_to(3, Status.UNCONFIRMED, "TIMEOUT")
    )
    rows = [
        planned(2, generation=1, resend="failed"),
        planned(3, generation=1, resend="unconfirmed", phone="+13125550142"),
        *(planned(row) for row in (4, 5, 6, 7)),
    ]
    again = store_plan(ledger, rows, run_id=first.run_id, resend="failed")
    people = [
        OptOutRequest("", "+13125550142", "asked"),
        OptOutRequest("customer-5", "", "asked"),
        OptOutRequest("customer-99", "", "asked"),
    ]
    add_opt_outs(ledger, people, OptOutSource.ADDED, Person("ann", "here"), datetime.now(UTC))
    sender = outbox(ledger, again)
    claimed = sender.exchange([], 3)
    # Rows are claimed until there are enough of them, and each skipped row is reported once.
    assert [message.row for message in claimed] == [2, 4, 6]
    assert [(o.row, o.status, o.codes) for o in sender.take_skipped()] == [
        (3, "skipped", "SUPPRESSED"),
        (5, "skipped", "SUPPRESSED"),
    ]
    assert sender.take_skipped() == []
    add_opt_outs(
        ledger,
        [OptOutRequest("customer-6", "", "late")],
        OptOutSource.ADDED,
        Person("ann", "here"),
        datetime.now(UTC),
    )
    assert [message.row for message in sender.recheck(claimed)] == [2, 4]
    assert stored(ledger, first.run_id) == {
        2: (IN_FLIGHT, "STOPPED"),
        # A row that was opened again has its earlier outcome, as if it had not been chosen.
        3: ("unconfirmed", "TIMEOUT"),
        4: (IN_FLIGHT, "STOPPED"),
        5: ("skipped", "SUPPRESSED"),
        6: ("skipped", "SUPPRESSED"),
        7: ("pending", "STOPPED"),
    }


def test_an_opt_out_at_another_api_does_not_count(ledger: Ledger) -> None:
    other = store_plan(ledger, [planned(2)], who=identity(base_url="http://127.0.0.1:9"))
    send_all(ledger, other, came_to(2, Status.FAILED, "OPTED_OUT_COMMUNICATION_VALUE"))
    assert [message.row for message in outbox(ledger, store_plan(ledger, [planned(2)])).exchange([], 5)] == [
        2
    ]


def test_any_process_can_request_a_stop_and_the_next_start_clears_it(ledger: Ledger, ledger_url: str) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    sender = outbox(ledger, stored_plan)
    assert not sender.stop_requested()
    elsewhere = open_ledger(ledger_url)
    elsewhere.request_stop(stored_plan.run_id, "ann")
    elsewhere.close()
    assert sender.stop_requested()
    other = store_plan(ledger, [planned(2)], who=identity("Summer"))
    assert not outbox(ledger, other).stop_requested()
    again = store_plan(ledger, [planned(2)], run_id=stored_plan.run_id)
    assert not outbox(ledger, again).stop_requested()


def test_a_pause_is_recorded_for_those_who_watch_until_the_next_start(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    outbox(ledger, stored_plan).note_pause(60.0, "quiet hours")
    run = ledger.run(stored_plan.run_id)
    assert run is not None
    assert run.waits_because == "quiet hours"
    assert to_text(now()) < (run.waits_until or "") < to_text(now() + timedelta(seconds=61))
    store_plan(ledger, [planned(2)], run_id=stored_plan.run_id)
    again = ledger.run(stored_plan.run_id)
    assert again is not None
    assert (again.waits_until, again.waits_because) == (None, None)


def test_a_pause_that_cannot_be_recorded_stops_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url(tmp_path / "ledger.db"))
    sender = outbox(ledger, store_plan(ledger, [planned(2)]))
    with ledger.write() as connection:
        connection.exec_driver_sql("ALTER TABLE runs RENAME TO gone")
    sender.note_pause(60.0, "quiet hours")
    ledger.close()


def test_a_row_in_flight_when_its_process_ended_becomes_unconfirmed(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3), planned(4)])
    other = store_plan(ledger, [planned(2)], who=identity("Summer"))
    sender = outbox(ledger, stored_plan)
    sender.exchange([], 2)
    sender.exchange([came_to(2)], 0)
    outbox(ledger, other).exchange([], 1)
    assert ledger.interrupt_claims("Spring", "https://elsewhere.example.com") == 0
    assert ledger.interrupt_claims("Spring", BASE_URL) == 1
    assert stored(ledger, stored_plan.run_id) == {
        2: ("accepted", ""),
        3: ("unconfirmed", "INTERRUPTED"),
        4: ("pending", "STOPPED"),
    }
    # Another campaign's process may still be running.
    assert stored(ledger, other.run_id) == {2: (IN_FLIGHT, "STOPPED")}
    # Too late: this answer may be about another request.
    sender.exchange([came_to(3)], 0)
    assert stored(ledger, stored_plan.run_id)[3] == ("unconfirmed", "INTERRUPTED")
