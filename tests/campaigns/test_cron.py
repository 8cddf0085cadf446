"""Schedules' times: crontab(5)'s meaning, on the nights when clocks change too; what is due and what is missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchsend.campaigns.cron import (
    CronTimes,
    Due,
    Missed,
    OneTime,
    cron_problem,
    due,
    first_moment,
    five_fields,
    latest,
)

CHICAGO, BERLIN, LORD_HOWE = "America/Chicago", "Europe/Berlin", "Australia/Lord_Howe"
MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def times_between(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    times, found, moment = CronTimes(expression, ZoneInfo(zone)), [], begin
    while (following := times.after(moment)) is not None and following <= end:
        found.append(following)
        moment = following
    return found


def local(moments: list[datetime], zone: str) -> list[str]:
    """`Sun 01 03:00 -0500`, as a clock on the wall and its zone show them."""
    return [moment.astimezone(ZoneInfo(zone)).strftime("%a %d %H:%M %z") for moment in moments]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        # 2026-11-23 is a Monday.
        (
            "0 10 * * MON-FRI",
            ["Mon 23 10:00", "Tue 24 10:00", "Wed 25 10:00", "Thu 26 10:00", "Fri 27 10:00", "Mon 30 10:00"],
        ),
        ("0 10 * * mon", ["Mon 23 10:00", "Mon 30 10:00"]),
        # 0 and 7 are Sunday.
        ("0 10 * * 0", ["Sun 29 10:00", "Sun 06 10:00"]),
        ("0 10 * * 7", ["Sun 29 10:00", "Sun 06 10:00"]),
        ("0 10 * * 5-7", ["Fri 27 10:00", "Sat 28 10:00", "Sun 29 10:00", "Fri 04 10:00"]),
        # Day of month and weekday are ORed, unless one of them is a star.
        ("0 10 1 * MON", ["Mon 23 10:00", "Mon 30 10:00", "Tue 01 10:00", "Mon 07 10:00"]),
        ("0 10 1 * *", ["Tue 01 10:00", "Fri 01 10:00"]),
        ("30 8,17 24 12 *", ["Thu 24 08:30", "Thu 24 17:30", "Fri 24 08:30"]),
        (
            "*/20 9-10 * * TUE",
            ["Tue 24 09:00", "Tue 24 09:20", "Tue 24 09:40", "Tue 24 10:00", "Tue 24 10:20"],
        ),
        ("0 0 29 FEB *", ["Tue 29 00:00", "Sun 29 00:00"]),
    ],
)
def test_what_crontab_means(expression: str, first: list[str]) -> None:
    times = CronTimes(expression, ZoneInfo(CHICAGO))
    moment = utc("2026-11-23T00:00-06:00")
    found = []
    for _ in first:
        following = times.after(moment)
        assert following is not None
        found.append(following)
        moment = following
    assert [text[:12] for text in local(found, CHICAGO)] == first


#: (zone, local midnight before the clocks change, expression, when it starts until the next midnight but one)
NIGHTS = [
    # Chicago, 2026-03-08: 02:00 becomes 03:00. What falls into the gap starts when the clock is there again, once.
    (CHICAGO, "2026-03-08T00:00-06:00", "30 2 * * *", ["Sun 08 03:00 -0500", "Mon 09 02:30 -0500"]),
    (
        CHICAGO,
        "2026-03-08T00:00-06:00",
        "0,30 2 * * *",
        ["Sun 08 03:00 -0500", "Mon 09 02:00 -0500", "Mon 09 02:30 -0500"],
    ),
    (
        CHICAGO,
        "2026-03-08T00:00-06:00",
        "0 2,3 * * *",
        ["Sun 08 03:00 -0500", "Mon 09 02:00 -0500", "Mon 09 03:00 -0500"],
    ),
    (CHICAGO, "2026-03-08T00:00-06:00", "59 1 * * *", ["Sun 08 01:59 -0600", "Mon 09 01:59 -0500"]),
    (CHICAGO, "2026-03-08T00:00-06:00", "0 10 * * *", ["Sun 08 10:00 -0500", "Mon 09 10:00 -0500"]),
    # Chicago, 2026-11-01: 02:00 becomes 01:00. What occurs twice starts once, the first time.
    (CHICAGO, "2026-11-01T00:00-05:00", "30 1 * * *", ["Sun 01 01:30 -0500", "Mon 02 01:30 -0600"]),
    (
        CHICAGO,
        "2026-11-01T00:00-05:00",
        "0 1,2 * * *",
        ["Sun 01 01:00 -0500", "Sun 01 02:00 -0600", "Mon 02 01:00 -0600", "Mon 02 02:00 -0600"],
    ),
    # Berlin, 2026-03-29 and 2026-10-25.
    (BERLIN, "2026-03-29T00:00+01:00", "15 2 * * *", ["Sun 29 03:00 +0200", "Mon 30 02:15 +0200"]),
    (BERLIN, "2026-10-25T00:00+02:00", "15 2 * * *", ["Sun 25 02:15 +0200", "Mon 26 02:15 +0100"]),
    (BERLIN, "2026-10-25T00:00+02:00", "0 3 * * SUN", ["Sun 25 03:00 +0100"]),
    # Lord Howe changes by half an hour: 2026-10-04, 02:00 becomes 02:30; 2026-04-05, 02:00 becomes 01:30.
    (LORD_HOWE, "2026-10-04T00:00+10:30", "15 2 * * *", ["Sun 04 02:30 +1100", "Mon 05 02:15 +1100"]),
    (LORD_HOWE, "2026-10-04T00:00+10:30", "30 2 * * *", ["Sun 04 02:30 +1100", "Mon 05 02:30 +1100"]),
    (
        LORD_HOWE,
        "2026-10-04T00:00+10:30",
        "*/20 3 4 * *",
        ["Sun 04 03:00 +1100", "Sun 04 03:20 +1100", "Sun 04 03:40 +1100"],
    ),
    (LORD_HOWE, "2026-04-05T00:00+11:00", "45 1 * * *", ["Sun 05 01:45 +1100", "Mon 06 01:45 +1030"]),
    (
        LORD_HOWE,
        "2026-04-05T00:00+11:00",
        "*/20 2 5 * *",
        ["Sun 05 02:00 +1030", "Sun 05 02:20 +1030", "Sun 05 02:40 +1030"],
    ),
    # With a star for minute or hour it is every such minute, as cron does it: an hourly start stays hourly.
    (
        CHICAGO,
        "2026-11-01T00:00-05:00",
        "0 * 1 * *",
        ["Sun 01 01:00 -0500", "Sun 01 01:00 -0600", "Sun 01 02:00 -0600"],
    ),
    (
        CHICAGO,
        "2026-03-08T00:00-06:00",
        "0 * 8 * *",
        ["Sun 08 01:00 -0600", "Sun 08 03:00 -0500", "Sun 08 04:00 -0500"],
    ),
]


@pytest.mark.parametrize(("zone", "midnight", "expression", "starts"), NIGHTS)
def test_nights_when_clocks_change(zone: str, midnight: str, expression: str, starts: list[str]) -> None:
    begin = utc(midnight)
    found = times_between(expression, zone, begin, begin + timedelta(hours=47))
    hourly = expression.startswith("0 * ")
    assert local(found[: len(starts)] if hourly else found, zone) == starts


CHANGES = [
    (CHICAGO, utc("2026-03-08T02:00-06:00")),
    (CHICAGO, utc("2026-11-01T02:00-05:00")),
    (BERLIN, utc("2026-03-29T02:00+01:00")),
    (BERLIN, utc("2026-10-25T03:00+02:00")),
    (LORD_HOWE, utc("2026-10-04T02:00+10:30")),
    (LORD_HOWE, utc("2026-04-05T02:00+11:00")),
]


def one_or_more(low: int, high: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(low, high), min_size=1, max_size=4)


@settings(max_examples=50)
@given(change=st.sampled_from(CHANGES), minutes=one_or_more(0, 59), hours=one_or_more(0, 4))
@example(change=CHANGES[0], minutes={0, 30}, hours={2, 3})
def test_fixed_times_start_once_a_day_each(
    change: tuple[str, datetime], minutes: set[int], hours: set[int]
) -> None:
    """Every local time of each day gets its one start: at itself, or where it is skipped at the next that exists."""
    zone, moment = change
    expression = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    begin, end = moment - timedelta(hours=30), moment + timedelta(hours=30)
    wall: dict[datetime, datetime] = {}  # what the clock shows -> when it shows it first
    walk = begin - timedelta(hours=4)
    while walk <= end + timedelta(hours=4):
        wall.setdefault(walk.astimezone(ZoneInfo(zone)).replace(tzinfo=None), walk)
        walk += MINUTE
    expected = set()
    day = min(wall).replace(hour=0, minute=0)
    while day < max(wall):
        for hour in hours:
            for minute in minutes:
                shown = day.replace(hour=hour, minute=minute)
                if min(wall) <= shown < max(wall) - timedelta(hours=2):
                    while shown not in wall:
                        shown += MINUTE
                    expected.add(wall[shown])
        day += timedelta(days=1)
    found = times_between(expression, zone, begin, end)
    assert found == sorted(moment for moment in expected if begin < moment <= end)


@cache
def week_around(expression: str, zone: str, change: datetime) -> list[datetime]:
    return times_between(expression, zone, change - timedelta(hours=12), change + timedelta(days=8))


@given(
    change=st.sampled_from(CHANGES),
    expression=st.sampled_from(
        ["30 1 * * *", "0 2,3 * * *", "*/7 2 * * *", "5 * * * *", "*/11 1-3 * * *", "15 2 * * 0"]
    ),
    offset=st.integers(-400, 400),
    seconds=st.integers(0, 59),
)
def test_the_next_time_lies_ahead_and_nothing_lies_between(
    change: tuple[str, datetime], expression: str, offset: int, seconds: int
) -> None:
    """From any moment, the result is the first later one of the times found from an earlier moment."""
    zone, moment = change
    asked = moment + offset * MINUTE + timedelta(seconds=seconds)
    from_before = week_around(expression, zone, moment)
    assert all(before < after for before, after in pairwise(from_before))
    expected = next(found for found in from_before if found > asked)
    times = CronTimes(expression, ZoneInfo(zone))
    assert times.after(asked) == expected
    assert latest(times, moment - timedelta(hours=12), asked) == max(
        (found for found in from_before if found <= asked), default=None
    )


@pytest.mark.parametrize(
    ("zone", "written", "moment"),
    [
        (CHICAGO, "2026-12-01T10:00", "2026-12-01T10:00-06:00"),
        (CHICAGO, "2026-11-01T01:30", "2026-11-01T01:30-05:00"),
        (CHICAGO, "2026-03-08T02:30:15", "2026-03-08T03:00-05:00"),
        (LORD_HOWE, "2026-10-04T02:10", "2026-10-04T02:30+11:00"),
        (BERLIN, "2026-10-25T02:30", "2026-10-25T02:30+02:00"),
    ],
)
def test_a_single_time_in_its_zone(zone: str, written: str, moment: str) -> None:
    at = first_moment(datetime.fromisoformat(written), ZoneInfo(zone))
    assert at == utc(moment)
    assert OneTime(at).after(at - MINUTE) == at
    assert OneTime(at).after(at) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("61 10 * * *", 'the minute "61" is not valid (use 0 to 59)'),
        ("0 24 * * *", 'the hour "24" is not valid (use 0 to 23)'),
        ("0 10 0 * *", 'the day of the month "0" is not valid (use 1 to 31)'),
        ("0 10 L * *", 'the day of the month "L" is not valid (use 1 to 31)'),
        ("0 10 * 13 *", 'the month "13" is not valid (use 1 to 12 or JAN to DEC)'),
        ("0 10 * MON *", 'the month "MON" is not valid (use 1 to 12 or JAN to DEC)'),
        ("0 10 * * 8", 'the weekday "8" is not valid (use 0 to 7 or SUN to SAT, where 0 and 7 are Sunday)'),
        (
            "0 10 * * MONDAY",
            'the weekday "MONDAY" is not valid (use 0 to 7 or SUN to SAT, where 0 and 7 are Sunday)',
        ),
        ("0 10 * * 5L", 'the weekday "5L" is not valid (use 0 to 7 or SUN to SAT, where 0 and 7 are Sunday)'),
        (
            "0 10 * * FRI-MON",
            'the weekday "FRI-MON" is not valid (use 0 to 7 or SUN to SAT, where 0 and 7 are Sunday)',
        ),
        ("0 */0 * * *", 'the hour "*/0" is not valid (use 0 to 23)'),
        (", 10 * * *", 'the minute "," is not valid (use 0 to 59)'),
        ("0 10 30 2 *", "these months have no such day"),
        ("0 10 31 4,6 *", "these months have no such day"),
        ("0 10 30 2 MON", None),  # Mondays in February
        ("*/15 8-18 1,15 jan-jun Mon-Fri", None),
    ],
)
def test_what_is_wrong_with_an_expression(expression: str, problem: str | None) -> None:
    assert cron_problem(expression) == problem


@given(st.lists(st.text("0123456789*,/-JANMONL#?W ", min_size=1, max_size=6), min_size=5, max_size=5))
def test_any_five_fields_are_judged(fields: list[str]) -> None:
    expression = " ".join(field.replace(" ", "") or "*" for field in fields)
    if cron_problem(expression) is None:
        assert CronTimes(expression, ZoneInfo(CHICAGO)).after(utc("2026-11-23T00:00Z")) is not None


# --- what is due


DAILY = CronTimes("0 10 * * *", ZoneInfo(CHICAGO))
TWO_HOURS = timedelta(hours=2)


def ten(day: int) -> datetime:
    return utc(f"2026-11-{day}T10:00-06:00")


@pytest.mark.parametrize(
    ("after", "now", "expected"),
    [
        (ten(23), ten(24) - timedelta(seconds=1), Due()),
        (ten(23), ten(24), Due(ten(24))),
        (ten(23), ten(24) + TWO_HOURS, Due(ten(24))),
        (ten(23), ten(24) + TWO_HOURS + timedelta(seconds=1), Due(missed=Missed(ten(24), ten(24)))),
        # Several days off: the last one is started if it is not too late, and the others are reported.
        (ten(21), ten(24) + timedelta(hours=1), Due(ten(24), Missed(ten(22), ten(23)))),
        (ten(22), ten(24) + timedelta(hours=1), Due(ten(24), Missed(ten(23), ten(23)))),
        (ten(21), ten(24) + timedelta(hours=5), Due(missed=Missed(ten(22), ten(24)))),
        # A clock that was set back brings nothing back.
        (ten(24), ten(23), Due()),
    ],
)
def test_what_is_due_and_what_is_missed(after: datetime, now: datetime, expected: Due) -> None:
    assert due(DAILY, after, now, TWO_HOURS) == expected


def test_a_minute_by_minute_schedule_that_slept_for_a_year_is_judged_quickly() -> None:
    every_minute = CronTimes("* * * * *", ZoneInfo(CHICAGO))
    found = due(every_minute, ten(23) - timedelta(days=365), ten(23) + timedelta(seconds=30), TWO_HOURS)
    assert found.start == ten(23)
    assert found.missed is not None and found.missed.last == ten(23) - MINUTE


@given(
    looks=st.lists(st.integers(1, 60 * 50), min_size=1, max_size=12),
    expires=st.integers(1, 60 * 30).map(lambda minutes: minutes * MINUTE),
)
def test_no_time_is_started_twice_and_none_is_passed_over_in_silence(
    looks: list[int], expires: timedelta
) -> None:
    """At any intervals between checks, each time is started or missed exactly once."""
    times = CronTimes("0 10,22 * * *", ZoneInfo(CHICAGO))
    begin = now = handled = utc("2026-10-30T00:00-05:00")
    seen: list[datetime] = []
    for minutes in looks:
        now += minutes * MINUTE
        found = due(times, handled, now, expires)
        if found.missed is not None:
            passed = [
                t
                for t in times_between(times.expression, CHICAGO, handled, now)
                if found.missed.first <= t <= found.missed.last
            ]
            assert passed[0] == found.missed.first and passed[-1] == found.missed.last
            seen += passed
            handled = found.missed.last
        if found.start is not None:
            assert timedelta(0) <= now - found.start <= expires
            seen.append(found.start)
            handled = found.start
    assert seen == times_between(times.expression, CHICAGO, begin, now)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("@hourly", ["Mon 23 01:00", "Mon 23 02:00"]),
        ("@daily", ["Tue 24 00:00", "Wed 25 00:00"]),
        (" @Midnight", ["Tue 24 00:00", "Wed 25 00:00"]),
        ("@weekly", ["Sun 29 00:00", "Sun 06 00:00"]),
        ("@monthly", ["Tue 01 00:00", "Fri 01 00:00"]),
        ("@yearly", ["Fri 01 00:00", "Sat 01 00:00"]),
        ("@annually", ["Fri 01 00:00", "Sat 01 00:00"]),
    ],
)
def test_names_for_expressions(name: str, first: list[str]) -> None:
    expression = five_fields(name)
    assert cron_problem(expression) is None
    begin = datetime(2026, 11, 23, tzinfo=ZoneInfo(CHICAGO))
    found = times_between(expression, CHICAGO, begin, begin + timedelta(days=800))[:2]
    assert [moment.astimezone(ZoneInfo(CHICAGO)).strftime("%a %d %H:%M") for moment in found] == first
