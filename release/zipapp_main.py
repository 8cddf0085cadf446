"""The start of the zipapp: unpacks batchsend once, and runs the command; without arguments, the web console.

Compiled libraries cannot be loaded from within an archive. `make_zipapp.py` packs this file as `__main__.py`. It uses
the standard library alone and runs on Python 3.7 too, to say there which Python is needed.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

#: How long the files of an unpacking that did not end are kept: another process may still be at it.
_ABANDONED = 3600  # seconds
#: On Windows a folder cannot be renamed while a virus scanner reads its new files.
_RENAME_TRIES, _RENAME_PAUSE = 100, 0.2  # seconds


class StartError(Exception):
    """batchsend cannot be started; the message says what to do."""


def main() -> None:
    """Ends the process with the exit code of the command."""
    arguments = sys.argv[1:]
    try:
        with zipfile.ZipFile(sys.argv[0]) as archive:
            facts = json.loads(archive.read("zipapp.json").decode())
            check_python(facts, sys.version_info[:2], here())
            if not arguments:
                check_folder(Path.cwd())
            folder = unpacked(archive, facts["digest"], cache_folder())
    except (StartError, OSError, zipfile.BadZipFile) as error:
        print(f"batchsend cannot start. {error}", file=sys.stderr)
        _end(2, arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    _run(folder, arguments)


def _run(folder: Path, arguments: list[str]) -> None:
    """Runs the command from an unpacked folder. The processes that it starts find batchsend there, too."""
    sys.path.insert(1, str(folder))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), before] if before else [str(folder)])
    if not arguments:
        _set_window_title("batchsend")
        print(f"batchsend for the campaigns in {Path.cwd()}", flush=True)
        print("Keep this window open while you work in the browser.", flush=True)
    sys.argv = ["batchsend", *(arguments or ["web"])]
    from batchsend.__main__ import main as command

    try:
        command()
    except SystemExit as ended:
        _end(ended.code, arguments)


def check_python(facts: dict[str, Any], version: tuple[int, int], system: str) -> None:
    """Raises `StartError` if the compiled libraries are for other Pythons or another system."""
    pythons = ["{}.{}".format(*python) for python in facts["pythons"]]
    span = " to ".join(dict.fromkeys([pythons[0], pythons[-1]]))
    if system != facts["system"]:
        raise StartError(
            f"This file is for Python {span} on {facts['system']}, and this Python is for {system}. Get the file for "
            f"this computer, or install batchsend with pipx."
        )
    name = "{}.{}".format(*version) + (
        " (free-threaded)" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    )
    if name not in pythons:
        start = f": py -{pythons[-1]} {Path(sys.argv[0]).name}" if os.name == "nt" else "."
        raise StartError(
            f"This file is for Python {span}, and this is Python {name}. Install Python {pythons[-1]} from "
            f"python.org; the other one can stay. Then start the file with it{start}"
        )


def check_folder(folder: Path) -> None:
    """Raises `StartError` in a folder that gets cleaned up: the record of who was texted would be lost."""
    folder, temporary = folder.resolve(), Path(tempfile.gettempdir()).resolve()
    if folder.name.lower() == "downloads" or temporary in (folder, *folder.parents):
        raise StartError(
            f"{folder} gets cleaned up by the computer. Move this file to a folder of its own, such as Texts in "
            f"your documents, and open it there. Your campaigns and the record of who was texted are kept beside it. "
            f"If the file is in a ZIP file, extract it first."
        )


def here() -> str:
    """The system that this Python is for, such as `win-amd64`."""
    return f"macosx-{platform.machine()}" if sys.platform == "darwin" else sysconfig.get_platform()


def cache_folder() -> Path:
    """The user's folder for files that can be made again."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "batchsend"


def unpacked(archive: zipfile.ZipFile, digest: str, cache: Path) -> Path:
    """The folder with the unpacked files for this Python. It is renamed when complete: it never has half of them."""
    python = "cp{}{}".format(*sys.version_info)
    folder = cache / f"{digest}-{python}"
    if not folder.is_dir():
        print("Unpacking batchsend (only at the first start) ...", file=sys.stderr)
        cache.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(cache)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=str(cache)))
        try:
            _unpack(archive, ("common/", f"{python}/"), part)
            _rename(part, folder)
        finally:
            shutil.rmtree(str(part), ignore_errors=True)
    return folder


def _unpack(archive: zipfile.ZipFile, tops: tuple[str, ...], folder: Path) -> None:
    for name in archive.namelist():
        if name.startswith(tops):
            target = folder / name.partition("/")[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def _rename(part: Path, folder: Path) -> None:
    """Does nothing if another process was faster: its folder has the same files."""
    for _ in range(_RENAME_TRIES):
        try:
            part.rename(folder)
        except OSError:
            if folder.is_dir():
                return
            if os.name != "nt":
                raise
            time.sleep(_RENAME_PAUSE)
        else:
            return
    raise StartError(f"{part} cannot be renamed: another program reads its files. Try again in a minute.")


def _remove_abandoned(cache: Path) -> None:
    for part in cache.glob("part-*"):
        with suppress(OSError):  # another process has just renamed it
            if part.stat().st_mtime < time.time() - _ABANDONED:
                shutil.rmtree(str(part), ignore_errors=True)


def _set_window_title(title: str) -> None:
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetConsoleTitleW(title)


def _end(code: Any, arguments: list[str]) -> None:
    """Ends the process. A window opened by a double click closes then, so an error is left on it until Enter."""
    if code and not arguments and sys.stdin is not None and sys.stdin.isatty():
        with suppress(EOFError, KeyboardInterrupt):
            input("Press Enter to close this window. ")
    sys.exit(code)


if __name__ == "__main__":
    main()
