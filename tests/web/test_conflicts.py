"""A file that is changed while its form is open: both versions are shown, and one of them is kept."""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_client import Answer, Clicker, serving
from world import World, customers

from batchsend.web.differences import label_of, of_keys, parts_of
from batchsend.web.toml_edit import edited

SPRING = "/campaign/here/campaign"
LINES = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30)


@given(LINES, LINES)
def test_both_texts_can_be_read_in_the_lines_that_are_shown(mine: list[str], theirs: list[str]) -> None:
    left, right, skipped = [], [], 0
    for part in parts_of("\n".join(mine), "\n".join(theirs)):
        kept = mine[len(left) : len(left) + part.skipped]
        assert kept == theirs[len(right) : len(right) + part.skipped]
        left += kept + [line.mine for line in part.lines if line.mine is not None]
        right += kept + [line.theirs for line in part.lines if line.theirs is not None]
        skipped += part.skipped
    # What is left out at the end is equal.
    rest = "\n".join(mine).splitlines()[len(left) :]
    assert left + rest == "\n".join(mine).splitlines()
    assert right + rest == "\n".join(theirs).splitlines()


@given(st.dictionaries(st.sampled_from(["rate", "timeout", "per_day"]), st.none() | st.integers(1, 3)))
def test_the_settings_that_differ_are_those_that_saving_would_change(values: dict[str, int | None]) -> None:
    present = b"[sending]\nrate = 1\ntimeout = 2\n"
    changes = {("sending", name): value for name, value in values.items()}
    found = {one.name for one in of_keys(changes, tomllib.loads(present.decode()))}
    before = tomllib.loads(present.decode())["sending"]
    after = tomllib.loads(edited(present, changes).decode()).get("sending", {})
    assert found == {
        label_of(("sending", name))
        for name in ("rate", "timeout", "per_day")
        if before.get(name) != after.get(name)
    }


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Clicker]]:
    world = World(tmp_path_factory.mktemp("dealership")).write(customers(3))
    with serving(world) as served:
        yield world, served.signed_in()


@pytest.fixture
def office(console: tuple[World, Clicker]) -> tuple[World, Clicker]:
    world, clicker = console
    world.write(campaign="# Ours\n[sending]\nrate = 3.0\nper_day = 50\n")
    return world, clicker


def conflict(office: tuple[World, Clicker]) -> Answer:
    """Saves another speed while someone else changes it too."""
    world, clicker = office
    shown = clicker.shown(f"{SPRING}/when")
    world.write(campaign="# Theirs\n[sending]\nrate = 7.0\nper_day = 60\n")
    return clicker.post(
        f"{SPRING}/when", {**shown, "sending.rate": "5", "sending.per_day": "60", "day.MON": "on"}
    )


def sending(world: World) -> dict[str, float]:
    found: dict[str, float] = tomllib.loads((world.folder / "campaign.toml").read_text(encoding="utf-8"))[
        "sending"
    ]
    return found


def forms(page: Answer) -> dict[str, dict[str, str]]:
    """The forms of a page: the button's words -> the fields that it sends."""
    found = {}
    for form in re.findall(
        r'<form method="post" action="[^"]*/(?:when|text|file)">.*?</form>', page.text, re.DOTALL
    ):
        fields = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form))
        found[re.sub("<[^>]+>", "", form).strip()] = fields
    return found


def test_settings_are_shown_side_by_side_and_mine_can_be_kept(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    page = conflict(office)
    assert page.url.startswith(f"{SPRING}/conflict")
    assert "Texts a second 5 7.0" in page.plain
    # The same in both.
    assert "At most this many texts a day" not in page.plain
    assert sending(world) == {"rate": 7.0, "per_day": 60}
    mine = forms(page)["Keep mine"]
    assert mine["day.MON"] == "on"
    clicker.post(f"{SPRING}/when", mine)
    assert sending(world) == {"rate": 5, "per_day": 60}
    assert "# Theirs" in (world.folder / "campaign.toml").read_text(encoding="utf-8")
    # It is over.
    assert clicker.get(f"{SPRING}/conflict?page={SPRING}/when").url == f"{SPRING}/when"


def test_theirs_can_be_kept(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    assert "Keep theirs" in forms(conflict(office))
    kept = clicker.post(f"{SPRING}/when", {"discard": "yes"})
    assert sending(world) == {"rate": 7.0, "per_day": 60}
    assert re.search(r'name="sending.rate" value="7', kept.text)


def test_mine_can_be_edited_before_it_is_saved(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    conflict(office)
    page = clicker.get(f"{SPRING}/when")
    assert "changed by someone else" in page.plain
    assert 'name="sending.rate" value="5"' in page.text
    clicker.post(f"{SPRING}/when", {"campaign_file": page.hidden("campaign_file"), "sending.rate": "6"})
    assert sending(world)["rate"] == 6


def test_a_third_version_is_a_conflict_again(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    mine = forms(conflict(office))["Keep mine"]
    world.write(campaign="[sending]\nrate = 9.0\n")
    again = clicker.post(f"{SPRING}/when", mine)
    assert "Texts a second 5 9.0" in again.plain
    assert sending(world) == {"rate": 9.0}


@pytest.mark.parametrize(("page", "name"), [("text", "message.txt.j2"), ("file", "campaign.toml")])
def test_texts_are_shown_line_by_line_and_no_character_is_lost(
    office: tuple[World, Clicker], page: str, name: str
) -> None:
    world, clicker = office
    file = world.folder / name
    before = file.read_text(encoding="utf-8")
    mine = f'\n{before}\n# "mine" & <b>\n\n'
    loaded = clicker.get(f"{SPRING}/{page}").hidden("loaded")
    file.write_text(f"{before}\n# theirs", encoding="utf-8")
    shown = clicker.post(f"{SPRING}/{page}", {"number": "0", "loaded": loaded, "text": mine})
    assert "# theirs" in shown.plain
    assert "<mark># &#34;mine&#34; &amp; &lt;b&gt;</mark>" in shown.text
    fields = forms(shown)["Keep mine"]
    plain = {field: html.unescape(value) for field, value in fields.items()}
    clicker.post(f"{SPRING}/{page}", plain)
    assert file.read_text(encoding="utf-8") == mine


def test_a_campaign_file_is_not_emptied(office: tuple[World, Clicker]) -> None:
    """Otherwise the campaign would be missing from the console, with no way back."""
    world, clicker = office
    before = (world.folder / "campaign.toml").read_bytes()
    loaded = clicker.get(f"{SPRING}/file").hidden("loaded")
    refused = clicker.post(f"{SPRING}/file", {"loaded": loaded, "text": ""})
    assert (refused.status, refused.url) == (200, f"{SPRING}/file")
    assert "This is no longer a campaign" in refused.plain
    assert (world.folder / "campaign.toml").read_bytes() == before
    clicker.post(f"{SPRING}/file", {"discard": "yes"})
