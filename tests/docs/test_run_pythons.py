"""`make test-pythons` finds an interpreter of each version, and refuses to skip one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import run_pythons

REAL_PYTHON = sys.executable
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def _nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the interpreters of this computer, and this process's own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(run_pythons.sys, "executable", str(tmp_path / "none" / "python"))


def link(path: Path, python: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(python)


def test_a_missing_version_is_an_error_and_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pythons.main([OWN, "3.99"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"Python {OWN}, 3.99:" in said.err
    assert "uv python install" in said.err


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
@pytest.mark.parametrize("place", [f"python{OWN}", f"pyenv/versions/{OWN}.1/bin/python"])
def test_an_interpreter_is_found(place: str, tmp_path: Path) -> None:
    link(tmp_path / place, REAL_PYTHON)
    assert run_pythons.interpreter(OWN) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
@pytest.mark.parametrize("place", ["python3.99", "pyenv/versions/3.99.1/bin/python"])
def test_an_interpreter_of_another_version_is_not_taken(place: str, tmp_path: Path) -> None:
    link(tmp_path / place, REAL_PYTHON)
    assert run_pythons.interpreter("3.99") is None
