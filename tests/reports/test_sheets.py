"""Both writers of workbooks write the same one, and errors of either are errors of a disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell import Cell
from openpyxl.utils.escape import unescape

from batchsend.ledger.opening import open_ledger
from batchsend.reports.sheets import pure, rustpy, write
from batchsend.reports.sheets.sheet import MAX_CELL_LENGTH, Sheet, Style, Value, cell_text
from batchsend.reports.sheets.write import Writer, write_sheets

WRITERS = {"rustpy": rustpy.write, "pure": pure.write}
NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"

#: What Excel would run, what libraries turn into something else, and what XML cannot hold.
ODD_TEXTS = [
    "=1+1",
    '=HYPERLINK("http://evil.example","click")',
    "+1 312 555 0142",
    "-1",
    "@SUM(A1)",
    "https://example.com/a",
    "mailto:a@example.com",
    "internal:Sheet1!A1",
    "007",
    "2026-03-01",
    "TRUE",
    "#N/A",
    "",
    "  blanks  ",
    "two\r\nlines\n",
    "\ttab",
    "a\x00b\x01c\x1f\x7f",
    "_x0041_",
    "\ufffe\uffff",
    "half \ud83d, whole 😀",
    "<b>&amp;</b>\"'",
    "<r>& a message like XML</r>",
    "é" * (MAX_CELL_LENGTH + 1),
    "x" * MAX_CELL_LENGTH,
]
STYLES = st.builds(
    Style,
    bold=st.booleans(),
    size=st.sampled_from([None, 9, 16]),
    color=st.sampled_from([None, "#1F3864"]),
    fill=st.sampled_from([None, "#D9E2F3"]),
    underlined=st.booleans(),
    left=st.booleans(),
    vertical=st.sampled_from([None, "top", "bottom"]),
    wraps=st.booleans(),
    number_format=st.sampled_from([None, "#,##0", "0.00"]),
)
LABEL = Style(vertical="top")
CELLS = st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.sampled_from(ODD_TEXTS)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a sheet, with the rows as a list."""
    width = draw(st.integers(1, 6))
    headers = draw(st.lists(st.text(max_size=5), min_size=width, max_size=width, unique_by=cell_text))
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=5))
    columns, row_numbers = st.integers(0, width - 1), st.integers(0, len(rows))
    for row in rows:
        row[0] = row[0] or "not blank"
    styles = draw(st.dictionaries(columns, STYLES))
    headings = draw(st.sets(row_numbers)) - {0, len(rows)} if styles.get(0, LABEL) == LABEL else set()
    for number in headings:
        rows[number - 1] = ["heading", *[None] * (width - 1)]
    outer = sorted(draw(st.tuples(columns, columns)))
    return {
        "headers": headers,
        "rows": rows,
        "row_count": len(rows),
        "header_style": draw(STYLES.filter(lambda style: style != Style())),
        "column_widths": draw(st.just(()) | st.lists(st.integers(5, 90), min_size=width, max_size=width)),
        "column_styles": styles,
        "heading_rows": headings,
        "row_heights": draw(st.dictionaries(row_numbers, st.integers(10, 100))),
        "header_frozen": draw(st.booleans()),
        "filtered": draw(st.booleans()),
        "folded": draw(st.sampled_from([[], [outer, outer], [outer, (outer[0], outer[0])]])),
        "digits_as_text": sorted(draw(st.sets(columns))),
        "gridlines": draw(st.booleans()),
        "tab_color": draw(st.sampled_from([None, "#C00000"])),
        "fits_paper": draw(st.booleans()),
    }


def sheets_of(*fields: dict[str, Any]) -> list[Sheet]:
    """The sheets `A`, `B`, ..., with fresh iterators of their rows."""
    return [
        Sheet(name, **one | {"rows": iter(one["rows"])}) for name, one in zip("ABC", fields, strict=False)
    ]


def written(path: Path, writer: str, sheets: Sequence[Sheet]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "writer", lambda: WRITERS[writer])
        write_sheets(path, sheets)
    return path


def looks(cell: Cell) -> tuple[object, ...]:
    font, fill, alignment = cell.font, cell.fill, cell.alignment
    return (
        cell.data_type,
        cell.number_format,
        (font.name, font.sz, font.b, font.color.rgb if font.color.type == "rgb" else None),
        (fill.fill_type, fill.fgColor.rgb),
        cell.border.bottom.style,
        (alignment.horizontal, alignment.vertical, alignment.wrap_text),
        cell.hyperlink,
    )


def facts(path: Path) -> dict[str, object]:
    """All that a workbook shows, however it is stored."""
    workbook = openpyxl.load_workbook(path)
    return {"sheets": workbook.sheetnames, "active": workbook.active.title} | {
        sheet.title: {
            "cells": {
                cell.coordinate: (cell.value, *looks(cell))
                for row in sheet
                for cell in row
                if cell.value is not None or cell.has_style
            },
            "frozen": sheet.freeze_panes,
            "filter": sheet.auto_filter.ref,
            "printed": (sheet.print_title_rows, sheet.page_setup.orientation, sheet.page_setup.fitToHeight),
            "fits": sheet.sheet_properties.pageSetUpPr and sheet.sheet_properties.pageSetUpPr.fitToPage,
            "tab": sheet.sheet_properties.tabColor and sheet.sheet_properties.tabColor.rgb,
            "gridlines": sheet.sheet_view.showGridLines,
            "depth": sheet.sheet_format.outlineLevelCol,
            "xml": xml_facts(path, number),
        }
        for number, sheet in enumerate(workbook, start=1)
    }


