"""Stores a list's rows for later passes, because reading the file is the slow part."""

from __future__ import annotations

import marshal
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile

#: Rows per block; one block is in memory at a time.
BLOCK_ROWS = 2000
#: Up to this many bytes, which covers most lists, nothing is written to disk.
_IN_MEMORY = 256 * 1024


class NoRoomError(Exception):
    """The folder for temporary files has no room for the rows. `__cause__` is the `OSError`."""


@dataclass
class RowBlock:
    """Consecutive rows: their numbers, their cells and the numbers of hidden rows."""

    numbers: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)


class Spool:
    """A nameless temporary file, removed with the spool or the process."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY, prefix="batchsend-")  # noqa: SIM115 - closed by the finalizer
        self._places: list[tuple[int, int]] = []
        self._block = RowBlock()
        weakref.finalize(self, self._file.close)

    def add(self, number: int, cells: list[str], *, is_hidden: bool) -> None:
        """Adds a row. Raises `NoRoomError`."""
        block = self._block
        block.numbers.append(number)
        block.rows.append(cells)
        if is_hidden:
            block.hidden.append(number)
        if len(block.numbers) == BLOCK_ROWS:
            self.finish()

    def finish(self) -> None:
        """Stores the last rows. Call it after the last `add`. Raises `NoRoomError`."""
        block, self._block = self._block, RowBlock()
        if not block.numbers:
            return
        # Takes a third of the time of pickle (`make bench`: preview). Only this process writes the file.
        packed = marshal.dumps((block.numbers, block.rows, block.hidden))
        try:
            self._places.append((self._file.seek(0, 2), len(packed)))
            self._file.write(packed)
        except OSError as error:
            raise NoRoomError from error

    def blocks(self) -> Iterator[RowBlock]:
        """Yields all rows in order. Several readers may do so at the same time."""
        for place, size in self._places:
            self._file.seek(place)
            yield RowBlock(*marshal.loads(self._file.read(size)))  # noqa: S302 - written by this process
