"""Finds time zones: by the names that people use, and by area code, ZIP code or state; and the states of places.

Several zones or states are all those that a place may be in. `places.toml` has them, with their sources.
"""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
import zoneinfo
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from zoneinfo import ZoneInfo

from batchsend.lists.headers import nearest

#: The everyday names of American zones.
US_ZONES: Mapping[str, str] = {
    "eastern": "America/New_York",
    "central": "America/Chicago",
    "mountain": "America/Denver",
    "pacific": "America/Los_Angeles",
    "alaska": "America/Anchorage",
    "hawaii": "Pacific/Honolulu",
    "arizona": "America/Phoenix",
}
_ABBREVIATIONS: Mapping[str, str] = {
    **{
        f"{zone[0]}{kind}t": zone
        for zone in ("eastern", "central", "mountain", "pacific")
        for kind in ("", "s", "d")
    },
    **dict.fromkeys(("akt", "akst", "akdt", "alaskan"), "alaska"),
    **dict.fromkeys(("hst", "hdt", "hast", "hadt", "hawaiian"), "hawaii"),
    "us mountain": "arizona",  # Windows' name for it
}
_time_zone = re.compile(r"(?: (?:standard|daylight|prevailing))?(?: time)?(?: zone)?$")
_parts = re.compile(r"[()/\u2013-]")
_says_nothing = re.compile(r"(?:utc|gmt)?[+\d:]*|usa?(?: & canada)?")
#: IANA zones without daylight saving that have the names of American zones with it.
_FIXED = frozenset({"est", "mst", "hst"})
#: IANA zones that are no place's clock. Programs write them where they know no zone.
_NO_PLACE = re.compile(r"etc/.*|gmt[+-]?0?|utc|uct|zulu|universal|greenwich|factory", re.IGNORECASE)
#: Days with winter and summer time, by the rules since British Columbia's change of 2026.
_WINTER, _SUMMER = datetime(2027, 1, 15, tzinfo=UTC), datetime(2027, 7, 15, tzinfo=UTC)


def _us_zone(name: str) -> str | None:
    """The IANA zone of `EST`, `Eastern Time`, `EST/EDT`, `(UTC-05:00) Eastern Time (US & Canada)`, else None."""
    parts = [" ".join(part.replace(".", "").split()) for part in _parts.split(name.casefold())]
    words = {_time_zone.sub("", part) for part in parts if not _says_nothing.fullmatch(part)}
    zones = {_ABBREVIATIONS.get(word, word.removeprefix("us ")) for word in words}
    return US_ZONES.get(zones.pop()) if len(zones) == 1 else None


@functools.cache
def zone_names() -> frozenset[str]:
    """The names of all IANA zones."""
    # The index of tzdata gives the same answer on every system, without a walk through 600 files.
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


def nearest_zone(name: str) -> str | None:
    """The IANA zone that `name` most likely means: by its US name, its spelling, or its city."""
    if zone := _us_zone(name):
        return zone
    if re.search(r"[+\d]", name):  # an offset matches no name better than another
        return None
    by_city = {zone.rpartition("/")[2]: zone for zone in sorted(zone_names()) if "/" in zone}
    city = nearest(re.split(r"[/,]", name.strip())[-1].strip().replace(" ", "_"), by_city)
    return nearest(name.strip().replace(" ", "_"), zone_names()) or (by_city[city] if city else None)


# A list has many rows, but few zones.
@functools.lru_cache(maxsize=4096)
def known_zone(name: str) -> str | None:
    """The IANA zone with this name or this common US name, in any letter case; `None` for other names.

    `EST`, `MST` and `HST` are the American zones with their daylight saving, although IANA has fixed zones of these
    names.
    """
    return _zones_by_folded_name().get(name.strip().casefold()) or _us_zone(name)


def zones_of_name(name: str, place: Iterable[str]) -> frozenset[str]:
    """The zones that a list's word for a time zone can mean; none if it is unknown or no place's clock.

    `place`: the zones in which the person may be otherwise. Arizona has no daylight saving and calls its time `MST`,
    too: if the person may be there, an everyday name means both zones.
    """
    zone = known_zone(name)
    if zone is None or _NO_PLACE.fullmatch(zone):
        return frozenset()
    is_everyday_name = name.strip().casefold() not in _zones_by_folded_name()
    also = [other for other in place if is_everyday_name and _share_half_a_year(zone, other)]
    return frozenset([zone, *also])


@functools.lru_cache(maxsize=1024)
def _share_half_a_year(zone: str, other: str) -> bool:
    """Whether these zones have the same time in winter or in summer, but not both."""
    first, second = zone_with_newest_rules(zone), zone_with_newest_rules(other)
    same = [first.utcoffset(day) == second.utcoffset(day) for day in (_WINTER, _SUMMER)]
    return any(same) and not all(same)


