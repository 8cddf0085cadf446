"""`batchsend schedule`: each time starts its campaign once, despite changes of files, clocks and processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from misbehaving import answer, misbehaving, says, success, waits_until
from notices import running_hook
from schedules import HOUR, MINUTE, TEN, Place, posix, scheduled, soon, utc, watching
from world import CAMPAIGN, Sandbox, World, customers

from batchsend.ledger.opening import open_ledger
from batchsend.ledger.planned_starts import Scheduled, claim, watch


def test_each_day_once_over_restarts_and_with_two_schedulers(any_place: Place) -> None:
    place = any_place
    place.write(TEN)
    one, other = place.scheduler(), place.scheduler()
    place.run(one, other, until="2026-11-24T09:00-06:00", step=HOUR)
    assert place.times() == ["23 10:00 -0600"]
    # Both go, and come again at the very minute.
    place.now = utc("2026-11-24T10:00-06:00")
    one, other = place.scheduler(), place.scheduler()
    place.run(other, one, until="2026-11-24T12:00-06:00", step=HOUR)
    assert place.times() == ["23 10:00 -0600", "24 10:00 -0600"]
    # On the first day the other one saw the start taken; on the second it came to a ledger that knew of it.
    assert [entry["planned"] for entry in place.logged("already")] == ["2026-11-23T16:00:00.000Z"]
    assert [entry["exit"] for entry in place.logged("finished")] == [0, 0]


def test_of_many_at_the_same_moment_one_gets_the_start(ledger_url: str) -> None:
    moment, entry = utc("2026-11-23T10:00-06:00"), Scheduled("Spring", "http://127.0.0.1:9")
    barrier = threading.Barrier(6)
    ledgers = [open_ledger(ledger_url) for _ in range(6)]

    def take(number: int) -> bool:
        barrier.wait()
        return claim(ledgers[number], entry, moment, moment) is not None

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(take, range(6))) == [False] * 5 + [True]
    assert watch(ledgers[0], entry, "0 10 * * *", moment - HOUR) == moment
    for ledger in ledgers:
        ledger.close()


@pytest.mark.parametrize(
    ("back_at", "started", "missed"),
    [
        ("2026-11-23T12:00-06:00", ["23 12:00 -0600"], []),
        ("2026-11-23T12:01-06:00", [], ["2026-11-23T16:00:00.000Z"]),
        # Four days off: the last start is made up for, the earlier ones are logged.
        ("2026-11-27T11:00-06:00", ["27 11:00 -0600"], ["2026-11-26T16:00:00.000Z"]),
        ("2026-11-27T15:00-06:00", [], ["2026-11-27T16:00:00.000Z"]),
    ],
)
def test_a_start_that_was_missed(place: Place, back_at: str, started: list[str], missed: list[str]) -> None:
    place.write(TEN)
    place.scheduler().turn()
    place.now = utc(back_at)
    again = place.scheduler()
    place.run(again, until=place.now + 3 * MINUTE, step=MINUTE)
    assert place.times() == started
    assert [entry["planned"] for entry in place.logged("missed")] == missed
    # It is logged once, not again by the next scheduler.
    place.scheduler().turn()
    assert len(place.logged("missed")) == len(missed)
    assert place.times() == started


def test_people_are_told_of_a_missed_start(place: Place) -> None:
    with running_hook() as hook:
        place.write(f'{TEN}\n[notify]\nurl = "{hook.url}"')
        place.scheduler().turn()
        place.now = utc("2026-11-23T12:01-06:00")
        place.scheduler().turn()
        body = hook.received.get(timeout=60)
    [missed] = place.logged("missed")
    assert body["text"].splitlines() == ["Spring: not sent", missed["message"]]
    assert body["exit"] is None


def test_a_computer_that_slept_is_one_that_was_off(place: Place) -> None:
    place.write(TEN)
    service = place.scheduler()
    service.turn()
    place.now += timedelta(days=2, hours=2)
    service.turn()
    assert place.times() == ["25 11:00 -0600"]
    assert place.logged("missed")[0]["first"] == "2026-11-23T16:00:00.000Z"
    assert place.logged("missed")[0]["planned"] == "2026-11-24T16:00:00.000Z"


def test_times_before_the_schedule_existed_were_not_missed(place: Place) -> None:
    place.now = utc("2026-11-23T10:30-06:00")
    place.write(TEN)
    service = place.scheduler()
    service.turn()
    # Nor was a time that had passed when it was written down, with or without a running scheduler.
    place.write('cron = "15 10 * * *"')
    service.turn()
    place.write('cron = "20 10 * * *"')
    place.run(place.scheduler(), until="2026-11-24T10:30-06:00", step=HOUR)
    assert place.times() == ["24 10:30 -0600"]
    assert place.logged("missed") == []


@pytest.mark.parametrize(
    ("zone", "begin", "cron", "starts"),
    [
        ("America/Chicago", "2026-03-07T12:00-06:00", "30 2 * * *", ["08 03:00 -0500", "09 02:30 -0500"]),
        ("America/Chicago", "2026-10-31T12:00-05:00", "30 1 * * *", ["01 01:30 -0500", "02 01:30 -0600"]),
        ("Europe/Berlin", "2026-03-28T12:00+01:00", "30 2 * * *", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("Europe/Berlin", "2026-10-24T12:00+02:00", "30 2 * * *", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("Australia/Lord_Howe", "2026-10-03T12:00+10:30", "15 2 * * *", ["04 02:30 +1100", "05 02:15 +1100"]),
        ("Australia/Lord_Howe", "2026-04-04T12:00+11:00", "45 1 * * *", ["05 01:45 +1100", "06 01:45 +1030"]),
    ],
)
@pytest.mark.system
def test_the_nights_when_clocks_change(
    place: Place, zone: str, begin: str, cron: str, starts: list[str]
) -> None:
    place.write(f'cron = "{cron}"', zone=zone)
    place.now = utc(begin)
    service = place.scheduler()
    place.run(service, until=place.now + 20 * HOUR)
    # A restart within the hour that comes twice starts nothing again.
    place.run(place.scheduler(), until=place.now + 20 * HOUR)
    assert place.times(zone) == starts
    assert place.logged("missed") == []


def test_a_single_time(place: Place) -> None:
    place.write("at = 2026-11-23T10:00:00")
    place.run(place.scheduler(), until="2026-11-23T11:00-06:00")
    place.run(place.scheduler(), until="2026-11-26T11:00-06:00", step=HOUR)
    assert place.times() == ["23 10:00 -0600"]
    # As a date, it is meant even if no scheduler ran yet; but not for ever.
    place.write("at = 2026-11-26T09:30:00", "Late")
    place.write("at = 2026-11-26T08:30:00", "Too late")
    place.scheduler().turn()
    assert place.started[1:] == [("late", place.now)]
    assert [(entry["campaign"], entry["planned"]) for entry in place.logged("missed")] == [
        ("Too late", "2026-11-26T14:30:00.000Z")
    ]


@pytest.mark.system
def test_files_come_change_and_go_and_a_bad_one_stops_no_other(place: Place) -> None:
    place.write(TEN)
    (place.folder / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    service = place.scheduler()
    service.turn()
    place.write('cron = "61 10 * * *"', "Bad")
    place.write('cron = "5 10 * * *"', "Added")
    place.run(service, until="2026-11-23T12:00-06:00")
    assert place.started == [
        ("spring", utc("2026-11-23T10:00-06:00")),
        ("added", utc("2026-11-23T10:05-06:00")),
    ]
    (problem,) = place.logged("problem")
    assert 'the minute "61" is not valid (use 0 to 59)' in problem["message"]
    assert problem["file"].endswith("bad.toml")

    # Mended, changed, gone.
    place.write('cron = "30 12 * * *"', "Bad")
    changed = place.write('cron = "45 12 * * *"', "Added")
    (place.folder / "spring.toml").unlink()
    place.run(service, until="2026-11-24T11:00-06:00")
    assert [name for name, _ in place.started[2:]] == ["bad", "added"]
    assert place.times()[2:] == ["23 12:30 -0600", "23 12:45 -0600"]
    assert place.logged("removed")[0]["campaign"] == "Spring"
    changed.write_text(CAMPAIGN, encoding="utf-8")
    place.run(service, until="2026-11-24T12:31-06:00")
    assert "has no [schedule] any more" in place.logged("removed")[1]["message"]
    assert [name for name, _ in place.started[4:]] == ["bad"]


def test_a_file_that_is_broken_at_its_time_starts_once_it_is_mended(place: Place) -> None:
    file = place.write(TEN)
    service = place.scheduler()
    service.turn()
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound + "\nrate = 1\n", encoding="utf-8")
    place.run(service, until="2026-11-23T11:00-06:00")
    assert place.started == []
    file.write_text(sound, encoding="utf-8")
    service.turn()
    assert place.times() == ["23 11:00 -0600"]


def test_two_files_of_one_name(place: Place) -> None:
    first = place.write(TEN, "A")
    second = place.folder / "b.toml"
    second.write_text(first.read_text(encoding="utf-8"), encoding="utf-8")
    service = place.scheduler()
    place.run(service, until="2026-11-23T09:30-06:00")
    assert [entry["file"] for entry in place.logged("problem")] == [str(second)]
    place.write(TEN, "Other").replace(first)
    place.run(service, until="2026-11-23T10:00-06:00")
    assert sorted(name for name, _ in place.started) == ["a", "b"]
    assert len(place.logged("problem")) == 1


def test_a_file_that_is_named_and_not_there_is_said_and_waited_for(place: Place) -> None:
    sound, missing = place.write(TEN), place.folder / "later.toml"
    service = place.scheduler(sound, missing)
    place.run(service, until="2026-11-23T09:30-06:00")
    assert [entry["file"] for entry in place.logged("problem")] == [str(missing)]
    place.write(TEN, "Later")
    place.run(service, until="2026-11-23T10:00-06:00")
    assert len(place.started) == 2


def test_a_campaign_that_a_lost_ledger_would_text_again_is_warned_about(place: Place) -> None:
    unguarded = place.write(TEN, "A")
    place.write(f"{TEN}\n[guards]\nrequire_history = true", "B")
    service = place.scheduler()
    place.run(service, until="2026-11-23T09:30-06:00")
    assert len(place.logged("watching")) == 2
    (warning,) = place.logged("warning")
    assert warning["file"] == str(unguarded)
    assert "write require_history = true under [guards]" in warning["message"]


def test_a_campaign_that_still_runs_is_not_started_a_second_time(place: Place) -> None:
    place.exit_code = None
    place.write('cron = "0 * * * *"')
    service = place.scheduler()
    place.run(service, until="2026-11-23T11:30-06:00")
    assert place.times() == ["23 10:00 -0600"]
    assert "still runs" in place.logged("missed")[0]["message"]
    place.children[0].exit_code = 0
    place.run(service, until="2026-11-23T12:00-06:00")
    assert len(place.started) == 2


def test_a_start_that_crashes_stops_neither_the_others_nor_the_next_one(place: Place) -> None:
    place.exit_code = -9
    place.write(TEN)
    place.write(TEN, "Other")
    place.run(place.scheduler(), until="2026-11-24T10:00-06:00", step=HOUR)
    assert sorted(name for name, moment in place.started if moment.hour == 16) == [
        "other",
        "other",
        "spring",
        "spring",
    ]
    assert {entry["exit"] for entry in place.logged("finished")} == {-9}
    assert all("(killed by signal 9)" in entry["message"] for entry in place.logged("finished"))


def test_a_ledger_that_cannot_be_used_is_tried_again_and_the_others_go_on(place: Place) -> None:
    (place.folder / "campaigns").mkdir()
    place.write(TEN)
    locked = place.folder / "elsewhere"
    locked.mkdir()
    (locked / ".batchsend").write_text("not a folder", encoding="utf-8")
    file = place.write(TEN, "Locked").rename(locked / "locked.toml")
    service = place.scheduler(place.folder / "spring.toml", file)
    place.run(service, until="2026-11-23T10:00-06:00", step=MINUTE)
    assert [name for name, _ in place.started] == ["spring"]
    assert len(place.logged("problem")) == 1
    (locked / ".batchsend").unlink()
    place.run(service, until="2026-11-23T10:02-06:00", step=MINUTE)
    assert place.logged("watching")[-1]["campaign"] == "Locked"


# --- the command itself


@posix
def test_two_schedulers_send_once(world: World, sandbox: Sandbox) -> None:
    scheduled(world)
    with watching(world) as one, watching(world) as other:
        said = {one.until("watching")["campaign"], other.until("watching")["campaign"]}
        assert said == {"Spring"}
        for running in (one, other):
            while not {event["event"] for event in running.events} & {"already", "finished"}:
                line = running.process.stderr and running.process.stderr.readline()
                running.events.append(json.loads(line or "null"))
        assert one.stop(signal.SIGINT) == 0
        assert other.stop() == 0
        events = [*one.events, *other.events]
    assert [event["exit"] for event in events if event["event"] == "finished"] == [0]
    assert [event["event"] for event in events if event["event"] in ("started", "already")] != []
    assert sum(event["event"] == "started" for event in events) == 1
    assert sum(event["event"] == "planned" for event in events) == 1  # the line of the started process
    assert sandbox.texts() == {f"customer-{number}": 1 for number in range(3)}
    listed = world.run("schedule", "--list")
    assert listed.code == 0
    assert "Spring (campaign.toml): 20" in listed.out
    assert "no further start" in listed.out
    assert listed.out.rstrip().endswith("exit code 0")


@posix
@pytest.mark.parametrize("end", ["Ctrl-C", "kill -9"])
@pytest.mark.system
def test_ended_in_the_middle_a_start_is_resumed_by_the_next_scheduler(tmp_path: Path, end: str) -> None:
    """Ctrl-C finishes requests in flight; a kill leaves the started process running. No row is lost or sent twice."""
    with misbehaving() as bench:
        held = threading.Event()
        bench.scripts["customer-2"] = [[waits_until(held), says(answer(200, success()))]]
        world = World(tmp_path, bench.base_url)
        text = CAMPAIGN.replace('timezone = "America/Chicago"\n', "") + soon()
        slowly = "[sending]\nrate = 500\nconcurrency = 1\ntimeout = 60\n"
        world.write(customers(6), campaign=text + slowly)
        with watching(world) as running:
            bench.wait_for_requests(3)
            if end == "kill -9":
                running.process.kill()
                running.process.wait()
                held.set()
            else:
                os.killpg(running.process.pid, signal.SIGINT)
                with pytest.raises(subprocess.TimeoutExpired):
                    running.process.wait(0.5)
                held.set()
                assert running.process.wait(60) == 130
                assert len(bench.received) == 3
                assert bench.customers()["customer-2"] == 1
        with watching(world) as again:
            finished = again.until("finished")
            # After the kill, the started process goes on alone, and its real end is recorded.
            assert ("goes_on" in [event["event"] for event in again.events]) == (end == "Ctrl-C")
            assert finished["exit"] == 0
            bench.wait_for_requests(6)
            assert again.stop() == 0
    assert set(bench.customers().values()) == {1}
    assert len(bench.customers()) == 6


def test_nothing_to_start_is_an_error(world: World) -> None:
    nothing = world.run("schedule")
    assert nothing.code == 2
    assert "There is no campaign with a [schedule] in" in nothing.err
    world.write(customers(1))
    nothing = world.run("schedule", "campaign.toml", "nowhere.toml")
    assert nothing.code == 2
    assert "it has no [schedule]" in nothing.err
    assert "None of these can be started at set times: campaign.toml, nowhere.toml." in nothing.err


def test_the_list_of_next_times(world: World) -> None:
    scheduled(world, schedule='timezone = "America/Chicago"\n[schedule]\ncron = "0 10 29 2 *"\n')
    (world.folder / "campaigns").mkdir()
    (world.folder / "campaigns" / "bad.toml").write_text("[schedule]\ncron = 1\n", encoding="utf-8")
    listed = world.run("schedule", "--list")
    assert listed.code == 2
    assert listed.out.splitlines() == [
        "Spring (campaign.toml): 0 10 29 2 * in America/Chicago",
        *[f"  next {datetime(year, 2, 29):%a} {year}-02-29 10:00" for year in next_leap_years(3)],  # noqa: DTZ001
    ]
    assert "bad.toml" in listed.err
    assert not (world.folder / ".batchsend").exists()


def next_leap_years(count: int) -> list[int]:
    now = datetime.now(ZoneInfo("America/Chicago"))
    first = now.year
    years = [year for year in range(first, first + 40) if year % 4 == 0 and year % 100]
    passed = now.strftime("%m-%d %H:%M") >= "02-29 10:00"
    return [year for year in years if year > first or not passed][:count]


def test_a_pattern_names_campaigns_where_no_shell_finds_them(world: World) -> None:
    """On Windows, and in a service's settings."""
    timed = CAMPAIGN + '[schedule]\ncron = "0 10 * * *"\n'
    for name in ("One", "Two"):
        (world.folder / f"{name}.toml").write_text(timed.replace("Spring", name), encoding="utf-8")
    for pattern in ("*.toml", "**o*.toml"):  # pathlib knows no ** within a name
        found = world.run("schedule", "--list", pattern)
        assert found.code == 0, found.err
        assert ("One" in found.out, "Two" in found.out) == (pattern == "*.toml", True)
    nothing = world.run("schedule", "--list", "*.tom")
    assert nothing.code == 2
    assert "*.tom" in nothing.err
