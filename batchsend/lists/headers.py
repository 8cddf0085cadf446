"""Column headers: when two spellings mean one column, and what a column is called in a template. Pure functions."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_invisible = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_between_words = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")
_apostrophes = re.compile("['’‘ʼ`]")
_not_in_names = re.compile(r"[\W_]+")
#: What exports call our columns, as match keys.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "customer_uuid": (
        "customer uuid",
        "customer id",
        "customer guid",
        "customer key",
        "cust uuid",
        "cust id",
        "mykaarma id",
        "mykaarma customer uuid",
    ),
    "phone": (
        "phone",
        "phone number",
        "mobile",
        "mobile phone",
        "mobile number",
        "cell",
        "cell phone",
        "cell number",
        "cellphone",
        "customer phone",
        "text number",
    ),
    "department_uuid": ("department uuid", "department id", "dept uuid"),
    "user_uuid": ("user uuid", "user id"),
    "timezone": ("timezone", "time zone"),
}


def clean(header: str) -> str:
    """`header` as a person reads it: no BOM or zero-width characters, any white space one blank, none at the ends."""
    return " ".join(_invisible.sub("", unicodedata.normalize("NFC", header)).split())


def folded(value: str) -> str:
    """Equal for two values of a column that people take for one: letter case and space around do not count."""
    return unicodedata.normalize("NFC", clean(value).casefold())


def match_key(header: str) -> str:
    """Equal for two spellings of one header: case, spaces, underscores and hyphens do not count."""
    return _between_words.sub("", clean(header).casefold())


def variable_name(header: str) -> str:
    """The column's name in templates: `First Name` is `first_name`, `Customer's E-mail` is `customers_e_mail`.

    May be empty or begin with a digit; such a column is reached by `row["2nd Phone"]` only.
    """
    return _not_in_names.sub("_", _apostrophes.sub("", clean(header))).strip("_").lower()


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was most likely meant to be, compared as headers are; None if none is near."""
    by_key: dict[str, str] = {}
    for candidate in candidates:
        by_key.setdefault(match_key(candidate), candidate)
    close = difflib.get_close_matches(match_key(name), by_key, n=1)
    return by_key[close[0]] if close else None


class ColumnIndex:
    """Finds a list's columns by header or by template name. `headers` are the list's header texts as they stand."""

    def __init__(self, headers: Sequence[str]) -> None:
        self.headers = tuple(headers)
        self._by_header: dict[str, list[int]] = {}
        self._by_header_key: dict[str, list[int]] = {}
        self._by_variable: dict[str, list[int]] = {}
        self._by_variable_key: dict[str, list[int]] = {}
        for index, header in enumerate(self.headers):
            variable = variable_name(header)
            self._by_header.setdefault(clean(header), []).append(index)
            self._by_header_key.setdefault(match_key(header), []).append(index)
            self._by_variable.setdefault(variable, []).append(index)
            self._by_variable_key.setdefault(match_key(variable), []).append(index)

    def with_header(self, text: str) -> Sequence[int]:
        """Columns meant by `text`: those spelled exactly so, else those that match as headers do."""
        return self._by_header.get(clean(text)) or self._by_header_key.get(match_key(text)) or ()

    def with_variable(self, name: str) -> Sequence[int]:
        """Columns meant by a template's variable: those with this name, else those it matches as headers do."""
        return self._by_variable.get(name) or self._by_variable_key.get(match_key(name)) or ()
