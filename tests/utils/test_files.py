"""New files are complete or not there at all, also while another program has one of them open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest

from batchsend.utils import files
from batchsend.utils.files import make_folder, sqlite_uri, write_beside_open, write_new, write_private


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


class _SharingViolationError(PermissionError):
    """What `os.replace` raises on Windows while a program has one of the files open."""

    winerror = 32


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Has another program open a file, until it was tried so many times to replace the file."""
    really_replace, left = Path.replace, dict[Path, int]()

    def replace(self: Path, target: Path) -> Path:
        if left.get(target, 0) > 0:
            left[target] -= 1
            raise _SharingViolationError(errno.EACCES, "The file is used by another process", str(target))
        return really_replace(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "_PAUSE", 0.0)
    return left.__setitem__


@pytest.mark.parametrize("write", [write_private, write_beside_open, files.write_new])
def test_a_file_that_is_open_for_a_moment_on_windows_is_replaced(
    tmp_path: Path, opened: Callable[[Path, int], None], write: Callable[..., object]
) -> None:
    """A virus scanner looks at a new file, or a page reads the state of a job."""
    path = tmp_path / "state.json"
    opened(path, 3)
    if write is write_new:
        write_new(tmp_path, [path.name], lambda file: file.write_text("new", encoding="utf-8"))
    else:
        path.write_text("old", encoding="utf-8")
        write(path, lambda file: file.write_text("new", encoding="utf-8"))
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {path.name: "new"}


def test_our_own_file_that_stays_open_keeps_its_content_and_gets_no_second_one(
    tmp_path: Path, opened: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    opened(path, 1000)
    with pytest.raises(PermissionError):
        write_private(path, lambda file: file.write_text("new", encoding="utf-8"))
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {path.name: "old"}
    written = write_beside_open(path, lambda file: file.write_text("new", encoding="utf-8"))
    assert written == tmp_path / "users (2).json"
    assert path.read_text(encoding="utf-8") == "old"


def test_a_new_file_that_cannot_be_moved_leaves_nothing(
    tmp_path: Path, opened: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    opened(tmp_path / "a.txt", 1000)
    with pytest.raises(PermissionError):
        write_new(tmp_path, ["a.txt"], lambda file: file.write_text("new", encoding="utf-8"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "address"),
    [
        (PurePosixPath("/home/dana/a b?.db"), "file:///home/dana/a%20b%3F.db"),
        (PureWindowsPath("C:\\texts\\ledger.db"), "file:///C:/texts/ledger.db"),
        (PureWindowsPath("\\\\server\\share\\dms.db"), "file:////server/share/dms.db"),
    ],
)
def test_sqlite_finds_files_on_other_computers_too(file: PurePath, address: str) -> None:
    """SQLite refuses an address with a host."""
    assert sqlite_uri(file) == address


@pytest.mark.skipif(os.name == "nt", reason="Windows has access lists in place of modes")
def test_all_new_folders_around_a_file_belong_to_its_owner_as_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows gives files the rights of their folder."""
    monkeypatch.setattr(files, "_FOLDER_MODE", 0o700)
    path = tmp_path / ".batchsend" / "web" / "state.json"
    write_private(path, lambda file: file.write_text("{}", encoding="utf-8"))
    make_folder(tmp_path / "other" / "web")
    made = [path.parent, path.parent.parent, tmp_path / "other", tmp_path / "other" / "web"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700] * 4
