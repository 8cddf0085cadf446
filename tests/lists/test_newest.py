"""A pattern for the list: the newest file that matches."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchsend.errors import ListError
from batchsend.lists.newest import newest_match

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_the_newest_of_several_lists(tmp_path: Path) -> None:
    for name, age in (
        ("a-2026-11-21.csv", 3),
        ("a-2026-11-22.csv", 1),
        ("a-2026-11-23.csv", 2),
        ("b.csv", 0),
    ):
        file = tmp_path / name
        file.write_text("x", encoding="utf-8")
        moment = NOW.timestamp() - age
        os.utime(file, (moment, moment))
    # What Office leaves beside an open workbook, and a folder of that name.
    (tmp_path / "~$a-9.csv").write_text("x", encoding="utf-8")
    (tmp_path / "a-9.csv").mkdir()
    assert newest_match(tmp_path / "a-*.csv").name == "a-2026-11-22.csv"
    assert newest_match(tmp_path / "a-2026-11-2?.csv").name == "a-2026-11-22.csv"
    with pytest.raises(ListError, match="no file matches this pattern"):
        newest_match(tmp_path / "c-*.csv")
    with pytest.raises(ListError, match="no file matches this pattern"):
        newest_match(tmp_path / "nowhere" / "a-*.csv")


@pytest.mark.parametrize("name", ["[March]/a-1.csv", "[a]-1.csv", "[!x]/[a-z] 1.csv"])
def test_square_brackets_are_part_of_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x", encoding="utf-8")
    assert newest_match(path.with_name(path.name.replace("1", "*"))) == path


def test_lists_saved_at_once_go_by_name(tmp_path: Path) -> None:
    for name in ("a-1.csv", "a-3.csv", "a-2.csv"):
        (tmp_path / name).write_text("x", encoding="utf-8")
        os.utime(tmp_path / name, (NOW.timestamp(), NOW.timestamp()))
    assert newest_match(tmp_path / "*.csv").name == "a-3.csv"
