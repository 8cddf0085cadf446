"""Which rows wait: for quiet hours to end, and for tomorrow's cap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from faked_time import clock_at
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledgers import BASE_URL, came_to, outbox, sqlite_url, start_record
from sqlalchemy import select
from world import World

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.statuses import Status
from batchsend.utils.timestamps import to_text

ZONES = ("EST", "Eastern", "EST5EDT", "US/Eastern", "EDT", "America/New_York", "PST", "MST")


@pytest.mark.parametrize(
    ("moment", "waiting"),
    [
        # 21:30 in New York and 18:30 in Los Angeles, in summer and in winter.
        (datetime(2026, 7, 16, 1, 30, tzinfo=UTC), ZONES[:6]),
        (datetime(2026, 1, 16, 2, 30, tzinfo=UTC), ZONES[:6]),
        (datetime(2026, 7, 16, 0, 30, tzinfo=UTC), ()),
        # 21:30 in Denver.
        (datetime(2026, 7, 16, 3, 30, tzinfo=UTC), (*ZONES[:6], "MST")),
    ],
)
def test_the_names_of_american_zones_include_daylight_saving(
    tmp_path: Path, moment: datetime, waiting: tuple[str, ...]
) -> None:
    World(tmp_path).write(
        [{"Customer UUID": f"c{n}", "First Name": "Ann", "Timezone": zone} for n, zone in enumerate(ZONES)],
        campaign='[sending]\nquiet_hours = "TCPA"\n',
    )
    request = PlanRequest(load_campaign(tmp_path / "campaign.toml"), BASE_URL, "here", moment)
    query = select(messages.c.row).where(messages.c.codes == "QUIET_HOURS").order_by(messages.c.row)
    with make_plan(request, None) as plan, plan.scratch.read() as connection:
        assert tuple(ZONES[row - 2] for row in connection.scalars(query)) == waiting


@dataclass(frozen=True)
class Days:
    """A campaign with a daily cap that repeats itself. `changes`: each day has a new list with the same customers."""

    rows: int
    cap: int
    repeat: int
    changes: bool
    failing: frozenset[int]


@st.composite
def several_days(draw: st.DrawFn) -> Days:
    rows = draw(st.integers(1, 12))
    return Days(
        rows,
        cap=draw(st.integers(1, rows)),
        repeat=draw(st.integers(1, 5)),
        changes=draw(st.booleans()),
        failing=draw(st.frozensets(st.integers(0, rows - 1))),
    )


@pytest.mark.system
@given(several_days())
@example(Days(rows=6, cap=2, repeat=2, changes=False, failing=frozenset()))
@example(Days(rows=6, cap=2, repeat=1, changes=True, failing=frozenset({0, 1})))
@settings(max_examples=8)
def test_the_daily_cap_starves_no_row(case: Days) -> None:
    with TemporaryDirectory() as name, clock_at(datetime(2026, 3, 2, 18, tzinfo=UTC)) as clock:
        world = World(Path(name)).write(
            campaign=f"[sending]\nper_day = {case.cap}\n[recipients]\nrepeat_after_days = {case.repeat}\n"
        )
        campaign = load_campaign(world.folder / "campaign.toml")
        ledger = open_ledger(sqlite_url(world.folder / "ledger.db"))
        tried: dict[str, list[int]] = {f"c{n}": [] for n in range(case.rows)}
        round_of_all = ceil(case.rows / case.cap)
        days = 2 * (round_of_all + case.repeat) + 2
        for day in range(days):
            if case.changes or not day:
                world.write_list([{"Customer UUID": who, "First Name": f"on {day}"} for who in tried])
            for who in send_day(campaign, ledger, clock.now, {f"c{n}" for n in case.failing}):
                tried[who].append(day)
            clock.move(timedelta(days=1))
        ledger.close()
    for who, sent in tried.items():
        # In a list that does not change, a failed row needs --resend.
        ends = days if case.changes or int(who[1:]) not in case.failing else sent[-1]
        gaps = [later - earlier for earlier, later in pairwise([*sent, ends])]
        assert sent[0] < round_of_all, (who, sent)
        assert all(gap <= round_of_all + case.repeat for gap in gaps), (who, sent)


def send_day(campaign: Campaign, ledger: Ledger, now: datetime, failing: set[str]) -> list[str]:
    """Sends what the plan of this moment lets go, and returns the customers to whom a request was made."""
    with make_plan(PlanRequest(campaign, BASE_URL, "here", now), ledger) as plan:
        known, run = plan.known, plan.run
        planned = ledger.store_plan(
            plan.scratch,
            plan.identity,
            known.id if known else None,
            run.id if run else None,
            plan.new_run(),
            start_record(),
        )
    sender = outbox(ledger, planned)
    claimed = sender.exchange([], 1000)
    outcomes = [
        came_to(row, Status.FAILED if row.customer_uuid in failing else Status.ACCEPTED, sent_at=to_text(now))
        for row in claimed
    ]
    sender.exchange(outcomes, 0)
    return [row.customer_uuid for row in claimed]


def test_yesterdays_rest_goes_before_new_customers(tmp_path: Path) -> None:
    world = World(tmp_path).write(campaign="[sending]\nper_day = 2\n")
    campaign = load_campaign(tmp_path / "campaign.toml")
    ledger = open_ledger(sqlite_url(tmp_path / "ledger.db"))
    noon = datetime(2026, 3, 2, 18, tzinfo=UTC)
    lists = (("a", "b", "c", "d"), ("new-1", "new-2", "c", "d"), ("new-3", "new-1", "new-2"))
    texted = []
    for day, people in enumerate(lists):
        world.write_list([{"Customer UUID": who, "First Name": "Ann"} for who in people])
        with clock_at(noon + timedelta(days=day)) as clock:
            texted.append(send_day(campaign, ledger, clock.now, set()))
    ledger.close()
    assert texted == [["a", "b"], ["c", "d"], ["new-1", "new-2"]]


@pytest.mark.parametrize("campaign", ["per_day = 2", ""])
@pytest.mark.parametrize("wait", [True, False])
def test_rows_that_no_hour_suits_take_no_place_of_others(
    tmp_path: Path, campaign: str, *, wait: bool
) -> None:
    """It is always night in Guam or in New York. These rows would use up the cap and the limit each day."""
    nowhere = [{"Customer UUID": f"never-{n}", "ZIP": "96910", "State": "NY"} for n in range(3)]
    awake = [{"Customer UUID": f"awake-{n}", "ZIP": "60601", "State": "IL"} for n in range(3)]
    hours = 'quiet_hours = { from = "17:30", to = "09:00", timezone = "recipient" }'
    World(tmp_path).write(
        nowhere + awake, campaign=f"[sending]\n{hours}\n{campaign}\n", template="It is time for your service."
    )
    # 18:00 in Chicago, or 12:00 if the start does not wait.
    moment = datetime(2026, 11, 24, 0 if wait else 18, tzinfo=UTC)
    limit = None if campaign else 2
    request = PlanRequest(
        load_campaign(tmp_path / "campaign.toml"), BASE_URL, "here", moment, wait=wait, limit=limit
    )
    query = select(messages.c.codes).order_by(messages.c.row)
    with make_plan(request, None) as plan, plan.scratch.read() as connection:
        codes = list(connection.scalars(query))
    assert codes[:3] == ["QUIET_HOURS"] * 3
    assert codes[3:] == ["QUIET_HOURS" if wait else "STOPPED"] * 2 + [
        "DAILY_CAP" if campaign else "HELD_BACK"
    ]


def test_the_cap_of_segments_leaves_the_rest_for_tomorrow(tmp_path: Path) -> None:
    world = World(tmp_path).write(
        campaign="[sending]\nper_day_segments = 6\n",
        template="{{ first_name }}, it is time for your service.",
    )
    campaign = load_campaign(tmp_path / "campaign.toml")
    ledger = open_ledger(sqlite_url(tmp_path / "ledger.db"))
    noon = datetime(2026, 3, 2, 18, tzinfo=UTC)
    # Two segments each; those of one and those of the cap's rest come later.
    long = "Ann" * 60
    world.write_list([{"Customer UUID": who, "First Name": long} for who in "abcdefg"])
    texted = []
    for day in range(3):
        with clock_at(noon + timedelta(days=day)) as clock:
            texted.append(send_day(campaign, ledger, clock.now, set()))
    ledger.close()
    assert texted == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
