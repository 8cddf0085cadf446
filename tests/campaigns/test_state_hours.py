"""The hours of states: the rules of the package against facts that are written down here once more."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchsend.campaigns.days_off import days_off, known_day
from batchsend.campaigns.quiet_hours import ALL_DAY, Hours, Rule, Window, clock_of, parts_of
from batchsend.campaigns.state_hours import known_rules, left_out, state_rules
from batchsend.campaigns.zones import state_code, zones_of_state

US_STATES = Hours(time(21), time(8), "America/New_York", states=state_rules())

#: The hours in which texts may go out: Monday to Friday, Saturday, Sunday; `h` means none on holidays.
OPEN = {
    "AL": "8-20 8-20 - h",
    "CT": "9-20 9-20 9-20",
    "FL": "8-20 8-20 8-20",
    "KY": "10-21 10-21 10-21",
    "LA": "8-20 8-20 - h",
    "MA": "8-20 8-20 8-20",
    "MD": "8-20 8-20 8-20",
    "MI": "9-21 9-21 9-21",
    "MN": "9-21 9-21 9-21",
    "MS": "8-20 8-20 -",
    "NM": "9-21 9-21 9-21",
    "NV": "9-20 9-20 9-20",
    "OK": "8-20 8-20 8-20",
    "OR": "8-20 8-20 8-20",
    "PA": "9-19 9-19 - h",
    "RI": "9-18 10-17 - h",
    "SD": "9-21 9-21 -",
    "TX": "9-21 9-21 12-21",
    "UT": "8-21 8-21 - h",
    "WA": "8-20 8-20 8-20",
    "WY": "8-20 8-20 8-20",
}
#: The weeks around both changes of the clocks and weeks with holidays: the first day, and where which day is one.
WEEKS: Mapping[str, tuple[date, Mapping[date, AbstractSet[str]]]] = {
    "autumn": (date(2026, 10, 29), {date(2026, 11, 3): {"LA", "PA"}}),  # Election Day
    "spring": (date(2027, 3, 11), {}),
    "Thanksgiving": (
        date(2026, 11, 23),
        {date(2026, 11, 26): {"AL", "LA", "PA", "RI", "UT"}, date(2026, 11, 27): {"PA"}},
    ),
    "July": (
        date(2027, 7, 1),
        # July 4 is a Sunday and observed on Monday.
        {day: {"AL", "LA", "PA", "RI", "UT"} for day in (date(2027, 7, 4), date(2027, 7, 5))},
    ),
    "pioneers": (date(2027, 7, 19), {day: {"UT"} for day in (date(2027, 7, 23), date(2027, 7, 24))}),
}
#: Hours from UTC in standard time, and the zones without daylight saving.
STANDARD = {
    "America/New_York": -5,
    "America/Chicago": -6,
    "America/Denver": -7,
    "America/Phoenix": -7,
    "America/Los_Angeles": -8,
    "America/Anchorage": -9,
    "America/Adak": -10,
    "Pacific/Honolulu": -10,
    "America/Puerto_Rico": -4,
    "America/St_Thomas": -4,
    "Pacific/Guam": 10,
    "Pacific/Saipan": 10,
    "Pacific/Pago_Pago": -11,
}
NO_DAYLIGHT_SAVING = {"Phoenix", "Honolulu", "Puerto_Rico", "St_Thomas", "Guam", "Saipan", "Pago_Pago"}
PLACES = tomllib.loads((files("batchsend.campaigns") / "places.toml").read_text(encoding="utf-8"))
CANADIAN = PLACES["postal_code_states"].keys() | {"NT", "NU"}
STATES = sorted(PLACES["state_names"].keys() - CANADIAN)


@cache
def daylight_saving(year: int) -> tuple[datetime, datetime]:
    """When daylight saving begins and ends in standard time."""
    march = next(day for day in range(8, 15) if date(year, 3, day).weekday() == 6)
    november = next(day for day in range(1, 8) if date(year, 11, day).weekday() == 6)
    return datetime(year, 3, march, 2), datetime(year, 11, november, 1)  # noqa: DTZ001 - a wall clock


def local_time(moment: datetime, zone: str) -> datetime:
    """The wall clock of an American zone, without a library."""
    standard = moment.replace(tzinfo=None) + timedelta(hours=STANDARD[zone])
    begins, ends = daylight_saving(standard.year)
    is_daylight = begins <= standard < ends and zone.rpartition("/")[2] not in NO_DAYLIGHT_SAVING
    return standard + timedelta(hours=1) if is_daylight else standard


def is_open(state: str, local: datetime, holidays: Mapping[date, AbstractSet[str]]) -> bool:
    """Whether the facts above allow a text at this local time."""
    *days, closed = [*OPEN.get(state, "8-21 8-21 8-21").split(), ""][:4]
    if closed and state in holidays.get(local.date(), ()):
        return False
    hours = days[max(0, local.weekday() - 4)]
    if hours == "-":
        return False
    opens, closes = map(int, hours.split("-"))
    return max(opens, 8) <= local.hour < min(closes, 21)


@pytest.mark.parametrize("week", WEEKS)
def test_each_state_is_texted_in_its_hours_on_each_hour_of_the_week(week: str) -> None:
    first, holidays = WEEKS[week]
    start = datetime.combine(first, time(), tzinfo=UTC)
    wrong = []
    for state in STATES:
        clock = clock_of(zones_of_state(state), [state])
        zones, _ = parts_of(clock)
        for hour in range(168):
            for minute in (0, 59):
                moment = start + timedelta(hours=hour, minutes=minute)
                expected = all(is_open(state, local_time(moment, zone), holidays) for zone in zones)
                if US_STATES.allows(moment, clock) != expected:
                    wrong.append((state, moment))
    assert wrong == []


def test_the_facts_are_about_the_states_of_the_package() -> None:
    assert {state for state, _ in state_rules()} == set(OPEN)
    assert {state for state, facts in OPEN.items() if facts.endswith("h")} == {
        known.state for known in known_rules() if known.rule.days_off
    }


def test_every_rule_names_its_statute_its_sources_and_its_day() -> None:
    for known in known_rules():
        assert state_code(known.state) == known.state
        assert known.statute
        assert len(set(known.sources)) >= 2, known.state
        assert known.checked >= date(2026, 11, 27)
        assert all(known_day(name) == name for name in known.rule.days_off)
        assert known.rule.daily is not None
    assert all(state_code(state) == state and reason for state, reason in left_out().items())


@pytest.mark.parametrize(
    ("states", "local", "allowed"),
    [
        (["FL"], "2026-11-23 20:30", False),
        (["GA"], "2026-11-23 20:30", True),
        ([], "2026-11-23 20:30", True),
        # The strictest of several: Kentucky begins at ten, Florida ends at eight.
        (["FL", "KY"], "2026-11-23 09:30", False),
        (["FL", "KY"], "2026-11-23 12:00", True),
        (["FL", "KY"], "2026-11-23 20:30", False),
        (["CT", "RI"], "2026-11-29 12:00", False),  # a Sunday
    ],
)
def test_all_states_of_a_recipient_count(states: list[str], local: str, allowed: bool) -> None:
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("America/New_York"))
    assert US_STATES.allows(moment, clock_of(["America/New_York"], states)) is allowed


def test_hours_of_the_campaign_apply_in_addition() -> None:
    own = ("FL", Rule(Window(time(17), time(7)), sunday=ALL_DAY))
    hours = Hours(time(21), time(8), "America/New_York", states=(*state_rules(), own))
    clock = clock_of(["America/New_York"], ["FL"])
    friday = datetime(2026, 11, 27, tzinfo=ZoneInfo("America/New_York"))
    assert [hour for hour in range(24) if hours.allows(friday.replace(hour=hour), clock)] == list(
        range(8, 17)
    )
    assert not hours.allows(friday.replace(day=29, hour=12), clock)


def test_a_clock_of_an_earlier_version_has_no_states() -> None:
    assert parts_of("America/Chicago|America/New_York") == (("America/Chicago", "America/New_York"), ())
    assert parts_of(clock_of(["America/New_York"], ["GA", "FL"])) == (("America/New_York",), ("FL", "GA"))
    assert parts_of("") == ((), ())


def test_a_wait_goes_over_a_sunday_and_a_holiday() -> None:
    saturday = datetime(2027, 7, 3, 20, 0, tzinfo=ZoneInfo("America/Chicago"))
    opening = US_STATES.next_allowed(saturday, clock_of(["America/Chicago"], ["LA"]))
    # Sunday is July 4, which is observed on Monday.
    assert opening == datetime(2027, 7, 6, 8, 0, tzinfo=ZoneInfo("America/Chicago"))


def test_days_off_are_days_of_the_recipient() -> None:
    hours = Hours(None, None, "America/New_York", days_off=("2026-12-24", "US"))
    at_night = datetime(2026, 12, 24, 6, 30, tzinfo=UTC)
    assert not hours.allows(at_night, "America/New_York")
    assert hours.allows(at_night, "America/Los_Angeles")
    assert hours.next_allowed(at_night, "America/New_York") == datetime(
        2026, 12, 26, tzinfo=ZoneInfo("America/New_York")
    )


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("2026-12-24", {date(2026, 12, 24)}),
        ("12-24", {date(2026, 12, 24)}),
        ("02-29", set()),
        ("2027-12-24", set()),
        ("Good Friday", {date(2026, 4, 3)}),
        ("Thanksgiving Day", {date(2026, 11, 26)}),
        ("Independence Day", {date(2026, 7, 3), date(2026, 7, 4)}),
        ("Election Day", {date(2026, 11, 3)}),
        ("Mardi Gras", {date(2026, 2, 17)}),
    ],
)
def test_the_days_of_a_name(name: str, days: set[date]) -> None:
    assert known_day(name) == name
    assert set(days_off(name, 2026)) & days == days
    assert len(days_off(name, 2026)) == len(days)


def test_the_days_of_a_country_and_a_state() -> None:
    assert date(2026, 12, 25) in days_off("US", 2026)
    assert date(2026, 7, 24) in days_off("US-UT", 2026) - days_off("US", 2026)
    assert date(2026, 7, 1) in days_off("CAN", 2026)


@pytest.mark.parametrize("name", ["CA", "LA", "US-XX", "XX", "13-01", "2026-13-01", "payday", ""])
def test_a_name_that_means_no_day(name: str) -> None:
    assert known_day(name) is None


minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
windows = st.one_of(st.none(), st.builds(Window, minutes, minutes))
days = st.lists(st.sampled_from(["2026-11-02", "11-03", "2027-03-14", "2027-03-15"]), max_size=2).map(tuple)
rules = st.builds(Rule, windows, windows, st.one_of(windows, st.just(ALL_DAY)), days)
zones = st.sampled_from(
    ["America/New_York", "America/Los_Angeles", "Pacific/Honolulu", "Australia/Lord_Howe"]
)
clocks = st.builds(clock_of, st.lists(zones, max_size=2), st.sets(st.sampled_from(["FL", "RI"])))
moments = st.one_of(
    st.datetimes(datetime(2026, 10, 29), datetime(2026, 11, 4), timezones=st.just(UTC)),  # noqa: DTZ001
    st.datetimes(datetime(2027, 3, 11), datetime(2027, 3, 17), timezones=st.just(UTC)),  # noqa: DTZ001
)


@given(rules, rules, clocks, moments, st.integers(0, 600))
@settings(max_examples=150)
def test_an_opening_is_the_first_allowed_minute(
    first: Rule, second: Rule, clock: str, moment: datetime, lead: int
) -> None:
    hours = Hours(
        time(21),
        time(8),
        "America/Chicago",
        lead=timedelta(seconds=lead),
        states=(("FL", first), ("RI", second)),
    )
    opening = hours.next_allowed(moment, clock)
    minute = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    last = moment + timedelta(days=4) if opening is None else min(opening, moment + timedelta(days=4))
    assert opening is None or hours.allows(opening, clock)
    if opening != moment:
        assert not any(hours.allows(at, clock) for at in every_minute(minute, last))


def every_minute(first: datetime, end: datetime) -> Iterator[datetime]:
    while first < end:
        yield first
        first += timedelta(minutes=1)
