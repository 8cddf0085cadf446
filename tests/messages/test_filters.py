"""The filters for names, phones, dates and money, and their messages for values that cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.errors import FilterProblem
from batchsend.messages.filters import date, money
from batchsend.messages.name_case import name_case
from batchsend.messages.phones import phone
from batchsend.statuses import Code


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("JOHN", "John"),
        ("john smith", "John Smith"),
        ("JOHN PAUL", "John Paul"),
        ("JOHN O'BRIEN", "John O'Brien"),
        ("O’NEIL", "O’Neil"),  # a curly apostrophe
        ("D'ANGELO", "D'Angelo"),
        ("JOHN'S AUTO", "John's Auto"),  # a possessive, not a name after an apostrophe
        ("MCDONALD", "McDonald"),
        ("MCGEE", "McGee"),
        ("MACY", "Macy"),  # Mac is not split: Macy, Mack and Machado are more common
        ("SMITH-JONES", "Smith-Jones"),
        ("MARY-KATE", "Mary-Kate"),
        ("GARCIA/LOPEZ", "Garcia/Lopez"),  # two surnames
        ("DE LA CRUZ", "de la Cruz"),  # two particles begin a surname
        ("VAN DER BERG", "van der Berg"),
        ("DE LEON", "De Leon"),  # a single one is capitalized at the beginning
        ("MARIA DE LA CRUZ", "Maria de la Cruz"),
        ("OSCAR DE LEON", "Oscar de Leon"),
        ("ORTEGA Y GASSET", "Ortega y Gasset"),
        ("DICK VAN DYKE", "Dick Van Dyke"),  # the usual American spelling
        ("DE", "De"),  # a particle at the end is a name
        ("HENRY FORD III", "Henry Ford III"),
        ("III", "III"),  # a column of suffixes
        ("JOHN SMITH IV", "John Smith IV"),
        ("VI NGUYEN", "Vi Nguyen"),  # a woman's name, not a sixth
        ("JOHN SMITH JR.", "John Smith Jr."),
        ("ACME AUTO LLC", "Acme Auto LLC"),
        ("ACME INC", "Acme Inc"),  # an ordinary word, not initials
        ("JANE DOE MD", "Jane Doe MD"),
        ("J.R. SMITH", "J.R. Smith"),
        ("TJ", "TJ"),  # initials: no vowel
        ("NG", "Ng"),  # a surname without one
        ("ST. CLAIR", "St. Clair"),
        ("JOHN AND MARY", "John and Mary"),
        ("JOHN & MARY", "John & Mary"),
        ("3RD STREET", "3rd Street"),  # an ordinal
        ("JOSÉ NÚÑEZ", "José Núñez"),
        ("O'BRIEN-MCDONALD", "O'Brien-McDonald"),
        ("MCDONALD'S", "McDonald's"),
        ("SEAN O’REILLY", "Sean O’Reilly"),
        ("DE LOS SANTOS", "de los Santos"),
        ("MARIA DEL CARMEN", "Maria del Carmen"),
        ("ABDUL-RAHMAN AL-FARSI", "Abdul-Rahman Al-Farsi"),
        ("KIM NG", "Kim Ng"),
        ("AJ", "AJ"),
        ("ED", "Ed"),
        ("LLC", "LLC"),
        ("SMITH & SONS LLC", "Smith & Sons LLC"),
        ("HONDA OF SEATTLE", "Honda of Seattle"),
        ("JOHN SMITH, JR", "John Smith, Jr"),
        ("ELIZABETH II", "Elizabeth II"),
        ("JOHN (JACK) SMITH", "John (Jack) Smith"),
        ("7-ELEVEN", "7-Eleven"),
        ("JOHN  PAUL", "John  Paul"),  # blanks are normalized later, with the body
        ("E\u0301MILE NU\u0301N\u0303EZ", "E\u0301mile Nu\u0301n\u0303ez"),  # as a Mac writes it
        ("İPEK", "İpek"),  # its lower case has two characters
        ("ßA", "ßA"),
        ("ßa", "ßa"),  # and its upper case
        ("李明", "李明"),  # a script without upper case
        ("DeShawn", "DeShawn"),  # mixed case was typed on purpose
        ("LaToya McKINLEY", "LaToya McKINLEY"),
        ("", ""),
    ],
)
def test_name_case(text: str, name: str) -> None:
    assert name_case(text) == name


@given(st.text(st.sampled_from("ABDELMCVNOSXYZaei'-. ’É3/\u0301İ") | st.characters(), max_size=25))
def test_name_case_changes_nothing_but_case(text: str) -> None:
    assert name_case(text).casefold() == text.casefold()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3125550142", "(312) 555-0142"),
        ("+442079460958", "+44 20 7946 0958"),
        ("1 (312) 555 0142", "(312) 555-0142"),
        ("312.555.0142", "(312) 555-0142"),
        ("+523312345678", "+52 33 1234 5678"),
        ("5550142", "5550142"),  # without its area code
        ("(312) 555-0142 / (312) 555-0143", "(312) 555-0142 / (312) 555-0143"),  # two numbers are not one
        ("ask Bob", "ask Bob"),  # other text is printed unchanged; the phone column is checked elsewhere
    ],
)
def test_phone(text: str, shown: str) -> None:
    assert phone(text) == shown


def test_phone_of_another_country() -> None:
    assert phone("020 7946 0958", "GB") == "+44 20 7946 0958"


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01",
        "2026-03-01 09:30:00",  # a spreadsheet's date with a time
        "2026-03-01T09:30",
        "2026-03-01T00:00:00Z",  # a date as programs export it
        "3/1/2026",
        "03/01/26",
        "3-1-2026",
        "3/1/2026 9:30 PM",
        "Mar 1, 2026",
        "March 1st, 2026",
        "Sunday, March 1, 2026",
        "1-Mar-26",  # Excel's d-mmm-yy
        "1 March 2026",
    ],
)
def test_dates_that_are_read(text: str) -> None:
    assert date(text, "yyyy-MM-dd") == "2026-03-01"


@pytest.mark.parametrize(
    ("text", "arguments", "printed"),
    [
        ("2026-03-01", {}, "Mar 1"),
        ("2026-03-01 14:05:00", {"pattern": "EEEE, MMMM d 'at' h:mm"}, "Sunday, March 1 at 2:05"),
        ("2026-03-01", {"pattern": "long"}, "March 1, 2026"),
        ("2026-03-01", {"pattern": "d 'de' MMMM", "locale": "es"}, "1 de marzo"),
        ("2026-03-09", {"pattern": "EEEE d 'de' MMMM", "locale": "es-MX"}, "lunes 9 de marzo"),
        ("2026-03-09", {"pattern": "d MMMM", "locale": "vi"}, "9 tháng 3"),
        ("2026-03-09", {"pattern": "full", "locale": "fr_CA"}, "lundi 9 mars 2026"),
        ("3/4/2026", {"pattern": "d 'de' MMMM", "locale": "es_MX"}, "3 de abril"),  # as Mexico writes it
        ("3/4/2026", {"pattern": "d 'de' MMMM", "locale": "es_US"}, "4 de marzo"),  # an American list
        # No country: a Spanish text for an American list.
        ("3/4/2026", {"pattern": "d 'de' MMMM", "locale": "es"}, "4 de marzo"),
        ("3/4/2026", {"pattern": "d MMM", "locale": "en-GB"}, "3 Apr"),
        ("3/4/2026", {"order": "dmy"}, "Apr 3"),
        ("13/4/2026", {"locale": "en_CA"}, "Apr 13"),  # only one order fits
        ("5/5/2026", {"locale": "en_CA"}, "May 5"),  # both orders mean the same day
        ("1/1/69", {"pattern": "yyyy"}, "1969"),  # two-digit years from 69 on are in the 1900s
        ("1/1/68", {"pattern": "yyyy"}, "2068"),
        ("3/1/2026 12:15 AM", {"pattern": "H:mm"}, "0:15"),  # 12 AM is midnight
        # A time of day alone
        ("09:30:00", {"pattern": "h:mm a"}, "9:30 AM"),
        ("9:30 AM", {"pattern": "h:mm a"}, "9:30 AM"),
        ("14:05", {"pattern": "h:mm a"}, "2:05 PM"),
        ("2:05 p.m.", {"pattern": "HH 'Uhr' mm", "locale": "de"}, "14 Uhr 05"),
        ("00:00:00", {"pattern": "H:mm"}, "0:00"),
    ],
)
def test_printed_dates(text: str, arguments: dict[str, str], printed: str) -> None:
    assert date(text, **arguments) == printed


WORDS = "words need single quotes, as in `d 'de' MMMM`"
NO_DATE = "`date` cannot read the value: it is not a date such as 2026-03-01 or 3/1/2026"

NO_DATE_IN_TIME = (
    "`date` cannot print a date with the pattern `{}`: the value has only a time; `h:mm a` prints 9:30 AM"
)
NO_MONTH = (
    "`date` reads the value's {} number as the month, but there is no month 25: "
    'write order="{}" if that fits the list\'s dates'
)


@pytest.mark.parametrize(
    ("text", "arguments", "description"),
    [
        ("tomorrow", {}, NO_DATE),
        ("46082", {}, NO_DATE),  # a spreadsheet's day number could also be a mileage
        ("2026-02-30", {}, NO_DATE),  # no such day
        ("1-Mai-2026", {}, NO_DATE),  # a German month
        ("3/1/2026 13:30 PM", {}, NO_DATE),
        ("13/13/2026", {}, NO_DATE),  # no month in either order
        ("25/12/2026", {}, NO_MONTH.format("first", "dmy")),
        ("12/25/2026", {"locale": "en_GB"}, NO_MONTH.format("second", "mdy")),
        (
            "3/4/2026",
            {"locale": "en_CA"},
            '`date` cannot tell the month from the day in the value: write order="mdy" or order="dmy"',
        ),
        ("2026-03-01", {"order": "ymd"}, '`date` has no order `ymd`; use "mdy" or "dmy"'),
        (
            "2026-03-01",
            {"pattern": "h:mm a"},
            "`date` cannot print a time with the pattern `h:mm a`: the value has only a date",
        ),
        ("9:30 AM", {}, NO_DATE_IN_TIME.format("MMM d")),
        ("09:30:00", {"pattern": "MMM d, h:mm a"}, NO_DATE_IN_TIME.format("MMM d, h:mm a")),
        ("09:30:00", {"pattern": "long"}, NO_DATE_IN_TIME.format("long")),
        ("25:30:00", {"pattern": "h:mm a"}, NO_DATE),  # a length of time
        ("13:30 PM", {"pattern": "h:mm a"}, NO_DATE),
        (
            "9:30",
            {"pattern": "h:mm", "locale": "xx"},
            "there is no locale `xx`; use one such as en_US or es_US",
        ),
        (
            "2026-03-01T15:00:00Z",
            {},
            "`date` cannot print a time with a time zone; put local times into the list",
        ),
        (
            "2026-03-01",
            {"pattern": "%b %d"},
            "`date` cannot read the pattern `%b %d`; write `MMM dd`",
        ),
        (
            "2026-03-01",
            {"pattern": "MMMMMMM"},
            "`date` cannot read the pattern `MMMMMMM`; `MMM d` prints Mar 1",
        ),
        (  # in late December, Y is the next year
            "2026-12-31",
            {"pattern": "YYYY-MM-DD"},
            "in the pattern `YYYY-MM-DD`, Y is the year of the week; write `yyyy-MM-dd`",
        ),
        (
            "2026-03-01 09:30:00",
            {"pattern": "h:mm a z"},
            "the pattern `h:mm a z` has a time zone, and the times of a list have none; write `h:mm a`",
        ),
        (
            "2026-03-01",
            {"locale": "american"},
            "there is no locale `american`; use one such as en_US or es_US",
        ),
    ],
)
def test_dates_that_are_refused(text: str, arguments: dict[str, str], description: str) -> None:
    with pytest.raises(FilterProblem) as caught:
        date(text, **arguments)
    assert (caught.value.code, caught.value.description) == (Code.TEMPLATE_ERROR, description)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        # strftime, Excel, .NET and moment.js
        ("%m/%d/%Y", "`date` cannot read the pattern `%m/%d/%Y`; write `MM/dd/yyyy`"),
        ("%-m/%-d/%y", "`date` cannot read the pattern `%-m/%-d/%y`; write `MM/dd/yy`"),
        ("dddd, mmmm d", "`date` cannot read the pattern `dddd, mmmm d`; write `EEEE, MMMM d`"),
        ("MM/DD/YYYY", "in the pattern `MM/DD/YYYY`, Y is the year of the week; write `MM/dd/yyyy`"),
        ("MM/DD/yyyy", "in the pattern `MM/DD/yyyy`, D is the day of the year; write `MM/dd/yyyy`"),
        ("h:mm AM/PM", "in the pattern `h:mm AM/PM`, A is the millisecond of the day; write `h:mm a`"),
        ("h:mm A", "in the pattern `h:mm A`, A is the millisecond of the day; write `h:mm a`"),
        # A date with a time would be printed with its minutes as the month.
        ("mm/dd/yyyy", "in the pattern `mm/dd/yyyy`, M is the month and m is the minute; write `MM/dd/yyyy`"),
        ("h:MM a", "in the pattern `h:MM a`, M is the month and m is the minute; write `h:mm a`"),
        # Letters that would be printed as they are, or as another part of the date
        ("h:mm tt", f"in the pattern `h:mm tt`, {WORDS}; write `h:mm a`"),
        ("d de MMMM", f"in the pattern `d de MMMM`, {WORDS}; `MMM d` prints Mar 1"),
        ("MMM d at h:mm a", f"in the pattern `MMM d at h:mm a`, {WORDS}; `MMM d` prints Mar 1"),
        ("MMMM do", f"in the pattern `MMMM do`, {WORDS}; `MMM d` prints Mar 1"),
        ("", "`date` cannot read the pattern ``; `MMM d` prints Mar 1"),
    ],
)
def test_patterns_of_other_programs_are_refused_with_the_right_one(pattern: str, problem: str) -> None:
    with pytest.raises(FilterProblem) as caught:
        date("2026-03-01 09:30:00", pattern)
    assert caught.value.description == problem


@pytest.mark.parametrize(
    "pattern",
    ["MMM d 'at' h:mm a", "yyyy-MM-dd'T'HH:mm:ss", "h 'o''clock' a", "LLLL d", "EEE, M.d.yy", "full"],
)
def test_patterns_that_are_used(pattern: str) -> None:
    assert date("2026-03-01 09:30:00", pattern)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        # Half a cent is rounded up, as in spreadsheets.
        ("1234.125", "$1,234.13"),
        ("0.005", "$0.01"),
        ("0.015", "$0.02"),
        ("0.025", "$0.03"),
        ("2.675", "$2.68"),
        ("-0.005", "-$0.01"),
        ("0.0049", "$0.00"),
        ("1,234.995", "$1,235.00"),
    ],
)
def test_money_rounds_as_spreadsheets_do(text: str, printed: str) -> None:
    assert money(text) == printed


@given(st.integers(0, 10**12), st.integers(0, 999))
def test_money_is_never_off_by_more_than_half_a_cent(whole: int, thousandths: int) -> None:
    cents = (whole * 1000 + thousandths + 5) // 10
    assert money(f"{whole}.{thousandths:03}") == f"${cents // 100:,}.{cents % 100:02}"


@pytest.mark.parametrize(
    ("text", "arguments", "printed"),
    [
        ("1234.5", {}, "$1,234.50"),
        ("$1,234.50", {}, "$1,234.50"),
        ("1,234", {}, "$1,234.00"),
        ("USD 50", {}, "$50.00"),
        ("-$5", {}, "-$5.00"),
        ("0.1", {}, "$0.10"),  # cents
        ("1234.5", {"locale": "es_ES", "currency": "EUR"}, "1.234,50\u00a0€"),  # stored numbers have a point
        ("1.234.567,5", {"locale": "de_DE", "currency": "EUR"}, "1.234.567,50\u00a0€"),
        ("1234.5", {"locale": "es_US"}, "$1,234.50"),
        ("1234.5", {"locale": "es_MX", "currency": "MXN"}, "$1,234.50"),
        ("1234.5", {"locale": "es"}, "1.234,50\u00a0US$"),  # as Spain writes it
        ("1234.5", {"locale": "fr_CA", "currency": "CAD"}, "1\u00a0234,50\u00a0$"),
    ],
)
def test_money(text: str, arguments: dict[str, str], printed: str) -> None:
    assert money(text, **arguments) == printed


NO_AMOUNT = "`money` cannot read the value: it is not an amount such as 1234.50 or $1,234.50"


@pytest.mark.parametrize(
    ("text", "arguments", "description"),
    [
        ("free", {}, NO_AMOUNT),
        ("1,23", {}, NO_AMOUNT),  # a decimal comma in an American list: 1.23 or 123?
        ("($5.00)", {}, NO_AMOUNT),  # accounting style
        ("€50", {}, NO_AMOUNT),  # not the currency that would be printed
        ("1e5", {}, NO_AMOUNT),
        ("nan", {}, NO_AMOUNT),
        (
            "1.234",
            {"locale": "de_DE"},
            "`money` cannot tell whether the point in the value is a decimal point; write two decimals",
        ),
        (
            "5",
            {"currency": "usd"},
            "`money` has no currency `usd`; use a code such as USD or CAD",
        ),
    ],
)
def test_money_that_is_refused(text: str, arguments: dict[str, str], description: str) -> None:
    with pytest.raises(FilterProblem) as caught:
        money(text, **arguments)
    assert (caught.value.code, caught.value.description) == (Code.TEMPLATE_ERROR, description)


@given(
    st.text(max_size=20) | st.text(st.sampled_from("0123456789/-., $:TZAPM"), max_size=20),
    st.sampled_from(["en_US", "es", "en_CA", "de_DE"]),
)
def test_any_value_is_printed_or_refused(text: str, locale: str) -> None:
    for function in (date, money):
        try:
            assert function(text, locale=locale)
        except FilterProblem as problem:
            assert problem.description
