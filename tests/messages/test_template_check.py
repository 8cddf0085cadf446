"""The check of a template and its files, before any row."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from template_cases import COLUMNS, JOHN, Load, problems

from batchsend.errors import TemplateError
from batchsend.messages.template import MessageTemplate

HAS = "it has: Customer ID, First Name, 2nd Phone, Price, Range"


IN_A_PACKAGE = "; if a package adds it, install the package on this computer"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (  # all problems together, by line
            "Hi\n{{ frist_name }},\n{{ vehicle }} {{ first_name|nam_case }} {% if price is ood %}{% endif %}",
            [
                "line 2: the list has no column for `frist_name`; the nearest is `first_name` (column First Name)",
                "line 3: the list has no column for `vehicle`; " + HAS,
                "line 3: there is no filter `nam_case`; did you mean `name_case`, or is a package missing here?",
                "line 3: there is no test `ood`; did you mean `odd`?",
            ],
        ),
        (  # in a branch that is never taken
            "{% if false %}{{ prise }}{% endif %}",
            ["line 1: the list has no column for `prise`; the nearest is `price` (column Price)"],
        ),
        (
            "{{ today() }}",
            ["line 1: the list has no column for `today`; " + HAS],
        ),  # a function that does not exist
        (
            '{{ row["2nd Fone"] }}{{ row.frist_name }}{{ row[0] }}',
            [
                'line 1: `row` takes the header of a column in quotes: row["First Name"]',
                'line 1: the list has no column for `2nd Fone`; the nearest is `row["2nd Phone"]` (column 2nd Phone)',
                "line 1: the list has no column for `frist_name`; the nearest is `first_name` (column First Name)",
            ],
        ),
        ("{{ range }}", ['line 1: `range` is a function of Jinja\'s; write row["Range"] for the column']),
        (
            "{{ first_name|escape }}",
            [f"line 1: there is no filter `escape`{IN_A_PACKAGE}"],
        ),  # texts are not HTML
        # The preview would differ from the sent text.
        ("{{ [1, 2]|random }}", [f"line 1: there is no filter `random`{IN_A_PACKAGE}"]),
        (
            "{{ first name }}{% if first_name",
            [
                "line 1: a {% must be closed by %}; write {% if first_name %}",
                "line 1: names have no spaces or signs; write {{ first_name }}",
            ],
        ),
        ("{% if first_name %}Hi", ["line 1: a {% if %} is never closed by {% endif %}"]),
        (
            "{% if price %}{% endfi %}{% endif %}",
            ["line 1: there is no tag `endfi`; the open {% if %} is closed by {% endif %}"],
        ),
        ("{% endfor %}", ["line 1: the tag `endfor` does not belong here"]),
        (
            "{# note",
            ["line 1: this cannot be read: Missing end of comment tag"],
        ),  # no plain message for this one
        ("{{" + "(" * 500 + "1" + ")" * 500 + "}}", ["line 1: the template is nested too deeply"]),
        # Too deep for the Python compiler.
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


NAMES = "names have no spaces or signs"
QUOTE = "a quotation mark is missing"
CONDITIONS = "conditions are written with `and`, `or`, `not`, == and !="
BETWEEN = "conditions and loops are between {% and %}"


@pytest.mark.parametrize(
    ("source", "reason", "write"),
    [
        ("{{ First Name }}", NAMES, "{{ first_name }}"),
        ("{{ first name | title }}", NAMES, "{{ first_name | title }}"),
        ("{{ row.First Name }}", NAMES, "{{ first_name }}"),
        ("{{ coupon_% }}", NAMES, "{{ coupon }}"),
        ("{{ Deal #|upper }}", NAMES, '{{ row["Deal #"]|upper }}'),  # `Deal` is another column
        ("{{ 2nd Phone }}", NAMES, '{{ row["2nd Phone"] }}'),
        ("{{ Buyer's Name }}", NAMES, "{{ buyers_name }}"),
        ("{{ first-name }}", NAMES, "{{ first_name }}"),  # can be read, as a difference
        ("{% if First Name == 'Model Year' %}{% endif %}", NAMES, "{% if first_name == 'Model Year' %}"),
        ("{% for x in First Name %}{% endfor %}", NAMES, "{% for x in first_name %}"),
        ('{{ first_name | default("there) }}', QUOTE, '{{ first_name | default("there") }}'),
        ("{{ first_name | default(there') }}", QUOTE, "{{ first_name | default('there') }}"),
        ("{{ price | money('USD\") }}", QUOTE, '{{ price | money("USD") }}'),
        ("{{ deal or 'none }} it's", QUOTE, "{{ deal or 'none' }}"),
        ("{{ first_name }", "a {{ must be closed by }}", "{{ first_name }}"),
        ("\n{{ first_name", "a {{ must be closed by }}", "{{ first_name }}"),
        ("{{ first_name %}", "a {{ must be closed by }}", "{{ first_name }}"),
        ("{% if deal }}x{% endif %}", "a {% must be closed by %}", "{% if deal %}"),
        ("{% if deal", "a {% must be closed by %}", "{% if deal %}"),
        ("{{{ first_name }}}", "two braces are enough", "{{ first_name }}"),
        ("{{ (deal }}", "a parenthesis is missing", "{{ (deal) }}"),
        ("{% if deal = 1 %}{% endif %}", "= sets a value and == compares", "{% if deal == 1 %}"),
        ("{{ deal || 'none' }}", CONDITIONS, "{{ deal or 'none' }}"),
        ("{% if deal && !price %}{% endif %}", CONDITIONS, "{% if deal and not price %}"),
        ("{% if deal <> 'a' AND price %}{% endif %}", CONDITIONS, "{% if deal != 'a' and price %}"),
        ("{{ deal ? 'a' : 'b' }}", "a choice is written with if and else", "{{ 'a' if deal else 'b' }}"),
        (
            "{{ first_name | default: 'you' }}",
            "the values of a filter are in parentheses",
            "{{ first_name | default('you') }}",
        ),
        (
            "{{ first_name|default(“you”) }}",
            "curly quotes between the braces",
            '{{ first_name|default("you") }}',
        ),
        ("{% if deal %}a{% else if price %}b{% endif %}", "the tag is written `elif`", "{% elif price %}"),
        ("{% if deal %}a{% end if %}", "the tag is written `endif`", "{% endif %}"),
        ("{{ if deal }}a{% endif %}", BETWEEN, "{% if deal %}"),
        ("{% first_name %}", "a column is between double braces", "{{ first_name }}"),
        # Comments and raw text are left alone.
        (
            "{# {{ Deal # }} #}{% raw %}{{ Deal # }}{% endraw %}\n{{ 2nd Phone }}",
            NAMES,
            '{{ row["2nd Phone"] }}',
        ),
    ],
)
def test_a_usual_mistake_is_answered_with_what_to_write(
    load: Load, source: str, reason: str, write: str
) -> None:
    columns = ["First Name", "Coupon %", "Deal", "Deal #", "2nd Phone", "Buyer's Name", "Price"]
    assert f"{reason}; write {write}" in {
        problem.partition(": ")[2] for problem in problems(load, source, columns=columns)
    }


def test_the_line_of_each_mistake_is_given(load: Load) -> None:
    assert problems(load, "Hi\n{{ First Name }},\n\n{{ price | money('USD) }}") == [
        "line 2: names have no spaces or signs; write {{ first_name }}",
        "line 4: a quotation mark is missing; write {{ price | money('USD') }}",
    ]


@given(st.text(st.sampled_from("{}%|'\"()[]=!&?:#- \nabFirst Name2nd Phone"), max_size=60))
def test_any_mistake_has_a_line_and_an_answer(source: str) -> None:
    try:
        MessageTemplate.of(Path("text.j2"), source, COLUMNS)
    except TemplateError as error:
        assert all(error.problems)


def test_a_template_of_mistakes_only_is_answered_soon(load: Load) -> None:
    assert len(problems(load, "{{ a b }}{{ First Name }}\n" * 20_000)) == 20
    assert problems(load, "{{ " + "x ? y : " * 5000 + " }}")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            '{{ price | date("MM/DD/YYYY") }}',
            "line 1: in the pattern `MM/DD/YYYY`, Y is the year of the week; write `MM/dd/yyyy`",
        ),
        (
            '{{ price | date(pattern="%m/%d") }}',
            "line 1: `date` cannot read the pattern `%m/%d`; write `MM/dd`",
        ),
        ('{{ price | date(order="ymd") }}', 'line 1: `date` has no order `ymd`; use "mdy" or "dmy"'),
        ('{{ price | date("d", "xx") }}', "line 1: there is no locale `xx`; use one such as en_US or es_US"),
        (
            '{{ price | money("usd") }}',
            "line 1: `money` has no currency `usd`; use a code such as USD or CAD",
        ),
        (
            '{{ price | date(format="d") }}',
            "line 1: `date` has other values; see the manual's page on templates",
        ),
    ],
)
def test_a_filter_that_is_wrong_for_every_row_is_a_problem_of_the_template(
    load: Load, source: str, problem: str
) -> None:
    assert problems(load, source) == [problem]


def test_a_pattern_from_the_list_is_checked_with_each_row(load: Load) -> None:
    assert load("{{ '2026-03-01' | date(first_name) }}").render(["", "MMM d", "", "", ""]) == "Mar 1"


@pytest.mark.parametrize(
    ("placeholder", "write"),
    [
        ("((First Name))", "{{ first_name }}"),
        ("((First Name??Hi))", "{{ first_name }}"),
        ("{First Name}", "{{ first_name }}"),
        ("{first_name|friend}", "{{ first_name }}"),
        ("{!Contact.FirstName}", "{{ first_name }}"),
        ("[First Name]", "{{ first_name }}"),
        ("[2nd phone, fallback=none]", '{{ row["2nd Phone"] }}'),
        ("<<First Name>>", "{{ first_name }}"),
        ("<First Name>", "{{ first_name }}"),
        ("«First Name»", "{{ first_name }}"),
        ("*|First Name|*", "{{ first_name }}"),
        ("*|FNAME|*", "{{ first_name }}"),
        ("%First Name%", "{{ first_name }}"),
        ("%%First Name%%", "{{ first_name }}"),
        ("#First Name#", "{{ first_name }}"),
        ("$$First Name$$", "{{ first_name }}"),
        ("@First Name@", "{{ first_name }}"),
        ("__First Name__", "{{ first_name }}"),
    ],
)
def test_placeholders_of_other_programs(load: Load, placeholder: str, write: str) -> None:
    assert problems(load, f"Save 50% (now)\nHi {placeholder}, come by") == [
        f"line 2: `{placeholder}` would be sent as is; write {write}"
    ]


@pytest.mark.parametrize(
    "placeholder", ["*|LNAME|*", "*|LIST:ADDRESS|*", "[name]", "{LastName}", "((Full Name))"]
)
def test_usual_placeholders_without_a_column(load: Load, placeholder: str) -> None:
    assert problems(load, placeholder) == [
        f"line 1: `{placeholder}` would be sent as is, and the list has no such column"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "(call us)",
        "((call us))",
        "(price)",
        "[limited]",
        "50% off price, 20% off service",
        "100%price",
        "<3 you and <b>",
        "a < price > b",
        "#1 price #2",
        "$5 price $6",
        "ann@dealer.com or bob@dealer.com",
        "x_y __ z",
        "*price*",
        "{ok}",
    ],
)
def test_ordinary_text_is_no_placeholder(load: Load, text: str) -> None:
    assert load(text).render(JOHN) == text


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
        # "Unicode" in Windows Notepad.
        ("Hi".encode("utf-16"), "line 1: the file is not in UTF-8; save it as plain text in UTF-8"),
        (b"PK\x03\x04", "this is a word processor document; save it as plain text in UTF-8"),  # Word
        (b"{\\rtf1 Hi}", "this is a word processor document; save it as plain text in UTF-8"),  # WordPad
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
        # A name set by the including file.
        ("{% set q = 'x' %}{% include 'a.j2' %}", {"a.j2": "{{ q }}"}, "x"),
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


@pytest.mark.parametrize(
    ("name", "existing"),
    [("Footer.j2", "footer.j2"), ("footer", "footer.txt"), ("part/footer.j2", "parts/footer.j2")],
)
def test_the_nearest_file_to_include_is_named(tmp_path: Path, name: str, existing: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / existing).write_text("Bye", encoding="utf-8")
    path = tmp_path / "text.j2"
    path.write_text(f"{{% include '{name}' %}}", encoding="utf-8")
    with pytest.raises(TemplateError) as caught:
        MessageTemplate.load(path, COLUMNS)
    assert str(caught.value).endswith(f"in the template's folder; did you mean `{existing}`?")


def test_files_outside_the_template_folder_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "footer.j2").write_text("Bye", encoding="utf-8")
    path = tmp_path / "texts" / "text.j2"
    path.write_text("{% include '../Footer.j2' %}", encoding="utf-8")
    with pytest.raises(TemplateError) as caught:
        MessageTemplate.load(path, COLUMNS)
    assert "footer.j2" not in str(caught.value)
