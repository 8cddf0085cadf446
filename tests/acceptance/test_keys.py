"""The same list has the same keys in every format, however a program spells its values."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbooks import ods
from world import Sandbox, World

from batchsend.lists.customer_list import open_list
from batchsend.messages.keys import keys_of

HEADERS = ("Customer ID", "Due", "Appointment", "Mileage", "Phone", "Valet")
FILES = Path(__file__).parents[1] / "lists" / "formats" / "odd_lists"


class Values(NamedTuple):
    """The values of one row."""

    customer: str
    due: dt.date
    appointment: dt.datetime
    mileage: float
    phone: int
    valet: bool


values = st.builds(
    Values,
    st.from_regex(r"[A-Za-z0-9]{1,6}", fullmatch=True),
    # Two digits of a year mean these years.
    st.dates(dt.date(1970, 1, 1), dt.date(2068, 12, 31)),
    st.builds(
        dt.datetime.combine,
        st.dates(dt.date(1970, 1, 1), dt.date(2068, 12, 31)),
        st.builds(dt.time, st.integers(0, 23), st.integers(0, 59)),
    ),
    st.integers(0, 10**9).map(lambda cents: cents / 100),
    st.integers(2_125_550_100, 2_125_559_999),
    st.booleans(),
)


def as_csv(path: Path, rows: Sequence[Values]) -> None:
    """As Excel saves it."""
    _write_text(
        path,
        [
            (
                row.customer,
                f"{row.due:%m/%d/%y}",
                f"{row.appointment.month}/{row.appointment.day}/{row.appointment:%Y %H:%M}",
                f"{row.mileage:,.2f}",
                f"(212) {str(row.phone)[3:6]}-{str(row.phone)[6:]}",
                str(row.valet).upper(),
            )
            for row in rows
        ],
    )


def as_other_csv(path: Path, rows: Sequence[Values]) -> None:
    """As another program exports it."""
    _write_text(
        path,
        [
            (
                row.customer,
                f"{row.due:%d-%b-%Y}",
                f"{row.appointment:%b %d %Y %I:%M%p}",
                f"${row.mileage:.2f}",
                f"+1{row.phone}",
                str(row.valet),
            )
            for row in rows
        ],
    )


def _write_text(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADERS, *rows])


def as_xlsx(path: Path, rows: Sequence[Values]) -> None:
    book = openpyxl.Workbook()
    for row in (HEADERS, *rows):
        book.active.append(list(row))  # type: ignore[union-attr]
    book.save(path)


def as_ods(path: Path, rows: Sequence[Values]) -> None:
    path.write_bytes(ods("".join(map(_ods_row, (HEADERS, *rows)))))


def _ods_row(row: Sequence[object]) -> str:
    return f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>"


def _ods_cell(value: object) -> str:
    match value:
        case bool():
            kind, stored = "boolean", str(value).lower()
        case dt.datetime() | dt.date():
            kind, stored = "date", value.isoformat()
        case int() | float():
            kind, stored = "float", str(value)
        case _:
            return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
    name = "value" if kind == "float" else f"{kind}-value"
    return f'<table:table-cell office:value-type="{kind}" office:{name}="{stored}"/>'


def keys(path: Path) -> list[str]:
    (chunk,) = open_list(path).chunks()
    return keys_of(chunk.frame, "US", 0).tolist()


@settings(max_examples=40)
@given(rows=st.lists(values, min_size=1, max_size=4, unique=True))
def test_a_list_has_the_same_keys_in_every_format(tmp_path: Path, rows: list[Values]) -> None:
    forms: dict[str, Callable[[Path, Sequence[Values]], None]] = {
        "list.csv": as_csv,
        "other.csv": as_other_csv,
        "list.xlsx": as_xlsx,
        "list.ods": as_ods,
    }
    found = {}
    for name, write in forms.items():
        write(tmp_path / name, rows)
        found[name] = keys(tmp_path / name)
    assert found == dict.fromkeys(forms, found["list.csv"])
    # Other values have other keys.
    assert len(set(found["list.csv"])) == len(rows)


@pytest.mark.parametrize("ending", ["xls", "xlsx", "xlsm", "ods", "html"])
def test_files_of_spreadsheet_programs_have_the_keys_of_their_text(tmp_path: Path, ending: str) -> None:
    as_text = tmp_path / "list.csv"
    as_text.write_text(
        "Customer ID,Phone,Last Visit,Due\n"
        "c-001,(212) 555-0123,3/1/2026,12.50\n"
        "c-002,312.555.0142,24-Dec-26,0.00\n"
        'c-003,+44 20 7946 0958,,"1,000,000"\n'
        "NA,007,01/31/99,-3\n",
        encoding="utf-8",
    )
    (chunk,) = open_list(FILES / f"same_table.{ending}").chunks()
    columns = chunk.frame[["Customer ID", "Phone", "Last Visit", "Due"]]
    assert keys_of(columns, "US", 0).tolist() == keys(as_text)


@pytest.mark.parametrize("form", [as_csv, as_other_csv])
def test_a_list_in_another_format_texts_no_one_again(
    world: World, sandbox: Sandbox, form: Callable[[Path, Sequence[Values]], None]
) -> None:
    day, time = dt.date(2026, 3, 5), dt.time(9, 30)
    rows = [
        Values("c-1", day, dt.datetime.combine(day, time), 45000.5, 2125550123, valet=True),
        Values("c-2", day, dt.datetime.combine(day, dt.time()), 7.0, 2125550124, valet=False),
    ]
    key = '[recipients]\nkey = ["Customer ID", "Due", "Appointment", "Mileage", "Valet"]\n'
    world.write(campaign=key, template="See you on {{ due | date }}.")
    as_xlsx(world.folder / "customers.csv", rows)
    assert world.send().code == 0
    form(world.folder / "list2.csv", rows)
    done = world.send("--list", "list2.csv")
    assert "2 rows = 0 accepted by myKaarma + 2 skipped + 0 need attention + 0 waiting" in done.out
    assert sandbox.texts() == {"c-1": 1, "c-2": 1}
