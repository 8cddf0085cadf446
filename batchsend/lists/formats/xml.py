"""XML as elements that come one after the other: the trees are built by ElementTree's C code, a row at a time.

Callbacks for every tag (see `package.parse`) take five times as long where all of a cell has to be looked at.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

_BLOCK = 256 * 1024
#: Bytes between the ends of two rows; as long as a row is open, it is held in memory.
_MAX_ROW_BYTES = 64 * 1024 * 1024


def elements(stream: IO[bytes], row: str) -> Iterator[tuple[str, Element]]:
    """Yields `start` and `end` with each element. Who takes a `row` (its tag) at its end is to forget it.

    Raises zipfile.BadZipFile, one of `package.SIGNS_OF_DAMAGE`, if it is no XML or has a document type.
    """
    parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
    since_row = 0
    tail = b""
    try:
        while block := stream.read(_BLOCK):
            if b"<!DOCTYPE" in tail + block:
                raise zipfile.BadZipFile
            tail = block[-16:]
            parser.feed(block)
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


def _events(parser: XMLPullParser[Element]) -> Iterator[tuple[str, Element]]:
    # The annotations of the standard library know of further events, with other things than elements.
    return parser.read_events()  # type: ignore[return-value]
