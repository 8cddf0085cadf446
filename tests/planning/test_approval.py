"""What an approval covers: any change of a text, a recipient, a sender or a rule needs a new one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from ledgers import BASE_URL, planned
from sqlalchemy import insert
from world import CAMPAIGN

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import SCRATCH_RUN, scratch_ledger
from batchsend.ledger.schema import messages
from batchsend.planning.approval import (
    ROW_COLUMNS,
    PlanContent,
    content_of,
    is_same_person,
    row_digest,
    settings_digest,
)
from batchsend.runs.api import preview

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
rows = st.tuples(*([texts | st.none()] * 7), st.integers(0, 3))


def content(*values: Any, **facts: Any) -> PlanContent:
    """The content of a plan with these rows."""
    usual = {"settings": "settings", "list_fingerprint": "list", "run_id": None, "segments": len(values)}
    digests = b"".join(sorted(map(row_digest, values)))
    return PlanContent(rows=digests, texts=len(values), **{**usual, **facts})


@given(st.lists(rows, min_size=1, unique=True), st.data())
def test_any_change_of_any_value_is_another_plan(values: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(values) - 1))
    column = data.draw(st.integers(0, 7))
    other = data.draw((texts | st.none()) if column < 7 else st.integers(0, 3))
    changed = (*values[at][:column], other, *values[at][column + 1 :])
    if changed == values[at]:
        return
    before, after = content(*values), content(*values[:at], changed, *values[at + 1 :])
    assert before.digest != after.digest
    assert not before.covers(after)


@given(st.text(min_size=1, max_size=40), st.data())
def test_one_byte_of_a_text_is_another_plan(body: str, data: st.DataObject) -> None:
    raw = body.encode("utf-8", "surrogatepass")
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = bytes([*raw[:at], data.draw(st.integers(0, 255)), *raw[at + 1 :]]).decode("latin-1")
    row = ("key", "customer", "department", "user", "+13125550100")
    before, after = row_digest((*row, raw.decode("latin-1"), None, 0)), row_digest((*row, changed, None, 0))
    assert (before == after) == (changed == raw.decode("latin-1"))


@given(st.lists(rows, unique=True), st.randoms())
def test_the_order_of_the_rows_does_not_matter(values: list[Any], random: Random) -> None:
    shuffled = values[:]
    random.shuffle(shuffled)
    before, after = content(*values), content(*shuffled, list_fingerprint="sorted anew")
    assert before.digest == after.digest
    assert before.covers(after)


@given(st.lists(rows, min_size=1, unique=True), st.data())
def test_fewer_rows_are_covered_in_the_same_list_only(values: list[Any], data: st.DataObject) -> None:
    left = data.draw(st.lists(st.sampled_from(values), unique=True, max_size=len(values) - 1))
    before = content(*values)
    assert before.covers(content(*left))
    assert not before.covers(content(*left, list_fingerprint="a row was taken out"))
    assert not content(*left).covers(before)


@pytest.mark.parametrize("other", [{"settings": "others"}, {"run_id": 4}])
def test_an_approval_is_for_one_run_and_its_settings(other: dict[str, Any]) -> None:
    before = content(("a", None))
    assert before.covers(content(("a", None)))
    assert not before.covers(content(("a", None), **other))
    assert before.digest != content(("a", None), **other).digest


def stored(folder: Path, number: int, *planned_rows: dict[str, Any]) -> PlanContent:
    """The content of a plan that is stored as plans are."""
    place = folder / str(number)
    place.mkdir()
    scratch: Ledger = scratch_ledger(place)
    with scratch.write() as connection:
        connection.execute(insert(messages), list(planned_rows))
    found = content_of(scratch, SCRATCH_RUN, "settings", "list", None)
    scratch.close()
    return found


def test_each_column_that_decides_what_is_sent_counts_and_no_other(tmp_path: Path) -> None:
    number = itertools.count()
    before = stored(tmp_path, next(number), planned(2), planned(3, status="skipped", codes="SUPPRESSED"))
    assert (before.texts, before.segments) == (1, 1)
    decides = {name: stored(tmp_path, next(number), planned(2, **{name: "x"})) for name in ROW_COLUMNS[:-1]}
    decides["generation"] = stored(tmp_path, next(number), planned(2, generation=1))
    for name, after in decides.items():
        assert not before.covers(after), name
    # Rows that wait are sent later, under the same approval; why they wait changes with the time of day.
    for codes in ("QUIET_HOURS", "DAILY_CAP", "HELD_BACK"):
        assert stored(tmp_path, next(number), planned(2, codes=codes)) == before
    assert stored(tmp_path, next(number), {**planned(7), **{k: planned(2)[k] for k in ROW_COLUMNS}}) == before


def campaign(folder: Path, text: str) -> Campaign:
    for name in ("customers.csv", "message.txt.j2"):
        (folder / name).write_text("Customer UUID\na\n", encoding="utf-8")
    file = folder / "campaign.toml"
    file.write_text(text, encoding="utf-8")
    return load_campaign(file)


def settings(folder: Path, text: str, base_url: str = BASE_URL) -> str:
    loaded = campaign(folder, text)
    return settings_digest(loaded, base_url, loaded.quiet_hours)


@pytest.mark.parametrize(
    "added",
    [
        "[message]\nadd_signature = true",
        "[message]\nadd_tcpa_footer = false",
        '[message]\ncallback_metadata = { source = "x" }',
        '[sending]\nquiet_hours = "TCPA"',
        '[sending]\nquiet_hours = { from = "21:00", to = "08:01" }',
        '[sending]\nquiet_hours = "US-states"',
        '[sending]\nholidays = ["US"]',
        '[hours.FL]\nsunday = "no texts"',
        "[sending]\nper_day = 10",
    ],
)
def test_what_applies_to_all_texts_counts(tmp_path: Path, added: str) -> None:
    assert settings(tmp_path, CAMPAIGN) != settings(tmp_path, CAMPAIGN + added)


def test_api_and_zone_count_but_name_speed_and_comments_do_not(tmp_path: Path) -> None:
    usual = settings(tmp_path, CAMPAIGN)
    slower = "\n[sending]\nrate = 5\nconcurrency = 3\ntimeout = 60\n"
    assert usual == settings(tmp_path, f"# a comment\n{CAMPAIGN}{slower}")
    quiet = 'quiet_hours = "TCPA"'
    assert settings(tmp_path, f"{CAMPAIGN}[sending]\n{quiet}") == settings(
        tmp_path, CAMPAIGN + slower + quiet
    )
    assert usual != settings(tmp_path, CAMPAIGN, "https://other.example.com")
    # A request belongs to a campaign, whose name it follows.
    assert usual == settings(tmp_path, CAMPAIGN.replace('"Spring"', '"Fall"'))
    assert usual != settings(tmp_path, CAMPAIGN.replace("Chicago", "New_York"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("dana", "dana", True),
        ("dana", "DANA", True),
        ("dana", " Dana ", True),
        ("straße", "STRASSE", True),
        ("dana", "\uff44ana", True),
        ("dana", "dan", False),
        ("dana", "", False),
    ],
)
def test_who_is_the_same_person(one: str, other: str, *, same: bool) -> None:
    assert is_same_person(one, other) is same
    assert is_same_person(other, one) is same


def test_a_duplicated_row_is_not_covered() -> None:
    before = content(("a", 0), ("b", 0))
    assert not before.covers(replace(content(("a", 0), ("a", 0)), list_fingerprint="list"))


def planned_content(folder: Path, customers: list[list[str]]) -> PlanContent:
    """The content of the plan of a campaign with this list."""
    lines = ["Customer UUID,First Name,Phone", *map(",".join, customers)]
    (folder / "customers.csv").write_text("\n".join(lines), encoding="utf-8")
    with preview(load_campaign(folder / "campaign.toml")) as plan:
        assert plan.approval is not None
        assert plan.texts == len(customers)
        return plan.approval.content


@settings_of_hypothesis(max_examples=12)
@given(st.data())
def test_one_character_of_any_cell_of_a_list_needs_another_approval(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 6))
    customers = [[f"customer-{n}", f"Name{n}", f"(312) 555-01{n:02}"] for n in range(count)]
    row, column = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, 2))
    cell = customers[row][column]
    # Digits of the phone's last four, and any letter of the other cells.
    at = len(cell) - 1 if column == 2 else data.draw(st.integers(0, len(cell) - 1))
    letters = "23456789" if column == 2 else "xyzXYZ"
    other = (
        cell[:at] + data.draw(st.sampled_from(letters).filter(lambda one: one != cell[at])) + cell[at + 1 :]
    )
    changed = [line[:] for line in customers]
    changed[row][column] = other
    if other in [line[column] for line in customers]:
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "message.txt.j2").write_text("Hi {{ first_name }}, see you.", encoding="utf-8")
        guard = "[guards]\napproval = true\n"
        (folder / "campaign.toml").write_text(CAMPAIGN + guard, encoding="utf-8")
        before = planned_content(folder, customers)
        assert before.covers(planned_content(folder, customers))
        reordered = planned_content(folder, data.draw(st.permutations(customers)))
        assert (reordered.digest, before.covers(reordered)) == (before.digest, True)
        after = planned_content(folder, changed)
        assert after.digest != before.digest
        assert not before.covers(after)
        assert not before.covers(planned_content(folder, customers[1:]))
