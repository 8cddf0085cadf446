"""Templates as people read them: nothing is lost, and a choice changes exactly its placeholder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.lists.headers import ColumnIndex
from batchsend.messages.placeholders import (
    FORMATS,
    Tag,
    labels,
    mistakes_in,
    read_tag,
    readable,
    source_of,
    with_settings,
)
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.statuses import Code

HEADERS = (
    "First Name",
    "Model",
    "2nd Phone",
    "Price (USD)",
    "(old) Phone",
    'The "Best"',
    "First Name 2",
    "Due\n Date",
)
COLUMNS = ColumnIndex(HEADERS)
BY_HAND = (
    "{{ model | length }}",
    "{{- model }}",
    "{{ model\n}}",
    '{{ model | default("x") | upper }}',
    '{{ model | default("x", true) }}',
    '{{ model | replace("(", ")") }}',
    "{{ model or first_name }}",
    '{{ "x" if model else "y" }}',
    "{{ model + '1' }}",
    "{{ model[0] }}",
    "{{ row.model }}",
    "{{ row }}",
    "{{ no_such }}",
    "{{ true }}",
    "{% if model %}",
    "{% else %}",
    "{% endif %}",
    "{# a ) note ( #}",
    "{% raw %}{{ model }}{% endraw %}",
    "{{ model | date('d') ",
    "{% set x = 1 -%}  ",
    "{{",
    "}}",
    '{{ "',
)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), max_size=8)
names = st.sampled_from(
    ["first_name", "model", "FirstName", 'row["2nd Phone"]', "row['Model']", 'row["No such"]']
)
made_tags = st.builds(
    Tag, names, st.sampled_from([*FORMATS, "date('d')", "name_case | upper"]), st.none() | words
)
plain = st.text("ab ()\n{}[]|'\"", max_size=6).filter(lambda text: "{" not in text)
spelled = st.sampled_from(
    ["{{model}}", "{{  model|name_case|default( 'you' )  }}", '{{ model or "you" }}', "{{ model|d('') }}"]
)


@given(
    st.lists(plain | made_tags.map(lambda tag: tag.source) | spelled | st.sampled_from(BY_HAND), max_size=8)
)
def test_every_template_comes_back_unchanged(parts: list[str]) -> None:
    source = "".join(parts)
    found = readable(source, COLUMNS)
    if found is None:
        # The form shows no text that has its own marks.
        assert "((" in source or "))" in source
    else:
        assert source_of(found.text, found.tags, COLUMNS) == source


@given(st.lists(st.text("ab \n'|", max_size=5) | made_tags.map(lambda tag: tag.source), max_size=6))
def test_the_usual_templates_have_a_readable_form_without_braces(parts: list[str]) -> None:
    found = readable("".join(parts), COLUMNS)
    assert found is not None
    assert "{" not in found.text
    assert list(labels(found.text, found.tags, COLUMNS)) == list(found.tags)


@given(made_tags)
def test_a_tag_is_read_as_it_was_written(tag: Tag) -> None:
    assert read_tag(tag.source) == tag


@pytest.mark.parametrize("source", [one for one in BY_HAND if one.startswith("{{")])
def test_what_a_form_cannot_show_is_left_alone(source: str) -> None:
    assert with_settings(source, "money", "x") == source or source == "{{ no_such }}"
    found = readable(f"Hi {source} bye", COLUMNS)
    assert found is None or found.text == f"Hi {source} bye"


def test_a_name_that_the_template_sets_is_no_column() -> None:
    source = "{% for model in row %}{{ model }}{% endfor %} {{ first_name }}"
    found = readable(source, COLUMNS)
    assert found is not None
    assert found.text == "{% for model in row %}{{ model }}{% endfor %} ((First Name))"


def test_the_readable_form_names_columns_as_the_list_does() -> None:
    source = (
        'Hi {{ first_name | name_case | default("there") }} ({{ price_usd }}), {{ row["2nd Phone"] | phone }}, '
        '{{ old_phone }}, {{ first_name }}, {{ row["No such"] }} {{ the_best }} {{ due_date }}'
    )
    found = readable(source, COLUMNS)
    assert found is not None
    assert found.text == (
        "Hi ((First Name)) (((Price (USD)))), ((2nd Phone)), (((old) Phone)), ((First Name 3)), ((No such)) "
        '((The "Best")) ((Due Date))'
    )
    assert found.tags["First Name"] == '{{ first_name | name_case | default("there") }}'
    assert found.tags["First Name 3"] == "{{ first_name }}"


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("((Model))", "{{ model }}"),
        ("(((Model)) here)", "({{ model }} here)"),
        ("((first name)) ((MODEL))", '{{ first_name | default("you") }} {{ model }}'),
        ("((Due Date))", "{{ due_date }}"),
        ("((2nd Phone))", '{{ row["2nd Phone"] }}'),
        ("((Modle))", '{{ row["Modle"] }}'),
        ('((a "b"))', '{{ row["a \\"b\\""] }}'),
        ("((Model) (x) ((\n))", "((Model) (x) ((\n))"),
        ("{{ model }} {% if x %}", "{{ model }} {% if x %}"),
    ],
)
def test_what_people_type_becomes_a_template(typed: str, source: str) -> None:
    tags = {"First Name": '{{ first_name | default("you") }}'}
    assert source_of(typed, tags, COLUMNS) == source


@pytest.mark.parametrize(
    ("typed", "sentences"),
    [
        ("Hi ((Model)) (ok)", []),
        ("Hi ((Modle))", ["The list has no column “Modle”. Did you mean ((Model))?"]),
        ("Hi ((zzz))", ["The list has no column “zzz”. Use one of the columns below the text."]),
        ("Hi ((Model), bye", ["“((Model), bye” is not closed. Write ((Model))."]),
        ("Hi ((Model\n))", ["“((Model” is not closed. Write ((Model))."]),
    ],
)
def test_mistakes_say_what_to_write(typed: str, sentences: list[str]) -> None:
    assert mistakes_in(typed, {}, COLUMNS) == sentences


VALUES = {"": "X", "name_case": "JOHN", "money": "1234.5", "phone": "3125550142", "upper": "x"}


def say(source: str, value: str) -> str:
    """Renders a template for a row in which the column Model has this value."""
    template = MessageTemplate.of(Path("text.j2"), source, HEADERS)
    return template.render(["John", value, *[""] * (len(HEADERS) - 2)])


@pytest.mark.parametrize("filters", FORMATS)
def test_each_format_of_the_menu_prints_what_the_menu_says(filters: str) -> None:
    printed = say(Tag("model", filters).source, VALUES.get(filters, "2026-03-09 09:30:00"))
    assert printed.replace("\u202f", " ").replace("'", "’") in FORMATS[filters] or filters in ("", "upper")


@given(st.sampled_from([*FORMATS]), words.filter(bool))
def test_a_blank_says_the_words_or_leaves_the_customer_out(filters: str, instead: str) -> None:
    changed = with_settings("{{ model | lower }}", filters, instead)
    assert say(changed, "") == instead
    with pytest.raises(RowProblem) as raised:
        say(with_settings(changed, filters, None), "")
    assert raised.value.code == Code.MISSING_VALUE


@given(st.lists(plain | spelled | made_tags.map(lambda tag: tag.source), max_size=6), st.data())
def test_a_choice_changes_exactly_its_placeholder(parts: list[str], data: st.DataObject) -> None:
    found = readable("".join(parts), COLUMNS)
    if found is None or not found.tags:
        return
    label = data.draw(st.sampled_from(sorted(found.tags)))
    changed = {**found.tags, label: with_settings(found.tags[label], "money", "nothing")}
    source = source_of(found.text, changed, COLUMNS)
    again = [changed[label] if part == found.tags[label] else part for part in parts]
    assert source == "".join(again)
