"""Turns DataFrames into rows of text: Parquet files, the rows of a query, and frames of the Python API."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from batchsend.errors import ListError
from batchsend.lists.cells import clean, text_of
from batchsend.utils.files import write_private

#: An unpaired surrogate cannot be written to a file; NUL is never part of a text. Like other characters that were
#: lost, they make a cell damaged.
_LOST = "\ufffd"
_MOMENTS = (dt.date, dt.time, dt.timedelta)
_AS_WRITTEN = (UUID, pd.Period)
_SHORT_FLOATS = ("float32", "float[pyarrow]")


def rows_of(frames: Iterable[pd.DataFrame], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the header as row 1 and the rows of all frames from row 2 on, as text. The index is ignored.

    The frames have the same columns and are not changed; `path` is for errors. Raises `ListError`, which names the
    column, if a value is not text, a number, a date or a truth value.
    """
    numbers, headers = count(1), None
    for frame in frames:
        if headers is None:
            headers = [clean(_sound(str(name))) for name in frame.columns]
            if not any(headers):
                raise ListError(path, "None of its columns has a name. Name the columns.")
            yield next(numbers), headers
        columns = [_texts(path, headers[at], frame.iloc[:, at]) for at in range(len(headers))]
        for cells in zip(*columns, strict=True):
            yield next(numbers), list(cells)


def save_frame(frame: pd.DataFrame, folder: Path, stem: str) -> Path:
    """Saves a frame as a list in `folder`, for its owner only; returns the file, named after `stem` and its content.

    Raises `ListError`.
    """
    content = csv_of(frame)
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.csv"

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    try:
        return write_private(path, write)
    except OSError as error:
        raise ListError(
            path, f"The DataFrame cannot be saved here ({error.strerror or error}). Make the folder writable."
        ) from error


def csv_of(frame: pd.DataFrame) -> bytes:
    """The frame as a text file that is read back with the same rows and cells. Raises `ListError`."""
    text = io.StringIO(newline="")
    # This line makes the separator certain; every cell is quoted because some are nothing but a line break.
    text.write("sep=,\r\n")
    rows = rows_of([frame], Path("the DataFrame"))
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(cells for _, cells in rows)
    return text.getvalue().encode("utf-8-sig")


def _texts(path: Path, header: str, column: pd.Series[Any]) -> list[str]:
    """The column's cells as text, "" where a value is missing."""
    of = _text_of_short_float if str(column.dtype).lower() in _SHORT_FLOATS else _text
    try:
        pairs = zip(column.tolist(), column.isna(), strict=True)
        return ["" if missing else of(value) for value, missing in pairs]
    except _NotTextError as error:
        raise ListError(path, f'Its column "{header}" {error}') from None


class _NotTextError(Exception):
    """A value that cannot be a cell. The message follows the column's name."""


def _text(value: Any) -> str:
    if value.__class__ is str:
        return clean(_sound(value))
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        # Unlike a spreadsheet's, these numbers are exact however long they are.
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else "#NUM!"
    if isinstance(value, _MOMENTS):
        return _moment(value)
    if isinstance(value, float):
        return text_of(float(value)) if math.isfinite(value) else "#NUM!"
    if isinstance(value, (str, *_AS_WRITTEN)):
        return clean(_sound(str(value)))
    if isinstance(value, np.generic):  # in a column of mixed values
        return _text(value.item())
    raise _NotTextError(
        f"has values of the type {type(value).__name__}, which cannot be a cell. Leave the column out, or turn it "
        "into text."
    )


def _text_of_short_float(value: float) -> str:
    """As a number of 64 bits, a 0.1 of 32 bits would be 0.100000001490116."""
    return _text(float(str(np.float32(value))))


def _moment(value: dt.date | dt.time | dt.timedelta) -> str:
    try:
        if isinstance(value, pd.Timestamp):
            value = value.to_pydatetime(warn=False)
        elif isinstance(value, pd.Timedelta):
            value = value.to_pytimedelta()
    except (ValueError, OverflowError):
        raise _NotTextError("has a date after the year 9999. Correct it.") from None
    if isinstance(value, (dt.datetime, dt.time)) and value.tzinfo is not None:
        raise _NotTextError(
            "has times with a time zone, and a text would not say which clock they mean. Turn them into local times "
            "without a zone: AT TIME ZONE 'America/Chicago' in PostgreSQL, "
            '.dt.tz_convert("America/Chicago").dt.tz_localize(None) in pandas.'
        )
    return text_of(value)


def _sound(text: str) -> str:
    """The text without characters that no file can hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", _LOST)
