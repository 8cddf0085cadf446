"""`[recipients] where`: which rows an expression chooses, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.errors import CampaignError, RowProblem
from batchsend.messages.condition import Condition
from batchsend.statuses import Code

HEADERS = ["Customer ID", "Model", "Mileage", "Year", "2nd Phone"]
ROW = ["C1", "CR-V", "45,000", "2020", ""]
BLANK = ["C2", "", "", "", ""]
FILE = Path("spring.toml")


def condition(source: str) -> Condition:
    return Condition.of(source, HEADERS, FILE)


@pytest.mark.parametrize(
    ("source", "row", "blank"),
    [
        ('model == "CR-V" and mileage | number >= 30000', True, False),
        ('Model != "CR-V"', False, True),
        ('model in ["CR-V", "Accord"]', True, False),
        ('row["2nd Phone"] == ""', True, True),
        ("not row['2nd Phone']", True, True),
        ("mileage", True, False),
        ("mileage and mileage | number < 50000", True, False),
        ("mileage | number | default(0) < 30000", False, True),
        ("mileage | number(0) > 0", True, False),
        ("mileage and 30000 <= mileage | int <= 45000", True, False),
        ('"%}" ~ model == "%}CR-V"', True, None),
        ("model if year else false", True, False),
        ('(model == "CR-V"\n or model == "Accord")', True, False),
        ('"2" in year', True, False),
    ],
)
def test_the_rows_that_a_condition_chooses(source: str, row: bool, blank: bool | None) -> None:
    assert condition(source).holds(ROW) is row
    if blank is not None:
        assert condition(source).holds(BLANK) is blank


def test_the_columns_that_a_condition_uses() -> None:
    assert condition('model == "CR-V" and row["Mileage"]').uses == {1, 2}


BLANK_MILEAGE = (
    "Mileage is blank: fill the cell, or begin the expression with `mileage and ...` to skip such rows"
)
TEXT_AND_NUMBER = (
    'the expression compares text with a number; write `year | number == 2026` or `year == "2026"`'
)
FALSE = (
    "the expression tests a cell that says FALSE, and every cell that is not blank counts as true; "
    'write `vip == "TRUE"`'
)
ORDER = (
    "the expression puts texts with digits in order; "
    'write `mileage | number` for numbers, and `next_service | date("yyyy-MM-dd")` for dates'
)


@pytest.mark.parametrize(
    ("source", "row", "description"),
    [
        # Whether a blank is above or below a number is unknown, so `not` must not choose it either.
        ("mileage | number >= 30000", BLANK, BLANK_MILEAGE),
        ("not (mileage | number >= 30000)", BLANK, BLANK_MILEAGE),
        ("mileage | number != 0", BLANK, BLANK_MILEAGE),
        ("mileage in '45,000'", BLANK, BLANK_MILEAGE),
        (
            "mileage >= 30000",
            ROW,
            "text and numbers do not mix; convert cells to numbers first, as in `mileage | number > 50000`",
        ),
        ('mileage >= "30000"', ROW, ORDER),  # as text, `9000` is above `30000`
        ('[mileage, year] | max == "45,000"', ROW, ORDER),
        ("year == 2020", ROW, TEXT_AND_NUMBER),  # never equal to Python
        ("year != 2020", ROW, TEXT_AND_NUMBER),
        ("year is eq 2020", ROW, TEXT_AND_NUMBER),
        ("year in [2019, 2020]", ROW, TEXT_AND_NUMBER),
        ("year not in range(2019, 2022)", ROW, TEXT_AND_NUMBER),
        (
            "model == true",
            ROW,
            'the expression compares a value with true or false; write the text of the cell, as in `vip == "TRUE"`',
        ),
        ("year", ["", "", "", "False", ""], FALSE),
        ("not year or model", ["", "", "", "FALSE", ""], FALSE),
        (
            "model != none",
            ROW,
            "the expression compares a value with `none`; write `not advisor` for a blank cell",
        ),
        (
            "model | number > 1",
            ROW,
            "`number` cannot read the value: it is not a number such as 45,000 or $1,234.50",
        ),
        (
            "range(99999) | map('center', 99999) | map('length') | sum > mileage | number",
            ROW,
            "the expression makes a value of over 100,000 characters",
        ),
    ],
)
def test_a_row_without_an_answer_is_a_problem(source: str, row: list[str], description: str) -> None:
    with pytest.raises(RowProblem) as caught:
        condition(source).holds(row)
    assert (caught.value.code, caught.value.description) == (
        Code.TEMPLATE_ERROR,
        f"`recipients.where`: {description}",
    )


ONE = 'this is not one expression; write one such as model == "CR-V" and mileage | number >= 30000'
EVERY_TIME = (
    'alone does not depend on the row; compare every time, as in model == "CR-V" or model == "Accord"'
)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('modle == "x"', "the list has no column for `modle`; the nearest is `model` (column Model)"),
        (
            "model | nam_case",
            "there is no filter `nam_case`; did you mean `name_case`, or is a package missing here?",
        ),
        ('model = "CR-V"', '= sets a value and == compares; write model == "CR-V"'),
        ("{{ model }}", 'write the expression without braces, such as model == "CR-V"'),
        ("{% if model %}", 'write the expression without braces, such as model == "CR-V"'),
        ('2nd Phone != ""', 'names have no spaces or signs; write row["2nd Phone"] != ""'),
        ("Customer-ID == 'x'", "names have no spaces or signs; write customer_id == 'x'"),
        (
            'model == "CR-V" && mileage',
            'conditions are written with `and`, `or`, `not`, == and !=; write model == "CR-V" and mileage',
        ),
        ("model == “CR-V”", 'curly quotes between the braces; write model == "CR-V"'),
        ('model == "CR-V', 'a quotation mark is missing; write model == "CR-V"'),
        ("model is true", '`is true` never fits a cell; write the text of the cell, as in vip == "TRUE"'),
        ("year is not none", "`is none` never fits a cell; write `not advisor` for a blank cell"),
        ("year is number", "`is number` never fits a cell; write `mileage | number(0) > 0`"),
        (
            'year | date("YYYY") == "2020"',
            "in the pattern `YYYY`, Y is the year of the week; write `yyyy`",
        ),
        ('model == "CR-V", year == "2020"', ONE),  # a pair is always true
        ('model == "CR-V" or "Accord"', f"`Accord` {EVERY_TIME}"),  # so is a text
        ('not ("Accord" or model)', f"`Accord` {EVERY_TIME}"),
        ("1 == 1", 'the expression uses no column of the list; write one such as model == "CR-V"'),
        # Statements and text
        ('model == "a" %}{% if 1', ONE),
        ('model == "x" }} y', ONE),
        ("model) %}x{% endif %}{% if (model", ONE),
        ("(" * 500 + "model" + ")" * 500, ONE),
    ],
)
def test_an_expression_is_checked_before_any_row(source: str, problem: str) -> None:
    with pytest.raises(CampaignError) as caught:
        condition(source)
    assert str(caught.value) == f"spring.toml: `recipients.where`: {problem}"


def test_all_problems_of_an_expression_are_found() -> None:
    with pytest.raises(CampaignError) as caught:
        condition('modle == "x" and\n yaer == "2020"')
    assert caught.value.problems == (
        "`recipients.where`: the list has no column for `modle`; the nearest is `model` (column Model)",
        "`recipients.where`: line 2: the list has no column for `yaer`; the nearest is `year` (column Year)",
    )


@given(
    st.lists(
        st.sampled_from(
            [
                "model",
                "mileage",
                "row",
                "'a'",
                "3",
                " | number",
                " == ",
                " < ",
                " and ",
                " or ",
                " not ",
                " in ",
                "[",
                "]",
                "(",
                ")",
                ", ",
                "}}",
                "{% if ",
                " %}",
                "=",
                "'",
                " is number",
                " + ",
                " * ",
            ]
        ),
        min_size=1,
        max_size=10,
    )
)
def test_any_expression_is_refused_or_chooses_or_is_a_problem_of_the_row(pieces: list[str]) -> None:
    try:
        chosen = condition("".join(pieces))
    except CampaignError as error:
        assert all(problem.startswith("`recipients.where`: ") for problem in error.problems)
        return
    for row in (ROW, BLANK):
        try:
            assert chosen.holds(row) in (True, False)
        except RowProblem as problem:
            assert problem.code is Code.TEMPLATE_ERROR


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.booleans())
def test_numbers_are_compared_as_numbers_in_every_spelling(mileage: int, limit: int, grouped: bool) -> None:
    row = ["C1", "", f"{mileage:,}" if grouped else str(mileage), "", ""]
    assert condition(f"mileage | number >= {limit}").holds(row) is (mileage >= limit)
    assert condition(f"mileage | number == {limit} or mileage | int < {limit}").holds(row) is (
        mileage <= limit
    )
