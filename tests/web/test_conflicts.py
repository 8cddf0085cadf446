"""A file that is changed while its form is open: what only one side changed is merged, the rest is for choosing."""

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

from batchsend.web.differences import label_of, merged_lines, of_keys, parts_of
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


@given(LINES, LINES)
def test_a_side_that_changed_nothing_adds_nothing(base: list[str], changed: list[str]) -> None:
    first, other = "\n".join(base), "\n".join(changed)
    assert merged_lines(first, other, first) == (other, False)
    assert merged_lines(first, first, other) == (other, False)
    assert merged_lines(first, other, other) == (other, False)


@given(st.data())
def test_every_line_that_only_one_side_changed_is_in_the_merged_text(data: st.DataObject) -> None:
    """Lines that differ from each other and are never next to a line of the other side are never in conflict."""
    base = [f"line {number}" for number in range(data.draw(st.integers(1, 12)))]
    changes = data.draw(st.dictionaries(st.integers(0, len(base) - 1), st.sampled_from(["mine", "theirs"])))
    edited_by = {side: [n for n, whose in changes.items() if whose == side] for side in ("mine", "theirs")}
    mine, theirs = (
        "\n".join(f"{line} {side}" if n in edited_by[side] else line for n, line in enumerate(base))
        for side in edited_by
    )
    text, conflict = merged_lines("\n".join(base), mine, theirs)
    touching = any(abs(n - m) == 1 for n in edited_by["mine"] for m in edited_by["theirs"])
    assert conflict == touching
    if not touching:
        assert text == "\n".join(
            f"{line} {changes[n]}" if n in changes else line for n, line in enumerate(base)
        )
    for number in edited_by["mine"]:
        assert f"line {number} mine" in text.split("\n")


VALUES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 3))


@given(VALUES, VALUES, VALUES)
def test_settings_are_in_conflict_if_both_sides_changed_them_to_different_values(
    base: dict[str, int], mine: dict[str, int], theirs: dict[str, int]
) -> None:
    changes = {(key,): mine.get(key) for key in "abc" if mine.get(key) != base.get(key)}
    found = {one.name for one in of_keys(changes, theirs, base)}
    assert found == {
        key
        for key in "abc"
        if len({base.get(key), mine.get(key)}) == 2 and theirs.get(key) not in (base.get(key), mine.get(key))
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


def test_settings_that_only_one_side_changed_are_both_kept(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    shown = clicker.shown(f"{SPRING}/when")
    world.write(campaign='# Theirs\n[sending]\nrate = 7.0\nper_day = 50\nquiet_hours = "TCPA"\n')
    saved = clicker.post(f"{SPRING}/when", {**shown, "sending.rate": "3", "sending.per_day": "60"})
    assert "/conflict" not in saved.url
    assert "Other settings of this campaign were changed meanwhile, too." in saved.plain
    assert sending(world) == {"rate": 7.0, "per_day": 60, "quiet_hours": "TCPA"}


def test_keeping_mine_does_not_set_back_what_only_they_changed(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    shown = clicker.shown(f"{SPRING}/when")
    world.write(campaign="[sending]\nrate = 7.0\nper_day = 60\n")
    page = clicker.post(f"{SPRING}/when", {**shown, "sending.rate": "5", "sending.per_day": "50"})
    assert "Texts a second 5 7.0" in page.plain
    assert "At most this many texts a day" not in page.plain
    clicker.post(f"{SPRING}/when", forms(page)["Keep mine"])
    assert sending(world) == {"rate": 5, "per_day": 60}


def test_a_column_that_was_only_detected_does_not_replace_the_one_that_they_chose(
    office: tuple[World, Clicker],
) -> None:
    world, clicker = office
    page = clicker.get(f"{SPRING}/columns")
    detected = dict(re.findall(r'name="(detected\.[^"]*)" value="([^"]*)"', page.text))
    assert detected["detected.column.phone"] == "Phone"
    shown = {"campaign_file": page.hidden("campaign_file"), **detected, "column.phone": "Phone"}
    world.write(campaign='[columns]\nphone = "First Name"\n')
    saved = clicker.post(f"{SPRING}/columns", {**shown, "column.zip": "Customer UUID"})
    assert "/conflict" not in saved.url
    columns = tomllib.loads((world.folder / "campaign.toml").read_text(encoding="utf-8"))["columns"]
    assert columns == {"phone": "First Name", "zip": "Customer UUID"}, saved.plain


def test_lines_of_a_text_that_only_one_side_changed_are_both_kept(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    file = world.folder / "message.txt.j2"
    file.write_text("Hi!\n\nCome in.\n\nBye", encoding="utf-8")
    loaded = clicker.get(f"{SPRING}/text").hidden("loaded")
    file.write_text("Hi!\n\nCome in.\n\nBye bye", encoding="utf-8")
    form = {"number": "0", "loaded": loaded, "text": "Hello!\n\nCome in.\n\nBye"}
    saved = clicker.post(f"{SPRING}/text", form)
    assert saved.url.startswith(f"{SPRING}/text")
    assert "Their changes are kept: read the text again." in saved.plain
    assert file.read_text(encoding="utf-8") == "Hello!\n\nCome in.\n\nBye bye"
    # In a conflict, their other lines stay too.
    file.write_text("Moin!\n\nCome in.\n\nGoodbye", encoding="utf-8")
    form = {"number": "0", "loaded": saved.hidden("loaded"), "text": "Howdy!\n\nCome in.\n\nBye bye"}
    page = clicker.post(f"{SPRING}/text", form)
    assert "/conflict" in page.url
    clicker.post(
        f"{SPRING}/text", {field: html.unescape(value) for field, value in forms(page)["Keep mine"].items()}
    )
    assert file.read_text(encoding="utf-8") == "Howdy!\n\nCome in.\n\nGoodbye"


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
