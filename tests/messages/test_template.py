"""Templates: the check against the list's columns, rendering row by row, and the limits on time and size."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.errors import TemplateError
from batchsend.messages import limits
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.statuses import Code

COLUMNS = ["Customer ID", "First Name", "2nd Phone", "Price", "Range"]
JOHN = ["C1", "JOHN", "3125550142", "10", "250"]
BLANK = ["C2", "", "", "", ""]

Load = Callable[..., MessageTemplate]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a template and other files of its folder, and loads it for a list with COLUMNS."""

    def write_and_load(
        source: str, files: Mapping[str, str] = {}, columns: list[str] = COLUMNS
    ) -> MessageTemplate:
        for name, text in {"text.j2": source, **files}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return MessageTemplate.load(tmp_path / "text.j2", columns)

    return write_and_load


def problems(load: Load, source: str, **arguments: object) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        load(source, **arguments)
    assert str(caught.value).startswith(str(caught.value.path))
    return list(caught.value.problems)


def problem(template: MessageTemplate, values: list[str]) -> tuple[Code, str]:
    with pytest.raises(RowProblem) as caught:
        template.render(values)
    return caught.value.code, caught.value.description


# Columns and values


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hi {{ first_name }}!", "Hi JOHN!"),
        ("{{ first_name|name_case }}", "John"),
        # As in headers, case and underscores are ignored.
        ("{{ FirstName }} {{ FIRST_NAME }}", "JOHN JOHN"),
        ('{{ row["2nd Phone"]|phone }}', "(312) 555-0142"),
        ('{{ row["2ND_PHONE"] }} {{ row.first_name }}', "3125550142 JOHN"),
        ('{% set wanted = "Price" %}{{ row[wanted] }}', "10"),
        # A column with the name of one of Jinja's functions.
        ('{{ row["Range"] }} {{ range(3)|join }}', "250 012"),
        ("{{ price|float * 2 }} {{ price|money }}", "20.0 $10.00"),
        ("“{{ first_name[0] }}.” – naïve 😀", "“J.” – naïve 😀"),  # curly quotes are ordinary text
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ '<b>' ~ first_name }} & co", "<b>JOHN & co"),  # texts are not HTML
        ("{% for n in [1, 2] %}{{ loop.index }}{{ n }} {% endfor %}", "11 22 "),
        ("{% if price %}{% set note = 'x' %}{% endif %}{{ note }}", "x"),
        # A column that is set in one branch keeps its value in the others.
        ("{% if not first_name %}{% set first_name = 'you' %}{% endif %}{{ first_name }}", "JOHN"),
        ("{% if not row %}{% set row = {} %}{% endif %}{{ row['Price'] }}", "10"),
        ("{% macro hi(name) %}Hi {{ name }}{% endmacro %}{{ hi(first_name) }}", "Hi JOHN"),
        ('{{ "%s, %05.1f" % (first_name, 2.5) }}', "JOHN, 002.5"),
        ('{{ "{:>6}|{:,}".format(first_name, 12345) }}', "  JOHN|12,345"),
        ("{{ 'a-b'.replace('-', '+').center(5) }}", " a+b "),
        ("{{ '-' * 3 }}{{ 2 ** 5 }}{{ 7 % 4 }}", "---323"),
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
        (
            "{% for c in [1] %}{{ row[price ~ c]|default('') }}{% endfor %}",
            {0, 1, 2, 3, 4},
        ),  # any column could be meant
    ],
)
def test_the_columns_a_template_uses(load: Load, source: str, uses: set[int]) -> None:
    assert load(source, {"other.j2": "{{ price }}"}).uses == uses


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if first_name %}a{% else %}b{% endif %}", "b"),
        ("{{ first_name or 'there' }}", "there"),
        ("{{ first_name|default('there') }}", "there"),
        ("{{ first_name|name_case|default('there') }}", "there"),
        ("{{ first_name|trim|upper|title|default('there') }}", "there"),
        ("{{ price|money or 'free' }}{{ price|date('d') or '' }}{{ row['2nd Phone']|phone or '' }}", "free"),
        ("{{ 'a' if first_name == '' else 'b' }}{{ 'a' if first_name != 'x' else 'b' }}", "aa"),
        ("{{ 'a' if first_name is defined else 'b' }}{{ 'a' if 'x' in first_name else 'b' }}", "bb"),
        ("{{ 'a' if first_name|length > 3 else 'b' }}", "b"),
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
        "first_name|int",
        "first_name|first",
        "first_name|join",
        "first_name|map('upper')|join",
        "first_name|select|join",
        "first_name|reject|join",
        "first_name|unique|join",
        "[first_name]|join",
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
        "`first_name` is blank (column First Name), and the template prints it on line 2: "
        "give it a default or fill the cell"
    )


