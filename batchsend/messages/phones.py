"""Converts phone numbers as people and spreadsheets write them to E.164, or says what is wrong.

Google's libphonenumber (the `phonenumbers` package) decides whether a number is valid. This module repairs numbers
that exports changed and refuses those that libphonenumber would guess (letters, two numbers in one cell). No error
contains the number, because descriptions are shown where numbers must not be.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    ValidationResult,
)

from batchsend.campaigns.zones import zones_of_area_code
from batchsend.errors import RowProblem
from batchsend.lists.damage import is_damaged
from batchsend.statuses import Code


class PhoneProblem(RowProblem):
    """A phone cannot be texted; `code` is MISSING_PHONE, INVALID_PHONE or DAMAGED_VALUE."""


def to_e164(text: str, region: str) -> str:
    """`text` in E.164 (`+13125550142`), if libphonenumber finds it valid.

    `region` is the ISO 3166 code of the country for numbers without a country code. An extension is dropped, because
    texts cannot reach it. Raises `PhoneProblem`.
    """
    plain = _plain_nanp(text)
    if plain is not None and region in _PLAIN_NANP_REGIONS and _is_plain_nanp_prefix(plain[:6]):
        return f"+1{plain}"
    return _by_libphonenumber(text, region)


def display_phone(e164: str) -> str:
    """Formats a number in E.164: `(312) 555-0142` for the USA and Canada, else `+44 20 7946 0958`."""
    if len(e164) == 12 and e164.startswith("+1") and _is_plain_nanp_prefix(e164[2:8]):
        return f"({e164[2:5]}) {e164[5:8]}-{e164[8:]}"
    number = phonenumbers.parse(e164, None)
    national = phonenumbers.region_code_for_number(number) in _PLAIN_NANP_REGIONS
    return phonenumbers.format_number(
        number, PhoneNumberFormat.NATIONAL if national else PhoneNumberFormat.INTERNATIONAL
    )


def phone(text: str, region: str = "US") -> str:
    """The filter `phone`: `3125550142` -> `(312) 555-0142`; text that is not a valid number is returned unchanged."""
    try:
        return display_phone(to_e164(text, region))
    except PhoneProblem:
        return text


def zones_of(e164: str) -> tuple[str, ...]:
    """The time zones (IANA names) of a number's area code; none if they are unknown, as for toll-free numbers."""
    if e164.startswith("+1"):
        return _zones_of_area_code(e164[2:5])
    return _zones_by_libphonenumber(e164)


@lru_cache(maxsize=1024)
def _zones_of_area_code(code: str) -> tuple[str, ...]:
    """The zones of the whole area code: libphonenumber has one zone for many area codes that have two."""
    if known := zones_of_area_code(code):
        return tuple(sorted(known))
    zones = _zones_by_libphonenumber(f"+1{code}5550142")
    # It names all zones from Guam to Newfoundland for an area code of no place, such as that of a toll-free number.
    return zones if len(zones) <= _MOST_ZONES_OF_AN_AREA_CODE else ()


def _zones_by_libphonenumber(e164: str) -> tuple[str, ...]:
    from phonenumbers import timezone

    zones = timezone.time_zones_for_number(phonenumbers.parse(e164, None))
    return tuple(zone for zone in zones if zone != timezone.UNKNOWN_TIMEZONE)


_MOST_ZONES_OF_AN_AREA_CODE = 10
_PLAIN_NANP_REGIONS = frozenset({"US", "CA"})
_plain_nanp_spelling = re.compile(
    r"(?:\+?1[ .-]?)?(?:\(([2-9][0-9]{2})\) ?|([2-9][0-9]{2})[ .-]?)([2-9][0-9]{2})[ .-]?([0-9]{4})"
)


def _plain_nanp(text: str) -> str | None:
    """The ten digits of a US or Canadian number in a usual spelling, else None."""
    match = _plain_nanp_spelling.fullmatch(text)
    return "".join(filter(None, match.groups())) if match else None


