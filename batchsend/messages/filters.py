"""The filters that templates have in addition to Jinja's: `name_case`, `phone`, `date`, `money`.

Pure functions from text to text. A value that cannot be read is a `FilterProblem`, never a guess: a wrong date in a
text is worse than a row that needs attention. The caches help because values repeat within a list.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, get_date_format, parse_pattern, tokenize_pattern
from babel.numbers import (
    NumberFormatError,
    format_currency,
    get_currency_symbol,
    get_group_symbol,
    list_currencies,
    parse_decimal,
)

from batchsend.errors import RowProblem
from batchsend.messages.name_case import name_case
from batchsend.messages.phones import PhoneProblem, display_phone, to_e164
from batchsend.statuses import Code

__all__ = ["FilterProblem", "date", "money", "name_case", "phone", "read_date"]


class FilterProblem(RowProblem):
    """A filter cannot format a value as asked; the code is TEMPLATE_ERROR."""

    def __init__(self, description: str) -> None:
        super().__init__(Code.TEMPLATE_ERROR, description)


def phone(text: str, region: str = "US") -> str:
    """`3125550142` -> `(312) 555-0142`; text that is not a valid number is returned unchanged."""
    try:
        return display_phone(to_e164(text, region))
    except PhoneProblem:
        return text


@lru_cache(maxsize=8192)
def date(text: str, pattern: str = "MMM d", locale: str = "en_US", order: str | None = None) -> str:
    """`2026-03-01` -> `Mar 1`. `pattern` is Babel's (CLDR's): `EEEE, MMMM d`, `h:mm a`, or `short` ... `full`.

    Reads `2026-03-01`, `2026-03-01 09:30:00`, `3/1/2026`, `Mar 1, 2026` and `1-Mar-26` (months in English), with or
    without a time. `order`, "mdy" or "dmy", says which number of `3/1/2026` is the month. The default is the month
    first for US locales and for those without a country (`es`: a Spanish text for an American list), else the order
    of that country (`en_GB`: day first). Countries that write the year first (`en_CA`) have no such order, so an
    ambiguous value is a problem there.
    """
    read_locale = _locale(locale)
    prints_time = _prints_time(pattern)
    if order not in {None, "mdy", "dmy"}:
        raise FilterProblem(f'`date` has no order `{order}`; use "mdy" or "dmy"')
    value, has_time = read_date(text, order or _order(read_locale))
    if prints_time and not has_time:
        raise FilterProblem(
            f"`date` cannot print a time with the pattern `{pattern}`: the value has only a date"
        )
    if pattern in _NAMED_PATTERNS:
        return format_date(value.date(), pattern, locale=read_locale)
    return format_datetime(value, pattern, locale=read_locale)


@lru_cache(maxsize=8192)
def money(text: str, currency: str = "USD", locale: str = "en_US") -> str:
    """`1234.5` or `$1,234.50` -> `$1,234.50`. `currency` is an ISO 4217 code.

    Plain numbers have a decimal point, as in spreadsheets. Numbers with separators are read as `locale` writes them.
    """
    read_locale = _locale(locale)
    if currency not in list_currencies():
        raise FilterProblem(f"`money` has no currency `{currency}`; use a code such as USD or CAD")
    return format_currency(_read_money(text, currency, read_locale), currency, locale=read_locale)


@lru_cache(maxsize=64)
def _locale(name: str) -> Locale:
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise FilterProblem(f"there is no locale `{name}`; use one such as en_US or es_US") from None


_NAMED_PATTERNS = frozenset({"short", "medium", "long", "full"})
_DATE_FIELDS = frozenset("GyuUrQqMLlwWdFgEec")


@lru_cache(maxsize=256)
def _prints_time(pattern: str) -> bool:
    if pattern in _NAMED_PATTERNS:
        return False
    try:
        parse_pattern(pattern)
        letters = {value[0] for kind, value in tokenize_pattern(pattern) if kind == "field"}
    except ValueError:
        letters = set()
    if not letters or "%" in pattern:
        raise FilterProblem(f"`date` cannot read the pattern `{pattern}`; `MMM d` prints Mar 1")
    if letters & set("YD"):
        raise FilterProblem(
            "in a `date` pattern, Y is the year of the week and D is the day of the year; write y and d"
        )
    if letters & set("zZOvVXx"):
        raise FilterProblem("`date` cannot print a time zone, because the times of a list have none")
    return not letters <= _DATE_FIELDS


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
_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
_ZONE = r" ?(?P<zone>Z|[+-]\d{2}:?\d{2})?"
_dates = tuple(
    re.compile(spelling + _TIME + _ZONE)
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
    try:
        value = datetime(_year(parts["year"]), month, day, *_time(parts))  # noqa: DTZ001 - printed without a zone
    except ValueError:
        raise FilterProblem(_NO_DATE) from None
    if parts["zone"] and (value.hour or value.minute):
        # Noon in UTC is another hour or day for the customer, so do not guess.
        raise FilterProblem("`date` cannot print a time with a time zone; put local times into the list")
    return value, has_time and not parts["zone"]


def _month_and_day(parts: dict[str, str | None], order: str | None) -> tuple[int, int]:
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


def _time(parts: dict[str, str | None]) -> tuple[int, int, int]:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    half = (parts["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise FilterProblem(_NO_DATE)
        hour = hour % 12 + (12 if half == "p" else 0)
    return hour, minute, second


_amount = re.compile(r"[0-9.,'’ \u00a0\u202f]+")
_plain_number = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_NO_AMOUNT = "`money` cannot read the value: it is not an amount such as 1234.50 or $1,234.50"


def _read_money(text: str, currency: str, locale: Locale) -> Decimal:
    amount = text.strip()
    negative = amount.startswith("-")
    amount = amount.removeprefix("-")
    for sign in (currency, get_currency_symbol(currency, locale), get_currency_symbol(currency, "en_US")):
        amount = amount.removeprefix(sign).removesuffix(sign).strip()
    if not _amount.fullmatch(amount):
        raise FilterProblem(_NO_AMOUNT)
    if get_group_symbol(locale) == "." and re.fullmatch(r"\d{1,3}\.\d{3}", amount):
        raise FilterProblem(
            "`money` cannot tell whether the point in the value is a decimal point; write two decimals"
        )
    try:
        value = (
            Decimal(amount) if _plain_number.fullmatch(amount) else parse_decimal(amount, locale, strict=True)
        )
    except NumberFormatError:
        raise FilterProblem(_NO_AMOUNT) from None
    return -value if negative else value
