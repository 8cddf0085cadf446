"""The filters that templates have in addition to Jinja's: `name_case`, `phone`, `date`, `money`.

Pure functions from text to text. A value that cannot be read is a `FilterProblem`, never a guess: a wrong date in a
text is worse than a row that needs attention. The caches help because values repeat within a list.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache

from babel import Locale
from babel.numbers import (
    NumberFormatError,
    format_currency,
    get_currency_symbol,
    get_group_symbol,
    list_currencies,
    parse_decimal,
)

from batchsend.errors import FilterProblem
from batchsend.messages.dates import date, locale_of
from batchsend.messages.name_case import name_case
from batchsend.messages.phones import PhoneProblem, display_phone, to_e164

__all__ = ["date", "money", "name_case", "phone"]


def phone(text: str, region: str = "US") -> str:
    """`3125550142` -> `(312) 555-0142`; text that is not a valid number is returned unchanged."""
    try:
        return display_phone(to_e164(text, region))
    except PhoneProblem:
        return text


@lru_cache(maxsize=8192)
def money(text: str, currency: str = "USD", locale: str = "en_US") -> str:
    """`1234.5` or `$1,234.50` -> `$1,234.50`. `currency` is an ISO 4217 code.

    Plain numbers have a decimal point, as in spreadsheets. Numbers with separators are read as `locale` writes them.
    Half a cent is rounded up, as spreadsheets do.
    """
    read_locale = locale_of(locale)
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
