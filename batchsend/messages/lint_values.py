"""Compares the prices and dates that a text says with those in its row. Pure functions.

Only amounts and dates that clearly are the price or the day in question count: no discounts, no ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain

from batchsend.errors import FilterProblem
from batchsend.messages.dates import read_date

MonthAndDay = tuple[int, int]

_PRICE = re.compile(
    r"\b(?:price|special|amount|total|cost|payment|balance|estimate|quote|fee|precio|importe)\b"
)
_NO_PRICE = re.compile(
    r"\b(?:last|lifetime|previous|prior|spent|paid|book|trade|msrp|invoice|average|avg|ytd|list|wholesale|value|type|code|date|id|"
    r"term|points|method|status|name)\b"
)
_DATE = re.compile(
    r"\b(?:date|appointment|appt|expires?|expiration|ends|deadline|event|due|pickup|until|fecha|cita|vence)\b"
)
_NO_DATE = re.compile(
    r"\b(?:birth|born|dob|last|previous|prior|sold|sale|sales|purchase|bought|created|updated|modified|added|sent|first|"
    r"import|opt|consent|visit|open|opened|closed?|ro|order|lease|contract|report|export|type|name|id|amount|time|miles|mileage)\b"
)
_EXPIRY = re.compile(r"\b(?:expires?|expiration|ends|deadline|until|vence)\b")
_amount = re.compile(r"\$ ?(\d[\d,]*(?:\.\d\d)?)(?![\d.]*\d)")
_no_price_before = re.compile(
    r"\b(?:sav(?:e|ing)s?|up to|over|under|from|at|as low as|ahorr[ea]|desde|hasta|worth|extra|earn|receive|get|"
    r"plus|bonus|than|between|additional|gane|reciba|"
    r"(?:ahorro|bono|crédito|descuento|regalo) de) (?:an? |an extra |another |additional )?$",
    re.IGNORECASE,
)
_only_at = re.compile(r"(?<!starting )(?<!start )(?<!starts )(?<!beginning )(?<!begin )at $", re.IGNORECASE)
_no_price_after = re.compile(
    r" ?(?:off|discount|rebate|credit|coupon|gift|voucher|bonus|toward|more|cash|in |back|savings|per |/|a month|"
    r"down|or (?:more|less)|de (?:descuento|ahorro|crédito|regalo)|menos|visa|amazon|gas card|card|[-–] ?\$|to \$|"
    r"deductible|deposit|value|trade|referral|prepaid|reward|minimum|k\b)",
    re.IGNORECASE,
)
_MONTHS: Sequence[Sequence[str]] = (
    ("january", "jan", "enero"), ("february", "feb", "febrero"), ("march", "mar", "marzo"), ("april", "apr", "abril"),
    ("may", "mayo"), ("june", "jun", "junio"), ("july", "jul", "julio"), ("august", "aug", "agosto"),
    ("september", "sept", "sep", "septiembre"), ("october", "oct", "octubre"), ("november", "nov", "noviembre"),
    ("december", "dec", "diciembre"),
)  # fmt: skip
_MONTH_OF = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names}
_month = "|".join(sorted(_MONTH_OF, key=len, reverse=True))
_RANGE = r"(?! ?[-–] ?\d)(?! (?:to|through|thru|and|&|al?|y) (?:the )?\d)"
_date = re.compile(
    rf"\b(?:(?P<m1>{_month})\.? (?P<d1>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:,]\d)\b{_RANGE}"
    rf"|(?<![-–] )(?<!\d to )(?<!\d-)\b(?P<d2>\d{{1,2}})(?: de)? (?P<m2>{_month})\b"
    rf"|(?P<m3>\d{{1,2}})/(?P<d3>\d{{1,2}})/\d{{2,4}}\b{_RANGE}"
    rf"|(?<=\bon )(?P<m4>\d{{1,2}})/(?P<d4>\d{{1,2}})\b{_RANGE})",
    re.IGNORECASE,
)
_expiry_before = re.compile(
    r"\b(?:ends?|ending|expires?|expiring|through|thru|until|till|hasta(?: el)?|vence(?: el)?|"
    r"good|valid|closes?)"
    r"(?: on| by| the| through| el)?(?: \w+day,?)? $",
    re.IGNORECASE,
)
_by = re.compile(r"\b(?:by|before|antes del)(?: the)?(?: \w+day,?)? $", re.IGNORECASE)
_other_day_before = re.compile(
    r"\b(?:after|since|from|dated|starts?|starting|begins?|between|back|was|were|of|desde|born|purchased|visit(?:ed)?|"
    r"closed)"
    r"(?: on| el)?(?: \w+day,?)? $",
    re.IGNORECASE,
)


def compared_columns(headers: Sequence[str]) -> list[int]:
    """The positions of columns with a price or a date that a text may be about."""
    return [position for position, header in enumerate(headers) if _reader(header) is not None]


def has_values(text: str) -> bool:
    """Whether a text has a price or a date that is compared."""
    return any(chain(_prices(text), _days(text)))


def differing(text: str, cells: Mapping[str, str]) -> Iterator[str]:
    """A sentence if the text says a price, and one if it says a date, that none of these columns of its row has."""
    for find, kind in ((_prices, _read_price), (_days, _read_day)):
        said = list(find(text))
        columns = {
            header: read for header, cell in cells.items() if _reader(header) is kind and (read := kind(cell))
        }
        if not said or not columns or _all_in(text, kind) & set(columns.values()):
            continue
        words, ends = said[0]
        fitting = [
            header
            for header in columns
            if kind is _read_price or ends in (None, bool(_EXPIRY.search(_plain(header))))
        ]
        if fitting:
            yield f"The text says {words}, but the column “{fitting[0]}” says something else."


@lru_cache(maxsize=256)
def _reader(header: str) -> Callable[[str], object] | None:
    plain = _plain(header)
    if _PRICE.search(plain) and not _NO_PRICE.search(plain):
        return _read_price
    return _read_day if _DATE.search(plain) and not _NO_DATE.search(plain) else None


def _plain(header: str) -> str:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    return re.sub(r"[\W_]+", " ", apart).strip().casefold()


def _prices(text: str) -> Iterator[tuple[str, bool]]:
    """The prices that a text says: the words. Discounts and bounds are left out."""
    for match in _amount.finditer(text):
        before, after = text[max(0, match.start() - 30) : match.start()], text[match.end() : match.end() + 20]
        is_bound = _no_price_before.search(before) and not _only_at.search(before)
        if not is_bound and not _no_price_after.match(after):
            yield match[0], False


def _days(text: str) -> Iterator[tuple[str, bool | None]]:
    """The dates that a text says: the words, and whether something ends then; `None` if that is not clear."""
    for match in _date.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        if not _other_day_before.search(before):
            yield match[0], None if _by.search(before) else bool(_expiry_before.search(before))


def _all_in(text: str, kind: Callable[[str], object]) -> set[object]:
    """All amounts or dates of a text, whatever they are about."""
    if kind is _read_price:
        return {_read_price(match[0]) for match in _amount.finditer(text)}
    return {_month_and_day(match) for match in _date.finditer(text)}


def _month_and_day(match: re.Match[str]) -> MonthAndDay:
    found = {name[0]: value.lower() for name, value in match.groupdict().items() if value}
    return _MONTH_OF.get(found["m"]) or int(found["m"]), int(found["d"])


@lru_cache(maxsize=1024)
def _read_price(cell: str) -> Decimal | None:
    try:
        return Decimal(cell.strip().removeprefix("$").replace(",", "").strip())
    except InvalidOperation:
        return None


@lru_cache(maxsize=1024)
def _read_day(cell: str) -> MonthAndDay | None:
    try:
        day, _ = read_date(cell, "mdy")
    except FilterProblem:
        return None
    return day.month, day.day
