"""Dismissals cover the rows that a person saw, as long as these have that outcome."""

from __future__ import annotations

from ledgers import came_to, outbox, planned, send_all, store_plan

from batchsend.ledger.dismissals import dismiss, dismissals_of, restore
from batchsend.ledger.ledger import Ledger
from batchsend.statuses import Status

TIMEOUT = (Status.UNCONFIRMED, "TIMEOUT")


def dismissed(ledger: Ledger, expected: int, outcome: tuple[str, str] = TIMEOUT) -> bool:
    return dismiss(ledger, 1, *outcome, expected, reason="They have the text.", by="dana")


def rows_of(ledger: Ledger) -> list[int]:
    return [one.rows for one in dismissals_of(ledger, [1])]


def test_only_rows_that_were_seen_are_dismissed(ledger: Ledger) -> None:
    stored = store_plan(ledger, [planned(row) for row in range(2, 7)])
    send_all(ledger, stored, *(came_to(row, *TIMEOUT) for row in (2, 3)), came_to(4, Status.FAILED, "X"))
    assert not dismissed(ledger, 1)
    assert dismissals_of(ledger, [1]) == []
    assert dismissed(ledger, 2)
    assert rows_of(ledger) == [2]
    (one,) = dismissals_of(ledger, [1])
    assert (one.status, one.codes, one.reason, one.dismissed_by) == (*TIMEOUT, "They have the text.", "dana")
    # They are not dismissed twice.
    assert not dismissed(ledger, 2)
    assert dismissals_of(ledger, [2]) == []


def test_a_dismissal_can_be_taken_back_once(ledger: Ledger) -> None:
    send_all(ledger, store_plan(ledger, [planned(2)]), came_to(2, *TIMEOUT))
    assert dismissed(ledger, 1)
    (one,) = dismissals_of(ledger, [1])
    assert not restore(ledger, 2, one.id, "eva")
    assert restore(ledger, 1, one.id, "eva")
    assert not restore(ledger, 1, one.id, "eva")
    assert dismissals_of(ledger, [1]) == []
    assert dismissed(ledger, 1)


def test_a_row_that_is_sent_again_needs_attention_again(ledger: Ledger) -> None:
    send_all(
        ledger, store_plan(ledger, [planned(2), planned(3)]), *(came_to(row, *TIMEOUT) for row in (2, 3))
    )
    assert dismissed(ledger, 2)
    again = store_plan(ledger, [planned(2, generation=1, resend="unconfirmed")], run_id=1)
    assert rows_of(ledger) == [1]
    send_all(ledger, again, came_to(2, *TIMEOUT))
    assert rows_of(ledger) == [1]
    assert dismissed(ledger, 1)
    assert rows_of(ledger) == [1, 1]


def test_a_row_that_was_in_flight_when_its_process_died_stays_dismissed(ledger: Ledger) -> None:
    stored = store_plan(ledger, [planned(2)])
    outbox(ledger, stored).exchange([], 1)
    assert dismissed(ledger, 1, (Status.UNCONFIRMED, "INTERRUPTED"))
    assert rows_of(ledger) == [1]
    ledger.interrupt_claims("Spring", "https://api.example.com")
    assert rows_of(ledger) == [1]
