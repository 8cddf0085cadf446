"""Turns stored values into the text of cells, by the same rules for every format."""

from __future__ import annotations

import datetime as dt
import html
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

CellValue = str | float | int | bool | dt.date | dt.datetime | dt.time | dt.timedelta

_ZERO_WIDTH = (
    "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
    # Contact programs put phone numbers between these direction marks.
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_WHITE_SPACE = "".join(chr(i) for i in range(0x3001) if chr(i).isspace())
_EDGES = _WHITE_SPACE + _ZERO_WIDTH

#: Excel keeps 15 digits of a number; a longer number has lost some.
_FIRST_INEXACT = 1e15

# A number format's quoted text, escaped characters, fillers, colors and conditions.
_LITERAL = re.compile(r'"[^"]*"|[\\_*].|\[[^\]]*\]')
# Thousands separators are left out: a percentage is a number, and few exceed 1,000%.
_PERCENT = re.compile(r"[0#?](?:\.([0#?]+))?\s*%")


# Exports write ="02134" to keep Excel from turning text into a number.
_AS_FORMULA = re.compile(r'="((?:[^"]|"")*)"')
# Exports from web applications write O&#39;Brien, and sometimes O&amp;#39;Brien.
_HTML_CHARACTER = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")


def clean(text: str) -> str:
    """The text of a cell that is stored as text.

    Strips white space, NBSP and zero-width characters from both ends. An NBSP inside becomes a space, `="02134"`
    becomes `02134` and `O&#39;Brien` becomes `O'Brien`. A NUL, which no ledger can store, becomes U+FFFD.
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    text = text.strip() if text.isascii() else text.strip(_EDGES).replace("\u00a0", " ")
    return _unescaped(text) if text.startswith('="') or "&" in text else text


def _unescaped(text: str) -> str:
    for _ in range(3):
        if formula := _AS_FORMULA.fullmatch(text):
            text = formula[1].replace('""', '"')
        text = _HTML_CHARACTER.sub(lambda found: html.unescape(found[0]), text)
        text = text.strip(_EDGES).replace("\u00a0", " ")
    return text


def cleaner(text: str) -> Callable[[str], str]:
    """`clean`, or a faster function with the same result for each part of `text`."""
    is_plain = (
        text.isascii()
        and "\0" not in text
        and '="' not in text
        and not ("&" in text and _HTML_CHARACTER.search(text))
    )
    return str.strip if is_plain else clean


def text_of(value: CellValue) -> str:
    """The text of a workbook's stored value, as python-calamine returns it.

    Whole numbers keep their digits. Other numbers are as short as 15 digits allow. Numbers with more digits than a
    spreadsheet keeps are written in scientific notation, which `damage` recognizes.
    """
    kind = value.__class__
    if kind is str:
        return clean(value)  # type: ignore[arg-type]
    if kind is float or kind is int:
        return _number(value)  # type: ignore[arg-type]
    if kind is bool:
        return "TRUE" if value else "FALSE"
    return _moment(value)


def _number(value: float) -> str:
    if -_FIRST_INEXACT < value < _FIRST_INEXACT:
        whole = int(value)
        if whole == value:
            return str(whole)
        text = format(value, ".15g")
        return format(Decimal(text), "f") if "e" in text else text
    if not math.isfinite(value):
        return "#NUM!"
    return format(value, ".15g").upper()


def percentage(value: float, number_format: str) -> str | None:
    """The number as a percent format shows it: `20%` for 0.2 in `0%`. None for other formats."""
    places = _percent_places(number_format)
    if places is None or not abs(value) < _FIRST_INEXACT / 100:
        return None
    least, most = places
    shown = Decimal(format(value, ".15g")).scaleb(2).quantize(Decimal(1).scaleb(-most), ROUND_HALF_UP)
    digits, _, decimals = f"{abs(shown):f}".partition(".")
    decimals = decimals[:least] + decimals[least:].rstrip("0")
    return f"{'-' if shown < 0 else ''}{digits}{'.' if decimals else ''}{decimals}%"


def is_percent(number_format: str) -> bool:
    """Whether a number in this format is shown times 100, with a percent sign."""
    return _percent_places(number_format) is not None


@lru_cache
def _percent_places(number_format: str) -> tuple[int, int] | None:
    """The least and most decimal places of a percent format; None for another one."""
    if "%" not in number_format:
        return None
    match = _PERCENT.search(_LITERAL.sub("", number_format).split(";")[0])
    decimals = match[1] or "" if match else ""
    return (decimals.count("0"), len(decimals)) if match else None


# A list has many dates, but few distinct ones.
@lru_cache(maxsize=4096)
def _moment(value: CellValue) -> str:
    if isinstance(value, dt.datetime):
        # Times are stored as fractions of a day: 9:30 may be read as 9:29:59.999999.
        half_up = dt.timedelta(microseconds=500_000 if value.year < dt.MAXYEAR else 0)
        rounded = (value + half_up).replace(microsecond=0)
        return str(rounded if rounded.time() != dt.time() else rounded.date())
    if isinstance(value, dt.time):
        return _clock(round(value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6))
    if isinstance(value, dt.timedelta):
        seconds = round(value.total_seconds())
        return f"-{_clock(-seconds)}" if seconds < 0 else _clock(seconds)
    return str(value)


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


def column_letter(number: int) -> str:
    """`A` for 1, `XFD` for 16384."""
    # openpyxl is slow to load, and most lists never need a letter.
    from openpyxl.utils import get_column_letter

    return get_column_letter(number)
