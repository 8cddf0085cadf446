"""The data for the benchmarks: lists of valid customers of any size, a campaign and a template."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

HEADERS = (
    "Customer UUID",
    "First Name",
    "Last Name",
    "Phone",
    "Email",
    "Vehicle",
    "Mileage",
    "Advisor",
    "City",
)
TEMPLATE = (
    "Hi {{ first_name }}, your {{ vehicle }} is due for service at Lakeside Motors. "
    "{{ advisor }} has time for you this week. Reply to book."
)
CAMPAIGN = """
name = "Benchmark"
list = "{file}"
template = "message.txt.j2"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
timezone = "America/Chicago"

[sending]
rate = 100000
concurrency = {connections}
"""
CONNECTIONS = 64

_AREAS = (206, 212, 214, 303, 305, 312, 404, 415, 602, 617, 702, 713)
_EXCHANGES = [exchange for exchange in range(220, 1000) if exchange % 100 != 11 and exchange // 10 != 55]
_FIRST = ("Maria", "James", "Wei", "Aisha", "Robert", "Elena", "Tom", "Priya", "Luis", "Grace")
_LAST = ("Garcia", "Smith", "Chen", "Khan", "Johnson", "Petrova", "Miller", "Patel", "Lopez", "Kim")
_CARS = ("2019 Honda Civic", "2021 Toyota RAV4", "2017 Ford F-150", "2022 Subaru Outback", "2020 Kia Soul")
_ADVISORS = ("Dana", "Chris", "Sam", "Alex")
_CITIES = ("Chicago", "Naperville", "Evanston", "Aurora", "Joliet", "Elgin")


def customers(count: int) -> Iterator[tuple[str, ...]]:
    """`count` rows under `HEADERS`, each with its own phone."""
    for number in range(count):
        rest, area = divmod(number, len(_AREAS))
        line, exchange = divmod(rest, len(_EXCHANGES))
        first, last = _FIRST[number % 10], _LAST[number // 10 % 10]
        yield (
            f"Kq7vLrT2xWm9BzN4cYh8DfJ1pGs6VaEu{number:011}",
            first,
            last,
            f"({_AREAS[area]}) {_EXCHANGES[exchange]}-{line:04}",
            f"{first.lower()}.{last.lower()}{number}@example.com",
            _CARS[number % 5],
            f"{20_000 + number % 90_000}",
            _ADVISORS[number % 4],
            _CITIES[number % 6],
        )


def write_folder(folder: Path, file: str, count: int, connections: int = CONNECTIONS) -> None:
    """Writes a campaign, its template, and a list of `count` customers (`.csv` or `.xlsx`) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "campaign.toml").write_text(
        CAMPAIGN.format(file=file, connections=connections), encoding="utf-8"
    )
    (folder / "message.txt.j2").write_text(TEMPLATE, encoding="utf-8")
    path = folder / file
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text)
            writer.writerow(HEADERS)
            writer.writerows(customers(count))
    else:
        _write_workbook(path, count)


def _write_workbook(path: Path, count: int) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        sheet = book.add_worksheet("Customers")
        sheet.write_row(0, 0, HEADERS)
        for row, cells in enumerate(customers(count), start=1):
            for column, cell in enumerate(cells):
                sheet.write_string(row, column, cell)
