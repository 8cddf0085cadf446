"""Days without texts, by name: `US`, `US-LA`, `CAN`, `CA-ON`, `Good Friday`, `2026-12-24`, `12-24`.

The library `holidays` knows the legal holidays of countries and states. It takes time to import, so it is loaded only
for campaigns that name such days.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache

from batchsend.campaigns.zones import state_code
from batchsend.lists.headers import nearest

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
#: A day of each year.
_YEARLY = re.compile(r"(\d\d)-(\d\d)")
_PLACE = re.compile(r"([A-Z]{2,3})(?:-([A-Z0-9]{1,3}))?")
_AMERICAN_DATE = re.compile(r"(\d\d?)/(\d\d?)(?:/(\d{4}))?", re.ASCII)
_XMAS = re.compile(r"\bx-?mas\b")
#: A year with a February 29.
_LEAP_YEAR = 2028
_NAMED = ("public", "government", "unofficial")


def is_day_off(names: Iterable[str], day: date) -> bool:
    """Whether one of these names means this day."""
    return any(day in days_off(name, day.year) for name in names)


@lru_cache(maxsize=1024)
def days_off(name: str, year: int) -> frozenset[date]:
    """The days of a year with this name, as `known_day` spells it.

    If a holiday falls on a weekend, the day on which it is observed counts too.
    """
    if _DATE.fullmatch(name):
        day = date.fromisoformat(name)
        return frozenset([day] if day.year == year else [])
    if yearly := _YEARLY.fullmatch(name):
        month, number = map(int, yearly.groups())
        return frozenset([date(year, month, number)] if _is_date(year, month, number) else [])
    if place := _PLACE.fullmatch(name):
        return _holidays(place[1], place[2], year)
    return _by_name(year).get(name.casefold(), frozenset())


def known_day(text: str) -> str | None:
    """This name in its usual spelling; `None` if it names no day."""
    name = " ".join(text.split())
    if _DATE.fullmatch(name):
        return name if _is_date(*map(int, name.split("-"))) else None
    if yearly := _YEARLY.fullmatch(name):
        return name if _is_date(_LEAP_YEAR, *map(int, yearly.groups())) else None
    if place := _PLACE.fullmatch(name.upper()):
        return name.upper() if _is_place(place[1], place[2]) else None
    return _spellings().get(name.casefold())


def nearest_day(text: str) -> str | None:
    """The name of days that `text` most likely means."""
    if code := state_code(text):
        return f"US-{code}"
    if american := _AMERICAN_DATE.fullmatch(text.strip()):
        month, day, year = american.groups()
        return known_day(f"{f'{year}-' if year else ''}{int(month):02}-{int(day):02}")
    name = _XMAS.sub("christmas", " ".join(text.casefold().split()))
    found = next((spelling for spelling in (name, f"{name} day") if spelling in _spellings()), None)
    found = found or nearest(name, _spellings())
    return _spellings()[found] if found else None


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _is_place(country: str, state: str | None) -> bool:
    from holidays import list_supported_countries

    if state is None and state_code(country):
        return False  # CA alone is California to one reader and Canada to another
    states = list_supported_countries().get(country)
    return states is not None and (state is None or state in states)


def _holidays(country: str, state: str | None, year: int) -> frozenset[date]:
    from holidays import country_holidays

    return frozenset(country_holidays(country, subdiv=state, years=year))


@lru_cache(maxsize=8)
def _by_name(year: int) -> Mapping[str, frozenset[date]]:
    """The holidays of the United States in this year by their names in small letters."""
    return {name.casefold(): frozenset(days) for name, days in _names(year).items()}


@lru_cache(maxsize=1)
def _spellings() -> Mapping[str, str]:
    return {name.casefold(): name for name in _names(_LEAP_YEAR)}


def _names(year: int) -> dict[str, set[date]]:
    """Names that the whole country knows mean its days; other names mean those of all states that know them."""
    from holidays import country_holidays

    places: list[dict[str, set[date]]] = []
    for state in (None, *country_holidays("US").subdivisions):
        names: dict[str, set[date]] = {}
        for day, known in country_holidays("US", subdiv=state, years=year, categories=_NAMED).items():
            for name in known.split("; "):
                names.setdefault(name.removesuffix(" (observed)"), set()).add(day)
        places.append(names)
    country, *states = places
    for name in {name for names in states for name in names if name not in country}:
        country[name] = set().union(*(names.get(name, ()) for names in states))
    return country