@lru_cache(maxsize=100_000)
def _is_plain_nanp_prefix(area_and_exchange: str) -> bool:
    # In libphonenumber's patterns for these two regions, only the first six digits matter (a test proves it), and
    # they repeat within a list. For other regions under +1, the seventh digit also matters.
    if _usual_us_number().fullmatch(f"{area_and_exchange}0000"):
        return True
    number = PhoneNumber(country_code=1, national_number=int(area_and_exchange + "0000"))
    return phonenumbers.region_code_for_number(number) in _PLAIN_NANP_REGIONS


@cache
def _usual_us_number() -> re.Pattern[str]:
    """Numbers with an American area code. libphonenumber asks a dozen other patterns first, for the same answer."""
    metadata: Any = PhoneMetadata.metadata_for_region("US")
    return re.compile(str(metadata.fixed_line.national_number_pattern))


_dashes = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_spaces = re.compile("[\\s\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")
_wrapping = re.compile(r"(?:=\s*)?\"(.*)\"|'(.*)")
_scheme = re.compile(r"(?:tel|sms|phone)\s*[:.]\s*(?://)?", re.IGNORECASE)
_extension = re.compile(r"[\s,;]*(?:ext(?:ension|n)?|x|#)\s*[.:=#]?\s*[0-9]{1,6}$", re.IGNORECASE)
_whole_number = re.compile(r"(\+?[0-9]+)\.0{1,2}")
_scientific = re.compile(r"(\+?)([0-9])(?:[.,]([0-9]+))?E\+?([0-9]{1,2})", re.IGNORECASE)
_between_numbers = re.compile(r"[/\\;,|&\n]|\b(?:or|and)\b", re.IGNORECASE)
_SHORTEST_NUMBER = 7
_LONGEST_SHORT_CODE = 3


def _by_libphonenumber(text: str, region: str) -> str:
    spelling = _cleaned(text)
    if not spelling:
        raise PhoneProblem(Code.MISSING_PHONE, "the phone is blank")
    if is_damaged(spelling):
        raise PhoneProblem(
            Code.DAMAGED_VALUE,
            "the phone was damaged by a spreadsheet and lost its digits; "
            "copy it again from the source of the list, into a column formatted as text",
        )
    if _holds_two_numbers(spelling, text):
        raise _invalid("the cell has two phone numbers; keep the one to text")
    spelling = _extension.sub("", spelling)
    if not any(character.isdigit() for character in spelling):
        raise _invalid(_NOT_A_NUMBER)
    if any(character.isalpha() for character in spelling):
        raise _invalid("the phone has letters in it; write it in digits only")
    try:
        number = phonenumbers.parse(spelling, region)
    except NumberParseException as error:
        raise _unreadable(error.error_type) from None
    if not phonenumbers.is_valid_number(number):
        raise _not_valid(number, spelling, region)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def all_phones(text: str, region: str) -> tuple[list[str], bool]:
    """The phones (E.164) in a cell that may hold several and other words, and whether one of them cannot be read."""
    try:
        return [to_e164(text, region)], True
    except PhoneProblem:
        pieces = [piece for piece in _between_numbers.split(text) if piece.strip()]
    found = [_phones_in_piece(piece, region) for piece in pieces]
    complete = all(
        phones or sum(map(str.isdigit, piece)) < _SHORTEST_NUMBER
        for piece, phones in zip(pieces, found, strict=True)
    )
    return [phone for phones in found for phone in phones], complete


def _phones_in_piece(piece: str, region: str) -> list[str]:
    try:
        return [to_e164(piece, region)]
    except PhoneProblem:
        matches = phonenumbers.PhoneNumberMatcher(piece, region)
        return [phonenumbers.format_number(match.number, PhoneNumberFormat.E164) for match in matches]


