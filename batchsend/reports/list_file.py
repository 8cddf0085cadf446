"""Writes lists: rows of a run with only the list's columns, to correct and send again, and exported opt-outs."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from batchsend.errors import ListError, ResultsError
from batchsend.ledger.optouts import OptOut
from batchsend.ledger.purged_phones import is_purged
from batchsend.lists.customer_list import open_list
from batchsend.lists.formula_guard import escape_formula
from batchsend.reports.sheets.sheet import MAX_SHEET_ROWS, Sheet
from batchsend.reports.sheets.write import write_sheets
from batchsend.utils.files import write_beside_open


def _is_export(path: Path) -> bool:
    """Whether this file has the headers of exported opt-outs, or is empty. Raises `ResultsError` if it is locked."""
    try:
        return not path.stat().st_size or open_list(path, rows_needed=False).headers == _OPT_OUT_HEADERS
    except ListError as error:
        if isinstance(error.__cause__, OSError):  # as Excel keeps it on Windows
            raise ResultsError(str(error)) from error
        return False
    except OSError:
        return False


def write_list(path: Path, headers: Sequence[str], rows: Iterator[Sequence[str]]) -> Path:
    """Writes headers and rows (text cells) to `path` (.xlsx or .csv); returns the path really written.

    Cells are written as they were read, in CSV too, because the list will be read again. Raises `ResultsError`.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ResultsError(
            f"{path}: a list is written as .xlsx or .csv. Choose a name that ends in one of them."
        )
    try:
        return write_beside_open(path, lambda temporary: writer(temporary, headers, rows))
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written ({error.strerror}). Choose another place.") from error


def _write_xlsx(path: Path, headers: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    write_sheets(path, [Sheet("List", headers, _that_fit(rows), header_frozen=True)])


def _that_fit(rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    for number, row in enumerate(rows, 2):
        if number > MAX_SHEET_ROWS:
            raise OSError(errno.EFBIG, f"more than {MAX_SHEET_ROWS:,} rows, which only a .csv can hold")
        yield row


def _write_csv(path: Path, headers: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(headers)
        writer.writerows(rows)


#: The import of opt-outs reads the first three columns.
_OPT_OUT_HEADERS = ("customer_uuid", "phone", "reason", "source", "added_by", "added_at")
_WRITERS: Mapping[str, Callable[[Path, Sequence[str], Iterator[Sequence[str]]], None]] = {
    ".xlsx": _write_xlsx,
    ".csv": _write_csv,
}


def write_opt_outs(path: Path, entries: Iterable[OptOut]) -> Path:
    """Writes opt-outs as a list (.xlsx or .csv) that can be imported; returns the path.

    Raises `ResultsError`, also if `path` is another file than an earlier export.
    """
    if path.exists() and not _is_export(path):
        raise ResultsError(
            f"{path}: this file exists and is not an earlier export of opt-outs, so it was not overwritten. "
            "Choose another name, or delete it."
        )
    rows = (
        [
            entry.customer_uuid,
            "" if is_purged(entry.phone) else entry.phone,
            entry.reason,
            entry.source,
            f"{entry.os_user} on {entry.host}",
            entry.added_at,
        ]
        for entry in entries
    )
    if path.suffix.lower() == ".csv":
        return write_list(path, _OPT_OUT_HEADERS, ([escape_formula(cell) for cell in row] for row in rows))
    return write_list(path, _OPT_OUT_HEADERS, rows)
