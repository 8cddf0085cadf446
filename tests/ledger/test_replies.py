"""Customers' replies in the ledger: stored once, with the text that each answers; STOP holds at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ledgers import BASE_URL, came_to, identity, outbox, planned, send_all, store_plan
from sqlalchemy import select

from batchsend.cli.text.replies import elsewhere_lines, reply_lines
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import opt_outs, remove_opt_outs, this_person
from batchsend.ledger.purge import purge
from batchsend.ledger.replies import (
    ReplyCounts,
    RowReplies,
    latest_replies,
    replies_by_row,
    replies_of,
    replies_to,
    reply_counts,
)
from batchsend.ledger.reply_recording import Decision, decide, record_replies
from batchsend.ledger.schema import messages, replies, updates
from batchsend.mykaarma.replies import CustomerText
from batchsend.reports.run_results import RunResults
from batchsend.runs.lookup import Found
from batchsend.runs.replies import Poll, _record
from batchsend.sandbox.updates import reply_event
from batchsend.statuses import Status

SENT_AT = "2026-03-02T10:00:00.000Z"
AT = "2026-03-02T11:00:00.000Z"
LOCAL = "http://127.0.0.1:8765"


def event(
    words: str | None, /, customer: str = "customer-2", uuid: str = "r-1", **facts: Any
) -> dict[str, Any]:
    """A message event of a customer's text, as the vendor describes it."""
    message = {
        "uuid": uuid,
        "messageType": "R",
        "protocol": "X",
        "receivedOn": "2026-03-02T10:30:00+0000",
        "fromNumber": "(312) 555-0002",
        "toNumber": "+15555550100",
        "deliveryStatus": None,
        "customerUuid": customer,
        "messageExtnDTO": {"messageBody": words},
        **facts,
    }
    payload = json.dumps({"isUpdate": False, "messageDTO": message})
    return {"id": "e", "timestamp": 1, "type": "messages", "payload": payload}


def post(ledger: Ledger, *events: dict[str, Any], at: str = AT) -> tuple[int, int]:
    """Records events in one commit. Returns (matched, unmatched)."""
    received = [one for body in events for one in ReceivedUpdate.all_of(json.dumps(body).encode(), at)]
    recorded = Deliveries(ledger).record(received)
    assert not recorded.busy
    return recorded.matched, recorded.unmatched


def stored(ledger: Ledger) -> list[dict[str, Any]]:
    with ledger.read() as connection:
        query = select(replies).order_by(replies.c.message_uuid)
        return [dict(row) for row in connection.execute(query).mappings()]


def sent(
    ledger: Ledger, *rows: int, name: str = "Spring", at: str = SENT_AT, base_url: str | None = None
) -> int:
    """A run that sent these rows at this time; returns its number."""
    who = identity(name) if base_url is None else identity(name, base_url=base_url)
    stored_plan = store_plan(ledger, [planned(row, customer_uuid="customer-2") for row in rows], who=who)
    send_all(ledger, stored_plan, *(came_to(row, sent_at=at) for row in rows))
    return stored_plan.run_id


def test_a_reply_is_stored_with_the_latest_text_of_any_campaign(ledger: Ledger) -> None:
    sent(ledger, 2)
    later = sent(ledger, 7, name="Summer", at="2026-03-02T10:10:00.000Z")
    sent(ledger, 9, name="Autumn", at="2026-03-02T10:50:00.000Z")
    assert post(ledger, event("Tuesday at 10?")) == (1, 0)
    (reply,) = stored(ledger)
    assert {name: reply[name] for name in ("run_id", "row", "generation", "phone", "body", "meaning")} == {
        "run_id": later,
        "row": 7,
        "generation": 0,
        "phone": "+13125550002",
        "body": "Tuesday at 10?",
        "meaning": "other",
    }
    assert reply["received_at"] == "2026-03-02T10:30:00.000Z"
    assert list(opt_outs(ledger)) == []


def test_a_reply_later_than_30_days_answers_no_text(ledger: Ledger) -> None:
    sent(ledger, 2)
    late = {"receivedOn": "2026-04-02T10:00:00+0000"}
    assert post(ledger, event("Who?", **late), at="2026-04-02T10:00:00.000Z") == (0, 1)
    assert [(reply["run_id"], reply["body"]) for reply in stored(ledger)] == [(None, "Who?")]