def test_a_blank_cell_of_the_row_names_its_column(load: Load) -> None:
    assert problem(load('{{ row["2nd Phone"] }}'), BLANK)[1] == (
        '`row["2nd Phone"]` is blank (column 2nd Phone), and the template prints it on line 1: '
        "give it a default or fill the cell"
    )


def test_a_blank_in_an_included_file_names_the_file(load: Load) -> None:
    template = load("{% include 'footer.j2' %}", {"footer.j2": "\n{{ price }}"})
    assert problem(template, BLANK)[1] == (
        "`price` is blank (column Price), and the template prints it on line 2 of footer.j2: "
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
            "line 1: the template multiplies text; convert it to a number first, as in `price|float * 2`",
        ),
        (
            "{{ price > 5 }}",
            "line 1: text and numbers do not mix; convert cells to numbers first, as in `mileage|int > 50000`",
        ),
        ("{{ 1 / 0 }}", "line 1: the template divides by zero"),
        ("{{ none }}", "line 1: the template prints `none`, which is not text"),
        ("{{ price == '10' }}", "line 1: the template prints true or false, which is not text"),
        ("{{ [price] }}", "line 1: the template prints a list; use `join`"),
        ("{{ first_name.upper }}", "line 1: the template prints a method; add parentheses ()"),
        ("{{ row }}", "line 1: the template prints something that is not text"),
        ("{{ row[price] }}", "line 1: the template looks for a column that the list does not have"),
        ("{{ first_name.foo }}", "line 1: 'str object' has no attribute 'foo'"),
        (
            "{{ first_name|map('shout')|list }}",
            "line 1: the template cannot be rendered for this row (TemplateRuntimeError)",
        ),
        ("{{ ''.__class__ }}", "line 1: access to attribute '__class__' of 'str' object is unsafe"),
    ],
)
def test_problems_of_a_row(load: Load, source: str, description: str) -> None:
    assert problem(load(source), JOHN) == (Code.TEMPLATE_ERROR, description)


# The check before any row