def xml_facts(path: Path, number: int) -> tuple[object, ...]:
    """Columns, rows and cells without green corners, which openpyxl does not read or does not tell apart."""
    with zipfile.ZipFile(path) as workbook:
        root = ElementTree.fromstring(workbook.read(f"xl/worksheets/sheet{number}.xml"))
    columns = {
        place: {name: col.get(name) for name in ("width", "hidden", "outlineLevel", "collapsed")}
        for col in root.iter(f"{NAMESPACE}col")
        for place in range(int(col.attrib["min"]), int(col.attrib["max"]) + 1)
    }
    rows = [(int(row.attrib["r"]), row.get("ht")) for row in root.iter(f"{NAMESPACE}row")]
    # Excel would offer to repair a sheet with two elements for one row.
    assert rows == sorted({number: (number, height) for number, height in rows}.values())
    ignored = [
        (one.get("numberStoredAsText"), expanded(one.attrib["sqref"]))
        for one in root.iter(f"{NAMESPACE}ignoredError")
    ]
    heights = [(number, height) for number, height in rows if height]
    return columns, heights, ignored


def expanded(ranges: str) -> set[str]:
    """The ranges, `B2:B2` written as `B2`."""
    return {re.sub(r"^(\w+):\1$", r"\1", one) for one in ranges.split()}


def shown(value: Value) -> Value:
    """A given value as a reader sees it."""
    return (cell_text(value) or None) if isinstance(value, str) else value


@settings(max_examples=60)
@given(fields=st.lists(plans(), min_size=1, max_size=2))
def test_both_writers_write_the_same_workbook(tmp_path: Path, fields: list[dict[str, Any]]) -> None:
    made = {name: written(tmp_path / f"{name}.xlsx", name, sheets_of(*fields)) for name in WRITERS}

    assert facts(made["rustpy"]) == facts(made["pure"])


@pytest.mark.parametrize("writer", WRITERS)
def test_each_cell_is_what_was_given(tmp_path: Path, writer: str) -> None:
    rows: list[list[Value]] = [[text, number, None] for number, text in enumerate(ODD_TEXTS)]
    sheet = Sheet("A", ["=1+1", "n", ""], iter(rows), len(rows))

    found = openpyxl.load_workbook(written(tmp_path / "r.xlsx", writer, [sheet]))["A"]

    assert [
        [text and unescape(text), *rest] for text, *rest in found.iter_rows(min_row=2, values_only=True)
    ] == [[shown(value) for value in row] for row in rows]
    assert {cell.data_type for (cell,) in found.iter_rows(max_col=1) if cell.value} == {"s"}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("row_count", [1, 3])
def test_a_row_with_a_height_of_its_own_is_written_once(tmp_path: Path, writer: str, row_count: int) -> None:
    wanted = dict.fromkeys(range(row_count + 1), 30)
    sheet = Sheet("A", ["a"], iter([["x"]] * row_count), row_count, row_heights=wanted)

    _, heights, _ = xml_facts(written(tmp_path / "r.xlsx", writer, [sheet]), 1)

    assert heights == [(number, "30") for number in range(1, row_count + 1)]


@pytest.mark.parametrize("writer", WRITERS)
def test_columns_with_the_same_header_stay_two(tmp_path: Path, writer: str) -> None:
    path = written(tmp_path / "r.xlsx", writer, [Sheet("A", ["x", "x"], iter([["1", "2"], ["3", "4"]]))])

    assert list(openpyxl.load_workbook(path)["A"].values) == [("x", "x"), ("1", "2"), ("3", "4")]


@pytest.mark.parametrize("writer", WRITERS)
def test_an_error_among_the_rows_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def rows() -> Iterator[list[Value]]:
        yield ["a"]
        raise LookupError("the ledger went away")

    with pytest.raises(LookupError, match="the ledger went away"):
        written(tmp_path / "r.xlsx", writer, [Sheet("A", ["a"], rows())])

    assert {path.name for path in tmp_path.iterdir()} <= {"r.xlsx"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_an_error_of_the_disk(writer: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        written(Path("/dev/full"), writer, [Sheet("A", ["a"], iter([["x"]]))])

    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_temporary_files_are_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def always_full(*_: object, **__: object) -> tuple[int, str]:
        link = tmp_path / "full"
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/full")
        return os.open(link, os.O_RDWR), str(link)

    monkeypatch.setattr(tempfile, "mkstemp", always_full)

    with pytest.raises(OSError, match="No space left on device"):
        written(tmp_path / "r.xlsx", "pure", [Sheet("A", ["a"], iter([["x"]] * 10_000))])

    assert capfd.readouterr().err == ""


def test_the_fast_writer_is_used_where_it_is_installed() -> None:
    chosen: Writer = write.writer()

    assert chosen is rustpy.write


def test_without_the_fast_writer_the_other_writes(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "rustpy_xlsxwriter.py").write_text("raise ImportError('DLL load failed')\n", encoding="utf-8")
    ledger = tmp_path / "ledger.db"
    open_ledger(f"sqlite:///{ledger}").close()
    command = "from batchsend.__main__ import main; main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(hidden), *sys.path])}

    done = subprocess.run(
        [sys.executable, "-c", command, "optouts", "export", "optouts.xlsx", "--ledger", ledger],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )

    assert (done.returncode, done.stderr) == (0, "")
    found = openpyxl.load_workbook(tmp_path / "optouts.xlsx")["List"]
    assert next(found.values)[0] == "customer_uuid"
