"""The results as CSV, for scripts: UTF-8 with a byte order mark, commas, CRLF, quoted as RFC 4180 says.

A CSV file cannot say that a cell is text: who opens one by a double-click has Excel run every cell that looks like a
formula, quoted or not, and lists hold what strangers typed into web forms. So a cell that could be a formula gets an
apostrophe in front. What begins with `+` or `-` and can only be a number, a phone number or an id stays as it is,
because scripts match by those. The apostrophe is unambiguous: a cell that looks guarded already gets one more, so
that `from_guarded` gives back every value. The workbook needs none of this: there, a text is a text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from batchsend.lists.formula_guard import guarded
from batchsend.reports.table import ResultsSource, column_headers, values


def write_csv(path: Path, source: ResultsSource) -> None:
    """Writes the columns of `Results` over `path`, which exists."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([guarded(header) for header in column_headers(source.headers)])
        writer.writerows(_lines(source))


def _lines(source: ResultsSource) -> Iterator[list[str | int | None]]:
    zone, width = source.zone, len(source.headers)
    for result in source.rows():
        yield [guarded(value) if isinstance(value, str) else value for value in values(result, zone, width)]
