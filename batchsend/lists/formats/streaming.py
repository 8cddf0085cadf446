"""Tables read as a stream from the first byte to the last, so that memory does not grow with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import ListError
from batchsend.lists.cells import column_letter
from batchsend.lists.formats.sheets import merged_note, notes_of, sheets_of_list
from batchsend.lists.source import LAST_ROW, FileSnapshot, ListOptions

#: Cells of a sheet, counting each row up to its last filled cell.
MAX_CELLS = 50_000_000
# Cells, filled or not, cached between opening and reading, because parsing XML is slow.
_MAX_CACHED_CELLS = 500_000
# Not allowed in XML, and very rare in other lists.
_SEPARATOR = "\x1f"


@dataclass
class StreamedSheet:
    """A sheet. Some formats say only after its rows whether it is visible."""

    name: str
    is_visible: bool = True
    merged: int = 0  #: merged areas, where the format counts them


@dataclass(frozen=True, slots=True)
class RepeatedRow:
    """Equal consecutive rows with at least one filled cell; usually a single row."""

    sheet: int  #: position among the sheets, from 0
    first: int  #: the first row's number, from 1
    cells: list[str]  #: cleaned, up to the last filled one
    is_hidden: bool = False
    count: int = 1


#: Reads the whole file, appends each sheet to the given list as it begins, and yields all rows in order.
#: Raises ListError if the file is damaged.
Read = Callable[[list[StreamedSheet]], Iterator[RepeatedRow]]


@dataclass
class _PackedRows:
    """Rows stored in a quarter of the memory that lists of texts would take."""

    rows: list[tuple[int, int, str, bool, int]] = field(default_factory=list)

    def add(self, rows: RepeatedRow) -> None:
        self.rows.append((rows.sheet, rows.first, _SEPARATOR.join(rows.cells), rows.is_hidden, rows.count))

    def all(self) -> Iterator[RepeatedRow]:
        for sheet, first, cells, is_hidden, count in self.rows:
            yield RepeatedRow(sheet, first, cells.split(_SEPARATOR), is_hidden, count)


@dataclass
class _RowCache:
    """Caches the rows of a small file; `rows` becomes None when the file is too large."""

    rows: _PackedRows | None = field(default_factory=_PackedRows)
    cells: int = 0

    def add(self, rows: RepeatedRow) -> None:
        self.cells += len(rows.cells)
        if self.cells > _MAX_CACHED_CELLS or any(_SEPARATOR in cell for cell in rows.cells):
            self.rows = None
        elif self.rows is not None:
            self.rows.add(rows)


@dataclass(frozen=True)
class StreamedSource:
    """See `Source`. `cached` has all rows of a small file, which is then read only once."""

    snapshot: FileSnapshot
    read: Read
    cached: _PackedRows | None
    chosen: Sequence[int]
    notes: tuple[str, ...]
    hidden: frozenset[int]
    short_rows_are_malformed: bool = field(default=False, init=False)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. The rows of a second results sheet follow on from a full first sheet."""
        self.snapshot.check()
        indices = {sheet: index for index, sheet in enumerate(self.chosen)}
        try:
            for rows in self.read([]) if self.cached is None else self.cached.all():
                index = indices.get(rows.sheet)
                if index is None:
                    continue
                for number in range(rows.first, rows.first + rows.count):
                    if index == 0 or number > 1:
                        yield number + index * LAST_ROW, rows.cells.copy()
        except ListError:
            # The file was valid when it was opened, so it has probably changed.
            self.snapshot.check()
            raise
        self.snapshot.check()
        self.snapshot.check_content()


@dataclass
class _SheetSummary:
    """The facts about a sheet that are needed to choose one."""

    first_row: list[str] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    cells: int = 0
    last_row: int = 0
    last_column: int = 0

    def add(self, rows: RepeatedRow) -> None:
        self.first_row = self.first_row or rows.cells
        self.cells += len(rows.cells) * rows.count
        self.last_row = rows.first + rows.count - 1
        self.last_column = max(self.last_column, len(rows.cells))
        if rows.is_hidden:
            self.hidden.update(range(rows.first, rows.first + rows.count))


def open_streamed(
    path: Path, snapshot: FileSnapshot, options: ListOptions, read: Read, notes: Sequence[str] = ()
) -> StreamedSource:
    """Reads the whole file once and chooses the list's sheet.

    Raises ListError if the sheet is too large, and as `sheets_of_list` does.
    """
    sheets: list[StreamedSheet] = []
    summaries: dict[int, _SheetSummary] = defaultdict(_SheetSummary)
    cached = _RowCache()
    for rows in read(sheets):
        summaries[rows.sheet].add(rows)
        if summaries[rows.sheet].cells > 4 * MAX_CELLS:  # not even to be counted
            raise ListError(path, _too_large(summaries[rows.sheet]))
        cached.add(rows)
    positions = {id(sheet): position for position, sheet in enumerate(sheets)}
    chosen = sheets_of_list(path, sheets, options, lambda sheet: summaries[positions[id(sheet)]].first_row)
    indices = [positions[id(sheet)] for sheet in chosen]
    for index in indices:
        if summaries[index].cells > MAX_CELLS:
            raise ListError(path, _too_large(summaries[index]))
    hidden = (row + at * LAST_ROW for at, index in enumerate(indices) for row in summaries[index].hidden)
    merged = sum(sheet.merged for sheet in chosen)
    notes = (*notes, *notes_of(sheets, chosen), *merged_note(merged))
    return StreamedSource(snapshot, read, cached.rows, indices, notes, frozenset(hidden))


def _too_large(summary: _SheetSummary) -> str:
    return (
        f"It is too large: {summary.cells:,} cells, as far as column {column_letter(summary.last_column)} and row "
        f"{summary.last_row:,}; at most {MAX_CELLS:,} can be read. Copy the list into a new workbook, or split it."
    )
