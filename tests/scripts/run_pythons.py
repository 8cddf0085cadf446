"""Runs the tests on several versions of Python, each in an environment of its own in `build/`: `make test-pythons`.

A version without an interpreter on this computer is an error, before any test runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PINS = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
_BIN, _EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
_INSTALL = (
    "-m",
    "pip",
    "install",
    "--disable-pip-version-check",
    "-qq",
    "-c",
    "constraints.txt",
    "-e",
    ".[dev]",
)
_INTRODUCE = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if a version is missing or its tests fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="+", help="for example 3.12")
    parser.add_argument("--workers", default="2", help="processes of pytest")
    parser.add_argument("--tests", nargs="*", default=[], help="files or folders instead of all tests")
    given = parser.parse_args(arguments)
    found = {version: interpreter(version) for version in given.versions}
    missing = [version for version, python in found.items() if python is None]
    if missing:
        print(
            f"No interpreter found for Python {', '.join(missing)}: not on PATH, in pyenv or by uv. No test ran.\n"
            f"Install one, for example: uv python install {' '.join(missing)}",
            file=sys.stderr,
        )
        return 1
    codes = {
        version: _run_tests(environment(version, python), given.workers, given.tests)
        for version, python in found.items()
        if python is not None
    }
    for version, code in codes.items():
        print(f"Python {version}: {f'failed, exit code {code} of pytest' if code else 'passed'}")
    return int(any(codes.values()))


def interpreter(version: str) -> str | None:
    """Returns the path of an interpreter of this version (`3.12`), or None."""
    return next(filter(None, (_path_if(version, command) for command in candidates(version))), None)


def candidates(version: str) -> Iterator[list[str]]:
    """Yields commands that may start this version: of this process, PATH, pyenv, the launcher of Windows, uv."""
    yield [sys.executable]
    yield [f"python{version}"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for folder in sorted(pyenv.glob(f"{version}.*"), reverse=True):
        yield [str(folder / _BIN / f"python{_EXE}")]
    yield ["py", f"-{version}"]
    uv = shutil.which(
        "uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if uv is not None:
        yield [_output([uv, "python", "find", "--no-project", version])]


def environment(version: str, python: str) -> Path:
    """Returns the interpreter of `build/pythonX.Y`. Creates it, and installs again after a change of the pins."""
    folder = ROOT / "build" / f"python{version}"
    own, mark = folder / _BIN / f"python{_EXE}", folder / "installed"
    if not own.exists() or not mark.exists() or mark.stat().st_mtime < max(p.stat().st_mtime for p in _PINS):
        print(
            f"Installing batchsend and the development tools into {folder.relative_to(ROOT)} ...", flush=True
        )
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(own), *_INSTALL], cwd=ROOT, check=True)
        mark.touch()
    return own


def _run_tests(python: Path, workers: str, tests: Sequence[str]) -> int:
    command = [str(python), "-m", "pytest", "-n", workers, "--dist", "worksteal", "-m", "not system", *tests]
    return subprocess.run(command, cwd=ROOT).returncode


def _path_if(version: str, command: Sequence[str]) -> str | None:
    """Returns the interpreter that the command starts, if it is of this version."""
    actual, _, path = _output([*command, "-I", "-c", _INTRODUCE]).partition(" ")
    return path if actual == version else None


def _output(command: Sequence[str]) -> str:
    """Returns what the command prints; nothing if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
