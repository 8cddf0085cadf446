"""Quiet hours while a run is sent: no text leaves in them, and every row is sent after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import came_to, history, outbox, planned, send_all, store_plan, stored
from sqlalchemy import insert
from virtual_time import VirtualTimeLoop
from world import CAMPAIGN

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.campaigns.quiet_hours import Hours, clock_of
from batchsend.campaigns.state_hours import state_rules
from batchsend.campaigns.zones import zone_with_newest_rules
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger, scratch_ledger
from batchsend.ledger.schema import messages
from batchsend.mykaarma.client import Departure
from batchsend.mykaarma.protocol import Answered, Judgement, Request
from batchsend.planning.waiting import WaitRules, mark_waiting, next_midnight, waiting_until
from batchsend.sending import dispatch as dispatching
from batchsend.sending import outbox as outboxes
from batchsend.sending import run_settings
from batchsend.sending import sender as senders
from batchsend.sending.dispatch import SendLoop
from batchsend.sending.pacing import Pacer
from batchsend.sending.run_settings import RunSettings
from batchsend.sending.stopping import Ending
from batchsend.statuses import Code, Status
from batchsend.utils.timestamps import start_of_window, to_text

CLOCKS = (
    "America/Chicago",
    "America/New_York",
    "America/Los_Angeles",
    "Pacific/Honolulu",
    "Europe/Berlin",
    "America/Denver|America/Los_Angeles",
    "America/Denver|America/Phoenix",
    "America/Adak|America/Anchorage|America/New_York",
    "",
)
ZONE = "America/Chicago"


class InlineLoop(VirtualTimeLoop):
    """Does the work for threads immediately, so that it takes no virtual time."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = self.create_future()
        done.set_result(func(*args))
        return done


class Recipients:
    """Accepts every text after `latency` seconds and records when each request left."""

    def __init__(self, now: Callable[[], datetime], latency: float) -> None:
        self.left: list[tuple[str, datetime]] = []
        self._now = now
        self._latency = latency

    async def post(self, request: Request, departure: Departure) -> Judgement:
        await asyncio.sleep(self._latency)  # connecting
        await departure.allowed()
        departure.left()
        self.left.append((request.customer_uuid, self._now()))
        await asyncio.sleep(self._latency)
        return Answered(Status.ACCEPTED, message_uuid="m")


def campaign(folder: Path, rate: float) -> Campaign:
    (folder / "campaign.toml").write_text(CAMPAIGN + f"[sending]\nrate = {rate}\n", encoding="utf-8")
    return load_campaign(folder / "campaign.toml")


def send_at(
    ledger: Ledger,
    folder: Path,
    clocks: list[str],
    begin: datetime,
    hours: Hours,
    *,
    rate: float,
    latency: float,
    wait: bool,
    stop_at: float | None = None,
    ahead: timedelta = timedelta(0),
    first_in: float = 0.0,
) -> tuple[Recipients, Ending, datetime]:
    """Sends a list of recipients with these clocks, from `begin` on, in virtual time.

    `ahead`: how much the clock is set back a minute later. `first_in`: seconds until the first request may leave.
    """
    loop = InlineLoop()

    def now() -> datetime:
        set_back = ahead if loop.time() > 60 else timedelta(0)
        return begin + timedelta(seconds=loop.time()) - set_back

    rows = [planned(row, clock=clock) for row, clock in enumerate(clocks, 2)]
    scratch = scratch_ledger(folder)
    with scratch.write() as connection:
        connection.execute(insert(messages), rows)
    zone = campaign(folder, rate).zone
    mark_waiting(scratch, 0, WaitRules(begin, zone, hours, wait=wait))
    held = stored(scratch, 0)
    scratch.close()
    stored_plan = store_plan(ledger, [{**row, "codes": held[row["row"]][1]} for row in rows])
    recipients = Recipients(now, latency)
    settings = RunSettings.of(campaign(folder, rate), "https://api.example.com", hours, wait=wait)
    send_loop = SendLoop(settings, lambda _event: None)

    async def story() -> Ending:
        if stop_at is not None:
            loop.call_later(stop_at, send_loop.stop, Ending("interrupted", interrupted=True))
        pacer = Pacer(settings.rate, first_in=first_in)
        return await send_loop.run(outbox(ledger, stored_plan), recipients, pacer, {})

    with (
        patch.object(dispatching, "now", now),
        patch.object(run_settings, "now", now),
        patch.object(outboxes, "now", now),
        # Checking the clock in each virtual second of a night would take long.
        patch.object(dispatching, "_CHECK_SECONDS", 60.0),
        patch.object(senders, "_WATCH_SECONDS", 600.0),
        asyncio.Runner(loop_factory=lambda: loop) as runner,
    ):
        ending = runner.run(story())
        end = now()
    return recipients, ending, end