@functools.lru_cache(maxsize=1024)
def zone_with_newest_rules(name: str) -> ZoneInfo:
    """The IANA zone by the system's rules or by those of the tzdata package, whichever are newer.

    Zones change with a few weeks' notice, as British Columbia's did in 2026. Many servers keep old rules for years.
    """
    package = files("tzdata") / "zoneinfo"
    system = max((_version_of(Path(folder)) for folder in zoneinfo.TZPATH), default="")
    if system >= _version_of(package):
        return ZoneInfo(name)
    with (package / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _version_of(rules: Traversable) -> str:
    """`2026f`; '' if it is unknown."""
    source = rules / "tzdata.zi"
    if not source.is_file():
        return ""
    with source.open(encoding="utf-8") as file:
        return file.readline().rpartition(" ")[2].strip()


@functools.cache
def _zones_by_folded_name() -> Mapping[str, str]:
    return {name.casefold(): name for name in zone_names() if name.casefold() not in _FIXED}


Zones = frozenset[str]
#: The two letters of states, territories and Canadian provinces.
States = frozenset[str]
_NOWHERE: frozenset[str] = frozenset()
#: How alike a word must be to a state's name to be taken for a misspelling: `Calif` is, `Nowhere` is not.
_ALIKE = 0.65

_zip_code = re.compile(r"(?P<digits>\d{3,5})(?:\.0+|-?|[ -]?\d{4})")
#: Codes that people write when they do not know the right one. Hardly anyone lives there.
_made_up_code = re.compile(r"(\d)\1{4}|12345|A1A ?1A1")
_canadian_code = re.compile(r"(?P<letter>[A-Z])\d[A-Z] ?-?(?:\d[A-Z]\d)?")
_country = re.compile(r"^(?:us|usa|ca|can)-")


def zones_of_area_code(code: str) -> Zones:
    """The zones of a North American area code; none if it is unknown or belongs to no place."""
    return _places_by("area_codes").get(code, _NOWHERE)


def states_of_area_code(code: str) -> States:
    """The states that a North American area code may belong to; none if it is unknown or belongs to no state."""
    return _places_by("area_code_states").get(code, _NOWHERE)


def zones_of_zip(text: str) -> Zones:
    """The zones of a ZIP code or a Canadian postal code; none if it is neither, or made up as 99999 is.

    Spreadsheets turn ZIP codes into numbers: `2139` and `2139.0` are 02139.
    """
    return _of_code(text, "zip_codes", "postal_codes")


def states_of_zip(text: str) -> States:
    """The states that a ZIP code or a Canadian postal code may belong to. It is read as `zones_of_zip` reads it."""
    return _of_code(text, "zip_code_states", "postal_code_states")


@functools.lru_cache(maxsize=65_536)
def _of_code(text: str, zip_codes: str, postal_codes: str) -> frozenset[str]:
    """What these tables say about a code."""
    spelling = text.strip().upper()
    if _made_up_code.fullmatch(spelling):
        return _NOWHERE
    if match := _canadian_code.fullmatch(spelling):
        return _places_by(postal_codes).get(match["letter"], _NOWHERE)
    if match := _zip_code.fullmatch(spelling):
        digits = match["digits"].zfill(5)
        return _places_by(zip_codes).get(digits) or _places_by(zip_codes).get(digits[:3], _NOWHERE)
    return _NOWHERE


@functools.lru_cache(maxsize=4096)
def zones_of_state(text: str) -> Zones:
    """The zones of a US state or territory or a Canadian province, by its name or its two letters; else none."""
    code = state_code(text)
    return _places_by("states").get(code, _NOWHERE) if code else _NOWHERE


@functools.lru_cache(maxsize=4096)
def state_code(text: str) -> str | None:
    """The two letters of a US state or territory or a Canadian province, by its name or its letters; else `None`."""
    return _states_by_name().get(_country.sub("", _plain(text)))


def state_name(code: str) -> str:
    """The usual name of a state, such as Florida for FL."""
    return _places()["state_names"][code].partition(",")[0]


def state_names() -> Mapping[str, str]:
    """The two letters of each state and province -> its usual name."""
    return {code: state_name(code) for code in _places()["state_names"]}


def nearest_state(text: str) -> str | None:
    """The two letters of the state that `text` most likely means."""
    found = nearest(_plain(text), _states_by_name(), alike=_ALIKE)
    return _states_by_name()[found] if found else None


@functools.lru_cache(maxsize=65_536)
def zones_of_address(zip_code: str, state: str) -> Zones:
    """The zones of an address: those of its ZIP code, else of its state; of both if these contradict each other."""
    by_zip, by_state = zones_of_zip(zip_code), zones_of_state(state)
    agree = not by_zip or not by_state or by_zip <= by_state
    return (by_zip or by_state) if agree else by_zip | by_state


@functools.lru_cache(maxsize=65_536)
def states_of_place(zip_code: str, state: str, area_code: str) -> States:
    """The states that a recipient may be in: those of the ZIP code, of the state and of the phone's area code.

    All of them count, because several states take the area code of a phone for its owner's state.
    """
    code = state_code(state)
    named = frozenset([code]) if code else _NOWHERE
    return named | states_of_zip(zip_code) | states_of_area_code(area_code)


@functools.cache
def _places() -> Mapping[str, Mapping[str, str]]:
    source = files("batchsend.campaigns") / "places.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


@functools.cache
def _places_by(table: str) -> Mapping[str, frozenset[str]]:
    """The zones or the states of each place in a table."""
    return {
        place: frozenset(names.split("|"))
        for names, places in _places()[table].items()
        for place in _listed(places)
    }


def _listed(places: str) -> Iterable[str]:
    """`005 010-012`: 005, 010, 011, 012."""
    for entry in places.split():
        first, _, last = entry.partition("-")
        if last:
            yield from (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))
        else:
            yield first


@functools.cache
def _states_by_name() -> Mapping[str, str]:
    return {
        _plain(name): code
        for code, names in _places()["state_names"].items()
        for name in (code, *names.split(","))
    }


def _plain(name: str) -> str:
    """`Québec`, `D.C.` and `Washington, DC` without accents, periods, commas and capitals."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(char for char in decomposed if char.isalnum() or char in " -").split())
