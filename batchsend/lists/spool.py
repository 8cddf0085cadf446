"""Stores a list's rows for later passes, because reading the file is the slow part."""

from __future__ import annotations

import marshal
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile

#: Up to this many bytes, which covers most lists, nothing is written to disk.
_IN_MEMORY = 256 * 1024


class NoRoomError(Exception):
    """The folder for temporary files has no room for the rows. `__cause__` is the `OSError`."""


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of a list, by column."""

    numbers: list[int]
    #: The cells of each column that has a header.
    columns: list[tuple[str, ...]]
    #: Row number -> how many cells the row has, and the position of its last value without a header, -1 if none.
    #: It has the rows of a text file that do not fit the header exactly.
    odd: dict[int, tuple[int, int]]
    hidden: list[int]


class Spool:
    """A nameless temporary file, removed with the spool or the process."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY, prefix="batchsend-")  # noqa: SIM115 - closed by the finalizer
        self._places: list[tuple[int, int]] = []
        weakref.finalize(self, self._file.close)

    def add(self, block: RowBlock) -> None:
        """Adds some rows. Raises `NoRoomError`."""
        # Takes a third of the time of pickle (`make bench`: preview). Only this process writes the file.
        packed = marshal.dumps((block.numbers, block.columns, block.odd, block.hidden))
        try:
            self._places.append((self._file.seek(0, 2), len(packed)))
            self._file.write(packed)
        except OSError as error:
            raise NoRoomError from error

    def blocks(self, only: slice = slice(None)) -> Iterator[RowBlock]:
        """Yields all rows in order, or only these blocks. Several readers may do so at the same time."""
        for place, size in self._places[only]:
            self._file.seek(place)
            yield RowBlock(*marshal.loads(self._file.read(size)))  # noqa: S302 - written by this process