begins = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    # The nights in which the clocks change, in Chicago, Berlin and New York.
    st.datetimes(datetime(2026, 3, 7, 20), datetime(2026, 3, 8, 20), timezones=st.just(UTC)),  # noqa: DTZ001
    st.datetimes(datetime(2026, 10, 31, 20), datetime(2026, 11, 1, 20), timezones=st.just(UTC)),  # noqa: DTZ001
    st.datetimes(datetime(2026, 10, 24, 20), datetime(2026, 10, 25, 20), timezones=st.just(UTC)),  # noqa: DTZ001
)


@settings(max_examples=25)
@given(
    clocks=st.lists(st.sampled_from(CLOCKS), min_size=1, max_size=25),
    begin=begins,
    begins_at=st.sampled_from([time(21), time(20, 30), time(1, 15)]),
    ends_at=st.sampled_from([time(8), time(2, 30), time(9, 45)]),
    rate=st.sampled_from([0.002, 0.05, 5.0]),
    latency=st.sampled_from([0.1, 7.0]),
    wait=st.booleans(),
)
def test_no_request_leaves_in_a_recipients_quiet_hours(
    clocks: list[str],
    begin: datetime,
    begins_at: time,
    ends_at: time,
    rate: float,
    latency: float,
    wait: bool,
) -> None:
    hours = Hours(begins_at, ends_at, fallback=ZONE, lead=timedelta(seconds=30))
    with TemporaryDirectory() as name:
        folder = Path(name)
        ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
        try:
            recipients, ending, end = send_at(
                ledger, folder, clocks, begin, hours, rate=rate, latency=latency, wait=wait
            )
            outcome = stored(ledger, 1)
        finally:
            ledger.close()
    assert ending.reason is None
    by_customer = {f"customer-{row}": clock for row, clock in enumerate(clocks, 2)}
    for customer, left in recipients.left:
        for zone in (by_customer[customer] or ZONE).split("|"):
            local = left.astimezone(zone_with_newest_rules(zone)).time()
            after, before = begins_at <= local, local < ends_at
            assert not ((after and before) if begins_at < ends_at else (after or before)), (customer, zone)
    # No text twice and no row lost: rows without a text wait for the hours to end, and only without `wait`.
    assert len({customer for customer, _ in recipients.left}) == len(recipients.left)
    accepted = {row for row, (status, _) in outcome.items() if status == Status.ACCEPTED}
    assert {f"customer-{row}" for row in accepted} == {customer for customer, _ in recipients.left}
    waiting = {row: found for row, found in outcome.items() if row not in accepted}
    assert set(waiting.values()) <= {(Status.PENDING, Code.QUIET_HOURS)}
    assert not (wait and waiting)
    # Rows of recipients without quiet hours all along and at the end do not wait.
    for row in waiting:
        assert not all(
            hours.allows(moment, clocks[row - 2]) for moment in (begin, begin + (end - begin) / 2, end)
        ) or not hours.allows(begin, clocks[row - 2])


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


TCPA = Hours(time(21), time(8), fallback=ZONE, lead=timedelta(seconds=30))


