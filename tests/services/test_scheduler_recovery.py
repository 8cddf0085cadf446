"""`batchsend schedule`: a start that did not finish is resumed, tried again or reported, also with a wrong clock."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from faked_time import ClockFile
from hypothesis import given, settings
from hypothesis import strategies as st
from misbehaving import Misbehaving, answer, misbehaving, refusal, says, success, waits_until
from schedules import (
    HOUR,
    MINUTE,
    TEN,
    Place,
    SimulatedSend,
    Watching,
    abandon,
    posix,
    scheduled,
    soon,
    utc,
    watching,
)
from world import CAMPAIGN, Sandbox, World, customers

from batchsend.ledger.ledger import Ledger, hold_nothing
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.planned_starts import Scheduled, last_made
from batchsend.sending.locks import campaign_lock, scheduling_lock
from batchsend.services.scheduler import Service

WHO = Scheduled("Spring", "http://127.0.0.1:9")
SECOND = timedelta(seconds=1)
TEN_OCLOCK = "2026-11-23T16:00:00.000Z"


def at_sending(place: Place) -> Service:
    """A scheduler at 10:00, whose campaign is being sent."""
    place.child = lambda: SimulatedSend(ledger_of(place), WHO, place.now)
    place.write(TEN)
    service = place.scheduler()
    place.run(service, until="2026-11-23T10:00-06:00")
    assert len(place.started) == 1
    return service


def ledger_of(place: Place) -> str:
    return os.environ.get("BATCHSEND_LEDGER") or f"sqlite:///{place.folder / '.batchsend' / 'ledger.db'}"


def opened(place: Place) -> closing[Ledger]:
    return closing(open_ledger(ledger_of(place)))


def later(place: Place, service: Service, span: timedelta = MINUTE, step: timedelta = 10 * SECOND) -> None:
    place.run(service, until=place.now + span, step=step)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- tried again


@pytest.mark.parametrize(("exit_code", "restarts"), [(3, False), (3, True), (-9, False), (3221225786, False)])
@pytest.mark.system
def test_an_exit_that_time_may_mend_is_tried_again_with_back_off(
    place: Place, exit_code: int, *, restarts: bool
) -> None:
    place.exit_code = exit_code
    place.write(TEN)
    service = place.scheduler()
    service.turn()
    place.now = utc("2026-11-23T09:59-06:00")
    while place.now < utc("2026-11-23T12:03-06:00"):
        later(place, service, step=MINUTE)
        if restarts and not service.running:
            service = place.scheduler()
    # Waits double, up to 15 minutes, until expires_after.
    assert [text[3:8] for text in place.times()] == [
        *("10:00", "10:01", "10:02", "10:04", "10:08", "10:16"),
        *("10:31", "10:46", "11:01", "11:16", "11:31", "11:46"),
    ]
    assert len(place.logged("retry")) == len(place.logged("goes_on")) == 11
    assert place.logged("retry")[2]["at"] == "2026-11-23T16:04:00.000Z"
    (missed,) = place.logged("missed")
    assert (missed["planned"], missed["left"]) == (TEN_OCLOCK, None)
    assert f"ended with exit code {exit_code}; it did not get as far as sending" in missed["message"]
    service.turn()
    assert service.needs_attention


@pytest.mark.parametrize(("exit_code", "attention"), [(0, False), (1, True), (2, True), (5, False)])
def test_other_exits_are_final(place: Place, exit_code: int, *, attention: bool) -> None:
    place.exit_code = exit_code
    place.write(TEN)
    service = place.scheduler()
    place.run(service, until="2026-11-23T11:00-06:00")
    assert len(place.started) == 1
    assert service.needs_attention == attention
    assert place.logged("retry") == place.logged("missed") == []
    # The next scheduler knows it too.
    again = place.scheduler()
    again.turn()
    assert again.needs_attention == attention
    assert len(place.started) == 1


def test_a_campaign_that_another_process_sends_is_looked_at_again(place: Place) -> None:
    place.exit_code = 4
    place.write(TEN)
    service = place.scheduler()
    service.turn()
    with opened(place) as ledger, campaign_lock(ledger, WHO.campaign, WHO.base_url):
        place.run(service, until="2026-11-23T10:30-06:00", step=MINUTE)
        # It fails once, and is not started as long as that process sends.
        assert len(place.started) == 1
        assert not service.needs_attention
    place.exit_code = 0
    later(place, service, 3 * MINUTE)
    assert [entry["exit"] for entry in place.logged("finished")] == [4, 0]
    assert place.logged("missed") == []


def test_attempts_that_only_cost_rows_are_not_repeated_for_ever(place: Place) -> None:
    """An API that answers nonsense leaves a row `unconfirmed` at each attempt."""
    service = at_sending(place)
    for attempt in range(2):
        assert len(place.started) == attempt + 1
        place.children[-1].finish(3, place.now, tried="unconfirmed")
        later(place, service, 5 * MINUTE, MINUTE)
    (missed,) = place.logged("missed")
    assert missed["left"] == 1
    assert "two attempts in a row texted no one" in missed["message"]
    assert (len(place.logged("retry")), len(place.started)) == (1, 2)
    assert service.needs_attention


def test_attempts_that_text_someone_are_repeated(place: Place) -> None:
    service = at_sending(place)
    for status in ("unconfirmed", "accepted", "unconfirmed"):
        place.children[-1].finish(3, place.now, tried=status)
        later(place, service, 16 * MINUTE, 4 * MINUTE)
    assert len(place.started) == 4


def test_a_run_that_was_stopped_for_good_is_not_tried_again(place: Place) -> None:
    service = at_sending(place)
    place.children[0].finish(3, place.now)
    service.turn()
    assert len(place.logged("retry")) == 1
    with opened(place) as ledger:
        assert ledger.give_up(1, hold_nothing, "dana") == 3
    later(place, service, HOUR, MINUTE)
    assert len(place.started) == 1
    (missed,) = place.logged("missed")
    assert "a person stopped its run for good" in missed["message"]


def test_a_start_that_is_due_replaces_one_that_is_tried_again(place: Place) -> None:
    place.exit_code = 3
    place.write('cron = "0 * * * *"')
    service = place.scheduler()
    place.run(service, until="2026-11-23T10:59-06:00", step=MINUTE)
    place.exit_code = 0
    place.run(service, until="2026-11-23T11:59-06:00", step=MINUTE)
    (missed,) = place.logged("missed")
    assert missed["planned"] == TEN_OCLOCK
    assert "The start of 2026-11-23 11:00 follows." in missed["message"]
    assert place.times()[-1] == "23 11:00 -0600"
    assert not service.needs_attention


@pytest.mark.parametrize("renamed", [True, False])
def test_rows_of_a_campaign_that_is_not_watched_any_more_are_reported(place: Place, *, renamed: bool) -> None:
    file = place.write('cron = "0 10 * * *"')
    place.exit_code = None
    service = place.scheduler()
    place.run(service, until="2026-11-23T10:10-06:00")
    if renamed:
        place.write('cron = "0 10 * * *"', "Winter").replace(file)
    else:
        file.unlink()
    place.run(service, until="2026-11-23T10:20-06:00")
    place.children[0].exit_code = 3
    place.run(service, until="2026-11-23T11:00-06:00")
    (missed,) = place.logged("missed")
    assert missed["campaign"] == "Spring"
    assert "removed or has another campaign now" in missed["message"]
    assert not place.logged("retry")
    assert service.needs_attention


def test_of_two_schedulers_one_tries_again(any_place: Place) -> None:
    place = any_place
    place.exit_code = 3
    place.write(f'{TEN}\nexpires_after = "6m"')
    services = [place.scheduler(), place.scheduler()]
    place.run(*services, until=place.now + MINUTE, step=MINUTE)
    place.now = utc("2026-11-23T10:00-06:00")
    place.run(*services, until="2026-11-23T10:08-06:00", step=MINUTE)
    assert len(place.started) == len(set(place.started)) == len(place.logged("finished")) > 2
    assert len(place.logged("missed")) == 1


# --- cut short


def test_a_start_is_resumed_after_a_reboot(any_place: Place) -> None:
    place = any_place
    service = at_sending(place)
    abandon(service)
    place.children[0].kill()
    place.now += 119 * MINUTE
    service = place.scheduler()
    later(place, service, 5 * SECOND)
    assert [entry["planned"] for entry in place.logged("goes_on")] == [TEN_OCLOCK]
    place.children[1].finish(0, place.now)
    later(place, service, HOUR, MINUTE)
    assert [entry["exit"] for entry in place.logged("finished")] == [0]
    assert len(place.started) == 2
    assert place.logged("missed") == []


def test_a_running_scheduler_resumes_what_another_one_left(any_place: Place) -> None:
    place = any_place
    service = at_sending(place)
    other = place.scheduler()
    later(place, other, 5 * MINUTE, MINUTE)
    assert place.logged("goes_on") == []
    abandon(service)
    place.children[0].kill()
    later(place, other, 5 * SECOND)
    assert len(place.logged("goes_on")) == 1


def test_past_its_time_it_is_missed_once_with_the_rows_that_were_left(any_place: Place) -> None:
    place = any_place
    service = at_sending(place)
    abandon(service)
    place.children[0].kill()
    place.now += 121 * MINUTE
    for _ in range(3):
        service = place.scheduler()
        later(place, service, 5 * MINUTE, MINUTE)
        assert service.needs_attention
    (missed,) = place.logged("missed")
    assert (missed["planned"], missed["left"]) == (TEN_OCLOCK, 3)
    assert (
        "was cut short; 3 rows without an outcome. It is not tried again, because expires_after is 2 hours"
        in missed["message"]
    )
    assert len(place.started) == 1


@pytest.mark.parametrize("exit_code", [0, 1, 3, 5])
def test_the_real_end_of_a_start_that_outlived_its_scheduler(any_place: Place, exit_code: int) -> None:
    place = any_place
    service = at_sending(place)
    abandon(service)
    service = place.scheduler()
    later(place, service, 5 * MINUTE, MINUTE)
    assert place.logged("goes_on") == place.logged("finished") == []
    place.children[0].finish(exit_code, place.now)
    later(place, service, 12 * MINUTE, 3 * MINUTE)
    assert [entry["exit"] for entry in place.logged("finished")] == [exit_code]
    assert len(place.logged("retry")) == len(place.logged("goes_on")) == (exit_code == 3)
    assert service.needs_attention == (exit_code == 1)
    assert place.logged("finished")[0].get("waiting") == (3 if exit_code == 5 else None)


def test_what_a_person_stopped_stays_stopped(place: Place) -> None:
    service = at_sending(place)
    abandon(service)
    place.children[0].finish(130, place.now, stopped=True)
    service = place.scheduler()
    later(place, service, HOUR, MINUTE)
    assert [entry["exit"] for entry in place.logged("finished")] == [130]
    assert len(place.started) == 1
    assert not service.needs_attention


def test_what_a_signal_stopped_without_its_scheduler_is_resumed(place: Place) -> None:
    """A shutdown ends the scheduler at once and lets the started process finish its requests in flight."""
    service = at_sending(place)
    abandon(service)
    place.children[0].finish(130, place.now)
    later(place, place.scheduler(), 5 * SECOND)
    assert len(place.logged("goes_on")) == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_what_a_signal_stopped_under_its_scheduler_is_resumed(place: Place, *, stopped: bool) -> None:
    """A shutdown can reach the started process first."""
    service = at_sending(place)
    place.children[0].finish(130, place.now, stopped=stopped)
    later(place, service, 5 * MINUTE)
    assert len(place.logged("goes_on")) == (not stopped)
    assert len(place.started) == (1 if stopped else 2)


def test_a_start_that_is_due_while_one_still_runs_without_its_scheduler(place: Place) -> None:
    place.child = lambda: SimulatedSend(ledger_of(place), WHO, place.now)
    place.write('cron = "0 * * * *"')
    service = place.scheduler()
    place.run(service, until="2026-11-23T10:00-06:00")
    abandon(service)
    service = place.scheduler()
    place.run(service, until="2026-11-23T11:30-06:00")
    (missed,) = place.logged("missed")
    assert "because the previous start still runs" in missed["message"]
    assert len(place.started) == 1
    # It runs on past expires_after, too.
    place.run(service, until="2026-11-23T13:30-06:00")
    assert len(place.started) == 1
    place.children[0].finish(0, place.now)
    place.run(service, until="2026-11-23T14:00-06:00")
    assert [entry["exit"] for entry in place.logged("finished")] == [0]
    assert place.times()[1:] == ["23 14:00 -0600"]


def test_a_look_of_another_scheduler_costs_no_start(place: Place) -> None:
    """While another scheduler holds the lock to look, a due start waits for the next turn."""
    place.write(TEN)
    service = place.scheduler()
    service.turn()
    place.now = utc("2026-11-23T10:00-06:00")
    with opened(place) as ledger, scheduling_lock(ledger, WHO.campaign, WHO.base_url):
        service.turn()
        assert place.started == place.logged("missed") == []
    service.turn()
    assert place.times() == ["23 10:00 -0600"]


def test_the_options_of_send(place: Place) -> None:
    place.write(f"{TEN}\nwait = true\nstrict = true\nexpect = 3")
    place.exit_code = 3
    service = place.scheduler()
    place.run(service, until="2026-11-23T10:03-06:00", step=MINUTE)
    # The first attempt stored no run, so the second one checks the number, too.
    assert place.options == [["--wait", "--strict", "--expect", "3"]] * 2
    place.child = lambda: SimulatedSend(ledger_of(place), WHO, place.now)
    later(place, service, 4 * MINUTE)
    place.children[-1].finish(3, place.now)
    later(place, service, 20 * MINUTE)
    assert place.options[3:] == [["--wait", "--strict"]]


# --- clocks


@pytest.mark.parametrize(("ahead", "restart"), [(timedelta(days=1), False), (timedelta(days=366), True)])
def test_a_clock_that_was_once_ahead_stops_no_schedule(
    any_place: Place, ahead: timedelta, *, restart: bool
) -> None:
    place = any_place
    right = place.now
    place.now += ahead
    place.write(TEN)
    service = place.scheduler()
    place.run(service, until=place.now + 2 * HOUR, step=30 * MINUTE)
    assert len(place.started) == 1
    place.now = right
    if restart:
        service = place.scheduler()
    place.run(service, until="2026-11-24T12:00-06:00", step=30 * MINUTE)
    assert place.times()[1:] == ["23 10:00 -0600", "24 10:00 -0600"]
    assert len(place.logged("clock")) == len(place.logged("forgotten")) == 1
    assert place.logged("missed") == []


def test_a_schedule_that_was_written_while_the_clock_was_ahead(place: Place) -> None:
    right = place.now
    place.now += timedelta(days=30)
    place.write(TEN)
    place.scheduler().turn()
    place.now = right
    place.run(place.scheduler(), until="2026-11-23T12:00-06:00")
    assert place.times() == ["23 10:00 -0600"]


def test_a_clock_that_is_behind_after_a_boot_forgets_nothing(place: Place) -> None:
    place.write(TEN)
    place.run(place.scheduler(), until="2026-11-23T10:30-06:00")
    right, place.now = place.now, utc("2020-01-01T00:00-06:00")
    service = place.scheduler()
    later(place, service, 40 * SECOND)
    place.now = right + 40 * SECOND
    place.run(service, until="2026-11-23T12:00-06:00")
    assert len(place.logged("clock")) == 1
    assert place.logged("forgotten") == place.logged("missed") == []
    assert len(place.started) == 1


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_whatever_happens_each_start_is_made_or_reported(data: st.DataObject) -> None:
    """Kills, exits and restarts in any order: never two processes of a campaign, and no start without an end."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as name:
        patch.setenv("MYKAARMA_BASE_URL", WHO.base_url)
        patch.delenv("BATCHSEND_LEDGER", raising=False)
        patch.chdir(name)
        place = Place(Path(name))
        place.child = lambda: SimulatedSend(ledger_of(place), WHO, place.now)
        place.write('cron = "0 */3 * * *"')
        services = [place.scheduler(), place.scheduler()]
        steps = st.sampled_from(["minute", "hour", "end", "kill", "crash", "both"])
        for step in data.draw(st.lists(steps, max_size=12)):
            alive = [child for child in place.children if child.exit_code is None]
            assert len(alive) <= 1
            for child in alive if step in ("end", "kill", "both") else ():
                if step == "end":
                    child.finish(data.draw(st.sampled_from([0, 1, 3, 5, 130])), place.now)
                else:
                    child.kill()
            if step in ("crash", "both"):
                abandon(services.pop(data.draw(st.integers(0, 1))))
                services.append(place.scheduler())
            place.run(*services, until=place.now + (HOUR if step == "hour" else MINUTE), step=30 * MINUTE)
        place.exit_code = 0
        place.child = None
        for child in [child for child in place.children if child.exit_code is None]:
            child.finish(0, place.now)
        place.run(*services, until=place.now + 6 * HOUR, step=30 * MINUTE)
        place.run(*services, until=place.now + MINUTE)
        with opened(place) as ledger:
            last = last_made(ledger, WHO)
        assert last is None or not last.unfinished
        ended = {entry["planned"] for event in ("finished", "missed") for entry in place.logged(event)}
        assert {entry["planned"] for entry in place.logged("started")} <= ended
        given_up = [entry["planned"] for entry in place.logged("missed")]
        assert len(given_up) == len(set(given_up))
        assert not any(service.running for service in services)


