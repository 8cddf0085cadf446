"""Makes room for new columns at the right of a list in a sheet: column settings, filter and Excel tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.utils import get_column_letter, range_boundaries
from openpyxl.worksheet.table import Table, TableColumn
from openpyxl.worksheet.worksheet import Worksheet

#: Excel's limits.
MAX_COLUMNS, MAX_ROWS = 16_384, 1_048_576


class NewColumns(NamedTuple):
    """New columns: the rows of the list, from its header to its last row, the first column and the headers."""

    header_row: int
    last_row: int
    first: int
    headers: Sequence[str]

    @property
    def last(self) -> int:
        return self.first + len(self.headers) - 1


class _Area(NamedTuple):
    """The columns and rows of a range."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, text: str) -> _Area:
        """The area of `A1:C9`, or of `A:C`, which is all of these columns."""
        left, top, right, bottom = range_boundaries(text)
        return cls(left or 1, top or 1, right or MAX_COLUMNS, bottom or MAX_ROWS)

    def until(self, right: int) -> str:
        """The range with another last column."""
        return f"{get_column_letter(self.left)}{self.top}:{get_column_letter(right)}{self.bottom}"


def cells_of(sheet: Worksheet) -> Mapping[tuple[int, int], Cell | MergedCell]:
    """The cells that exist, by row and column. Public iterators would create all the others up to the last one."""
    return sheet._cells  # noqa: SLF001


def charts_of(sheet: Worksheet) -> Sequence[Any]:
    """The charts on a sheet."""
    return getattr(sheet, "_charts", ())


def first_free_column(sheet: Worksheet, header_row: int) -> int:
    """The number of the first column to the right of all values, and of areas that reach into the list's rows."""
    cells = cells_of(sheet).items()
    used = [column for (_, column), cell in cells if cell.value is not None or cell.comment is not None]
    areas = [_Area(*area.bounds) for area in sheet.merged_cells.ranges]
    if sheet.auto_filter.ref:
        areas.append(_Area.of(sheet.auto_filter.ref))
    used += [area.right for area in areas if area.bottom >= header_row]
    return max(used, default=0) + 1


def make_room(sheet: Worksheet, new: NewColumns) -> list[str]:
    """Extends what covers the list to the new columns. Returns what could not be, in sentences."""
    _free_column_settings(sheet, new)
    return [*_extend_filter(sheet, new), *_extend_tables(sheet, new), *_charts_above(sheet, new)]


def _free_column_settings(sheet: Worksheet, new: NewColumns) -> None:
    """Takes the new columns out of settings for several columns: people hide all unused columns together."""
    for key, settings in list(sheet.column_dimensions.items()):
        settings.reindex()
        left, right = settings.min or 0, settings.max or 0
        if right < new.first or left > new.last:
            continue
        if right > new.last:
            after = copy(settings)
            after.index, after.min = get_column_letter(new.last + 1), new.last + 1
            sheet.column_dimensions[after.index] = after
        if left < new.first:
            settings.max = new.first - 1
        else:
            del sheet.column_dimensions[key]


def _extend_filter(sheet: Worksheet, new: NewColumns) -> Iterator[str]:
    if not sheet.auto_filter.ref:
        return
    area = _Area.of(sheet.auto_filter.ref)
    if (area.top, area.right) == (new.header_row, new.first - 1):
        sheet.auto_filter.ref = area.until(new.last)
    else:
        yield f"The filter still covers {sheet.auto_filter.ref} only."


def _extend_tables(sheet: Worksheet, new: NewColumns) -> Iterator[str]:
    for table in sheet.tables.values():
        area = _Area.of(table.ref)
        if area.bottom < new.header_row or area.top > new.last_row:
            continue
        covers = (area.top, area.right) == (new.header_row, new.first - 1) and area.bottom >= new.last_row
        if covers and table.headerRowCount != 0 and not table.totalsRowCount:
            _extend_table(table, area.until(new.last), new.headers)
        else:
            yield f'The table "{table.displayName}" still covers {table.ref} only.'


def _extend_table(table: Table, area: str, headers: Sequence[str]) -> None:
    table.ref = area
    if table.autoFilter is not None:
        table.autoFilter.ref = area
    last_id = max(one.id for one in table.tableColumns)
    table.tableColumns += [TableColumn(id=last_id + i, name=name) for i, name in enumerate(headers, 1)]


def disconnect_tables(sheet: Worksheet) -> None:
    """Makes plain tables of those with a query: openpyxl leaves the query out, and Excel would call that damage."""
    for table in sheet.tables.values():
        table.tableType = table.connectionId = None
        for one in table.tableColumns:
            one.queryTableFieldId = None


def _charts_above(sheet: Worksheet, new: NewColumns) -> Iterator[str]:
    """Charts are anchored to cells, whose columns are counted from 0."""
    anchors = [chart.anchor for chart in charts_of(sheet)]
    corners = [getattr(anchor, "to", None) or getattr(anchor, "_from", None) for anchor in anchors]
    if any(corner.col >= new.first - 1 for corner in corners if corner is not None):
        yield "A chart lies over the new columns: move it aside."
