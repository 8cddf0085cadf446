"""Finds time zones by the names that people use."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.resources import files

from batchsend.lists.headers import nearest

_US_ZONES: Mapping[str, str] = {
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


def _us_zone(name: str) -> str | None:
    """The IANA zone of `EST`, `Eastern Time`, `EST/EDT`, `(UTC-05:00) Eastern Time (US & Canada)`, else None."""
    parts = [" ".join(part.replace(".", "").split()) for part in _parts.split(name.casefold())]
    words = {_time_zone.sub("", part) for part in parts if not _says_nothing.fullmatch(part)}
    zones = {_ABBREVIATIONS.get(word, word.removeprefix("us ")) for word in words}
    return _US_ZONES.get(zones.pop()) if len(zones) == 1 else None


@functools.cache
def _zone_names() -> frozenset[str]:
    # The index of tzdata gives the same answer on every system, without a walk through 600 files.
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


def nearest_zone(name: str) -> str | None:
    """The IANA zone that `name` most likely means: by its US name, its spelling, or its city."""
    if zone := _us_zone(name):
        return zone
    if re.search(r"[+\d]", name):  # an offset matches no name better than another
        return None
    by_city = {zone.rpartition("/")[2]: zone for zone in sorted(_zone_names()) if "/" in zone}
    city = nearest(re.split(r"[/,]", name.strip())[-1].strip().replace(" ", "_"), by_city)
    return nearest(name.strip().replace(" ", "_"), _zone_names()) or (by_city[city] if city else None)


# A list has many rows, but few zones.
@functools.lru_cache(maxsize=4096)
def known_zone(name: str) -> str | None:
    """The IANA zone with this name or this common US name, in any letter case; `None` for other names.

    `EST`, `MST` and `HST` are the American zones with their daylight saving, although IANA has fixed zones of these
    names.
    """
    return _zones_by_folded_name().get(name.strip().casefold()) or _us_zone(name)


@functools.cache
def _zones_by_folded_name() -> Mapping[str, str]:
    return {name.casefold(): name for name in _zone_names() if name.casefold() not in _FIXED}
