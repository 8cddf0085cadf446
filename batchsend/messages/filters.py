"""The filters `date` and `money`, which print a value as a language writes it.

Pure functions from text to text. A value that cannot be read is a `FilterProblem`, never a guess: a wrong date in a
text is worse than a row that needs attention. The caches help because values repeat within a list.

The patterns of dates are those of Babel (CLDR): `MMMM d`, `h:mm a`. People often write patterns of other programs,
which would print a minute for a month or the week's year. Such a pattern is a problem that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
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
from babel.numbers import (
    NumberFormatError,
    format_currency,
    get_currency_symbol,
    get_group_symbol,
    list_currencies,
    parse_decimal,
)

from batchsend.errors import FilterProblem
from batchsend.messages.dates import read_date, read_time

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
    read_locale = _locale_of(locale)
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
    if (at := read_time(text)) is not None:
        if fields & _DATE_FIELDS:
            raise FilterProblem(
                f"`date` cannot print a date with the pattern `{pattern}`: the value has only a time; "
                "`h:mm a` prints 9:30 AM"
            )
        return at
    value, has_time = read_date(text, order)
    if not has_time and not fields <= _DATE_FIELDS:
        raise FilterProblem(
            f"`date` cannot print a time with the pattern `{pattern}`: the value has only a date"
        )
    return value


@lru_cache(maxsize=64)
def _locale_of(name: str) -> Locale:
    """The locale with this name, such as `en_US`. Raises `FilterProblem` if there is none."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise FilterProblem(f"there is no locale `{name}`; use one such as en_US or es_US") from None


def _order(locale: Locale) -> str | None:
    if locale.territory in {None, "US"}:
        return "mdy"
    fields = [field for field in get_date_format("short", locale=locale).pattern.lower() if field in "dmy"]
    order = "".join(dict.fromkeys(fields))
    return order if order in {"mdy", "dmy"} else None


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

# Money


@lru_cache(maxsize=8192)
def money(text: str, currency: str = "USD", locale: str = "en_US") -> str:
    """`1234.5` or `$1,234.50` -> `$1,234.50`. `currency` is an ISO 4217 code.

    Plain numbers have a decimal point, as in spreadsheets. Numbers with separators are read as `locale` writes them.
    Half a cent is rounded up, as spreadsheets do.
    """
    read_locale = _locale_of(locale)
    if currency not in list_currencies():
        raise FilterProblem(f"`money` has no currency `{currency}`; use a code such as USD or CAD")
    amount = _read_money(text, currency, read_locale)
    with localcontext(rounding=ROUND_HALF_UP):
        return format_currency(amount, currency, locale=read_locale)


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
