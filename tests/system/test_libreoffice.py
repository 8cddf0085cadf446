"""Lists as a real spreadsheet program saves them: LibreOffice filters, converts and locks them."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from lists import problems_of, rows_of
from same_table import HEADERS, ROWS, TABLE
from workbooks import formatted_list, new_workbook
from world import World, read_results, running_sandbox

from batchsend.lists.customer_list import ListOptions, open_list

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

OFFICE = Path(__file__).with_name("office.py")
SAMPLE = Path(__file__).parents[2] / "sample_data" / "spring_service.xlsx"
#: The column that is filtered, and the values ticked in it, in any letter case.
COLUMN, TICKED = "OK to Text", ["y", "yes"]

#: The sample's columns, a template without conditions, and no consent column: only the filter skips rows.
CAMPAIGN = """
name = "Filtered"
list = "customers{ending}"
template = "message.txt.j2"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
timezone = "America/Chicago"

[columns]
customer_uuid = "Customer ID"
phone = "Mobile"

[sending]
rate = 200
timeout = 5
"""
FORMATTED = (
    CAMPAIGN.format(ending=".xlsx").replace('phone = "Mobile"\n', "")
    + """
[list_options]
sheet = "Customers"
"""
)
CHOICE = '\n[list_options]\nhidden_rows = "skip"\n'


def python_of_libreoffice() -> str:
    """A Python that can talk to LibreOffice: the system's, not the one of the virtual environment."""
    for python in filter(None, ("/usr/bin/python3", shutil.which("python3"))):
        if subprocess.run([python, "-c", "import uno"], capture_output=True).returncode == 0:
            return python
    pytest.fail("no Python with LibreOffice's module `uno`; `make test-system` installs it")


def job(
    source: Path, *targets: Path, tick: Sequence[str] = (), password: str | None = None
) -> dict[str, Any]:
    column = table_of(source)[0].index(COLUMN) if tick else None
    return {
        "open": str(source),
        "filter": {"column": column, "values": list(tick)} if tick else None,
        "save": [{"path": str(target), "password": password} for target in targets],
    }


def libreoffice(*jobs: dict[str, Any]) -> None:
    done = subprocess.run(
        [python_of_libreoffice(), str(OFFICE)], input=json.dumps(jobs), capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


def table_of(path: Path) -> list[list[str]]:
    """All rows of a workbook, read by another library than ours."""
    book = openpyxl.load_workbook(path, read_only=True)
    rows = [
        ["" if value is None else str(value) for value in row]
        for row in book.worksheets[0].iter_rows(values_only=True)
    ]
    book.close()
    return rows


def ticked_rows() -> list[dict[str, str]]:
    """The rows of the sample that the filter shows."""
    header, *rows = table_of(SAMPLE)
    named = (dict(zip(header, row, strict=True)) for row in rows)
    return [row for row in named if row[COLUMN].lower() in TICKED]


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample of 500 customers, filtered, in three formats."""
    folder = tmp_path_factory.mktemp("filtered")
    # LibreOffice writes a lock file next to each file that it opens.
    sample = shutil.copy(SAMPLE, folder)
    libreoffice(
        job(Path(sample), *(folder / f"customers{e}" for e in (".xlsx", ".ods", ".xls")), tick=TICKED)
    )
    return folder


@pytest.mark.parametrize("ending", [".xlsx", ".ods", ".xls"])
def test_a_filtered_list_is_refused_until_it_is_said_what_to_do_and_then_only_whom_one_saw_is_texted(
    filtered: Path, tmp_path: Path, ending: str
) -> None:
    ticked = ticked_rows()
    assert 400 < len(ticked) < 500
    with running_sandbox(tmp_path) as sandbox:
        world = World(tmp_path, sandbox.base_url)
        template = "Hola {{ first_name | default('amigo') }}."
        # For comparison: the visible rows copied into a list.
        world.write(campaign=CAMPAIGN.format(ending=".csv"), template=template)
        with (tmp_path / "customers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(ticked[0]))
            writer.writeheader()
            writer.writerows(ticked)
        world.run("preview", "campaign.toml")
        previewed = read_results(tmp_path / "previews" / "campaign.xlsx")
        ready = {row["customerUUID"] for row in previewed.values() if row["status"] == "ready"}
        assert len(ready) > 400

        shutil.copy(filtered / f"customers{ending}", tmp_path)
        world.write(campaign=CAMPAIGN.format(ending=ending), template=template)
        refused = world.send()
        assert refused.code == 2
        assert f"{500 - len(ticked)} rows are hidden or filtered out" in refused.err
        assert 'Choose under [list_options]: hidden_rows = "skip" leaves them out' in refused.err
        assert sandbox.requests() == []

        world.write(campaign=CAMPAIGN.format(ending=ending) + CHOICE, template=template)
        sent = world.send()
        assert sent.code in {0, 1}, sent.err
        assert {request["customerUUID"] for request in sandbox.requests()} == ready
        assert max(sandbox.texts().values()) == 1
        results = world.workbook()
        assert len(results) == 500
        hidden = [row for row in results.values() if row["errorCodes"] == "HIDDEN_ROW"]
        assert len(hidden) == 500 - len(ticked)
        assert {row["status"] for row in hidden} == {"skipped"}
        assert not {str(row[COLUMN]).lower() for row in hidden} & set(TICKED)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one table in each of LibreOffice's formats, some of them twice over and some locked."""
    folder = tmp_path_factory.mktemp("converted")
    new_workbook(TABLE)[0].save(folder / "excel.xlsx")
    endings = (".xlsx", ".xlsm", ".xls", ".ods", ".csv", ".html")
    libreoffice(
        job(folder / "excel.xlsx", *(folder / f"table{ending}" for ending in endings)),
        # Many a list has been through several programs and formats.
        job(folder / "table.xls", folder / "xls.xlsx", folder / "xls.ods"),
        job(folder / "table.ods", folder / "ods.xls", folder / "ods.xlsx"),
        job(
            folder / "excel.xlsx",
            *(folder / f"locked{ending}" for ending in (".xlsx", ".xls", ".ods")),
            password="sesame",
        ),
    )
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "table.xlsx",
        "table.xlsm",
        "table.xls",
        "table.ods",
        "table.csv",
        "table.html",
        "xls.xlsx",
        "xls.ods",
        "ods.xls",
        "ods.xlsx",
    ],
)
def test_one_table_gives_the_same_rows_in_every_format(converted: Path, name: str) -> None:
    customers = open_list(converted / name)
    assert customers.headers == HEADERS
    assert rows_of(customers) == ROWS


