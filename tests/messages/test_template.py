"""Templates: rendering row by row, blank cells and the problems of rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from template_cases import BLANK, JOHN, Load, problem

from batchsend.errors import TemplateError
from batchsend.messages.template import RowProblem
from batchsend.statuses import Code


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hi {{ first_name }}!", "Hi JOHN!"),
        ("{{ first_name|name_case }}", "John"),  # one of our filters
        # As in headers, case and underscores are ignored.
        ("{{ FirstName }} {{ FIRST_NAME }}", "JOHN JOHN"),
        ('{{ row["2nd Phone"]|phone }}', "(312) 555-0142"),
        ('{{ row["2ND_PHONE"] }} {{ row.first_name }}', "3125550142 JOHN"),
        ('{% set wanted = "Price" %}{{ row[wanted] }}', "10"),  # a header that is computed
        # A column with the name of one of Jinja's functions.
        ('{{ row["Range"] }} {{ range(3)|join }}', "250 012"),
        ("{{ price|float * 2 }} {{ price|money }}", "20.0 $10.00"),  # cells are text until converted
        ("“{{ first_name[0] }}.” – naïve 😀", "“J.” – naïve 😀"),  # curly quotes are ordinary text
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),  # braces as text
        ("{{ '<b>' ~ first_name }} & co", "<b>JOHN & co"),  # texts are not HTML
        ("{% for n in [1, 2] %}{{ loop.index }}{{ n }} {% endfor %}", "11 22 "),
        (
            "{% if price %}{% set note = 'x' %}{% endif %}{{ note }}",
            "x",
        ),  # a variable that only a branch sets
        # A column that is set in one branch keeps its value in the others.
        ("{% if not first_name %}{% set first_name = 'you' %}{% endif %}{{ first_name }}", "JOHN"),
        ("{% if not row %}{% set row = {} %}{% endif %}{{ row['Price'] }}", "10"),
        ("{% macro hi(name) %}Hi {{ name }}{% endmacro %}{{ hi(first_name) }}", "Hi JOHN"),
        ('{{ "%s, %05.1f" % (first_name, 2.5) }}', "JOHN, 002.5"),
        ('{{ "{:>6}|{:,}".format(first_name, 12345) }}', "  JOHN|12,345"),
        ("{{ 'a-b'.replace('-', '+').center(5) }}", " a+b "),
        ("{{ '-' * 3 }}{{ 2 ** 5 }}{{ 7 % 4 }}", "---323"),  # the bounded operators give the usual results
        # And so do the bounded filters.
        ("{{ ['a', 'b']|join(', ') }} {{ [1, 2]|sum }} {{ 2.345|round(1) }}", "a, b 3 2.3"),
    ],
)
def test_rendering(load: Load, source: str, text: str) -> None:
    assert load(source).render(JOHN) == text


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("Hello", set()),
        ("{{ first_name }}", {1}),
        ('{{ row["Price"] }}{% if false %}{{ first_name }}{% endif %}', {1, 3}),  # in all branches
        ("{% set first_name = 'x' %}{{ first_name }}", set()),  # a variable of the template
        ("{% for price in [1] %}{{ price }}{% endfor %}", set()),
        ("{% include 'other.j2' %}", {3}),
        # Any column could be meant.
        ("{% for c in [1] %}{{ row[price ~ c]|default('') }}{% endfor %}", {0, 1, 2, 3, 4}),
    ],
)
def test_the_columns_a_template_uses(load: Load, source: str, uses: set[int]) -> None:
    assert load(source, {"other.j2": "{{ price }}"}).uses == uses


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if first_name %}a{% else %}b{% endif %}", "b"),  # false in a test
        ("{{ first_name or 'there' }}", "there"),  # replaced by `or`
        ("{{ first_name|default('there') }}", "there"),  # replaced by `default`
        ("{{ first_name|name_case|default('there') }}", "there"),  # our filters return blanks unchanged
        ("{{ first_name|trim|upper|title|default('there') }}", "there"),  # and so do Jinja's filters of texts
        ("{{ price|money or 'free' }}{{ price|date('d') or '' }}{{ row['2nd Phone']|phone or '' }}", "free"),
        # Equal to an empty text.
        ("{{ 'a' if first_name == '' else 'b' }}{{ 'a' if first_name != 'x' else 'b' }}", "aa"),
        ("{{ 'a' if first_name is defined else 'b' }}{{ 'a' if 'x' in first_name else 'b' }}", "bb"),
        ("{{ 'a' if first_name|length > 3 else 'b' }}", "b"),  # has no length
        ("{% if not first_name %}{% set first_name = 'you' %}{% endif %}{{ first_name }}", "you"),
        ("{% set name = first_name|name_case %}Hi{% if name %} {{ name }}{% endif %}", "Hi"),
    ],
)
def test_a_blank_cell_is_undefined(load: Load, source: str, text: str) -> None:
    assert load(source).render(BLANK) == text


@pytest.mark.parametrize(
    "expression",
    [
        "first_name",
        "first_name|name_case",
        "first_name ~ '!'",
        "first_name + '!'",
        "first_name[0]",
        "first_name.upper()",
        "first_name|replace('a', 'b')",
        "first_name|string",
        "first_name|urlencode",
        "first_name|int",  # would be 0
        "first_name|first",
        "first_name|join",
        "first_name|map('upper')|join",  # a blank has no items
        "first_name|select|join",
        "first_name|reject|join",
        "first_name|unique|join",
        "[first_name]|join",  # a blank inside a list
        "'%s' % first_name",
        "'%s'|format(first_name)",
        "'{}'.format(first_name)",
        "'{0!r}'.format(first_name)",
        "[first_name]|map('upper')|join",
        "row['First Name']|default(first_name)",
    ],
)
def test_printing_a_blank_is_a_missing_value(load: Load, expression: str) -> None:
    code, description = problem(load("Hi\n{{ " + expression + " }},"), BLANK)
    assert code is Code.MISSING_VALUE
    assert description == (
        "First Name is blank, and the template prints it on line 2: give it a default or fill the cell"
    )


def test_a_blank_cell_of_the_row_names_its_column(load: Load) -> None:
    assert problem(load('{{ row["2nd Phone"] }}'), BLANK)[1] == (
        "2nd Phone is blank, and the template prints it on line 1: give it a default or fill the cell"
    )


def test_a_blank_in_an_included_file_names_the_file(load: Load) -> None:
    template = load("{% include 'footer.j2' %}", {"footer.j2": "\n{{ price }}"})
    assert problem(template, BLANK)[1] == (
        "Price is blank, and the template prints it on line 2 of footer.j2: "
        "give it a default or fill the cell"
    )


@pytest.mark.parametrize(
    ("source", "description"),
    [
        (
            "\n{{ price|date }}",
            "line 2: `date` cannot read the value: it is not a date such as 2026-03-01 or 3/1/2026",
        ),
        (
            "{{ price * 2 }}",
            "line 1: the template multiplies text; convert it to a number first, as in `price | number * 2`",
        ),
        (
            "{{ price > 5 }}",
            "line 1: text and numbers do not mix; convert cells to numbers first, as in `mileage | number > 50000`",
        ),
        ("{{ 1 / 0 }}", "line 1: the template divides by zero"),
        ("{{ none }}", "line 1: the template prints `none`, which is not text"),
        ("{{ price == '10' }}", "line 1: the template prints true or false, which is not text"),
        ("{{ [price] }}", "line 1: the template prints a list; use `join`"),
        ("{{ first_name.upper }}", "line 1: the template prints a method; add parentheses ()"),
        ("{{ row }}", "line 1: the template prints something that is not text"),  # the whole row
        ("{{ row[price] }}", "line 1: the template looks for a column that the list does not have"),
        ("{{ first_name.foo }}", "line 1: 'str object' has no attribute 'foo'"),
        (
            "{{ first_name|map('shout')|list }}",
            "line 1: the template cannot be rendered for this row (TemplateRuntimeError)",
        ),
        # Refused by Jinja's sandbox.
        ("{{ ''.__class__ }}", "line 1: access to attribute '__class__' of 'str' object is unsafe"),
    ],
)
def test_problems_of_a_row(load: Load, source: str, description: str) -> None:
    assert problem(load(source), JOHN) == (Code.TEMPLATE_ERROR, description)


def test_the_checked_source_is_rendered_even_if_a_file_changes(load: Load, tmp_path: Path) -> None:
    template = load("{% include 'a.j2' %}", {"a.j2": "checked"})
    (tmp_path / "a.j2").write_text("{{ nothing_of_the_list }}", encoding="utf-8")
    assert template.render(JOHN) == "checked"


def test_the_fingerprint_changes_with_every_file(load: Load) -> None:
    first = load("{% include 'a.j2' %}", {"a.j2": "x"}).source_sha256
    assert load("{% include 'a.j2' %}", {"a.j2": "x"}).source_sha256 == first
    assert load("{% include 'a.j2' %}", {"a.j2": "y"}).source_sha256 != first
    assert load("{% include 'a.j2' %} ", {"a.j2": "x"}).source_sha256 != first


@given(
    st.lists(
        st.sampled_from(
            [
                "{{ ",
                " }}",
                "{% if ",
                " %}",
                "{% endif %}",
                "{% for x in ",
                "first_name",
                "row",
                "price",
                "|name_case",
                "|default('x')",
                "'a'",
                "1",
                " * ",
                " ~ ",
                "[",
                "]",
                "(",
                ")",
                ".",
                "|join",
                " ",
                "Hi",
            ]
        ),
        max_size=12,
    )
)
def test_any_template_is_refused_or_renders_a_text_or_a_problem(load: Load, pieces: list[str]) -> None:
    try:
        template = load("".join(pieces))
    except TemplateError as error:
        assert error.problems
        return
    for values in (JOHN, BLANK):
        try:
            assert isinstance(template.render(values), str)
        except RowProblem as refused:
            assert refused.code in {Code.MISSING_VALUE, Code.TEMPLATE_ERROR}


@given(st.text(min_size=1, max_size=30))
def test_a_value_is_printed_unchanged_and_never_as_a_template(load: Load, value: str) -> None:
    assert load("<{{ first_name }}>").render(["", value, "", "", ""]) == f"<{value}>"
