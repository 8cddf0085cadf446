"""Turns stored values into the text of cells, by the same rules for every format."""

from __future__ import annotations

import datetime as dt
import math
import re
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


def clean(text: str) -> str:
    """Strips white space, NBSP and zero-width characters from both ends; an NBSP inside becomes a space."""
    if text.isascii():
        return text.strip()
    return text.strip(_EDGES).replace("\u00a0", " ")


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
