"""Turns stored values into the text of cells, by the same rules for every format."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
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
