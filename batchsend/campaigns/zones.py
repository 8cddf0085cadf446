"""Finds time zones by the names that people use."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.resources import files

from batchsend.lists.headers import nearest

# Names that are common in the US. By spelling alone, CST would be nearest to a zone in Europe.
_US_ZONES: Mapping[str, str] = {
    **dict.fromkeys(("eastern", "et", "edt", "eastern time", "eastern standard time"), "America/New_York"),
    **dict.fromkeys(
        ("central", "ct", "cst", "cdt", "central time", "central standard time"), "America/Chicago"
    ),
    **dict.fromkeys(("mountain", "mt", "mdt", "mountain time", "mountain standard time"), "America/Denver"),
    **dict.fromkeys(
        ("pacific", "pt", "pst", "pdt", "pacific time", "pacific standard time"), "America/Los_Angeles"
    ),
}


@functools.cache
def _zone_names() -> frozenset[str]:
    # The index of tzdata gives the same answer on every system, without a walk through 600 files.
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


def nearest_zone(name: str) -> str | None:
    """The IANA zone that `name` most likely means: by its US name, its spelling, or its city."""
    if zone := _US_ZONES.get(name.strip().casefold()):
        return zone
    if re.search(r"[+\d]", name):  # an offset matches no name better than another
        return None
    by_city = {zone.rpartition("/")[2]: zone for zone in sorted(_zone_names()) if "/" in zone}
    city = nearest(re.split(r"[/,]", name.strip())[-1].strip().replace(" ", "_"), by_city)
    return nearest(name.strip().replace(" ", "_"), _zone_names()) or (by_city[city] if city else None)


def known_zone(name: str) -> str | None:
    """The IANA zone with this name or this common US name, in any letter case; `None` for other names."""
    return _zones_by_folded_name().get(name.strip().casefold()) or _US_ZONES.get(name.strip().casefold())


@functools.cache
def _zones_by_folded_name() -> Mapping[str, str]:
    return {name.casefold(): name for name in _zone_names()}
