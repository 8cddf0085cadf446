"""Writes the results as a workbook or as CSV, and explains why a file cannot be written."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from batchsend.errors import ResultsError
from batchsend.lists.formula_guard import escape_formula
from batchsend.reports.table import ResultsSource, Value, column_headers, values
from batchsend.utils.files import check_folder, write_beside_open

_WINDOWS_DISK_FULL = 112


def write_results(path: Path, source: ResultsSource) -> Path:
    """Writes a workbook (`.xlsx`) or CSV (`.csv`) and returns the path really written.

    Only its owner can read the file, and it replaces an older one in one step. If a workbook at `path` is open in
    Excel and cannot be replaced, the new one is named `name (2).xlsx` and so on. Raises `ResultsError`.
    """
    writer = _writer(path)
    return replace_file(path, lambda temporary: writer(temporary, source))


def replace_file(path: Path, write: Callable[[Path], None]) -> Path:
    """Writes results as `write` does, to where `write_results` would. Raises `ResultsError`."""
    try:
        _refuse_folder(path)
        return write_beside_open(path, write)
    except OSError as error:
        raise ResultsError(_sentence(path, error)) from error


def check_writable(path: Path) -> None:
    """Checks, before the first text is sent, that results can be written to `path`. Raises `ResultsError`.

    Creates the folder if it is missing.
    """
    _writer(path)
    try:
        _refuse_folder(path)
        check_folder(path.parent)
    except OSError as error:
        raise ResultsError(_sentence(path, error)) from error


def _writer(path: Path) -> Callable[[Path, ResultsSource], None]:
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ResultsError(
            f"{path}: results are written as an Excel workbook or as CSV. Choose a name that ends in .xlsx or .csv."
        )
    return writer


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise ResultsError(
            f"{path}: this is a folder, so no results can be written there. Choose another name."
        )


def _sentence(path: Path, error: OSError) -> str:
    if _is_disk_full(error):
        full = f" (in {error.filename})" if error.filename else ""
        return (
            f"{path}: there is no room left on the disk{full}, so the results could not be written. "
            "Free some space and run the command again; no customer is texted twice by that."
        )
    reason = error.strerror or str(error)
    return (
        f"{path}: the results cannot be written here ({reason}). "
        "Choose another place for them, or have the folder's permissions changed."
    )


def _is_disk_full(error: OSError) -> bool:
    """The workbook's library names the system's error number only in its message."""
    full = (errno.ENOSPC, errno.EDQUOT, _WINDOWS_DISK_FULL)
    return error.errno in full or any(
        f"os error {number})" in str(error) or f"code: {number}," in str(error) for number in full
    )


def write_csv(path: Path, source: ResultsSource) -> None:
    """Writes the columns of `Results` over `path`, which exists."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [escape_formula(header) for header in column_headers(source.headers, replied=source.replied)]
        )
        writer.writerows(_lines(source))


def _lines(source: ResultsSource) -> Iterator[list[Value]]:
    width, replied = len(source.headers), source.replied
    for row in source.rows():
        yield [
            escape_formula(value) if isinstance(value, str) else value
            for value in values(row, width, replied=replied)
        ]


def _write_workbook(path: Path, source: ResultsSource) -> None:
    from batchsend.reports.workbook import write_xlsx

    write_xlsx(path, source)


_WRITERS: Mapping[str, Callable[[Path, ResultsSource], None]] = {".xlsx": _write_workbook, ".csv": write_csv}
