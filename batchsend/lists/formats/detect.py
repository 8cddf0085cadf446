"""Detects the format of a file from its content; the name matters only for queries."""

from __future__ import annotations

import mmap
import re
import zipfile
import zlib
from enum import Enum, auto
from pathlib import Path

from batchsend.errors import ListError
from batchsend.lists.source import QUERY_ENDING


class Format(Enum):
    """The formats that can be read."""

    TEXT = auto()
    XLSX = auto()
    XLS = auto()
    ODS = auto()
    HTML = auto()
    SPREADSHEETML = auto()
    PARQUET = auto()
    QUERY = auto()
    EXTENSION = auto()


_ZIP = b"PK\x03\x04"
_PARQUET = b"PAR1"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_SAVE_AS = "Open it in the program that made it and save it as .xlsx or .csv."
#: The content type of the part with the list of the sheets.
WORKBOOK_TYPE = re.compile(
    rb"(?:spreadsheetml\.(?:sheet|template)|ms-excel\.(?:sheet|template)\.macroEnabled)\.main\+xml",
    re.IGNORECASE,
)
DAMAGED = (
    "It is a workbook that was cut short or damaged. Open it in Excel and save it again, or export it again."
)
LOCKED = "It is protected by a password. Open it in Excel, save it without a password, and try again."
_DAMAGED_ZIP = "It is a workbook that was cut short or damaged. Copy, download or export it again."
_FROM_NUMBERS = "Open it in Numbers and export it as Excel or CSV."

# (first bytes, description)
_REFUSED_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF87a", "a picture (GIF)"),
    (b"GIF89a", "a picture (GIF)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"\x00\x00\x00\x18ftypheic", "a picture (HEIC)"),
    (b"\x00\x00\x00\x24ftypheic", "a picture (HEIC)"),
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"\xfd7zXZ\x00", "a compressed file (xz)"),
    (b"7z\xbc\xaf\x27\x1c", "a compressed file (7z)"),
    (b"Rar!\x1a\x07", "a compressed file (RAR)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"SQLite format 3\x00", "a database (SQLite)"),
    (b"\x00\x01\x00\x00Standard Jet DB", "a database (Access)"),
    (b"\x00\x01\x00\x00Standard ACE DB", "a database (Access)"),
    (b"PARE", "an encrypted Parquet file"),
    (b"BEGIN:VCARD", "a file of contacts (vCard)"),
)
_MARKUP = re.compile(
    rb"\s*<(?:!doctype|!--|\?xml|html|head|meta|title|body|center|table|thead|tbody|style|script|div|font|tr|td|th)\b",
    re.IGNORECASE,
)
_XML = re.compile(rb"\s*<\?xml\b", re.IGNORECASE)
_SPREADSHEETML = re.compile(rb"<(?:\w+:)?Workbook\b[^>]*urn:schemas-microsoft-com:office:spreadsheet")
_HTML = re.compile(rb"<(?:html|table)\b", re.IGNORECASE)
_WEB_ARCHIVE = re.compile(rb"MIME-Version:|From: <Saved by", re.IGNORECASE)
# `Workbook`, or `Book` in Excel 95. Some programs write it in capitals.
_BOOK = re.compile("book".encode("utf-16-le"), re.IGNORECASE)
_GOOGLE_LINK = re.compile(rb'\s*\{[^}]*(?:docs\.google\.com|"doc_id")')
_JSON = re.compile(rb'\s*(?:\[\s*)?\{\s*"')
# (a part that only this format has, description, what to do)
_REFUSED_ZIPS = (
    ("xl/workbook.bin", "a binary workbook (.xlsb)", _SAVE_AS),
    ("word/document.xml", "a Word document", _SAVE_AS),
    ("ppt/presentation.xml", "a PowerPoint presentation", _SAVE_AS),
    ("content.xml", "an OpenDocument file other than a spreadsheet", _SAVE_AS),
    ("index/document.iwa", "a Numbers document", _FROM_NUMBERS),
    ("index.zip", "a Numbers document", _FROM_NUMBERS),
)
_ODS_TYPE = b"application/vnd.oasis.opendocument.spreadsheet"


