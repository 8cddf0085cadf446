"""The rows of a list as they were read, kept for the passes that come after: reading a file is what takes long."""

from __future__ import annotations

import marshal
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile

#: Rows of a block, which is what is in memory at a time.
BLOCK_ROWS = 2000
#: Bytes up to which nothing is written to disk: most lists.
_IN_MEMORY = 256 * 1024


class NoRoomError(Exception):
    """The folder for temporary files cannot hold the rows; the cause says why."""


@dataclass
class RowBlock:
    """Rows below each other: their numbers, their cells, and which of the numbers are hidden."""

    numbers: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)


class Spool:
    """A file without a name that only this process can open. It is gone with the spool, or with the process."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY, prefix="batchsend-")  # noqa: SIM115 - it lives as long as this
        self._places: list[tuple[int, int]] = []
        self._block = RowBlock()
        weakref.finalize(self, self._file.close)

    def add(self, number: int, cells: list[str], *, is_hidden: bool) -> None:
        """Keeps one more row. Raises `NoRoomError`."""
        block = self._block
        block.numbers.append(number)
        block.rows.append(cells)
        if is_hidden:
            block.hidden.append(number)
        if len(block.numbers) == BLOCK_ROWS:
            self.finish()

    def finish(self) -> None:
        """Writes down what was added; to be called behind the last row. Raises `NoRoomError`."""
        block, self._block = self._block, RowBlock()
        if not block.numbers:
            return
        # A third of the time that pickle takes, and nobody else writes into the file (`make bench`: preview).
        packed = marshal.dumps((block.numbers, block.rows, block.hidden))
        try:
            self._places.append((self._file.seek(0, 2), len(packed)))
            self._file.write(packed)
        except OSError as error:
            raise NoRoomError from error

    def blocks(self) -> Iterator[RowBlock]:
        """All rows in their order; may be asked for again, and by several at a time."""
        for place, size in self._places:
            self._file.seek(place)
            yield RowBlock(*marshal.loads(self._file.read(size)))  # noqa: S302 - this process has written it
