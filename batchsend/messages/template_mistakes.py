"""Mistakes that people make in templates, and what to write instead.

Jinja stops at the first thing that it cannot read and names a token. This module looks at every tag that cannot be
read, tries the usual corrections, and shows the first one that can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from jinja2 import DictLoader, Environment, TemplateSyntaxError
from jinja2.parser import Parser

from batchsend.lists.headers import ColumnIndex, clean, match_key, variable_name

#: The whole row in templates: `row["2nd Phone"]`.
ROW = "row"


def reference_to(columns: ColumnIndex, index: int) -> str:
    """How a template refers to a column: `first_name`, or `row["2nd Phone"]` if the header is no name."""
    header = columns.headers[index]
    name = variable_name(header)
    reachable = name.isidentifier() and len(columns.with_variable(name)) == 1 and name != ROW
    return name if reachable else f"{ROW}[{json.dumps(header, ensure_ascii=False)}]"


class Mistake(NamedTuple):
    """`line` of the template, what is wrong there and what to write."""

    line: int
    text: str


# Expressions


def is_expression(source: str) -> bool:
    """Whether Jinja can read `source` as one expression."""
    try:
        parser = Parser(SYNTAX, source, state="variable")
        parser.parse_expression()
    except (TemplateSyntaxError, RecursionError):
        return False
    return parser.stream.eos


SYNTAX = Environment(loader=DictLoader({}))  # noqa: S701 - only parses


# Corrections are tried one after another, which takes long for long expressions and many tags.
_LONGEST, _MOST_TAGS = 300, 20


class Correction(NamedTuple):
    """Why an expression cannot be read, and the expression that was probably meant."""

    reason: str
    expression: str


def corrected(expression: str, columns: ColumnIndex) -> Correction | None:
    """The correction of an expression that cannot be read; None if no usual correction helps."""
    if len(expression) > _LONGEST:
        return None
    for reason, candidates in _CORRECTIONS:
        for candidate in candidates(expression, columns):
            if candidate != expression and is_expression(candidate):
                return Correction(reason, candidate.strip())
    return None


_quoted = re.compile(r"""("[^"]*"|'[^']*')""")


def _outside_quotes(text: str, change: Callable[[str], str]) -> str:
    parts = _quoted.split(text)
    return "".join(part if position % 2 else change(part) for position, part in enumerate(parts))


