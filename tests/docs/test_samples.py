"""The sample lists: made by their script, realistic, and without real phone numbers."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import phonenumbers
import pytest
from openpyxl import load_workbook

SAMPLES = Path(__file__).parents[2] / "sample_data"

#: Phones of the spring list that are invalid in any reading.
BROKEN_PHONES = {"", "555-0142", "NO PHONE", "(312) 555-01", "3.12555E+09"}
#: One row is shifted by an unquoted comma: it has this in the phone column.
SHIFTED = " JR"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with newly made samples."""
    folder = tmp_path_factory.mktemp("samples")
    subprocess.run([sys.executable, SAMPLES / "make_samples.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def spring() -> list[list[str]]:
    """The rows of the spring list, with the header and a row of empty cells."""
    with (SAMPLES / "spring_service.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", ["spring_service.csv", "opt_outs.csv"])
def test_text_samples_match_their_script(made: Path, name: str) -> None:
    assert (SAMPLES / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.parametrize("name", ["spring_service.xlsx", "recall_notice.xlsx"])
def test_workbook_samples_match_their_script(made: Path, name: str) -> None:
    # Cell by cell, because versions of zlib compress differently.
    assert cells(SAMPLES / name) == cells(made / name)


def cells(path: Path) -> list[tuple[object, ...]]:
    workbook = load_workbook(path)
    assert workbook.active is not None
    return list(workbook.active.iter_rows(values_only=True))


def test_the_spring_list_has_500_customers(spring: list[list[str]]) -> None:
    assert sum(any(row) for row in spring[1:]) == 500


def test_customer_ids_come_in_every_shape(spring: list[list[str]]) -> None:
    ids = [row[0] for row in spring[1:]]
    # Excel takes an id with `-` at the start for a formula. The other shapes break code that expects only one.
    for shape in (r"-[\w-]{42}", r"_[\w-]{42}", r"[0-9a-f]{64}", r"sandbox-.+"):
        assert any(re.fullmatch(shape, customer_id) for customer_id in ids), shape


def test_sample_phones_are_reserved_for_fiction(spring: list[list[str]]) -> None:
    mobiles = {row[3] for row in spring[1:] if row[3] != SHIFTED} - BROKEN_PHONES
    assert len(mobiles) > 480
    for mobile in mobiles:
        number = phonenumbers.parse(mobile, "US")
        assert phonenumbers.is_valid_number(number), mobile
        assert re.fullmatch(r"\d{3}55501\d\d", str(number.national_number)), mobile
