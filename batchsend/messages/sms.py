"""The body of a text as it is sent, its encoding and its segments.

Sources: 3GPP TS 23.038 for the alphabet (default alphabet and its extension table), 3GPP TS 23.040 for the sizes (in
a text of several segments, 6 of each segment's 140 octets are a header). All functions are pure.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"
_ESCAPE = "\x1b"

_all_basic = re.compile(f"[{re.escape(_BASIC)}]*").fullmatch
_all_gsm7 = re.compile(f"[{re.escape(_BASIC + _EXTENSION)}]*").fullmatch
_not_gsm7 = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")
_extension = re.compile(f"[{re.escape(_EXTENSION)}]")


class Encoding(StrEnum):
    """The encoding of a text. One character outside GSM-7 makes the whole text UCS-2."""

    GSM7 = "GSM-7"
    UCS2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class SmsSize:
    """The size of a text: `units` are septets (GSM-7) or UTF-16 code units (UCS-2), and `segments` are billed."""

    encoding: Encoding
    units: int
    segments: int


_GSM7_SINGLE, _GSM7_PART = 160, 153
_UCS2_SINGLE, _UCS2_PART = 70, 67


def size(text: str) -> SmsSize:
    """The size of exactly this text; an empty text has 0 segments."""
    if _all_basic(text):
        return _basic_size(len(text))
    if _all_gsm7(text):
        septets = _extension.sub(_ESCAPE + "x", text)
        return SmsSize(Encoding.GSM7, len(septets), _gsm7_segments(septets))
    code_units = _utf16(text)
    return SmsSize(Encoding.UCS2, len(code_units), _ucs2_segments(code_units))


def size_with_opt_out(body: str, opt_out_line: str | None) -> SmsSize:
    """The size of the text that myKaarma sends: `body`, then `opt_out_line` (if any) on a separate line."""
    return size(body if opt_out_line is None else f"{body}\n{opt_out_line}")


def room(size: SmsSize) -> int:
    """How many units fit into this many segments; at least one segment's."""
    single, part = (
        (_GSM7_SINGLE, _GSM7_PART) if size.encoding is Encoding.GSM7 else (_UCS2_SINGLE, _UCS2_PART)
    )
    return single if size.segments <= 1 else size.segments * part


def non_gsm7(text: str) -> tuple[str, ...]:
    """The distinct characters that make `text` UCS-2, in order of first appearance."""
    return tuple(dict.fromkeys(_not_gsm7.findall(text)))


@lru_cache(maxsize=4096)
def _basic_size(units: int) -> SmsSize:
    return SmsSize(Encoding.GSM7, units, _even_segments(units, _GSM7_SINGLE, _GSM7_PART))


