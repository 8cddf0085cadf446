"""Phone numbers: accepted spellings, messages for refused ones, and the fast path compared with libphonenumber."""

from __future__ import annotations

import re
from itertools import product

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from batchsend.messages.phones import (
    PhoneProblem,
    _by_libphonenumber,
    _is_plain_nanp_prefix,
    display_phone,
    to_e164,
)
from batchsend.statuses import Code


@pytest.mark.parametrize(
    "text",
    [
        "3125550142",
        "(312) 555-0142",
        "312.555.0142",
        "312/555-0142",
        "1-312-555-0142",
        "13125550142",  # the + is lost; eleven digits that begin with 1 are American
        "+1 312 555 0142",
        "312–555–0142",  # Word's dashes
        "312\u00a0555\u202f0142",  # web pages' spaces
        "\u202a(312) 555-0142\u202c",  # copied from Windows' contacts, with direction marks
        "٣١٢٥٥٥٠١٤٢",  # digits of another script
        "１ (３１２) ５５５－０１４２",
        "(312) 555-0142 x12",  # texts cannot reach an extension
        "312-555-0142 ext. 12",
        "312-555-0142 #12",
        "tel:+1-312-555-0142;ext=12",
        "Phone: 312-555-0142",
        "'3125550142",  # Excel's mark for text
        '="3125550142"',  # the same in CSV
        "3125550142.0",  # from a program that reads numbers as floats
        "3.125550142E+09",  # scientific notation that has every digit
        "1.3125550142E10",
        "312-555-0142.",
    ],
)
def test_spellings_of_one_number(text: str) -> None:
    assert to_e164(text, "US") == "+13125550142"


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("+44 (0)20 7946 0958", "US", "+442079460958"),  # foreign numbers stay foreign
        ("011 44 20 7946 0958", "US", "+442079460958"),  # as dialed from the USA
        ("020 7946 0958", "GB", "+442079460958"),  # a national number of the region
        ("442079460958", "GB", "+442079460958"),
        ("+13125550142", "GB", "+13125550142"),
        ("+1.3125550142E+10", "GB", "+13125550142"),  # the + is kept
        ("+1 876 555 0142", "US", "+18765550142"),  # Jamaica
        ("416-555-0142", "US", "+14165550142"),  # Canada
    ],
)
def test_countries(text: str, region: str, e164: str) -> None:
    assert to_e164(text, region) == e164


DAMAGED = (
    "the phone was damaged by a spreadsheet and lost its digits; "
    "copy it again from the source of the list, into a column formatted as text"
)
TWO = "the cell has two phone numbers; keep the one to text"
LETTERS = "the phone has letters in it; write it in digits only"
NOT_A_NUMBER = "the phone is not a phone number"
NO_SUCH = "the phone looks right, but +1 (United States) has no such number; look for a typo"
SHORT_NUMBER = "the phone is an emergency or other short number, not a customer's"
FOREIGN = ". A number from another country needs a + and its country code in front"