_CURLY = str.maketrans({**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’", "'")})


def _with_straight_quotes(expression: str, _: ColumnIndex) -> Iterator[str]:
    yield expression.translate(_CURLY)


def _with_names_of_columns(expression: str, columns: ColumnIndex) -> Iterator[str]:
    changed = expression
    for index in sorted(range(len(columns.headers)), key=lambda index: -len(columns.headers[index])):
        changed = _outside_quotes(changed, partial(_with_name_of, columns, index))
        yield changed


def _with_name_of(columns: ColumnIndex, index: int, text: str) -> str:
    words = re.split(r"[\s_-]+", clean(columns.headers[index]))
    spelling = r"[\s_-]*".join(map(re.escape, filter(None, words)))
    if not spelling:
        return text
    return re.sub(
        rf"(?:\b{ROW}\s*\.\s*)?(?<!\w){spelling}(?!\w)",
        lambda match: match[0] if match[0].isidentifier() else reference_to(columns, index),
        text,
        flags=re.IGNORECASE,
    )


_OPERATORS: Sequence[tuple[str, str]] = (
    (r"\s*&&?\s*", " and "),
    (r"\s*\|\|\s*", " or "),
    (r"!(?!=)\s*", "not "),
    ("<>", "!="),
    ("===", "=="),
    (r"\bAND\b", "and"),
    (r"\bOR\b", "or"),
    (r"\bNOT\b", "not"),
)


def _with_operators(expression: str, _: ColumnIndex) -> Iterator[str]:
    changed = expression
    for pattern, operator in _OPERATORS:
        changed = _outside_quotes(changed, partial(re.sub, pattern, operator))
        yield changed


def _with_if_and_else(expression: str, _: ColumnIndex) -> Iterator[str]:
    yield re.sub(r"(.+?)\s*\?\s*(.+?)\s*:\s*(.+)", r"\2 if \1 else \3", expression)


def _with_comparison(expression: str, _: ColumnIndex) -> Iterator[str]:
    for match in re.finditer(r"(?<![=!<>])=(?!=)", expression):
        yield f"{expression[: match.start()]}=={expression[match.end() :]}"
    yield re.sub(r"(?<![=!<>])=(?!=)", "==", expression)


def _with_arguments(expression: str, _: ColumnIndex) -> Iterator[str]:
    yield re.sub(r"\|\s*(\w+)\s*:\s*([^|]+?)\s*(?=\||$)", r"| \1(\2)", expression)


def _with_parentheses(expression: str, _: ColumnIndex) -> Iterator[str]:
    for bracket in ")]":
        yield f"{expression.rstrip()}{bracket}"


def _with_quotes(expression: str, _: ColumnIndex) -> Iterator[str]:
    yield expression.replace("'", '"')
    for mark in "\"'":
        if expression.count(mark) % 2:
            for edge in re.finditer(r"(?=[)\],|]|\s*$)|(?<=[(\[,=])", expression):
                yield f"{expression[: edge.start()]}{mark}{expression[edge.start() :]}"


_CORRECTIONS: Sequence[tuple[str, Callable[[str, ColumnIndex], Iterator[str]]]] = (
    ("curly quotes between the braces", _with_straight_quotes),
    ("names have no spaces or signs", _with_names_of_columns),
    ("= sets a value and == compares", _with_comparison),
    ("conditions are written with `and`, `or`, `not`, == and !=", _with_operators),
    ("the values of a filter are in parentheses", _with_arguments),
    ("a choice is written with if and else", _with_if_and_else),
    ("a parenthesis is missing", _with_parentheses),
    ("a quotation mark is missing", _with_quotes),
)


def with_columns(source: str, line: int, columns: ColumnIndex) -> str | None:
    """The tag on `line` that has a header instead of the name of a column, corrected; None if there is none.

    Jinja can read `{{ First-Name }}`: as a difference.
    """
    for match in _tag.finditer(source):
        opening, _, inside, closing = match.groups()
        first = source.count("\n", 0, match.start()) + 1
        if closing and first <= line <= first + inside.count("\n"):
            *_, changed = _with_names_of_columns(inside, columns)
            if changed != inside and is_expression(_keyword.sub(r"\2", changed.strip())):
                return f"{opening} {changed.strip()} {closing}"
    return None


# Tags

_tag = re.compile(r"(\{\{|\{%)([-+]?)((?:(?!\{\{|\{%|\}\}|%\}).)*)(\}\}|%\})?", re.DOTALL)
_ignored = re.compile(r"\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}", re.DOTALL)
_keyword = re.compile(r"(if\b|elif\b|set\s+\w+\s*=(?!=)|for\s+\w+\s+in\b)\s*(.*)", re.DOTALL)
_statement = re.compile(r"\s*(?:(?:if|elif|for)\s+\S|(?:else|endif|endfor)\s*$)")
_TAGS: Sequence[tuple[str, str]] = ((r"(else\s+if|elseif|elsif)\b", "elif"), (r"end\s+(if|for)\b", r"end\1"))


def mistakes(source: str, columns: ColumnIndex) -> list[Mistake]:
    """The tags of a template that cannot be read, each with its correction if there is one."""
    without_comments = _ignored.sub(lambda match: "\n" * match[0].count("\n"), source)
    found = []
    for match in _tag.finditer(without_comments):
        text = _tag_mistake(match, columns)
        if text is not None:
            found.append(Mistake(without_comments.count("\n", 0, match.start()) + 1, text))
        if len(found) == _MOST_TAGS:
            break
    return found


def _tag_mistake(match: re.Match[str], columns: ColumnIndex) -> str | None:
    opening, _, inside, closing = match.groups()
    if closing is None:
        inside = re.split(r"[}%\n]", inside, maxsplit=1)[0]
    inside = inside.rstrip("-+ ").strip() if closing else inside.strip()
    reason = ""
    if closing != _CLOSING[opening]:
        reason = f"a {opening} must be closed by {_CLOSING[opening]}"
    if opening == "{{" and inside.startswith("{"):
        reason, inside = "two braces are enough", inside[1:].strip()
    if opening == "{{" and _statement.match(inside):
        reason, opening = "conditions and loops are between {% and %}", "{%"
    if opening == "{%":
        return _statement_mistake(inside, reason, columns)
    return _corrected_tag("{{ ", inside, " }}", reason, columns)


_CLOSING = {"{{": "}}", "{%": "%}"}


def _statement_mistake(inside: str, reason: str, columns: ColumnIndex) -> str | None:
    for pattern, tag in _TAGS:
        if re.match(pattern, inside):
            inside = re.sub(pattern, tag, inside, count=1)
            reason = f"the tag is written `{inside.split()[0]}`"
    if columns.with_variable(inside) and not inside.startswith(("else", "end")):
        return f"a column is between double braces; write {{{{ {inside} }}}}"
    keyword = _keyword.fullmatch(inside)
    if keyword is not None:
        return _corrected_tag(f"{{% {keyword[1]} ", keyword[2], " %}", reason, columns)
    return f"{reason}; write {{% {inside} %}}" if reason else None


def _corrected_tag(before: str, expression: str, after: str, reason: str, columns: ColumnIndex) -> str | None:
    if is_expression(expression):
        return f"{reason}; write {before}{expression}{after}" if reason else None
    correction = corrected(expression, columns)
    if correction is None:
        return reason or None
    return f"{correction.reason}; write {before}{correction.expression}{after}"


# Placeholders of other programs, which would be sent to customers

# *|First Name|*, ((First Name)), <<First Name>>, <First Name>, «First Name», {First Name}, [First Name], %First Name%
PLACEHOLDER = re.compile(
    r"\*\|([^|\n]{1,60})\|\*|\(\(([^()\n]{1,60})\)\)|<<([^<>\n]{1,60})>>|<((?=\S)[^<>\n]{1,60})(?<=\S)>|«([^«»\n]{1,60})»"
    r"|\{([^{}\n]{1,60})\}|\[([^\[\]\n]{1,60})\]|([%#$@]{1,2}|__)(?=\S)([^%#$@\n]{1,60}?)(?<=\S)\8"
)
_USUAL_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("fname", "firstname"), "First Name"),
    **dict.fromkeys(("lname", "lastname"), "Last Name"),
    **dict.fromkeys(("name", "fullname", "customername"), "Name"),
}