HAS = "it has: Customer ID, First Name, 2nd Phone, Price, Range"
SPACE_IN_NAME = (
    "line 1: unexpected `name`; no spaces in names: write {{ first_name }}, "
    'or {{ row["2nd Phone"] }} if a name begins with a digit'
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (  # all problems together, by line
            "Hi\n{{ frist_name }},\n{{ vehicle }} {{ first_name|nam_case }} {% if price is ood %}{% endif %}",
            [
                "line 2: the list has no column for `frist_name`; the nearest is `first_name` (column First Name)",
                "line 3: the list has no column for `vehicle`; " + HAS,
                "line 3: there is no filter `nam_case`; did you mean `name_case`?",
                "line 3: there is no test `ood`; did you mean `odd`?",
            ],
        ),
        (  # in a branch that is never taken
            "{% if false %}{{ prise }}{% endif %}",
            ["line 1: the list has no column for `prise`; the nearest is `price` (column Price)"],
        ),
        ("{{ today() }}", ["line 1: the list has no column for `today`; " + HAS]),
        (
            '{{ row["2nd Fone"] }}{{ row.frist_name }}{{ row[0] }}',
            [
                'line 1: `row` takes the header of a column in quotes: row["First Name"]',
                'line 1: the list has no column for `2nd Fone`; the nearest is `row["2nd Phone"]` (column 2nd Phone)',
                "line 1: the list has no column for `frist_name`; the nearest is `first_name` (column First Name)",
            ],
        ),
        ("{{ range }}", ['line 1: `range` is a function of Jinja\'s; write row["Range"] for the column']),
        ("{{ first_name|escape }}", ["line 1: there is no filter `escape`"]),  # texts are not HTML
        # The preview would differ from the sent text.
        ("{{ [1, 2]|random }}", ["line 1: there is no filter `random`"]),
        ("{{ first name }}", [SPACE_IN_NAME]),
        ("\n{{ first_name", ["line 2: a {{ is never closed by }}"]),
        ("{{ first_name }", ["line 1: a {{ must be closed by two braces: }}"]),
        ("{% if first_name", ["line 1: a {% is never closed by %}"]),
        ("{% if first_name %}Hi", ["line 1: a {% if %} is never closed by {% endif %}"]),
        ("{% if price = 1 %}{% endif %}", ["line 1: = sets a value; write == to compare"]),
        (
            "{{ first_name|default(“you”) }}",
            ["line 1: curly quotes between the braces; type straight quotes"],
        ),
        (
            "{% if price %}{% endfi %}{% endif %}",
            ["line 1: there is no tag `endfi`; the open {% if %} is closed by {% endif %}"],
        ),
        ("{% endfor %}", ["line 1: the tag `endfor` does not belong here"]),
        ("{# note", ["line 1: this cannot be read: Missing end of comment tag"]),
        ("{{" + "(" * 500 + "1" + ")" * 500 + "}}", ["line 1: the template is nested too deeply"]),
        ("{% for a in '1' %}" * 30 + "{% endfor %}" * 30, ["the template is nested too deeply"]),
        (  # placeholders of other programs
            "Hi {first_name},\n[First Name] <<Price>> «2nd phone» {other} [x]",
            [
                "line 1: `{first_name}` would be sent as is; write {{ first_name }}",
                "line 2: `<<Price>>` would be sent as is; write {{ price }}",
                "line 2: `[First Name]` would be sent as is; write {{ first_name }}",
                'line 2: `«2nd phone»` would be sent as is; write {{ row["2nd Phone"] }}',
            ],
        ),
    ],
)
def test_all_problems_are_found_before_any_row(load: Load, source: str, expected: list[str]) -> None:
    assert problems(load, source) == expected


def test_two_columns_with_one_name(load: Load) -> None:
    columns = ["Phone #", "phone?", "Name"]
    # No problem if the template does not use them.
    assert load("{{ name }}", columns=columns).render(["1", "2", "Jo"]) == "Jo"
    assert load('{{ row["Phone #"] }}{{ row["phone?"] }}', columns=columns).render(["1", "2", ""]) == "12"
    assert problems(load, "{{ phone }}", columns=columns) == [
        'line 1: `phone` could be any of the columns "Phone #" and "phone?"; rename all but one of them'
    ]
    # An underscore is enough to tell two columns apart.
    assert load("{{ phone_1 }}{{ phone1 }}", columns=["Phone 1", "Phone1"]).render(["a", "b"]) == "ab"


@pytest.mark.parametrize(
    ("content", "problem_text"),
    [
        ("Hi\nJosé".encode("cp1252"), "line 2: the file is not in UTF-8; save it as plain text in UTF-8"),
        ("Hi".encode("utf-16"), "line 1: the file is not in UTF-8; save it as plain text in UTF-8"),
        (b"PK\x03\x04", "this is a word processor document; save it as plain text in UTF-8"),
        (b"{\\rtf1 Hi}", "this is a word processor document; save it as plain text in UTF-8"),
        (b"x" * 1_000_001, "the file is too large for a template: it has more than 1,000,000 bytes"),
    ],
)
def test_files_that_are_not_templates(tmp_path: Path, content: bytes, problem_text: str) -> None:
    path = tmp_path / "text.j2"
    path.write_bytes(content)
    with pytest.raises(TemplateError) as caught:
        MessageTemplate.load(path, COLUMNS)
    assert str(caught.value) == f"{path}: {problem_text}"


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(TemplateError) as caught:
        MessageTemplate.load(tmp_path / "none.j2", COLUMNS)
    assert str(caught.value) == f"{tmp_path / 'none.j2'}: there is no such file"
    with pytest.raises(TemplateError) as caught:
        MessageTemplate.load(tmp_path, COLUMNS)
    assert str(caught.value) == f"{tmp_path}: this is not a file"


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "text.j2"
    path.write_bytes("\ufeffHi {{ first_name }}\r\nBye".encode())
    assert MessageTemplate.load(path, COLUMNS).render(JOHN) == "Hi JOHN\nBye"


