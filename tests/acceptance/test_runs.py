"""Starting `send` again, with the installed command. The simpler cases are in `test_send.py`."""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from openpyxl import Workbook
from world import CAMPAIGN, Sandbox, World, customers, running_world

from batchsend.utils.timestamps import start_of_window, to_text

ZONE = ZoneInfo("America/Chicago")


def outcomes(world: World, number: int) -> list[tuple[str, str | None]]:
    return [(row["status"], row["errorCodes"]) for row in world.workbook(number).values()]


def person(uuid: str, name: str = "Ann", phone: str = "") -> dict[str, str]:
    return {"Customer UUID": uuid, "First Name": name, "Phone": phone}


def as_workbook(folder: Path, name: str = "customers.csv") -> None:
    """The same rows in a file with other bytes, under the same name."""
    book = Workbook()
    with (folder / name).open(encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            book.active.append(cells)  # type: ignore[union-attr]
    book.save(folder / name)


def requests_for(sandbox: Sandbox) -> Counter[str]:
    return Counter(request["customerUUID"] for request in sandbox.requests())


def test_the_same_list_resumes_its_run_and_checks_untried_rows_again(world: World, sandbox: Sandbox) -> None:
    rows = [
        person("customer-ok"),
        person("sandbox-locked-1"),
        person("sandbox-500-1"),
        person("customer-blank", name=""),
        person("customer-suppressed"),
        person("customer-held"),
    ]
    suppress = '[recipients]\nsuppress = ["opt_outs.csv"]\n'
    (world.folder / "opt_outs.csv").write_text("customer_uuid\ncustomer-suppressed\n", encoding="utf-8")
    world.write(rows, campaign=suppress)
    world.send("--limit", "3")
    tried = [("accepted", None), ("failed", "CUSTOMER_LOCKED"), ("unconfirmed", "INTERNAL_SERVER_ERROR")]
    untried = [("invalid", "MISSING_VALUE"), ("skipped", "SUPPRESSED"), ("pending", "HELD_BACK")]
    assert outcomes(world, 1) == tried + untried
    # Other bytes, the same rows; another template, another opt-out.
    as_workbook(world.folder)
    (world.folder / "opt_outs.csv").write_text("customer_uuid\ncustomer-held\n", encoding="utf-8")
    world.write(campaign=suppress, template="Dear {{ first_name | default('customer') }}, please call.")
    done = world.send()
    assert "continues: the list is the same" in done.out
    assert "The template has changed: 2 texts already went out with the old one." in done.out
    assert outcomes(world, 1) == [*tried, ("accepted", None), ("accepted", None), ("skipped", "SUPPRESSED")]
    assert "Dear customer, please call." in [request["body"] for request in sandbox.requests()]
    assert requests_for(sandbox) == {
        "customer-ok": 1,
        "sandbox-locked-1": 1,
        "sandbox-500-1": 1,
        "customer-blank": 1,
        "customer-suppressed": 1,
    }
    assert [file.name for file in (world.folder / "results").glob("*.xlsx")] == ["campaign-1.xlsx"]


def test_another_list_uses_the_outcomes_of_the_list_before(world: World, sandbox: Sandbox) -> None:
    before = [
        person("customer-ok"),
        person("sandbox-500-1"),
        person("sandbox-locked-1"),
        person("sandbox-opted-out-1"),
        person("customer-held"),
    ]
    world.write(before)
    world.send("--limit", "4")
    first = world.workbook(1)
    world.write_list([person("customer-new"), *before[:-1]])
    assert world.send().code == 1
    assert outcomes(world, 2) == [
        ("accepted", None),
        ("skipped", "ALREADY_SENT"),
        ("skipped", "ALREADY_TRIED"),
        # A failed row is tried again, and fails again.
        ("failed", "CUSTOMER_LOCKED"),
        ("skipped", "SUPPRESSED"),
    ]
    second = world.workbook(2)
    for row in (3, 4):
        shown = {column: second[row][column] for column in ("messageUUID", "sentAtUTC", "run")}
        assert shown == {column: first[row - 1][column] for column in ("messageUUID", "sentAtUTC", "run")}
        assert shown["run"] == 1
        assert shown["sentAtUTC"]
    # Run 2 sends the row again that is unconfirmed in run 1, and only once.
    again = world.send("--resend", "unconfirmed", "--expect", "1")
    assert again.code == 1
    assert outcomes(world, 2)[2] == ("unconfirmed", "INTERNAL_SERVER_ERROR")
    # Resend by error code, with suppression applied: no row is left to send.
    (world.folder / "opt_outs.csv").write_text("customer_uuid\nsandbox-locked-1\n", encoding="utf-8")
    world.write(campaign='[recipients]\nsuppress = ["opt_outs.csv"]\n')
    suppressed = world.send("--resend", "CUSTOMER_LOCKED")
    assert "Nothing was left to send." in suppressed.out
    assert outcomes(world, 2)[3] == ("failed", "CUSTOMER_LOCKED")
    assert requests_for(sandbox) == {
        "customer-ok": 1,
        "customer-new": 1,
        "sandbox-500-1": 2,
        "sandbox-locked-1": 2,
        "sandbox-opted-out-1": 1,
    }
    # The first list resumes run 1; its closed row is sent now.
    world.write(before)
    world.send()
    assert outcomes(world, 1)[4] == ("accepted", None)
    assert requests_for(sandbox)["customer-held"] == 1
    assert requests_for(sandbox)["sandbox-locked-1"] == 2


def test_the_next_start_finishes_a_killed_resend_and_repeats_nothing(tmp_path: Path) -> None:
    with running_world(tmp_path, "--latency", "0.05") as (world, sandbox):
        locked = [person(f"sandbox-locked-{number}") for number in range(30)]
        options = "[sending]\nstop_after_failures = 1000\nconcurrency = 2\n"
        world.write(locked, campaign=options + "rate = 200\n")
        world.send()
        world.write(campaign=options + "rate = 10\n")
        process = world.start("send", "campaign.toml", "--yes", "--resend", "failed")
        sandbox.wait_for(34)
        process.kill()
        process.communicate()
        # This start has no --resend; the stored choice is finished anyway.
        world.write(campaign=options + "rate = 200\n")
        done = world.send()
        assert "30 rows = 0 accepted by myKaarma + 0 skipped + 30 need attention + 0 waiting" in done.out
        counts = requests_for(sandbox)
        interrupted = [row for row in world.workbook().values() if row["errorCodes"] == "INTERRUPTED"]
        assert len(interrupted) <= 4
        assert {counts[row["customerUUID"]] for row in interrupted} <= {1, 2}
        for row in interrupted:
            del counts[row["customerUUID"]]
        assert set(counts.values()) == {2}


# --- repeat_after_days


def days_ago(world: World, run: int, moment: datetime) -> None:
    """Changes the ledger as if the run had been sent at this moment."""
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE runs SET created_at = ? WHERE id = ?", (to_text(moment), run))
        ledger.execute(
            "UPDATE messages SET sent_at = ? WHERE run_id = ? AND sent_at IS NOT NULL", (to_text(moment), run)
        )


def test_a_text_is_repeated_after_repeat_after_days(world: World, sandbox: Sandbox) -> None:
    # A zone in which it is about noon: no day ends while the test runs. Etc/GMT+5 is five hours behind UTC.
    zone = ZoneInfo(f"Etc/GMT{datetime.now(UTC).hour - 12:+}")
    campaign = CAMPAIGN.replace("America/Chicago", zone.key)
    world.write(customers(1), campaign=f"{campaign}[recipients]\nrepeat_after_days = 7\n")
    world.send()
    today = datetime.now(zone).date()
    midnight = datetime.combine(today - timedelta(days=6), datetime.min.time(), zone)
    # Sent in the first moment six days ago: still within seven calendar days.
    days_ago(world, 1, midnight)
    world.write_list(customers(2))
    second = world.send()
    assert "customer-1" in sandbox.texts()
    assert outcomes(world, 2) == [("skipped", "ALREADY_SENT"), ("accepted", None)]
    assert "A new run" in second.out
    # Sent a second earlier: the list starts a new run, and all customers are texted again.
    days_ago(world, 1, midnight - timedelta(seconds=1))
    days_ago(world, 2, midnight - timedelta(seconds=1))
    third = world.send()
    assert "A new run" in third.out
    assert outcomes(world, 3) == [("accepted", None)] * 2
    assert sandbox.texts() == {"customer-0": 2, "customer-1": 2}


@pytest.mark.parametrize(
    ("moment", "days", "began"),
    [
        # Seven calendar days at any hour: a weekly text on Mondays is due all day.
        ("2026-11-23T16:00:00Z", 7, "2026-11-17T06:00:00.000Z"),
        ("2026-11-24T05:59:59Z", 7, "2026-11-17T06:00:00.000Z"),  # the last second of the same day
        ("2026-11-24T06:00:00Z", 7, "2026-11-18T06:00:00.000Z"),  # midnight in Chicago
        ("2026-11-24T06:00:00Z", 1, "2026-11-24T06:00:00.000Z"),
        # A change of daylight saving time: calendar days, not 24 hours.
        ("2026-11-02T12:00:00Z", 2, "2026-11-01T05:00:00.000Z"),
        ("2026-03-09T12:00:00Z", 2, "2026-03-08T06:00:00.000Z"),
    ],
)
def test_calendar_days_follow_the_campaigns_zone(moment: str, days: int, began: str) -> None:
    start = start_of_window(datetime.fromisoformat(moment).astimezone(UTC), days, ZONE)
    assert to_text(start) == began


def test_a_phone_is_not_texted_again_for_another_customer_of_the_list(world: World, sandbox: Sandbox) -> None:
    husband, wife, other = customers(3)
    wife["Phone"] = husband["Phone"]
    world.write([husband, wife])
    assert world.send().code == 0
    assert sandbox.texts() == {"customer-0": 1}
    # One more row makes another list. The customer who has the text is skipped, at any place in the list.
    world.write_list([wife, other, husband])
    assert world.send().code == 0
    assert sandbox.texts() == {"customer-0": 1, "customer-2": 1}
    rows = world.workbook(2)
    assert (rows[2]["errorCodes"], rows[4]["errorCodes"]) == ("DUPLICATE_PHONE", "ALREADY_SENT")
    assert rows[2]["errorDescriptions"] == "row 4 has the same phone and already got the text"
