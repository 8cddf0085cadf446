"""Files that the pages change or take in: never over what somebody else saved meanwhile, never out of the folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path

from aiohttp import BodyPartReader

from batchsend.errors import BatchsendError
from batchsend.lists.source import LIST_ENDINGS

#: Bytes of a list that is taken in.
LARGEST_LIST = 50 * 1024 * 1024
_UNWANTED = re.compile(r"[^\w .()+,-]")
#: Names that mean devices on Windows.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST_NAME = 100
_MOST_NAMES = 1000


class ChangedMeanwhileError(BatchsendError):
    """Somebody saved the file after this page was made."""


def fingerprint(content: bytes) -> str:
    """What tells one state of a file from another."""
    return hashlib.sha256(content).hexdigest()


def save(path: Path, text: str, *, was: str) -> None:
    """Writes a file that was edited, whole or not at all. `was`: the fingerprint of what it was made from.

    Raises `ChangedMeanwhileError`, or `BatchsendError` where it cannot be written; then it is as it was.
    """
    try:
        present = path.read_bytes()
    except OSError as error:
        raise BatchsendError(f"{path}: it cannot be read ({error.strerror}). Nothing was saved.") from error
    if fingerprint(present) != was:
        raise ChangedMeanwhileError(
            f"{path.name} was changed meanwhile, by somebody else or in another tab, so that yours was not saved. It "
            f"still stands below: compare it with the file, and save again to put it over what is there now."
        )
    lines = "\r\n" if b"\r\n" in present else "\n"
    replace(path, lines.join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")).encode())


def replace(path: Path, content: bytes) -> None:
    """Puts new content in the place of a file, which keeps its permissions. Raises `BatchsendError`."""
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".batchsend-", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            _remove(temporary)
        raise BatchsendError(
            f"{path}: it cannot be written ({error.strerror or error}), and is as it was. Close it where it is open, "
            f"or have its permissions changed."
        ) from error


async def take_in(part: BodyPartReader, folder: Path) -> Path:
    """Keeps a file that was sent to us beside the campaign; overwrites nothing. Raises `BatchsendError`."""
    name = safe_name(part.filename or "")
    size = 0
    descriptor, temporary_name = tempfile.mkstemp(prefix=".batchsend-", suffix=".tmp", dir=folder)
    temporary = Path(temporary_name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            while chunk := await part.read_chunk(256 * 1024):
                size += len(chunk)
                if size > LARGEST_LIST:
                    raise BatchsendError(
                        f"{name}: has more than {LARGEST_LIST // 1024 // 1024} MB, and was not taken. Save the list "
                        f"alone, without pictures and other sheets, or as CSV."
                    )
                file.write(chunk)
        if size == 0:
            raise BatchsendError(f"{name}: is empty, and was not taken. Choose the file again.")
        return _put(temporary, folder, name)
    finally:
        _remove(temporary)


def safe_name(given: str) -> str:
    """A plain file name, whatever a browser says it is called. Raises `BatchsendError` for what is no list."""
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = " ".join(_UNWANTED.sub("_", name).split()).lstrip(".").rstrip(". ")
    stem, dot, ending = name.rpartition(".")
    if not dot or f".{ending.lower()}" not in LIST_ENDINGS:
        raise BatchsendError(
            f'"{name[:60] or given[:60]}" is not a list that can be read. Save it as .xlsx or .csv, and drop that.'
        )
    if not stem.strip(" .") or _DEVICES.fullmatch(name):
        stem = "list"
    return f"{stem[:_LONGEST_NAME].strip()}.{ending.lower()}"


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()


def _put(temporary: Path, folder: Path, name: str) -> Path:
    stem, _, ending = name.rpartition(".")
    digest = fingerprint(temporary.read_bytes())
    for number in range(1, _MOST_NAMES):
        path = folder / (name if number == 1 else f"{stem} ({number}).{ending}")
        try:
            # Made here and now, so that two people with one name do not write into one file.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            if path.is_file() and not path.is_symlink() and fingerprint(path.read_bytes()) == digest:
                return path
            continue
        temporary.replace(path)
        return path
    raise BatchsendError(f"{name}: there are too many files of this name. Give it another one.")
