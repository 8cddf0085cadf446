"""Which format a file is, by its content; its name may say anything."""

from __future__ import annotations

import mmap
import re
import zipfile
from enum import Enum, auto
from pathlib import Path

from batchsend.errors import ListError


class Format(Enum):
    """The formats that can be read."""

    TEXT = auto()
    XLSX = auto()


_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_SAVE_AS = "Open it in the program that made it and save it as .xlsx or .csv."
_DAMAGED_ZIP = "It is a workbook that was cut short or damaged. Copy, download or export it again."
_PASSWORD = "It is protected by a password. Open it in Excel, save it without a password, and try again."  # noqa: S105

# (how a file begins, what it is)
_OTHER_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF87a", "a picture (GIF)"),
    (b"GIF89a", "a picture (GIF)"),
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"7z\xbc\xaf\x27\x1c", "a compressed file (7z)"),
    (b"Rar!\x1a\x07", "a compressed file (RAR)"),
    (b"SQLite format 3\x00", "a database (SQLite)"),
    (b"PAR1", "a Parquet file"),
)
_MARKUP = re.compile(
    rb"\s*<(?:!doctype|!--|\?xml|html|head|meta|body|table|style|script|div|tr|td)\b", re.IGNORECASE
)
# A part that only this format has, and what it is.
_OTHER_ZIPS = (
    ("xl/workbook.bin", "a binary workbook (.xlsb)", _SAVE_AS),
    ("word/document.xml", "a Word document", _SAVE_AS),
    ("ppt/presentation.xml", "a PowerPoint presentation", _SAVE_AS),
    ("content.xml", "an OpenDocument file", _SAVE_AS),
    ("index/document.iwa", "a Numbers document", "Open it in Numbers and export it as Excel or CSV."),
    ("index.zip", "a Numbers document", "Open it in Numbers and export it as Excel or CSV."),
)


def recognise(path: Path) -> Format:
    """The format of a file that exists and is not empty. Raises ListError if it is none that can be read."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(_ZIP):
        return _recognise_zip(path)
    if start.startswith(_OLE):
        raise ListError(path, _describe_ole(path))
    for signature, what in _OTHER_FORMATS:
        if start.startswith(signature):
            raise ListError(path, f"It is {what}, not a list. Export the list as .xlsx or .csv.")
    if _MARKUP.match(start.removeprefix(b"\xef\xbb\xbf").replace(b"\x00", b"")):
        raise ListError(path, f"It is a web page or XML document, whatever its name says. {_SAVE_AS}")
    return Format.TEXT


def _recognise_zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise ListError(path, _DAMAGED_ZIP) from None
    names = {member.filename.casefold() for member in members}
    if "xl/workbook.xml" in names:
        if any(member.flag_bits & 1 for member in members):
            raise ListError(path, _PASSWORD)
        return Format.XLSX
    for part, what, remedy in _OTHER_ZIPS:
        if part in names:
            raise ListError(path, f"It is {what}, which cannot be read. {remedy}")
    raise ListError(path, "It is a zip archive, not a list. Unpack it and name the list inside.")


def _describe_ole(path: Path) -> str:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find("EncryptedPackage".encode("utf-16-le")) >= 0:
            return _PASSWORD
        if content.find("Workbook".encode("utf-16-le")) >= 0 or content.find("Book".encode("utf-16-le")) >= 0:
            return "It is an old Excel workbook (.xls), which cannot be read. Open it in Excel and save it as .xlsx."
    return "It is an Office document, but no workbook. Export the list as .xlsx or .csv."