# --- the command itself


class Night:
    """A campaign of six rows whose time is 10:00, and a clock of real processes that shows a second before."""

    def __init__(self, folder: Path, bench: Misbehaving, ledger_url: str | None = None) -> None:
        self.bench = bench
        self.clock = ClockFile(folder / "clock", datetime(2026, 11, 23, 9, 59, 59, tzinfo=UTC))
        self.world = World(folder, bench.base_url, dict(self.clock.environment))
        if ledger_url is not None:
            self.world.environment["BATCHSEND_LEDGER"] = ledger_url
        text = CAMPAIGN.replace("America/Chicago", "UTC") + f"[schedule]\n{TEN}\n"
        slowly = "[sending]\nrate = 5\nconcurrency = 1\ntimeout = 60\n"
        self.world.write(customers(6), campaign=text + slowly)
        self.held = threading.Event()
        bench.scripts["customer-2"] = [[waits_until(self.held), says(answer(200, success()))]]

    def send_of(self, scheduler: Watching) -> psutil.Process:
        """The process that the scheduler started."""
        (child,) = psutil.Process(scheduler.process.pid).children()
        return child

    def check_rows(self, in_doubt: int = 0) -> None:
        """Each row was texted once; some of those in flight at a kill (2 x concurrency) may not have been."""
        rows = self.world.workbook().values()
        unconfirmed = {row["Customer UUID"] for row in rows if row["status"] == "unconfirmed"}
        assert len(unconfirmed) <= in_doubt
        assert set(self.bench.customers().values()) == {1}
        assert {*self.bench.customers(), *unconfirmed} == {f"customer-{number}" for number in range(6)}


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with misbehaving() as bench:
        yield Night(tmp_path, bench)


