"""The results as an Excel workbook: the sheets `Summary`, `Results` and, if any row needs attention, `Problems`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from batchsend.reports.advice import advise
from batchsend.reports.sheets.sheet import MAX_SHEET_ROWS, Sheet, Style, cell_text
from batchsend.reports.sheets.write import write_sheets
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
#: The inner group is the API's answer.
_FOLDED = (FOLDED_COLUMNS, ANSWER_COLUMNS)
#: Our columns with texts that may be all digits. The list's own columns are treated the same way.
_DIGITS_AS_TEXT = frozenset({"phone", "message", "customerUUID", "reply"})
_SUMMARY_WIDTHS = (40, 90)
#: In points; one line of Excel's usual font.
LINE_HEIGHT = 15
#: Rows after these get the height that the spreadsheet program chooses.
_ROWS_WITH_HEIGHT = 10_000
_PROBLEMS_COLOR = "#C00000"
_TITLE = Style(bold=True, size=16, color="#1F3864")
_TABLE_HEADER = Style(bold=True, fill="#D9E2F3", underlined=True)
_LABEL = Style(vertical="top")
_VALUE = Style(wraps=True, left=True, vertical="top", number_format="#,##0")


def write_xlsx(path: Path, source: ResultsSource) -> None:
    """Writes the workbook over `path`, which exists. Raises `OSError` where a disk is full or fails."""
    write_sheets(path, [_summary(source.summary), *_results(source), *_problems(source)])


def _summary(lines: Sequence[tuple[str, Value]]) -> Sheet:
    """Label and value, one line each; the first heading is the title of the sheet."""
    title, body = ("Summary", lines)
    if lines and lines[0][1] is None:
        title, body = lines[0][0], lines[1:]
    heights = {
        number: 2 * LINE_HEIGHT if value is None else LINE_HEIGHT * line_count(str(value), _SUMMARY_WIDTHS[1])
        for number, (_, value) in enumerate(body, start=1)
    }
    return Sheet(
        name="Summary",
        headers=[title, ""],
        rows=iter(body),
        row_count=len(body),
        header_style=_TITLE,
        column_widths=_SUMMARY_WIDTHS,
        column_styles={0: _LABEL, 1: _VALUE},
        heading_rows=[number for number, (_, value) in enumerate(body, start=1) if value is None],
        row_heights={0: 2 * LINE_HEIGHT} | heights,
        gridlines=False,
        fits_paper=True,
    )


def _results(source: ResultsSource) -> Iterator[Sheet]:
    width, replied = len(source.headers), source.replied
    headers = column_headers(map(cell_text, source.headers), replied=replied)
    rows = (values(row, width, replied=replied) for row in source.rows())
    table = Sheet(
        name="Results",
        rows=rows,
        row_count=source.row_count,
        column_styles={headers.index("row"): Style(left=True)},
        folded=[(headers.index(group[0].header), headers.index(group[-1].header)) for group in _FOLDED],
        **_as_table(headers, our_columns(replied=replied)),
    )
    return _over_sheets(table)


def _problems(source: ResultsSource) -> Iterator[Sheet]:
    """The rows that need attention. The list's own columns follow ours and show who the customer is."""
    count, heights = _problem_heights(source.problems())
    if not count:
        return iter(())
    width = len(source.headers)
    own = distinct_headers([one.header for one in _PROBLEM_COLUMNS], map(cell_text, source.headers))
    headers = [*(one.header for one in _PROBLEM_COLUMNS), *own]
    rows = (
        [*(one.value(row) for one in _PROBLEM_COLUMNS), *list_cells(row, width)] for row in source.problems()
    )
    wraps = {number for number, one in enumerate(_PROBLEM_COLUMNS) if one.wraps}
    table = Sheet(
        name="Problems",
        rows=rows,
        row_count=count,
        column_styles={
            number: Style(vertical="top", wraps=number in wraps, left=header == "row")
            for number, header in enumerate(headers)
        },
        row_heights=heights,
        tab_color=_PROBLEMS_COLOR,
        **_as_table(headers, _PROBLEM_COLUMNS),
    )
    return _over_sheets(table)


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


def _as_table(headers: Sequence[str], ours: Sequence[Column | _ProblemColumn]) -> dict[str, Any]:
    """The fields of a sheet that is a table with these headers."""
    widths = {one.header: one.width for one in ours}
    return {
        "headers": headers,
        "header_style": _TABLE_HEADER,
        "header_frozen": True,
        "filtered": True,
        "column_widths": [widths.get(header, min(max(len(header) + 4, 12), 30)) for header in headers],
        "digits_as_text": [
            number
            for number, header in enumerate(headers)
            if header not in widths or header in _DIGITS_AS_TEXT
        ],
        "fits_paper": True,
    }


def _over_sheets(table: Sheet) -> Iterator[Sheet]:
    """A table with many rows as `name`, `name 2`, ...: sheets are written in order, so one iterator of rows does.

    The last sheet takes all remaining rows, so that no row is missing if `row_count` is wrong.
    """
    per_sheet = MAX_SHEET_ROWS - 1
    sheet_count = max(1, -(-table.row_count // per_sheet))
    for number in range(1, sheet_count):
        yield replace(_numbered(table, number), rows=islice(table.rows, per_sheet), row_count=per_sheet)
    rest = table.row_count - (sheet_count - 1) * per_sheet
    yield replace(_numbered(table, sheet_count), row_count=rest)


def _numbered(table: Sheet, number: int) -> Sheet:
    """The sheet with this number. The heights are those of the first sheet's rows."""
    return table if number == 1 else replace(table, name=f"{table.name} {number}", row_heights={})
