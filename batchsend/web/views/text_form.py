"""The form of a text: the text as it is shown, and the choices for each column in it. No part of a template is lost.

The text is shown with the names of columns (`placeholders`), or as the template that it is: the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from batchsend.lists.headers import ColumnIndex
from batchsend.messages.placeholders import (
    FORMATS,
    labels,
    mistakes_in,
    read_tag,
    readable,
    shown_headers,
    source_of,
    with_settings,
)
from batchsend.messages.template_mistakes import reference_to
from batchsend.web.uploads import plain_lines
from batchsend.web.views.step_page import SEVERAL

#: How the text is shown.
WORDS, SOURCE = "words", "source"
#: What is said if the column is blank.
LEAVE_OUT, SAY, NOTHING = "leave out", "say", "nothing"
#: The fields of a column in the text, in the order of `Inserted`.
_LISTS = ("label", "tag", "format", "blank", "words")


@dataclass(frozen=True)
class Inserted:
    """A column in the text, with the choices for it.

    `tag`: what the template had when the page was loaded; `filters`: the chosen format; `blank`, `words`: what is
    said if the column is blank; `is_used`: it has not been taken out of the text.
    """

    label: str
    tag: str
    filters: str
    blank: str
    words: str
    is_used: bool = True

    @property
    def formats(self) -> Mapping[str, str]:
        present = self.filters if self.filters in FORMATS else _settings(self.tag)[0]
        return FORMATS if present in FORMATS else {present: f"As written: {present}", **FORMATS}

    @property
    def new_tag(self) -> str:
        """What the template has after the choices."""
        if (self.filters, self.blank, self.words) == _settings(self.tag):
            return self.tag
        said = {SAY: self.words, NOTHING: ""}
        return with_settings(
            self.tag, self.filters if self.filters in self.formats else "", said.get(self.blank)
        )


@dataclass(frozen=True)
class Typed:
    """A text in the editor. `mode`: how it is shown; `inserted`: label -> the choices for it."""

    text: str
    mode: str
    inserted: Mapping[str, Inserted]
    columns: ColumnIndex

    @property
    def tags(self) -> dict[str, str]:
        return {label: one.new_tag for label, one in self.inserted.items()}

    @property
    def source(self) -> str:
        """The template."""
        return source_of(self.text, self.tags, self.columns) if self.mode == WORDS else self.text

    @property
    def rows(self) -> list[Inserted]:
        """The columns in the text, in its order, then those that were taken out of it. Unknown ones have none."""
        if self.mode != WORDS:
            return []
        tags = self.tags
        known = {*self.inserted, *shown_headers(self.columns)}
        used = {label: tag for label, tag in labels(self.text, tags, self.columns).items() if label in known}
        new = (self.inserted.get(label) or _inserted(label, tag) for label, tag in used.items())
        return [
            *new,
            *(replace(one, is_used=False) for one in self.inserted.values() if one.label not in used),
        ]

    def shown_as(self, mode: str) -> Typed | None:
        """Returns the same text in the other way; `None` if it cannot be shown with the names of columns."""
        source = self.source
        return (
            Typed(source, SOURCE, {}, self.columns)
            if mode == SOURCE
            else text_of_source(source, self.columns)
        )

    def fields(self) -> dict[str, str]:
        """Returns the fields of the form, as `typed_text` reads them."""
        rows = [(one.label, one.tag, one.filters, one.blank, one.words) for one in self.inserted.values()]
        lists = zip(_LISTS, map(SEVERAL.join, zip(*rows, strict=True)), strict=False)
        return {"text": self.text, "mode": self.mode, **dict(lists)}

    def with_column(self, header: str) -> str:
        """Returns the text with a column added at its end."""
        added = chips(self.columns, self.mode).get(header, "")
        return f"{self.text} {added}" if self.text[-1:].strip() else f"{self.text}{added}"

    def errors(self) -> dict[str, str]:
        """Returns what keeps the text from being saved, by field."""
        if self.mode != WORDS:
            return {}
        found = {
            f"words-{number}": f"Write what is said if {one.label} is blank, or choose something else."
            for number, one in enumerate(self.rows)
            if one.is_used and one.blank == SAY and not one.words.strip()
        }
        mistakes = mistakes_in(self.text, self.tags, self.columns)
        return {**({"text": "\n".join(mistakes)} if mistakes else {}), **found}


def _settings(tag: str) -> tuple[str, str, str]:
    """Returns the format of a tag, and what is said if its column is blank."""
    read = read_tag(tag)
    if read is None or read.blank is None:
        return "" if read is None else read.filters, LEAVE_OUT, ""
    return read.filters, SAY if read.blank else NOTHING, read.blank


def _inserted(label: str, tag: str) -> Inserted:
    return Inserted(label, tag, *_settings(tag))


def typed_text(form: Mapping[str, str], columns: ColumnIndex) -> Typed:
    """Reads the form, whose fields that were sent several times are joined."""
    lists = [form.get(name, "").split(SEVERAL) for name in _LISTS]
    rows = [Inserted(*row) for row in zip(*lists, strict=False) if row[0]]
    text = plain_lines(form.get("text", ""))
    return Typed(text, form.get("mode", SOURCE), {one.label: one for one in rows}, columns)


def text_of_source(source: str, columns: ColumnIndex) -> Typed | None:
    """Returns a template as it is shown with the names of columns; `None` if it cannot be."""
    found = readable(source, columns)
    if found is None:
        return None
    return Typed(
        found.text, WORDS, {label: _inserted(label, tag) for label, tag in found.tags.items()}, columns
    )


def chips(columns: ColumnIndex, mode: str) -> dict[str, str]:
    """Returns the columns to insert: header -> what is inserted."""
    return {
        header: f"(({header}))" if mode == WORDS else f"{{{{ {reference_to(columns, found[0])} }}}}"
        for header in shown_headers(columns)
        if len(found := columns.with_header(header)) == 1
    }
