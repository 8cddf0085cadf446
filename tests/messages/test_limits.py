"""The limits on the time and size of rendering a row."""

from __future__ import annotations

import threading

import pytest
from template_cases import JOHN, Load, problem

from batchsend.messages import limits
from batchsend.statuses import Code

TOO_LONG = "the template makes a value of over 100,000 characters"
TOO_LARGE = "the template computes too large a number"


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("'a' * 10**9", TOO_LONG),  # a computed factor
        ("'a' * 1000000000", TOO_LONG),  # constants, which Jinja would compute at compile time
        ("1000000000 * 'a'", TOO_LONG),  # the factor on the left
        ("[1] * 10**9", TOO_LONG),
        ("9**9**9", TOO_LARGE),
        ("9**(9**9)", TOO_LARGE),
        ("(2**100) * (2**100)", TOO_LARGE),
        ("'x'|center(10**9)", TOO_LONG),
        ("'x'|center(1000000000)", TOO_LONG),
        ("'x'.center(1000000000)", TOO_LONG),
        ("'x'.zfill(1000000000)", TOO_LONG),
        # The unbounded method by its name.
        ("'x'['center'](1000000000)", "access to attribute 'center' of 'str' object is unsafe"),
        ("'x'|indent(10**9)", TOO_LONG),
        ("'%1000000000d' % 1", TOO_LONG),
        ("'%(a)1000000000d' % {'a': 1}", TOO_LONG),
        ("'%1000000000d'|format(1)", TOO_LONG),
        # A width from the values.
        ("'%*d' % (1000000000, 1)", "the template formats to a width that is itself computed"),
        ("'{:1000000000}'.format(1)", TOO_LONG),
        ("'{:{}}'.format(1, 1000000000)", "the template formats to a width that is itself computed"),
        # Attributes could lead to Python.
        ("'{0.__class__}'.format(1)", "the template formats an attribute of a value"),
        ("('%(a)s' * 15000) % {'a': 'x' * 90000}", TOO_LONG),  # many placeholders
        ("('x' * 90000).replace('x', 'y' * 90000)", TOO_LONG),
        ("('x' * 90000)|replace('x', 'y' * 90000)", TOO_LONG),
        ("([1] * 99999)|join('x' * 99999)", TOO_LONG),  # a long separator
        ("('x' * 99999).join(['a'] * 99999)", TOO_LONG),
        ("('x' * 60000) + ('x' * 60000)", TOO_LONG),
        ("('x' * 60000) ~ ('x' * 60000)", "the template makes a text of over 100,000 characters"),
        (
            "([['x' * 90000] * 90000] * 90000)|string",
            "the template prints a list; use `join`",
        ),  # nested lists
        # Many values that are large together.
        ("range(99999)|map('center', 99999)|map('length')|sum", TOO_LONG),
        ("1.5|round(1000000000, 'ceil')", "the template rounds to over 100 places"),
        ("range(10**9)|list", "the template computes with too large a number"),
        # Numbers have no methods in templates.
        ("(5).to_bytes(1000000000)", "access to attribute 'to_bytes' of 'int' object is unsafe"),
        ("'x'.encode()", "access to attribute 'encode' of 'str' object is unsafe"),
    ],
)
def test_no_value_grows_large(load: Load, expression: str, description: str) -> None:
    assert problem(load("{{ " + expression + " }}"), JOHN) == (Code.TEMPLATE_ERROR, f"line 1: {description}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}xxxxxxxxxx{% endfor %}",  # a long loop
        "{{ 'x' * 60000 }}{{ 'x' * 60000 }}",  # two prints
        # A captured block that is not printed.
        "{% set b %}{% for i in range(99999) %}xxxxxxxxxx{% endfor %}{% endset %}{{ b|length }}",
        "{% macro m() %}{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}{% endmacro %}{{ m()|length }}",
        # Doubling by `~`.
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        # Doubling by `+`.
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        # Doubling a list.
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    ],
)
def test_small_values_cannot_add_up_to_a_large_one(load: Load, source: str) -> None:
    code, description = problem(load(source), JOHN)
    assert code is Code.TEMPLATE_ERROR
    assert description.endswith("of over 100,000 characters")


