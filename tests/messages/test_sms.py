"""Bodies, encodings and segments, compared with the tables of the standards and with a slow count unit by unit."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchsend.messages.sms import (
    Encoding,
    SmsSize,
    is_blank,
    non_gsm7,
    normalize,
    size,
    size_with_opt_out,
    smart_encode,
)

# 3GPP TS 23.038, section 6.2.1, column by column; 0x1B is the escape to the extension table.
GSM7_TABLE = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
BASIC = GSM7_TABLE.replace("\x1b", "")
EXTENSION = "\f^{}\\[~]|€"

gsm7_texts = st.text(st.sampled_from(BASIC + EXTENSION * 6), max_size=500)
ucs2_texts = st.text(st.sampled_from("aé\u0301漢“😀👍🏽\u200d"), max_size=220)
any_texts = st.one_of(gsm7_texts, ucs2_texts, st.text(max_size=250))
messy_texts = st.text(st.sampled_from(" \n\t\r\v\x00a“…\u00a0\u2009\u2028\u200b½2é\u0301"), max_size=40)


def counted_slowly(text: str) -> SmsSize:
    """Counts segments by placing one character at a time."""
    if all(character in BASIC + EXTENSION for character in text):
        encoding, single, part = Encoding.GSM7, 160, 153
        widths = [2 if character in EXTENSION else 1 for character in text]
    else:
        encoding, single, part = Encoding.UCS2, 70, 67
        widths = [2 if ord(character) > 0xFFFF else 1 for character in text]
    if sum(widths) <= single:
        return SmsSize(encoding, sum(widths), 1 if text else 0)
    segments, room = 1, part
    for width in widths:
        if width > room:
            segments, room = segments + 1, part
        room -= width
    return SmsSize(encoding, sum(widths), segments)


def test_the_alphabet_is_complete() -> None:
    assert len(GSM7_TABLE) == 128
    for character in BASIC:
        assert size(character) == SmsSize(Encoding.GSM7, 1, 1)
    for character in EXTENSION:
        assert size(character) == SmsSize(Encoding.GSM7, 2, 1)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", Encoding.GSM7, 0, 0),
        ("a" * 160, Encoding.GSM7, 160, 1),  # the longest text in one segment
        ("a" * 161, Encoding.GSM7, 161, 2),  # from here on, each segment has a header of 7 septets
        ("a" * 306, Encoding.GSM7, 306, 2),
        ("a" * 307, Encoding.GSM7, 307, 3),
        ("a" * 459, Encoding.GSM7, 459, 3),
        ("€" * 80, Encoding.GSM7, 160, 1),  # two septets each
        ("a" * 159 + "€", Encoding.GSM7, 161, 2),
        ("€" * 81, Encoding.GSM7, 162, 2),
        # The sign cannot straddle two segments: 152 + 153 + 1, not 153 + 153.
        ("a" * 152 + "€" + "a" * 152, Encoding.GSM7, 306, 3),
        ("a" * 151 + "€" + "a" * 153, Encoding.GSM7, 306, 2),  # it ends the first segment exactly
        ("a" * 153 + "€" + "a" * 151, Encoding.GSM7, 306, 2),  # it begins the second segment
        ("€" * 153, Encoding.GSM7, 306, 3),  # 76 per segment, with one septet unused
        ("á" * 70, Encoding.UCS2, 70, 1),  # á is not in GSM-7
        ("á" * 71, Encoding.UCS2, 71, 2),
        ("á" * 134, Encoding.UCS2, 134, 2),
        ("á" * 135, Encoding.UCS2, 135, 3),
        ("a" * 69 + "“", Encoding.UCS2, 70, 1),  # one curly quote makes the whole text UCS-2
        ("😀" * 35, Encoding.UCS2, 70, 1),
        ("😀" * 36, Encoding.UCS2, 72, 2),
        ("a" * 66 + "😀" + "a" * 66, Encoding.UCS2, 134, 3),  # the pair cannot straddle: 66 + 67 + 1
        ("a" * 65 + "😀" + "a" * 67, Encoding.UCS2, 134, 2),  # the pair ends the first segment
        ("a" * 67 + "😀" + "a" * 65, Encoding.UCS2, 134, 2),  # the pair begins the second
        ("\ud83d" * 71, Encoding.UCS2, 71, 2),  # unpaired halves
        ("a\x1b", Encoding.UCS2, 2, 1),  # an escape is not a character of the alphabet
        ("ñ é ü ¿ ¡ ò Ç", Encoding.GSM7, 13, 1),  # Spanish in GSM-7
    ],
)
def test_boundaries(text: str, encoding: Encoding, units: int, segments: int) -> None:
    assert size(text) == SmsSize(encoding, units, segments)


@given(any_texts)
@example("a" * 152 + "€" * 200)
@example("a" * 66 + "😀" * 100)
def test_segments_match_the_slow_count(text: str) -> None:
    assert size(text) == counted_slowly(text)


def test_the_opt_out_line_counts_on_a_separate_line() -> None:
    assert size_with_opt_out("a" * 139, "Text STOP to opt-out") == SmsSize(Encoding.GSM7, 160, 1)
    assert size_with_opt_out("a" * 140, "Text STOP to opt-out") == SmsSize(Encoding.GSM7, 161, 2)
    assert size_with_opt_out("a" * 160, None) == SmsSize(Encoding.GSM7, 160, 1)


def test_characters_outside_gsm7() -> None:
    assert non_gsm7("“Olá”, “José” – ñ é €") == ("“", "á", "”", "–")
    assert non_gsm7("plain {text} €") == ()


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),  # Windows, old Mac, Unix
        ("a\u2028b\x85c\vd", "a\nb\nc\nd"),  # line ends of Word and Excel
        ("a\tb", "a b"),
        ("a\x00b\x7fc\x9bd", "abcd"),
        ("a \t  b", "a b"),
        ("a \n b", "a\nb"),
        ("a \x00 b", "a b"),  # blanks around a removed character become one
        ("a\n\n\n\nb", "a\n\nb"),
        ("a\n \n\t\nb", "a\n\nb"),  # lines of blanks are empty lines
        (" \n a \n ", "a"),
        ("\u00a0 a\u00a0", "a"),  # white space of any kind is removed at the ends ...
        ("a\u00a0b", "a\u00a0b"),  # ... and kept inside
        ("\ud83d", ""),  # half an emoji cannot be sent
        ("👩\u200d🔧", "👩\u200d🔧"),  # the joiner inside an emoji is not a control character
        ("", ""),
    ],
)
def test_bodies(text: str, body: str) -> None:
    assert normalize(text) == body


@given(st.one_of(messy_texts, st.text(max_size=60)))
def test_a_body_is_normalized_and_stable(text: str) -> None:
    body = normalize(text)
    assert normalize(body) == body
    assert body == body.strip()
    assert not any(untidy in body for untidy in ("  ", " \n", "\n ", "\n\n\n", "\t", "\r", "\x00"))
    assert body.encode("utf-8").decode("utf-8") == body


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("“It’s ready” – see you…", '"It\'s ready" - see you...'),
        ("10:00\u202fAM – 2\u00a0PM", "10:00 AM - 2 PM"),
        ("• oil\n• tires", "- oil\n- tires"),
        ("Ｈｅｌｌｏ！", "Hello!"),
        ("cafe\u0301", "café"),  # as a Mac writes it: two characters for one of GSM-7
        ("2½ hours, ½ price", "2 1/2 hours, 1/2 price"),  # never 21/2
        ("a\u200bb\ufeff", "ab"),
        ("a \u00a0 b\u00a0\nc", "a b\nc"),  # no-break spaces become ordinary blanks
        ("“Olá”", "“Olá”"),  # á is kept, so replacing the quotes would not help
        ("“Hi” 😀", "“Hi” 😀"),
        ("plain €", "plain €"),
    ],
)
def test_smart_encoding(text: str, encoded: str) -> None:
    assert smart_encode(normalize(text)) == encoded


@pytest.mark.parametrize(
    ("body", "blank"),
    [
        ("", True),
        ("\u200b", True),  # an invisible text
        ("\u200e \u2060\u00a0\n", True),
        (".", False),
        ("\u200b😀", False),
    ],
)
def test_invisible_bodies_are_blank(body: str, blank: bool) -> None:
    assert is_blank(body) is blank


@given(st.one_of(messy_texts, any_texts))
def test_smart_encoding_is_stable(text: str) -> None:
    body = normalize(text)
    encoded = smart_encode(body)
    assert smart_encode(encoded) == normalize(encoded) == encoded
    assert encoded == body or size(encoded).encoding is Encoding.GSM7
