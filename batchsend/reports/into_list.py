"""Adds a run's results to a copy of the list's own workbook: to the right of its columns, each row beside its row.

openpyxl makes the copy and keeps formats, formulas and other sheets. What it cannot keep is named.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from openpyxl.cell.cell import Cell
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.reader.excel import ExcelReader
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.workbook.properties import CalcProperties
from openpyxl.workbook.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from batchsend.campaigns.zones import zone_with_newest_rules
from batchsend.errors import ListError, ResultsError, unreadable
from batchsend.ledger.ledger import Ledger, RunRecord
from batchsend.ledger.runs import run_rows, starts_of
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list
from batchsend.lists.formats.detect import Format, detect
from batchsend.lists.header_row import Header
from batchsend.lists.headers import match_key
from batchsend.lists.source import forbidden
from batchsend.reports.copy_losses import losses
from batchsend.reports.output_files import inputs_of_run, refuse_inputs
from batchsend.reports.results_file import replace_file
from batchsend.reports.run_results import RunResults
from batchsend.reports.sheet_columns import (
    MAX_COLUMNS,
    NewColumns,
    cells_of,
    charts_of,
    disconnect_tables,
    first_free_column,
    make_room,
)
from batchsend.reports.sheets.sheet import cell_text
from batchsend.reports.table import REPLY_COLUMNS, Column, ResultRow, column
from batchsend.reports.workbook import LINE_HEIGHT, line_count
from batchsend.utils.protected_files import refusal

#: Bytes of all sheets, unpacked: about 1.5 million cells. openpyxl needs 15 times as much memory, and a minute.
MAX_SHEETS_SIZE = 64 * 1024 * 1024
_COLUMNS = tuple(map(column, ("status", "messageUUID", "errorCodes", "errorDescriptions", "message")))
_WRAPPED = "message"
#: Excel takes a text that begins with one of these for a formula when a person edits its cell.
_STARTERS = tuple("=+-@'")
#: What XML cannot hold, and text that looks like the escape for it.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_SAVE_AGAIN = "Open the list in Excel, save it as an Excel workbook (.xlsx), and try again."


@dataclass(frozen=True)
class ListWorkbook:
    """The workbook that was a run's list. `ending`: the ending of its copy's name."""

    path: Path
    sheet: str
    ending: str
    customers: CustomerList


class ListCopy(NamedTuple):
    """A copy that was written. `notes`: how else it differs from the list, in sentences."""

    path: Path
    notes: Sequence[str]


def find_list(ledger: Ledger, run: RunRecord) -> ListWorkbook:
    """Finds the workbook that was the run's list. Raises `ResultsError` if it cannot be copied or has changed."""
    start = starts_of(ledger, run.id)[-1]
    path = Path(start["list_file"])
    if (why := refusal(path)) is not None:
        raise ResultsError(f"{path}: {forbidden(why)}")
    if not path.is_file():
        raise ResultsError(f"{path}: the list is no longer there, so it cannot be copied. Put it back.")
    try:
        if detect(path) is not Format.XLSX:
            raise ResultsError(
                f"{path}: the list is not an .xlsx or .xlsm workbook, so there is none to copy."
            )
        return _find_sheet(path, ledger, run, start["list_sha256"])
    except ListError as error:
        raise ResultsError(str(error)) from error
    except OSError as error:
        raise ResultsError(f"{path}: {unreadable(error)}") from error


def _find_sheet(path: Path, ledger: Ledger, run: RunRecord, sha256: str) -> ListWorkbook:
    """Finds the sheet with the run's rows. If the bytes are the same, another version may have read other values."""
    with _reader(path) as reader:
        ending, sheets = reader.ending, reader.sheets()
    rows = [row["row"] for row in run_rows(ledger, run.id, columns=["row"])]
    alike = []
    for sheet in sheets:
        customers = _opened(path, sheet, run.headers)
        if customers is None or customers.headers != run.headers or _row_numbers(customers) != rows:
            continue
        found = ListWorkbook(path, sheet, ending, customers)
        if customers.header.is_results:
            raise ResultsError(
                f"{path}: the list is a results workbook of batchsend, which has these columns already."
            )
        if customers.fingerprint() == run.list_fingerprint:
            return found
        alike.append(found)
    if len(alike) == 1 and alike[0].customers.sha256 == sha256:
        return alike[0]
    raise ResultsError(
        f"{path}: the list has changed since run {run.id}, so its rows may not be the ones that were sent. "
        f"Put it back as it was."
    )


def _opened(path: Path, sheet: str, headers: Sequence[str]) -> CustomerList | None:
    """The list in this sheet, also with a title above its headers; `None` if there is none."""
    options = ListOptions(sheet=sheet, hidden_rows="include")
    try:
        customers = open_list(path, options, rows_needed=False)
        top = customers.top
        if customers.headers == headers:
            return customers
    except ListError as error:
        top = error.top
    for number, cells in top:
        if tuple(Header.of(number, cells).columns.values()) == tuple(headers):
            try:
                return open_list(path, replace(options, header_row=number), rows_needed=False)
            except ListError:
                return None
    return None


