"""Reads a web page's table, which many programs export under the name .xls."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from batchsend.errors import ListError, Sentence
from batchsend.lists.cells import clean, text_of
from batchsend.lists.damage import is_damaged
from batchsend.lists.formats.encodings import detect_encoding, is_utf8
from batchsend.lists.formats.streaming import RepeatedRow, StreamedSheet, StreamedSource, open_streamed
from batchsend.lists.source import (
    LAST_COLUMN,
    LAST_ROW,
    MAX_CELL_LENGTH,
    NO_OPTIONS,
    FileSnapshot,
    ListOptions,
)

_BLOCK = 64 * 1024
#: Characters that the parser may buffer; a longer tag or script does not belong to a list.
_MAX_UNFINISHED = 1024 * 1024

_SAVE_AS = "Open it in Excel or LibreOffice and save it as .xlsx."
_NO_TABLE = f"It is a web page without a table, not a list. {_SAVE_AS}"
_NESTED = f"It is a web page with tables within tables, which cannot be read as a list. {_SAVE_AS}"
_CUT_SHORT = "It is a web page that was cut short: its table has no end. Export the list again."
_DAMAGED = "It is a damaged web page. Export the list again, as .xlsx or .csv."

_CHARSET = re.compile(rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_SECTIONS = frozenset({"thead", "tbody", "tfoot"})
_NO_TEXT = frozenset({"script", "style", "template"})
_NEW_LINE = frozenset({"br", "p", "div", "li"})


def open_html(path: Path, snapshot: FileSnapshot, options: ListOptions) -> StreamedSource:
    """Reads the page's only table. Raises ListError if there is none or several, or if an option does not apply."""
    for key in ("sheet", "delimiter"):
        if getattr(options, key) is not None:
            raise ListError(
                path,
                Sentence(
                    f"It is a web page, so `{key}` does not apply. Remove `{key}` from [list_options].",
                    f"It is a web page, so the {key} that was chosen does not apply. Remove it under When, How the "
                    f"list is read, or on the page of the list.",
                ),
            )
    encoding, note = _encoding(path, options.encoding)
    notes = ["read as a web page's table", *([note] if note else [])]
    return open_streamed(path, snapshot, NO_OPTIONS, partial(_read, path, encoding), notes)


def _encoding(path: Path, wanted: str | None) -> tuple[str, str | None]:
    if wanted is None and (named := _named_encoding(path)) and not is_utf8(path):
        try:
            return detect_encoding(path, named)
        except ListError:
            # Many pages name the wrong encoding, so detect it from the bytes.
            pass
    return detect_encoding(path, wanted)


def _named_encoding(path: Path) -> str | None:
    with path.open("rb") as file:
        match = _CHARSET.search(file.read(4096))
    if not match:
        return None
    try:
        name = codecs.lookup(match[1].decode("ascii")).name
    except LookupError:
        return None
    # By the HTML standard, these names mean cp1252. A page in which `charset` can be found is not UTF-16.
    return {"iso8859-1": "cp1252", "ascii": "cp1252"}.get(name, None if name.startswith("utf-16") else name)


def _read(path: Path, encoding: str, sheets: list[StreamedSheet]) -> Iterator[RepeatedRow]:
    page = _Page(path)
    try:
        with io.TextIOWrapper(path.open("rb"), encoding=encoding) as file:
            while text := file.read(_BLOCK):
                page.feed(text)
                if len(page.rawdata) > _MAX_UNFINISHED:
                    raise ListError(path, _DAMAGED)
                yield from page.rows
                page.rows.clear()
        page.close()
    except (AssertionError, ValueError) as error:
        raise ListError(path, _DAMAGED) from error
    yield from page.rows
    if page.table is not None:
        raise ListError(path, _CUT_SHORT)
    if not page.tables:
        raise ListError(path, _NO_TABLE)
    sheets.append(StreamedSheet("table"))


@dataclass
class _HtmlTable:
    """The state of the table that is being parsed."""

    is_hidden: bool
    section_is_hidden: bool = False
    row: int = 0
    row_is_hidden: bool = False
    in_row: bool = False
    cells: list[str] = field(default_factory=list)
    column: int = 0
    #: Column -> for how many more rows a cell from above occupies it.
    occupied: dict[int, int] = field(default_factory=dict)
    has_rows: bool = False
    cell: Mapping[str, str | None] | None = None


