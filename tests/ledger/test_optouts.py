"""The ledger's opt-outs: recorded from answers and updates, and kept by people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import (
    BASE_URL,
    came_to,
    identity,
    outbox,
    planned,
    send_all,
    start_record,
    store_plan,
)
from sqlalchemy import insert, update
from world import World

from batchsend.campaigns.file import load_campaign
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.ledger import Ledger, StoredPlan
from batchsend.ledger.opening import open_ledger, scratch_ledger
from batchsend.ledger.optouts import (
    EVERYWHERE,
    OptOutRequest,
    OptOutSource,
    Person,
    add_opt_outs,
    find_opt_outs,
    load_opt_outs,
    opt_outs,
    opt_outs_ever,
    remove_opt_outs,
    scope_of_answer,
)
from batchsend.ledger.runs import run_rows
from batchsend.ledger.schema import campaigns, messages
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.sending.outbox import Outbox
from batchsend.statuses import Status

UTC_ZONE = ZoneInfo("UTC")
ANN = Person("ann", "desk")
MONDAY = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
OUT = "OPTED_OUT_COMMUNICATION_VALUE"


def add(ledger: Ledger, *requests: OptOutRequest, moment: datetime = MONDAY) -> int:
    return add_opt_outs(ledger, requests, OptOutSource.ADDED, ANN, moment)


def why(ledger: Ledger, customer: str = "", phone: str | None = None, base_url: str = BASE_URL) -> str | None:
    return load_opt_outs(ledger, base_url, UTC_ZONE).why(customer, phone)


# --- the list in the ledger


def test_an_opted_out_answer_adds_the_customer_and_the_phone(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3), planned(4, phone=None), planned(5)])
    send_all(
        ledger,
        stored_plan,
        came_to(2, Status.FAILED, OUT),
        came_to(3, Status.FAILED, "CUSTOMER_LOCKED"),
        came_to(4, Status.FAILED, f"INVALID_USER; {OUT}"),
    )
    found = [(entry.customer_uuid, entry.phone, entry.source) for entry in opt_outs(ledger)]
    assert sorted(found) == [("customer-2", "+13125550002", "answer"), ("customer-4", "", "answer")]
    reason = why(ledger, "customer-2")
    assert reason is not None
    assert reason.startswith("myKaarma reported on ")
    assert reason.endswith(" that this customer opted out (Spring, run 1, row 2)")
    # The opt-out applies to the phone with any customer, and to the customer with any phone.
    assert "this phone opted out" in (why(ledger, "stranger", "+13125550002") or "")
    assert why(ledger, "customer-2", "+13125559999") == reason
    assert [entry.os_user for entry in opt_outs(ledger)] == ["ann", "ann"]
    assert why(ledger, "customer-3", "+13125550003") is None


@pytest.mark.parametrize(
    ("text", "phone", "found"),
    [
        ("", None, ["c3", "c2_x", "c1"]),
        ("C2_X", None, ["c2_x"]),
        ("_", None, ["c2_x"]),
        ("%", None, ["c3"]),
        ("wrong", None, ["c3"]),
        ("55500", None, ["c1"]),
        ("(312) 555-0001", "+13125550001", ["c1"]),
        ("nobody", "+13125550009", []),
    ],
)
def test_a_search_finds_the_latest_entries_first(
    ledger: Ledger, text: str, phone: str | None, found: list[str]
) -> None:
    people = [("c1", "+13125550001", "asked"), ("c2_x", "", "asked"), ("c3", "", "100% wrong")]
    for number, person in enumerate(people):
        add(ledger, OptOutRequest(*person), moment=MONDAY + timedelta(days=number))
    entries = find_opt_outs(ledger, text, phone, removed=False, most=3)
    assert [entry.customer_uuid for entry in entries] == found
    assert find_opt_outs(ledger, text, phone, removed=False, most=1) == entries[:1]
    remove_opt_outs(ledger, customer_uuid="c1", phone=None, because="x", person=ANN, moment=MONDAY)
    assert find_opt_outs(ledger, text, phone, removed=False, most=3) == [
        entry for entry in entries if entry.customer_uuid != "c1"
    ]
    ever = find_opt_outs(ledger, text, phone, removed=True, most=3)
    assert [entry.customer_uuid for entry in ever] == found


def test_an_answer_to_another_processs_claim_adds_nothing(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    outbox(ledger, stored_plan).exchange([], 1)
    outbox(ledger, stored_plan, "you").exchange([came_to(2, Status.FAILED, OUT)], 0)
    assert list(opt_outs(ledger)) == []


def test_an_update_about_an_opt_out_counts_once(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    send_all(ledger, stored_plan)
    body = json.dumps(
        {
            "status": "FAILURE",
            "errors": [{"errorCode": OUT, "errorDescription": "The customer has opted out."}],
            "callbackMetaData": {
                "batchsendLedger": ledger.ledger_id(),
                "batchsendRun": str(stored_plan.run_id),
                "batchsendRow": "3",
                "batchsendSend": "1",
            },
        }
    ).encode()
    deliveries = Deliveries(ledger)
    deliveries.record(ReceivedUpdate.all_of(body, "2026-03-02T10:00:00.000Z"))
    (entry,) = opt_outs(ledger)
    assert (entry.customer_uuid, entry.phone, entry.added_at) == (
        "customer-3",
        "+13125550003",
        "2026-03-02T10:00:00.000Z",
    )
    remove_opt_outs(ledger, customer_uuid="customer-3", phone=None, because="", person=ANN, moment=MONDAY)
    # A repeated update is older than the removal, so it adds nothing.
    deliveries.record(ReceivedUpdate.all_of(body, "2026-03-04T10:00:00.000Z"))
    assert list(opt_outs(ledger)) == []


def test_a_rehearsal_adds_nothing(tmp_path: Path) -> None:
    scratch = scratch_ledger(tmp_path)
    with scratch.write() as connection:
        connection.execute(insert(messages).values(planned(2)))
    sender = Outbox(scratch, 0, 0, "me")
    sender.exchange([], 1)
    sender.exchange([came_to(2, Status.FAILED, OUT)], 0)
    assert list(opt_outs_ever(scratch)) == []
    scratch.close()


@pytest.mark.parametrize(
    ("base_url", "scope"),
    [
        ("https://api.mykaarma.com", EVERYWHERE),
        ("https://api.mykaarma.example:8443/gateway", EVERYWHERE),
        # Only a server on this machine may be used without TLS, such as the sandbox.
        ("http://127.0.0.1:8398", "http://127.0.0.1:8398"),
        ("http://localhost:8398", "http://localhost:8398"),
        ("http://[::1]:8398", "http://[::1]:8398"),
    ],
)
def test_only_a_sandboxs_opt_outs_apply_to_one_address(base_url: str, scope: str) -> None:
    assert scope_of_answer(base_url) == scope


def test_a_sandboxs_opt_outs_do_not_apply_to_the_real_api(ledger: Ledger) -> None:
    sandbox = "http://127.0.0.1:8398"
    send_all(
        ledger,
        store_plan(ledger, [planned(2)], who=identity(base_url=sandbox)),
        came_to(2, Status.FAILED, OUT),
    )
    assert why(ledger, "customer-2", "+13125550002") is None
    assert why(ledger, "customer-2", base_url=sandbox) is not None
    # An opt-out from the real API is a second entry and applies to every address.
    send_all(ledger, store_plan(ledger, [planned(2)]), came_to(2, Status.FAILED, OUT))
    assert len(list(opt_outs(ledger))) == 2
    assert why(ledger, "customer-2", base_url="https://api.tomorrow.example.com") is not None


def test_renaming_the_campaign_changes_no_entry(ledger: Ledger) -> None:
    send_all(ledger, store_plan(ledger, [planned(2)]), came_to(2, Status.FAILED, OUT))
    with ledger.write() as connection:
        connection.execute(update(campaigns).values(name="Autumn"))
    assert "(Spring, run 1, row 2)" in (why(ledger, "customer-2") or "")


def test_a_removal_is_a_date_and_a_new_opt_out_a_new_entry(ledger: Ledger) -> None:
    add(
        ledger,
        OptOutRequest("ann", "+13125550100", "wrong number"),
        OptOutRequest("bo", "", "asked at the desk"),
    )
    assert (
        why(ledger, "bo") == "this customer has been on the opt-out list since 2026-03-02: asked at the desk"
    )
    tuesday = MONDAY + timedelta(days=1)
    removed = remove_opt_outs(
        ledger, customer_uuid=None, phone="+13125550100", because="it was right", person=ANN, moment=tuesday
    )
    # The entry names both, so removing it for the phone also removes it for the customer.
    assert [(entry.customer_uuid, entry.phone) for entry in removed] == [("ann", "+13125550100")]
    assert why(ledger, "ann") is None
    again = remove_opt_outs(ledger, customer_uuid="ann", phone=None, because="", person=ANN, moment=tuesday)
    assert again == []
    assert add(ledger, OptOutRequest("ann", "+13125550100", "once more"), moment=tuesday) == 1
    ever = [
        (entry.reason, entry.removed_at) for entry in opt_outs_ever(ledger) if entry.customer_uuid == "ann"
    ]
    assert ever == [("wrong number", "2026-03-03T23:30:00.000Z"), ("once more", None)]


def test_the_day_is_that_of_the_campaigns_zone(ledger: Ledger) -> None:
    add(ledger, OptOutRequest("ann", "", "no"))
    reason = load_opt_outs(ledger, BASE_URL, ZoneInfo("Asia/Tokyo")).why("ann", None)
    assert reason == "this customer has been on the opt-out list since 2026-03-03: no"


people = st.sampled_from(["", "a", "b", "c"])
numbers = st.sampled_from(["", "+1", "+2"])


@settings(max_examples=25)
@given(batches=st.lists(st.lists(st.tuples(people, numbers).filter(any), max_size=6), max_size=4))
def test_every_named_person_is_on_the_list_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str]]]
) -> None:
    ledger = scratch_ledger(tmp_path_factory.mktemp("ledger"))
    try:
        for batch in batches:
            requests = [OptOutRequest(customer, phone, "no") for customer, phone in batch]
            known = len(list(opt_outs(ledger)))
            assert add(ledger, *requests) == len(list(opt_outs(ledger))) - known
            assert add(ledger, *requests) == 0
        named = {one for batch in batches for names in batch for one in names if one}
        for person in named:
            assert why(ledger, person, person) is not None
        for stranger in {"a", "b", "c", "+1", "+2"} - named:
            assert why(ledger, stranger, stranger) is None
        entries = [(entry.customer_uuid, entry.phone) for entry in opt_outs(ledger)]
        assert len(set(entries)) == len(entries)
    finally:
        ledger.close()


def test_two_processes_that_add_the_same_person_agree(ledger: Ledger, ledger_url: str) -> None:
    other = open_ledger(ledger_url)
    try:
        add(ledger, OptOutRequest("ann", "+13125550100", "no"))
        add(other, OptOutRequest("ann", "+13125550100", "no"), OptOutRequest("bo", "", "no"))
        assert len(list(opt_outs(ledger))) == 2
    finally:
        other.close()


def test_more_people_than_fit_into_one_statement(ledger: Ledger) -> None:
    requests = [OptOutRequest(f"customer-{number}", f"+1312{number:07}", "no") for number in range(4500)]
    assert add_opt_outs(ledger, requests, OptOutSource.IMPORTED, ANN, MONDAY) == 4500
    assert add_opt_outs(ledger, reversed(requests), OptOutSource.IMPORTED, ANN, MONDAY) == 0
    assert why(ledger, "customer-4499") is not None


# --- planning, on both databases


def plan(
    ledger: Ledger, folder: Path, people: list[str], resend: str | None = None
) -> tuple[list[str], StoredPlan]:
    """The customers that a start would text now, and the stored start."""
    World(folder).write([{"Customer UUID": one, "First Name": "Ann", "Phone": PHONES[one]} for one in people])
    request = PlanRequest(load_campaign(folder / "campaign.toml"), BASE_URL, "here", MONDAY, resend=resend)
    with make_plan(request, ledger) as made:
        texts = [row["customer_uuid"] for row in run_rows(made.scratch, 0, [Status.PENDING])]
        stored = ledger.store_plan(
            made.scratch,
            made.identity,
            made.known.id if made.known else None,
            made.run.id if made.run else None,
            made.new_run(),
            start_record(resend=resend),
        )
    return texts, stored


PHONES = {"ann": "3125550101", "bo": "3125550102", "cy": "3125550101", "di": ""}


def test_opted_out_customers_and_phones_are_skipped_until_removed(ledger: Ledger, tmp_path: Path) -> None:
    texts, start = plan(ledger, tmp_path, ["ann", "bo"])
    assert texts == ["ann", "bo"]
    send_all(ledger, start, came_to(2, Status.FAILED, OUT), came_to(3, Status.FAILED, "CUSTOMER_LOCKED"))
    ledger.end_start(start.start_id, 1, "done")
    # The same list: no text again, and with --resend only those who did not opt out.
    assert plan(ledger, tmp_path, ["ann", "bo"])[0] == []
    assert plan(ledger, tmp_path, ["ann", "bo"], "failed")[0] == ["bo"]
    # Another list: not even another customer at that number.
    assert plan(ledger, tmp_path, ["di", "cy", "ann"])[0] == ["di"]
    remove_opt_outs(ledger, customer_uuid="ann", phone=None, because="", person=ANN, moment=MONDAY)
    assert plan(ledger, tmp_path, ["cy", "di"])[0] == ["cy", "di"]
    assert plan(ledger, tmp_path, ["ann", "bo"], "failed")[0] == ["ann", "bo"]
    assert plan(ledger, tmp_path, ["ann", "di"])[0] == ["ann", "di"]


def test_a_phone_on_the_list_does_not_affect_rows_without_a_phone(ledger: Ledger, tmp_path: Path) -> None:
    add(ledger, OptOutRequest("", "+13125550101", "wrong number"))
    assert plan(ledger, tmp_path, ["ann", "di"])[0] == ["di"]