def _even_segments(units: int, single: int, part: int) -> int:
    return min(units, 1) if units <= single else -(-units // part)


def _gsm7_segments(septets: str) -> int:
    if len(septets) <= _GSM7_SINGLE:
        return _even_segments(len(septets), _GSM7_SINGLE, _GSM7_PART)
    segments = start = 0
    while start < len(septets):
        start += _GSM7_PART
        start -= septets[start - 1 : start] == _ESCAPE
        segments += 1
    return segments


def _utf16(text: str) -> memoryview:
    return memoryview(text.encode("utf-16-be", "surrogatepass")).cast("B")[::2]


def _ucs2_segments(high_octets: memoryview) -> int:
    """Counts segments. Each code unit has one high octet: 0xD8-0xDB begins a surrogate pair, 0xDC-0xDF ends it."""
    if len(high_octets) <= _UCS2_SINGLE:
        return _even_segments(len(high_octets), _UCS2_SINGLE, _UCS2_PART)
    segments = start = 0
    while start < len(high_octets):
        start += _UCS2_PART
        segments += 1
        if start < len(high_octets):
            straddles = 0xD8 <= high_octets[start - 1] <= 0xDB and 0xDC <= high_octets[start] <= 0xDF
            start -= straddles
    return segments


_line_end = re.compile(r"\r\n|[\r\v\f\x85\u2028\u2029]")
# Half a surrogate pair is not a character and cannot be encoded as UTF-8.
_control = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_blanks = re.compile(r" {2,}")
_blanks_at_line_end = re.compile(r" ?\n ?")
_empty_lines = re.compile(r"\n{3,}")


def normalize(text: str) -> str:
    """The body that is sent, counted and shown; idempotent.

    Line ends of any kind become line feeds and tabs become blanks. Other control characters are removed. Runs of
    blanks become one blank, blanks next to a line end are removed, several empty lines become one, and both ends are
    stripped.
    """
    # A test takes a tenth of the time of a substitution, and most texts need few substitutions.
    if not text.replace("\n", "").isprintable():
        text = _control.sub("", _line_end.sub("\n", text).replace("\t", " "))
    if "  " in text:
        text = _blanks.sub(" ", text)
    if "\n" in text:
        if " \n" in text or "\n " in text:
            text = _blanks_at_line_end.sub("\n", text)
        if "\n\n\n" in text:
            text = _empty_lines.sub("\n\n", text)
    return text.strip()


def is_blank(body: str) -> bool:
    """Whether `body` has only white space and invisible characters, such as zero-width ones."""
    # Nearly every text begins with a letter.
    return not body[:1].isalnum() and all(
        character.isspace() or unicodedata.category(character) == "Cf" for character in body
    )


def _substitutes() -> dict[str, str]:
    groups = {
        '"': "“”„‟«»″‶〝〞❝❞ʺˮ",
        "'": "‘’‚‛‹›′‵ʹʻʼʽˈˊˋ´`❛❜",
        "-": "‐‑‒–—―⁃−⎼⎽•‣◦▪▫●○■□·∙",
        "/": "⁄∕÷⧸",
        "\\": "⧵⧹",
        "*": "∗⁎⊛⧆✢✣✤✥✱✲✳✺✻✼✽❃❉❊❋",
        "~": "˜˷∼",
        "^": "ˆ",
        "|": "∣⏐⎜⎟⎸⎹",
        "_": "‗",
        "=": "꞊",
        "+": "˖",
        ",": "、︐︑",
        ".": "。",
        ":": "ː˸⦂꞉︓",
        ";": "⁏︔",
        "!": "ǃ︕",
        "?": "︖",
        "(": "❨❪⟮⦅",
        ")": "❩❫⟯⦆",
        "{": "❴",
        "}": "❵",
        "x": "×",
        "...": "…",
        "..": "‥",
        "!!": "‼",
        " ": "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
        # Invisible: soft hyphen, zero-width characters, direction marks, variation selectors.
        "": "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
        "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff",
    }
    table = {character: plain for plain, characters in groups.items() for character in characters}
    # Small capitals, used as decoration.
    table |= dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "ABCDEFGHIJKLMNOPRSTUVWYZ", strict=True))
    # Fullwidth and small forms, halfwidth punctuation and fractions: Unicode defines their plain forms.
    for code in chain(
        range(0xFF01, 0xFF65), range(0xFE50, 0xFE6C), (0xBC, 0xBD, 0xBE), range(0x2150, 0x215F)
    ):
        plain = "".join(table.get(part, part) for part in unicodedata.normalize("NFKC", chr(code)))
        if _all_gsm7(plain):
            table[chr(code)] = plain
    return table


_SUBSTITUTES = _substitutes()


def unencodable(text: str) -> tuple[str, ...]:
    """The distinct characters that make `text` UCS-2 and that `smart_encode` cannot replace."""
    return tuple(character for character in non_gsm7(text) if character not in _SUBSTITUTES)


def _plain_for(match: re.Match[str]) -> str:
    plain = _SUBSTITUTES.get(match[0], match[0])
    after_digit = match.string[max(match.start() - 1, 0) : match.start()].isdigit()
    is_fraction = len(plain) > 1 and plain[0].isdigit()
    return f" {plain}" if after_digit and is_fraction else plain  # 2½ is 2 1/2, not 21/2


def smart_encode(text: str) -> str:
    """Replaces typographic characters with plain ones, if that makes the whole text GSM-7; else returns `text`.

    Letters keep their accents. A text with `á` or an emoji is not changed, even its curly quotes, because it is UCS-2
    in any case. Takes and returns a normalized body; a no-break space that becomes a blank is normalized again.
    """
    if _all_gsm7(text):
        return text
    plain = _not_gsm7.sub(_plain_for, unicodedata.normalize("NFC", text))
    return normalize(plain) if _all_gsm7(plain) else text
