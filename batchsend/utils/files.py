"""Files that hold customers' data: readable by their owner only, and whole or not there at all."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PREFIX = ".batchsend-"
_SUFFIX = ".tmp"
#: A temporary file this old, in seconds, is what a killed process left behind.
_LEFT_BEHIND = 3600
_MOST_NAMES = 100
#: A file that somebody holds, or that belongs to somebody else; on a network drive it is `EBUSY` or `ETXTBSY`.
_HELD = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY)


def write_private(path: Path, write: Callable[[Path], None]) -> Path:
    """Has `write` fill a temporary file beside `path`, then moves it into place.

    Returns the path that was really written: where something holds `path` (Excel does while it shows a file), that is
    `name (2).xlsx`, `name (3).xlsx` ... Raises `OSError`; then nothing is left behind and an older file is untouched.
    """
    temporary = _new_file(path.parent)
    try:
        write(temporary)
        return _move_into_place(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def check_folder(folder: Path) -> None:
    """Makes `folder` and a file in it, which is removed again. Raises `OSError` where that cannot be done."""
    _new_file(folder).unlink()


def _new_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(folder)
    # mkstemp makes it readable by its owner only from the start.
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
    os.close(descriptor)
    return Path(name)


def _remove_left_behind(folder: Path) -> None:
    oldest = time.time() - _LEFT_BEHIND
    for file in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            if file.stat().st_mtime < oldest:
                file.unlink()
        except OSError:  # somebody else was faster, or owns it
            continue


def _move_into_place(temporary: Path, path: Path) -> Path:
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        for number in range(2, _MOST_NAMES):
            other = path.with_name(f"{path.stem} ({number}){path.suffix}")
            # Never over another file: it may be somebody's own.
            if not other.exists():
                temporary.replace(other)
                return other
        raise
    return path
