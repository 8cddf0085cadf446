"""The dealership: its customers, its campaigns, and the program that exports their lists, well or badly."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from faked_time import saved_at

from batchsend.campaigns.tables import Schedule

#: Area code -> the zones of its numbers (the maps of the numbering plan's administrator, read by hand).
AREA_CODES = {
    "212": ["America/New_York"],
    "312": ["America/Chicago"],
    "303": ["America/Denver"],
    "213": ["America/Los_Angeles"],
    "602": ["America/Phoenix"],
    "808": ["Pacific/Honolulu"],
    "907": ["America/Anchorage", "America/Adak"],
    "208": ["America/Boise", "America/Los_Angeles"],
    "775": ["America/Los_Angeles", "America/Denver"],
    "605": ["America/Chicago", "America/Denver"],
    "701": ["America/Chicago", "America/Denver"],
    "850": ["America/New_York", "America/Chicago"],
    "270": ["America/Chicago", "America/New_York"],
    "364": ["America/Chicago", "America/New_York"],
    "812": ["America/Indiana/Indianapolis", "America/Chicago"],
    "930": ["America/Indiana/Indianapolis", "America/Chicago"],
}
ZONE_NAMES = {
    "EST": "America/New_York",
    "PST": "America/Los_Angeles",
    "MST": "America/Denver",
    "Eastern Time": "America/New_York",
    "Pacific/Honolulu": "Pacific/Honolulu",
}
#: The line of [schedule] that makes a start wait for the morning.
WAIT = "wait = true" if "wait" in Schedule.model_fields else ""
HEADER = ("Customer UUID", "First Name", "Phone", "Time Zone", "Visit")


@dataclass(frozen=True)
class Person:
    """A customer. `zone`: what the list says of their time zone, mostly nothing."""

    number: int
    uuid: str
    phone: str
    zone: str = ""

    @property
    def e164(self) -> str:
        return "+1" + "".join(filter(str.isdigit, self.phone)) if self.phone else ""

    def zones(self, campaign_zone: str) -> list[str]:
        """Every zone in which this person may live."""
        if self.zone:
            return [ZONE_NAMES[self.zone]]
        return AREA_CODES[self.e164[2:5]] if self.phone else [campaign_zone]


def person(number: int) -> Person:
    """The customer with this number: every 13th has no phone, every 11th a time zone in the list."""
    uuid = hashlib.sha256(f"customer {number}".encode()).hexdigest()[:32]
    area = sorted(AREA_CODES)[number % len(AREA_CODES)]
    phone = "" if number % 13 == 5 else f"({area}) {500 + number // 10000}-{number % 10000:04}"
    zone = sorted(ZONE_NAMES)[number % len(ZONE_NAMES)] if number % 11 == 3 else ""
    return Person(number, uuid, phone, zone)


@dataclass(frozen=True)
class Listing:
    """An export: what the list file holds from `since` (true seconds) on. `sound`: it is what it should be."""

    since: float
    rows: Sequence[tuple[Person, str]]
    sound: bool
    fault: str = ""


@dataclass
class Campaign:
    """A campaign file, with its times in its own zone. `closes`: its quiet hours; `None`: it texts at any hour."""

    stem: str
    zone: str
    cron: str
    times: Sequence[time]
    list_file: str
    recipients: str
    tables: str
    schedule: str = ""
    at: datetime | None = None
    repeat_days: int | None = None
    per_day: int | None = None
    closes: tuple[time, time] | None = (time(21), time(8))
    edits: int = 0
    exports: list[Listing] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.stem.title()

    def text(self) -> str:
        when = f'cron = "{self.cron}"' if self.at is None else f"at = {self.at:%Y-%m-%dT%H:%M:%S}"
        return f"""name = "{self.name}"
list = "{self.list_file}"
template = "message.txt.j2"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
timezone = "{self.zone}"
[columns]
timezone = "Time Zone"
[recipients]
suppress = ["suppressed.csv"]
{self.recipients}
[sending]
rate = 5
concurrency = 4
give_up_after = "3m"
{self.tables}
[schedule]
{when}
{self.schedule}
# edited {self.edits} times
"""

    def planned(self, day: date) -> list[datetime]:
        """The starts on this day of the campaign's zone."""
        if self.at is not None:
            return [self.at.replace(tzinfo=ZoneInfo(self.zone))] if self.at.date() == day else []
        if self.cron.endswith("MON-FRI") and day.weekday() > 4:
            return []
        return [datetime.combine(day, one, ZoneInfo(self.zone)) for one in self.times]

    def listing(self, elapsed: float) -> Listing | None:
        """What the list file held at this time."""
        return next((one for one in reversed(self.exports) if one.since <= elapsed), None)


_BY_VISIT = 'key = ["Customer UUID", "Visit"]'
_TCPA = 'quiet_hours = "TCPA"'


def _hours(*hours: int) -> list[time]:
    return [time(hour) for hour in hours]


#: The campaigns that are in one folder; each dealership is one of these.
DEALERSHIPS = (("reminders", "members"), ("night", "zones", "once"), ("visits", "parts"))


def campaigns(first: date, days: int, dealership: int) -> list[Campaign]:
    """The campaigns of a dealership, for a soak that begins on this day."""
    stems = DEALERSHIPS[dealership]
    return [one for one in _all_campaigns(first, days) if one.stem.rstrip("0123456789") in stems]


