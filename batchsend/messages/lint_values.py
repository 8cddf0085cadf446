"""Compares the prices and dates that a text says with those in its row. Pure functions.

Only amounts and dates that clearly are the price or the day in question count: no discounts, no ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain, product
from typing import NamedTuple

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

#: Columns with the price of the row's own visit or purchase, and what a text says of it.
_OWN_PRICE = re.compile(r"\b(?:amount|total|cost|payment|balance|estimate|quote|fee|importe)\b")
_own_price_said = re.compile(
    r"\b(?:amount|total|cost|balance|you owe|estimated?|quoted?|invoice|bill|payments?|payable|comes to|"
    r"importe|saldo|presupuesto|cotización|costo|factura|deuda|debe)\b"
)
_own_day_said = re.compile(
    r"\b(?:appointments?|appt|see(?:ing)? you|expect(?:ing)? you|book(?:ed|ing)|(?:re)?scheduled|reserved|"
    r"reservation|(?:is|are|all) set|set for|moved to|confirm(?:ed|ing)?|remind(?:er|ing)|your visit|pick(?:ed)? ?up|"
    r"deliver(?:y|ed)|due|ready|drop(?: it)? off|cita|espera(?:mos)?|reserva|programad[ao]|entrega|recoger)\b"
)
_offer_said = re.compile(
    r"\b(?:sale|event|clearance|clinic|party|open house|specials?|offers?|holiday|raffle|"
    r"no appointments?|walk-?ins?|evento|oferta|venta)\b"
)
#: Words of a header that do not tell what it is about.
_SAYS_NOTHING = frozenset({
    "date", "day", "time", "price", "cost", "due", "special", "in", "on", "at", "of", "the", "my", "your", "service",
    "customer", "vehicle", "car", "dealer", "fecha", "de", "precio",
})  # fmt: skip
#: Prices that differ by more than this factor are of different things.
_FAR = 3
_OF_OFFERS = frozenset({"offer", "coupon", "promo", "promotion", "deal", "oferta", "cupón"})
_sentence_end = re.compile(r"[.!?][)”\"]?\s|\n")


class _Said(NamedTuple):
    """A price or date of a text, and where. `ends`: whether something ends on the day; `None` if that is unclear."""

    words: str
    start: int
    ends: bool | None = False


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
        for one, header in product(said, columns):
            if _is_about(one, header, text) and not _is_of_another(one, header, columns[header]):
                yield f"The text says {one.words}, but the column “{header}” says something else."
                break


def _is_about(said: _Said, header: str, text: str) -> bool:
    """Whether a price or date is that of a column: a sale is not about the row's appointment."""
    column = header_words(header)
    before, after = _sentence_end.split(text[: said.start])[-1], _sentence_end.split(text[said.start :])[0]
    sentence = f"{before}{after}".casefold()
    names = set(column.split()) - _SAYS_NOTHING
    is_named = any(re.search(rf"\b{re.escape(name)}s?\b", sentence) for name in names)
    if _reader(header) is _read_price:
        return is_named or not _OWN_PRICE.search(column) or bool(_own_price_said.search(sentence))
    expires = bool(_EXPIRY.search(column))
    if said.ends is not None and said.ends != expires:
        return False
    if expires and all(name in _OF_OFFERS or _EXPIRY.search(name) for name in names):
        return True
    others = set(_offer_said.findall(sentence)) - set(column.split())
    return not others and (is_named or bool(_own_day_said.search(sentence)))


def _is_of_another(said: _Said, header: str, value: object) -> bool:
    """Whether a price is of another thing than a column such as "Price", which does not tell what it is the price of.

    The price of an oil change is far from that of a car. A missing or misplaced point does not make it another price.
    """
    price = _read_price(said.words)
    if price is None or not isinstance(value, Decimal) or set(header_words(header).split()) - _SAYS_NOTHING:
        return False
    digits = {re.sub(r"\D", "", f"{one:.2f}").strip("0") for one in (price, value)}
    return len(digits) > 1 and not value / _FAR <= price <= value * _FAR


@lru_cache(maxsize=256)
def _reader(header: str) -> Callable[[str], object] | None:
    plain = header_words(header)
    if _PRICE.search(plain) and not _NO_PRICE.search(plain):
        return _read_price
    return _read_day if _DATE.search(plain) and not _NO_DATE.search(plain) else None


def header_words(header: str) -> str:
    """A header in small letters, its words apart: `FirstName` is "first name"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    return re.sub(r"[\W_]+", " ", apart).strip().casefold()


def _prices(text: str) -> Iterator[_Said]:
    """The prices that a text says. Discounts and bounds are left out."""
    for match in _amount.finditer(text):
        before, after = text[max(0, match.start() - 30) : match.start()], text[match.end() : match.end() + 20]
        is_bound = _no_price_before.search(before) and not _only_at.search(before)
        if not is_bound and not _no_price_after.match(after):
            yield _Said(match[0], match.start())


def _days(text: str) -> Iterator[_Said]:
    """The dates that a text says."""
    for match in _date.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        if not _other_day_before.search(before):
            ends = None if _by.search(before) else bool(_expiry_before.search(before))
            yield _Said(match[0], match.start(), ends)


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
