"""What happens to a row: the order of the rules, and which of several rows of one customer is sent."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ledgers import (
    BASE_URL,
    came_to,
    identity,
    planned,
    send_all,
    start_record,
    store_plan,
    stored,
)
from openpyxl import Workbook
from sqlalchemy import insert, select
from world import World

from batchsend.campaigns.file import load_campaign
from batchsend.ledger.bulk import execute_for_all
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger, scratch_ledger
from batchsend.ledger.schema import messages
from batchsend.planning.duplicates import skip_texted_phones
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.statuses import Status

NOW = datetime(2026, 3, 2, 18, tzinfo=UTC)
#: The contract's order.
ORDER = (
    "MALFORMED_ROW",
    "HIDDEN_ROW",
    "INVALID_CUSTOMER_UUID",
    "FILTERED",
    "NO_CONSENT",
    "SUPPRESSED",
    "ALREADY_SENT",
    "ALREADY_TRIED",
    "INVALID_PHONE",
    "MISSING_VALUE",
    "DUPLICATE",
    "DUPLICATE_PHONE",
    "FREQUENCY_CAP",
)
#: What only CSV can be, and what only a workbook can have.
IMPOSSIBLE = {("MALFORMED_ROW", "HIDDEN_ROW")}
OPTIONS = """
[recipients]
consent = { column = "OK to Text", yes = ["Y"] }
suppress = ["opt_outs.csv"]
where = 'model != "Sold"'
max_messages = 1
max_messages_days = 7
[list_options]
hidden_rows = "skip"
"""
HEADERS = ("Customer UUID", "First Name", "Phone", "OK to Text", "Model")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


def row(
    uuid: str = "customer",
    name: str = "Ann",
    phone: str = "(312) 555-0100",
    ok: str = "Y",
    model: str = "Fit",
) -> list[str]:
    return [uuid, name, phone, ok, model]


def verdicts(folder: Path, ledger: Ledger) -> list[tuple[str, str, str]]:
    """Status, code and description of every row of the folder's campaign, as `send` would judge them."""
    request = PlanRequest(load_campaign(folder / "campaign.toml"), BASE_URL, "here", NOW)
    query = select(messages.c.status, messages.c.codes, messages.c.descriptions).order_by(messages.c.row)
    with make_plan(request, ledger) as plan, plan.scratch.read() as connection:
        return [(status, codes, sentence) for status, codes, sentence in connection.execute(query)]


