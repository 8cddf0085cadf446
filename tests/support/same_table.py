"""One table that is written in every format."""

from __future__ import annotations

import datetime as dt

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
