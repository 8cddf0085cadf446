"""`[recipients]`: who is texted and who is not, as the preview shows it in the terminal and in its workbook."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ledgers import BASE_URL, came_to, identity, planned, send_all, store_plan
from openpyxl import load_workbook
from workbooks import ods, ods_row
from world import CAMPAIGN, World, customers, read_results

from batchsend.campaigns.file import load_campaign
from batchsend.ledger.opening import open_ledger
from batchsend.lists.headers import match_key
from batchsend.planning.plan import PlanRequest, make_plan

PHONE = "(312) 555-0{:03}"


@pytest.fixture
def dealership(tmp_path: Path) -> World:
    """A folder without a sandbox; nothing is sent from it."""
    return World(tmp_path)


def row(number: int, **other: str) -> dict[str, str]:
    return {
        "Customer UUID": f"c{number}",
        "First Name": "Ann",
        "Phone": PHONE.format(number),
        "OK to Text": "Y",
    } | {name.replace("_", " "): value for name, value in other.items()}


def preview(world: World) -> tuple[str, dict[int, str]]:
    """The terminal's output in one line, and each row's code or, without a code, its status."""
    done = world.run("preview", "campaign.toml")
    assert done.err == ""
    rows = read_results(world.folder / "previews" / "campaign.xlsx")
    return " ".join(done.out.split()), {
        number: str(found["errorCodes"] or found["status"]) for number, found in rows.items()
    }


def problems_sheet(path: Path) -> dict[int, dict[str, Any]]:
    book = load_workbook(path)
    header, *rows = book["Problems"].iter_rows(values_only=True)
    return {int(float(str(cells[0]))): dict(zip(map(str, header), cells, strict=True)) for cells in rows}


def test_consent_is_counted_value_by_value(dealership: World) -> None:
    values = ["Y", "yes", "YES", "N", "", "1", "Y"]
    dealership.write(
        [row(number, OK_to_Text=value) for number, value in enumerate(values)],
        campaign='[recipients]\nconsent = { column = "ok to text", yes = ["Y", "Yes"] }\n',
    )
    output, codes = preview(dealership)
    assert 'consent 4 rows say yes in "OK to Text": "Y" 2, "yes" 1, "YES" 1.' in output
    assert '3 rows do not: "N" 1, blank 1, "1" 1.' in output
    assert codes == dict.fromkeys((2, 3, 4, 8), "ready") | dict.fromkeys((5, 6, 7), "NO_CONSENT")


def test_opt_outs_from_files_of_any_format_by_id_and_by_any_spelling_of_the_phone(dealership: World) -> None:
    folder = dealership.folder
    (folder / "ids.csv").write_bytes("\ufeffCustomer ID;Name\nc1;Jürgen\n".encode("utf-8"))
    (folder / "phones.xls").write_bytes(
        b"<table><tr><th>Name<th>Mobile<tr><td>x<td>1.312.555.0002<tr><td>y<td>+44 20 7946 0958</table>"
    )
    # A filtered row is invisible in the spreadsheet but still an opt-out.
    filtered = ods_row("tel:312-555-0003", attributes='table:visibility="filter"')
    (folder / "filtered.ods").write_bytes(ods(ods_row("Phone Number") + filtered))
    (folder / "none.csv").write_bytes(b"customer_uuid,phone\n")
    dealership.write(
        [row(number) for number in range(5)],
        campaign='[recipients]\nsuppress = ["ids.csv", "phones.xls", "filtered.ods", "none.csv"]\n',
    )
    output, codes = preview(dealership)
    assert codes == {2: "ready", 3: "SUPPRESSED", 4: "SUPPRESSED", 5: "SUPPRESSED", 6: "ready"}
    assert "ids.csv: 1 customer id phones.xls: 2 phones filtered.ods: 1 phone" in output
    assert "none.csv: no customer ids and no phones" in output


def test_opt_out_files_with_phones_only_need_phones_in_the_list(dealership: World) -> None:
    (dealership.folder / "o.csv").write_bytes(b"phone\n3125550001\n")
    rows = [row(0), row(1), row(2, Phone="")]
    dealership.write(rows, campaign='[recipients]\nsuppress = ["o.csv"]\n')
    assert preview(dealership)[1] == {2: "ready", 3: "SUPPRESSED", 4: "MISSING_PHONE"}
    dealership.write(campaign='[recipients]\nsuppress = ["o.csv"]\nblank_phones = "preferred"\n')
    assert preview(dealership)[1] == {2: "ready", 3: "SUPPRESSED", 4: "ready"}
    dealership.write(
        [{"Customer UUID": "c0", "First Name": "Ann"}], campaign='[recipients]\nsuppress = ["o.csv"]\n'
    )
    refused = dealership.run("preview", "campaign.toml")
    assert refused.code == 2
    assert "has no column for `phone`, but a suppression file has phones only" in refused.err


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ("", {2: "ready", 3: "DUPLICATE_PHONE", 4: "ready", 5: "DUPLICATE"}),
        ('duplicate_phones = "allow"', {2: "ready", 3: "ready", 4: "ready", 5: "DUPLICATE"}),
        ('blank_phones = "invalid"', {2: "ready", 3: "DUPLICATE_PHONE", 4: "MISSING_PHONE", 5: "DUPLICATE"}),
    ],
)
def test_duplicate_and_blank_phones(dealership: World, settings: str, codes: dict[int, str]) -> None:
    rows = [row(0), row(1, Phone="312.555.0000"), row(2, Phone=""), row(0)]
    dealership.write(rows, campaign=f"[recipients]\n{settings}\n")
    assert preview(dealership)[1] == codes


def test_problems_are_grouped_with_what_to_do(dealership: World) -> None:
    rows = [row(number) for number in range(14)]
    for number in range(2, 13):
        rows[number]["Customer UUID"] = ""
    rows[0]["Phone"], rows[1]["Phone"], rows[13]["Phone"] = "312 555", "+999 312 555 0142", "911"
    dealership.write(rows)
    output, _ = preview(dealership)
    assert "11 MISSING_CUSTOMER_UUID: rows 4, 5, 6, 7, 8, 9, 10, 11, ..." in output
    assert "3 INVALID_PHONE: rows 2, 3, 15." in output
    problems = problems_sheet(dealership.folder / "previews" / "campaign.xlsx")
    assert list(problems) == list(range(2, 16))
    assert all(problem["what it means"] and problem["what to do"] for problem in problems.values())
    assert problems[4]["errorDescriptions"] == "Customer UUID is blank"
    assert [problems[number]["errorDescriptions"] for number in (2, 3, 15)] == [
        "the phone is too short for +1 (United States): it has 6 digits, not 10",
        "no country has the country code after the + of the phone",
        "the phone is an emergency or other short number, not a customer's",
    ]


def test_all_problems_of_files_are_reported_together_before_any_row(dealership: World) -> None:
    dealership.write(
        [{"Name": "Ann", "Phone": "x"}],
        campaign='[recipients]\nsuppress = ["gone.csv"]\nconsent = { column = "OK", yes = ["Y"] }\n',
        template="Hi {{ frist_name }}",
    )
    refused = dealership.run("preview", "campaign.toml")
    assert refused.code == 2
    for problem in (
        "gone.csv: There is no such file",
        "needs a column for `customer_uuid`",
        '"OK"',
        "frist_name",
    ):
        assert problem in refused.err
    assert "INVALID_PHONE" not in refused.err + refused.out


@pytest.mark.parametrize(
    ("settings", "sent_at", "code"),
    [
        ("", "2020-01-01T00:00:00.000Z", "ALREADY_SENT"),  # once, ever
        (
            "repeat_after_days = 30",
            "2026-02-01T05:59:59.000Z",
            "STOPPED",
        ),  # Chicago: on 31 January, 30 days ago
        ("repeat_after_days = 30", "2026-02-01T06:00:00.000Z", "ALREADY_SENT"),
    ],
)
def test_the_same_message_again_after_calendar_days_in_the_campaigns_zone(
    tmp_path: Path, settings: str, sent_at: str, code: str
) -> None:
    World(tmp_path).write([row(0)], campaign=f"[recipients]\n{settings}\n")
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    earlier = store_plan(ledger, [planned(2, key="c0", customer_uuid="c0")], who=identity("Spring"))
    send_all(ledger, earlier, came_to(2, sent_at=sent_at))
    request = PlanRequest(
        load_campaign(tmp_path / "campaign.toml"), BASE_URL, "here", datetime(2026, 3, 2, 18, tzinfo=UTC)
    )
    with make_plan(request, ledger) as plan:
        assert {codes for _, codes, _ in plan.codes} == {code}
    ledger.close()


def test_a_results_workbook_as_the_list_of_an_apology(world: World) -> None:
    world.write([*customers(2), {"Customer UUID": "sandbox-locked-1", "First Name": "Bo", "Phone": ""}])
    assert world.send().code == 1
    sorry = CAMPAIGN.replace("Spring", "Sorry")
    (world.folder / "sorry.toml").write_text(sorry, encoding="utf-8")
    assert world.run("results", "1", "--as-list", "--only", "accepted", "--out", "two.csv").code == 0
    whole = world.run("preview", "sorry.toml", "--list", "results/campaign-1.xlsx")
    assert "3 rows = 0 accepted by myKaarma + 3 ready to send" in whole.out
    assert world.run("send", "sorry.toml", "--yes", "--list", "two.csv").code == 0
    rows = read_results(world.folder / "results" / "sorry-2.xlsx")
    assert [found["customerUUID"] for found in rows.values()] == ["customer-0", "customer-1"]
    assert {match_key(header) for header in customers(1)[0]} <= set(map(match_key, rows[2]))
