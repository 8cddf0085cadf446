"""How texts that were found in a conversation change the ledger's rows, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledgers import BASE_URL, came_to, identity, outbox, planned, send_all, store_plan, stored
from sqlalchemy import Connection, select, update

from batchsend.errors import BusyError
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.ledger import Ledger, StoredPlan, hold_nothing
from batchsend.ledger.schema import messages, superseded
from batchsend.ledger.settlements import ReadConversation, Thread, record_reading, unknown_texts
from batchsend.ledger.update_matching import Send
from batchsend.mykaarma.conversation import ConversationMessage, Direction
from batchsend.mykaarma.settlement import RequestFacts
from batchsend.mykaarma.updates import UpdateOutcome
from batchsend.statuses import Status

SENT_AT = datetime(2026, 3, 2, 10, tzinfo=UTC)  # as `came_to` says
LATER = "2026-03-02T12:00:00.000Z"


def unconfirmed(row: int, sent_at: str | None = None) -> Any:
    return came_to(row, Status.UNCONFIRMED, "TIMEOUT", sent_at)


def message(
    row: int = 2, uuid: str = "m-2", outcome: Status | None = None, at: datetime = SENT_AT
) -> ConversationMessage:
    """The message of a row as the conversation shows it."""
    known = UpdateOutcome(outcome) if outcome is not None else None
    return ConversationMessage(
        uuid, Direction.SENT, at + timedelta(seconds=1), f"Text {row}", None, False, known
    )


def looked(
    ledger: Ledger, plan: StoredPlan, *found: ConversationMessage, customer: str = "customer-2"
) -> list[Status]:
    read = ReadConversation(found, timedelta(0))
    return record_reading(ledger, hold_nothing, plan.run_id, BASE_URL, customer, read, RequestFacts())


def row_of(ledger: Ledger, plan: StoredPlan, row: int = 2, table: Any = messages) -> dict[str, Any]:
    with ledger.read() as connection:
        query = select(table).where(table.c.run_id == plan.run_id, table.c.row == row)
        return dict(connection.execute(query).mappings().one())


def sent(ledger: Ledger, *outcomes: Any, name: str = "Spring") -> StoredPlan:
    """A run with a row for each outcome, which were sent."""
    plan = store_plan(ledger, [planned(outcome.row) for outcome in outcomes], who=identity(name))
    send_all(ledger, plan, *outcomes)
    return plan


def sent_again(ledger: Ledger, plan: StoredPlan, outcomes: Sequence[Any] | None) -> None:
    """Opens row 2 again; without `outcomes`, it is not sent yet."""
    again = planned(2, generation=1, resend="unconfirmed")
    newer = store_plan(ledger, [again], run_id=plan.run_id, resend="unconfirmed")
    if outcomes is not None:
        send_all(ledger, newer, *outcomes)


def test_the_texts_to_look_for(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2), came_to(3), came_to(4, Status.FAILED, "X"))
    wanted = unknown_texts(ledger, plan.run_id)
    assert wanted.keys() == {"customer-2"}
    [(send, (thread, text))] = wanted["customer-2"].items()
    assert (send, thread) == (Send(plan.run_id, 2, 0), Thread("department", "user", "customer-2"))
    assert (text.body, text.phone, text.requested_at) == ("Text 2", "+13125550002", SENT_AT)


@pytest.mark.parametrize("outcome", [Status.DELIVERED, Status.UNDELIVERED, Status.ACCEPTED])
def test_a_text_that_was_found_gets_its_message_and_outcome(ledger: Ledger, outcome: Status) -> None:
    plan = sent(ledger, unconfirmed(2), unconfirmed(3))
    assert looked(ledger, plan, message(outcome=outcome)) == [outcome]
    row = row_of(ledger, plan)
    assert (row["status"], row["codes"], row["message_uuid"]) == (outcome, "", "m-2")
    assert row["looked_for_at"] is None
    assert stored(ledger, plan.run_id)[3] == (Status.UNCONFIRMED, "TIMEOUT")
    # An update that has only the message's id finds the row.
    body = json.dumps({"messageDTO": {"uuid": "m-2", "deliveryStatus": "DELIVERED"}}).encode()
    assert Deliveries(ledger).record(ReceivedUpdate.all_of(body, LATER)).matched == 1
    assert stored(ledger, plan.run_id)[2] == (Status.DELIVERED, "")


def test_a_text_that_was_not_found_says_when_it_was_looked_for(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2), came_to(3))
    assert looked(ledger, plan, message(3)) == []
    row = row_of(ledger, plan)
    assert (row["status"], row["codes"], row["message_uuid"]) == (Status.UNCONFIRMED, "TIMEOUT", None)
    assert row["looked_for_at"] is not None
    # A text that is sent again was not looked for yet.
    sent_again(ledger, plan, [unconfirmed(2)])
    assert row_of(ledger, plan)["looked_for_at"] is None


def test_an_update_that_came_first_is_kept(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2))
    reference = {
        "batchsendLedger": ledger.ledger_id(),
        "batchsendRun": str(plan.run_id),
        "batchsendRow": "2",
        "batchsendSend": "1",
    }
    body = json.dumps({"callbackMetaData": reference, "deliveryStatus": "DELIVERED"}).encode()
    Deliveries(ledger).record(ReceivedUpdate.all_of(body, LATER))
    assert looked(ledger, plan, message()) == []
    assert stored(ledger, plan.run_id)[2] == (Status.DELIVERED, "")


@pytest.mark.parametrize("other", [unconfirmed(2), came_to(2), None])
def test_the_same_text_of_another_campaign(ledger: Ledger, other: Any) -> None:
    plan = sent(ledger, unconfirmed(2))
    second = store_plan(ledger, [planned(2)], who=identity("Again"))
    if other is None:
        outbox(ledger, second).exchange([], 10)  # in flight
        with ledger.write() as connection:
            connection.execute(update(messages).values(sent_at="2026-03-02T10:00:00.000Z"))
    else:
        send_all(ledger, second, other)
    # Of an accepted text the message is known, and it is another one.
    known = other is not None and other.status is Status.ACCEPTED
    assert looked(ledger, plan, message()) == ([Status.ACCEPTED] if known else [])
    assert looked(ledger, plan, message(uuid="message-2")) == []


def test_campaigns_at_another_api_do_not_matter(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2))
    elsewhere = store_plan(ledger, [planned(2)], who=identity(base_url="https://sandbox.example.com"))
    send_all(ledger, elsewhere, unconfirmed(2))
    assert looked(ledger, plan, message()) == [Status.ACCEPTED]


def test_a_text_that_was_sent_twice_is_not_settled_by_one_message(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2))
    sent_again(ledger, plan, [unconfirmed(2, "2026-03-02T10:05:00.000Z")])
    assert looked(ledger, plan, message()) == []
    assert looked(ledger, plan, message(at=SENT_AT + timedelta(minutes=5))) == []
    assert stored(ledger, plan.run_id)[2] == (Status.UNCONFIRMED, "TIMEOUT")


def test_a_text_that_is_found_before_it_is_sent_again_is_not_sent_again(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2))
    sent_again(ledger, plan, None)
    assert stored(ledger, plan.run_id)[2][0] == Status.PENDING
    assert unknown_texts(ledger, plan.run_id).keys() == {"customer-2"}
    assert looked(ledger, plan) == []
    assert row_of(ledger, plan, table=superseded)["looked_for_at"] is not None
    assert looked(ledger, plan, message()) == [Status.ACCEPTED]
    row = row_of(ledger, plan)
    assert (row["status"], row["message_uuid"], row["generation"]) == (Status.ACCEPTED, "m-2", 0)


def test_a_purged_text_is_not_settled(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2))
    with ledger.write() as connection:
        connection.execute(update(messages).values(body=None, phone=None, purged_at=LATER))
    assert looked(ledger, plan, message()) == []


def test_nothing_changes_under_a_lock_that_was_lost(ledger: Ledger) -> None:
    plan = sent(ledger, unconfirmed(2))

    def lost(_connection: Connection) -> None:
        raise BusyError.sending("Spring")

    before = row_of(ledger, plan)
    read = ReadConversation([message()], timedelta(0))
    with pytest.raises(BusyError):
        record_reading(ledger, lost, plan.run_id, BASE_URL, "customer-2", read, RequestFacts())
    assert row_of(ledger, plan) == before


def test_a_row_that_another_process_is_changing_is_left_alone(ledger: Ledger) -> None:
    if ledger.file is not None:
        pytest.skip("a ledger in a file has one writer")
    plan = sent(ledger, unconfirmed(2))
    with ledger.write() as other:
        other.execute(select(messages.c.row).with_for_update())
        assert looked(ledger, plan, message()) == []
    assert row_of(ledger, plan)["looked_for_at"] is None
    assert stored(ledger, plan.run_id)[2] == (Status.UNCONFIRMED, "TIMEOUT")
