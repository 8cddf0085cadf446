"""Keys, which identify a message: the values of a row's key columns, independent of their spelling.

A list that a spreadsheet saved again, or that comes in another format, spells its values differently. A key that
followed the spelling would be new, and its customer would be texted twice. `canonical_value` therefore gives one text
for all spellings of a value. It looks at the value alone, never at other rows, so every list gives the same key.

Two mistakes are possible. If one value gets two keys, a customer is texted twice, which cannot be undone. If two
values share a key, the second row is skipped, which the preview and the results show. So spellings are one value if a
spreadsheet may have changed one into the other, and different values otherwise:

- `1.10` and `1.1` are one number, because a workbook stores the number and a CSV file shows its format.
- `2026-03-05 09:30:27` and `3/5/2026 9:30` are one time, because Excel saves it without seconds.
- `007` and `7` are one value if the customer's id is in the key too, because Excel drops the zeros of a text file.
  No other customer can be lost. Without the customer's id, they may be two customers, so they differ.
- `1E5` is a code. Numbers in scientific notation never get here (`lists.damage`).
- `45.000` is not 45: outside the USA it can be 45 thousand.
- `46086`, a date as an Excel serial number, stays a number. `5-Mar`, a date without a year, stays text.

The customer's id is opaque and case-sensitive, so its text is the value.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from batchsend.errors import FilterProblem
from batchsend.messages.dates import read_date
from batchsend.messages.phones import PhoneProblem, to_e164

if TYPE_CHECKING:
    import pandas as pd

_as_json_string = json.encoder.encode_basestring
#: The USA and its territories write `3/5/2026` for March 5.
_MONTH_FIRST = frozenset({"US", "AS", "GU", "MP", "PR", "VI"})
_date_like = re.compile(r"[0-9]{1,4}[-/. ]|[A-Za-z]{3,9}[., ]")
_time_like = re.compile(r"[0-9]{1,2}:")
_THREE_DECIMALS = re.compile(r"[0-9]{1,3}\.[0-9]{3}")
_number = re.compile(
    r"(?P<sign>-?)[$£€]? ?(?P<whole>0|[1-9][0-9]{0,2}(?:[, ][0-9]{3})+|[1-9][0-9]*)"
    # After a comma, three digits are thousands, and one or two are decimals.
    r"(?:[.](?P<decimals>[0-9]+)|,(?P<others>[0-9]{1,2}))?(?: ?[$£€])?(?P<percent> ?%)?"
)
_zeros_first = re.compile("0[0-9]+")
#: Longer numbers are ids; `Decimal` would round them.
_MOST_DIGITS = 25
_phone_like = re.compile("[+(]?[0-9][0-9 ().\u2010-\u2015\u2212-]{6,}")


def keys_of(columns: pd.DataFrame, region: str, customer: int | None) -> pd.Series[str]:
    """The key of each row. `columns`: the text of the key columns only; the rest as for `key_of`."""
    import pandas as pd

    if columns.shape[1] == 1 and customer == 0:
        return columns.iloc[:, 0]
    keys = [key_of(values, region, customer) for values in columns.to_numpy().tolist()]
    return pd.Series(keys, columns.index, dtype=object)


def key_of(values: Sequence[str], region: str, customer: int | None) -> str:
    """The key of one row: the customer's id, or a JSON list if the key has other columns.

    `values`: the text of the key columns; `customer`: the position of the customer's id among them, if it is one of
    them. `region` (ISO 3166) decides the order of day and month and the country of phones without a country code.
    """
    if len(values) == 1 and customer == 0:
        return values[0]
    canonical = [
        value if position == customer else canonical_value(value, region, keeps_zeros=customer is None)
        for position, value in enumerate(values)
    ]
    return f"[{', '.join(map(_as_json_string, canonical))}]"


@lru_cache(maxsize=100_000)
def canonical_value(text: str, region: str, *, keeps_zeros: bool) -> str:
    """One text for all spellings of a value.

    A date becomes `2026-03-05`, with a time `2026-03-05 09:30`; a time `09:30`; a phone E.164; a number plain digits.
    In other text, letter case and the kind and number of spaces do not count. `keeps_zeros`: `007` is not `7`.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    value = _canonical_date(text, region) or _canonical_time(text) or _canonical_number(text, region)
    if value is None and not keeps_zeros and _zeros_first.fullmatch(text):
        return canonical_value(text.lstrip("0") or "0", region, keeps_zeros=True)
    return value or text.casefold()


def _canonical_date(text: str, region: str) -> str | None:
    # Most values are no dates, and a refusal costs more than a look.
    if not _date_like.match(text):
        return None
    order = "mdy" if region in _MONTH_FIRST else "dmy"
    # `13/5/2026` has only one reading, so it is tried without an order first.
    moment = _read(text, None) or _read(text, order)
    if moment is None:
        return None
    return moment.isoformat(" ", "minutes").removesuffix(" 00:00")


def _canonical_time(text: str) -> str | None:
    moment = _read(f"2000-01-01 {text}", None) if _time_like.match(text) else None
    return f"{moment:%H:%M}" if moment is not None else None


def _read(text: str, order: str | None) -> datetime | None:
    try:
        return read_date(text, order)[0]
    except FilterProblem:
        return None


def _canonical_number(text: str, region: str) -> str | None:
    match = _number.fullmatch(text) if len(text) <= _MOST_DIGITS else None
    if match is None or _THREE_DECIMALS.fullmatch(text):
        return _canonical_phone(text, region)
    whole = re.sub("[, ]", "", match["whole"])
    value = Decimal(f"{match['sign']}{whole}.{match['decimals'] or match['others'] or 0}")
    if match["percent"]:
        value /= 100
    number = format(value.normalize(), "f") if value else "0"
    return (_canonical_phone(number, region) if number.isdigit() else None) or number


def _canonical_phone(text: str, region: str) -> str | None:
    if not _phone_like.fullmatch(text):
        return None
    try:
        return to_e164(text, region)
    except PhoneProblem:
        return None
