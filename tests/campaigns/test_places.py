"""The zones of area codes, ZIP codes and states."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest
from phonenumbers.tzdata import TIMEZONE_DATA

from batchsend.campaigns.quiet_hours import clock_of
from batchsend.campaigns.zones import (
    known_zone,
    states_of_area_code,
    states_of_place,
    states_of_zip,
    zones_of_address,
    zones_of_area_code,
    zones_of_state,
    zones_of_zip,
)
from batchsend.messages.phones import zones_of

EASTERN, CENTRAL, MOUNTAIN, PACIFIC = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
)
ARIZONA = "America/Phoenix"
BRITISH_COLUMBIA = {
    "America/Vancouver",
    "America/Edmonton",
    "America/Creston",
    "America/Dawson_Creek",
    "America/Fort_Nelson",
}
SASKATCHEWAN = {"America/Regina", "America/Edmonton", "America/Winnipeg"}
QUEBEC_CITY = {"America/Toronto", "America/Halifax", "America/Blanc-Sablon"}


@pytest.mark.parametrize(
    ("codes", "zones"),
    [
        ("850 448", {EASTERN, CENTRAL}),  # Florida's panhandle
        ("219 574 812 930", {EASTERN, CENTRAL}),  # Indiana
        ("270 364 606", {EASTERN, CENTRAL}),  # Kentucky; in 606 it is Clinton County
        ("423 729", {EASTERN, CENTRAL}),  # Tennessee
        ("906", {EASTERN, CENTRAL}),  # Michigan's border with Wisconsin
        ("334 483", {EASTERN, CENTRAL}),  # Phenix City in Alabama keeps the time of Columbus, Georgia
        ("620 785", {CENTRAL, MOUNTAIN}),  # Kansas
        ("308 402 531", {CENTRAL, MOUNTAIN}),  # Nebraska
        ("701", {CENTRAL, MOUNTAIN}),  # North Dakota
        ("605", {CENTRAL, MOUNTAIN}),  # South Dakota
        ("432 915", {CENTRAL, MOUNTAIN}),  # Texas
        ("208 986", {MOUNTAIN, PACIFIC}),  # Idaho
        ("541 458", {MOUNTAIN, PACIFIC}),  # Malheur County in Oregon
        ("775", {MOUNTAIN, PACIFIC}),  # West Wendover in Nevada
        ("928", {MOUNTAIN, ARIZONA}),  # the Navajo Nation has daylight saving
        ("907", {"America/Anchorage", "America/Adak"}),
        ("250 236 778 672 257", BRITISH_COLUMBIA),
        ("306 639 474", SASKATCHEWAN),
        ("807", {"America/Toronto", "America/Winnipeg", "America/Atikokan"}),
        ("418 581 367", QUEBEC_CITY),  # the Lower North Shore and the Magdalen Islands
        ("709 879", {"America/St_Johns", "America/Goose_Bay"}),
        (
            "867",
            {
                "America/Whitehorse",
                "America/Edmonton",
                "America/Rankin_Inlet",
                "America/Iqaluit",
                "America/Coral_Harbour",
            },
        ),
        # One zone, although their states or provinces have two.
        ("931", {CENTRAL}),
        ("604", {"America/Vancouver"}),
        ("819 873 468", {"America/Toronto"}),
        ("480 520 602 623", {ARIZONA}),
        ("712", {CENTRAL}),
        # Areas in which libphonenumber knows no zone of a part of the numbers.
        ("268", {"America/Antigua"}),
        ("649", {"America/Grand_Turk"}),
        ("684", {"Pacific/Pago_Pago"}),
    ],
)
def test_an_area_code_has_the_zones_of_its_whole_area(codes: str, zones: set[str]) -> None:
    assert {code: zones_of_area_code(code) for code in codes.split()} == dict.fromkeys(codes.split(), zones)


@pytest.mark.parametrize(
    "overlays",
    [
        "270 364",
        "812 930",
        "208 986",
        "402 531",
        "541 458",
        "850 448",
        "334 483",
        "423 729",
        "306 639 474",
        "709 879",
        "418 581 367",
        "819 873 468",
        "250 236 778 672 257",
        "403 587 825 368",
        "314 557",
        "816 975",
        "561 728",
        "760 442",
        "706 762",
        "217 447",
    ],
)
def test_overlays_have_the_same_zones(overlays: str) -> None:
    assert len({zones_of_area_code(code) for code in overlays.split()}) == 1


def _zones_by_libphonenumber(area_code: str) -> set[str]:
    """All zones that libphonenumber has for an area code and its exchanges."""
    zones = (zones for prefix, zones in TIMEZONE_DATA.items() if prefix.startswith(f"1{area_code}"))
    return {zone for some in zones for zone in some}


#: Area codes where libphonenumber lacks a zone, or has one of the same time with another name.
LIBPHONENUMBER_DIFFERS = {
    "United States": "208 334 364 402 432 448 458 531 605 701 775 907 915 930 986",
    "Canada": "236 250 257 306 367 418 474 581 639 672 709 778 807 867 879",
}


def test_the_other_area_codes_have_the_zones_that_libphonenumber_knows() -> None:
    codes = {prefix[1:4] for prefix in TIMEZONE_DATA if prefix.startswith("1") and len(prefix) >= 4}
    assert len(codes) > 400
    differ = {code for code in codes if zones_of_area_code(code) != _zones_by_libphonenumber(code)}
    assert differ - {code for some in LIBPHONENUMBER_DIFFERS.values() for code in some.split()} == set()


def test_every_listed_zone_exists() -> None:
    source = (files("batchsend.campaigns") / "places.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(source)
    tables = {name: tables[name] for name in ("area_codes", "zip_codes", "postal_codes", "states")}
    clocks = {clock for table in tables.values() for clock in table}
    assert all(known_zone(zone) == zone for clock in clocks for zone in clock.split("|"))
    assert {clock for clock in clocks if clock_of(clock.split("|")) != clock} == set()


def test_every_place_is_listed_once() -> None:
    tables = tomllib.loads((files("batchsend.campaigns") / "places.toml").read_text(encoding="utf-8"))
    for table in ("area_codes", "postal_codes", "states"):
        places = [place for places in tables[table].values() for place in places.split()]
        assert len(places) == len(set(places))
    assert {place for places in tables["states"].values() for place in places.split()} == set(
        tables["state_names"]
    )


@pytest.mark.parametrize("phone", ["+18005550142", "+18335550142", "+15005550123", "+19005550123"])
def test_a_number_of_no_place_has_no_zone(phone: str) -> None:
    assert zones_of(phone) == ()


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        ("60601", {CENTRAL}),
        ("10001-1234", {EASTERN}),
        ("100011234", {EASTERN}),
        ("10001-", {EASTERN}),
        # New England, whose zeros are lost where a spreadsheet reads numbers.
        ("2139", {EASTERN}),
        ("2139.0", {EASTERN}),
        ("2139-1234", {EASTERN}),
        ("21391234", {EASTERN}),
        ("00501", {EASTERN}),
        ("501", {EASTERN}),
        ("601", {"America/Puerto_Rico"}),
        ("00802", {"America/St_Thomas"}),
        ("83522", {MOUNTAIN, PACIFIC}),
        ("86504", {MOUNTAIN, ARIZONA}),
        ("85001", {ARIZONA}),
        ("47601", {CENTRAL}),
        ("46534", {CENTRAL, EASTERN}),
        ("79901", {MOUNTAIN}),
        ("99546", {"America/Adak", "America/Anchorage"}),
        ("89883", {MOUNTAIN, PACIFIC}),
        ("89801", {PACIFIC}),
        ("96813", {"Pacific/Honolulu"}),
        ("96799", {"Pacific/Pago_Pago"}),
        # Canada
        ("V6B 1A1", BRITISH_COLUMBIA),
        ("m5v3l9", {"America/Toronto"}),
        ("A1A", {"America/St_Johns", "America/Goose_Bay"}),
        # Military mail, and what is no ZIP code.
        ("09012", set()),
        ("96201", set()),
        ("00000", set()),
        ("99", set()),
        ("123456", set()),
        ("6.0601E+4", set()),
        ("EC1A 1BB", set()),
        ("n/a", set()),
        ("", set()),
    ],
)
def test_the_zones_of_a_zip_code(text: str, zones: set[str]) -> None:
    assert zones_of_zip(text) == zones


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        ("TX", {CENTRAL, MOUNTAIN}),
        ("Texas", {CENTRAL, MOUNTAIN}),
        (" texas ", {CENTRAL, MOUNTAIN}),
        ("tx.", {CENTRAL, MOUNTAIN}),
        ("US-TX", {CENTRAL, MOUNTAIN}),
        ("NY", {EASTERN}),
        ("New York", {EASTERN}),
        ("D.C.", {EASTERN}),
        ("Washington, DC", {EASTERN}),
        ("Arizona", {MOUNTAIN, ARIZONA}),
        ("Québec", QUEBEC_CITY),
        ("BC", BRITISH_COLUMBIA),
        ("PR", {"America/Puerto_Rico"}),
        ("Open", set()),
        ("XX", set()),
        ("", set()),
    ],
)
def test_the_zones_of_a_state(text: str, zones: set[str]) -> None:
    assert zones_of_state(text) == zones


@pytest.mark.parametrize(
    ("zip_code", "state", "zones"),
    [
        ("33101", "FL", {EASTERN}),  # Miami: the ZIP code says more than the state
        ("", "FL", {EASTERN, CENTRAL}),
        ("n/a", "FL", {EASTERN, CENTRAL}),
        ("33101", "?", {EASTERN}),
        ("33101", "CA", {EASTERN, PACIFIC}),  # a person who moved, or an error: neither is woken
        ("", "", set()),
    ],
)
def test_the_zones_of_an_address(zip_code: str, state: str, zones: set[str]) -> None:
    assert zones_of_address(zip_code, state) == zones


def test_every_state_has_area_codes_and_zip_codes() -> None:
    tables = tomllib.loads((files("batchsend.campaigns") / "places.toml").read_text(encoding="utf-8"))
    names = set(tables["state_names"])
    for table in ("area_code_states", "zip_code_states", "postal_code_states"):
        assert {state for states in tables[table] for state in states.split("|")} <= names
    by_code = {state for states in tables["area_code_states"] for state in states.split("|")}
    by_zip = tables["zip_code_states"].keys() | tables["postal_code_states"].keys()
    assert by_code == names
    assert {state for states in by_zip for state in states.split("|")} == names


def test_the_zones_of_an_area_code_and_of_a_zip_code_are_zones_of_its_states() -> None:
    tables = tomllib.loads((files("batchsend.campaigns") / "places.toml").read_text(encoding="utf-8"))
    codes = [code for codes in tables["area_code_states"].values() for code in codes.split()]
    assert len(codes) == len(set(codes)) > 380
    for code in codes:
        states = {zone for state in states_of_area_code(code) for zone in zones_of_state(state)}
        assert zones_of_area_code(code) <= states, code
    for prefix in range(1000):
        zip_code = f"{prefix:03}10"
        states = {zone for state in states_of_zip(zip_code) for zone in zones_of_state(state)}
        assert not states or zones_of_zip(zip_code) <= states, zip_code


@pytest.mark.parametrize(
    ("zip_code", "state", "area_code", "states"),
    [
        ("33101", "", "", {"FL"}),
        ("33101.0", "Florida", "305", {"FL"}),
        ("2139", "", "", {"MA"}),
        ("", "D.C.", "", {"DC"}),
        ("", "", "850", {"FL"}),
        # A phone of one state and a ZIP code of another, and a state that contradicts the ZIP code.
        ("33101", "", "502", {"FL", "KY"}),
        ("33101", "Georgia", "502", {"FL", "GA", "KY"}),
        # An area code and a ZIP code of several states.
        ("", "", "867", {"NT", "NU", "YT"}),
        ("73960", "", "", {"OK", "TX"}),
        ("06390", "", "", {"NY"}),
        ("V5K 0A1", "", "", {"BC"}),
        ("99999", "nowhere", "800", set()),
        ("", "", "", set()),
    ],
)
def test_the_states_of_a_recipient(zip_code: str, state: str, area_code: str, states: set[str]) -> None:
    assert states_of_place(zip_code, state, area_code) == states
