"""Converts names in capitals, as dealership systems export them, to their usual spelling.

Uses rules instead of a dictionary. Only `Mc` is split, because `MACY` and `MACHADO` are more common than `MacDonald`.
A company's initials (`BMW`) are treated like a name. Names in mixed case are not changed.
"""

from __future__ import annotations

import re
from functools import lru_cache

# In lists from a Mac, an accent may be a separate character after its letter.
_LETTERS = "(?:[^\\W\\d_][\u0300-\u036f]*)+"
_letters = re.compile(f"{_LETTERS}(?:['’‘ʼ`]{_LETTERS})*")
_letters_between_apostrophes = re.compile(_LETTERS)
_ORDINAL_ENDINGS = frozenset({"st", "nd", "rd", "th"})
_SPELLED = {
    "ii": "II",
    "iii": "III",
    "iv": "IV",
    "vii": "VII",
    "viii": "VIII",
    "llc": "LLC",
    "llp": "LLP",
    "pllc": "PLLC",
    "lp": "LP",
    "pc": "PC",
    "dba": "DBA",
    "usa": "USA",
    "md": "MD",
    "dds": "DDS",
    "dvm": "DVM",
    "phd": "PhD",
    "rn": "RN",
    "cpa": "CPA",
    "aj": "AJ",
}
_SPELLED_LATER = {"vi": "VI", "and": "and", "or": "or", "of": "of"}  # as a first word, Vi is a woman's name
# Two letters without a vowel are initials (TJ, JD), except these.
_ABBREVIATIONS = frozenset({"dr", "jr", "mr", "ms", "ng", "sr", "st", "mc", "ft", "mt", "wm", "ln", "rd"})
_PARTICLES = frozenset({"de", "del", "da", "das", "dos", "la", "las", "los", "von", "van", "der", "den", "y"})
_AFTER_DE = frozenset({"la", "las", "los"})
_AFTER_VAN = frozenset({"de", "der", "den"})


@lru_cache(maxsize=65_536)
def name_case(text: str) -> str:
    """`JOHN O'BRIEN` -> `John O'Brien`, `MCDONALD` -> `McDonald`, `MARIA DE LA CRUZ` -> `Maria de la Cruz`.

    Applies to text entirely in upper or lower case; other text is returned unchanged. The first word is capitalized
    (`DE LEON` -> `De Leon`, the usual American spelling), unless two particles begin a surname (`DE LA CRUZ` ->
    `de la Cruz`, `VAN DER BERG` -> `van der Berg`).
    """
    if text != text.upper() and text != text.lower():
        return text
    words = _lower(text).split(" ")
    return " ".join(
        word if _is_particle(words, position) else _letters.sub(_spell_later if position else _spell, word)
        for position, word in enumerate(words)
    )


def _is_particle(words: list[str], position: int) -> bool:
    """Whether the word at `position` is a particle inside a surname, which is in lower case."""
    word = words[position]
    before = words[position - 1] if position else ""
    after = words[position + 1] if position + 1 < len(words) else ""
    if word not in _PARTICLES or not after:
        return False
    if word in _AFTER_DE | _AFTER_VAN and before in {"de", "van", "von"}:
        return True
    opens_a_pair = (word == "de" and after in _AFTER_DE) or (word in {"van", "von"} and after in _AFTER_VAN)
    if opens_a_pair and position + 2 < len(words):
        return True
    # A single `van` or `la` is just as often a capitalized part of a name (Dick Van Dyke, La Toya).
    return position > 0 and word in {"de", "del", "da", "das", "dos", "von", "y"}


def _spell_later(run: re.Match[str]) -> str:
    return _SPELLED_LATER.get(run[0]) or _spell(run)


def _spell(run: re.Match[str]) -> str:
    """Spells one run of letters, which may have apostrophes inside."""
    letters = run[0]
    if letters in _ORDINAL_ENDINGS and run.string[: run.start()][-1:].isdigit():
        return letters
    if letters in _SPELLED:
        return _SPELLED[letters]
    if (
        len(letters) == 2
        and letters not in _ABBREVIATIONS
        and not set(letters) & set("aeiouy")
        and letters.isascii()
    ):
        return letters.upper()
    return _letters_between_apostrophes.sub(_spell_part, letters)


def _spell_part(match: re.Match[str]) -> str:
    part = match[0]
    if match.start() and len(part) == 1:
        return part  # John's
    if part.startswith("mc") and len(part) >= 5:
        return f"Mc{_capitalized(part[2:])}"
    return _capitalized(part)


def _lower(text: str) -> str:
    """`text` in lower case, except characters whose lower case has two characters (the Turkish I)."""
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)


def _capitalized(part: str) -> str:
    first = part[:1].upper()
    return (first if len(first) == 1 else part[:1]) + part[1:]
