"""A template as people read it: `Hi ((First Name))` for `Hi {{ first_name | name_case }}`.

`readable` shows each column that a template prints as its header in double parentheses, and keeps the template's own
writing in `tags`. `source_of` puts it back. All else stays as it is: conditions, computations, comments. A template
that would not come back unchanged has no readable form. Templates are read with Jinja's own lexer. Pure functions.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from batchsend.lists.headers import ColumnIndex, clean, nearest
from batchsend.messages.environment import PASS_ON_BLANKS
from batchsend.messages.template_check import names_set
from batchsend.messages.template_mistakes import ROW, SYNTAX, reference_to

_OPENING, _CLOSING = "((", "))"
_LONGEST_LABEL = 200
#: Names that are no variables.
_CONSTANTS = frozenset({"true", "false", "none", "True", "False", "None"})
#: The formats to choose from: the filters as a template writes them -> in words.
FORMATS: Mapping[str, str] = {
    "": "As it is in the list",
    "name_case": "Name: John O’Brien, also from JOHN O’BRIEN",
    'date("MMM d")': "Date: Mar 9",
    'date("MMMM d")': "Date: March 9",
    'date("EEEE, MMMM d")': "Date: Monday, March 9",
    'date("MMMM d, yyyy")': "Date: March 9, 2026",
    'date("M/d/yyyy")': "Date: 3/9/2026",
    'date("h:mm a")': "Time: 9:30 AM",
    "date(\"MMMM d 'at' h:mm a\")": "Date and time: March 9 at 9:30 AM",
    "money": "Money: $1,234.50",
    "phone": "Phone: (312) 555-0142",
    "upper": "In capitals",
}


@dataclass(frozen=True)
class Tag:
    """`{{ first_name | name_case | default("there") }}`, in its parts.

    `name`: of the column, as a template writes it; `filters`: `name_case`; `blank`: what a blank cell says, `None`
    if its row gets no text.
    """

    name: str
    filters: str = ""
    blank: str | None = None

    @property
    def source(self) -> str:
        """The tag as a template writes it."""
        default = [] if self.blank is None else [f"default({_quoted(self.blank)})"]
        return f"{{{{ {' | '.join([self.name, *filter(None, [self.filters]), *default])} }}}}"


@dataclass(frozen=True)
class Readable:
    """A template as people read it. `tags`: the label of each placeholder -> what the template has there."""

    text: str
    tags: Mapping[str, str] = field(default_factory=dict)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def readable(source: str, columns: ColumnIndex) -> Readable | None:
    """Returns a template with plain line ends as people read it; `None` if it would not come back unchanged."""
    if _OPENING in source or "\r" in source:
        return None
    tags: dict[str, str] = {}
    shown, at = [], 0
    taken = _names_of_the_template(source)
    for start, end in _places(source):
        tag = read_tag(source[start:end])
        header = None if tag is None or tag.name in taken else _header(tag, columns)
        if header is not None:
            label = _label(header, source[start:end], tags, columns)
            tags[label] = source[start:end]
            shown += [source[at:start], f"{_OPENING}{label}{_CLOSING}"]
            at = end
    found = Readable("".join([*shown, source[at:]]), tags)
    return found if source_of(found.text, tags, columns) == source else None


def source_of(text: str, tags: Mapping[str, str], columns: ColumnIndex) -> str:
    """Returns the template of a readable text. `tags`: as in `Readable`; other labels name a column as it is."""
    return "".join(
        before + ("" if label is None else tags.get(label) or _new_tag(label, columns, tags))
        for before, label in _pieces(text, tags, columns)
    )


def labels(text: str, tags: Mapping[str, str], columns: ColumnIndex) -> dict[str, str]:
    """Returns what the template has for each label of a readable text, in the text's order."""
    found = (label for _, label in _pieces(text, tags, columns) if label is not None)
    return {
        _known_label(label, tags, columns): tags.get(label) or _new_tag(label, columns, tags)
        for label in found
    }


def shown_headers(columns: ColumnIndex) -> list[str]:
    """Returns the headers as labels show them: on one line."""
    return list(filter(None, map(clean, columns.headers)))


