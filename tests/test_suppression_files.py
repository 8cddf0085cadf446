"""Suppression files: any list format, and nobody's opt-out gets lost in one."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from workbooks import new_workbook, ods, ods_row, spreadsheetml, spreadsheetml_row

from batchsend.suppression import load_suppression

HERE = Path(__file__).parent / "readers" / "odd_lists"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optouts.csv", b"customer_uuid,phone\nc1,\n,(312) 555-0142\n"),
        ("optouts.xls", b"customer_uuid\tphone\nc1\t\n\t312-555-0142\n"),  # tab-separated text
        (
            "optouts.xls",
            b"<table><tr><th>customer_uuid<th>phone<tr><td>c1<tr><td><td>+1 312 555 0142</table>",
        ),
        ("optouts.ods", ods(ods_row("customer_uuid", "phone") + ods_row("c1") + ods_row("", "3125550142"))),
        (
            "optouts.xls",
            spreadsheetml(
                spreadsheetml_row("customer_uuid", "phone")
                + spreadsheetml_row("c1")
                + spreadsheetml_row("", "1-312-555-0142")
            ),
        ),
    ],
)
def test_any_format_names_the_same_people(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    suppression = load_suppression([path], "US")
    assert (suppression.customer_uuids, suppression.phones) == ({"c1"}, {"+13125550142"})
    assert suppression.notes == ()


@pytest.mark.parametrize("name", ["only_a_header.xls", "only_a_header.ods"])
def test_a_file_in_which_nobody_has_opted_out_yet(name: str) -> None:
    suppression = load_suppression([HERE / name], "US")
    assert (suppression.customer_uuids, suppression.phones) == (frozenset(), frozenset())


def hidden_xlsx(path: Path) -> None:
    workbook, sheet = new_workbook([["customer_uuid"], ["c1"], ["c2"]])
    sheet.auto_filter.ref = "A1:A3"
    sheet.row_dimensions[3].hidden = True
    workbook.save(path)


def hidden_ods(path: Path) -> None:
    rows = ods_row("customer_uuid") + ods_row("c1") + ods_row("c2", attributes='table:visibility="filter"')
    path.write_bytes(ods(rows))


@pytest.mark.parametrize(("name", "write"), [("o.xlsx", hidden_xlsx), ("o.ods", hidden_ods)])
def test_an_opt_out_that_is_filtered_away_is_still_an_opt_out(
    tmp_path: Path, name: str, write: object
) -> None:
    assert callable(write)
    write(tmp_path / name)
    assert load_suppression([tmp_path / name], "US").customer_uuids == {"c1", "c2"}


def test_a_row_with_damaged_values_is_told(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    for row in (["customer_uuid", "phone"], ["c1", ""], ["1.5E+20", "5.55E+20"]):
        workbook.active.append(row)
    workbook.save(tmp_path / "o.xlsx")
    suppression = load_suppression([tmp_path / "o.xlsx"], "US")
    assert suppression.customer_uuids == {"c1"}
    assert suppression.notes == ("o.xlsx: 1 row name nobody (no customer id, no usable phone): 3",)