def test_a_repeated_event_is_stored_once_in_whatever_order(ledger: Ledger) -> None:
    sent(ledger, 2)
    first, second = event("ok", uuid="r-1"), event("STOP", uuid="r-2")
    again = {**second, "id": "another event", "timestamp": 2}
    post(ledger, second, again, first)
    post(ledger, first, second, again)
    assert [reply["body"] for reply in stored(ledger)] == ["ok", "STOP"]
    assert len(list(opt_outs(ledger))) == 1


def test_an_event_without_the_words_is_for_a_person_until_they_come(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event(None))
    assert [(reply["body"], reply["meaning"]) for reply in stored(ledger)] == [(None, "unclear")]
    post(ledger, event("stop"))
    post(ledger, event(None))
    assert [(reply["body"], reply["meaning"]) for reply in stored(ledger)] == [("stop", "stop")]
    assert [entry.customer_uuid for entry in opt_outs(ledger)] == ["customer-2"]


@pytest.mark.parametrize(
    "change",
    [
        {"messageType": "I"},
        {"message_type": "R", "messageType": None},
        {"messageExtnDTO": None, "body": "STOP"},
        {"receivedOn": 1772447400000},
        {"receivedOn": None, "sentOn": None},
        {"receivedOn": "0001-01-01T00:00:00Z"},
        {"receivedOn": "9" * 5000},
        {"deliveryStatus": "DELIVERED", "status": "SUCCESS"},
        {"fromNumber": None},
        {"uuid": 4711},
        {"uuid": None},
        {"uuid": ""},
    ],
    ids=lambda change: str(change)[:50],
)
def test_other_shapes_of_the_event_are_read(ledger: Ledger, change: dict[str, Any]) -> None:
    run_id = sent(ledger, 2)
    post(ledger, event("STOP", **change))
    assert [(reply["run_id"], reply["meaning"]) for reply in stored(ledger)] == [(run_id, "stop")]
    with ledger.read() as connection:
        row = connection.execute(select(messages).where(messages.c.run_id == run_id)).mappings().one()
    assert (row["status"], row["delivery_status"], row["message_uuid"]) == ("accepted", None, "message-2")


def test_a_text_of_the_dealership_and_an_email_are_no_replies(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event("STOP", messageType="S"), event("STOP", protocol="E", uuid="r-2"))
    assert stored(ledger) == []
    assert list(opt_outs(ledger)) == []


def test_stop_becomes_an_opt_out_with_its_words(ledger: Ledger) -> None:
    run_id = sent(ledger, 2)
    post(ledger, event("Please\nSTOP texting me!"))
    (entry,) = opt_outs(ledger)
    assert (entry.customer_uuid, entry.phone, entry.base_url, entry.source) == (
        "customer-2",
        "+13125550002",
        "",
        "reply",
    )
    assert entry.reason == f'answered "Please STOP texting me!" to Spring, run {run_id}, row 2'
    assert entry.added_at == "2026-03-02T10:30:00.000Z"
    (reply,) = stored(ledger)
    assert reply["optout_id"] is not None


def test_stop_of_an_unknown_customer_is_an_opt_out_too(ledger: Ledger) -> None:
    post(ledger, event("STOP", customer="stranger"))
    post(ledger, event("STOP", customer="", uuid="r-2", fromNumber="+13125550199"))
    assert [(entry.customer_uuid, entry.phone) for entry in opt_outs(ledger)] == [
        ("stranger", "+13125550002"),
        ("", "+13125550199"),
    ]


def test_a_repeated_stop_does_not_undo_a_removal(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event("STOP"))
    moment = datetime(2026, 3, 3, tzinfo=UTC)
    person = this_person()
    remove_opt_outs(
        ledger, customer_uuid="customer-2", phone=None, because="asked", person=person, moment=moment
    )
    post(ledger, event("STOP"), {**event("STOP"), "id": "again"})
    assert list(opt_outs(ledger)) == []
    post(ledger, event("STOP", uuid="r-2"))
    assert len(list(opt_outs(ledger))) == 1


def made_up(words: str) -> dict[str, Any]:
    """The sandbox's event of a reply."""
    message = json.loads(event(words)["payload"])["messageDTO"]
    made: dict[str, Any] = json.loads(reply_event(message, "customer-2", "department", 0.7).body)
    return made


@pytest.mark.parametrize("real_too", [False, True])
def test_a_trial_on_this_computer_opts_nobody_out_elsewhere(ledger: Ledger, real_too: bool) -> None:
    if real_too:
        sent(ledger, 3)
    run_id = sent(ledger, 2, name="Trial", base_url=LOCAL)
    post(ledger, made_up("STOP"))
    assert [entry.base_url for entry in opt_outs(ledger)] == [LOCAL]
    assert [reply["run_id"] for reply in stored(ledger)] == [run_id]


