"""The results as an Excel workbook with the sheets `Summary`, `Results` and, if any row needs attention, `Problems`.

Written by rustpy-xlsxwriter from generators of dicts: one row at a time is in memory, and a row takes a tenth of the
time that the writers in pure Python need. Texts are stored as inline strings, so none becomes a formula, a link,
a number or a date; characters that XML cannot hold are escaped as Office Open XML defines (`_x0001_`).
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from rustpy_xlsxwriter import Format, write_worksheets

from batchsend.reports.advice import advise
from batchsend.reports.table import (
    ANSWER_COLUMNS,
    FOLDED_COLUMNS,
    Column,
    ResultRow,
    ResultsSource,
    Value,
    column,
    column_headers,
    distinct_headers,
    list_cells,
    our_columns,
    values,
)
from batchsend.utils.wording import storable

#: Excel's limits; a cell is counted in UTF-16 code units.
MAX_SHEET_ROWS = 1_048_576
MAX_CELL_LENGTH = 32_767
CUT_MARK = " [... cut: an Excel cell ends here]"

Record = dict[str, Value]


class _ProblemColumn(NamedTuple):
    """A column of the sheet `Problems`. `wraps`: a long text takes several lines."""

    header: str
    width: int
    value: Callable[[ResultRow], Value]
    wraps: bool = False


def _as_problem(header: str, *, wraps: bool = False) -> _ProblemColumn:
    """A column of `Results` that `Problems` has, too."""
    same = column(header)
    return _ProblemColumn(same.header, same.width, attrgetter(same.field), wraps)


_PROBLEM_COLUMNS = (
    _as_problem("row"),
    _as_problem("status"),
    _ProblemColumn("what it means", 48, lambda row: advise(row.status, row.codes).meaning, wraps=True),
    _as_problem("errorDescriptions", wraps=True),
    _ProblemColumn("what to do", 62, lambda row: advise(row.status, row.codes).with_command, wraps=True),
    _as_problem("phone"),
    _as_problem("customerUUID"),
    _as_problem("errorCodes"),
    _as_problem("message"),
)
#: The inner group is the API's answer. The library writes the depth of an outline only for nested groups, and Excel
#: shows no `+` to unfold columns without it.
_OUTLINE = {
    "columns": [
        {"from": FOLDED_COLUMNS[0].header, "to": FOLDED_COLUMNS[-1].header, "collapsed": True},
        {"from": ANSWER_COLUMNS[0].header, "to": ANSWER_COLUMNS[-1].header},
    ]
}
#: Our columns with texts that may be all digits. The list's own columns are treated the same way.
_DIGITS_AS_TEXT = frozenset({"phone", "message", "customerUUID", "reply"})
_SUMMARY_WIDTHS = (40, 90)
#: In points; one line of Excel's usual font.
LINE_HEIGHT = 15
#: Rows after these get the height that the spreadsheet program chooses.
_ROWS_WITH_HEIGHT = 10_000
_PROBLEMS_COLOR = "#C00000"
_ON_PAPER = {"landscape": True, "fit_to_pages": (1, 0)}


@dataclass(frozen=True)
class _Sheet:
    """The rows of one sheet, and its formats: its values for keywords of `write_worksheets`."""

    records: Iterator[Record]
    formats: Mapping[str, Any]


def write_xlsx(path: Path, source: ResultsSource) -> None:
    """Writes the workbook over `path`, which exists.

    Raises `OSError` where a disk is full or fails. The library panics if there is no room for its temporary
    files, and raises `RuntimeError` for other faults; both become an `OSError` here.
    """
    room = _Room(path.parent)
    sheets = {"Summary": _summary(source.summary), **_results(source, room), **_problems(source, room)}
    keywords = sorted({keyword for sheet in sheets.values() for keyword in sheet.formats})
    formats: dict[str, Any] = {
        keyword: {name: sheet.formats[keyword] for name, sheet in sheets.items() if keyword in sheet.formats}
        for keyword in keywords
    }
    try:
        write_worksheets(
            [(name, sheet.records) for name, sheet in sheets.items()], os.fspath(path), **formats
        )
    except BaseException as error:
        if type(error) is RuntimeError or type(error).__name__ == "PanicException":
            raise OSError(str(error)) from error
        raise


def _summary(lines: Sequence[tuple[str, Value]]) -> _Sheet:
    """Label and value, one line each; the first heading is the title of the sheet."""
    title, body = ("Summary", lines)
    if lines and lines[0][1] is None:
        title, body = lines[0][0], lines[1:]
    headings = {number: _heading() for number, (_, value) in enumerate(body, start=1) if value is None}
    heights = {
        number: 2 * LINE_HEIGHT if value is None else LINE_HEIGHT * line_count(str(value), _SUMMARY_WIDTHS[1])
        for number, (_, value) in enumerate(body, start=1)
    }
    records = ({cell_text(title): cell_text(label), "": _cell(value)} for label, value in body)
    formats = {
        "header_format": Format().set_bold().set_font_size(16).set_font_color("#1F3864"),
        "row_formats": headings,
        "row_heights": {0: 2 * LINE_HEIGHT} | heights,
        "column_widths": list(_SUMMARY_WIDTHS),
        "column_formats": [
            Format().set_align("top"),
            Format().set_text_wrap().set_align("top").set_align("left").set_num_format("#,##0"),
        ],
        "sheet_view": {"gridlines": False},
        "page_setup": _ON_PAPER,
    }
    return _Sheet(_never_empty(records, [cell_text(title), ""]), formats)


def _results(source: ResultsSource, room: _Room) -> dict[str, _Sheet]:
    width, replied = len(source.headers), source.replied
    headers = column_headers(map(cell_text, source.headers), replied=replied)
    records = _records(headers, (values(row, width, replied=replied) for row in source.rows()), room)
    formats = _table_formats(headers, our_columns(replied=replied)) | {
        "column_formats": {"row": Format().set_align("left")},
        "outline": _OUTLINE,
    }
    return _over_sheets("Results", headers, records, source.row_count, formats)


def _problems(source: ResultsSource, room: _Room) -> dict[str, _Sheet]:
    """The rows that need attention. The list's own columns follow ours and show who the customer is."""
    count, heights = _problem_heights(source.problems())
    if not count:
        return {}
    width = len(source.headers)
    own = distinct_headers([one.header for one in _PROBLEM_COLUMNS], map(cell_text, source.headers))
    headers = [*(one.header for one in _PROBLEM_COLUMNS), *own]
    rows = (
        [*(one.value(row) for one in _PROBLEM_COLUMNS), *list_cells(row, width)] for row in source.problems()
    )
    records = _records(headers, rows, room)
    wrapped = Format().set_text_wrap().set_align("top")
    formats = _table_formats(headers, _PROBLEM_COLUMNS) | {
        "column_formats": {
            **{header: Format().set_align("top") for header in headers},
            "row": Format().set_align("top").set_align("left"),
            **{one.header: wrapped for one in _PROBLEM_COLUMNS if one.wraps},
        },
        "row_heights": heights,
        "sheet_view": {"tab_color": _PROBLEMS_COLOR},
    }
    return _over_sheets("Problems", headers, records, count, formats)


