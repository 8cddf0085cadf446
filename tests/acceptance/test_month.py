"""A month of daily appointment reminders, in March 2026 in Chicago: one reminder for each appointment.

Each morning at ten there is a new list with the appointments of tomorrow and of the day after, so that each
appointment is in two lists. All days run with a fake clock against a real sandbox.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from world import PASSWORD, USERNAME, Sandbox, World, read_results

import batchsend.mykaarma.client
import batchsend.utils.timestamps
from batchsend.cli.main import run
from batchsend.exits import Exit

CHICAGO = ZoneInfo("America/Chicago")
DAYS = range(1, 32)
# What happens on which day.
OFF, STALE, EMPTY, TENFOLD, COLLEAGUE, KILLED = 9, 10, 17, 20, 24, 26
HELD_UP = 13  # a customer opts out
OPTED_OUT = "sandbox-opted-out-7"

CAMPAIGN = """
name = "Appointment reminders"
list = "exports/appointments-*.csv"
template = "message.txt.j2"
department_uuid = "service"
user_uuid = "advisor"
timezone = "America/Chicago"
[recipients]
key = ["Customer ID", "Appointment Date"]
[columns]
customer_uuid = "Customer ID"
[sending]
rate = 1000
concurrency = 1
quiet_hours = "TCPA"
[guards]
max_texts = 40
list_max_age = "20h"
empty_list = "ok"
"""
TEMPLATE = "Hi {{ first_name }}, we expect you on {{ appointment_date }}."

#: The clock of a separate process: it continues from FAKE_NOW.
CLOCK = """
import os
from datetime import UTC, datetime
import batchsend.utils.timestamps, batchsend.mykaarma.client

SHIFT = datetime.fromisoformat(os.environ["FAKE_NOW"]) - datetime.now(UTC)

