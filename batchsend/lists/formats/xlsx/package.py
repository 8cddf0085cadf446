"""Opens a workbook's zip package, checks its size and lists its sheets."""

from __future__ import annotations

import errno
import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.parsers import expat

from batchsend.errors import ListError

#: Bytes of all parts of a workbook together, unpacked.
MAX_UNPACKED_SIZE = 4 * 1024 * 1024 * 1024
#: Unpacked bytes per packed byte; real sheets stay below 60, and zip bombs are above 900.
MAX_RATIO = 300
# Below this size the ratio is not checked.
_RATIO_CHECKED_ABOVE = 64 * 1024 * 1024

_BLOCK = 256 * 1024
_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"


DAMAGED = (
    "It is a workbook that was cut short or damaged. Open it in Excel and save it again, or export it again."
)
LOCKED = "It is protected by a password. Open it in Excel, save it without a password, and try again."
#: What zip and XML readers raise for a damaged file. LookupError means a missing part or an unknown encoding.
DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    expat.ExpatError,
    LookupError,
    UnicodeError,
)
_BOMB = "It is too large: unpacked it would take {:,} bytes. Export only the list, without other sheets or pictures."


@dataclass(frozen=True)
class Sheet:
    """A worksheet. `part` is the name of its file in the package."""

    name: str
    is_visible: bool
    part: str


@contextmanager
def open_package(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens the package of the workbook at `path`. Any damage found while it is open becomes a ListError."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            yield archive
    except DAMAGE_ERRORS as error:
        raise ListError(path, DAMAGED) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # the zip's directory points to a place before the file
            raise ListError(path, DAMAGED) from error
        raise


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > MAX_UNPACKED_SIZE or (total > _RATIO_CHECKED_ABOVE and total > MAX_RATIO * packed):
        raise ListError(path, _BOMB.format(total))
    names = [member.filename.casefold() for member in members]
    if len(set(names)) < len(names):
        # Different readers could choose different parts.
        raise zipfile.BadZipFile


def worksheets(archive: zipfile.ZipFile) -> list[Sheet]:
    """The worksheets in the order of their tabs, without chart sheets and the like."""
    targets: dict[str, str] = {}

    def relation(name: str, attributes: Mapping[str, str]) -> None:
        if local_name(name) == "Relationship" and attributes.get("Type", "").endswith("/worksheet"):
            targets[attributes["Id"]] = posixpath.normpath(posixpath.join("/xl", attributes["Target"]))[1:]

    sheets: list[Sheet] = []
    parts = {member.casefold(): member for member in archive.namelist()}

    def sheet(name: str, attributes: Mapping[str, str]) -> None:
        if local_name(name) != "sheet":
            return
        identity = next((value for key, value in attributes.items() if key.endswith(":id")), "")
        if identity in targets:
            is_visible = attributes.get("state", "visible") == "visible"
            part = parts.get(targets[identity].casefold(), targets[identity])
            sheets.append(Sheet(attributes["name"], is_visible, part))

    try:
        for part, handler in ((_RELATIONS, relation), (_WORKBOOK, sheet)):
            with archive.open(parts[part]) as stream:
                parse(stream, handler)
    except KeyError:
        raise zipfile.BadZipFile from None
    return sheets


def check_shared_parts(archive: zipfile.ZipFile) -> None:
    """Reads the parts that all sheets share, to find damage and wrong sizes early."""
    for member in archive.infolist():
        if member.filename.casefold() in {"xl/sharedstrings.xml", "xl/styles.xml"}:
            with archive.open(member) as stream:
                tail = b""
                while block := stream.read(_BLOCK):
                    if b"<!DOCTYPE" in tail + block:
                        raise zipfile.BadZipFile
                    tail = block[-16:]


def parse(stream: IO[bytes], on_start: object = None, on_end: object = None, on_text: object = None) -> None:
    """Parses XML with handlers for start tags, end tags and text. Refuses document types."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = on_start  # type: ignore[assignment]
    parser.EndElementHandler = on_end  # type: ignore[assignment]
    parser.CharacterDataHandler = on_text  # type: ignore[assignment]
    while block := stream.read(_BLOCK):
        parser.Parse(block, False)
    parser.Parse(b"", True)


def local_name(name: str) -> str:
    """`row` for `x:row`: some programs write every name with a prefix."""
    return name.rpartition(":")[2]


def _refuse(*_: object) -> None:
    raise zipfile.BadZipFile