def read_tag(source: str) -> Tag | None:
    """Reads a tag that prints a column, perhaps with formats and a word for blanks; `None` for any other."""
    try:
        tokens = [token for token in _tokens(source) if token.kind != "whitespace"]
    except TemplateSyntaxError:
        return None
    if len(tokens) < 3 or (tokens[0].text, tokens[-1].text) != ("{{", "}}") or "\n" in source:
        return None
    inner = tokens[1:-1]
    length = 4 if [token.kind for token in inner[1:4]] == ["operator", "string", "operator"] else 1
    name = source[inner[0].start : inner[length - 1].end]
    is_header = length == 4 and inner[0].text == ROW and inner[1].text + inner[3].text == "[]"
    is_variable = length == 1 and inner[0].kind == "name" and name not in {ROW, *_CONSTANTS}
    return _with_filters(source, name, inner[length:]) if is_header or is_variable else None


def with_settings(source: str, filters: str, blank: str | None) -> str:
    """Returns a tag with other formats or another word for blanks; unchanged if it has them already."""
    tag = read_tag(source)
    if tag is None or (tag.filters, tag.blank) == (filters, blank):
        return source
    return replace(tag, filters=filters, blank=blank).source


def mistakes_in(text: str, tags: Mapping[str, str], columns: ColumnIndex) -> list[str]:
    """Returns a sentence for each placeholder of a readable text that names no column or is not closed."""
    found = []
    for before, label in _pieces(text, tags, columns):
        for unclosed in before.split(_OPENING)[1:]:
            words = unclosed.split("\n")[0].strip("() ")[:40]
            near = nearest(words, shown_headers(columns)) or words
            found.append(f"“{_OPENING}{words}” is not closed. Write {_OPENING}{near}{_CLOSING}.")
        if label is not None and (sentence := _unknown(label, tags, columns)) is not None:
            found.append(sentence)
    return list(dict.fromkeys(found))


def _unknown(label: str, tags: Mapping[str, str], columns: ColumnIndex) -> str | None:
    tag = read_tag(tags.get(label) or _new_tag(label, columns, tags))
    if tag is None or _position(tag, columns) is not None:
        return None
    near = nearest(label, shown_headers(columns))
    advice = f"Did you mean {_OPENING}{near}{_CLOSING}?" if near else "Use one of the columns below the text."
    return f"The list has no column “{label}”. {advice}"


# Labels


def _pieces(text: str, tags: Mapping[str, str], columns: ColumnIndex) -> Iterator[tuple[str, str | None]]:
    """Yields the text before each placeholder with its label, and the rest of the text with `None`."""
    known = sorted({*tags, *shown_headers(columns)}, key=len, reverse=True)
    at = start = 0
    while (start := text.find(_OPENING, start)) >= 0:
        exact = (one for one in known if text.startswith(f"{_OPENING}{one}{_CLOSING}", start))
        label = next(exact, None) or _typed_label(text, start)
        if label is None:
            start += 1
        else:
            yield text[at:start], label
            at = start = start + len(_OPENING) + len(label) + len(_CLOSING)
    yield text[at:], None


def _typed_label(text: str, start: int) -> str | None:
    """Returns what stands in the double parentheses that open at `start`, if they are closed on the same line."""
    label, closing, _ = text[start + len(_OPENING) :].partition(_CLOSING)
    is_label = closing and label.strip() and not label.startswith("(") and "\n" not in label
    return label if is_label and len(label) <= _LONGEST_LABEL else None


def _known_label(label: str, tags: Mapping[str, str], columns: ColumnIndex) -> str:
    """Returns the label as the tags or the list spell it."""
    found = columns.with_header(label)
    return clean(columns.headers[found[0]]) if label not in tags and len(found) == 1 else label


def _new_tag(label: str, columns: ColumnIndex, tags: Mapping[str, str]) -> str:
    """Returns the tag of a label that was typed: that of the same column, or one without formats."""
    known = _known_label(label, tags, columns)
    if known in tags:
        return tags[known]
    found = columns.with_header(label)
    return Tag(
        reference_to(columns, found[0]) if len(found) == 1 else f"{ROW}[{_quoted(label.strip())}]"
    ).source


