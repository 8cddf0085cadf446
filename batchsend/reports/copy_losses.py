"""Finds what a copy of a workbook no longer has: the things in both packages are counted and compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile


class _Kind(NamedTuple):
    """Something in a workbook: its name, its plural, and where it is.

    `parts` matches the names of the package's parts; `mark` matches it in a part, None: each part is one.
    """

    name: str
    plural: str
    parts: re.Pattern[str]
    mark: re.Pattern[bytes] | None = None


def _kind(name: str, parts: str, mark: str | None = None, plural: str | None = None) -> _Kind:
    return _Kind(
        name,
        plural or f"{name}s",
        re.compile(parts, re.IGNORECASE),
        re.compile(mark.encode()) if mark is not None else None,
    )


_SHEET = r"xl/worksheets/[^/]+\.xml"
_DRAWING = r"xl/drawings/[^/]+\.xml"
_VML = r"xl/drawings/[^/]+\.vml"
#: In the order in which they are named.
_KINDS = (
    _kind("picture", _DRAWING, r"<(?:\w+:)?pic[ >]"),
    _kind("chart", r"xl/charts/chart(?:ex)?\d*\.xml"),
    _kind("pivot table", r"xl/pivotTables/[^/]+\.xml"),
    _kind("slicer", r"xl/slicers/[^/]+\.xml", r"<(?:\w+:)?slicer "),
    _kind("timeline", r"xl/timelines/[^/]+\.xml", r"<(?:\w+:)?timeline "),
    _kind("shape or text box", _DRAWING, r"<(?:\w+:)?(?:sp|cxnSp|grpSp)[ >]", "shapes or text boxes"),
    _kind("SmartArt graphic", r"xl/diagrams/data[^/]*\.xml"),
    _kind("button or other control", _VML, r'ObjectType="(?!Note")', "buttons or other controls"),
    _kind("embedded object", r"xl/embeddings/[^/]+"),
    _kind("sparkline", _SHEET, r"<(?:\w+:)?sparkline>"),
    _kind(
        "picture in a page header or footer",
        _SHEET,
        r"<(?:\w+:)?legacyDrawingHF ",
        "pictures in page headers or footers",
    ),
    _kind("background picture", _SHEET, r"<(?:\w+:)?picture "),
    _kind(
        "picture or data type in a cell",
        r"xl/richData/rdrichvalue\.xml",
        r"<(?:\w+:)?rv ",
        "pictures or data types in cells",
    ),
    _kind("comment", r"xl/(?:comments/)?comments?\d*\.xml", r"<(?:\w+:)?comment "),
    _kind(
        "answer in a comment thread",
        r"xl/threadedComments/[^/]+\.xml",
        r"<(?:\w+:)?threadedComment ",
        "comment threads",
    ),
    _kind("data validation", _SHEET, r"<(?:\w+:)?dataValidation "),
    _kind("conditional format", _SHEET, r"<(?:\w+:)?cfRule "),
    _kind("dynamic array formula", _SHEET, r'<(?:\w+:)?c [^>]*\bcm="'),
    _kind("table", r"xl/tables/[^/]+\.xml"),
    _kind("named range", r"xl/workbook\.xml", r"<(?:\w+:)?definedName (?![^>]*_FilterDatabase)"),
    _kind("link to another workbook", r"xl/externalLinks/[^/]+\.xml", plural="links to other workbooks"),
    _kind("data connection", r"xl/connections\.xml", r"<(?:\w+:)?connection "),
    _kind("data model", r"xl/model/[^/]+"),
    _kind("custom view", _SHEET, r"<(?:\w+:)?customSheetView "),
    _kind(
        "sheet of old macros or dialogs",
        r"xl/(?:macrosheets|dialogsheets)/[^/]+\.xml",
        plural="sheets of old macros or dialogs",
    ),
    _kind("set of macros", r"xl/vbaProject\.bin", plural="sets of macros"),
    _kind("signature of the macros", r"xl/_rels/vbaProject\.bin\.rels", plural="signatures of the macros"),
    _kind("digital signature", r"_xmlsignatures/[^/]+\.xml"),
    _kind("sensitivity label", r"docMetadata/LabelInfo\.xml"),
)
#: Content for programs that do not know a newer feature. It would be counted as well as the feature.
_FOR_OLDER = re.compile(rb"<(?:\w+:)?AlternateContent\b.*?</(?:\w+:)?AlternateContent>", re.DOTALL)


def losses(original: Path, copy: Path) -> list[str]:
    """What `original` has and `copy` has not, by name: `2 pictures`, `1 slicer`."""
    lost = _contents(original)
    lost.subtract(_contents(copy))
    return [
        f"{lost[kind]:,} {kind.name if lost[kind] == 1 else kind.plural}" for kind in _KINDS if lost[kind] > 0
    ]


def _contents(path: Path) -> Counter[_Kind]:
    with ZipFile(path) as archive:
        return Counter(kind for name in archive.namelist() for kind in _found(archive, name))


def _found(archive: ZipFile, name: str) -> Iterator[_Kind]:
    """What is in one part, each kind as often as it is there."""
    kinds = [kind for kind in _KINDS if kind.parts.fullmatch(name)]
    marked = [kind for kind in kinds if kind.mark is not None]
    content = _FOR_OLDER.sub(b"", archive.read(name)) if marked else b""
    for kind in kinds:
        count = 1 if kind.mark is None else sum(1 for _ in kind.mark.finditer(content))
        yield from [kind] * count