def test_a_run_that_reaches_the_evening_stops_texting_and_waits_for_the_morning(
    ledger: Ledger, tmp_path: Path
) -> None:
    begin = datetime(2026, 11, 24, 2, 58, tzinfo=UTC)  # 20:58 in Chicago
    recipients, ending, _ = send_at(
        ledger, tmp_path, [ZONE] * 20, begin, TCPA, rate=0.1, latency=0.1, wait=True
    )
    assert ending.reason is None
    local = [left.astimezone(campaign(tmp_path, 1).zone) for _, left in recipients.left]
    # One in ten seconds from 20:58:00 until 20:59:30; the others from 08:00 on, in the list's order.
    evening = [moment for moment in local if moment.hour == 20]
    assert 9 <= len(evening) <= 11
    assert all(moment.hour == 8 and moment.day == 24 for moment in local[len(evening) :])
    assert [customer for customer, _ in recipients.left] == [f"customer-{row}" for row in range(2, 22)]


def test_a_run_waits_for_the_hours_of_each_recipients_state_over_sundays_and_holidays(
    ledger: Ledger, tmp_path: Path
) -> None:
    hours = replace(TCPA, days_off=("2026-11-30",), states=state_rules())
    clocks = [clock_of([ZONE], states) for states in ([], ["IL"], ["WI", "MN"], ["AL"], ["IL", "LA"])]
    begin = datetime(2026, 11, 29, 2, 30, tzinfo=UTC)  # Saturday, 20:30 in Chicago
    recipients, ending, _ = send_at(
        ledger, tmp_path, [*clocks, f"{ZONE}|state:FL"], begin, hours, rate=1, latency=0.1, wait=True
    )
    assert ending.reason is None
    left = {customer: moment.astimezone(campaign(tmp_path, 1).zone) for customer, moment in recipients.left}
    assert [f"{left[f'customer-{row}']:%a %H:%M}" for row in range(2, 8)] == [
        "Sat 20:30",
        "Sat 20:30",
        "Sat 20:30",
        # Alabama and Louisiana allow no texts on Sundays, and Monday is a day off.
        "Tue 08:00",
        "Tue 08:00",
        "Sun 08:00",
    ]


def test_without_wait_the_rest_stays_pending_and_the_moment_to_come_back_is_said(
    ledger: Ledger, tmp_path: Path
) -> None:
    begin = datetime(2026, 11, 24, 2, 58, tzinfo=UTC)
    recipients, _, end = send_at(
        ledger, tmp_path, [ZONE] * 20, begin, TCPA, rate=0.1, latency=0.1, wait=False
    )
    waiting = [found for found in stored(ledger, 1).values() if found[0] != Status.ACCEPTED]
    assert set(waiting) == {(Status.PENDING, Code.QUIET_HOURS)}
    assert len(waiting) + len(recipients.left) == 20
    holding = WaitRules(end, campaign(tmp_path, 1).zone, TCPA)
    assert waiting_until(ledger, 1, holding) == datetime(2026, 11, 24, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [timedelta(hours=7), timedelta(days=7)])
def test_a_wait_ends_by_the_right_time_after_the_clock_was_ahead(
    ledger: Ledger, tmp_path: Path, ahead: timedelta
) -> None:
    begin = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)  # 05:00 in Chicago
    recipients, ending, _ = send_at(
        ledger, tmp_path, [ZONE] * 3, begin, TCPA, rate=1, latency=0.1, wait=True, ahead=ahead
    )
    assert ending.reason is None
    morning = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
    # 7 hours earlier it was 22:01, and the same morning came later. A week earlier, another one did.
    assert [moment.hour for _, moment in recipients.left] == [14] * 3
    assert recipients.left[0][1].date() == (morning - timedelta(days=ahead.days)).date()


