"""Compares encodings, units and segments with Twilio's public calculator, over thousands of texts.

`data/make_segments.js` makes the data (`make segments`) and describes them. One rule of the calculator differs: it
never splits a grapheme cluster (a letter with a combining accent, joined emoji, a flag) between segments. Phone
networks split between any code units except surrogate pairs. For such texts the data has a fourth number: the
segments that the calculator counts for single code points.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchsend.messages.sms import Encoding, normalize, size, smart_encode

#: Without and with the calculator's smart encoding: texts where keeping clusters whole makes more segments, and texts
#: with a cluster larger than a segment, which the calculator counts as one segment.
MORE_SEGMENTS, FEWER_SEGMENTS = (87, 74), (1, 1)


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    content = gzip.decompress((Path(__file__).parents[1] / "data" / "segments.json.gz").read_bytes())
    return dict(json.loads(content))


def texts(data: dict[str, Any]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Each text with the calculator's numbers, without and with its smart encoding."""
    pieces = data["pieces"]
    for runs, plain, smart in data["texts"]:
        text = "".join(pieces[number] * times for number, times in zip(runs[::2], runs[1::2], strict=True))
        yield text, plain, smart


def as_encoded(text: str, data: dict[str, Any]) -> str:
    """`text` in the calculator's smart encoding."""
    return "".join(data["smart"].get(character, character) for character in text)


def ours(text: str) -> list[int]:
    measured = size(text)
    return [int(measured.encoding is Encoding.UCS2), measured.units, measured.segments]


def test_the_data_cover_all_boundaries(data: dict[str, Any]) -> None:
    all_texts = [text for text, _, _ in texts(data)]
    assert len(set(all_texts)) == len(all_texts) >= 5000
    assert {1, 160, 161, 306, 307, 459, 460} <= {ours(text)[1] for text in all_texts if not ours(text)[0]}
    assert {70, 71, 134, 135, 201, 202} <= {ours(text)[1] for text in all_texts if ours(text)[0]}


def test_without_smart_encoding(data: dict[str, Any]) -> None:
    more = fewer = 0
    for text, expected, _ in texts(data):
        assert ours(text) == [*expected[:2], expected[-1]], ascii(text)
        more += expected[2] > expected[-1]
        fewer += expected[2] < expected[-1]
    assert (more, fewer) == (MORE_SEGMENTS[0], FEWER_SEGMENTS[0])


def test_with_smart_encoding(data: dict[str, Any]) -> None:
    more = fewer = emptied = 0
    for text, _, expected in texts(data):
        encoded = as_encoded(text, data)
        more += expected[2] > expected[-1]
        fewer += expected[2] < expected[-1]
        if encoded:
            assert ours(encoded) == [*expected[:2], expected[-1]], ascii(text)
        else:  # only invisible characters: the encoded text is empty, for which the calculator counts one segment
            emptied += 1
            assert expected == [0, 0, 1]
    assert (more, fewer, emptied) == (MORE_SEGMENTS[1], FEWER_SEGMENTS[1], 6)


# Our smart encoding and the calculator's

#: Characters between two letters that the calculator replaces differently; both results are normalized.
OTHERWISE = {
    # Quotation marks: the calculator makes a comma and comparison signs.
    "‚": "a'b",
    "‹": "a'b",
    "›": "a'b",
    # Commas of vertical writing: the calculator makes apostrophes.
    "︐": "a,b",
    "︑": "a,b",
    # Line ends: the calculator makes blanks.
    "\u2028": "a\nb",
    "\u2029": "a\nb",
    # Control characters, which we remove: the calculator makes blanks.
    "\x80": "ab",
    "\x8d": "ab",
    "\x90": "ab",
    "\x9b": "ab",
    "\x9f": "ab",
}
#: Combining marks: the calculator writes a sign after the letter (n~ for ñ); we keep the accent.
MARKS = "\u0302\u0303\u0313\u0314\u0326\u0330\u0332\u0334\u0337\u0338\u0347\u1dcd\u20d2\u20d3\u20e5"


def test_each_character_is_replaced_as_by_the_calculator_or_differs_on_purpose(data: dict[str, Any]) -> None:
    replaced_here_only = set()
    for character in map(chr, range(0x10000)):
        between = normalize(f"a{character}b")
        here, there = smart_encode(between), normalize(as_encoded(f"a{character}b", data))
        if character in OTHERWISE:
            assert here == OTHERWISE[character] != there
        elif character in MARKS:
            assert here == between != there
        elif character in data["smart"]:
            assert here == there, ascii(character)
        elif here != there:
            assert size(here).encoding is Encoding.GSM7, ascii(character)
            replaced_here_only.add(character)
    # Direction marks, fractions, small full-width letters, more dashes and bullets; composed letters such as à.
    assert {"\u200e", "\u2011", "\u2212", "⅓", "ａ", "●", "′", "\u0300", "\u212b"} <= replaced_here_only
    assert not set(OTHERWISE) - set(data["smart"])


def test_texts_without_such_characters_are_encoded_as_by_the_calculator(data: dict[str, Any]) -> None:
    apart = {*OTHERWISE, *MARKS, *"¼½¾"}  # we put a blank between a digit and a fraction: 2½ is 2 1/2
    equal = unchanged = 0
    for text, _, expected in texts(data):
        body = normalize(text)
        here = smart_encode(body)
        if expected[0] == 0 and not apart.intersection(text):
            assert here == normalize(as_encoded(text, data)), ascii(text)
            equal += 1
        elif size(here).encoding is Encoding.UCS2:
            # The calculator replaces characters here too, which changes the text without saving anything.
            assert here == body, ascii(text)
            unchanged += 1
    assert equal > 2000
    assert unchanged > 1500
