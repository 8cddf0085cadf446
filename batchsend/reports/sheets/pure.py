"""Writes sheets with XlsxWriter, for computers without rustpy-xlsxwriter."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from batchsend.reports.sheets.sheet import HEADING, Sheet, Style
from batchsend.utils.files import temporary_folder


def write(path: Path, sheets: Sequence[Sheet]) -> None:
    """Writes the workbook over `path`. Raises `OSError`.

    Rows pass through files in a temporary folder, which is deleted after errors too. The compressed workbook is made
    in memory: on a full disk, the zip file of the library would print a traceback when it is discarded.
    """
    compressed = io.BytesIO()
    with temporary_folder() as folder:
        workbook = Workbook(compressed, {"constant_memory": True, "tmpdir": folder})
        workbook.use_zip64()
        with _closing_files(workbook):
            for sheet in sheets:
                _Writer(workbook, sheet).write()
            _save(workbook)
    path.write_bytes(compressed.getbuffer())


def _save(workbook: Workbook) -> None:
    try:
        workbook.close()
    except FileCreateError as error:
        raise OSError(*error.args[0].args) from error


@contextlib.contextmanager
def _closing_files(workbook: Workbook) -> Iterator[None]:
    """Closes the library's temporary files, which Windows could not delete while they are open."""
    try:
        yield
    finally:
        for sheet in workbook.worksheets():
            with contextlib.suppress(OSError):
                sheet.row_data_fh.close()


class _Writer:
    """Writes one sheet."""

    def __init__(self, workbook: Workbook, sheet: Sheet) -> None:
        self._workbook = workbook
        self._sheet = sheet
        self._made: Worksheet = workbook.add_worksheet(sheet.name)
        self._formats: dict[Style, Format] = {}

    def write(self) -> None:
        # Once a row is written, its height, its format and those of its columns can no longer be set.
        self._set_columns()
        self._set_rows()
        self._set_view()
        header = self._format(self._sheet.header_style)
        for column, text in enumerate(self._sheet.headers):
            write = self._made.write_string if text else self._made.write_blank
            write(0, column, text, header)
        self._set_ranges(self._write_rows())

    def _write_rows(self) -> int:
        """Writes the rows; returns how many there are."""
        write_text, write_number = self._made.write_string, self._made.write_number
        number = 0
        for number, row in enumerate(self._sheet.rows, start=1):
            for column, value in enumerate(row):
                if isinstance(value, int):
                    write_number(number, column, value)
                elif not value:
                    continue
                elif value.startswith("<r>") and value.endswith("</r>"):
                    # The library takes such a text for XML of its own, but not in parts.
                    self._made.write_rich_string(number, column, value[:1], value[1:2], value[2:])
                else:
                    write_text(number, column, value)
        return number

    def _set_columns(self) -> None:
        sheet, widths = self._sheet, self._sheet.column_widths
        for column in range(len(sheet.headers)):
            options: dict[str, Any] = {}
            if level := sum(first <= column <= last for first, last in sheet.folded):
                options = {"level": level, "hidden": True}
            elif column in self._after_folded():
                options = {"collapsed": True}
            width, style = widths[column] if widths else None, sheet.column_styles.get(column)
            if options or width or style:
                self._made.set_column(column, column, width, self._format(style), options)
        for column in self._after_folded():
            if column >= len(sheet.headers):
                self._made.set_column(column, column, None, None, {"collapsed": True})

    def _after_folded(self) -> list[int]:
        """The column that shows the `+` of the outermost group."""
        return [last + 1 for _, last in self._sheet.folded[:1]]

    def _set_rows(self) -> None:
        heights, headings = self._sheet.row_heights, self._sheet.heading_rows
        for row in sorted({*heights, *headings}):
            self._made.set_row(row, heights.get(row), self._format(HEADING if row in headings else None))

    def _set_view(self) -> None:
        sheet, made = self._sheet, self._made
        if sheet.header_frozen:
            made.freeze_panes(1, 0)
        if not sheet.gridlines:
            made.hide_gridlines(2)
        if sheet.tab_color:
            made.set_tab_color(sheet.tab_color)
        if sheet.fits_paper:
            made.set_landscape()
            made.fit_to_pages(1, 0)
            if sheet.header_frozen:
                made.repeat_rows(0)

    def _set_ranges(self, row_count: int) -> None:
        """Sets what covers all rows. A sheet without rows has an empty one."""
        last_row = max(1, row_count)
        if self._sheet.filtered:
            self._made.autofilter(0, 0, last_row, len(self._sheet.headers) - 1)
        if columns := [xl_col_to_name(column) for column in self._sheet.digits_as_text]:
            ranges = " ".join(f"{column}2:{column}{last_row + 1}" for column in columns)
            self._made.ignore_errors({"number_stored_as_text": ranges})

    def _format(self, style: Style | None) -> Format | None:
        if style is None:
            return None
        if style not in self._formats:
            self._formats[style] = self._workbook.add_format(_properties(style))
        return self._formats[style]


def _properties(style: Style) -> dict[str, Any]:
    """The library's properties for a style."""
    properties = {
        "bold": style.bold,
        "font_size": style.size,
        "font_color": style.color,
        "bg_color": style.fill,
        "bottom": int(style.underlined),
        "align": "left" if style.left else None,
        "valign": style.vertical,
        "text_wrap": style.wraps,
        "num_format": style.number_format,
    }
    return {name: value for name, value in properties.items() if value}
