"""A key is the same for all spellings of its values, and different for different values."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchsend.messages.keys import canonical_value, key_of, keys_of


def value(text: str, region: str) -> str:
    return canonical_value(text, region, keeps_zeros=True)


MARCH_5 = [
    "2026-03-05",
    "2026/3/5",
    "2026-03-05 00:00:00",
    "2026-03-05T00:00:00Z",
    "3/5/2026",
    "03/05/2026",
    "03/05/26",
    "3-5-2026",
    "3/5/2026 12:00:00 AM",
    "5-Mar-2026",
    "5-Mar-26",
    "05 MAR 2026",
    "Mar 5, 2026",
    "Mar  5 2026 12:00AM",
    "March 5 2026",
    "march 5th, 2026",
    "Thursday, March 5, 2026",
    "Thu, 5 Mar 2026",
]
HALF_PAST_NINE = [
    "2026-03-05 09:30:00",
    "2026-03-05 09:30:27",  # Excel saves it without the seconds
    "2026-03-05 09:30",
    "2026-03-05T09:30:00.000",
    "2026-03-05 9:30 AM",
    "3/5/2026 9:30",
    "3/5/2026 9:30:00 a.m.",
    "5-Mar-2026 09:30",
    "Mar 5, 2026, 9:30 am",
]


@pytest.mark.parametrize(
    ("canonical", "spellings"),
    [
        ("2026-03-05", MARCH_5),
        ("2026-03-05 09:30", HALF_PAST_NINE),
        ("2026-05-13", ["5/13/2026", "13/5/2026", "13-May-26"]),
        ("09:30", ["9:30", "09:30", "9:30 AM", "09:30:00"]),
        ("21:30", ["21:30", "9:30 PM", "9:30:00 pm"]),
        ("45000", ["45000", "45,000", "45000.0", "45,000.00", "$45,000.00", "45 000", "45\u00a0000"]),
        ("1.1", ["1.1", "1.10", "$1.10", "1,1", "1,10 €"]),
        ("45000.5", ["45000.5", "45,000.50", "45 000,50 $"]),  # as in Quebec
        ("-5", ["-5", "-5.00", "-$5.00"]),
        ("0", ["0", "0.0", "-0.00"]),
        ("0.2", ["20%", "20.00%", "20 %", "0.2", "0.20"]),
        (
            "+14155550101",
            [
                "4155550101",
                "14155550101",
                "+14155550101",
                "(415) 555-0101",
                "415.555.0101",
                "415-555-0101",
                "415\u2011555\u20110101",
                "+1 415 555 0101",
                "4155550101.0",
                "4,155,550,101",
            ],
        ),
        ("1hgcm82633a004352", ["1HGCM82633A004352", "1hgcm82633a004352"]),
        ("de la cruz", ["De la Cruz", "DE LA  CRUZ", "de\u00a0la cruz"]),
        ("josé", ["José", "Jose\u0301", "JOSÉ"]),
        ("true", ["TRUE", "True", "true"]),
    ],
)
def test_all_spellings_of_a_value_are_one(canonical: str, spellings: list[str]) -> None:
    assert {spelling: value(spelling, "US") for spelling in spellings} == dict.fromkeys(spellings, canonical)


@pytest.mark.parametrize(
    "values",
    [
        ["007", "07", "7"],
        ["01234", "1234"],  # ZIP codes
        ["1E5", "100000"],
        ["45.000", "45", "45000"],  # outside the USA, 45.000 may be 45 thousand
        ["1.10.2", "1.1.2"],
        ["46086", "2026-03-05"],  # a date as a serial number cannot be told from a number
        ["5-Mar", "5-Mar-2026"],
        ["Marlin 12, 2026", "March 12, 2026"],
        ["Honda Mar 5, 2026", "Acura Mar 5, 2026", "Mar 5, 2026"],
        ["12:30", "12:31", "36:30", "36:30:00"],
        ["2026-03-05T09:30:00Z", "2026-03-05 09:30"],  # another moment
        ["12345678901234567890123456789", "12345678901234567890123456788"],
        ["4155550101 / 4155550102", "4155550101"],
        ["4155550101 ext. 5", "4155550101"],
        ["1HGCM82633A004352", "1HGCM82633A004353"],
        ["20%", "20"],
        ["-5", "5"],
    ],
)
def test_different_values_stay_different(values: list[str]) -> None:
    assert len({value(one, "US") for one in values}) == len(values)


@pytest.mark.parametrize(
    ("region", "day"), [("US", "2026-03-05"), ("PR", "2026-03-05"), ("GB", "2026-05-03")]
)
def test_the_region_decides_the_order_of_day_and_month(region: str, day: str) -> None:
    assert value("3/5/2026", region) == day
    assert value("13/5/2026", region) == value("5/13/2026", region) == "2026-05-13"


def date_spellings(day: date, *, month_first: bool) -> list[str]:
    """How lists write a date, with the formats of workbooks and of text files."""
    one, other = (day.month, day.day) if month_first else (day.day, day.month)
    return [
        day.isoformat(),
        f"{day} 00:00:00",
        f"{one}/{other}/{day.year}",
        f"{one:02}/{other:02}/{day.year}",
        f"{one:02}/{other:02}/{day.year % 100:02}",
        f"{one}-{other}-{day.year}",
        day.strftime("%d-%b-%Y"),
        day.strftime("%d-%b-%y"),
        day.strftime("%B %d, %Y"),
        day.strftime("%b %d %Y"),
        day.strftime("%A, %B %d, %Y"),
    ]


# Two digits of a year mean these years.
dates = st.dates(date(1970, 1, 1), date(2068, 12, 31))
regions = st.sampled_from(["US", "GB", "CA", "MX", "DE"])


@given(dates, regions, st.data())
def test_a_date_is_one_value_in_every_spelling(day: date, region: str, data: st.DataObject) -> None:
    spelling = data.draw(st.sampled_from(date_spellings(day, month_first=region == "US")))
    assert value(spelling, region) == day.isoformat()


@given(dates, st.integers(0, 23), st.integers(0, 59), st.data())
def test_a_time_is_one_value_in_every_spelling(
    date_: date, hour: int, minute: int, data: st.DataObject
) -> None:
    moment = datetime.combine(date_, time(hour, minute))
    day = data.draw(st.sampled_from(date_spellings(moment.date(), month_first=True)[2:6]))
    clock = data.draw(st.sampled_from([f"{moment:%H:%M}", f"{moment:%H:%M:%S}", f"{moment:%I:%M %p}"]))
    assert value(f"{day} {clock}", "US") == value(str(moment), "US")


@given(st.integers(0, 10**9), st.integers(0, 99), regions)
def test_a_number_is_one_value_in_every_spelling(whole: int, cents: int, region: str) -> None:
    number = Decimal(whole) + Decimal(cents) / 100
    spellings = [f"{number}", f"{number:,.2f}", f"{number:.2f}", f"${number:,.2f}", f"{number:.4f}"]
    assert len({value(spelling, region) for spelling in spellings}) == 1


@given(st.integers(0, 10**12), st.integers(0, 10**12), regions)
def test_two_whole_numbers_have_one_key_only_as_one_phone(one: int, other: int, region: str) -> None:
    keys = {value(str(number), region) for number in (one, other)}
    assert len(keys) == len({one, other}) or next(iter(keys)).startswith("+")


@given(st.text(max_size=30) | st.from_regex(r"[0-9 .,:/%$+()APM-]{1,25}", fullmatch=True), regions)
@example("1.2000", "US")
@example("415555.0101", "US")
@example("04155550101", "US")
def test_a_canonical_value_stays_what_it_is(text: str, region: str) -> None:
    for keeps_zeros in (True, False):
        once = canonical_value(text, region, keeps_zeros=keeps_zeros)
        assert canonical_value(once, region, keeps_zeros=keeps_zeros) == once


def test_the_id_of_the_customer_is_never_changed() -> None:
    assert key_of(["AbC-007"], "US", 0) == "AbC-007"
    assert json.loads(key_of(["3/5/2026", "3/5/2026"], "US", 0)) == ["3/5/2026", "2026-03-05"]
    assert json.loads(key_of(["007", "007"], "US", 1)) == ["7", "007"]
    # Without the customer, one column is a list too.
    assert key_of(["1HG"], "US", None) == '["1hg"]'


def test_zeros_that_excel_drops_do_not_count_for_one_customer() -> None:
    assert key_of(["c-1", "0045123"], "US", 0) == key_of(["c-1", "45123"], "US", 0)
    assert key_of(["c-1", "000"], "US", 0) == key_of(["c-1", "0"], "US", 0)
    assert key_of(["c-1", "A007"], "US", 0) != key_of(["c-1", "A7"], "US", 0)
    # Without the customer's id, these may be two customers.
    assert key_of(["0045123"], "US", None) != key_of(["45123"], "US", None)
    assert key_of(["007"], "US", 0) == "007"


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5))
def test_the_keys_of_a_frame_are_those_of_its_rows(rows: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["Customer ID", "VIN"], dtype="string[python]")
    for columns, customer in ((frame, 0), (frame.iloc[:, [0]], 0), (frame.iloc[:, [1]], None)):
        keys = keys_of(columns, "US", customer)
        assert keys.tolist() == [key_of(values, "US", customer) for values in columns.to_numpy().tolist()]
