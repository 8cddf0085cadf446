"""How updates change the ledger's rows, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import came_to, history, identity, outbox, planned, send_all, store_plan, stored
from replay_updates import begin, complaints, end, play, tell
from sqlalchemy import select, text

from batchsend.errors import LedgerError
from batchsend.ledger.deliveries import Deliveries, Delivery, ReceivedUpdate
from batchsend.ledger.ledger import Ledger, StoredPlan
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages, superseded, updates
from batchsend.mykaarma.updates import Update, UpdateOutcome
from batchsend.statuses import Code, Status

AT = "2026-03-02T10:00:05.000Z"
LATER = "2026-03-02T11:00:00.000Z"


class Api:
    """Reports outcomes of texts to a ledger."""

    def __init__(self, ledger: Ledger, run_id: int) -> None:
        self.ledger = ledger
        self.deliveries = Deliveries(ledger)
        self.run_id = run_id

    def metadata(self, row: int, send: int) -> dict[str, str]:
        return {
            "batchsendLedger": self.ledger.ledger_id(),
            "batchsendRun": str(self.run_id),
            "batchsendRow": str(row),
            "batchsendSend": str(send),
        }

    def reports(self, row: int, send: int = 1, *, at: str = AT, **facts: Any) -> tuple[int, int]:
        """An update with metadata. Returns (matched, unmatched)."""
        return self.posts({"callbackMetaData": self.metadata(row, send), **facts}, at)

    def reports_message(self, message_uuid: str, status: str, at: str = AT) -> tuple[int, int]:
        """An update that names its message only."""
        return self.posts({"messageDTO": {"uuid": message_uuid, "deliveryStatus": status}}, at)

    def posts(self, body: dict[str, Any], at: str = AT) -> tuple[int, int]:
        recorded = self.deliveries.record(ReceivedUpdate.all_of(json.dumps(body).encode(), at))
        assert not recorded.busy
        return recorded.matched, recorded.unmatched


def sent(ledger: Ledger, *outcomes: Any, rows: int = 2) -> tuple[StoredPlan, Api]:
    """A run whose rows 2, 3 ... were sent; rows that `outcomes` does not name were accepted."""
    stored_plan = store_plan(ledger, [planned(row) for row in range(2, rows + 2)])
    send_all(ledger, stored_plan, *outcomes)
    return stored_plan, Api(ledger, stored_plan.run_id)


def row_of(ledger: Ledger, run_id: int, row: int, table: Any = messages) -> dict[str, Any]:
    with ledger.read() as connection:
        query = select(table).where(table.c.run_id == run_id, table.c.row == row)
        return dict(connection.execute(query).mappings().one())


def test_an_update_finds_its_row_by_metadata_if_our_answer_was_lost(ledger: Ledger) -> None:
    lost = came_to(2, Status.UNCONFIRMED, "TIMEOUT")
    stored_plan, api = sent(ledger, lost, came_to(3, Status.UNCONFIRMED, "TIMEOUT"), rows=3)
    assert api.reports(2, messageUUID="m-2", status="SUCCESS") == (1, 0)
    assert api.reports(3, errors=[{"errorCode": "TWILIO_SENDING_FAILURE"}]) == (1, 0)
    assert stored(ledger, stored_plan.run_id) == {
        2: (Status.ACCEPTED, ""),
        3: (Status.UNDELIVERED, "TWILIO_SENDING_FAILURE"),
        4: (Status.ACCEPTED, ""),
    }
    assert row_of(ledger, stored_plan.run_id, 2)["message_uuid"] == "m-2"
    # That update named the message's id, so an event that has only the id finds the row.
    assert api.reports_message("m-2", "DELIVERED", LATER) == (1, 0)
    found = row_of(ledger, stored_plan.run_id, 2)
    assert (found["status"], found["delivery_status"], found["delivery_at"]) == (
        "delivered",
        "delivered",
        LATER,
    )


def test_an_update_finds_its_row_by_the_message_id(ledger: Ledger) -> None:
    stored_plan, api = sent(ledger)
    assert api.reports_message("message-3", "UNDELIVERED") == (1, 0)
    assert stored(ledger, stored_plan.run_id) == {2: (Status.ACCEPTED, ""), 3: (Status.UNDELIVERED, "")}


def test_our_answer_does_not_overwrite_an_earlier_update(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(row) for row in (2, 3, 4)])
    sender = outbox(ledger, stored_plan)
    claimed = sender.exchange([], 10)
    api = Api(ledger, stored_plan.run_id)
    for row in (2, 3, 4):
        api.reports(row, deliveryStatus="DELIVERED")
    sender.exchange([came_to(2), came_to(3, Status.UNCONFIRMED, "TIMEOUT")], 0)
    sender.release(claimed[2:])
    assert set(stored(ledger, stored_plan.run_id).values()) == {(Status.DELIVERED, "")}
    first = row_of(ledger, stored_plan.run_id, 2)
    assert (first["message_uuid"], first["attempts"], first["owner"]) == ("message-2", 1, None)


def test_an_update_settles_a_row_in_flight_whose_process_died(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    outbox(ledger, stored_plan).exchange([], 10)
    Api(ledger, stored_plan.run_id).reports(2, deliveryStatus="DELIVERED")
    who = identity()
    ledger.interrupt_claims(who.name, who.base_url)
    assert stored(ledger, stored_plan.run_id) == {
        2: (Status.DELIVERED, ""),
        3: (Status.UNCONFIRMED, Code.INTERRUPTED),
    }


def test_an_event_whose_message_id_is_still_unknown_is_matched_later(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    sender = outbox(ledger, stored_plan)
    sender.exchange([], 10)
    api = Api(ledger, stored_plan.run_id)
    assert api.reports_message("message-2", "DELIVERED") == (0, 1)
    assert api.deliveries.match_again("") == 0
    sender.exchange([came_to(2)], 0)
    assert api.deliveries.match_again(LATER) == 0
    assert api.deliveries.match_again("") == 1
    assert stored(ledger, stored_plan.run_id) == {2: (Status.DELIVERED, "")}
    assert api.deliveries.match_again("") == 0


def test_a_weaker_or_later_update_changes_nothing(ledger: Ledger) -> None:
    stored_plan, api = sent(ledger)
    api.reports(2, deliveryStatus="DELIVERED")
    before = row_of(ledger, stored_plan.run_id, 2)
    api.reports(2, deliveryStatus="DELIVERED", at=LATER)
    api.reports(2, deliveryStatus="SENT", at=LATER)
    api.reports(2, status="FAILURE", errors=[{"errorCode": "A"}], at=LATER)
    api.reports(2, status="HALF_WAY", at=LATER)
    assert row_of(ledger, stored_plan.run_id, 2) == before


def again(ledger: Ledger) -> tuple[StoredPlan, Api]:
    """An `unconfirmed` row that `--resend` opened again and that is not sent yet."""
    stored_plan, _ = sent(ledger, came_to(2, Status.UNCONFIRMED, "TIMEOUT"), rows=1)
    opened = store_plan(
        ledger,
        [planned(2, generation=1, resend="unconfirmed")],
        run_id=stored_plan.run_id,
        resend="unconfirmed",
    )
    return opened, Api(ledger, stored_plan.run_id)


def test_an_update_of_an_earlier_send_changes_the_superseded_row(ledger: Ledger) -> None:
    stored_plan, api = again(ledger)
    outbox(ledger, stored_plan).exchange([], 10)
    assert api.reports(2, send=1, deliveryStatus="DELIVERED") == (1, 0)
    assert row_of(ledger, stored_plan.run_id, 2, superseded)["status"] == Status.DELIVERED
    assert stored(ledger, stored_plan.run_id) == {2: ("in_flight", "STOPPED")}
    assert api.reports(2, send=2, deliveryStatus="UNDELIVERED") == (1, 0)
    assert stored(ledger, stored_plan.run_id) == {2: (Status.UNDELIVERED, "")}


def test_a_text_that_arrived_after_all_is_not_sent_again(ledger: Ledger) -> None:
    stored_plan, api = again(ledger)
    api.reports(2, send=1, deliveryStatus="DELIVERED")
    assert outbox(ledger, stored_plan).exchange([], 10) == []
    found = row_of(ledger, stored_plan.run_id, 2)
    assert (found["status"], found["generation"]) == (Status.DELIVERED, 0)
    # The outcome was moved back and is not stored twice.
    with ledger.read() as connection:
        assert connection.execute(select(superseded)).all() == []


def test_a_row_settled_by_an_update_is_not_opened_again(ledger: Ledger) -> None:
    stored_plan, api = sent(ledger, came_to(2, Status.UNCONFIRMED, "TIMEOUT"), rows=1)
    # The plan was made before the update arrived.
    api.reports(2, deliveryStatus="DELIVERED")
    opened = store_plan(ledger, [planned(2, generation=1)], run_id=stored_plan.run_id, resend="unconfirmed")
    assert outbox(ledger, opened).exchange([], 10) == []
    assert stored(ledger, stored_plan.run_id) == {2: (Status.DELIVERED, "")}


@pytest.mark.parametrize(
    "foreign",
    [
        {"batchsendLedger": "another"},
        {"batchsendRun": "77"},
        {"batchsendRow": "77"},
        {"batchsendSend": "7"},
        {"batchsendTest": "true"},
    ],
    ids=lambda foreign: next(iter(foreign)),
)
def test_an_update_without_a_known_row_is_kept(ledger: Ledger, foreign: dict[str, str]) -> None:
    stored_plan, api = sent(ledger)
    before = stored(ledger, stored_plan.run_id)
    body = {"messageUUID": "unknown", "status": "SUCCESS", "metaData": {**api.metadata(2, 1), **foreign}}
    assert api.posts(body) == (0, 1)
    assert stored(ledger, stored_plan.run_id) == before
    with ledger.read() as connection:
        kept = connection.execute(select(updates)).one()
    assert (json.loads(kept.raw), kept.run_id, kept.status) == (body, None, Status.ACCEPTED)


def test_a_row_that_only_shows_an_earlier_runs_message_is_not_matched(ledger: Ledger) -> None:
    first, api = sent(ledger, rows=1)
    shown = planned(
        2, status=Status.SKIPPED, codes=Code.ALREADY_SENT, message_uuid="message-2", earlier_run=first.run_id
    )
    second = store_plan(ledger, [shown])
    assert api.reports_message("message-2", "DELIVERED") == (1, 0)
    assert stored(ledger, first.run_id) == {2: (Status.DELIVERED, "")}
    assert stored(ledger, second.run_id) == {2: (Status.SKIPPED, Code.ALREADY_SENT)}


def test_rows_sent_after_a_backup_was_made_are_settled_and_count(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    assert Api(ledger, stored_plan.run_id).reports(2, messageUUID="m", deliveryStatus="DELIVERED") == (1, 0)
    assert outbox(ledger, stored_plan).exchange([], 10) == []
    earlier = history(ledger).earlier(["key-2"])["key-2"]
    assert [(one.status, one.message_uuid, one.sent_at) for one in earlier] == [(Status.DELIVERED, "m", AT)]


def test_old_updates_are_deleted_and_rows_keep_their_outcome(ledger: Ledger) -> None:
    stored_plan, api = sent(ledger)
    for second in range(5):
        api.reports_message(f"unknown-{second}", "SENT", f"2026-03-02T10:00:0{second}.000Z")
    api.reports(2, deliveryStatus="DELIVERED", at="2026-03-02T10:00:09.000Z")
    assert api.deliveries.forget("2026-03-02T10:00:02.000Z", 100) == 2
    assert api.deliveries.forget("", 2) == 2
    with ledger.read() as connection:
        kept = connection.scalars(select(updates.c.received_at).order_by(updates.c.received_at)).all()
    assert [moment[17:19] for moment in kept] == ["04", "09"]
    assert stored(ledger, stored_plan.run_id)[2] == (Status.DELIVERED, "")


def test_only_the_beginning_of_a_long_body_is_kept(ledger: Ledger) -> None:
    _, api = sent(ledger)
    api.deliveries.record(ReceivedUpdate.all_of(b"\0\xff" + b"x" * 250_000, AT))
    with ledger.read() as connection:
        assert len(connection.scalar(select(updates.c.raw)) or "") == 8000


def test_updates_of_rows_locked_by_another_process_are_left_for_later(
    postgres_url: str,
) -> None:
    ledger = open_ledger(postgres_url)
    stored_plan, api = sent(ledger)
    received = [
        one
        for row in (2, 3)
        for one in ReceivedUpdate.all_of(
            json.dumps({"messageUUID": f"message-{row}", "status": "FAILED"}).encode(), AT
        )
    ]
    with ledger.write() as sender:
        sender.execute(text("SELECT row FROM messages WHERE row = 2 FOR UPDATE"))
        recorded = api.deliveries.record(received)
    assert (recorded.matched, recorded.busy) == (1, {received[0].digest})
    assert api.deliveries.record(received).busy == frozenset()
    assert {status for status, _ in stored(ledger, stored_plan.run_id).values()} == {Status.UNDELIVERED}
    ledger.close()


def test_a_ledger_that_fails_stores_nothing_of_a_batch(ledger: Ledger) -> None:
    stored_plan, api = sent(ledger)
    with ledger.write() as connection:
        connection.exec_driver_sql("DROP TABLE updates")
    with pytest.raises(LedgerError):
        api.reports(2, deliveryStatus="DELIVERED")
    assert stored(ledger, stored_plan.run_id)[2] == (Status.ACCEPTED, "")


OUTCOMES = st.none() | st.builds(
    UpdateOutcome,
    st.sampled_from([Status.ACCEPTED, Status.UNDELIVERED, Status.DELIVERED]),
    st.sampled_from(["", "A", "B"]),
    st.sampled_from(["", "a"]),
)
UPDATES = st.lists(
    st.tuples(
        st.builds(Update, st.none(), st.sampled_from([None, "x", "y"]), OUTCOMES),
        st.sampled_from([AT, LATER]),
    ),
    max_size=6,
)


@given(UPDATES, st.booleans(), st.data())
def test_order_and_repetition_of_updates_make_no_difference(
    given_order: list[tuple[Update, str]], answered: bool, data: st.DataObject
) -> None:
    other_order = data.draw(
        st.permutations(
            given_order + data.draw(st.lists(st.sampled_from(given_order)) if given_order else st.just([]))
        )
    )
    ends = []
    for order in (given_order, other_order):
        delivery = Delivery(None, None, "answered" if answered else None, answered)
        for update, at in order:
            delivery = delivery.with_update(update, at)
        ends.append(delivery)
    assert ends[0] == ends[1]
    assert not answered or ends[0].message_uuid == "answered"


def test_thousands_of_updates_and_answers_in_any_order_end_in_the_same_ledger(ledger_url: str) -> None:
    """A short run of `make replay`."""
    ledger = open_ledger(ledger_url)
    ends = []
    for seed in range(2):
        with ledger.write() as connection:
            connection.exec_driver_sql("DELETE FROM updates")
            connection.exec_driver_sql("DELETE FROM messages")
        run = begin(ledger, 300)
        story = tell(ledger.ledger_id(), run[0], 300, 2000, 7)
        play(ledger, story, run, seed)
        ended = end(ledger, run[0])
        assert complaints(ended, story) == []
        ends.append(_without_run(ended))
    assert ends[0] == ends[1]
    ledger.close()


def _without_run(ended: dict[str, list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    """The rows without the run's number, which differs."""
    return [row[1:] for row in ended["messages"]]
