"""Numbers in cells: what is read as a number, and arithmetic that would treat cells as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from template_cases import BLANK, JOHN, Load, problem

from batchsend.errors import FilterProblem
from batchsend.messages.numbers import float_number, number, whole_number
from batchsend.statuses import Code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("45,000", 45000),
        ("45000", 45000),
        (" 1,234,567.50 ", 1234567.5),
        ("$1,234.50", 1234.5),
        ("$ 20", 20),
        ("-$5.25", -5.25),
        ("$-5", -5),
        (".5", 0.5),
        ("007", 7),
        ("999999999999999", 999999999999999),
    ],
)
def test_numbers_of_spreadsheets_are_read(text: str, value: float) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)
    assert whole_number(text) == int(value)
    assert isinstance(whole_number(text), int)
    assert isinstance(float_number(text), float)


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "45k",
        "45,00",  # a decimal comma, or a digit that was lost
        "4,5000",
        "1.234,50",
        "1 234",
        "20%",
        "$",
        "-",
        "--5",
        "-$-5",
        "+13125550142",
        "1e5",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "٣",  # a digit of another script
        "(5.00)",
        "5.",
        "1234567890123456",  # a card or a record, not an amount
    ],
)
def test_other_values_are_no_numbers(text: str) -> None:
    for read, name in ((number, "number"), (whole_number, "int"), (float_number, "float")):
        with pytest.raises(
            FilterProblem, match=f"^`{name}` cannot read the value: it is not a number such as"
        ):
            read(text)
        assert read(text, 7) == 7


def test_a_percentage_says_how_to_read_it() -> None:
    with pytest.raises(FilterProblem, match=r'write `replace\("%", ""\)` before it$'):
        number("20%")


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_every_whole_number_is_read_with_and_without_commas(value: int) -> None:
    assert number(str(value)) == number(f"{value:,}") == number(f"{value:,}".replace("-", "-$")) == value


@given(st.decimals(-(10**9), 10**9, places=2))
def test_every_amount_is_read(value: object) -> None:
    assert number(f"{value:,}") == float(str(value))


@given(st.text(max_size=12))
def test_a_number_has_only_the_characters_of_numbers(text: str) -> None:
    try:
        number(text)
    except FilterProblem:
        return
    assert set(text.strip()) <= set("0123456789,.$- ")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ price | number * 2 }} {{ price | int / 4 }} {{ -(price | int) }}", "20 2.5 -10"),
        ("{{ '45,000' | int }} {{ 'abc' | int(0) }} {{ 'abc' | float(default=1) }}", "45000 0 1.0"),
        ("{{ price | number + row['Range'] | number }}", "260"),
        ("{{ [price, row['Range']] | map('number') | max }}", "250"),
        ("{{ ['b', 'A', 'c'] | sort | join }} {{ ['b', 'A'] | min }}", "Abc A"),  # names have an order
        ("{{ ['2026-03-01', '2026-02-01'] | min }}", "2026-02-01"),  # and so do ISO dates
        ("{{ 'a' if '2026-03-01' < '2026-12-24 09:00:00' else 'b' }}", "a"),
        ("{{ 'a' if 'de Soto' < 'Miller' else 'b' }}", "a"),  # in any letter case
        ("{{ '$' + price }}{{ price + ' of ' + row['Range'] }}", "$1010 of 250"),  # joins with a written text
        ("{{ first_name + first_name }}", "JOHNJOHN"),
        ("{{ price ~ row['Range'] }}", "10250"),
        # Half is rounded up, as in spreadsheets.
        (
            "{{ 2.5 | round }} {{ 0.125 | round(2) }} {{ 2.675 | round(2) }} {{ -2.5 | round }}",
            "3.0 0.13 2.68 -3.0",
        ),
        ("{{ 25 | round(-1) }} {{ 2.5 | round(0, 'floor') }} {{ (1 / 3) | round(2) }}", "30 2.0 0.33"),
        ("{% if 1 < price | int < 20 < 30 and price is ne '9' %}yes{% endif %}", "yes"),
        ("{{ ['a', 'b'] | select('in', ['b']) | join }}", "b"),
    ],
)
def test_arithmetic_with_numbers(load: Load, source: str, text: str) -> None:
    assert load(source).render(JOHN) == text


MULTIPLIES = "line 1: the template multiplies text; convert it to a number first, as in `price | number * 2`"
ADDS = (
    "line 1: the template adds texts; "
    "write `parts | number + labor | number` for the sum, or `parts ~ labor` to join them"
)
ORDER = (
    "line 1: the template puts texts with digits in order; "
    'write `mileage | number` for numbers, and `next_service | date("yyyy-MM-dd")` for dates'
)
MIX = "line 1: text and numbers do not mix; convert cells to numbers first, as in `mileage | number > 50000`"

NO_DIGITS = "line 1: the template prints a number that has no plain digits, such as 1e-07"
UNREADABLE = "line 1: `int` cannot read the value: it is not a number such as 45,000 or $1,234.50"


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("price * 2", MULTIPLIES),
        ("2 * price", MULTIPLIES),
        ("first_name * 2", MULTIPLIES),  # `N/A` in a column of numbers
        ("price * row['Range']", MULTIPLIES),
        ("price + row['Range']", ADDS),
        ("first_name + price", ADDS),
        ("price + 1", MIX),
        ("price - 1", MIX),
        ("price / row['Range']", MIX),
        ("price % 3", MIX),
        ("-price", MIX),
        ("1 / 10000000", NO_DIGITS),
        ("price | number * 1e308", NO_DIGITS),
        ("'Only ' ~ 1e22", NO_DIGITS),
        ("price | abs", MIX),
        ("price | round", MIX),
        ("[price, price] | sum", MIX),
        ("[price, 1] | max", ORDER),
        ("1 if price < row['Range'] else 2", ORDER),
        ("1 if price is lt '9' else 2", ORDER),
        ("1 if '2026-03-01' < '3/1/2026' else 2", ORDER),
        ("[price, row['Range']] | min", ORDER),
        ("[price, row['Range']] | max", ORDER),
        ("[price, row['Range']] | sort | join", ORDER),
        ("1 if '$1,234.50' | int > 1 and first_name | int else 2", UNREADABLE),
    ],
)
def test_text_is_never_calculated_with(load: Load, expression: str, description: str) -> None:
    assert problem(load("{{ " + expression + " }}"), JOHN) == (Code.TEMPLATE_ERROR, description)


@pytest.mark.parametrize(
    "source",
    [
        "{% if price %}a{% endif %}",
        "{{ 'a' if first_name and not price }}",
        '{% if row["Price"] or row %}a{% endif %}',
    ],
)
def test_a_cell_that_says_false_is_not_true(load: Load, source: str) -> None:
    code, description = problem(load(source), ["", "Ann", "", "FALSE", ""])
    assert code is Code.TEMPLATE_ERROR
    assert "tests a cell that says FALSE" in description
    assert (
        load("{% if price == 'FALSE' %}a{% endif %}{{ price or 'b' }}").render(["", "", "", "FALSE", ""])
        == "aFALSE"
    )


@pytest.mark.parametrize("price", ["$1,234.50", "20", "N/A", "1e5"])
def test_a_product_of_a_cell_does_not_depend_on_its_spelling(load: Load, price: str) -> None:
    assert problem(load("{{ price * 2 }}"), ["", "", "", price, ""]) == (Code.TEMPLATE_ERROR, MULTIPLIES)


def test_a_blank_is_neither_above_nor_below_a_number(load: Load) -> None:
    for expression in ("price | number > 5", "price | number != 5", "price | int in [5]"):
        code, _ = problem(load("{% if " + expression + " %}a{% endif %}"), BLANK)
        assert code is Code.MISSING_VALUE
    assert load("{{ price | number(0) }}{{ price | int or 'x' }}").render(BLANK) == "0x"