def test_ctrl_c_ends_the_wait(ledger: Ledger, tmp_path: Path) -> None:
    begin = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)  # 23:00 in Chicago
    recipients, ending, end = send_at(
        ledger, tmp_path, [ZONE] * 3, begin, TCPA, rate=1, latency=0.1, wait=True, stop_at=100
    )
    assert ending.interrupted
    assert recipients.left == []
    assert (end - begin).total_seconds() == pytest.approx(100, abs=2)


def test_no_hour_has_more_texts_than_the_hourly_cap(ledger: Ledger, tmp_path: Path) -> None:
    begin = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
    recipients, ending, _ = send_at(
        ledger, tmp_path, [""] * 250, begin, TCPA, rate=120 / 3600, latency=0.2, wait=False, first_in=45
    )
    moments = [left for _, left in recipients.left]
    assert ending.reason is None
    assert len(moments) == 250
    assert timedelta(seconds=45) <= moments[0] - begin < timedelta(seconds=46)
    assert all(sum(at - timedelta(hours=1) < other <= at for other in moments) <= 120 for at in moments)
    assert all(later - at > timedelta(seconds=29) for at, later in pairwise(moments))


def test_the_daily_cap_leaves_the_rest_for_tomorrow(tmp_path: Path) -> None:
    scratch = scratch_ledger(tmp_path)
    with scratch.write() as connection:
        connection.execute(insert(messages), [planned(row, clock=ZONE) for row in range(2, 12)])
    noon = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
    holding = WaitRules(noon, campaign(tmp_path, 1).zone, TCPA, left_today=4, limit=3)
    mark_waiting(scratch, 0, holding)
    codes = [code for _, (_, code) in sorted(stored(scratch, 0).items())]
    assert codes == ["STOPPED"] * 3 + ["HELD_BACK"] + ["DAILY_CAP"] * 6
    # Tomorrow, and not at midnight: the hours are quiet then.
    assert waiting_until(scratch, 0, holding) == datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
    assert waiting_until(scratch, 0, replace(holding, hours=None)) == datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
    scratch.close()


def test_rows_that_wait_for_the_morning_do_not_count_for_todays_cap(tmp_path: Path) -> None:
    scratch = scratch_ledger(tmp_path)
    clocks = ["Pacific/Honolulu", "America/New_York", "Pacific/Honolulu", "America/New_York"]
    with scratch.write() as connection:
        connection.execute(
            insert(messages), [planned(row, clock=clock) for row, clock in enumerate(clocks, 2)]
        )
    morning = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)  # 09:00 in New York, 04:00 in Honolulu
    holding = WaitRules(morning, campaign(tmp_path, 1).zone, TCPA, left_today=2)
    mark_waiting(scratch, 0, holding)
    codes = [code for _, (_, code) in sorted(stored(scratch, 0).items())]
    assert codes == ["QUIET_HOURS", "STOPPED", "QUIET_HOURS", "STOPPED"]
    scratch.close()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/Chicago", "2026-03-08", 23),
        ("America/Chicago", "2026-11-01", 25),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ],
)
def test_a_capped_day_is_a_calendar_day_when_clocks_change_too(
    ledger: Ledger, zone: str, day: str, hours: float
) -> None:
    where = ZoneInfo(zone)
    noon = datetime.fromisoformat(f"{day} 12:00").replace(tzinfo=where).astimezone(UTC)
    begins, ends = start_of_window(noon, 1, where), next_midnight(noon, where)
    assert ends - begins == timedelta(hours=hours)
    second = timedelta(seconds=1)
    moments = [begins - second, begins, noon, ends - second, ends]
    stored_plan = store_plan(ledger, [planned(row) for row in range(2, 7)])
    send_all(
        ledger, stored_plan, *(came_to(row, sent_at=to_text(moment)) for row, moment in enumerate(moments, 2))
    )
    # A text of the next day has its time from a clock that was ahead; it takes no room of this day.
    assert history(ledger).texts_between(start_of_window(ends - second, 1, where), ends) == (3, 3)
    assert history(ledger).texts_between(start_of_window(ends, 1, where), next_midnight(ends, where)) == (
        1,
        1,
    )
