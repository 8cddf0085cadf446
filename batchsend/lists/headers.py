"""Compares column headers and derives the names of columns in templates. Pure functions."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_invisible = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_between_words = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")
_apostrophes = re.compile("['’‘ʼ`]")
_not_in_names = re.compile(r"[\W_]+")
#: Our columns and the headers that exports use for them, in lower case.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "customer_uuid": (
        "customer uuid",
        "customer id",
        "customer guid",
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
        "customer phone",
        "text number",
    ),
    "department_uuid": ("department uuid", "department id", "dept uuid"),
    "user_uuid": ("user uuid", "user id"),
    "timezone": ("timezone",),
    "zip": (
        "zip",
        "zip code",
        "zip5",
        "postal code",
        "zip/postal code",
        "customer zip",
        "home zip",
        "mailing zip",
    ),
    "state": ("state", "st", "state/province", "province", "customer state", "home state", "mailing state"),
}

#: The same for columns that are used only if a person says so.
GUESSED: Mapping[str, tuple[str, ...]] = {
    "consent": (
        "ok to text",
        "okay to text",
        "text ok",
        "texting ok",
        "opt in",
        "opted in",
        "sms opt in",
        "text opt in",
        "sms consent",
        "text consent",
        "texting consent",
        "text permission",
        "permission to text",
        "can text",
        "allow text",
        "allow texts",
        "allow sms",
        "agreed to texts",
    ),
    "language": ("preferred language", "customer language", "lang"),
}


def clean(header: str) -> str:
    """Removes BOM and zero-width characters, turns runs of white space into one blank and strips the ends."""
    return " ".join(_invisible.sub("", unicodedata.normalize("NFC", header)).split())


def folded(value: str) -> str:
    """A key that is equal for values that differ only in letter case or surrounding space."""
    return unicodedata.normalize("NFC", clean(value).casefold())


def match_key(header: str) -> str:
    """A key that is equal for spellings of one header: it ignores case, spaces, underscores and hyphens."""
    return _between_words.sub("", clean(header).casefold())


def spellings(header: str) -> set[str]:
    """The usual spellings with the same `match_key`, in lower case: `first name`, `first_name`, `firstname` ..."""
    words = _between_words.split(clean(header).casefold())
    return {separator.join(words) for separator in ("", " ", "_", "-")}


def variable_name(header: str) -> str:
    """The column's name in templates: `First Name` is `first_name`, `Customer's E-mail` is `customers_e_mail`.

    May be empty or begin with a digit; templates then write `row["2nd Phone"]`.
    """
    return _not_in_names.sub("_", _apostrophes.sub("", clean(header))).strip("_").lower()


def in_quotes(headers: Iterable[str]) -> str:
    """`"Phone" and "Mobile"`."""
    return " and ".join(f'"{header}"' for header in headers)


def nearest(name: str, candidates: Iterable[str], alike: float = 0.6) -> str | None:
    """The candidate closest to `name`, compared by `match_key`; None if none is close. `alike`: from 0 to 1."""
    by_key: dict[str, str] = {}
    for candidate in candidates:
        by_key.setdefault(match_key(candidate), candidate)
    close = difflib.get_close_matches(match_key(name), by_key, n=1, cutoff=alike)
    return by_key[close[0]] if close else None


class ColumnIndex:
    """Finds a list's columns by header or template name. `headers` are the header texts, unchanged."""

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
        """Columns with the header `text`: exact matches, else matches by `match_key`."""
        return self._by_header.get(clean(text)) or self._by_header_key.get(match_key(text)) or ()

    def with_variable(self, name: str) -> Sequence[int]:
        """Columns with this template variable: exact matches, else matches by `match_key`."""
        return self._by_variable.get(name) or self._by_variable_key.get(match_key(name)) or ()
