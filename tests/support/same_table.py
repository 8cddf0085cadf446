"""One table that is written in every format."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import xlsxwriter
from workbooks import new_workbook

#: The values in a workbook; row 4 is blank.
TABLE = [
    ["Customer ID", "First Name", "Phone", "Last Visit", "Due", "Note"],
    ["c-001", "Ann", 2125550123, dt.date(2026, 3, 1), 12.5, 'likes <b> & "quotes"'],
    ["c-002", "José", "(312) 555-0142", dt.date(2026, 12, 24), 0, "12 Main St\nApt 4"],
    [None, None, None, None, None, None],
    ["c-003", "Зоя", "+44 20 7946 0958", None, 1000000, "1+1 = 2; a|b, c d"],
    ["NA", "Null", "007", dt.date(1999, 1, 31), -3, "'"],
]

HEADERS = ("Customer ID", "First Name", "Phone", "Last Visit", "Due", "Note")

#: The rows as read from any format.
ROWS = {
    2: ["c-001", "Ann", "2125550123", "2026-03-01", "12.5", 'likes <b> & "quotes"'],
    3: ["c-002", "José", "(312) 555-0142", "2026-12-24", "0", "12 Main St\nApt 4"],
    5: ["c-003", "Зоя", "+44 20 7946 0958", "", "1000000", "1+1 = 2; a|b, c d"],
    6: ["NA", "Null", "007", "1999-01-31", "-3", "'"],
}

RESULTS_HEADER = [
    "row",
    "status",
    "messageUUID",
    "errorCodes",
    "errorDescriptions",
    "phone",
    "message",
    "Customer ID",
    "Phone (list)",
    "customerUUID",
]


def texts() -> list[list[str]]:
    """The header and rows as text formats store them."""
    blank = [""] * len(HEADERS)
    return [list(HEADERS), *(ROWS.get(number, blank) for number in range(2, 7))]


def html(rows: str) -> bytes:
    return f"<html><head><meta charset=utf-8></head><body><table>{rows}</table></body></html>".encode()


def in_text(delimiter: str, encoding: str = "utf-8") -> bytes:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    return "".join(delimiter.join(map(quoted, row)) + "\r\n" for row in texts()).encode(encoding)


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "&#10;")


def in_html() -> bytes:
    def row(cells: list[str]) -> str:
        return (
            "<tr>" + "".join(f"<td>{escaped(cell).replace('&#10;', '<br>')}</td>" for cell in cells) + "</tr>"
        )

    return html("".join(map(row, texts())))


def in_frame() -> pd.DataFrame:
    """The values as an export job has them, each with its type where its column has one."""
    return pd.DataFrame(
        [
            [str(value) if column == 2 and value else value for column, value in enumerate(row)]
            for row in TABLE[1:]
        ],
        columns=pd.Index(TABLE[0]),
    )


def in_parquet() -> bytes:
    return in_frame().to_parquet()


def in_xlsxwriter(path: Path) -> None:
    with xlsxwriter.Workbook(path, {"default_date_format": "m/d/yy"}) as workbook:
        sheet = workbook.add_worksheet()
        for number, row in enumerate(TABLE):
            for column, value in enumerate(row):
                if value is not None:
                    sheet.write(number, column, value)


def in_results(path: Path) -> None:
    workbook, summary = new_workbook([["rows", 4]])
    summary.title = "Summary"
    sheet = workbook.create_sheet("Results")
    header, *rows = texts()
    sheet.append(
        [
            *RESULTS_HEADER[:7],
            *(f"{name} (list)" if name == "Phone" else name for name in header),
            "customerUUID",
        ]
    )
    for row in rows:
        sheet.append(["2", "accepted", "m", "", "", "", "Hi", *row, "c"] if any(row) else [])
    workbook.save(path)