@pytest.mark.parametrize(
    ("text", "code", "description"),
    [
        ("", Code.MISSING_PHONE, "the phone is blank"),
        (" \u00a0", Code.MISSING_PHONE, "the phone is blank"),
        ("5.55123E+09", Code.DAMAGED_VALUE, DAMAGED),  # ten digits became six
        ("+1.5551E+10", Code.DAMAGED_VALUE, DAMAGED),
        ("#N/A", Code.DAMAGED_VALUE, DAMAGED),  # a failed lookup
        ("n/a", Code.INVALID_PHONE, NOT_A_NUMBER),
        ("-", Code.INVALID_PHONE, NOT_A_NUMBER),
        ("0", Code.INVALID_PHONE, NOT_A_NUMBER),
        ("1-800-FLOWERS", Code.INVALID_PHONE, LETTERS),  # vanity numbers belong to companies
        ("Bob 312-555-0142", Code.INVALID_PHONE, LETTERS),  # a name in front
        ("312-555-0142 / 312-555-0143", Code.INVALID_PHONE, TWO),
        ("312-555-0142 or 312-555-0143", Code.INVALID_PHONE, TWO),
        ("312-555-0142\n312-555-0143", Code.INVALID_PHONE, TWO),  # on two lines of a cell
        ("312-555-0142, 5550143", Code.INVALID_PHONE, TWO),  # not an extension of seven digits
        (
            "3125550142 3125550143",
            Code.INVALID_PHONE,
            "the phone is too long for one number; if the cell has two, keep the one to text",
        ),
        ("+999 123 456 789", Code.INVALID_PHONE, "no country has the country code after the + of the phone"),
        ("911", Code.INVALID_PHONE, SHORT_NUMBER),
        ("411", Code.INVALID_PHONE, SHORT_NUMBER),  # directory assistance
        (
            "12345",
            Code.INVALID_PHONE,
            "the phone is too short for +1 (United States): it has 5 digits, not 10",
        ),
        ("555-0142", Code.INVALID_PHONE, "the phone has no area code"),
        (
            "312-555-014",
            Code.INVALID_PHONE,
            "the phone is too short for +1 (United States): it has 9 digits, not 10",
        ),
        ("+44 20", Code.INVALID_PHONE, "the phone is too short for +44 (United Kingdom): it has 2 digits"),
        (
            "312-555-01422",
            Code.INVALID_PHONE,
            "the phone is too long for +1 (United States): it has 11 digits, not 10" + FOREIGN,
        ),
        (  # a British number without its + must not become a local one
            "442079460958",
            Code.INVALID_PHONE,
            "the phone is too long for +1 (United States): it has 12 digits, not 10" + FOREIGN,
        ),
        (
            "+52 1 55 1234 5678",
            Code.INVALID_PHONE,
            "the phone is too long for +52 (Mexico): it has 11 digits",
        ),
        ("0000000000", Code.INVALID_PHONE, NO_SUCH),  # a placeholder
        ("112-555-0142", Code.INVALID_PHONE, NO_SUCH),  # no area code begins with 1
        ("312-155-0142", Code.INVALID_PHONE, NO_SUCH),  # no exchange begins with 1
        ("999-555-0142", Code.INVALID_PHONE, NO_SUCH),  # no such area code
    ],
)
def test_refused_phones(text: str, code: Code, description: str) -> None:
    with pytest.raises(PhoneProblem) as caught:
        to_e164(text, "US")
    assert (caught.value.code, caught.value.description) == (code, description)


@pytest.mark.parametrize(
    ("e164", "shown"),
    [
        ("+13125550142", "(312) 555-0142"),
        ("+14165550142", "(416) 555-0142"),
        ("+18765550142", "+1 876-555-0142"),  # Jamaica, another country under +1
        ("+442079460958", "+44 20 7946 0958"),
        ("+80012345678", "+800 1234 5678"),  # an international freephone number
    ],
)
def test_display_phone(e164: str, shown: str) -> None:
    assert display_phone(e164) == shown


def digit_sequences(tree: re._parser.SubPattern) -> list[list[frozenset[int]]]:
    """All sequences of digit sets that match a pattern of digits, classes, groups, branches and fixed repeats."""
    ways: list[list[frozenset[int]]] = [[]]
    for operation, argument in tree:
        if operation is re._constants.LITERAL:
            more = [[frozenset({int(chr(argument))})]]
        elif operation is re._constants.IN:
            more = [[frozenset().union(*(digits_of(*item) for item in argument))]]
        elif operation is re._constants.SUBPATTERN:
            more = digit_sequences(argument[-1])
        elif operation is re._constants.BRANCH:
            more = [way for branch in argument[1] for way in digit_sequences(branch)]
        else:
            assert operation is re._constants.MAX_REPEAT, operation
            low, high, repeated = argument
            assert low == high
            more = [
                [digit for way in choice for digit in way]
                for choice in product(digit_sequences(repeated), repeat=low)
            ]
        ways = [way + rest for way in ways for rest in more]
    return ways


