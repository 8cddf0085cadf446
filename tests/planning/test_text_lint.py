"""The lint of a plan: what is found in its parts is found in the texts, with their rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import BASE_URL
from world import World

from batchsend.campaigns.file import load_campaign
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.planning.text_lint import LintFinding

TEMPLATE = "Hi {{ first_name }}, your Honda {{ vehicle }} is ready: {{ link }}"


def findings(
    folder: Path, rows: Sequence[dict[str, str]], template: str = TEMPLATE, campaign: str = ""
) -> list[tuple[str, int, tuple[int, ...]]]:
    usual = {"First Name": "Ann", "Vehicle": "Civic", "Link": "https://lakeside.example/a", "Price": "50"}
    World(folder).write(
        [{"Customer UUID": f"c{number}", **usual, **row} for number, row in enumerate(rows)],
        template=template,
        campaign=campaign,
    )
    request = PlanRequest(
        load_campaign(folder / "campaign.toml"), BASE_URL, "here", datetime(2026, 3, 2, 18, tzinfo=UTC)
    )
    with make_plan(request, None) as plan:
        return [(one.rule, one.texts, one.rows) for one in plan.remarks.lint]


MANY = 3000


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"Link": "https://bit.ly/x"}, "short_link"),
        ({"Link": "http://lakeside.example/a"}, "plain_link"),
        ({"Vehicle": "Honda Civic"}, "doubled_word"),
        ({"First Name": "[Customer Name]"}, "placeholder"),
        ({"Vehicle": "Civic with free beer"}, "forbidden_word"),
    ],
)
def test_one_cell_among_many_is_found(tmp_path: Path, row: dict[str, str], rule: str) -> None:
    rows: list[dict[str, str]] = [{"First Name": f"Ann{number}"} for number in range(MANY)]
    rows[MANY // 2] |= row
    assert findings(tmp_path, rows) == [(rule, 1, (MANY // 2 + 2,))]


def test_texts_that_are_whole_cells_are_all_read(tmp_path: Path) -> None:
    rows = [
        {"Vehicle": f"Please bring your car number {number} to us on Monday at ten"} for number in range(60)
    ]
    rows[50] = {"Vehicle": "BRING YOUR CAR TO US ON MONDAY AT TEN FOR THE BIG SALE"}
    assert findings(tmp_path, rows, "{{ vehicle }}") == [("capitals", 1, (52,))]


def test_a_price_in_the_template_is_compared_with_each_row(tmp_path: Path) -> None:
    rows = [{"Price": "49.99"}, {"Price": "59.99"}, {"Price": "49.99"}]
    assert findings(tmp_path, rows, "An oil change for $49.99") == [("other_value", 1, (3,))]


def test_the_name_of_the_dealership(tmp_path: Path) -> None:
    rows = [{"Vehicle": "Civic"}, {"Vehicle": "Civic from Lakeside"}]
    campaign = '[message]\nsender_name="Lakeside"\n'
    assert findings(tmp_path, rows, "Your {{ vehicle }}", campaign) == [("no_sender", 1, (2,))]


def test_a_name_is_no_forbidden_word(tmp_path: Path) -> None:
    rows = [{"First Name": "GAMBLE"}, {"First Name": "Rifle"}, {"Vehicle": "PISTOL"}, {"First Name": "Ann"}]
    assert findings(tmp_path, rows) == [("forbidden_word", 1, (4,))]


@pytest.mark.parametrize("guards", ['lint = "off"', 'lint_ignore = ["doubled_word"]'])
def test_rules_can_be_left_out(tmp_path: Path, guards: str) -> None:
    assert findings(tmp_path, [{}], "Hi hi the the", f"[guards]\n{guards}\n") == []


def test_rows_are_named_in_a_sentence() -> None:
    def where(texts: int, rows: Sequence[int]) -> str:
        words = LintFinding(
            "doubled_word", "“a a” has a word twice.", "Take one out.", texts, tuple(rows), "A word twice"
        ).words
        return re.sub(r".*\((.*)\)\. Take one out\.", r"\1", words)

    assert where(1, [7]) == "row 7"
    assert where(2, [7, 9]) == "rows 7 and 9"
    assert where(239, range(2, 22)) == "rows 2, 3, 4, 5, 6, 7, 8, 9 and 231 more"