def _row_numbers(customers: CustomerList) -> list[int]:
    return [row for chunk in customers.chunks(()) for row in chunk.frame.index.tolist()]


def write_into_list(ledger: Ledger, run: RunRecord, found: ListWorkbook, path: Path) -> ListCopy:
    """Writes a copy of the list with the run's results to `path`, which must end in `found.ending`.

    If an older copy is open in Excel, another name is used. Raises `ResultsError`.
    """
    if path.suffix.lower() != found.ending:
        raise ResultsError(f"{path}: a copy of this list ends in {found.ending}. Choose such a name.")
    refuse_inputs(path, [found.path, *inputs_of_run(run)])
    results = RunResults(ledger, run.id, run.headers, zone_with_newest_rules(run.zone), [], run.id)
    rows, ours = list(results.rows()), (*_COLUMNS, *REPLY_COLUMNS) if results.replied else _COLUMNS
    with _reader(found.path) as reader:
        workbook = reader.workbook()
        # Reading the list once more also finds that it has changed in between.
        if _row_numbers(found.customers) != [row.row for row in rows]:
            raise ResultsError(f"{found.path}: the list and run {run.id} do not have the same rows.")
        notes = _add_columns(workbook[found.sheet], found, run.id, ours, rows)
        for sheet in workbook.worksheets:
            _keep_values(sheet)
            disconnect_tables(sheet)
        written = replace_file(path, workbook.save)
    if any(charts_of(sheet) for sheet in workbook.worksheets):
        notes.append("Charts are drawn anew, so parts of their formatting can be different.")
    if lost := losses(found.path, written):
        notes.append(f"Not in the copy: {', '.join(lost)}.")
    return ListCopy(written, notes)


def _add_columns(
    sheet: Worksheet, found: ListWorkbook, run_id: int, ours: Sequence[Column], rows: Sequence[ResultRow]
) -> list[str]:
    """Adds our columns. Returns what could not be extended to them. Raises `ResultsError`."""
    header_row, columns = found.customers.header.row, found.customers.header.columns
    if any((header_row, position + 1) not in cells_of(sheet) for position in columns):
        raise ResultsError(f"{found.path}: openpyxl reads other columns there. {_SAVE_AGAIN}")
    first = first_free_column(sheet, header_row)
    if first + len(ours) - 1 > MAX_COLUMNS:
        raise ResultsError(f"{found.path}: the sheet has no room for more columns at its right.")
    last_row = rows[-1].row if rows else header_row
    new = NewColumns(header_row, last_row, first, _distinct(sheet, header_row, run_id, ours))
    notes = make_room(sheet, new)
    model = max(columns) + 1
    _write_header(sheet, new, model, ours)
    _write_rows(sheet, first, model, ours, rows)
    return notes


def _distinct(sheet: Worksheet, header_row: int, run_id: int, ours: Sequence[Column]) -> list[str]:
    """Our headers. One that the list has, in whatever spelling, gets the run's number."""
    cells = cells_of(sheet).items()
    taken = {match_key(str(cell.value)) for (row, _), cell in cells if row == header_row}
    names = []
    for one in ours:
        name = one.header
        while match_key(name) in taken:
            name += f" (run {run_id})"
        names.append(name)
    return names


def _write_header(sheet: Worksheet, new: NewColumns, model: int, ours: Sequence[Column]) -> None:
    """Writes our headers in the style of the list's last one."""
    for number, (name, one) in enumerate(zip(new.headers, ours, strict=True), new.first):
        cell = _write(sheet, new.header_row, number, name)
        beside = cells_of(sheet)[new.header_row, model]
        _copy_look(beside, cell)
        cell.alignment = copy(beside.alignment)
        sheet.column_dimensions[get_column_letter(number)].width = one.width


def _write_rows(
    sheet: Worksheet, first: int, model: int, ours: Sequence[Column], rows: Sequence[ResultRow]
) -> None:
    """Writes our cells in the style of the list's last column."""
    looks: dict[tuple[int, bool], Any] = {}
    for row in rows:
        beside = cells_of(sheet).get((row.row, model)) or Cell(sheet, row=row.row, column=model)
        for number, one in enumerate(ours, first):
            cell = _write(sheet, row.row, number, str(getattr(row, one.field) or ""))
            wraps = one.header == _WRAPPED
            look = (beside.style_id, wraps)
            if look not in looks:
                looks[look] = _look(Cell(sheet, row=row.row, column=number), beside, wraps=wraps)
            # Setting the parts of a style takes 20 times as long.
            cell._style = copy(looks[look]._style)  # noqa: SLF001
            if cell.value and str(cell.value).startswith(_STARTERS):
                cell.quotePrefix = True
        _make_high_enough(sheet, row)