def digits_of(operation: re._constants._NamedIntConstant, argument: object) -> frozenset[int]:
    if operation is re._constants.LITERAL:
        return frozenset({int(chr(argument))})
    if operation is re._constants.RANGE:
        return frozenset(range(int(chr(argument[0])), int(chr(argument[1])) + 1))
    assert (operation, argument) == (re._constants.CATEGORY, re._constants.CATEGORY_DIGIT)
    return frozenset(range(10))


@pytest.mark.parametrize("region", ["US", "CA"])
def test_six_digits_decide_whether_a_north_american_number_is_valid(region: str) -> None:
    """libphonenumber's patterns for these two regions accept any last four digits."""
    metadata = PhoneMetadata.metadata_for_region(region)
    types = [
        "fixed_line",
        "mobile",
        "toll_free",
        "premium_rate",
        "shared_cost",
        "personal_number",
        "voip",
        "pager",
    ]
    patterns = [
        description.national_number_pattern
        for description in (getattr(metadata, name) for name in [*types, "uan", "voicemail", "general_desc"])
        if description is not None and description.national_number_pattern
    ]
    any_digit = frozenset(range(10))
    for pattern in patterns:
        for way in digit_sequences(re._parser.parse(pattern)):
            assert len(way) == 7 or (len(way) == 10 and way[6:] == [any_digit] * 4)


def is_valid_in_us_or_canada(digits: str) -> bool:
    number = phonenumbers.parse(digits, "US")
    return phonenumbers.is_valid_number(number) and phonenumbers.region_code_for_number(number) in {
        "US",
        "CA",
    }


@settings(max_examples=800)
@given(st.integers(200, 999), st.integers(200, 999), st.integers(0, 9999))
def test_the_prefix_check_matches_libphonenumber(area: int, exchange: int, subscriber: int) -> None:
    assert _is_plain_nanp_prefix(f"{area}{exchange}") == is_valid_in_us_or_canada(
        f"{area}{exchange}{subscriber:04}"
    )


def outcome(rule: object, text: str, region: str) -> object:
    try:
        return rule(text, region)
    except PhoneProblem as problem:
        return problem.code, problem.description


@settings(max_examples=400)
@given(
    st.sampled_from(["", "1", "+1", "1-", "+1 ", "1."]),
    st.sampled_from(["{}{}{}", "({}) {}-{}", "({}){}-{}", "{}-{}-{}", "{}.{}.{}", "{} {} {}", "{}-{}{}"]),
    st.sampled_from(["312", "416", "800", "900", "246", "787", "876", "710", "555", "999"])
    | st.integers(0, 999),
    st.integers(0, 999),
    st.integers(0, 9999),
    st.sampled_from(["US", "CA", "GB", "JM"]),
)
def test_the_fast_path_matches_libphonenumber(
    prefix: str, spelling: str, area: object, exchange: int, subscriber: int, region: str
) -> None:
    text = prefix + spelling.format(area, f"{exchange:03}", f"{subscriber:04}")
    assert outcome(to_e164, text, region) == outcome(_by_libphonenumber, text, region)


@given(st.text(max_size=30) | st.text(st.sampled_from("+()-. x0123456789E/,\n٣"), max_size=25))
def test_any_text_is_a_valid_number_or_a_problem(text: str) -> None:
    try:
        e164 = to_e164(text, "US")
    except PhoneProblem as problem:
        assert problem.code in {Code.MISSING_PHONE, Code.INVALID_PHONE, Code.DAMAGED_VALUE}
    else:
        assert re.fullmatch(r"\+[0-9]{7,15}", e164)
        assert to_e164(e164, "GB") == e164
        assert to_e164(display_phone(e164), "US") == e164
