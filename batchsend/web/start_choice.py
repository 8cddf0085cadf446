"""When a campaign starts, as choices of a form: by hand, once, or again and again. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from batchsend.campaigns.campaign import Campaign, times_of
from batchsend.campaigns.tables import Schedule
from batchsend.campaigns.zones import US_ZONES

BY_HAND, ONCE, REPEATED = "hand", "once", "repeat"
DAILY, WEEKDAYS, ON_DAYS, MONTHLY, OWN = "daily", "weekdays", "days", "monthly", "own"
#: Days as a pattern writes them -> in words.
DAYS: Mapping[str, str] = {
    "MON": "Monday",
    "TUE": "Tuesday",
    "WED": "Wednesday",
    "THU": "Thursday",
    "FRI": "Friday",
    "SAT": "Saturday",
    "SUN": "Sunday",
}
#: Later days are missing in some months.
LAST_DAY = 28
_USUAL_TIME = "10:00"
_AT_A_TIME = re.compile(r"(?P<minute>\d{1,2}) (?P<hour>\d{1,2}) (?P<day>\S+) \* (?P<weekday>\S+)", re.ASCII)


def shown_start(schedule: Schedule | None) -> dict[str, str]:
    """Returns the fields of the form for a schedule, each with its text. A chosen day is `day.MON` -> "on"."""
    fields = {
        "start": BY_HAND,
        "repeat": WEEKDAYS,
        "time": _USUAL_TIME,
        "at_time": _USUAL_TIME,
        "monthday": "1",
    }
    if schedule is None:
        return fields
    if schedule.at is not None:
        at = schedule.at
        return {**fields, "start": ONCE, "at_day": f"{at:%Y-%m-%d}", "at_time": f"{at:%H:%M}"}
    return {**fields, "start": REPEATED, **_pattern(schedule.cron or "")}


def _pattern(cron: str) -> dict[str, str]:
    own = {"repeat": OWN, "cron": cron}
    found = _AT_A_TIME.fullmatch(cron)
    if found is None or int(found["hour"]) > 23 or int(found["minute"]) > 59:
        return own
    time = {"time": f"{int(found['hour']):02}:{int(found['minute']):02}"}
    day, weekday = found["day"], found["weekday"].upper()
    if day != "*":
        one_day = weekday == "*" and day.isdecimal() and 1 <= int(day) <= LAST_DAY
        return {**time, "repeat": MONTHLY, "monthday": str(int(day))} if one_day else own
    if weekday in ("*", "MON-FRI", "1-5"):
        return {**time, "repeat": DAILY if weekday == "*" else WEEKDAYS}
    days = weekday.split(",")
    if all(one in DAYS for one in days):
        return {**time, "repeat": ON_DAYS, **{f"day.{one}": "on" for one in days}}
    return own


def start_changes(
    form: Mapping[str, Any], schedule: Schedule | None
) -> tuple[dict[tuple[str, ...], Any], dict[str, str]]:
    """Returns the changes for the form's choice, and what is missing: field -> sentence.

    A schedule that already starts at these times is not changed.
    """
    errors: dict[str, str] = {}
    changes: dict[tuple[str, ...], Any]
    start = str(form.get("start", ""))
    if start == BY_HAND:
        return ({("schedule",): None} if schedule is not None else {}), errors
    if start == ONCE:
        at = _moment(form, errors)
        changes = {("schedule", "at"): at, ("schedule", "cron"): None}
        unchanged = schedule is not None and schedule.at == at
    elif start == REPEATED:
        cron = cron_of(form, errors)
        changes = {("schedule", "cron"): cron, ("schedule", "at"): None}
        unchanged = schedule is not None and _pattern(schedule.cron or "") == _pattern(cron)
    else:
        return {}, errors
    return {} if errors or unchanged else changes, errors


def _moment(form: Mapping[str, Any], errors: dict[str, str]) -> datetime | str:
    day, time = (str(form.get(name, "")).strip() for name in ("at_day", "at_time"))
    if not day:
        errors["at_day"] = "Choose a day."
    if not time:
        errors["at_time"] = "Choose a time."
    try:
        return datetime.fromisoformat(f"{day}T{time}")
    except ValueError:
        # The campaign file's rule says what is wrong.
        return f"{day} {time}"


def cron_of(form: Mapping[str, Any], errors: dict[str, str]) -> str:
    """Returns the pattern for the form's choice, as a campaign file has it; adds what is missing to `errors`."""
    repeat, time = str(form.get("repeat", "")), str(form.get("time", "")).strip()
    if repeat == OWN:
        cron = str(form.get("cron", "")).strip()
        if not cron:
            errors["cron"] = "Write a pattern, or choose one of the others."
        return cron
    days = [day for day in DAYS if f"day.{day}" in form]
    if not time:
        errors["time"] = "Choose a time."
    if repeat == ON_DAYS and not days:
        errors["day"] = "Choose at least one day."
    hour, _, minute = time.partition(":")
    clock = f"{minute.removeprefix('0') or 0} {hour.removeprefix('0') or 0}"
    when = {
        MONTHLY: f"{form.get('monthday', '1')} * *",
        ON_DAYS: f"* * {','.join(days)}",
        DAILY: "* * *",
    }
    return f"{clock} {when.get(repeat, '* * MON-FRI')}"


def start_words(schedule: Schedule) -> str:
    """Returns when a schedule starts, such as `every Monday and Friday at 10:00 AM`."""
    if schedule.at is not None:
        return f"once, on {date_words(schedule.at)}"
    fields = _pattern(schedule.cron or "")
    if fields["repeat"] == OWN:
        return f"by the pattern {schedule.cron}"
    hour, minute = (int(part) for part in fields["time"].split(":"))
    days = [word for day, word in DAYS.items() if f"day.{day}" in fields]
    how = {
        DAILY: "every day",
        WEEKDAYS: "Monday to Friday",
        MONTHLY: f"on day {fields.get('monthday')} of every month",
    }.get(fields["repeat"]) or f"every {_listed(days)}"
    return f"{how} at {_clock(hour, minute)}"


def next_starts(campaign: Campaign, moment: datetime, count: int) -> list[str]:
    """Returns the next times at which the campaign starts, in its own time zone, in words."""
    return [date_words(start.astimezone(campaign.zone)) for start in islice(_starts(campaign, moment), count)]


def next_start_words(campaign: Campaign, moment: datetime) -> str | None:
    """The campaign's next start with its time zone: `Tuesday, December 1, 2026, 10:00 AM, Central time`."""
    us_name = {zone: f"{name.capitalize()} time" for name, zone in US_ZONES.items()}
    zone = us_name.get(campaign.zone.key, campaign.zone.key)
    return next((f"{start}, {zone}" for start in next_starts(campaign, moment, 1)), None)


def _starts(campaign: Campaign, moment: datetime) -> Iterator[datetime]:
    if campaign.schedule is None:
        return
    times = times_of(campaign)
    following = times.after(moment)
    while following is not None:
        yield following
        following = times.after(following)


def date_words(moment: datetime) -> str:
    """`Tuesday, December 1, 2026, 10:00 AM`."""
    return f"{moment:%A}, {moment:%B} {moment.day}, {moment.year}, {_clock(moment.hour, moment.minute)}"


def _clock(hour: int, minute: int) -> str:
    return f"{hour % 12 or 12}:{minute:02} {'AM' if hour < 12 else 'PM'}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
