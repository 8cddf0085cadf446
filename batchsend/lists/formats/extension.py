"""Reads the rows that a list source of an installed package gives, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from batchsend.errors import ExtensionError, ListError, Sentence
from batchsend.lists.formats.frames import rows_of
from batchsend.lists.source import FileSnapshot, ListOptions
from batchsend.utils.extensions import Call, Extension, running

#: Seconds, from the import of the package to the last row.
LIST_TIMEOUT = 600
_ROWS_AT_A_TIME = 10_000


@dataclass(frozen=True)
class ExtensionSource:
    """A file and the list source that is asked for its rows. Every call of `rows` asks it."""

    path: Path
    extension: Extension
    hidden: frozenset[int] = frozenset()
    short_rows_are_malformed: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"read by {self.extension.package}",)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. Raises ListError if the list source fails, hangs or gives no rows of cells."""
        try:
            with running(self.extension, LIST_TIMEOUT) as call:
                yield from rows_of(self._frames(call), self.path)
        except ExtensionError as error:
            raise ListError(self.path, Sentence(str(error), error.on_page)) from error

    def _frames(self, call: Call) -> Iterator[pd.DataFrame]:
        rows = call(lambda source: iter(source(self.path)))
        header = self._checked(call(lambda _: list(islice(rows, 1))), 1)
        if not header:
            raise self.extension.error("gave no header. It has to give the names of the columns first.")
        columns = pd.Index(list(map(str, header[0])), dtype=object)
        yield pd.DataFrame(columns=columns, dtype=object)
        number = 2
        while some := call(lambda _: list(islice(rows, _ROWS_AT_A_TIME))):
            cells = self._checked(some, number, len(columns))
            # As objects, the values are what the source gave: no whole number becomes a fraction.
            yield pd.DataFrame(cells, columns=columns, dtype=object)
            number += len(some)

    def _checked(self, rows: list[Any], first: int, width: int | None = None) -> list[tuple[object, ...]]:
        for number, row in enumerate(rows, first):
            if not isinstance(row, (list, tuple)):
                raise self.extension.error(
                    f"gave a {type(row).__name__} as row {number:,}. Each row has to be a list or tuple of cells."
                )
            if width is not None and len(row) != width:
                raise self.extension.error(
                    f"gave {len(row):,} cells in row {number:,}, and its header has {width:,}. Each row has to have "
                    "as many cells as the header."
                )
        return list(map(tuple, rows))


def open_extension(path: Path, _snapshot: FileSnapshot, options: ListOptions) -> ExtensionSource:
    """The source for a list that `options.extension` reads. It is asked only when the rows are read."""
    if options.extension is None:
        raise ValueError("a list without an extension is not read by one")
    return ExtensionSource(path, options.extension)