def test_a_request_holds_everywhere_although_only_a_trial_was_lately(ledger: Ledger) -> None:
    sent(ledger, 3, at="2026-01-20T10:00:00.000Z")
    trial = sent(ledger, 2, name="Trial", base_url=LOCAL)
    post(ledger, event("STOP"))
    assert [entry.base_url for entry in opt_outs(ledger)] == [""]
    assert [reply["run_id"] for reply in stored(ledger)] == [trial]


@pytest.mark.parametrize(("asked", "scope"), [(LOCAL, LOCAL), (BASE_URL, "")])
def test_a_reply_in_a_conversation_holds_for_the_api_that_was_asked(
    ledger: Ledger, asked: str, scope: str
) -> None:
    run_ids = {BASE_URL: sent(ledger, 3), LOCAL: sent(ledger, 2, name="Trial", base_url=LOCAL)}
    at = datetime(2026, 3, 2, 11, tzinfo=UTC)
    with ledger.write() as connection:
        record_replies(connection, [CustomerText("r-1", "customer-2", "", "STOP", at)], at, asked)
    assert [(reply["run_id"], reply["base_url"]) for reply in stored(ledger)] == [(run_ids[asked], asked)]
    assert [entry.base_url for entry in opt_outs(ledger)] == [scope]


def test_a_trial_after_a_real_text_does_not_narrow_a_request(ledger: Ledger) -> None:
    real = sent(ledger, 2)
    sent(ledger, 3, base_url=LOCAL, at="2026-03-02T10:20:00.000Z")
    post(ledger, event("STOP"))
    assert [(entry.base_url, entry.reason) for entry in opt_outs(ledger)] == [
        ("", f'answered "STOP" to Spring, run {real}, row 2')
    ]


def test_start_unclear_words_and_thanks_change_no_opt_out(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event("STOP"))
    post(ledger, event("START", uuid="r-2"), event("I'll stop by", uuid="r-3"), event("Thanks", uuid="r-4"))
    assert [reply["meaning"] for reply in stored(ledger)] == ["stop", "start", "unclear", "other"]
    assert len(list(opt_outs(ledger))) == 1


def test_a_running_run_skips_a_customer_from_the_next_claim_on(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(row) for row in (2, 3, 4)])
    sender = outbox(ledger, stored_plan)
    claimed = sender.exchange([], 1)
    sender.exchange([came_to(2)], 0)
    # Customer 3 writes before their own text leaves, and customer 4 shares the phone of row 2.
    post(ledger, event("stop", customer="customer-3", uuid="r-1", fromNumber=None))
    post(ledger, event("alto", customer="other", uuid="r-2", fromNumber="+13125550004"))
    assert [message.row for message in claimed] == [2]
    assert sender.exchange([], 10) == []
    assert {(one.row, one.status, one.codes) for one in sender.take_skipped()} == {
        (3, Status.SKIPPED, "SUPPRESSED"),
        (4, Status.SKIPPED, "SUPPRESSED"),
    }