def _problem_heights(problems: Iterator[ResultRow]) -> tuple[int, dict[int, int]]:
    """How many problems there are, and the height of their rows, which not every program works out itself."""
    count, heights = 0, {}
    for count, row in enumerate(problems, start=1):
        if count <= _ROWS_WITH_HEIGHT:
            lines = (line_count(str(one.value(row)), one.width) for one in _PROBLEM_COLUMNS if one.wraps)
            heights[count] = LINE_HEIGHT * max(lines)
    return count, heights


@lru_cache(maxsize=1024)
def line_count(text: str, width: int) -> int:
    """How many lines a text takes in a wrapped cell of this width."""
    return max(1, len(textwrap.wrap(text, width)))


def _table_formats(headers: Sequence[str], ours: Sequence[Column | _ProblemColumn]) -> dict[str, Any]:
    widths = {one.header: one.width for one in ours}
    return {
        "freeze_panes": {"row": 1, "col": 0},
        "autofilter": True,
        "header_format": Format().set_bold().set_background_color("#D9E2F3").set_border_bottom("thin"),
        "column_widths": [widths.get(header, min(max(len(header) + 4, 12), 30)) for header in headers],
        # Without this Excel marks every phone and every id of digits with a green corner as "number stored as text".
        "ignore_errors": [header for header in headers if header not in widths or header in _DIGITS_AS_TEXT],
        "page_setup": _ON_PAPER | {"repeat_rows": 0},
    }


