"""Sheets read from XML as a stream: ElementTree's C code builds one row at a time.

Callbacks for every tag would take five times as long.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO, Protocol
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from batchsend.lists.formats.streaming import RepeatedRow

# The namespaces of workbooks that Excel saved as "Strict Open XML" and as usual. openpyxl knows only the usual one.
_STRICT = b"http://purl.oclc.org/ooxml/spreadsheetml/main"
_USUAL = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"

_BLOCK = 256 * 1024
#: Bytes between the ends of two rows. A row stays in memory until it ends.
_MAX_ROW_BYTES = 64 * 1024 * 1024


class SheetHandler(Protocol):
    """Turns the elements of one document into rows; one class per format."""

    row: str  #: the tag of a row
    containers: frozenset[str]  #: the tags of rows and of the elements around rows
    settings: frozenset[str]  #: the tags of other elements that say something of sheets or cells

    def start(self, element: Element) -> None:
        """A row or container begins."""

    def end(self, element: Element) -> RepeatedRow | None:
        """A row or container ends. Returns the row that it completes and removes it from its parent."""

    def apply(self, setting: Element) -> None:
        """Takes in one of the `settings`."""


def read_rows(stream: IO[bytes], handler: SheetHandler) -> Iterator[RepeatedRow]:
    """Yields the rows of all sheets.

    Raises `zipfile.BadZipFile`, one of `package.DAMAGE_ERRORS`, if this is not XML or has a document type.
    """
    containers, settings = handler.containers, handler.settings
    for event, element in elements(stream, handler.row):
        if element.tag in containers:
            if event == "start":
                handler.start(element)
            elif (row := handler.end(element)) is not None:
                yield row
        elif event == "end" and element.tag in settings:
            handler.apply(element)


def elements(stream: IO[bytes], row: str = "") -> Iterator[tuple[str, Element]]:
    """Yields `start` and `end` with each element. `row` is the tag of a row. Raises like `read_rows`."""
    parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
    since_row = 0
    tail = b""
    try:
        while block := stream.read(_BLOCK):
            if has_document_type(tail + block):
                raise zipfile.BadZipFile
            parser.feed(block if tail else block.replace(_STRICT, _USUAL))
            tail = block[-16:]
            since_row += len(block)
            for event, element in _events(parser):
                if event == "end" and element.tag == row:
                    since_row = 0
                yield event, element
            if since_row > _MAX_ROW_BYTES:
                raise zipfile.BadZipFile
        parser.close()
        yield from _events(parser)
    except ParseError as error:
        raise zipfile.BadZipFile from error


def has_document_type(xml: bytes) -> bool:
    """Whether `xml`, in UTF-8 or UTF-16, may declare entities, which could expand without bounds."""
    return b"<!DOCTYPE" in xml or (b"\0" in xml and b"<!DOCTYPE" in xml.replace(b"\0", b""))


def _events(parser: XMLPullParser[Element]) -> Iterator[tuple[str, Element]]:
    # The standard library's annotations allow for other events, which carry other things than elements.
    return parser.read_events()  # type: ignore[return-value]
