"""New files are complete or not there at all, and never replace another one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from batchsend.utils.files import write_new


def test_a_new_file_gets_the_first_name_that_is_free(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("taken", encoding="utf-8")
    names = ["a.txt", "b.txt", "c.txt"]
    written = write_new(tmp_path, names, lambda file: file.write_text("new", encoding="utf-8"))
    assert written == tmp_path / "b.txt"
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        "a.txt": "taken",
        "b.txt": "new",
    }


def test_without_a_free_name_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("taken", encoding="utf-8")
    with pytest.raises(FileExistsError):
        write_new(tmp_path, ["a.txt"], lambda file: file.write_text("new", encoding="utf-8"))
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    def write_half(file: Path) -> None:
        file.write_text("Hi the", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_new(tmp_path, ["a.txt"], write_half)
    assert list(tmp_path.iterdir()) == []