def _over_sheets(
    name: str, headers: Sequence[str], records: Iterator[Record], count: int, formats: Mapping[str, Any]
) -> dict[str, _Sheet]:
    """`count` records as `name`, `name 2`, ...: the writer takes the sheets in this order, so one iterator does.

    The last sheet takes all remaining rows, so that no row is missing if `count` is wrong.
    """
    per_sheet = MAX_SHEET_ROWS - 1
    sheet_count = max(1, -(-count // per_sheet))
    sheets = {}
    for number in range(1, sheet_count + 1):
        part = records if number == sheet_count else islice(records, per_sheet)
        title = name if number == 1 else f"{name} {number}"
        sheets[title] = _Sheet(_never_empty(part, headers), formats)
    return sheets


def _never_empty(records: Iterator[Record], headers: Sequence[str]) -> Iterator[Record]:
    """Adds an empty record if there is none: the writer takes the header row from the first record."""
    first = next(records, None)
    yield dict.fromkeys(headers) if first is None else first
    yield from records


def _records(headers: Sequence[str], rows: Iterator[Sequence[Value]], room: _Room) -> Iterator[Record]:
    for row in rows:
        text = "".join([value for value in row if value.__class__ is str])
        room.take(len(text) + _Room.CELL * len(row))
        # True for nearly every row; checking each cell would take as long as writing the row.
        if text.isascii() and len(text) <= MAX_CELL_LENGTH:
            yield dict(zip(headers, row, strict=True))
        else:
            yield dict(zip(headers, map(_cell, row), strict=True))
    room.compress()


def _cell(value: Value) -> Value:
    return cell_text(value) if isinstance(value, str) else value


def cell_text(text: str) -> str:
    """`text` as a cell can hold it: half characters become U+FFFD; a long text is cut and marked."""
    if text.isascii() and len(text) <= MAX_CELL_LENGTH:
        return text
    text = storable(text)
    # A code unit is two bytes, and a character has at most two of them.
    if 2 * len(text) > MAX_CELL_LENGTH:
        units = text.encode("utf-16-le")
        if len(units) > 2 * MAX_CELL_LENGTH:
            kept = units[: 2 * (MAX_CELL_LENGTH - len(CUT_MARK))]
            return kept.decode("utf-16-le", errors="ignore") + CUT_MARK
    return text


def _heading() -> Format:
    return Format().set_bold().set_font_size(12).set_border_bottom("thin").set_align("bottom")


class _Room:
    """Notices a full disk before the library does, which would print a crash report on the terminal.

    While rows are written, files in the system's temporary folder grow; the workbook is compressed into its folder at
    the end.
    """

    STRIDE = 256 * 1024
    RESERVE = 2 * 1024 * 1024
    #: Bytes that a cell takes besides its text.
    CELL = 40
    #: Rows of texts shrink to a fifth or less.
    COMPRESSION = 5

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0
        self._checked_until = 0

    def take(self, size: int) -> None:
        """Checks that there is room for a row of `size` bytes. Raises `OSError` (`ENOSPC`)."""
        if self._written >= self._checked_until:
            self._checked_until = self._written + self.STRIDE
            _require(Path(tempfile.gettempdir()), self.RESERVE)
        self._written += size

    def compress(self) -> None:
        """Checks that there is room for the workbook with all rows. Raises `OSError` (`ENOSPC`)."""
        _require(self._folder, self._written // self.COMPRESSION)


def _require(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder))
