"""The filter `date`: reads dates and times as spreadsheets write them, and prints them by a pattern.

The patterns are those of Babel (CLDR): `MMMM d`, `h:mm a`. People often write patterns of other programs, and these
would print a minute for a month or the week's year. Such a pattern is a `FilterProblem` that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import (
    format_date,
    format_datetime,
    get_date_format,
    parse_pattern,
    tokenize_pattern,
    untokenize_pattern,
)

from batchsend.errors import FilterProblem

_NAMED_PATTERNS = frozenset({"short", "medium", "long", "full"})
_DATE_FIELDS = frozenset("GyuUrQqMLlwWdFgEec")
_HOURS = frozenset("hHkK")


@lru_cache(maxsize=8192)
def date(text: str, pattern: str = "MMM d", locale: str = "en_US", order: str | None = None) -> str:
    """`2026-03-01` -> `Mar 1`. `pattern` is Babel's (CLDR's): `EEEE, MMMM d`, `h:mm a`, or `short` ... `full`.

    Reads `2026-03-01`, `2026-03-01 09:30:00`, `3/1/2026`, `Mar 1, 2026` and `1-Mar-26` (months in English), with or
    without a time, and a time alone: `09:30:00`, `9:30 AM`. `order`, "mdy" or "dmy", says which number of `3/1/2026`
    is the month. The default is the month first for US locales and for those without a country (`es`: a Spanish text
    for an American list), else the order of that country (`en_GB`: day first). Countries that write the year first
    (`en_CA`) have no such order, so an ambiguous value is a problem there.
    """
    read_locale = locale_of(locale)
    if (problem := pattern_problem(pattern)) is not None:
        raise FilterProblem(problem)
    if order not in {None, "mdy", "dmy"}:
        raise FilterProblem(f'`date` has no order `{order}`; use "mdy" or "dmy"')
    fields = _DATE_FIELDS if pattern in _NAMED_PATTERNS else frozenset(_fields(pattern))
    value = _read_moment(text, order or _order(read_locale), pattern, fields)
    if pattern in _NAMED_PATTERNS:
        return format_date(value.date(), pattern, locale=read_locale)
    return format_datetime(value, pattern, locale=read_locale)


def _read_moment(text: str, order: str | None, pattern: str, fields: frozenset[str]) -> datetime:
    """The date and time of a value. Raises `FilterProblem` if it lacks what the pattern's `fields` print."""
    if (time_of_day := _time_of_day.fullmatch(text.strip())) is not None:
        if fields & _DATE_FIELDS:
            raise FilterProblem(
                f"`date` cannot print a date with the pattern `{pattern}`: the value has only a time; "
                "`h:mm a` prints 9:30 AM"
            )
        return _moment(1900, 1, 1, time_of_day.groupdict())
    value, has_time = read_date(text, order)
    if not has_time and not fields <= _DATE_FIELDS:
        raise FilterProblem(
            f"`date` cannot print a time with the pattern `{pattern}`: the value has only a date"
        )
    return value


@lru_cache(maxsize=64)
def locale_of(name: str) -> Locale:
    """The locale with this name, such as `en_US`. Raises `FilterProblem` if there is none."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise FilterProblem(f"there is no locale `{name}`; use one such as en_US or es_US") from None


# Patterns


@lru_cache(maxsize=256)
def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a pattern and what to write instead; None if it can be used."""
    mistake = _mistake(pattern)
    if mistake is None:
        return None
    meant = _meant(pattern)
    return f"{mistake}; write `{meant}`" if _mistake(meant) is None else f"{mistake}; `MMM d` prints Mar 1"


def _mistake(pattern: str) -> str | None:
    if pattern in _NAMED_PATTERNS:
        return None
    try:
        parse_pattern(pattern)
        fields = _fields(pattern)
    except ValueError:
        fields = ""
    if not fields or "%" in pattern:
        return f"`date` cannot read the pattern `{pattern}`"
    if set("zZOvVXx").intersection(fields):
        return f"the pattern `{pattern}` has a time zone, and the times of a list have none"
    for letter, meaning in _MISUSED.items():
        if letter in fields:
            return f"in the pattern `{pattern}`, {letter} is {meaning}"
    if _months_or_minutes(fields) != fields:
        return f"in the pattern `{pattern}`, M is the month and m is the minute"
    literal = re.sub(f"'[^']*'|[{fields}]", "", pattern)
    if len(set(fields)) < len(fields) or re.search("[A-Za-z]", literal):
        return f"in the pattern `{pattern}`, words need single quotes, as in `d 'de' MMMM`"
    return None


#: Letters that stand for something else in other programs.
_MISUSED: Mapping[str, str] = {
    "Y": "the year of the week",
    "D": "the day of the year",
    "A": "the millisecond of the day",
}


def _fields(pattern: str) -> str:
    """The letters of the pattern's fields in order, each once for its run."""
    return "".join(value[0] for kind, value in tokenize_pattern(pattern) if kind == "field")


def _months_or_minutes(fields: str) -> str:
    """The fields with `m` after an hour, and `M` elsewhere."""
    before = [" ", *fields]
    return "".join(
        ("m" if previous in _HOURS else "M") if field in "Mm" else field
        for previous, field in zip(before, fields, strict=False)
    )


def _meant(pattern: str) -> str:
    """The pattern that was probably meant by one of strftime, Excel, .NET or moment.js."""
    plain = re.sub("%-?([A-Za-z])", lambda match: _STRFTIME.get(match[1], match[0]), pattern)
    plain = re.sub("AM/PM|(?<![a-z])(?:tt|A)(?![a-z])", "a", plain)
    plain = plain.replace("Y", "y").replace("D", "d").replace("dddd", "EEEE").replace("ddd", "EEE")
    plain = re.sub(r"\bmmmm?\b", lambda match: match[0].upper(), plain)
    plain = re.sub(" ?[zZOvVXx]+", "", plain)
    fields = iter(_months_or_minutes(_fields(plain)))
    return str(
        untokenize_pattern(
            (kind, (next(fields), int(value[1]))) if kind == "field" else (kind, str(value))
            for kind, value in tokenize_pattern(plain)
        )
    )


_STRFTIME: Mapping[str, str] = {
    "Y": "yyyy",
    "y": "yy",
    "m": "MM",
    "B": "MMMM",
    "b": "MMM",
    "d": "dd",
    "e": "d",
    "A": "EEEE",
    "a": "EEE",
    "H": "HH",
    "I": "h",
    "M": "mm",
    "S": "ss",
    "p": "a",
}

# Values


def _order(locale: Locale) -> str | None:
    if locale.territory in {None, "US"}:
        return "mdy"
    fields = [field for field in get_date_format("short", locale=locale).pattern.lower() if field in "dmy"]
    order = "".join(dict.fromkeys(fields))
    return order if order in {"mdy", "dmy"} else None


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
