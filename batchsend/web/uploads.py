"""Saves edited files and uploaded lists. A save never overwrites another user's change, an upload no file at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, web

from batchsend.errors import BatchsendError
from batchsend.lists.source import UPLOAD_ENDINGS
from batchsend.utils.files import is_device, move_into_place
from batchsend.web.auth.middleware import upload_of
from batchsend.web.auth.sessions import Difference, Session
from batchsend.web.connections import receiving
from batchsend.web.differences import merged_lines

#: The largest list, in bytes.
LARGEST_LIST = 50 * 1024 * 1024
#: A campaign can name any file as its template. Only these are changed: no workbooks, queries, scripts.
TEXT_ENDINGS = (".txt", ".j2", ".jinja", ".jinja2", ".md")
#: New uploads that no campaign uses yet: they may still be deleted. Those that were deleted stay in it.
UNUSED = web.AppKey("unused", set[Path])
_UNWANTED = re.compile(r"[^\w .()+,-]")
_LONGEST_NAME = 100
_MOST_NAMES = 1000


@dataclass(frozen=True)
class SavedList:
    """An uploaded list next to its campaign.

    `is_new`: `False` if the same file was there already. `unused`: the value of `UNUSED`.
    """

    path: Path
    is_new: bool
    unused: set[Path]

    def remove(self) -> None:
        """Deletes the list, unless it was there already."""
        if self.is_new:
            # It stays in `unused`: an upload that has just compared itself with it must not use it.
            _remove(self.path)

    def keep(self) -> None:
        """Marks the list as used. From now on the same upload finds it."""
        if self.is_new:
            self.unused.discard(self.path)


class ChangedMeanwhileError(BatchsendError):
    """The file was changed in the same places after the page was loaded. `present`: lets the form replace these.

    `differences`: the form's version and the file's. `text`: the form's, with what only the others changed.
    """

    def __init__(
        self, name: str, present: str, differences: tuple[Difference, ...], text: str | None = None
    ) -> None:
        super().__init__(
            f"{name} was changed by someone else or in another tab meanwhile, so your version was not saved. "
            f"If you save it again, it replaces theirs where both of you made changes. What only they changed stays."
        )
        self.present = present
        self.differences = differences
        self.text = text


def fingerprint(content: bytes) -> str:
    """Returns a value that changes with the file's content."""
    return hashlib.sha256(content).hexdigest()


def plain_lines(text: str) -> str:
    """Returns what a browser sent from an editor, with plain line ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def save(
    path: Path,
    text: str,
    *,
    loaded: str,
    session: Session,
    check: Callable[[bytes], object] | None = None,
) -> str:
    """Saves an edited file, completely or not at all; returns the text that was saved.

    `loaded`: the fingerprint of the file that was edited, as `session` remembers it; `check`: refuses what would be
    saved. Lines that others changed meanwhile are kept. Raises `ChangedMeanwhileError` if they changed the same
    lines, or `BatchsendError` if the file cannot be written; then it is unchanged.
    """
    if path.suffix.lower() not in (".toml", *TEXT_ENDINGS):
        raise BatchsendError(
            f"{path.name} was not saved, because only texts that end in {', '.join(TEXT_ENDINGS)} are changed "
            f"on these pages. Change the file on the server, or name another file as the template."
        )
    try:
        present = path.read_bytes()
    except OSError as error:
        raise BatchsendError(f"{path}: cannot be read ({error.strerror}). Nothing was saved.") from error
    text = _merged(path.name, plain_lines(text), loaded, present, session)
    ends = "\r\n" if b"\r\n" in present else "\n"
    content = text.replace("\n", ends).encode()
    if check is not None:
        check(content)
    replace_content(path, content)
    return text


def _merged(name: str, text: str, loaded: str, present: bytes, session: Session) -> str:
    now = fingerprint(present)
    if now == loaded:
        return text
    session.remember(now, present)
    base, theirs = session.versions.get(loaded), text_of(present)
    text, conflict = merged_lines(text_of(base), text, theirs) if base is not None else (text, True)
    if conflict:
        raise ChangedMeanwhileError(name, now, (Difference("", text, theirs),), text)
    return text


def text_of(content: bytes) -> str:
    """Returns a file's text with plain line ends."""
    return plain_lines(content.decode("utf-8-sig", "replace"))