def test_a_text_of_the_maximum_length(load: Load) -> None:
    assert len(load("{{ 'x' * 50000 }}{{ 'x' * 50000 }}").render(JOHN)) == 100_000


def test_two_nested_loops_end_after_two_seconds(load: Load) -> None:
    template = load("{% for i in range(99999) %}\n{% for j in range(99999) %}{% endfor %}{% endfor %}")
    assert problem(template, JOHN) == (
        Code.TEMPLATE_ERROR,
        "line 2: the template takes over 2 seconds; look for a loop that repeats too often",
    )
    # The next row has a full budget.
    assert load("{% for i in [1] %}{{ first_name }}{% endfor %}").render(JOHN) == "JOHN"


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
TWICE = "{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
COUNTED = "{% set s = namespace(n=60) %}"
ONE_LESS = "{% if s.n %}{% set s.n = s.n - 1 %}"
ONE_MORE = "{% set s.n = s.n + 1 %}{% endif %}"


@pytest.mark.parametrize(
    ("source", "files"),
    [
        (ENDLESS, {}),  # nested loops
        # A loop whose body is never entered.
        (ENDLESS.replace("range(99999) %}{% e", "range(99999) if false %}{% e"), {}),
        ("{% macro f(n) %}" + TWICE + "{% endmacro %}{{ f(60) }}", {}),  # a macro that calls itself twice
        ("{% macro f(n) %}" + TWICE + "{% endmacro %}{% set x = f(60) %}", {}),  # the same without printing
        (
            "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}"
            + ("{% call f() %}" * 18 + "x" + "{% endcall %}" * 18),
            {},
        ),
        (
            COUNTED + "{% include 'a.j2' %}",
            {"a.j2": ONE_LESS + "{% include 'a.j2' %}{% include 'a.j2' %}" + ONE_MORE},
        ),
        (
            COUNTED
            + "{% block b %}"
            + ONE_LESS
            + "{{ self.b() }}{{ self.b() }}"
            + ONE_MORE
            + "{% endblock %}",
            {},
        ),
        (
            "{% for i in [60] recursive %}{% if i %}{{ loop([i - 1]) }}{{ loop([i - 1]) }}{% endif %}{% endfor %}",
            {},
        ),
    ],
)
def test_everything_that_repeats_checks_the_time(
    load: Load, monkeypatch: pytest.MonkeyPatch, source: str, files: dict[str, str]
) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.05)
    code, description = problem(load(source, files), JOHN)
    assert code is Code.TEMPLATE_ERROR
    assert description.endswith(
        "the template takes over 0.05 seconds; look for a loop that repeats too often"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",  # a macro
        "{% include 'text.j2' %}",  # a file that includes itself
        "{% extends 'text.j2' %}",  # a file that extends itself
        "{% block b %}{{ self.b() }}{% endblock %}",  # a block
    ],
)
def test_endless_recursion(load: Load, source: str) -> None:
    assert problem(load(source), JOHN) == (
        Code.TEMPLATE_ERROR,
        "line 1: the template calls itself endlessly",
    )


def test_rows_rendered_in_parallel_have_separate_budgets(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.3)
    endless = load(ENDLESS)
    short = load("{% for i in [1] %}{{ first_name }}{% endfor %}")
    seen: list[tuple[Code, str]] = []
    other = threading.Thread(target=lambda: seen.append(problem(endless, JOHN)))
    other.start()
    texts = set()
    while other.is_alive():
        texts.add(short.render(JOHN))
    other.join()
    assert texts <= {"JOHN"}
    assert [code for code, _ in seen] == [Code.TEMPLATE_ERROR]