def _make_high_enough(sheet: Worksheet, row: ResultRow) -> None:
    """Gives the row room for the wrapped message, which not every program does itself."""
    lines = line_count(row.body or "", column(_WRAPPED).width)
    if lines > 1:
        settings = sheet.row_dimensions[row.row]
        settings.height = max(settings.height or 0, lines * LINE_HEIGHT)


def _look(cell: Any, beside: Any, *, wraps: bool) -> Any:
    """Gives `cell` the look of the one beside it, as text: Excel must not turn digits into a number."""
    _copy_look(beside, cell)
    if beside.font.underline is not None:  # a link
        cell.font = Font(name=beside.font.name, size=beside.font.size)
    cell.number_format = "@"
    cell.alignment = Alignment(vertical=beside.alignment.vertical, wrap_text=wraps)
    return cell


def _copy_look(source: Any, target: Any) -> None:
    for part in ("font", "fill", "border", "protection"):
        setattr(target, part, copy(getattr(source, part)))


def _write(sheet: Worksheet, row: int, column_number: int, text: str) -> Any:
    """Writes a text cell, whatever the text looks like."""
    cell: Any = sheet.cell(row, column_number)
    if text:
        cell.value = _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", cell_text(text))
        cell.data_type = "s"
    return cell


def _keep_values(sheet: Worksheet) -> None:
    """Changes the cells that openpyxl would write with another value than it read."""
    for cell in cells_of(sheet).values():
        value = cell.value
        if isinstance(value, CellRichText):
            cell.value = _without_blank_runs(value)
        elif isinstance(value, int | float) and float(f"{value:.16g}") != value:
            # It is rounded to 16 digits, but text is written as it is.
            cell.value = repr(value)
            cell.data_type = "n"


def _without_blank_runs(text: CellRichText) -> CellRichText:
    """Moves blanks that are formatted by themselves to the end of the run before: they would be lost."""
    runs: list[str | TextBlock] = []
    for run in text:
        if runs and not str(run).strip():
            longer = f"{runs[-1]}{run}"
            runs[-1] = TextBlock(runs[-1].font, longer) if isinstance(runs[-1], TextBlock) else longer
        else:
            runs.append(run)
    return CellRichText(runs)


@contextmanager
def _reader(path: Path) -> Iterator[_Reader]:
    """Opens the workbook. Raises `ResultsError` for what openpyxl cannot read."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # What it leaves out is found by comparing the files.
            warnings.simplefilter("ignore")
            yield _Reader(file)
    except ResultsError:
        raise
    except ListError as error:
        raise ResultsError(str(error)) from error
    except OSError as error:
        raise ResultsError(f"{path}: {unreadable(error)}") from error
    except Exception as error:  # openpyxl raises any kind for a file that it does not understand
        raise ResultsError(
            f"{path}: the list cannot be copied: openpyxl, the library for it, does not understand the file "
            f"({type(error).__name__}). {_SAVE_AGAIN}"
        ) from error


class _Reader(ExcelReader):
    """Reads a workbook as it is: formatted texts stay formatted, macros are kept, and dates stay numbers."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, rich_text=True)
        self.read_manifest()
        self.ending = (
            ".xlsm" if any(".macroEnabled." in one.ContentType for one in self.package.Override) else ".xlsx"
        )

    def sheets(self) -> list[str]:
        """The names of the sheets, visible ones first."""
        self.read_workbook()
        sheets = [sheet for sheet, _ in self.parser.find_sheets()]
        if not sheets:
            raise ValueError("a workbook of another kind, such as Strict Open XML")
        return [sheet.name for sheet in sorted(sheets, key=lambda sheet: sheet.state != "visible")]

    def workbook(self) -> Workbook:
        """Reads everything. Raises `ResultsError` if that would need too much memory."""
        size = sum(one.file_size for one in self.archive.infolist() if "/worksheets/" in one.filename)
        if size > MAX_SHEETS_SIZE:
            raise ResultsError(
                f"{self.archive.filename}: the list is too large to be copied with its formats: {size:,} bytes; at "
                f"most {MAX_SHEETS_SIZE:,} can be."
            )
        self.keep_vba = self.ending == ".xlsm"
        self.read()
        self.wb.template = False
        # The copy has formulas without their results.
        self.wb.calculation = self.wb.calculation or CalcProperties()
        self.wb.calculation.fullCalcOnLoad = True
        return self.wb

    def read_worksheets(self) -> None:
        # As a date, a number could be rounded, or become an error where Excel shows #####.
        self.wb._date_formats.clear()  # type: ignore[attr-defined]  # noqa: SLF001
        super().read_worksheets()
