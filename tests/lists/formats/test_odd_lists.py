"""Lists as real programs write them, with the rows that are read or the reason why they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from list_cases import Content, Read, Refused, made, write
from lists import malformed_of, problems_of, rows_of
from odd_lists import ODD_LISTS
from odd_workbooks import plain
from same_table import (
    HEADERS,
    ROWS,
    TABLE,
    escaped,
    in_frame,
    in_html,
    in_parquet,
    in_results,
    in_text,
    in_xlsxwriter,
    texts,
)
from workbooks import ods, ods_row, spreadsheetml, spreadsheetml_row

from batchsend.lists.customer_list import open_list
from batchsend.lists.formats import streaming, xls
from batchsend.lists.formats.frames import csv_of


@pytest.mark.parametrize("odd", ODD_LISTS, ids=lambda odd: f"{type(odd).__name__}-{odd.name}")
def test_odd_lists(tmp_path: Path, odd: Read | Refused) -> None:
    path = write(tmp_path, odd)
    if isinstance(odd, Refused):
        assert problems_of(path, odd.options) == odd.sentences
        return
    customers = open_list(path, odd.options)
    # Twice, because the second reading may come from a cache.
    assert rows_of(customers) == rows_of(customers) == odd.rows
    assert frozenset().union(*(chunk.hidden for chunk in customers.chunks())) == odd.hidden
    assert tuple(malformed_of(customers)) == odd.malformed
    assert odd.headers in {None, customers.headers}
    assert odd.notes in {None, customers.notes}


def test_there_are_many_odd_lists() -> None:
    assert len(ODD_LISTS) >= 80


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comma.csv", in_text(",")),
        ("semicolon.txt", in_text(";")),
        ("tab.tsv", in_text("\t")),
        ("pipe.txt", in_text("|")),
        ("bom.csv", in_text(",", "utf-8-sig")),
        ("utf16.csv", in_text("\t", "utf-16")),
        ("tab.xls", in_text("\t")),
        ("html.xls", in_html()),
        ("libreoffice.html", made("same_table.html")),
        ("openpyxl.xlsx", plain(*TABLE)),
        ("xlsxwriter.xlsx", in_xlsxwriter),
        ("libreoffice.xlsx", made("same_table.xlsx")),
        ("libreoffice.xlsm", made("same_table.xlsm")),
        ("libreoffice.xls", made("same_table.xls")),
        ("libreoffice.ods", made("same_table.ods")),
        ("by_hand.ods", ods("".join(ods_row(*map(escaped, row)) for row in texts()))),
        ("2003.xls", spreadsheetml("".join(spreadsheetml_row(*map(escaped, row)) for row in texts()))),
        ("results.xlsx", in_results),
        ("pandas.parquet", in_parquet()),
        ("frame.csv", csv_of(in_frame())),
    ],
)
def test_the_same_table_gives_the_same_rows_in_every_format(
    tmp_path: Path, name: str, content: Content
) -> None:
    customers = open_list(write(tmp_path, Read(name, content, ROWS)))
    assert customers.headers == HEADERS
    assert rows_of(customers) == ROWS


def test_an_old_workbook_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xls, "MAX_XLS_SIZE", 5000)
    path = tmp_path / "list.xls"
    path.write_bytes(made("values.xls"))
    assert problems_of(path) == (
        (
            f"It is too large: {path.stat().st_size:,} bytes; at most 5,000 can be read in the old format. "
            "Save it as .xlsx, or split it into several lists."
        ),
    )


@pytest.mark.parametrize("name", ["values.ods", "same_table.html"])
def test_a_list_too_large_for_the_cache_is_read_again_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(made(name))
    cached = rows_of(open_list(path))
    monkeypatch.setattr(streaming, "_MAX_CACHED_CELLS", 5)
    assert rows_of(open_list(path)) == cached


def test_a_large_list_that_has_been_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_MAX_CACHED_CELLS", 5)
    path = tmp_path / "list.ods"
    path.write_bytes(made("values.ods"))
    customers = open_list(path)
    path.write_bytes(made("values.ods")[:-30])
    with pytest.raises(Exception, match="It changed while it was being read"):
        rows_of(customers)
