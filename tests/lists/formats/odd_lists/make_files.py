"""Makes the LibreOffice files of this folder: `python make_files.py`. Needs `soffice`.

The files are checked in, so that the tests can read a real program's files without that program. openpyxl makes each
workbook, and LibreOffice calculates its formulas and saves it in other formats.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.comments import Comment
from openpyxl.worksheet.filters import FilterColumn, Filters
from openpyxl.worksheet.worksheet import Worksheet

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "support"))

from same_table import RESULTS_HEADER, TABLE  # noqa: E402


def workbook_of(rows: Sequence[Sequence[Any]]) -> tuple[openpyxl.Workbook, Worksheet]:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert isinstance(sheet, Worksheet)
    for row in rows:
        sheet.append(list(row))
    return workbook, sheet


def same_table() -> openpyxl.Workbook:
    return workbook_of(TABLE)[0]


def values() -> openpyxl.Workbook:
    return workbook_of(
        [
            ["Kind", "Value"],
            ["true", True],
            ["false", False],
            ["time", dt.time(9, 30)],
            ["span", dt.timedelta(hours=30)],
            ["date and time", dt.datetime(2026, 3, 1, 9, 30)],  # noqa: DTZ001 - spreadsheets have no time zones
            ["fraction", 0.1],
            ["long number", 123456789012345680],
            ["leading zeros", "007"],
            ["divided by nothing", "=1/0"],
            ["not found", "=NA()"],
            ["no such name", "=nosuchname"],
            ["sum", "=1+1"],
            ["no text", '=IF(1,"","")'],
        ]
    )[0]


def filtered() -> openpyxl.Workbook:
    rows = [["Name", "OK to text"], *([f"c{i}", "yes" if i % 2 else "no"] for i in range(2, 8))]
    workbook, sheet = workbook_of(rows)
    sheet.auto_filter.ref = "A1:B7"
    sheet.auto_filter.filterColumn.append(FilterColumn(colId=1, filters=Filters(filter=["yes"])))
    for row in (2, 4, 6):
        sheet.row_dimensions[row].hidden = True
    return workbook


def hidden() -> openpyxl.Workbook:
    workbook, sheet = workbook_of([["Name"], *([f"c{i}"] for i in range(2, 8))])
    sheet.row_dimensions[3].hidden = True
    sheet.row_dimensions.group(5, 6, hidden=True)
    return workbook


def far_cell(reference: str) -> openpyxl.Workbook:
    workbook, sheet = workbook_of([["A", "B"], ["1", "2"]])
    sheet[reference] = "oops"
    return workbook


def two_sheets(state: str) -> openpyxl.Workbook:
    workbook, sheet = workbook_of([["Name"], ["Ann"]])
    sheet.title = "Customers"
    other = workbook.create_sheet("Codes")
    other.append(["Code"])
    other.append(["7"])
    other.sheet_state = state
    return workbook


def comments() -> openpyxl.Workbook:
    workbook, sheet = workbook_of([["A", "B"], ["1", "2"], ["", "3"]])
    sheet["A2"].comment = Comment("call her first", "Bo")
    sheet.merge_cells("A2:A3")
    return workbook


def percentages() -> openpyxl.Workbook:
    workbook, sheet = workbook_of([["Format", "Share"], *(["", 0.2] for _ in PERCENT_FORMATS), ["", -0.0625]])
    for row, number_format in enumerate([*PERCENT_FORMATS, "0.0%"], 2):
        sheet.cell(row, 1, number_format)
        sheet.cell(row, 2).number_format = number_format
    return workbook


def results() -> openpyxl.Workbook:
    workbook, sheet = workbook_of([["rows", 2]])
    sheet.title = "Summary"
    for title, cells in {"Results": ["2", "accepted", "c1"], "Results 2": ["3", "failed", "c2"]}.items():
        sheet = workbook.create_sheet(title)
        sheet.append(RESULTS_HEADER)
        row, status, customer = cells
        sheet.append([row, status, "m", "", "", "", "Hi", customer, "555", customer])
    workbook.create_sheet("Problems").append(["row", "what to do"])
    return workbook


PERCENT_FORMATS = ["0%", "0.00%", "0.0%", "General"]

# name -> workbook and the formats to save it in
FILES = {
    "same_table": (same_table(), ["xls", "ods", "xlsm", "xlsx", "html"]),
    "values": (values(), ["xls", "ods", "xlsx"]),
    "filtered": (filtered(), ["xls", "ods", "xlsx"]),
    "hidden": (hidden(), ["xls", "ods", "xlsx"]),
    "far_cell": (far_cell("IV65536"), ["xls", "ods", "xlsx"]),
    "two_sheets": (two_sheets("visible"), ["xls", "ods"]),
    "hidden_sheet": (two_sheets("hidden"), ["xls", "ods"]),
    "remarks": (comments(), ["xls", "ods", "xlsx"]),
    "percentages": (percentages(), ["xls", "ods", "xlsx"]),
    "results": (results(), ["xls", "ods"]),
    "only_a_header": (workbook_of([["customer_uuid", "phone"]])[0], ["xls", "ods"]),
    "nothing": (workbook_of([])[0], ["xls", "ods"]),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, (workbook, endings) in FILES.items():
            path = Path(folder) / f"{name}.xlsx"
            workbook.save(path)
            for ending in endings:
                subprocess.run(
                    ["soffice", "--headless", "--convert-to", ending, "--outdir", str(HERE), str(path)],
                    check=True,
                    capture_output=True,
                )


if __name__ == "__main__":
    main()