def write(folder: Path, rows: list[list[str]], options: str = OPTIONS) -> None:
    World(folder).write(campaign=options)
    with (folder / "customers.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADERS, *rows])
    (folder / "opt_outs.csv").write_text("customer_uuid\nnobody\n", encoding="utf-8")


def hide(folder: Path, hidden: set[int]) -> None:
    """The same list as a workbook, with these rows hidden."""
    book = Workbook()
    sheet: Any = book.active
    with (folder / "customers.csv").open(encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            sheet.append(cells)
    for number in hidden:
        sheet.row_dimensions[number].hidden = True
    book.save(folder / "customers.csv")


def texted(ledger: Ledger, uuids: list[str], campaign: str, status: Status, codes: str = "") -> None:
    """These customers got a text by a campaign, of which this came."""
    rows = [planned(row, key=uuid, customer_uuid=uuid) for row, uuid in enumerate(uuids, start=2)]
    if rows:
        stored_plan = store_plan(ledger, rows, who=identity(campaign))
        send_all(ledger, stored_plan, *(came_to(planned_row["row"], status, codes) for planned_row in rows))


def rows_of(pair: tuple[str, str], number: int) -> list[list[str]]:
    """Rows of a customer of its own, whose last one earns both verdicts."""
    uuid = f"customer-{number}{'!' if 'INVALID_CUSTOMER_UUID' in pair else ''}"
    phone = f"(312) 555-{number:04}"
    judged = row(
        uuid,
        name="" if "MISSING_VALUE" in pair else "Ann",
        phone="12" if "INVALID_PHONE" in pair else phone,
        ok="N" if "NO_CONSENT" in pair else "Y",
        model="Sold" if "FILTERED" in pair else "Fit",
    )
    if "MALFORMED_ROW" in pair:
        judged.append("a cell too many")
    rows = []
    if "DUPLICATE" in pair:
        rows.append(row(uuid, phone=f"(312) 556-{number:04}"))
    if "DUPLICATE_PHONE" in pair:
        rows.append(row(f"neighbour-{number}", phone=phone))
    return [*rows, judged]


@pytest.mark.parametrize("hidden", [False, True])
def test_the_first_verdict_in_the_contracts_order_counts(
    tmp_path: Path, ledger: Ledger, hidden: bool
) -> None:
    pairs = [p for p in combinations(ORDER, 2) if p not in IMPOSSIBLE and ("HIDDEN_ROW" in p) is hidden]
    rows: list[list[str]] = []
    last: dict[tuple[str, str], int] = {}
    for number, pair in enumerate(pairs):
        rows += rows_of(pair, number)
        last[pair] = len(rows) - 1

    def uuids(verdict: str) -> list[str]:
        return [rows[last[pair]][0] for pair in pairs if verdict in pair]

    write(tmp_path, rows)
    if hidden:
        hide(tmp_path, {number + 2 for number in last.values()})
    # A file cannot name a customer by an invalid id, so it names the phone.
    opted_out = [rows[last[pair]] for pair in pairs if "SUPPRESSED" in pair]
    (tmp_path / "opt_outs.csv").write_text(
        "\n".join(
            ["customer_uuid,phone", *(f",{one[2]}" if "!" in one[0] else f"{one[0]}," for one in opted_out)]
        ),
        encoding="utf-8",
    )
    texted(ledger, uuids("ALREADY_SENT"), "Spring", Status.ACCEPTED)
    texted(ledger, uuids("ALREADY_TRIED"), "Spring", Status.UNCONFIRMED, "TIMEOUT")
    # Of two rows of one customer, the first is the text after which the second would be one too many.
    duplicates = uuids("DUPLICATE")
    texted(ledger, [u for u in uuids("FREQUENCY_CAP") if u not in duplicates], "Another", Status.ACCEPTED)
    judged = verdicts(tmp_path, ledger)
    assert {pair: judged[number][1] for pair, number in last.items()} == {pair: pair[0] for pair in pairs}


def test_a_choice_is_forgotten_if_its_row_is_stopped(tmp_path: Path, ledger: Ledger) -> None:
    texted(ledger, ["customer"], "Spring", Status.UNCONFIRMED, "TIMEOUT")
    write(tmp_path, [row()])
    (tmp_path / "opt_outs.csv").write_text("customer_uuid\ncustomer\n", encoding="utf-8")
    campaign = load_campaign(tmp_path / "campaign.toml")
    with make_plan(PlanRequest(campaign, BASE_URL, "here", NOW, resend="unconfirmed"), ledger) as plan:
        assert plan.known is not None
        ledger.store_plan(
            plan.scratch,
            plan.identity,
            plan.known.id,
            None,
            plan.new_run(),
            start_record(resend="unconfirmed"),
        )
    assert stored(ledger, 2) == {2: ("skipped", "SUPPRESSED")}

    (tmp_path / "opt_outs.csv").write_text("customer_uuid\nnobody\n", encoding="utf-8")
    assert verdicts(tmp_path, ledger) == [("skipped", "ALREADY_TRIED", "")]


@pytest.mark.timeout(30)
def test_a_phone_that_thousands_share_is_judged_in_one_go(tmp_path: Path) -> None:
    rows = [planned(number, phone="+13125550100") for number in range(40_000)]
    for sent in rows[20_000:]:
        sent |= {"status": Status.SKIPPED, "codes": "ALREADY_SENT"}
    plan = scratch_ledger(tmp_path)
    with plan.write() as connection:
        execute_for_all(connection, insert(messages), rows)
    skip_texted_phones(plan, 0)
    query = select(messages.c.codes, messages.c.descriptions)
    with plan.read() as connection:
        assert Counter(map(tuple, connection.execute(query))) == {
            ("DUPLICATE_PHONE", "row 20000 has the same phone and already got the text"): 20_000,
            ("ALREADY_SENT", ""): 20_000,
        }
    plan.close()


def test_a_customer_id_comes_before_the_rest_of_the_key(tmp_path: Path, ledger: Ledger) -> None:
    key = OPTIONS.replace("[recipients]", '[recipients]\nkey = ["Customer UUID", "First Name"]')
    write(tmp_path, [row("", name=""), row(name="", ok="N")], key)
    missing, incomplete = verdicts(tmp_path, ledger)
    assert missing[:2] == ("invalid", "MISSING_CUSTOMER_UUID")
    # The key is blank and consent is missing: the key comes first.
    assert incomplete == ("invalid", "MISSING_VALUE", "First Name is blank, and it is part of the key")


def test_of_several_rows_with_one_key_the_first_that_can_be_sent_is_sent(
    tmp_path: Path, ledger: Ledger
) -> None:
    rows = [row(name=""), row(phone="1"), row(ok="N"), row(), row(), row(name="Bo")]
    write(tmp_path, rows)
    judged = verdicts(tmp_path, ledger)
    assert [codes for _, codes, _ in judged[:3]] == ["MISSING_VALUE", "INVALID_PHONE", "NO_CONSENT"]
    same_key = (
        "the same key as row 5, but another First Name. To text both, add a column that differs to the "
        "campaign's `key`"
    )
    assert judged[3:] == [
        ("pending", "STOPPED", ""),
        ("skipped", "DUPLICATE", "the same as row 5"),
        ("skipped", "DUPLICATE", same_key),
    ]


def test_a_phone_belongs_to_the_first_customer_who_can_be_sent_to(tmp_path: Path, ledger: Ledger) -> None:
    rows = [row("anna", name=""), row("bert"), row("carl", phone="+1 312 555 0100"), row("dora", phone="")]
    write(tmp_path, [*rows, row("emil", phone="")])
    judged = verdicts(tmp_path, ledger)
    assert [codes for _, codes, _ in judged] == [
        "MISSING_VALUE",
        "STOPPED",
        "DUPLICATE_PHONE",
        "STOPPED",
        "STOPPED",
    ]
    assert judged[2][2] == "row 3 has the same phone"
    write(tmp_path, rows, OPTIONS.replace("[recipients]", '[recipients]\nduplicate_phones = "allow"'))
    assert verdicts(tmp_path, ledger)[2][1] == "STOPPED"


@pytest.mark.parametrize(
    ("sent_at", "days", "code"),
    [
        # Seven calendar days in the campaign's zone, the day of the start being one: since midnight of 24 February.
        ("2026-02-24T05:59:59.999Z", 7, "STOPPED"),
        ("2026-02-24T06:00:00.000Z", 7, "FREQUENCY_CAP"),
        ("2026-03-02T17:59:59.000Z", 1, "FREQUENCY_CAP"),
    ],
)
def test_the_frequency_cap_counts_calendar_days(
    tmp_path: Path, ledger: Ledger, sent_at: str, days: int, code: str
) -> None:
    write(tmp_path, [row()], OPTIONS.replace("_days = 7", f"_days = {days}"))
    stored_plan = store_plan(ledger, [planned(2, key="x", customer_uuid="customer")], who=identity("Another"))
    send_all(ledger, stored_plan, came_to(2, sent_at=sent_at))
    assert verdicts(tmp_path, ledger)[0][1] == code