def _all_campaigns(first: date, days: int) -> list[Campaign]:
    fresh = f'{_TCPA}\n[guards]\nlist_max_age = "20h"'
    found = [
        Campaign("reminders", "America/Chicago", "0 10 * * *", _hours(10), "reminders.csv", _BY_VISIT, fresh),
        Campaign(
            "members",
            "America/New_York",
            "0 9,15 * * *",
            _hours(9, 15),
            "members.csv",
            "repeat_after_days = 7",
            f"{_TCPA}\nper_day = 6",
            repeat_days=7,
            per_day=6,
        ),
        Campaign(
            "visits", "America/Denver", "0 * * * *", _hours(*range(24)), "visits-*.csv", _BY_VISIT, _TCPA
        ),
        Campaign(
            "zones",
            "America/Los_Angeles",
            "0 4,6,8,10,13,17,19 * * *",
            _hours(4, 6, 8, 10, 13, 17, 19),
            "zones.csv",
            _BY_VISIT,
            _TCPA,
        ),
        Campaign(
            "parts",
            "Asia/Kolkata",
            "30 9 * * MON-FRI",
            [time(9, 30)],
            "parts-*.csv",
            _BY_VISIT,
            "",
            closes=None,
        ),
        Campaign("night", "America/Phoenix", "0 23 * * *", _hours(23), "night.csv", _BY_VISIT, _TCPA, WAIT),
    ]
    for number in range(1, max(2, days // 8)):
        day = first + timedelta(days=min(number * 7, days - 1))
        at = datetime.combine(day, time(11, 30))
        stem = f"once{number}"
        found.append(
            Campaign(stem, "America/Chicago", "", [], f"{stem}.csv", _BY_VISIT, "", at=at, closes=None)
        )
    return found


class Exporter:
    """Writes the lists. A fault makes the list file wrong, and `Listing.sound` says so."""

    def __init__(self, folder: Path, randomness: random.Random) -> None:
        self.folder = folder
        self._random = randomness

    def rows(self, campaign: Campaign, day: date, hour: int) -> list[tuple[Person, str]]:
        """Who is due for a text, each with the visit that it is about."""
        n = day.toordinal()
        pick = random.Random(f"{campaign.stem} {n} {hour}")
        if campaign.stem == "reminders":
            return [(person(i), day.isoformat()) for i in sorted(pick.sample(range(300), 24))]
        if campaign.stem == "members":
            return [(person(300 + i), "membership") for i in range(60)]
        if campaign.stem == "visits":
            # All visits of the last 30 hours: one or two more each hour.
            last = n * 24 + hour
            return [(person(400 + (v * 7919) % 900), f"visit {v}") for v in range(last - 30, last) if v % 2]
        if campaign.stem == "parts":
            return [(person(3000 + i), day.isoformat()) for i in sorted(pick.sample(range(200), 12))]
        if campaign.stem == "zones":
            return [(person(1300 + i), day.isoformat()) for i in sorted(pick.sample(range(300), 20))]
        if campaign.stem == "night":
            return [(person(1600 + i), day.isoformat()) for i in sorted(pick.sample(range(300), 16))]
        return [(person(2000 + i), campaign.stem) for i in range(40)]

    def export(
        self, campaign: Campaign, day: date, hour: int, elapsed: float, saved: datetime, fault: str
    ) -> None:
        """Writes the list of this day as the exporter does, then damages it if `fault` says how."""
        if fault == "yesterday":
            return
        rows = self.rows(campaign, day, hour)
        content = _damaged(fault, csv_text(rows), self._random)
        file = self.folder / campaign.list_file.replace("*", f"{day.isoformat()}-{hour:02}")
        if fault == "half written":
            file.write_bytes(content)
        else:
            new = file.with_suffix(".new")
            new.write_bytes(content)
            new.replace(file)
        saved_at(file, saved)
        for old in sorted(self.folder.glob(campaign.list_file))[:-3]:
            old.unlink()
        campaign.exports.append(Listing(elapsed, rows, not fault, fault))


def csv_text(rows: Sequence[tuple[Person, str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(HEADER)
    writer.writerows((p.uuid, f"Name{p.number}", p.phone, p.zone, visit) for p, visit in rows)
    return out.getvalue()


def _with_quote(text: str, randomness: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    at = randomness.randrange(1, len(lines))
    lines.insert(at, '"' + lines[at])
    return "".join(lines).encode()


EXPORT_FAULTS: dict[str, Callable[[str, random.Random], bytes]] = {
    "empty": lambda text, r: b"",
    "only a header": lambda text, r: text.splitlines(keepends=True)[0].encode(),
    "half written": lambda text, r: text.encode()[: r.randrange(60, len(text) - 2)],
    "yesterday": lambda text, r: b"",
    "locked header": lambda text, r: text.replace("Customer UUID", "Kunde", 1).encode(),
    "wrong encoding": lambda text, r: b"\x81\x8d" + text.encode("utf-16-le"),
    "stray quote": _with_quote,
}


def _damaged(fault: str, text: str, randomness: random.Random) -> bytes:
    return EXPORT_FAULTS[fault](text, randomness) if fault else text.encode()