@pytest.mark.system
@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.system)])
@pytest.mark.parametrize(
    "ledger_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)], indirect=True
)
def test_kill_of_scheduler_and_send(tmp_path: Path, ledger_url: str, number: int) -> None:
    with misbehaving() as bench:
        night = Night(tmp_path, bench, ledger_url)
        with watching(night.world) as scheduler:
            bench.wait_for_requests(3)
            child = night.send_of(scheduler)
            scheduler.process.kill()
            child.send_signal(number)
            night.held.set()
            psutil.wait_procs([child])
        with watching(night.world) as scheduler:
            finished = scheduler.until("finished")
            assert "goes_on" in [event["event"] for event in scheduler.events]
            # After a kill, rows that were in flight are `unconfirmed`.
            assert finished["exit"] == (1 if number == signal.SIGKILL else 0)
            assert scheduler.stop() == finished["exit"]
        night.check_rows(2 if number == signal.SIGKILL else 0)


@posix
@pytest.mark.system
def test_kill_of_the_send_alone(night: Night) -> None:
    with watching(night.world) as scheduler:
        night.bench.wait_for_requests(3)
        night.send_of(scheduler).kill()
        night.held.set()
        assert scheduler.until("finished")["exit"] == -9
        assert scheduler.until("retry")["planned"] == "2026-11-23T10:00:00.000Z"
        night.clock.move(timedelta(minutes=1, seconds=5))
        assert scheduler.until("goes_on")["planned"] == "2026-11-23T10:00:00.000Z"
        assert scheduler.until("finished")["exit"] == 1
        assert scheduler.stop() == 1
    night.check_rows(2)