@pytest.mark.parametrize("name", ["locked.xlsx", "locked.xls", "locked.ods"])
def test_a_password_is_named(converted: Path, name: str) -> None:
    assert problems_of(converted / name) == (
        "It is protected by a password. Open it in Excel, save it without a password, and try again.",
    )


def test_a_results_workbook_that_libreoffice_saved_again_is_a_list(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        world = World(tmp_path, sandbox.base_url)
        rows = [{"Customer UUID": f"c{i}", "First Name": "Ann", "Phone": f"312555010{i}"} for i in range(3)]
        world.write(rows)
        assert world.send().code == 0
    workbook = tmp_path / "results" / "campaign-1.xlsx"
    copies = [tmp_path / f"again{ending}" for ending in (".xlsx", ".xls", ".ods")]
    libreoffice(job(workbook, *copies))
    for path in [workbook, *copies]:
        customers = open_list(path, ListOptions())
        assert customers.headers == ("Customer UUID", "First Name", "Phone")
        assert rows_of(customers) == {i + 2: list(row.values()) for i, row in enumerate(rows)}


@pytest.mark.filterwarnings("ignore:.*extension is not supported:UserWarning")
def test_a_copy_of_the_list_with_its_results_looks_and_calculates_as_the_list_does(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        world = World(tmp_path, sandbox.base_url).write(campaign=FORMATTED, template="Hi {{ first_name }}")
        formatted_list(tmp_path / "customers.xlsx")
        assert world.send().code == 0
        assert world.run("results", "1", "--into-list").code == 0
    copy = tmp_path / "results" / "campaign-1-list.xlsx"
    libreoffice(
        job(tmp_path / "customers.xlsx", tmp_path / "list-again.xlsx"),
        job(copy, tmp_path / "copy-again.xlsx"),
    )
    original = openpyxl.load_workbook(tmp_path / "list-again.xlsx", data_only=True)
    calculated = openpyxl.load_workbook(tmp_path / "copy-again.xlsx", data_only=True)
    sheet, same = original["Customers"], calculated["Customers"]
    assert [cell.value for cell in same["E"]] == ["Full", *(f"Ann c{number}" for number in range(1, 6))]
    for name in ("Customers", "Notes"):
        for cells in original[name].iter_rows():
            for cell in cells:
                found = calculated[name][cell.coordinate]
                assert (found.value, found.number_format) == (cell.value, cell.number_format), cell.coordinate
                assert (found.font.b, found.fill.fgColor.rgb) == (cell.font.b, cell.fill.fgColor.rgb)
    assert (sheet.auto_filter.ref, same.auto_filter.ref) == ("A1:E6", "A1:J6")
    assert same.column_dimensions["A"].width == sheet.column_dimensions["A"].width
    assert len(same.conditional_formatting) == len(sheet.conditional_formatting)
    assert len(calculated["Notes"]._charts) == 1
    assert [cell.value for cell in same["F"]] == ["status", *["accepted"] * 5]
    assert {cell.fill.fgColor.rgb for cell in same[1]} == {"FF1F3864"}
