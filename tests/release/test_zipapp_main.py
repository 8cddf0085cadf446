"""How the zipapp starts. Real ones are started in `tests/system/test_zipapp.py`."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest
import zipapp_main
from zipapp_main import StartError

FACTS = {"system": "win-amd64", "pythons": [[3, 11], [3, 12], [3, 13]]}
CP = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_the_pythons_that_it_is_for_can_start_it(version: tuple[int, int]) -> None:
    zipapp_main.check_python(FACTS, version, "win-amd64")


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14)])
def test_other_pythons_are_told_which_one_to_install(version: tuple[int, int]) -> None:
    with pytest.raises(
        StartError,
        match=rf"3\.11 to 3\.13.* this is Python {version[0]}\.{version[1]}\. Install Python 3\.13",
    ):
        zipapp_main.check_python(FACTS, version, "win-amd64")


def test_one_python_is_named_once() -> None:
    with pytest.raises(StartError, match=r"for Python 3\.12, and"):
        zipapp_main.check_python({**FACTS, "pythons": [[3, 12]]}, (3, 11), "win-amd64")


@pytest.mark.parametrize("system", ["win32", "win-arm64", "linux-x86_64", "macosx-arm64"])
def test_another_system_is_named(system: str) -> None:
    with pytest.raises(StartError, match=f"on win-amd64, and this Python is for {system}"):
        zipapp_main.check_python(FACTS, (3, 12), system)


@pytest.mark.parametrize("name", ["Downloads", "downloads", "temporary/Temp1_batchsend.zip", "temporary"])
def test_no_campaigns_are_kept_where_files_are_cleaned_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(StartError, match="Move this file"):
        zipapp_main.check_folder(tmp_path / name)
    zipapp_main.check_folder(tmp_path / "Texts")
    zipapp_main.check_folder(tmp_path / "Downloads" / "Texts")


def archive(**files: str) -> zipfile.ZipFile:
    made = zipfile.ZipFile(io.BytesIO(), "w")
    for name, content in files.items():
        made.writestr(name, content)
    return made


FILES = {"common/a/b.py": "B", f"{CP}/a/c.pyd": "C", "cp27/a/c.pyd": "other", "zipapp.json": "{}"}


def test_only_the_files_for_this_python_are_unpacked(tmp_path: Path) -> None:
    folder = zipapp_main.unpacked(archive(**FILES), "0123", tmp_path / "cache")
    assert folder.parent.name == "cache"
    found = {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }
    assert found == {"a/b.py": "B", "a/c.pyd": "C"}
    (folder / "a" / "b.py").write_text("kept")
    assert zipapp_main.unpacked(archive(**FILES), "0123", tmp_path / "cache") == folder
    assert (folder / "a" / "b.py").read_text() == "kept"
    assert zipapp_main.unpacked(archive(**FILES), "4567", tmp_path / "cache") != folder


def test_an_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(zipapp_main, "_rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            zipapp_main.unpacked(archive(**FILES), "0123", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (zipapp_main.unpacked(archive(**FILES), "0123", tmp_path) / "a" / "b.py").is_file()


def test_a_second_first_start_uses_what_the_faster_one_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = zipapp_main._rename

    def be_slower(part: Path, folder: Path) -> None:
        (folder / "a").mkdir(parents=True)
        rename(part, folder)

    monkeypatch.setattr(zipapp_main, "_rename", be_slower)
    folder = zipapp_main.unpacked(archive(**FILES), "0123", tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_an_unpacking_that_ends_meanwhile_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: [tmp_path / "part-renamed"])
    assert zipapp_main.unpacked(archive(**FILES), "0123", tmp_path).is_dir()