@posix
@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.system
def test_kill_of_the_scheduler_alone(night: Night, exit_code: int) -> None:
    if exit_code:
        night.bench.scripts["customer-4"] = [[says(answer(200, refusal("OPTED_OUT_COMMUNICATION_VALUE")))]]
    with watching(night.world) as killed:
        night.bench.wait_for_requests(3)
        child = night.send_of(killed)
        killed.process.kill()
        with watching(night.world) as scheduler:
            scheduler.until("warning")
            assert child.is_running()
            night.held.set()
            finished = scheduler.until("finished")
            assert (finished["exit"], finished["planned"]) == (exit_code, "2026-11-23T10:00:00.000Z")
            assert scheduler.stop() == exit_code
    assert "goes_on" not in [event["event"] for event in scheduler.events]
    night.check_rows()


@posix
@pytest.mark.system
def test_what_was_left_of_a_night_is_reported_once(night: Night) -> None:
    with watching(night.world) as scheduler:
        night.bench.wait_for_requests(3)
        child = night.send_of(scheduler)
        scheduler.process.kill()
        child.kill()
        night.held.set()
        psutil.wait_procs([child])
    night.clock.move(timedelta(hours=3))
    missed = []
    for _ in range(2):
        with watching(night.world) as scheduler:
            scheduler.until("warning")
            night.world.run("schedule", "--list")
            assert scheduler.stop() == 1
        missed += [event for event in scheduler.events if event["event"] == "missed"]
    # The row in flight is among them.
    assert [event["left"] for event in missed] == [4]
    listed = night.world.run("schedule", "--list").out
    assert "last Mon 2026-11-23 10:00, given up after it was cut short" in listed