# Other files of the folder

GREETING = "{% macro hi(name) %}Hi {{ name }}{% endmacro %}"
PRIVATE_ROW = (
    "m.j2, line 1: `first_name` is a column, but the file that imports this one does not share the row; "
    "add `with context` to the import, or pass the value to the macro"
)


@pytest.mark.parametrize(
    ("source", "files", "text"),
    [
        ("{% include 'a.j2' %}", {"a.j2": "Hi {{ first_name }}"}, "Hi JOHN"),
        ("{% include 'sub/a.j2' %}", {"sub/a.j2": "x"}, "x"),
        ("{% include 'none.j2' ignore missing %}ok", {}, "ok"),
        ("{% include ['none.j2', 'a.j2'] %}", {"a.j2": "x"}, "x"),
        (
            "{% set q = 'x' %}{% include 'a.j2' %}",
            {"a.j2": "{{ q }}"},
            "x",
        ),  # a name set by the including file
        ("{% from 'm.j2' import hi %}{{ hi(first_name) }}", {"m.j2": GREETING}, "Hi JOHN"),
        (
            "{% import 'm.j2' as m with context %}{{ m.hi() }}",
            {"m.j2": "{% macro hi() %}Hi {{ first_name }}{% endmacro %}"},
            "Hi JOHN",
        ),
        (
            "{% extends 'base.j2' %}{% block b %}{{ first_name }}{% endblock %}",
            {"base.j2": "[{% block b %}{% endblock %}] {{ price }}"},
            "[JOHN] 10",
        ),
    ],
)
def test_other_files(load: Load, source: str, files: dict[str, str], text: str) -> None:
    assert load(source, files).render(JOHN) == text


