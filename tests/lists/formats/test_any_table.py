"""Streamed formats return any table cell by cell, in bounded memory."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lists import rows_of
from workbooks import ods, ods_row, spreadsheetml, spreadsheetml_row

from batchsend.lists import customer_list, header_row, spool
from batchsend.lists.cells import clean
from batchsend.lists.customer_list import open_list

# XML allows only three control characters; line ends are left out because parsers change them.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cc", "Cs", "Cn")), st.sampled_from("\"'&<>; \t\u00a0\u200bé]")
    ),
    max_size=12,
)


def xml(text: str) -> str:
    return escape(text, {"\t": "&#9;"})


def as_ods(table: list[list[str]]) -> bytes:
    return ods("".join(ods_row(*map(xml, row)) for row in table))


def as_spreadsheetml(table: list[list[str]]) -> bytes:
    return spreadsheetml("".join(spreadsheetml_row(*map(xml, row)) for row in table))


def as_html(table: list[list[str]]) -> bytes:
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table)
    return f"<meta charset=utf-8><table>{rows}</table>".encode()


def cleaned(table: list[list[str]]) -> dict[int, list[str]]:
    rows = {number: [clean(cell) for cell in row] for number, row in enumerate(table, 1) if number > 1}
    return {number: row for number, row in rows.items() if any(row)}


@settings(max_examples=60)
@given(data=st.data(), width=st.integers(1, 5), form=st.sampled_from([as_ods, as_spreadsheetml, as_html]))
def test_any_table_comes_back_cell_by_cell(
    tmp_path: Path, data: st.DataObject, width: int, form: Callable[[list[list[str]]], bytes]
) -> None:
    rows = data.draw(st.lists(st.lists(TEXTS, min_size=width, max_size=width), min_size=1, max_size=8))
    if form is as_html:
        # HTML shows a run of white space as one blank.
        rows = [[re.sub("[ \t]+", " ", cell) for cell in row] for row in rows]
    assume(any(any(map(clean, row)) for row in rows))
    table = [[f"Column {i}" for i in range(width)], *rows]
    path = tmp_path / "list.xls"
    path.write_bytes(form(table))
    assert rows_of(open_list(path)) == cleaned(table)


def lines(count: int) -> bytes:
    return b"Name,Phone\n" + b"Ann Lee of 12 Main Street,3125550142\n" * count


def page(count: int) -> bytes:
    return as_html([["Name", "Phone"], *([["Ann Lee of 12 Main Street", "3125550142"]] * count)])


def peak(path: Path) -> int:
    """The most memory that reading the list takes, in bytes."""
    tracemalloc.start()
    try:
        for _ in open_list(path).chunks():
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("form", "allowed"), [(lines, 0), (page, 1024)])
def test_memory_per_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[[int], bytes], allowed: int
) -> None:
    monkeypatch.setattr(header_row, "BLOCK_ROWS", 100)
    monkeypatch.setattr(customer_list, "CHUNK_BLOCKS", 2)
    monkeypatch.setattr(spool, "_IN_MEMORY", 1000)
    few, many = 500, 3_000
    peaks = []
    for count in (few, many):
        path = tmp_path / f"{count}.csv"
        path.write_bytes(form(count))
        peaks.append(peak(path))
    # The margin is for buffers.
    assert peaks[1] - peaks[0] < (many - few) * allowed + 500_000