def _label(header: str, source: str, tags: Mapping[str, str], columns: ColumnIndex) -> str:
    """Returns the label of a tag: the header, or the header with a number if it stands for another tag."""
    label, number = header, 1
    while tags.get(label, source) != source or (number > 1 and columns.with_header(label)):
        number += 1
        label = f"{header} {number}"
    return label


# Tags


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    for _, kind, text in SYNTAX.lexer.tokeniter(source, None):
        # Jinja leaves out white space next to `{{-`.
        at = source.index(text, at)
        yield _Token(kind, text, at)
        at += len(text)


def _places(source: str) -> list[tuple[int, int]]:
    """Returns where the tags that print something begin and end, up to the first that cannot be read."""
    found, start = [], 0
    try:
        for token in _tokens(source):
            if token.kind == "variable_begin":
                start = token.start
            elif token.kind == "variable_end":
                found.append((start, token.end))
    except TemplateSyntaxError:
        pass
    return found


def _names_of_the_template(source: str) -> frozenset[str]:
    """Returns the names that the template sets itself: they hide columns."""
    try:
        return names_set(SYNTAX.parse(source))
    except (TemplateSyntaxError, RecursionError):
        return frozenset()


def _with_filters(source: str, name: str, tokens: Sequence[_Token]) -> Tag | None:
    """Reads what follows the name of a column. `tokens`: without white space."""
    blank = None
    if len(tokens) >= 2 and tokens[-2].text == "or" and tokens[-1].kind == "string":
        blank, tokens = _literal(tokens[-1].text), tokens[:-2]
        if blank is None:
            return None
    filters = _filters(tokens)
    if filters is None:
        return None
    if blank is None and filters and filters[-1][0].text in ("default", "d"):
        (*filters, (_, *arguments)) = filters
        blank = _literal(arguments[1].text) if [one.kind for one in arguments[1:-1]] == ["string"] else None
        if blank is None:
            return None
    if any(one[0].text not in PASS_ON_BLANKS for one in filters):
        return None
    return Tag(name, source[filters[0][0].start : filters[-1][-1].end] if filters else "", blank)


def _filters(tokens: Sequence[_Token]) -> list[list[_Token]] | None:
    """Returns the tokens of each filter without its `|`; `None` if there is anything else."""
    found: list[list[_Token]] = []
    depth = 0
    for position, token in enumerate(tokens):
        if depth == 0 and token.text == "|":
            found.append([])
            continue
        follows = tokens[position - 1].text if position else ""
        is_name = depth == 0 and token.kind == "name" and follows == "|"
        opens_arguments = depth == 0 and token.text == "(" and bool(found) and len(found[-1]) == 1
        if not (is_name or opens_arguments or depth):
            return None
        depth += (token.text == "(") - (token.text == ")")
        found[-1].append(token)
    return found if all(found) and not depth else None


def _literal(text: str) -> str | None:
    """Returns the value of a text in quotes; `None` if a field of a form could not hold it."""
    parsed = Parser(SYNTAX, text, state="variable").parse_expression()
    value = parsed.value if isinstance(parsed, nodes.Const) else None
    is_plain = isinstance(value, str) and not any(unicodedata.category(one) in ("Cc", "Cs") for one in value)
    return value if is_plain else None


def _quoted(text: str) -> str:
    """Returns a text in quotes, as a template writes it."""
    return json.dumps(text, ensure_ascii=False)


def _position(tag: Tag, columns: ColumnIndex) -> int | None:
    """Returns the column of a tag; `None` if the list has none or several of this name."""
    header = _header_in(tag)
    found = (columns.with_header(header) if header is not None else ()) or columns.with_variable(
        tag.name if header is None else header
    )
    return found[0] if len(found) == 1 else None


def _header_in(tag: Tag) -> str | None:
    """Returns the header that a tag has in quotes."""
    quoted = tag.name.partition("[")[2].rpartition("]")[0].strip()
    return _literal(quoted) if quoted else None


def _header(tag: Tag, columns: ColumnIndex) -> str | None:
    """Returns the header that stands for a tag; `None` if the tag stays as it is."""
    position = _position(tag, columns)
    return clean(columns.headers[position]) if position is not None else _header_in(tag)