def test_a_claimed_row_that_waits_is_checked_again(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    sender = outbox(ledger, stored_plan)
    claimed = sender.exchange([], 1)
    at = datetime.now(UTC) + timedelta(minutes=1)
    post(ledger, event("stop", receivedOn=at.isoformat()), at=f"{at:%Y-%m-%dT%H:%M:%S.000Z}")
    assert sender.recheck(claimed) == []


def test_replies_are_kept_as_received_and_name_no_update(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event("ok"))
    with ledger.read() as connection:
        row = connection.execute(select(updates)).mappings().one()
    assert (row["run_id"], row["row"], row["message_uuid"], row["status"]) == (1, 2, None, None)
    assert "messageDTO" in row["raw"]


def test_replies_are_shown_with_the_texts_that_they_answer(ledger: Ledger) -> None:
    run_id = sent(ledger, 2)
    post(
        ledger,
        event("STOP", uuid="r-1"),
        event("Thanks,\nJane", uuid="r-2", receivedOn="2026-03-02T10:31:00+0000"),
        event("I'll stop by", uuid="r-3", receivedOn="2026-03-02T10:32:00+0000"),
    )
    found = replies_to(ledger, [run_id])
    assert found == replies_of(ledger, customer_uuid="customer-2", phone=None)
    assert [(one.words, one.campaign, one.sent_body, one.opted_out, one.needs_you) for one in found] == [
        ("STOP", "Spring", "Text 2", True, False),
        ("Thanks,\nJane", "Spring", "Text 2", True, False),
        ("I'll stop by", "Spring", "Text 2", True, True),
    ]
    assert reply_counts(ledger, [run_id, run_id + 1]) == {run_id: ReplyCounts(3, 1, 1)}
    assert replies_by_row(ledger, run_id) == {
        2: RowReplies("2026-03-02T10:30:00.000Z", "STOP\nThanks,\nJane\nI'll stop by")
    }
    assert [one.words for one in latest_replies(ledger, 2)] == ["I'll stop by", "Thanks,\nJane"]
    lines = list(reply_lines(found))
    assert lines[0] == "3 replies: 1 asks for no more texts, 1 is unclear and needs attention."
    assert [line.strip() for line in lines[1:6]] == [
        f"2026-03-02 10:32 UTC  (312) 555-0002  to Spring, run {run_id}, row 2",
        "customer     customer-2",
        "sent         Text 2",
        "replied      | I'll stop by",
        "unclear: decide whether they want no more texts",
    ]


def test_a_phone_has_the_replies_from_it_and_to_texts_to_it(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(
        ledger,
        event("To it", fromNumber=None),
        event("From it", uuid="r-2", customer="other"),
        event("Neither", uuid="r-3", customer="other", fromNumber="+13125550199"),
    )
    phone = "+13125550002"
    assert [one.words for one in replies_of(ledger, customer_uuid=None, phone=phone)] == ["To it", "From it"]
    moment = datetime(2026, 4, 1, tzinfo=UTC)
    purge(ledger, moment, moment)
    (purged,) = replies_of(ledger, customer_uuid=None, phone=phone)
    assert (purged.customer_uuid, purged.body) == ("customer-2", None)


def test_asking_says_what_it_recorded_for_other_runs(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = sent(ledger, 2)
    other = sent(ledger, 7, name="Summer", at="2026-03-02T10:10:00.000Z")
    at = datetime(2026, 3, 2, 11, tzinfo=UTC)
    monkeypatch.setattr("batchsend.runs.replies.now", lambda: at)
    run = ledger.run(asked)
    assert run is not None
    found, poll = Found(ledger, ledger.campaign_by_id(run.campaign_id), run, [asked]), Poll(1)
    texts = [
        CustomerText("r-0", "customer-2", "", "Own", datetime(2026, 3, 2, 9, 59, tzinfo=UTC)),
        CustomerText("r-1", "customer-2", "", None, at),
        CustomerText("r-2", "customer-2", "", "Thanks", at),
    ]
    _record(found, poll, texts)
    assert [one.words for one in replies_to(ledger, [asked])] == ["Own"]
    assert next(elsewhere_lines(poll.elsewhere)) == (
        f"2 new replies to texts of other runs, 0 opted out: see `batchsend replies {other}` (Summer)."
    )
    again = Poll(1)
    _record(found, again, [*texts, CustomerText("r-1", "customer-2", "", "STOP", at)])
    lines = [line.strip() for line in elsewhere_lines(again.elsewhere)]
    assert (
        lines[0]
        == f"1 new reply to texts of other runs, 1 opted out: see `batchsend replies {other}` (Summer)."
    )
    assert lines[1] == f"2026-03-02 11:00 UTC  (312) 555-0007  to Summer, run {other}, row 7"
    assert lines[-2:] == ["replied      | STOP", "asked for no more texts: opted out"]
    assert len(list(opt_outs(ledger))) == 1


def test_results_and_report_show_replies(ledger: Ledger) -> None:
    run_id = sent(ledger, 2, 3)
    results = RunResults(ledger, run_id, ["Customer UUID"], ZoneInfo("UTC"), [], run_id)
    assert not results.replied
    assert "reply" not in results.to_frame().columns
    post(ledger, event("<b>Tuesday</b>?"))
    results = RunResults(ledger, run_id, ["Customer UUID"], ZoneInfo("UTC"), [], run_id)
    assert [(row.row, row.replied_at, row.reply) for row in results.rows()] == [
        (2, None, None),
        (3, "2026-03-02T10:30:00.000Z", "<b>Tuesday</b>?"),
    ]
    assert list(results.to_frame().columns)[-2:] == ["repliedAtUTC", "reply"]
    assert ("Rows whose customers replied", 1) in results.summary


def test_a_purge_deletes_words_and_phones_and_keeps_the_opt_out(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event("STOP, my code is 4711"))
    later = event("ok", uuid="r-2", receivedOn="2026-03-20T10:00:00+0000")
    post(ledger, later, at="2026-03-20T10:00:01.000Z")
    moment = datetime(2026, 4, 1, tzinfo=UTC)
    purge(ledger, datetime(2026, 3, 10, tzinfo=UTC), moment)
    old, recent = stored(ledger)
    assert (old["body"], old["phone"], old["meaning"]) == (None, "", "stop")
    assert recent["body"] == "ok"
    (entry,) = opt_outs(ledger)
    assert (entry.customer_uuid, entry.phone) == ("customer-2", "+13125550002")
    assert "4711" not in entry.reason
    shown = replies_of(ledger, customer_uuid="customer-2", phone=None)
    assert shown[0].words == "(the words were purged on 2026-04-01)"
    # The event that myKaarma repeats does not bring the words back.
    post(ledger, event("STOP, my code is 4711"))
    assert stored(ledger)[0]["body"] is None


def test_a_purge_deletes_the_words_of_an_opt_out_that_was_decided_later(ledger: Ledger) -> None:
    sent(ledger, 2)
    post(ledger, event("I'll stop by, my code is 4711"))
    decided = datetime(2026, 3, 20, tzinfo=UTC)
    assert decide(ledger, stored(ledger)[0]["id"], Decision.OPT_OUT, this_person(), decided) is not None
    assert ["4711" in entry.reason for entry in opt_outs(ledger)] == [True]
    purge(ledger, datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    (entry,) = opt_outs(ledger)
    assert entry.reason == "asked for no more texts by a reply, whose words were purged"


@pytest.mark.parametrize("name", ["messages", "messageDTO", "message_dto", "events"])
@pytest.mark.parametrize("as_text", [False, True])
def test_each_reply_of_a_list_in_the_payload_is_recorded(ledger: Ledger, name: str, as_text: bool) -> None:
    sent(ledger, 2)
    entries = [json.loads(event(words, uuid="")["payload"])["messageDTO"] for words in ("ok", "STOP")]
    payload = {"isUpdate": False, name: entries}
    post(ledger, {"id": "e", "payload": json.dumps(payload) if as_text else payload})
    assert sorted(reply["body"] for reply in stored(ledger)) == ["STOP", "ok"]
    assert [entry.customer_uuid for entry in opt_outs(ledger)] == ["customer-2"]


def test_a_repeated_event_without_a_uuid_is_stored_once(ledger: Ledger) -> None:
    post(ledger, event("STOP", uuid=""))
    post(ledger, event("STOP", uuid=""), event("ok", uuid=""))
    assert sorted(reply["body"] for reply in stored(ledger)) == ["STOP", "ok"]


def test_a_request_with_only_a_phone_holds_for_the_customer_who_was_texted_there(ledger: Ledger) -> None:
    for row, customer in ((2, "before"), (3, "customer-3")):
        plan = store_plan(ledger, [planned(row, customer_uuid=customer, phone="+13125550002")])
        send_all(ledger, plan, came_to(row, sent_at=f"2026-03-02T10:0{row}:00.000Z"))
    # Phones are only looked for if the reply may be a request.
    post(ledger, event("Thanks", customer="", uuid="r-2"))
    post(ledger, event("STOP", customer=""))
    assert [(reply["customer_uuid"], reply["row"]) for reply in stored(ledger)] == [
        ("customer-3", 3),
        ("", None),
    ]
    assert [(entry.customer_uuid, entry.phone) for entry in opt_outs(ledger)] == [
        ("customer-3", "+13125550002")
    ]


def test_words_cannot_control_the_terminal(ledger: Ledger) -> None:
    run_id = sent(ledger, 2)
    post(ledger, event("STOP\x1b[2J\r\nok \U0001f44d"))
    lines = list(reply_lines(replies_to(ledger, [run_id])))
    assert all(line.isprintable() for line in lines)
    assert [line.partition("| ")[2] for line in lines if "| " in line] == ["STOP [2J", "ok \U0001f44d"]
    assert all(entry.reason.isprintable() for entry in opt_outs(ledger))


def test_requests_that_need_nobody_hide_no_unclear_reply(ledger: Ledger) -> None:
    sent(ledger, 2)
    later = {"receivedOn": "2026-03-02T10:40:00+0000"}
    post(ledger, event("I'll stop by"), *(event("START", uuid=f"s-{n}", **later) for n in range(3)))
    assert [reply.words for reply in latest_replies(ledger, 2)] == ["I'll stop by", "START"]
    post(ledger, event("STOP", uuid="r-2"))
    assert [reply.words for reply in latest_replies(ledger, 3)] == ["START"] * 3
