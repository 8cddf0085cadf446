"""What a person is told about a plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import BASE_URL
from world import World

from batchsend.campaigns.file import load_campaign
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.planning.remarks import named_values
from batchsend.planning.summarizer import summarize
from batchsend.planning.summary import PlanSummary


def summary(
    folder: Path, rows: Sequence[dict[str, str]], campaign: str = "", limit: int | None = None
) -> PlanSummary:
    """The summary of a first start with these rows, at noon in Chicago."""
    World(folder).write(
        [{"Customer UUID": f"c{number}", "First Name": "Ann", **row} for number, row in enumerate(rows)],
        campaign=campaign,
    )
    moment = datetime(2026, 3, 2, 18, tzinfo=UTC)
    request = PlanRequest(load_campaign(folder / "campaign.toml"), BASE_URL, "here", moment, limit)
    with make_plan(request, None) as plan:
        return summarize(plan)


@pytest.mark.parametrize(
    ("limit", "remarks"),
    [
        (None, ("3 texts without a phone: sent to the customer's preferred number.",)),
        (4, ("1 text without a phone: sent to the customer's preferred number.",)),
        (3, ()),
    ],
)
def test_only_the_texts_of_this_start_are_counted(
    tmp_path: Path, limit: int | None, remarks: tuple[str, ...]
) -> None:
    phones = [f"312555010{number}" for number in range(3)] + [""] * 3
    assert summary(tmp_path, [{"Phone": phone} for phone in phones], limit=limit).remarks == remarks


def test_texts_that_wait_for_quiet_hours_are_not_counted(tmp_path: Path) -> None:
    rows = [
        {"Phone": "3125550100", "Timezone": "CT"},
        {"Phone": "", "Timezone": "CT"},
        {"Phone": "", "Timezone": "Asia/Tokyo"},
    ]
    found = summary(tmp_path, rows, '[sending]\nquiet_hours = "TCPA"\n')
    assert (found.texts, found.remarks) == (
        2,
        ("1 text without a phone: sent to the customer's preferred number.",),
    )


def test_rows_that_no_hour_suits_are_named(tmp_path: Path) -> None:
    # A Russian mobile phone may be anywhere from Kaliningrad to Kamchatka.
    rows = [{"Phone": "+79161234567"}, {"Phone": "+79161234568"}, {"Phone": "", "Timezone": "CT"}]
    short = '[sending]\nquiet_hours = { from = "18:00", to = "10:00", timezone = "recipient" }\n'
    (never,) = summary(tmp_path, rows[:2], short).remarks
    assert never == (
        "2 rows cannot be texted at any hour: it is always night in one of the phone's time zones. "
        "Give the list a column with time zones."
    )
    long = short.replace("18:00", "21:00").replace("10:00", "08:00")
    assert summary(tmp_path, rows[:2], long).remarks == ()


def test_the_remarks_say_which_zone_decided(tmp_path: Path) -> None:
    rows = [
        {"Phone": "3125550100", "Timezone": "Chicagoland", "Zip": "60601"},
        {"Phone": "3125550101", "Timezone": "", "Zip": "Illinois"},
        {"Phone": "8005550102", "Timezone": "", "Zip": ""},
    ]
    assert summary(tmp_path, rows, '[sending]\nquiet_hours = "TCPA"\n').remarks == (
        '"Chicagoland" cannot be used as a time zone. For 1 row, the ZIP code, state or area code decides.',
        '"Illinois" is not recognized as a ZIP code or state. For 1 row, the phone\'s area code decides.',
        "1 row without a known time zone: the campaign's time zone decides.",
    )


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, (("í", 2, (2, 4)),)), (2, (("í", 1, (2,)),)), (0, ())]
)
def test_only_costly_texts_of_this_start_are_counted(
    tmp_path: Path, limit: int | None, expected: tuple[object, ...]
) -> None:
    found = summary(tmp_path, [{"First Name": name} for name in ("María", "Ann", "Lucía")], limit=limit)
    assert tuple((one.character, one.texts, one.rows) for one in found.costly) == expected


CONSENT = '[recipients]\nconsent = { column = "ok", yes = ["Y", "Yes"] }\n'


def test_the_cells_of_a_malformed_row_are_not_shown_as_consent(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text(
        "Customer UUID,First Name,Phone,OK\nc1,Ann,3125550101,Y\nc2,Lee, Dan,3125550102,Y\n", encoding="utf-8"
    )
    World(tmp_path).write(campaign=CONSENT)
    request = PlanRequest(load_campaign(tmp_path / "campaign.toml"), BASE_URL, "here", datetime.now(UTC))
    with make_plan(request, None) as plan:
        assert plan.counts == {"pending": 1, "invalid": 1}
        assert summarize(plan).consent_counts == ['1 row says yes in "OK": "Y" 1.']


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        (["Y", "y", "N", ""], ['2 rows say yes in "OK": "Y" 1, "y" 1.', '2 rows do not: "N" 1, blank 1.']),
        (["Y", "N"], ['1 row says yes in "OK": "Y" 1.', '1 row does not: "N" 1.']),
        (["Y"], ['1 row says yes in "OK": "Y" 1.']),
        (["1", "1", ""], ['No row says yes in "OK": "1" 2, blank 1.']),
    ],
)
def test_consent_says_which_values_mean_yes(tmp_path: Path, values: list[str], lines: list[str]) -> None:
    assert summary(tmp_path, [{"OK": value} for value in values], CONSENT).consent_counts == lines


def test_of_many_values_the_most_frequent_are_named() -> None:
    counts = {f"v{number}": 100 - number for number in range(100)}
    first = ", ".join(f'"v{number}" {100 - number}' for number in range(20))
    assert named_values(counts) == f"{first}, 80 more values in 3,240 rows"


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        (["CR-V", "Civic", "Fit"], 'The condition keeps the rows with model == "CR-V": 2 rows are skipped.'),
        (["CR-V", "Civic"], 'The condition keeps the rows with model == "CR-V": 1 row is skipped.'),
        (["CR-V"], 'The condition keeps the rows with model == "CR-V": 0 rows are skipped.'),
    ],
)
def test_a_condition_is_shown_with_what_it_skips(tmp_path: Path, models: list[str], sentence: str) -> None:
    campaign = "[recipients]\nwhere = 'model == \"CR-V\"'\n"
    assert summary(tmp_path, [{"Model": model} for model in models], campaign).remarks == (sentence,)


def test_the_campaigns_own_hours_of_states_are_said_in_words(tmp_path: Path) -> None:
    florida = '[hours.FL]\nfrom = "19:00"\nto = "10:00"\nsunday = "no texts"\nholidays = ["12-24"]\n'
    georgia = '[hours.GA]\nsunday = "no texts"\n'
    found = summary(tmp_path, [{}], f'[sending]\nquiet_hours = "TCPA"\n{florida}{georgia}')
    assert found.hours == (
        "No texts from 21:00 to 08:00, each recipient's time. "
        "By the campaign's own hours, texts may go out only at these times: "
        "Florida: Monday to Saturday 10:00 AM to 7:00 PM, Sunday no texts, Holidays no texts (12-24); "
        "Georgia: Sunday no texts."
    )
    assert summary(tmp_path, [{}], georgia).hours == (
        "No quiet hours are set: texts may go out at any hour of the day or night, except as follows. "
        "By the campaign's own hours, texts may go out only at these times: Georgia: Sunday no texts."
    )