def detect(path: Path) -> Format:
    """The format of an existing, non-empty file. Raises ListError if it cannot be read."""
    if path.suffix.lower() == QUERY_ENDING:
        return Format.QUERY
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(_ZIP):
        return _detect_zip(path)
    if start.startswith(_PARQUET):
        return Format.PARQUET
    if start.startswith(_OLE):
        return _detect_ole(path)
    for signature, what in _REFUSED_FORMATS:
        if start.startswith(signature):
            raise ListError(path, f"It is {what}, not a list. Export the list as .xlsx or .csv.")
    return _detect_text(path, start.removeprefix(b"\xef\xbb\xbf").replace(b"\x00", b"").lstrip(b"\xff\xfe"))


def _detect_text(path: Path, start: bytes) -> Format:
    if _MARKUP.match(start):
        if _SPREADSHEETML.search(start):
            return Format.SPREADSHEETML
        if _XML.match(start) and not _HTML.search(start):
            raise ListError(path, f"It is an XML document, not a list. {_SAVE_AS}")
        return Format.HTML
    if _WEB_ARCHIVE.match(start):
        raise ListError(
            path, "It is a web archive (.mht), which cannot be read. Open it in Excel and save it as .xlsx."
        )
    if _GOOGLE_LINK.match(start):
        raise ListError(
            path,
            "It is only a link to a Google sheet. Open the sheet, choose File > Download > Microsoft Excel, and name "
            "the downloaded file.",
        )
    if _JSON.match(start):
        raise ListError(path, "It is a JSON document, not a list. Export the list as .xlsx or .csv.")
    return Format.TEXT


def _detect_zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            kind = _opendocument_type(archive)
            types = _content_types(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error):
        raise ListError(path, _DAMAGED_ZIP) from None
    # Some .NET programs write `\\` in the names of parts.
    names = {member.filename.replace("\\", "/").casefold() for member in members}
    if "xl/workbook.xml" in names or WORKBOOK_TYPE.search(types):
        if any(member.flag_bits & 1 for member in members):
            raise ListError(path, LOCKED)
        return Format.XLSX
    if kind.startswith(_ODS_TYPE):
        return Format.ODS
    for part, what, remedy in _REFUSED_ZIPS:
        if part in names:
            raise ListError(path, f"It is {what}, which cannot be read. {remedy}")
    raise ListError(path, "It is a zip archive, not a list. Unpack it and name the list inside.")


def _opendocument_type(archive: zipfile.ZipFile) -> bytes:
    """The type that an OpenDocument file declares; empty for other files."""
    if "mimetype" not in archive.namelist():
        return b""
    with archive.open("mimetype") as part:
        return part.read(100)


def _content_types(archive: zipfile.ZipFile) -> bytes:
    """The part of an Office document that lists the types of its parts; empty for other files."""
    name = next((name for name in archive.namelist() if name.casefold() == "[content_types].xml"), None)
    # It can be in UTF-16.
    return archive.read(name).replace(b"\0", b"") if name else b""


def _detect_ole(path: Path) -> Format:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find("EncryptedPackage".encode("utf-16-le")) >= 0:
            raise ListError(path, LOCKED)
        if _BOOK.search(content):
            return Format.XLS
        if _directory_is_missing(content[:52], len(content)):
            raise ListError(path, DAMAGED)
    raise ListError(path, "It is an Office document, but not a workbook. Export the list as .xlsx or .csv.")


def _directory_is_missing(header: bytes, size: int) -> bool:
    """Whether the file ends before its directory."""
    if len(header) < 52:
        return True
    sector_size = 1 << min(int.from_bytes(header[30:32], "little"), 16)
    first_sector = int.from_bytes(header[48:52], "little")
    return (first_sector + 1) * sector_size >= size
