"""Opens a workbook's zip package, checks its size and finds its parts."""

from __future__ import annotations

import errno
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.parsers import expat

from batchsend.errors import ListError
from batchsend.lists.formats.detect import DAMAGED, WORKBOOK_TYPE
from batchsend.lists.formats.xml import elements, has_document_type

#: Bytes of all parts of a workbook together, unpacked.
MAX_UNPACKED_SIZE = 4 * 1024 * 1024 * 1024
#: Unpacked bytes per packed byte; real sheets stay below 60, and zip bombs are above 900.
MAX_RATIO = 300
# Below this size the ratio is not checked.
_RATIO_CHECKED_ABOVE = 64 * 1024 * 1024

_BLOCK = 256 * 1024
_USUAL_PARTS = ("xl/workbook.xml", "xl/sharedstrings.xml", "xl/styles.xml")
_CONTENT_TYPES = "[Content_Types].xml"
# The beginning of a part that is not in UTF-8.
_OTHER_ENCODING = re.compile(
    rb"""\xff\xfe|\xfe\xff|<\0|\0<|(?:\xef\xbb\xbf)?<\?xml[^>]*encoding=["'](?!utf-8["'])""", re.IGNORECASE
)

#: What zip and XML readers raise for a damaged file. LookupError means a missing part or an unknown encoding,
#: ValueError an invalid number or position.
DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ParseError,
    expat.ExpatError,
    LookupError,
    ValueError,
)
_BOMB = "It is too large: unpacked it would take {:,} bytes. Export only the list, without other sheets or pictures."


@dataclass(frozen=True)
class Sheet:
    """A worksheet. `part` is the name of its file in the package."""

    name: str
    is_visible: bool
    part: str


@dataclass(frozen=True)
class Package:
    """A workbook's parts."""

    archive: zipfile.ZipFile
    sheets: tuple[Sheet, ...]  #: in the order of their tabs, without chart sheets and the like
    strings: str | None  #: the part with the shared strings
    styles: str | None
    is_usual: bool  #: whether the parts are where every reader looks for them, and in UTF-8
    starts_in_1904: bool  #: whether dates count from 1904

    @classmethod
    def of(cls, archive: zipfile.ZipFile) -> Package:
        """Raises one of `DAMAGE_ERRORS` if a part is missing or damaged."""
        main = _workbook_part(archive)
        folder, name = posixpath.split(main)
        relations = _relations(archive, posixpath.join(folder, "_rels", f"{name}.rels"), folder)
        targets = {identity: part for identity, kind, part in relations if kind == "worksheet"}
        shared = {kind: part for _, kind, part in relations if part in archive.NameToInfo}
        members = {name.casefold(): name for name in archive.NameToInfo}
        # A part without a relation is taken if it is where it usually is.
        strings = shared.get("sharedStrings", members.get(_USUAL_PARTS[1]))
        styles = shared.get("styles", members.get(_USUAL_PARTS[2]))
        sheets, starts_in_1904 = [], False
        for element in _tree(archive, main).iter():
            tag = local_name(element.tag)
            if tag == "sheet":
                key = next((value for key, value in element.items() if key.endswith("}id")), "")
                if key in targets:
                    is_visible = element.get("state", "visible") == "visible"
                    sheets.append(Sheet(element.attrib["name"], is_visible, targets[key]))
            elif tag == "workbookPr":
                # An extension of the same name follows the element that says it.
                starts_in_1904 |= element.get("date1904") in {"1", "true"}
        is_usual = all(
            part == members.get(usual) and (part is None or _is_utf8(archive, part))
            for part, usual in zip((main, strings, styles), _USUAL_PARTS, strict=True)
        )
        return cls(archive, tuple(sheets), strings, styles, is_usual, starts_in_1904)

    def number_formats(self, builtin: Mapping[int, str]) -> list[str]:
        """The number format of each style of cells. `builtin` has the formats that files only number."""
        formats, numbers = dict(builtin), []
        for group, element in self._style_elements():
            number = int(element.get("numFmtId", 0))
            if group == "numFmts":
                formats[number] = element.get("formatCode", "")
            elif group == "cellXfs":
                numbers.append(number)
        return [formats.get(number, "") for number in numbers]

    def _style_elements(self) -> Iterator[tuple[str, Element]]:
        """Yields the elements of the styles part, each with the name of its group."""
        if self.styles is None:
            return
        opened: list[Element] = []
        with self.archive.open(self.styles) as stream:
            for event, element in elements(stream):
                if event == "start":
                    opened.append(element)
                    continue
                opened.pop()
                if len(opened) == 2:
                    yield local_name(opened[1].tag), element
                    opened[1].clear()


@contextmanager
def open_package(path: Path, content: IO[bytes] | None = None) -> Iterator[zipfile.ZipFile]:
    """Opens the package of the workbook at `path`, or its `content`. Part names get slashes.

    Any damage found while it is open becomes a ListError.
    """
    try:
        with zipfile.ZipFile(content or path) as archive:
            _check_sizes(path, archive)
            for member in archive.infolist():
                member.filename = member.filename.replace("\\", "/")
                archive.NameToInfo[member.filename] = member
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
    names = [member.filename.replace("\\", "/").casefold() for member in members]
    if len(set(names)) < len(names):
        # Different readers could choose different parts.
        raise zipfile.BadZipFile


def _workbook_part(archive: zipfile.ZipFile) -> str:
    """The part with the list of the sheets."""
    usual = _USUAL_PARTS[0]
    related = [part for _, kind, part in _relations(archive, "_rels/.rels", "") if kind == "officeDocument"]
    declared = [
        element.get("PartName", "").lstrip("/")
        for element in (_tree(archive, _CONTENT_TYPES) if _CONTENT_TYPES in archive.NameToInfo else ())
        if WORKBOOK_TYPE.search(element.get("ContentType", "").encode())
    ]
    found = (part for part in (*related, *declared, usual) if part in archive.NameToInfo)
    return next(found, usual)


def _relations(archive: zipfile.ZipFile, part: str, folder: str) -> list[tuple[str, str, str]]:
    """Id, kind and target of each relation that `part` lists; none if the part is missing."""
    members = {name.casefold(): name for name in archive.NameToInfo}
    if part.casefold() not in members:
        return []
    found = []
    for element in _tree(archive, members[part.casefold()]):
        target = element.get("Target", "").replace("\\", "/")
        target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
        kind = element.get("Type", "").rpartition("/")[2]
        found.append((element.get("Id", ""), kind, members.get(target.casefold(), target)))
    return found


def _tree(archive: zipfile.ZipFile, part: str) -> Element:
    content = archive.read(part)
    if has_document_type(content):
        raise zipfile.BadZipFile
    return fromstring(content)  # noqa: S314 - without a document type, no entity can expand


def _is_utf8(archive: zipfile.ZipFile, part: str) -> bool:
    """Reads the whole part, to find damage early. Raises zipfile.BadZipFile for a document type."""
    with archive.open(part) as stream:
        start = tail = stream.read(_BLOCK)
        while tail:
            if has_document_type(tail):
                raise zipfile.BadZipFile
            block = stream.read(_BLOCK)
            tail = block and tail[-16:] + block
    return _OTHER_ENCODING.match(start) is None


def local_name(name: str) -> str:
    """`row` for `{namespace}row`."""
    return name.rpartition("}")[2]
