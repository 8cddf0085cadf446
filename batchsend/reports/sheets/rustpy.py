"""Writes sheets with rustpy-xlsxwriter, which takes each row as a dict and formats as keywords for all sheets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rustpy_xlsxwriter import Format, write_worksheets

from batchsend.reports.sheets.sheet import HEADING, Sheet, Style, Value

_FITS_PAPER = {"landscape": True, "fit_to_pages": (1, 0)}


def write(path: Path, sheets: Sequence[Sheet]) -> None:
    """Writes the workbook over `path`.

    Raises `OSError`: the library panics if there is no room for its temporary files, and raises `RuntimeError` for
    other faults.
    """
    formats: dict[str, Any] = {}
    for sheet in sheets:
        for keyword, value in _formats(sheet):
            formats.setdefault(keyword, {})[sheet.name] = value
    try:
        write_worksheets([(sheet.name, _records(sheet)) for sheet in sheets], os.fspath(path), **formats)
    except BaseException as error:
        if type(error) is RuntimeError or type(error).__name__ == "PanicException":
            raise OSError(str(error)) from error
        raise


class _Header(str):
    """A header as a key: two columns with the same header are two keys."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _records(sheet: Sheet) -> Iterator[dict[_Header, Value]]:
    """The rows as dicts; an empty one if there is none, because the header is taken from the first dict."""
    headers = [_Header(header) for header in sheet.headers]
    row = None
    for row in sheet.rows:
        yield dict(zip(headers, row, strict=True))
    if row is None:
        yield dict.fromkeys(headers)


def _formats(sheet: Sheet) -> Iterator[tuple[str, Any]]:
    """The keywords of `write_worksheets` that give the sheet its looks."""
    headers = sheet.headers
    yield "header_format", _format(sheet.header_style)
    yield "column_widths", list(sheet.column_widths)
    yield "column_formats", {headers[n]: _format(style) for n, style in sheet.column_styles.items()}
    yield "row_formats", {row: _format(HEADING) for row in sheet.heading_rows}
    yield "row_heights", dict(sheet.row_heights)
    yield "autofilter", sheet.filtered
    yield "ignore_errors", [headers[n] for n in sheet.digits_as_text]
    yield "outline", _outline(sheet)
    yield (
        "sheet_view",
        {"gridlines": sheet.gridlines} | ({"tab_color": sheet.tab_color} if sheet.tab_color else {}),
    )
    if sheet.header_frozen:
        yield "freeze_panes", {"row": 1, "col": 0}
    if sheet.fits_paper:
        yield "page_setup", _FITS_PAPER | ({"repeat_rows": 0} if sheet.header_frozen else {})


def _outline(sheet: Sheet) -> dict[str, Any]:
    """Collapsing the outermost group hides those within it.

    The library writes the depth of an outline only for nested groups, and without it Excel shows no `+`.
    """
    return {
        "columns": [
            {"from": sheet.headers[first], "to": sheet.headers[last]}
            | ({"collapsed": True} if not number else {})
            for number, (first, last) in enumerate(sheet.folded)
        ]
    }


def _format(style: Style) -> Format:
    """The library's format for a style."""
    made = Format()
    if style.bold:
        made = made.set_bold()
    if style.size:
        made = made.set_font_size(style.size)
    if style.color:
        made = made.set_font_color(style.color)
    if style.fill:
        made = made.set_background_color(style.fill)
    if style.underlined:
        made = made.set_border_bottom("thin")
    if style.left:
        made = made.set_align("left")
    if style.vertical:
        made = made.set_align(style.vertical)
    if style.wraps:
        made = made.set_text_wrap()
    if style.number_format:
        made = made.set_num_format(style.number_format)
    return made
