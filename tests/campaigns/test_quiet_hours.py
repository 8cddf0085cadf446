"""Quiet hours: who may be texted when, and when they end."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.campaigns.quiet_hours import Hours, clock_of, first_allowed
from batchsend.messages.phones import zones_of

CHICAGO, NEW_YORK, LOS_ANGELES = "America/Chicago", "America/New_York", "America/Los_Angeles"
TCPA = Hours(time(21), time(8), fallback=CHICAGO)


def at(text: str, zone: str = CHICAGO) -> datetime:
    """A local time as the moment that it is."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("local", "allowed"),
    [
        # The edges: eight is allowed, nine in the evening is not.
        ("2026-11-23 07:59:59", False),
        ("2026-11-23 08:00:00", True),
        ("2026-11-23 20:59:59", True),
        ("2026-11-23 21:00:00", False),
        ("2026-11-23 00:00:00", False),
    ],
)
def test_quiet_hours_over_midnight(local: str, allowed: bool) -> None:
    assert TCPA.allows(at(local), CHICAGO) is allowed


def test_quiet_hours_within_a_day() -> None:
    siesta = Hours(time(13), time(15), fallback=CHICAGO)
    assert [siesta.allows(at(f"2026-11-23 {hour}:00"), CHICAGO) for hour in (12, 13, 14, 15)] == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("clock", "local_in_chicago", "allowed", "why"),
    [
        (LOS_ANGELES, "2026-11-23 09:00", False, "seven in the morning where the recipient is"),
        (LOS_ANGELES, "2026-11-23 22:00", True, "eight in the evening where the recipient is"),
        ("", "2026-11-23 09:00", True, "nothing is known: the campaign's zone"),
        (f"{CHICAGO}|{NEW_YORK}", "2026-11-23 09:00", True, "both zones are awake"),
        (f"{CHICAGO}|{NEW_YORK}", "2026-11-23 20:30", False, "half past nine in New York"),
        (f"{CHICAGO}|{NEW_YORK}", "2026-11-23 07:30", False, "half past seven in Chicago"),
        (f"{LOS_ANGELES}|{NEW_YORK}", "2026-11-23 09:00", False, "seven in the morning in Los Angeles"),
        (f"{LOS_ANGELES}|{NEW_YORK}", "2026-11-23 20:00", False, "nine in the evening in New York"),
    ],
)
def test_whose_clock_counts(clock: str, local_in_chicago: str, allowed: bool, why: str) -> None:
    assert TCPA.allows(at(local_in_chicago), clock) is allowed, why


def test_a_fixed_zone_counts_for_everybody() -> None:
    fixed = Hours(time(20), time(8), fallback=CHICAGO, fixed=NEW_YORK)
    assert fixed.allows(at("2026-11-23 18:59"), LOS_ANGELES)
    assert not fixed.allows(at("2026-11-23 19:00"), LOS_ANGELES)


@pytest.mark.parametrize(
    ("zone", "begins", "ends", "moment", "opening"),
    [
        # Spring: 02:30 does not exist, and the first allowed moment is when the clocks have gone forward.
        (CHICAGO, time(21), time(2, 30), "2026-03-08 01:00-06:00", "2026-03-08 03:00-05:00"),
        ("Europe/Berlin", time(21), time(2, 30), "2026-03-29 01:00+01:00", "2026-03-29 03:00+02:00"),
        ("Australia/Lord_Howe", time(21), time(2, 15), "2026-10-04 01:00+10:30", "2026-10-04 02:30+11:00"),
        # Autumn: 01:30 comes twice; from the first one on nobody is disturbed, and then the hour is quiet again.
        (CHICAGO, time(21), time(1, 30), "2026-11-01 00:30-05:00", "2026-11-01 01:30-05:00"),
        (CHICAGO, time(21), time(1, 30), "2026-11-01 01:00-06:00", "2026-11-01 01:30-06:00"),
        ("Europe/Berlin", time(21), time(2, 30), "2026-10-25 02:00+01:00", "2026-10-25 02:30+01:00"),
        ("Australia/Lord_Howe", time(21), time(1, 45), "2026-04-05 01:30+10:30", "2026-04-05 01:45+10:30"),
        # An ordinary night.
        (CHICAGO, time(21), time(8), "2026-11-23 21:00:30-06:00", "2026-11-24 08:00-06:00"),
        (CHICAGO, time(21), time(8), "2026-11-23 12:00:30-06:00", "2026-11-23 12:00:30-06:00"),
    ],
)
def test_when_the_hours_end(zone: str, begins: time, ends: time, moment: str, opening: str) -> None:
    hours = Hours(begins, ends, fallback=zone)
    assert hours.next_allowed(datetime.fromisoformat(moment).astimezone(UTC), zone) == datetime.fromisoformat(
        opening
    )