def _cleaned(text: str) -> str:
    spelling = _spaces.sub(" ", _dashes.sub("-", text)).strip()
    if match := _wrapping.fullmatch(spelling):
        spelling = (match[1] or match[2] or "").strip()
    if match := _scheme.match(spelling):
        spelling = spelling[match.end() :].strip()
    if match := _whole_number.fullmatch(spelling):
        spelling = match[1]
    return _with_all_digits(spelling)


def _with_all_digits(spelling: str) -> str:
    """`3.125550142E+09` -> `3125550142`, if no digit is lost."""
    match = _scientific.fullmatch(spelling)
    if match is None or len(match[3] or "") != int(match[4]):
        return spelling
    return match[1] + match[2] + (match[3] or "")


def _holds_two_numbers(spelling: str, text: str) -> bool:
    parts = _between_numbers.split(spelling)
    # `spelling` has no line ends any more, but a line end between numbers means two numbers.
    lines = text.strip().splitlines()
    return any(
        sum(sum(character.isdigit() for character in part) >= _SHORTEST_NUMBER for part in candidates) > 1
        for candidates in (parts, lines)
    )


def _invalid(description: str) -> PhoneProblem:
    return PhoneProblem(Code.INVALID_PHONE, description)


_NO_TERRITORY = "001"  # libphonenumber's region for +800 and similar codes; in Unicode it means the world
_NOT_A_NUMBER = "the phone is not a phone number"
_UNREADABLE = {
    NumberParseException.INVALID_COUNTRY_CODE: "no country has the country code after the + of the phone",
    NumberParseException.TOO_SHORT_AFTER_IDD: (
        "the phone is too short: it has too few digits after its dialing prefix"
    ),
    NumberParseException.TOO_SHORT_NSN: "the phone is too short",
    NumberParseException.TOO_LONG: (
        "the phone is too long for one number; if the cell has two, keep the one to text"
    ),
}


def _unreadable(error_type: int) -> PhoneProblem:
    return _invalid(_UNREADABLE.get(error_type, _NOT_A_NUMBER))


def _not_valid(number: PhoneNumber, spelling: str, region: str) -> PhoneProblem:
    if _is_short_code(number, region):
        return _invalid("the phone is an emergency or other short number, not a customer's")
    where, digits = _country(number, region), _digits(number)
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
        return _invalid("the phone has no area code")
    if reason == ValidationResult.TOO_SHORT:
        return _invalid(f"the phone is too short for {where}: it has {digits}")
    if reason == ValidationResult.TOO_LONG:
        hint = (
            ""
            if "+" in spelling
            else ". A number from another country needs a + and its country code in front"
        )
        return _invalid(f"the phone is too long for {where}: it has {digits}{hint}")
    if reason == ValidationResult.INVALID_LENGTH:
        return _invalid(f"no phone in {where} has {digits}")
    return _invalid(f"the phone looks right, but {where} has no such number; look for a typo")


def _is_short_code(number: PhoneNumber, region: str) -> bool:
    # Most five or six digits are a short code somewhere, but in a list they are an incomplete number.
    digits = phonenumbers.national_significant_number(number)
    return phonenumbers.is_possible_short_number_for_region(number, region) and (
        len(digits) <= _LONGEST_SHORT_CODE or phonenumbers.is_emergency_number(digits, region)
    )


def _country(number: PhoneNumber, region: str) -> str:
    """`+1 (United States)`. If several countries share the code, the list's own region, else the largest."""
    code = number.country_code or 0
    own = code == phonenumbers.country_code_for_region(region)
    territory = region if own else phonenumbers.region_code_for_country_code(code)
    from babel import Locale

    name = Locale("en").territories.get(territory)
    return f"+{code} ({name})" if name and territory != _NO_TERRITORY else f"+{code}"


def _digits(number: PhoneNumber) -> str:
    count = len(phonenumbers.national_significant_number(number))
    digits = f"{count} {'digit' if count == 1 else 'digits'}"
    return f"{digits}, not 10" if number.country_code == 1 else digits