class Shifted(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + SHIFT

batchsend.utils.timestamps.datetime = batchsend.mykaarma.client.datetime = Shifted
"""

Appointment = tuple[str, int]  # customer, day of March (32 and more: of April)


class Clock(datetime):
    """The time of day that the test says it is."""

    moment = datetime(2026, 3, 1, 16, tzinfo=UTC)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        cls.moment += timedelta(milliseconds=1)
        return cls.moment.astimezone(tz)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clock]]:
    monkeypatch.setattr(batchsend.utils.timestamps, "datetime", Clock)
    monkeypatch.setattr(batchsend.mykaarma.client, "datetime", Clock)
    before = signal.getsignal(signal.SIGTERM)
    yield Clock
    signal.signal(signal.SIGTERM, before)


def at(day: int, hour: int = 10) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=CHICAGO).astimezone(UTC)


def appointments() -> dict[int, list[Appointment]]:
    """Day -> customers with an appointment then. Some come again, in the same month or on the next day."""
    random_ = random.Random(20260301)
    people = [f"customer-{number}" for number in range(60)]
    days = {
        day: [(who, day) for who in random_.sample(people, random_.randint(2, 7))] for day in range(2, 34)
    }
    # Enough to send for what happens in the middle of it.
    for day in (COLLEAGUE + 2, KILLED + 2):
        days[day] += [(f"regular-{number}", day) for number in range(8)]
    days[5].append(("comes-daily", 5))
    days[6].append(("comes-daily", 6))
    days[HELD_UP + 2].append((OPTED_OUT, HELD_UP + 2))
    days[HELD_UP + 9].append((OPTED_OUT, HELD_UP + 9))
    return days


class Dealership:
    """The folder, its exports, and the texts that customers got."""

    def __init__(self, folder: Path, sandbox: Sandbox, clock: type[Clock]) -> None:
        self.world = World(folder, sandbox.base_url)
        self.world.write(campaign=CAMPAIGN, template=TEMPLATE)
        (folder / "exports").mkdir()
        self.sandbox = sandbox
        self.clock = clock

    def export(self, day: int, listed: list[Appointment], hour: int = 6) -> None:
        name = f"exports/appointments-2026-03-{day:02}-{hour:02}.csv"
        rows = [
            {"Customer ID": who, "First Name": who.title(), "Appointment Date": date_of(due)}
            for who, due in listed
        ]
        if rows:
            self.world.write_list(rows, name)
        else:
            (self.world.folder / name).write_text(
                "Customer ID,First Name,Appointment Date\n", encoding="utf-8"
            )
        saved = at(day, hour).timestamp()
        os.utime(self.world.folder / name, (saved, saved))

    def send(self, day: int, *options: str, hour: int = 10) -> int:
        self.clock.moment = at(day, hour)
        return run(["send", "campaign.toml", "--yes", "--quiet", "--log-format", "json", *options])

    def start_elsewhere(self, day: int) -> Any:
        """The same start in a separate process, slowly."""
        (self.world.folder / "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
        self.world.environment = {
            "PYTHONPATH": str(self.world.folder),
            "FAKE_NOW": at(day).isoformat(),
        }
        before = len(self.sandbox.requests())
        process = self.world.start("send", "campaign.toml", "--yes", "--log-format", "json", "--rate", "2")
        self.sandbox.wait_for(before + 2)
        return process

    def received(self) -> Counter[str]:
        """Text -> how often it left."""
        return Counter(f"{r['customerUUID']}: {r['body']}" for r in self.sandbox.requests() if r["textLeft"])


def date_of(day: int) -> str:
    return (datetime(2026, 3, 1) + timedelta(days=day - 1)).strftime("%Y-%m-%d")  # noqa: DTZ001


@pytest.mark.system
def test_a_month_of_reminders(
    tmp_path: Path,
    sandbox: Sandbox,
    clock: type[Clock],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "dealership"
    folder.mkdir()
    dealership = Dealership(folder, sandbox, clock)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MYKAARMA_BASE_URL", sandbox.base_url)
    monkeypatch.setenv("MYKAARMA_USERNAME", USERNAME)
    monkeypatch.setenv("MYKAARMA_PASSWORD", PASSWORD)
    due = appointments()
    exits: dict[int, list[int]] = {}
    in_doubt: set[tuple[str, str]] = set()

    for day in DAYS:
        listed = [*due[day + 1], *due[day + 2]]
        if day == OFF:  # the list came, and the computer was off at ten
            dealership.export(day, listed)
            continue
        if (
            day == STALE
        ):  # at ten the export is late: yesterday's list is the newest, and not to be sent any more
            exits[day] = [dealership.send(day)]
            dealership.export(day, listed, hour=11)
            exits[day].append(dealership.send(day, hour=12))
        elif day == EMPTY:
            dealership.export(day, [])
            exits[day] = [dealership.send(day)]
        elif day == TENFOLD:  # the whole customer base instead of the appointments, until it is corrected
            everyone_else = [(f"stranger-{number}", day + 1) for number in range(10 * len(listed))]
            dealership.export(day, [*listed, *everyone_else])
            exits[day] = [dealership.send(day)]
            dealership.export(day, listed, hour=11)
            exits[day].append(dealership.send(day, hour=12))
        elif day == COLLEAGUE:
            dealership.export(day, listed)
            colleague = dealership.start_elsewhere(day)
            exits[day] = [dealership.send(day)]
            colleague.communicate(timeout=60)
            exits[day].append(colleague.returncode)
        elif day == KILLED:
            dealership.export(day, listed)
            killed = dealership.start_elsewhere(day)
            killed.kill()
            killed.communicate()
            exits[day] = [dealership.send(day)]
            latest = max((folder / "results").glob("*.xlsx"), key=lambda file: file.stat().st_mtime)
            in_doubt = {
                (row["Customer ID"], row["Appointment Date"])
                for row in read_results(latest).values()
                if row["status"] == "unconfirmed"
            }
        else:
            dealership.export(day, listed)
            exits[day] = [dealership.send(day)]
        if day % 7 == 0:  # it is run again, to be sure
            exits[day].append(dealership.send(day, hour=14))

    expected = {day: [Exit.DONE] * (2 if day % 7 == 0 else 1) for day in DAYS if day != OFF}
    expected[STALE] = [Exit.REFUSED, Exit.DONE]
    expected[TENFOLD] = [Exit.REFUSED, Exit.DONE]
    expected[COLLEAGUE] = [Exit.BUSY, Exit.DONE]
    expected[KILLED] = [Exit.ATTENTION]
    expected[HELD_UP] = [Exit.ATTENTION]
    assert exits == expected

    received = dealership.received()
    reminders = {
        f"{who}: Hi {who.title()}, we expect you on {date_of(day)}.": (who, date_of(day))
        for everyone in due.values()
        for who, day in everyone
        if who != OPTED_OUT
    }
    assert set(received) <= set(reminders)
    assert set(received.values()) == {1}
    # Rows that a kill left open are reported, are at most 2 x concurrency, and are the only ones without a text.
    assert 1 <= len(in_doubt) <= 2
    assert {reminders[text] for text in set(reminders) - set(received)} <= in_doubt
    # The customer who opted out was tried once, and never again.
    assert sum(r["customerUUID"] == OPTED_OUT for r in sandbox.requests()) == 1
    said = capsys.readouterr().err
    assert "guards.list_max_age is " in said
    assert "guards.max_texts is 40" in said