@pytest.mark.parametrize(
    ("source", "files", "expected"),
    [
        (
            "\n{% include 'none.j2' %}",
            {},
            "line 2: `none.j2` cannot be used: there is no such file in the template's folder",
        ),
        (
            "{% include '../secret.j2' %}",
            {},
            "line 1: `../secret.j2` cannot be used: it is not in the template's folder",
        ),
        (
            "{% include '.env' %}",
            {".env": "MYKAARMA_PASSWORD=secret"},
            "line 1: `.env` cannot be used: it is hidden, and hidden files hold settings and passwords",
        ),
        ("{% include first_name %}", {}, "line 1: write the name of the other file in quotes"),
        (
            "{% include 'a.j2' %}",
            {"a.j2": "\n{{ prise }}"},
            "a.j2, line 2: the list has no column for `prise`; the nearest is `price` (column Price)",
        ),
        (
            "{% include 'a.j2' %}",
            {"a.j2": "{% if price %}"},
            "a.j2, line 1: a {% if %} is never closed by {% endif %}",
        ),
        (
            "{% from 'm.j2' import hi %}{{ hi() }}",
            {"m.j2": "{% macro hi() %}{{ first_name }}{% endmacro %}"},
            PRIVATE_ROW,
        ),
    ],
)
def test_other_files_that_cannot_be_used(
    load: Load, source: str, files: dict[str, str], expected: str
) -> None:
    assert problems(load, source, files=files) == [expected]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_out_of_the_folder_is_not_followed(load: Load, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.j2"
    secret.write_text("secret", encoding="utf-8")
    (tmp_path / "link.j2").symlink_to(secret)
    (tmp_path / "up").symlink_to(tmp_path.parent)
    for name in ("link.j2", "up/secret.j2"):
        assert problems(load, "{% include '" + name + "' %}") == [
            f"line 1: `{name}` cannot be used: it is not in the template's folder"
        ]


def test_the_checked_source_is_rendered_even_if_a_file_changes(load: Load, tmp_path: Path) -> None:
    template = load("{% include 'a.j2' %}", {"a.j2": "checked"})
    (tmp_path / "a.j2").write_text("{{ nothing_of_the_list }}", encoding="utf-8")
    assert template.render(JOHN) == "checked"


def test_the_fingerprint_changes_with_every_file(load: Load) -> None:
    first = load("{% include 'a.j2' %}", {"a.j2": "x"}).source_sha256
    assert load("{% include 'a.j2' %}", {"a.j2": "x"}).source_sha256 == first
    assert load("{% include 'a.j2' %}", {"a.j2": "y"}).source_sha256 != first
    assert load("{% include 'a.j2' %} ", {"a.j2": "x"}).source_sha256 != first


# Bounds

TOO_LONG = "the template makes a value of over 100,000 characters"
TOO_LARGE = "the template computes too large a number"


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("'a' * 10**9", TOO_LONG),
        ("'a' * 1000000000", TOO_LONG),  # constants, which Jinja would compute at compile time
        ("1000000000 * 'a'", TOO_LONG),
        ("[1] * 10**9", TOO_LONG),
        ("9**9**9", TOO_LARGE),
        ("9**(9**9)", TOO_LARGE),
        ("(2**100) * (2**100)", TOO_LARGE),
        ("'x'|center(10**9)", TOO_LONG),
        ("'x'|center(1000000000)", TOO_LONG),
        ("'x'.center(1000000000)", TOO_LONG),
        ("'x'.zfill(1000000000)", TOO_LONG),
        ("'x'['center'](1000000000)", "access to attribute 'center' of 'str' object is unsafe"),
        ("'x'|indent(10**9)", TOO_LONG),
        ("'%1000000000d' % 1", TOO_LONG),
        ("'%(a)1000000000d' % {'a': 1}", TOO_LONG),
        ("'%1000000000d'|format(1)", TOO_LONG),
        ("'%*d' % (1000000000, 1)", "the template formats to a width that is itself computed"),
        ("'{:1000000000}'.format(1)", TOO_LONG),
        ("'{:{}}'.format(1, 1000000000)", "the template formats to a width that is itself computed"),
        ("'{0.__class__}'.format(1)", "the template formats an attribute of a value"),
        ("('%(a)s' * 15000) % {'a': 'x' * 90000}", TOO_LONG),
        ("('x' * 90000).replace('x', 'y' * 90000)", TOO_LONG),
        ("('x' * 90000)|replace('x', 'y' * 90000)", TOO_LONG),
        ("([1] * 99999)|join('x' * 99999)", TOO_LONG),
        ("('x' * 99999).join(['a'] * 99999)", TOO_LONG),
        ("('x' * 60000) + ('x' * 60000)", TOO_LONG),
        ("('x' * 60000) ~ ('x' * 60000)", "the template makes a text of over 100,000 characters"),
        ("([['x' * 90000] * 90000] * 90000)|string", "the template prints a list; use `join`"),
        (
            "range(99999)|map('center', 99999)|map('length')|sum",
            TOO_LONG,
        ),  # many values that are large together
        ("1.5|round(1000000000, 'ceil')", "the template rounds to over 100 places"),
        ("range(10**9)|list", "the template computes with too large a number"),
        ("(5).to_bytes(1000000000)", "access to attribute 'to_bytes' of 'int' object is unsafe"),
        ("'x'.encode()", "access to attribute 'encode' of 'str' object is unsafe"),
    ],
)
def test_no_value_grows_large(load: Load, expression: str, description: str) -> None:
    assert problem(load("{{ " + expression + " }}"), JOHN) == (Code.TEMPLATE_ERROR, f"line 1: {description}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}xxxxxxxxxx{% endfor %}",
        "{{ 'x' * 60000 }}{{ 'x' * 60000 }}",
        "{% set b %}{% for i in range(99999) %}xxxxxxxxxx{% endfor %}{% endset %}{{ b|length }}",
        "{% macro m() %}{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}{% endmacro %}{{ m()|length }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
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
        (ENDLESS, {}),
        # A loop whose body is never entered.
        (ENDLESS.replace("range(99999) %}{% e", "range(99999) if false %}{% e"), {}),
        ("{% macro f(n) %}" + TWICE + "{% endmacro %}{{ f(60) }}", {}),
        ("{% macro f(n) %}" + TWICE + "{% endmacro %}{% set x = f(60) %}", {}),
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
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'text.j2' %}",
        "{% extends 'text.j2' %}",
        "{% block b %}{{ self.b() }}{% endblock %}",
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
