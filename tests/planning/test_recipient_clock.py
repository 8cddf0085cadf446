"""The recipient's clock: by time zone, ZIP code and state, or phone."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from batchsend.campaigns.quiet_hours import Hours, Rule, Window
from batchsend.planning.recipient_clock import RecipientClock, recipient_clock

EASTERN, CENTRAL, PACIFIC = "America/New_York", "America/Chicago", "America/Los_Angeles"
BOTH = f"{CENTRAL}|{EASTERN}"
FLORIDA = "+1850"


@pytest.mark.parametrize(
    ("timezone", "zip_code", "state", "phone", "expected"),
    [
        # The first that gives a zone decides.
        ("EST", "60601", "IL", FLORIDA, RecipientClock(EASTERN)),
        ("", "60601", "IL", FLORIDA, RecipientClock(CENTRAL)),
        ("", "60601", "", FLORIDA, RecipientClock(CENTRAL)),
        ("", "", "Illinois", FLORIDA, RecipientClock(CENTRAL)),
        ("", "", "", FLORIDA, RecipientClock(BOTH)),
        ("", "", "", "+18005550142", RecipientClock(None)),
        ("", "", "", "+1800", RecipientClock(None)),
        ("", "", "", "+1", RecipientClock(None)),
        # ZIP code and state that contradict each other both count.
        ("", "60601", "CA", FLORIDA, RecipientClock(f"{CENTRAL}|{PACIFIC}")),
        # Words that say nothing are remembered, and the next one decides.
        ("Nowhere", "60601", "", FLORIDA, RecipientClock(CENTRAL, "Nowhere")),
        ("Nowhere", "", "", FLORIDA, RecipientClock(BOTH, "Nowhere")),
        ("", "n/a", "", FLORIDA, RecipientClock(BOTH, None, "n/a")),
        ("", "n/a", "IL", FLORIDA, RecipientClock(CENTRAL)),
        ("", "", "Closed", FLORIDA, RecipientClock(BOTH, None, "Closed")),
        ("", "n/a", "", "+18005550142", RecipientClock(None, None, "n/a")),
        # Arizona and British Columbia use these names without daylight saving, or with it all year.
        ("MST", "", "", "+1602", RecipientClock("America/Denver|America/Phoenix")),
        ("Mountain", "85001", "", "+1", RecipientClock("America/Denver|America/Phoenix")),
        ("MST", "", "AZ", FLORIDA, RecipientClock("America/Denver|America/Phoenix")),
        ("PST", "", "", "+16045550142", RecipientClock("America/Los_Angeles|America/Vancouver")),
        ("Arizona", "", "", "+1602", RecipientClock("America/Phoenix")),
        ("America/Denver", "", "", "+1602", RecipientClock("America/Denver")),
        ("MST", "", "", FLORIDA, RecipientClock("America/Denver")),
        # Programs write these where they know no zone. Nobody sleeps by them.
        *(
            (name, "", "", FLORIDA, RecipientClock(BOTH, name))
            for name in ("UTC", "gmt", "Etc/GMT+5", "Etc/UTC", "Zulu", "Factory", "GMT-0")
        ),
        ("UTC", "60601", "", FLORIDA, RecipientClock(CENTRAL, "UTC")),
        ("UTC", "", "", "+1", RecipientClock(None, "UTC")),
        # Codes that stand for none: 99999 would be in Alaska.
        *(
            ("", code, "", FLORIDA, RecipientClock(BOTH, None, code))
            for code in ("99999", "12345", "A1A 1A1")
        ),
        ("", "11111", "IL", FLORIDA, RecipientClock(CENTRAL)),
        # A row without a phone, in America and in Germany: 80331 is in Munich there.
        ("", "80331", "", "+1", RecipientClock("America/Denver")),
        ("", "80331", "", "+49", RecipientClock(None)),
        ("", "80331", "", "+498912345678", RecipientClock("Europe/Berlin")),
        ("", "", "", "+52", RecipientClock(None)),
    ],
)
def test_what_decides_on_the_clock(
    timezone: str, zip_code: str, state: str, phone: str, expected: RecipientClock
) -> None:
    assert recipient_clock(timezone, zip_code, state, phone) == expected


def test_saskatchewan_calls_its_time_cst_in_summer_too() -> None:
    clock = recipient_clock("CST", "", "", "+13065550142").clock
    assert clock is not None
    assert {CENTRAL, "America/Regina"} <= set(clock.split("|"))


@pytest.mark.parametrize(
    ("timezone", "zip_code", "state", "phone", "clock"),
    [
        ("", "", "", FLORIDA, f"{BOTH}|state:FL"),
        # The zones of all sources count: the hours of Florida would else be kept by the clock of California.
        ("", "90001", "", FLORIDA, f"{CENTRAL}|{PACIFIC}|{EASTERN}|state:CA|state:FL"),
        ("", "", "CA", FLORIDA, f"{CENTRAL}|{PACIFIC}|{EASTERN}|state:CA|state:FL"),
        ("Pacific", "", "", FLORIDA, f"{CENTRAL}|{PACIFIC}|{EASTERN}|state:FL"),
        ("Pacific", "", "FL", "+1800", f"{CENTRAL}|{PACIFIC}|{EASTERN}|state:FL"),
        ("EST", "60601", "CA", FLORIDA, f"{CENTRAL}|{PACIFIC}|{EASTERN}|state:CA|state:FL|state:IL"),
        ("", "32501", "FL", "+1800", f"{BOTH}|state:FL"),
        ("Nowhere", "n/a", "", FLORIDA, f"{BOTH}|state:FL"),
        ("", "", "Illinois", "+1", f"{CENTRAL}|state:IL"),
        ("EST", "", "", "+1", EASTERN),
        ("", "", "", "+1", None),
        ("", "33101", "FL", "+442079460958", "Europe/London"),
    ],
)
def test_states_are_part_of_the_clock_if_their_hours_apply(
    timezone: str, zip_code: str, state: str, phone: str, clock: str | None
) -> None:
    assert recipient_clock(timezone, zip_code, state, phone, with_states=True).clock == clock


PLACES = {
    "timezone": ("", "Pacific", "MST", "America/New_York", "UTC", "Nowhere"),
    "zip_code": ("", "90001", "32501", "60601", "n/a"),
    "state": ("", "FL", "CA", "Texas", "n/a"),
    "phone": (FLORIDA, "+1305", "+1213", "+1800", "+1"),
}


@pytest.mark.parametrize("source", PLACES)
def test_no_source_is_passed_over_if_the_hours_of_states_apply(source: str) -> None:
    blank = dict.fromkeys(PLACES, "") | {"phone": "+1"}
    for values in product(*PLACES.values()):
        cells = dict(zip(PLACES, values, strict=True))
        alone = recipient_clock(**(blank | {source: cells[source]}), with_states=True).clock
        clock = recipient_clock(**cells, with_states=True).clock
        assert set(filter(None, (alone or "").split("|"))) <= set((clock or "").split("|"))


def test_florida_gets_no_text_after_its_evening_whatever_the_address_says() -> None:
    hours = Hours(time(21), time(8), EASTERN, states=(("FL", Rule(Window(time(20), time(8)))),))
    for cells in (("", "90001", ""), ("", "", "CA"), ("Pacific", "", ""), ("Pacific", "", "FL")):
        clock = recipient_clock(*cells, "+1305", with_states=True).clock or ""
        evening = datetime(2026, 11, 27, 20, tzinfo=ZoneInfo(EASTERN))
        assert not hours.allows(evening, clock)
        assert hours.allows(evening - timedelta(minutes=1), clock)
