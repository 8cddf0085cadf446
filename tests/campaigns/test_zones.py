"""Time zones by the names that people use."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from batchsend.campaigns.zones import known_zone, zone_with_newest_rules

SUMMER, WINTER = datetime(2026, 7, 16, tzinfo=UTC), datetime(2026, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["{}", "{} time", "US {}", "{} Standard Time", "{} Daylight Time", "{} time zone"]
)
@pytest.mark.parametrize(
    ("word", "zone"),
    [
        ("Eastern", "America/New_York"),
        ("CENTRAL", "America/Chicago"),
        ("pacific", "America/Los_Angeles"),
        ("Alaska", "America/Anchorage"),
    ],
)
def test_full_names_of_american_zones(name: str, word: str, zone: str) -> None:
    assert known_zone(name.format(word)) == zone


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        *((name, "America/New_York") for name in ("EST", "edt", "ET", "E.S.T.", "EST/EDT", "Eastern (EST)")),
        *((name, "America/Denver") for name in ("MST", "mdt", "MT", "Mountain", "(GMT-07:00) Mountain Time")),
        *((name, "America/Chicago") for name in ("CST", "CDT", "CT")),
        *((name, "America/Los_Angeles") for name in ("PST", "PDT", "PT")),
        ("(UTC-05:00) Eastern Time (US & Canada)", "America/New_York"),
        ("AKDT", "America/Anchorage"),
        ("HST", "Pacific/Honolulu"),
        ("Arizona", "America/Phoenix"),
        ("US Mountain Standard Time", "America/Phoenix"),  # so Windows calls it
        # IANA's own names stay.
        ("US/Eastern", "US/Eastern"),
        ("est5edt", "EST5EDT"),
        ("america/denver", "America/Denver"),
        # Neither of two zones, nor one of another country.
        *((name, None) for name in ("EST/CST", "Central European Time", "Central Time - Mexico", "-5", "")),
    ],
)
def test_american_names(name: str, zone: str | None) -> None:
    assert known_zone(name) == zone


@pytest.mark.parametrize(
    "name", ["EST", "MST", "CST", "PST", "EST5EDT", "MST7MDT", "US/Eastern", "Eastern Standard Time"]
)
def test_american_zones_have_daylight_saving(name: str) -> None:
    zone = ZoneInfo(known_zone(name) or "")
    assert SUMMER.astimezone(zone).utcoffset() != WINTER.astimezone(zone).utcoffset()


@pytest.mark.parametrize(("version", "offset"), [("2000a", -4), ("9999a", -10)])
def test_the_newer_of_the_systems_rules_and_the_packages_count(
    tmp_path: Path, version: str, offset: int, request: pytest.FixtureRequest
) -> None:
    # The system says that New York has Hawaii's time.
    (tmp_path / "America").mkdir()
    honolulu = (files("tzdata") / "zoneinfo/Pacific/Honolulu").read_bytes()
    (tmp_path / "America/New_York").write_bytes(honolulu)
    (tmp_path / "tzdata.zi").write_text(f"# version {version}\n", encoding="utf-8")
    request.addfinalizer(_forget_zones)
    request.addfinalizer(zoneinfo.reset_tzpath)
    zoneinfo.reset_tzpath([str(tmp_path)])
    _forget_zones()
    zone = zone_with_newest_rules("America/New_York")
    assert SUMMER.astimezone(zone).utcoffset() == timedelta(hours=offset)


def _forget_zones() -> None:
    zone_with_newest_rules.cache_clear()
    ZoneInfo.clear_cache()
