"""Reads dates and times of day as spreadsheets write them.

A value that cannot be read with certainty is a `FilterProblem`, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from batchsend.errors import FilterProblem

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAY = r"(?:(?i:sun|mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?)(?:day)?\.?,? )?"
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = r" ?(?P<zone>Z|[+-]\d{2}:?\d{2})?"
_time_of_day = re.compile(_CLOCK)
_dates = tuple(
    re.compile(f"{spelling}(?:[T ,]+{_CLOCK})?{_ZONE}")
    for spelling in (
        r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})",
        r"(?P<one>\d{1,2})[-/.](?P<other>\d{1,2})[-/.](?P<year>\d{4}|\d{2})",
        _WEEKDAY + r"(?P<name>[A-Za-z]{3,9})\.? (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>\d{4})",
        _WEEKDAY + r"(?P<day>\d{1,2})[- ](?P<name>[A-Za-z]{3,9})\.?[-, ]+(?P<year>\d{4}|\d{2})",
    )
)
_NO_DATE = "`date` cannot read the value: it is not a date such as 2026-03-01 or 3/1/2026"


def read_time(text: str) -> datetime | None:
    """The time of day that stands alone, on 1900-01-01; None for any other value. Raises `FilterProblem`."""
    match = _time_of_day.fullmatch(text.strip())
    return _moment(1900, 1, 1, match.groupdict()) if match else None


def read_date(text: str, order: str | None) -> tuple[datetime, bool]:
    """The date, at 00:00 if the value has no time, and whether it has a time.

    `order`: "mdy" or "dmy"; `None` refuses an ambiguous value. Raises `FilterProblem`.
    """
    for spelling in _dates:
        match = spelling.fullmatch(text.strip())
        if match is not None:
            break
    else:
        raise FilterProblem(_NO_DATE)
    parts = match.groupdict()
    has_time = parts["hour"] is not None
    month, day = _month_and_day(parts, order)
    value = _moment(_year(parts["year"]), month, day, parts)
    if parts["zone"] and (value.hour or value.minute):
        # Noon in UTC is another hour or day for the customer, so do not guess.
        raise FilterProblem("`date` cannot print a time with a time zone; put local times into the list")
    return value, has_time and not parts["zone"]


def _moment(year: int, month: int, day: int, parts: Mapping[str, str | None]) -> datetime:
    try:
        return datetime(year, month, day, *_time(parts))  # noqa: DTZ001 - printed without a zone
    except ValueError:
        raise FilterProblem(_NO_DATE) from None


def _month_and_day(parts: Mapping[str, str | None], order: str | None) -> tuple[int, int]:
    if parts.get("name"):
        return _month(str(parts["name"]).lower()), int(str(parts["day"]))
    if parts.get("month"):
        return int(str(parts["month"])), int(str(parts["day"]))
    one, other = int(str(parts["one"])), int(str(parts["other"]))
    if order is None:
        if one <= 12 and other <= 12 and one != other:
            raise FilterProblem(
                '`date` cannot tell the month from the day in the value: write order="mdy" or order="dmy"'
            )
        return (one, other) if one <= 12 else (other, one)
    month, day = (one, other) if order == "mdy" else (other, one)
    if month > 12 >= day:
        raise FilterProblem(
            f"`date` reads the value's {'first' if month == one else 'second'} number as the month, but there is no "
            f'month {month}: write order="{"dmy" if month == one else "mdy"}" if that fits the list\'s dates'
        )
    return month, day


def _month(name: str) -> int:
    # "Marlin 12, 2024" is no date.
    for number, month in enumerate(_MONTHS, start=1):
        if name in (month, month[:3]) or (name == "sept" and month == "september"):
            return number
    raise FilterProblem(_NO_DATE)


def _year(text: str | None) -> int:
    year = int(text or 0)
    # As in POSIX, 69-99 are 1969-1999.
    return year if len(text or "") == 4 else year + (1900 if year >= 69 else 2000)


def _time(parts: Mapping[str, str | None]) -> tuple[int, int, int]:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    half = (parts["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise FilterProblem(_NO_DATE)
        hour = hour % 12 + (12 if half == "p" else 0)
    return hour, minute, second
