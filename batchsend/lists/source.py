"""The interface of the format readers, and the limits that apply to all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from batchsend.errors import ListError, unreadable
from batchsend.utils.extensions import Extension, Point, names
from batchsend.utils.near_files import lock_target, nearest_file
from batchsend.utils.protected_files import refusal

#: Usual endings of the files that can be read. `formats.detect` goes by the content and ignores them.
LIST_ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".ods", ".parquet", ".sql")
#: A query is recognized by its name alone, so that no other text is ever run on a database.
QUERY_ENDING = ".sql"
#: Endings of the lists that a web page accepts.
UPLOAD_ENDINGS = tuple(ending for ending in LIST_ENDINGS if ending != QUERY_ENDING)
#: Bytes of a list file.
MAX_FILE_SIZE = 512 * 1024 * 1024
#: Rows of a list, including blank ones. Sheets have at most 1,048,576; text files may have more.
MAX_ROWS = 5_000_000
#: The last row and column of a sheet in Excel.
LAST_ROW = 1_048_576
LAST_COLUMN = 16_384
#: Columns of a header.
MAX_COLUMNS = 1_000
#: Characters of a cell; also Excel's limit.
MAX_CELL_LENGTH = 32_767

_BLOCK = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ListOptions:
    """The campaign file's `[list_options]`; None means detect.

    `database`: the address of the database that a query is run on; None means that the list cannot be a query.
    `extension`: the list source of an installed package that gives the rows.
    `header_row`: the number of the row with the headers; None means the first row that is not blank.
    """

    sheet: str | None = None
    hidden_rows: Literal["skip", "include"] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    database: str | None = field(default=None, repr=False)
    header_row: int | None = None
    extension: Extension | None = None


#: Detect everything.
NO_OPTIONS = ListOptions()


class ListSource(Protocol):
    """Gives the customers of a list from another program. Packages add one by an entry point of `Point.LIST_SOURCE`.

    The entry point's name is the ending of the list files that it is for. `path` is such a file of the user's, which
    says what to fetch, in a way of the source's choice. Gives the header first, then a row for each customer, with as
    many cells as the header. Cells are text, numbers, dates, truth values or None.
    """

    def __call__(self, path: Path, /) -> Iterable[Sequence[object]]: ...


def is_made_anew(path: Path) -> bool:
    """Whether the rows of a list come from a database or another program each time that it is read."""
    ending = path.suffix.lower()
    return ending == QUERY_ENDING or ending.removeprefix(".") in names(Point.LIST_SOURCE)


class Source(Protocol):
    """An opened list. Its rows, as cleaned text, can be read any number of times."""

    @property
    def notes(self) -> Sequence[str]:
        """Detected or assumed facts about the file, one phrase each."""

    @property
    def hidden(self) -> frozenset[int]:
        """The numbers of the rows that the spreadsheet hides."""

    @property
    def short_rows_are_malformed(self) -> bool:
        """True for text files, whose rows can end early. In sheets, missing cells are blank."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields ascending row numbers with each row's cells. Blank rows may be omitted.

        Raises ListError if the file is damaged or has changed.
        """


@dataclass(frozen=True)
class FileSnapshot:
    """Size, time and digest of a file when it was opened, to detect changes while it is read."""

    path: Path
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileSnapshot:
        """Reads the whole file.

        Raises ListError if the file is protected, missing, a folder, empty, too large or changing.
        """
        if (locked := lock_target(path)) is not None:
            raise ListError(
                path, f"It is a lock file, which exists while {locked} is open. Name {locked} instead."
            )
        if (why := refusal(path)) is not None:
            raise ListError(path, forbidden(why))
        try:
            before = path.stat()
            _check_size(path, before.st_size)
            digest = _digest(path)
            after = path.stat()
        except FileNotFoundError:
            near = nearest_file(path, LIST_ENDINGS)
            meant = f" Did you mean {near}?" if near else ""
            raise ListError(
                path, f"There is no such file.{meant} Check the path, or export the list again."
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
        # `fromtimestamp` fails on Windows for a file without a time, which is one of 1601.
        return _EPOCH + timedelta(microseconds=self.mtime_ns // 1000)

    def has_changed(self) -> bool:
        """Whether the size or modification time is different now."""
        try:
            now = self.path.stat()
        except OSError:
            return True
        return (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns)

    def check(self) -> None:
        """Raises ListError if the size or modification time has changed."""
        if self.has_changed():
            raise ListError(self.path, CHANGED)

    def check_content(self) -> None:
        """Raises ListError if the bytes have changed."""
        try:
            same = _digest(self.path) == self.sha256
        except OSError:
            same = False
        if not same:
            raise ListError(self.path, CHANGED)


CHANGED = (
    "It changed while it was being read. Wait until the program that writes it has finished, then try again."
)
EMPTY = "It is empty. Export the list again, with its header and its rows."


def cell_too_long(row: int) -> str:
    """The message for a cell longer than `MAX_CELL_LENGTH`."""
    return (
        f"Row {row:,} has a cell with more than {MAX_CELL_LENGTH:,} characters, which is too long for a spreadsheet. "
        "Fix that row, or export the list again."
    )


def forbidden(why: str) -> str:
    """The message for a file that `protected_files` refuses."""
    return f"It was not opened because {why}. Name another file."


def _check_size(path: Path, size: int) -> None:
    if path.is_dir():
        raise ListError(path, "This is a folder. Name the list file in it.")
    if size > MAX_FILE_SIZE:
        raise ListError(
            path,
            f"It is too large: {size:,} bytes; at most {MAX_FILE_SIZE:,} can be read. "
            "Split it into several lists.",
        )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