@posix
@pytest.mark.system
def test_a_deleted_current_folder_changes_nothing(world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    scheduled(world, schedule=soon(6))
    elsewhere = World(tmp_path / "elsewhere", sandbox.base_url)
    elsewhere.folder.mkdir()
    with watching(
        elsewhere, str(world.folder / "campaign.toml"), "--ledger", "../kept/ledger.db"
    ) as scheduler:
        scheduler.until("watching")
        elsewhere.folder.rmdir()
        assert scheduler.until("finished")["exit"] == 0
        assert scheduler.stop() == 0
    assert set(sandbox.texts().values()) == {1}
    with closing(open_ledger(f"sqlite:///{tmp_path / 'kept' / 'ledger.db'}")) as ledger:
        assert (found := last_made(ledger, Scheduled("Spring", world.base_url))) is not None
        assert found.exit_code == 0
    assert not (world.folder / ".batchsend").exists()


@posix
@pytest.mark.parametrize(
    ("name", "text"),
    [
        # The list of one is missing, so its start ends with exit code 2; the other cannot be read.
        ("campaign.toml", 'list = "nowhere.csv"'),
        ("other.toml", "[schedule]\ncron = 5"),
    ],
)
@pytest.mark.system
def test_the_exit_code_says_that_a_person_has_to_look(world: World, name: str, text: str) -> None:
    scheduled(world)
    with watching(world) as scheduler:
        scheduler.until("finished")
        assert scheduler.stop() == 0
    scheduled(world)
    if name == "campaign.toml":
        file = world.folder / name
        file.write_text(
            file.read_text(encoding="utf-8").replace('list = "customers.csv"', text), encoding="utf-8"
        )
    else:
        (world.folder / name).write_text(text, encoding="utf-8")
    with watching(world) as scheduler:
        scheduler.until("finished")
        assert scheduler.stop() == 1
