"""Finds the file that a wrong path probably means, for errors that name it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

from batchsend.utils.protected_files import refusal

#: How alike two names without their endings must be, from 0 to 1.
_ALIKE = 0.6
#: A folder with more files is not read to its end for an error message.
_MOST_FILES = 10_000
_ENDINGS = re.compile(r"(\s*\.[a-z]\w{0,9})+$")


def nearest_file(path: Path, endings: Iterable[str]) -> Path | None:
    """The existing file with one of these endings that is most like `path`; `None` if none is like it.

    Letter case, spaces and a missing, wrong or doubled ending make little difference. If the folder does not exist
    either, the folder most like it is searched. Files that must not be read are never named.
    """
    wanted = tuple(endings)
    try:
        folder = _nearest_folder(path.parent)
        files = islice(folder.iterdir(), _MOST_FILES) if folder is not None else ()
        names = [
            file.name
            for file in files
            if any(ending in file.name.casefold() for ending in wanted)
            and not file.name.startswith("~$")
            and file.is_file()
            and refusal(file) is None
        ]
    except OSError:
        return None
    near = _nearest(path.name, names)
    return None if near is None or folder is None else folder / near


def lock_target(path: Path) -> str | None:
    """The name of the file that Excel, Word or LibreOffice locks with the file `path`; `None` for other files."""
    if path.name.startswith("~$"):
        return path.name.removeprefix("~$")
    match = re.fullmatch(r"\.~lock\.(.+)#", path.name)
    return match[1] if match else None


def _nearest_folder(folder: Path) -> Path | None:
    if folder.is_dir() or folder == folder.parent:
        return folder
    parent = _nearest_folder(folder.parent)
    if parent is None:
        return None
    names = [entry.name for entry in islice(parent.iterdir(), _MOST_FILES) if entry.is_dir()]
    near = _nearest(folder.name, [name for name in names if not name.startswith(".")])
    return None if near is None else parent / near


def _nearest(name: str, names: list[str]) -> str | None:
    best = max(names, key=lambda other: _likeness(name, other), default=None)
    return best if best is not None and _likeness(name, best)[0] >= _ALIKE else None


def _likeness(name: str, other: str) -> tuple[float, float]:
    """How alike the names are without their endings, from 0 to 1, and how alike they are with them."""
    bare, whole = (
        SequenceMatcher(None, _letters(one), _letters(two)).ratio()
        for one, two in ((_bare(name), _bare(other)), (name, other))
    )
    return bare, whole


def _bare(name: str) -> str:
    return _ENDINGS.sub("", name.casefold())


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name.casefold()))