class _Page(HTMLParser):
    """Collects the rows of the page's table. End tags are optional."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.rows: list[RepeatedRow] = []
        self.tables = 0
        self.table: _HtmlTable | None = None
        self._text: list[str] = []
        self._length = 0
        self._no_text: str | None = None

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "table":
            if self.table is not None:
                raise ListError(self.path, _NESTED)
            self.table = _HtmlTable(_is_hidden(dict(attrs)))
        table = self.table
        if table is None:
            return
        if tag in _NO_TEXT:
            self._no_text = tag
        elif tag == "tr":
            self._end_row(table)
            _start_row(table, dict(attrs))
        elif tag in {"td", "th"}:
            self._end_cell(table)
            if not table.in_row:
                _start_row(table, {})
            table.cell = dict(attrs)
        elif tag in _SECTIONS:
            self._end_row(table)
            table.section_is_hidden = _is_hidden(dict(attrs))
            table.occupied.clear()
        elif tag in _NEW_LINE:
            self._add("\n")

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        # In HTML, `<td/>` opens a cell just like `<td>`.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._no_text:
            self._no_text = None
        table = self.table
        if table is None:
            return
        if tag in {"td", "th"}:
            self._end_cell(table)
        elif tag == "tr":
            self._end_row(table)
        elif tag in _SECTIONS:
            self._end_row(table)
            table.section_is_hidden = False
        elif tag == "table":
            self._end_row(table)
            self.table = None
        elif tag in _NEW_LINE:
            self._add("\n")

    def handle_data(self, data: str) -> None:
        if self._no_text is None and self.table is not None and self.table.cell is not None:
            self._add(_SPACES.sub(" ", data))

    def _add(self, text: str) -> None:
        if self._length <= MAX_CELL_LENGTH:
            self._text.append(text)
            self._length += len(text)

    def _end_cell(self, table: _HtmlTable) -> None:
        text = "".join(self._text)
        self._text.clear()
        self._length = 0
        if table.cell is None:
            return
        if "\n" in text:
            text = "\n".join(line for line in map(clean, text.split("\n")) if line)
        text = _stored(table.cell, clean(text))
        while table.column in table.occupied:
            table.column += 1
        columns, rows = _span(table.cell, "colspan", LAST_COLUMN), _span(table.cell, "rowspan", LAST_ROW)
        if table.column + columns > LAST_COLUMN:
            raise ListError(self.path, _DAMAGED)
        if text:
            table.cells += [""] * (table.column - len(table.cells))
            table.cells.append(text)
        if rows > 1:
            table.occupied.update(dict.fromkeys(range(table.column, table.column + columns), rows))
        table.column += columns
        table.cell = None

    def _end_row(self, table: _HtmlTable) -> None:
        self._end_cell(table)
        if not table.in_row:
            return
        table.in_row = False
        if table.row > LAST_ROW:
            raise ListError(self.path, _DAMAGED)
        if table.cells:
            if not table.has_rows:
                table.has_rows = True
                self.tables += 1
                if self.tables > 1:
                    raise ListError(self.path, _several_tables())
            is_hidden = table.is_hidden or table.section_is_hidden or table.row_is_hidden
            self.rows.append(RepeatedRow(0, table.row, table.cells, is_hidden))
        table.occupied = {column: rows - 1 for column, rows in table.occupied.items() if rows > 1}


def _start_row(table: _HtmlTable, attributes: Mapping[str, str | None]) -> None:
    table.row += 1
    table.in_row = True
    table.row_is_hidden = _is_hidden(attributes)
    table.cells, table.column = [], 0


def _is_hidden(attributes: Mapping[str, str | None]) -> bool:
    return "hidden" in attributes or _HIDDEN.search(attributes.get("style") or "") is not None


def _span(attributes: Mapping[str, str | None], name: str, most: int) -> int:
    """How many columns or rows a cell spans. As in browsers, 0 means all the rest and invalid values mean 1."""
    written = (attributes.get(name) or "").strip()
    if not written.isdecimal() or len(written) > len(str(LAST_ROW)):
        return 1
    return min(int(written) or (most if name == "rowspan" else 1), most)


def _stored(attributes: Mapping[str, str | None], shown: str) -> str:
    """The shown text, or the number that Excel stores in an attribute if the shown text lost digits."""
    stored = attributes.get("x:num")
    if stored and is_damaged(shown):
        try:
            return text_of(float(stored))
        except ValueError:
            pass
    return shown


def _several_tables() -> str:
    return (
        "It is a web page with several tables, and any of them could be the list. Open it in Excel or LibreOffice, "
        "delete all but the list and save it as .xlsx."
    )
