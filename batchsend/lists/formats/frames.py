"""Turns DataFrames into rows of text: Parquet files, the rows of a query, and frames of the Python API."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from batchsend.errors import ListError
from batchsend.lists.cells import clean, text_of
from batchsend.utils.files import write_beside_open

#: An unpaired surrogate cannot be written to a file; NUL is never part of a text. Like other characters that were
#: lost, they make a cell damaged.
_LOST = "\ufffd"
_ROWS_AT_A_TIME = 10_000
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
        return write_beside_open(path, write)
    except OSError as error:
        raise ListError(
            path, f"The DataFrame cannot be saved here ({error.strerror or error}). Make the folder writable."
        ) from error


def csv_of(frame: pd.DataFrame) -> bytes:
    """The frame as a text file that is read back with the same rows and cells. Raises `ListError`."""
    if not isinstance(frame, pd.DataFrame):
        raise ListError(
            "customers",
            f"This has to be a pandas DataFrame, but it is a {type(frame).__name__}. For a list in a file, write its "
            "path as `list` into the campaign file.",
        )
    content = io.BytesIO()
    text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
    # This line makes the separator certain; with quotation marks, every character inside a cell is too.
    text.write("sep=,\r\n")
    pieces = (frame.iloc[at : at + _ROWS_AT_A_TIME] for at in range(0, len(frame) or 1, _ROWS_AT_A_TIME))
    rows = rows_of(pieces, Path("the DataFrame"))
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(cells for _, cells in rows)
    text.flush()
    return content.getvalue()


def _texts(path: Path, header: str, column: pd.Series[Any]) -> list[str]:
    """The column's cells as text, "" where a value is missing."""
    text_of_kind = _TEXT_OF_SHORT if str(column.dtype).lower() in _SHORT_FLOATS else _TEXT_OF
    try:
        return [
            "" if missing else text_of_kind.get(value.__class__, _text_of_other)(value)
            for value, missing in zip(column.tolist(), column.isna(), strict=True)
        ]
    except _NotTextError as error:
        raise ListError(path, f'Its column "{header}" {error}') from None


class _NotTextError(Exception):
    """A value that cannot be a cell. The message follows the column's name."""


def _text(value: str) -> str:
    return clean(_sound(value))


def _truth(value: bool) -> str:
    return "TRUE" if value else "FALSE"


def _decimal(value: Decimal) -> str:
    return format(value, "f") if value.is_finite() else "#NUM!"


def _short_float(value: float) -> str:
    """As a number of 64 bits, a 0.1 of 32 bits would be 0.100000001490116."""
    return text_of(float(str(np.float32(value))))


# A list has many dates, but few distinct ones.
@lru_cache(maxsize=4096)
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


def _written(value: object) -> str:
    return _text(str(value))


#: By exact class: most values are of one of these.
_TEXT_OF: Mapping[type, Callable[[Any], str]] = {
    str: _text,
    # Unlike a spreadsheet's, whole numbers are exact however long they are.
    int: str,
    float: text_of,
    bool: _truth,
    Decimal: _decimal,
    UUID: _written,
    pd.Period: _written,
    **dict.fromkeys((dt.date, dt.datetime, dt.time, dt.timedelta, pd.Timestamp, pd.Timedelta), _moment),
}
_TEXT_OF_SHORT: Mapping[type, Callable[[Any], str]] = {float: _short_float}


def _text_of_other(value: Any) -> str:
    # NumPy's scalars, in a column of mixed values.
    match value:
        case np.datetime64():
            return _moment(pd.Timestamp(value))
        case np.timedelta64():
            return _moment(pd.Timedelta(value))
        case np.floating():
            return text_of(float(str(value)))
        case np.generic():
            value = value.item()
            return _TEXT_OF.get(value.__class__, _text_of_other)(value)
    for kind, of in _TEXT_OF.items():
        if isinstance(value, kind):
            return of(value)
    raise _NotTextError(
        f"has values of the type {type(value).__name__}, which cannot be a cell. Leave the column out, or turn it "
        "into text."
    )


def _sound(text: str) -> str:
    """The text without characters that no file can hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", _LOST)