def test_the_first_of_several_recipients() -> None:
    early = at("2026-11-24 05:00")
    assert first_allowed(TCPA, early, [LOS_ANGELES, NEW_YORK, CHICAGO]) == at("2026-11-24 08:00", NEW_YORK)
    assert first_allowed(TCPA, early, []) is None


minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
zones = st.sampled_from(
    [
        CHICAGO,
        NEW_YORK,
        LOS_ANGELES,
        "Pacific/Honolulu",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
    ]
)
clocks = st.lists(zones, max_size=3).map(clock_of)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(minutes, minutes, zones, clocks, moments)
def test_an_opening_is_allowed_and_nothing_before_it_is(
    begins: time, ends: time, campaign: str, clock: str, moment: datetime
) -> None:
    if begins == ends:
        return
    hours = Hours(begins, ends, fallback=campaign)
    opening = hours.next_allowed(moment, clock)
    if opening is None:
        return
    assert opening >= moment
    assert hours.allows(opening, clock)
    for minute in range(0, int((opening - moment) / timedelta(minutes=1)), 7):
        assert not hours.allows(moment + timedelta(minutes=minute), clock)


@given(minutes, minutes, zones, clocks, moments, st.integers(0, 600))
def test_an_allowed_moment_is_outside_the_quiet_hours_of_every_zone(
    begins: time, ends: time, campaign: str, clock: str, moment: datetime, lead: int
) -> None:
    hours = Hours(begins, ends, fallback=campaign, lead=timedelta(seconds=lead))
    if not hours.allows(moment, clock):
        return
    for zone in clock.split("|") if clock else [campaign]:
        for time_of_day in (moment, moment + hours.lead):
            local = time_of_day.astimezone(ZoneInfo(zone)).time()
            over_midnight = ends < begins
            assert ends <= local < begins if over_midnight else not begins <= local < ends


# All pairs of American zones have hours in common.
american = st.lists(
    st.sampled_from([CHICAGO, NEW_YORK, LOS_ANGELES, "America/Phoenix", "America/Adak", "Pacific/Honolulu"]),
    max_size=3,
).map(clock_of)


@given(zones, american, moments)
def test_no_recipient_waits_longer_than_one_night(campaign: str, clock: str, moment: datetime) -> None:
    hours = Hours(time(21), time(8), fallback=campaign)
    opening = hours.next_allowed(moment, clock)
    assert opening is not None
    assert opening - moment <= timedelta(hours=18)


@pytest.mark.parametrize(
    ("phone", "zones"),
    [
        ("+13125550142", ("America/Chicago",)),
        ("+18085550142", ("Pacific/Honolulu",)),
        # Idaho is in two zones.
        ("+12085550142", ("America/Denver", "America/Los_Angeles")),
        ("+442079460958", ("Europe/London",)),
    ],
)
def test_the_zones_of_an_area_code(phone: str, zones: tuple[str, ...]) -> None:
    assert zones_of(phone) == zones


@pytest.mark.parametrize("phone", ["+18005550142", "+15005550123", "+19005550123", "+16005550123"])
def test_the_campaigns_zone_decides_for_a_number_of_no_place(phone: str) -> None:
    # libphonenumber names all zones of +1.
    clock = clock_of(zones_of(phone))
    assert clock == ""
    assert TCPA.allows(at("2026-11-23 08:00"), clock)
    assert not TCPA.allows(at("2026-11-23 07:59"), clock)


def test_a_mobile_number_has_all_zones_of_its_country() -> None:
    clock = clock_of(zones_of("+61412345678"))
    assert {"Australia/Perth", "Australia/Sydney"} <= {*clock.split("|")}
    assert not TCPA.allows(at("2026-11-23 09:00", "Australia/Sydney"), clock)
    assert TCPA.allows(at("2026-11-23 08:00", "Indian/Cocos"), clock)


def test_zones_that_are_never_awake_together_have_no_hour() -> None:
    hours, clock = Hours(time(20), time(10), fallback=CHICAGO), f"{NEW_YORK}|Asia/Kolkata"
    assert hours.next_allowed(at("2026-11-23 12:00"), clock) is None
    assert first_allowed(hours, at("2026-11-23 12:00"), [clock]) is None
