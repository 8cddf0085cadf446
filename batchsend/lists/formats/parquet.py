"""Reads Parquet files with pyarrow, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from batchsend.errors import ListError
from batchsend.lists.formats.frames import rows_of
from batchsend.lists.source import FileSnapshot, ListOptions
from batchsend.utils.wording import install_command

_ROWS_AT_A_TIME = 10_000
#: pandas stores an index without a name under such a name.
_NAMELESS_INDEX = "__index_level_"


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file. It has one table, and no row of it is short or hidden."""

    path: Path
    snapshot: FileSnapshot
    notes: tuple[str, ...] = ()
    hidden: frozenset[int] = frozenset()
    short_rows_are_malformed: bool = False

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`."""
        import pyarrow as pa

        self.snapshot.check()
        try:
            yield from rows_of(self._frames(), self.path)
        except (pa.ArrowException, OSError, ValueError) as error:
            self.snapshot.check()
            raise ListError(
                self.path, "It is a Parquet file that was cut short or damaged. Copy or export it again."
            ) from error
        self.snapshot.check()

    def _frames(self) -> Iterator[pd.DataFrame]:
        from pyarrow import parquet

        with parquet.ParquetFile(self.path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            kept = [at for at, name in enumerate(names) if not name.startswith(_NAMELESS_INDEX)]
            yield file.schema_arrow.empty_table().select(kept).to_pandas(ignore_metadata=True)
            for batch in file.iter_batches(_ROWS_AT_A_TIME):
                # With objects, whole numbers beside a missing one keep their digits.
                yield batch.select(kept).to_pandas(ignore_metadata=True, integer_object_nulls=True)


def open_parquet(path: Path, snapshot: FileSnapshot, _options: ListOptions) -> ParquetSource:
    """Raises ListError if pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise ListError(
            path,
            f"It is a Parquet file, which needs the library pyarrow. Install it: {install_command('parquet')}. Or "
            "export the list as .xlsx or .csv.",
        )
    return ParquetSource(path, snapshot)
