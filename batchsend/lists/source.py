"""What every format's reader hands over, and the bounds that hold for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from batchsend.errors import ListError
from batchsend.utils.protected_files import refusal

#: Usual endings of the files that can be read. `formats.detect` goes by the content and ignores them.
LIST_ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".ods")
#: Bytes of a list file.
MAX_FILE_SIZE = 512 * 1024 * 1024
#: Rows of a list, blank ones included. A sheet ends at 1,048,576 by itself; text files may go on.
MAX_ROWS = 5_000_000
#: Columns of a header.
MAX_COLUMNS = 1_000
#: Characters of a cell, which is Excel's own bound.
MAX_CELL_LENGTH = 32_767

_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class ListOptions:
    """The campaign file's `[list_options]`; None is "find out"."""

    sheet: str | None = None
    hidden_rows: Literal["skip", "include"] | None = None
    encoding: str | None = None
    delimiter: str | None = None


class Source(Protocol):
    """An opened list: its rows as cleaned text, from the first line on, as often as wanted."""

    @property
    def notes(self) -> Sequence[str]:
        """What was assumed about the file, a phrase each."""

    @property
    def hidden(self) -> frozenset[int]:
        """The row numbers that the spreadsheet does not show."""

    @property
    def short_rows_are_malformed(self) -> bool:
        """True where a row can end early: text files. A sheet's missing cells are blank cells."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields row numbers, rising, and cells, as many as the row has. Blank rows may be left out.

        Raises ListError where the file turns out to be broken or has changed.
        """


@dataclass(frozen=True)
class FileSnapshot:
    """What a file was when it was opened, so that a change in the midst of reading does not go unseen."""

    path: Path
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileSnapshot:
        """Reads the whole file.

        Raises ListError if it must not be read, is missing, a folder, empty, too large or changing.
        """
        if (why := refusal(path)) is not None:
            raise ListError(path, forbidden(why))
        try:
            before = path.stat()
            if path.is_dir():
                raise ListError(path, "This is a folder. Name the list file in it.")
            if before.st_size > MAX_FILE_SIZE:
                raise ListError(
                    path,
                    f"It is too large: {before.st_size:,} bytes; at most {MAX_FILE_SIZE:,} can be read. "
                    "Split it into several lists.",
                )
            digest = _digest(path)
            after = path.stat()
        except FileNotFoundError:
            raise ListError(
                path, "There is no such file. Check `list` in the campaign file, or export the list again."
            ) from None
        except OSError as error:
            raise ListError(path, unreadable(error)) from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ListError(path, CHANGED)
        if not before.st_size:
            raise ListError(path, EMPTY)
        return cls(path, before.st_size, before.st_mtime_ns, digest)

    @property
    def saved_at(self) -> datetime:
        return datetime.fromtimestamp(self.mtime_ns / 1e9, UTC)

    def has_changed(self) -> bool:
        """Whether size or time of change differ by now."""
        try:
            now = self.path.stat()
        except OSError:
            return True
        return (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns)

    def check(self) -> None:
        """Raises ListError if the file is not what it was, by size and time of change."""
        if self.has_changed():
            raise ListError(self.path, CHANGED)

    def check_content(self) -> None:
        """Raises ListError if the file is not what it was, by its bytes."""
        try:
            same = _digest(self.path) == self.sha256
        except OSError:
            same = False
        if not same:
            raise ListError(self.path, CHANGED)


CHANGED = "It changed while it was read. Wait until the program that writes it is done, then try again."
EMPTY = "It is empty. Export the list again, with its header and its rows."


def cell_too_long(row: int) -> str:
    """The sentence for a cell beyond `MAX_CELL_LENGTH`."""
    return (
        f"Row {row:,} holds a cell of more than {MAX_CELL_LENGTH:,} characters, which no spreadsheet can hold. "
        "Put that row right, or export the list again."
    )


def forbidden(why: str) -> str:
    """A sentence for a file that `protected_files` refuses."""
    return f"It was not opened, because {why}. Name another file."


def unreadable(error: OSError) -> str:
    """A sentence for a file that the operating system does not let us read."""
    return (
        f"It cannot be read ({error.strerror or error}). "
        "Close other programs that have it open, and check that you may read it."
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
