"""Python imports this module when it starts: files that are open cannot be deleted or moved, as on Windows.

It sees the files of its own process, including those that C libraries such as SQLite opened.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress

_OPEN = "The process cannot access the file because it is being used by another process"


def _path(path: object, folder: object) -> str:
    """The whole path of a file, which a `folder` that is open may hold."""
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    inside = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else ""  # noqa: PTH115
    return os.path.join(inside, name)  # noqa: PTH118 - as in the call


def _open_files() -> Iterator[tuple[int, int]]:
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - it changes meanwhile
        with suppress(OSError):
            found = os.stat(f"/proc/self/fd/{number}")  # noqa: PTH116 - as above
            if stat.S_ISREG(found.st_mode):
                yield found.st_dev, found.st_ino


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    match event, arguments:
        case "os.remove", (path, folder):
            paths = [_path(path, folder)]
        case "os.rename", (source, target, source_folder, target_folder):
            paths = [_path(source, source_folder), _path(target, target_folder)]
        case _:
            return
    opened = set(_open_files())
    for name in paths:
        with suppress(FileNotFoundError):
            found = os.stat(name)  # noqa: PTH116 - as above
            if (found.st_dev, found.st_ino) in opened:
                raise PermissionError(errno.EACCES, _OPEN, name)


sys.addaudithook(_refuse)