def replace_content(path: Path, content: bytes) -> None:
    """Replaces a file's content and keeps its permissions. Raises `BatchsendError`."""
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".batchsend-", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        shutil.copymode(path, temporary)
        move_into_place(temporary, path)
    except OSError as error:
        if temporary is not None:
            _remove(temporary)
        raise BatchsendError(
            f"{path}: cannot be written ({error.strerror or error}); it is unchanged. Close it in other programs, or "
            f"fix its permissions."
        ) from error


async def file_of(request: web.Request, what: str) -> BodyPartReader:
    """Returns the file of an upload. `what`: what the form asks for. Raises `BatchsendError` if none was chosen."""
    async with receiving(request):
        part = await upload_of(request).next()
    if not isinstance(part, BodyPartReader) or not part.filename:
        raise BatchsendError(f"No file was chosen. Choose {what} or drop it on the field.")
    return part


async def save_upload(
    request: web.Request, part: BodyPartReader, folder: Path, check: Callable[[Path], object]
) -> SavedList:
    """Saves an uploaded list in the campaign's folder. `check`: refuses a path.

    Raises `BatchsendError`, or `RequestRefusedError` if the upload breaks off.
    """
    name = safe_name(part.filename or "")
    size = 0
    descriptor, temporary_name = tempfile.mkstemp(prefix=".batchsend-", suffix=".tmp", dir=folder)
    temporary = Path(temporary_name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            while chunk := await _next_chunk(request, part):
                size += len(chunk)
                if size > LARGEST_LIST:
                    raise BatchsendError(
                        f"{name}: has more than {LARGEST_LIST // 1024 // 1024} MB and was not saved. Save the list "
                        f"without pictures and other sheets, or as CSV."
                    )
                await asyncio.to_thread(file.write, chunk)
        if size == 0:
            raise BatchsendError(f"{name}: is empty and was not saved. Choose the file again.")
        return await asyncio.to_thread(_put, temporary, folder, name, request.app[UNUSED], check)
    finally:
        _remove(temporary)


async def _next_chunk(request: web.Request, part: BodyPartReader) -> bytes:
    async with receiving(request):
        chunk = await part.read_chunk(256 * 1024)
        if not chunk and not part.at_eof():
            raise ValueError("the form ends within the file")
        return chunk


def safe_name(given: str) -> str:
    """Returns a safe file name for an upload. Raises `BatchsendError` for other endings than a list's."""
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = " ".join(_UNWANTED.sub("_", name).split()).lstrip(".").rstrip(". ")
    stem, dot, ending = name.rpartition(".")
    # A query is for the person who runs the server: it can read the whole database.
    if not dot or f".{ending.lower()}" not in UPLOAD_ENDINGS:
        raise BatchsendError(
            f'"{name[:60] or given[:60]}" is not a list that can be read. Save it as .xlsx or .csv and choose that.'
        )
    if not stem.strip(" .") or is_device(name):
        stem = "list"
    return f"{stem[:_LONGEST_NAME].strip()}.{ending.lower()}"


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()


def _put(
    temporary: Path, folder: Path, name: str, unused: set[Path], check: Callable[[Path], object]
) -> SavedList:
    """Moves an upload to its name, or to one with a number. A file with the same content is used instead.

    A file of `unused` is not used, because it may still be deleted.
    """
    stem, _, ending = name.rpartition(".")
    digest = fingerprint(temporary.read_bytes())
    for number in range(1, _MOST_NAMES):
        path = folder / (name if number == 1 else f"{stem} ({number}).{ending}")
        check(path)
        try:
            # Creating the file reserves the name: two uploads with one name get two files.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            if _has(path, digest) and path not in unused:
                return SavedList(path, is_new=False, unused=unused)
            continue
        unused.add(path)
        move_into_place(temporary, path)
        return SavedList(path, is_new=True, unused=unused)
    raise BatchsendError(
        f"{name}: there are too many files with this name. Rename the list and choose it again."
    )


def _has(path: Path, digest: str) -> bool:
    """Whether a path is a file with this content."""
    return path.is_file() and not path.is_symlink() and fingerprint(path.read_bytes()) == digest