def placeholder_mistakes(text: str, line: int, columns: ColumnIndex) -> Iterator[Mistake]:
    """Placeholders in `text`, which begins on `line`. Other text in brackets, such as `[limited]`, is none."""
    for match in PLACEHOLDER.finditer(text):
        at = line + text.count("\n", 0, match.start())
        found, is_name = _column_meant(match[match.lastindex or 0], columns)
        if found:
            write = f"write {{{{ {reference_to(columns, found[0])} }}}}"
            yield Mistake(at, f"`{match[0]}` would be sent as is; {write}")
        elif is_name or match[0].startswith("*|"):
            yield Mistake(at, f"`{match[0]}` would be sent as is, and the list has no such column")


def _column_meant(inside: str, columns: ColumnIndex) -> tuple[Sequence[int], bool]:
    """The columns with this name, and whether it is a usual name of a placeholder.

    Other programs add a default (`First Name|friend`, `First Name??`) or a table (`Contact.FirstName`).
    """
    name = re.split(r"[|,:?=]", inside)[0].strip(" !$*")
    for text in (inside, name, name.rpartition(".")[2]):
        if found := columns.with_header(text) or columns.with_variable(text):
            return found, True
    usual = _USUAL_NAMES.get(match_key(name.rpartition(".")[2]))
    return (columns.with_header(usual), True) if usual else ((), False)


# Jinja's own messages

_OPEN = r".*block that needs to be closed is '(.+)'"
_PLAIN_MESSAGES: Sequence[tuple[str, str]] = (
    (r"unexpected char '[“”‘’„«»]'", "curly quotes between the braces; type straight quotes"),
    (
        r"expected token 'end of print statement', got '(.+)'",
        (
            r"unexpected `\1`; no spaces in names: write {{ first_name }}, "
            r'or {{ row["2nd Phone"] }} if a name begins with a digit'
        ),
    ),
    (r"unexpected '}'", "a {{ must be closed by two braces: }}"),
    (r"expected token 'end of statement block', got '='", "= sets a value; write == to compare"),
    (r"unexpected end of template, expected 'end of print statement'", "a {{ is never closed by }}"),
    (r"unexpected end of template, expected 'end of statement block'", "a {% is never closed by %}"),
    (r"Unexpected end of template\. " + _OPEN, r"a {% \1 %} is never closed by {% end\1 %}"),
    (
        r"Encountered unknown tag '(.+?)'\. " + _OPEN,
        r"there is no tag `\1`; the open {% \2 %} is closed by {% end\2 %}",
    ),
    (r"Encountered unknown tag '(.+?)'", r"the tag `\1` does not belong here"),
)


def plain_message(error: TemplateSyntaxError) -> str:
    """Explains a syntax error to people who write templates."""
    message = (error.message or "").rstrip(".")
    for pattern, words in _PLAIN_MESSAGES:
        if match := re.match(pattern, message):
            return match.expand(words)
    return f"this cannot be read: {message}"
