"""Writes files with customers' data: readable by their owner only, and complete or not at all."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

_PREFIX = ".batchsend-"
_SUFFIX = ".tmp"
#: A temporary file older than this, in seconds, is from a killed process.
_LEFT_BEHIND = 3600
_MOST_NAMES = 100
#: The file is open in another program or belongs to another user; network drives use `EBUSY` and `ETXTBSY`.
_HELD = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY)
#: What Windows answers if one of the files is open: access denied, sharing violation, lock violation.
_OPEN_ON_WINDOWS = (5, 32, 33)
#: How long, in seconds, and how often to wait there for a program that has a file open for a moment.
_PATIENCE, _PAUSE = 1.0, 0.02
#: The access rights of new folders. On Windows, files get theirs from their folder, and Python gives a folder with
#: these to its owner and the administrators alone. On other systems, each file has its own.
_FOLDER_MODE = 0o700 if os.name == "nt" else 0o777
#: Names of devices on Windows, with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[\d¹²³]|lpt[\d¹²³])\s*(\..*)?", re.IGNORECASE)


def is_device(name: str) -> bool:
    """Would Windows take a file of this name for a device?"""
    return _DEVICES.fullmatch(name) is not None


def write_private(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file next to `path`, and moves it to `path`.

    Raises `OSError`; then no new file remains and an older one is unchanged.
    """
    with _temporary(path.parent) as temporary:
        write(temporary)
        move_into_place(temporary, path)


def write_beside_open(path: Path, write: Callable[[Path], object]) -> Path:
    """Does the same for a file that people open, and returns the path that was written.

    If another program has `path` open (as Excel does), that is `name (2).xlsx`, `name (3).xlsx` ...
    """
    with _temporary(path.parent) as temporary:
        write(temporary)
        try:
            move_into_place(temporary, path)
        except OSError as error:
            if error.errno not in _HELD:
                raise
            return _numbered(temporary, path, error)
        return path


def write_new(folder: Path, names: Iterable[str], write: Callable[[Path], object]) -> Path:
    """Lets `write` fill a temporary file in `folder`, and gives it the first of the names that is free.

    Returns its path. Raises `FileExistsError` if no name is free, or `OSError`; then no new file remains.
    """
    with _temporary(folder) as temporary:
        write(temporary)
        path = _reserved(folder, names)
        try:
            move_into_place(temporary, path)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        return path


def move_into_place(temporary: Path, path: Path) -> None:
    """Moves a complete file to `path` in one step. Raises `OSError`."""
    _once_closed(lambda: temporary.replace(path))


def remove(path: Path) -> None:
    """Deletes a file if it is there. Raises `OSError`."""
    _once_closed(lambda: path.unlink(missing_ok=True))


def _once_closed(change: Callable[[], object]) -> None:
    """Changes a file's name or deletes it.

    On Windows, that is not possible while the file is open, and virus scanners and readers open files for a moment.
    So it is tried again there.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            change()
        except OSError as error:
            is_open = getattr(error, "winerror", None) in _OPEN_ON_WINDOWS
            if not is_open or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _reserved(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        with suppress(FileExistsError):
            os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return folder / name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Creates a folder and those around it that are missing, all with these access rights. Raises `OSError`.

    `Path.mkdir` gives the others the usual rights, and files on Windows get theirs from their folder.
    """
    for missing in [one for one in folder.parents if not one.exists()][::-1]:
        missing.mkdir(mode=mode, exist_ok=True)
    folder.mkdir(mode=mode, exist_ok=True)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted after the block, as far as possible.

    An interrupted query still has its file open then, and Windows does not delete that. The error about it must not
    take the place of the interrupt.
    """
    return tempfile.TemporaryDirectory(prefix="batchsend-", ignore_cleanup_errors=True)


def check_folder(folder: Path) -> None:
    """Creates `folder` and, to check it, a file in it that is removed again. Raises `OSError`."""
    _new_file(folder).unlink()


def sqlite_uri(file: PurePath) -> str:
    """The address of an absolute path for SQLite, which takes the name of another computer as a part of the path."""
    uri = file.as_uri()
    return uri if uri.startswith("file:///") else uri.replace("file://", "file:////", 1)


def current_folder(otherwise: Path) -> Path:
    """The current folder, or `otherwise` if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return otherwise


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Yields a new file, which is removed if the block fails."""
    temporary = _new_file(folder)
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _new_file(folder: Path) -> Path:
    make_folder(folder, _FOLDER_MODE)
    _remove_left_behind(folder)
    # `mkstemp` creates the file readable by its owner only.
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
    os.close(descriptor)
    return Path(name)


def _remove_left_behind(folder: Path) -> None:
    oldest = time.time() - _LEFT_BEHIND
    for file in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            if file.stat().st_mtime < oldest:
                file.unlink()
        except OSError:  # another process removed it, or another user owns it
            continue


def _numbered(temporary: Path, path: Path, held: OSError) -> Path:
    for number in range(2, _MOST_NAMES):
        other = path.with_name(f"{path.stem} ({number}){path.suffix}")
        # Do not replace another file, which may be the user's.
        if not other.exists():
            move_into_place(temporary, other)
            return other
    raise held
