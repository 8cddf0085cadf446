"""Writes sheets to a workbook, one row at a time in memory, with the fastest writer that is installed.

Texts are never formulas, links, numbers or dates. Characters that XML cannot hold are escaped as Office Open XML
defines (`_x0001_`).
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from batchsend.reports.sheets.sheet import MAX_CELL_LENGTH, Sheet, Value, cell_text

Writer = Callable[[Path, Sequence[Sheet]], None]


def write_sheets(path: Path, sheets: Sequence[Sheet]) -> None:
    """Writes the workbook over `path`, which exists. Raises `OSError` where a disk is full or fails."""
    room = _Room(path.parent)
    writer()(path, [_fitting(sheet, room) for sheet in sheets])


def _fitting(sheet: Sheet, room: _Room) -> Sheet:
    """The sheet with texts as a cell can hold them.

    The last row has no height of its own: rustpy-xlsxwriter would write that row twice, and Excel would offer to
    repair the file.
    """
    return replace(
        sheet,
        headers=[cell_text(header) for header in sheet.headers],
        rows=_that_fit(sheet.rows, room),
        row_heights={row: height for row, height in sheet.row_heights.items() if row != sheet.row_count},
    )


@cache
def writer() -> Writer:
    """The fastest writer here. Not every computer has a wheel of rustpy-xlsxwriter, or may load what is in it."""
    try:
        from batchsend.reports.sheets.rustpy import write
    except ImportError:
        from batchsend.reports.sheets.pure import write
    return write


def _that_fit(rows: Iterator[Sequence[Value]], room: _Room) -> Iterator[Sequence[Value]]:
    """The rows with texts as a cell can hold them."""
    for row in rows:
        text = "".join([value for value in row if value.__class__ is str])
        room.take(len(text) + _Room.CELL * len(row))
        # True for nearly every row; checking each cell would take as long as writing the row.
        if text.isascii() and len(text) <= MAX_CELL_LENGTH:
            yield row
        else:
            yield [cell_text(value) if isinstance(value, str) else value for value in row]
    room.compress()


class _Room:
    """Notices a full disk before rustpy-xlsxwriter does, which would print a crash report on the terminal.

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
