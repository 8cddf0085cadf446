"""The ledger's opt-outs: recorded from answers and updates, and kept by people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import (
    BASE_URL,
    came_to,
    everything,
    identity,
    outbox,
    planned,
    send_all,
    start_record,
    store_plan,
)
from openpyxl import load_workbook
from sqlalchemy import insert, update
from world import CAMPAIGN, Sandbox, World, customers, read_results

from batchsend.campaigns.file import load_campaign
from batchsend.cli.main import cli
from batchsend.errors import BatchsendError
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.ledger import Ledger, StoredPlan
from batchsend.ledger.opening import open_ledger, scratch_ledger
from batchsend.ledger.optouts import (
    EVERYWHERE,
    OptOutRequest,
    OptOutSource,
    Person,
    add_opt_outs,
    load_opt_outs,
    opt_outs,
    opt_outs_ever,
    remove_opt_outs,
    scope_of_answer,
)
from batchsend.ledger.runs import run_rows
from batchsend.ledger.schema import campaigns, messages
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.planning.suppression import load_suppression
from batchsend.sending.outbox import Outbox
from batchsend.settings import VARIABLES
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
    deliveries.record([ReceivedUpdate.of(body, "2026-03-02T10:00:00.000Z")])
    (entry,) = opt_outs(ledger)
    assert (entry.customer_uuid, entry.phone, entry.added_at) == (
        "customer-3",
        "+13125550003",
        "2026-03-02T10:00:00.000Z",
    )
    remove_opt_outs(ledger, customer_uuid="customer-3", phone=None, because="", person=ANN, moment=MONDAY)
    # A repeated update is older than the removal, so it adds nothing.
    deliveries.record([ReceivedUpdate.of(body, "2026-03-04T10:00:00.000Z")])
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
        why(ledger, "bo") == "this customer is on the ledger's opt-outs since 2026-03-02: asked at the desk"
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
    assert reason == "this customer is on the ledger's opt-outs since 2026-03-03: no"


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


# --- the installed command


OPTED_OUT_ROW = {"Customer UUID": "sandbox-opted-out-1", "First Name": "Bo", "Phone": "(312) 555-0192"}


def another_campaign(world: World, rows: list[dict[str, str]]) -> None:
    world.write_list(rows, "others.csv")
    (world.folder / "other.toml").write_text(
        CAMPAIGN.replace("Spring", "Other").replace("customers.csv", "others.csv"), encoding="utf-8"
    )


def outcome(world: World, name: str) -> dict[int, tuple[str, str | None, str | None]]:
    rows = read_results(world.folder / "results" / f"{name}.xlsx")
    return {row: (one["status"], one["errorCodes"], one["errorDescriptions"]) for row, one in rows.items()}


def test_another_campaign_skips_opted_out_customers_until_they_are_removed(
    world: World, sandbox: Sandbox
) -> None:
    world.write([*customers(1), OPTED_OUT_ROW])
    assert world.send().code == 1
    # Another customer with the same phone is skipped too, in a rehearsal as in a real start.
    another_campaign(
        world, [OPTED_OUT_ROW, {**OPTED_OUT_ROW, "Customer UUID": "another-customer"}, *customers(2)]
    )
    before = everything_in(world)
    rehearsed = world.run("send", "other.toml", "--sandbox", "--yes")
    assert "4 rows = 0 accepted by myKaarma" not in rehearsed.out
    assert everything_in(world) == before
    received = len(sandbox.requests())
    assert world.run("send", "other.toml", "--yes").code == 0
    assert len(sandbox.requests()) == received + 2
    found = outcome(world, "other-2")
    for row, who in ((2, "this customer"), (3, "this phone")):
        status, code, description = found[row]
        assert (status, code) == ("skipped", "SUPPRESSED")
        assert description is not None
        assert description.startswith("myKaarma reported on ")
        assert f"that {who} opted out (Spring, run 1, row 3)" in description
    # After the removal, `--resend` sends to the customer again.
    done = world.run("optouts", "remove", "--customer", "sandbox-opted-out-1", "--reason", "signed up again")
    assert done.code == 0
    assert "Removed: customer sandbox-opted-out-1, (312) 555-0192" in done.out
    assert "myKaarma keeps its own opt-outs" in done.out
    assert world.send("--resend", "failed").code == 1
    assert len(sandbox.requests()) == received + 3
    # The sandbox refused it again, after the removal.
    ever = world.run("optouts", "list", "--all").out
    assert ever.count("customer sandbox-opted-out-1, (312) 555-0192") == 2
    assert ever.count("removed on") == 1
    assert ": signed up again" in ever
    assert f"only at {world.base_url}" in ever


def everything_in(world: World) -> dict[str, list[tuple[object, ...]]]:
    ledger = open_ledger(f"sqlite:///{world.folder / '.batchsend' / 'ledger.db'}")
    try:
        return everything(ledger)
    finally:
        ledger.close()


def test_the_list_can_be_edited_exported_and_imported(world: World, sandbox: Sandbox) -> None:
    world.write([*customers(3), OPTED_OUT_ROW])
    named = ("--ledger", ".batchsend/ledger.db")
    added = world.run("optouts", "add", "--phone", "(312) 500-0001", "--reason", "wrong number", *named)
    assert (added.code, added.out) == (
        0,
        "Added. From the next start, no campaign of this ledger texts them.\n",
    )
    assert world.send().code == 1
    assert sandbox.texts() == {"customer-0": 1, "customer-2": 1}
    status, code, description = outcome(world, "campaign-1")[3]
    assert (status, code) == ("skipped", "SUPPRESSED")
    assert (description or "").endswith(": wrong number")
    exported = world.run("optouts", "export", "out.csv")
    assert exported.code == 0
    assert exported.out.splitlines() == [
        f"1 written to {world.folder / 'out.csv'}",
        "1 skipped: they come from a sandbox and apply only there.",
    ]
    new = world.run("optouts", "import", "out.csv", "--ledger", "elsewhere/ledger.db")
    assert new.out == "1 added, 0 already on the list.\n"
    assert "Created a new ledger: " in new.err


# --- the same commands, without a process for each


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a ledger."""
    open_ledger(f"sqlite:///{tmp_path / '.batchsend' / 'ledger.db'}").close()
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def optouts(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `batchsend optouts ...` prints."""
    cli.main(["optouts", *arguments], prog_name="batchsend", standalone_mode=False)
    printed = capsys.readouterr()
    return printed.out + printed.err


@pytest.mark.parametrize("name", ["out.csv", "out.xlsx"])
def test_an_export_can_be_imported_without_duplicates(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    optouts(capsys, "add", "--customer", "-leading_hyphen", "--reason", '=HYPERLINK("http://x","y")')
    optouts(capsys, "add", "--customer", "c2", "--phone", "+44 20 7946 0958", "--reason", 'moved, "away"')
    optouts(capsys, "export", name)
    if name.endswith(".csv"):
        assert "\"'=HYPERLINK" in (folder / name).read_text(encoding="utf-8-sig")
    else:
        cells = [cell for row in load_workbook(folder / name)["List"] for cell in row]
        assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert optouts(capsys, "import", name) == "0 added, 2 already on the list.\n"
    elsewhere = ("--ledger", "elsewhere.db")
    assert "2 added, 0 already on the list." in optouts(capsys, "import", name, *elsewhere)
    listed = optouts(capsys, "list", *elsewhere)
    for line in (
        "customer -leading_hyphen\n",
        '  =HYPERLINK("http://x","y") (imported',
        "customer c2, +44 20 7946 0958",
        'moved, "away" (imported',
    ):
        assert line in listed
    # It is a suppression file as well.
    suppression = load_suppression([folder / name], "US")
    assert set(suppression.customer_uuids) == {"-leading_hyphen", "c2"}
    assert set(suppression.phones) == {"+442079460958"}


def test_a_list_of_any_format_is_imported_and_unusable_rows_are_reported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "stop.txt").write_text(
        "Cell Phone;Customer ID;Reason\n312 555 0101;;\n;c9;complained\n12;;\n312-555-0101;;\n",
        encoding="utf-8",
    )
    printed = optouts(capsys, "import", "stop.txt", "--reason", "the old system's list")
    assert "2 added, 1 already on the list." in printed
    assert "stop.txt: 1 row has no customer id and no valid phone: 4. They were not added." in printed
    listed = optouts(capsys, "list")
    assert "(312) 555-0101\n  the old system's list (imported by " in listed
    assert "customer c9\n  complained (imported by " in listed


def test_adding_and_removing_say_what_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Added." in optouts(capsys, "add", "--phone", "(312) 555-0101", "--reason", "wrong number")
    again = optouts(capsys, "add", "--phone", "+1 312 555 0101", "--reason", "still wrong")
    assert again == "Already on the list; nothing was changed.\n"
    removed = optouts(capsys, "remove", "--phone", "312.555.0101")
    assert "Removed: (312) 555-0101 (opted out since " in removed
    assert optouts(capsys, "list") == "This ledger has no opt-outs.\n"
    assert "removed on " in optouts(capsys, "list", "--all")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "--reason", "x"], "Name a customer with --customer, a phone number with --phone, or both."),
        (["add", "--customer", "c1"], "--reason"),
        (["add", "--customer", "(312) 555-0101", "--reason", "x"], "For a phone number, use --phone."),
        (["add", "--phone", "12", "--reason", "x"], "--phone: the phone is "),
        (["add", "--phone", "3125550101", "--reason", " "], "Give a reason, such as --reason"),
        (["remove"], "Name a customer with --customer, or a phone number with --phone."),
        (
            ["remove", "--customer", "stranger"],
            "stranger is not on the opt-out list; nothing was removed.",
        ),
        (["import", "nowhere.csv"], "nowhere.csv"),
        (
            ["import", "people.csv"],
            "a list of opt-outs needs a column `customer_uuid` or `phone`; it has: Name",
        ),
        (["export", "out.pdf"], "out.pdf: a list is written as .xlsx or .csv."),
        (["list", "--ledger", "postgresql://u:secret@h/db"], "--ledger holds a password"),
    ],
)
def test_mistakes_are_refused_with_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    (folder / "people.csv").write_text("Name\nAnn\n", encoding="utf-8")
    with pytest.raises((BatchsendError, click.UsageError)) as raised:
        optouts(capsys, *arguments)
    message = (
        raised.value.format_message() if isinstance(raised.value, click.UsageError) else str(raised.value)
    )
    assert sentence in message


def test_an_opt_out_without_a_ledger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BatchsendError, match="There is no ledger in"):
        optouts(capsys, "add", "--customer", "c1", "--reason", "x")


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
