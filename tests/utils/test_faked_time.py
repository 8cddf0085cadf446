"""The tests' own clocks: this process's, and that of real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faked_time import ClockFile, clock_at, saved_at
from world import Finished, Running, World, customers, read_results

from batchsend.utils.timestamps import now

NIGHT = datetime(2026, 3, 8, 6, 59, 30, tzinfo=UTC)
_SOON = timedelta(minutes=2)


def test_all_of_this_process_sees_the_clock_move(tmp_path: Path) -> None:
    began, file = time.monotonic(), tmp_path / "list.csv"
    file.touch()
    with clock_at(NIGHT) as clock:
        assert now() == clock.now == NIGHT
        clock.move(timedelta(days=60))
        assert time.time() == datetime.now(UTC).timestamp() == (NIGHT + timedelta(days=60)).timestamp()
        clock.move_to(NIGHT - timedelta(hours=3))
        assert now() == NIGHT - timedelta(hours=3)
        saved_at(file, now())
        assert file.stat().st_mtime == time.time()
    assert now() > NIGHT
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("run", [World.run, World.run_cold])
def test_the_installed_command_follows_a_clock(
    world: World, tmp_path: Path, run: Callable[..., Finished]
) -> None:
    clock = ClockFile(tmp_path / "clock", NIGHT)
    world.environment.update(clock.environment)
    world.write(customers(1))
    done = run(world, "send", "campaign.toml", "--yes")
    assert done.code == 0, done.err
    (row,) = read_results(world.folder / "results" / "campaign-1.xlsx").values()
    sent = datetime.fromisoformat(row["sentAtUTC"])
    assert NIGHT <= sent <= NIGHT + _SOON


def _wait_for_event(scheduler: Running, event: str) -> None:
    assert scheduler.stderr is not None
    for line in scheduler.stderr:
        if f'"event": "{event}"' in line:
            return
    pytest.fail(f"the scheduler ended before it logged {event}")


def test_the_clock_moves_while_a_scheduler_and_its_send_run(world: World, tmp_path: Path) -> None:
    clock = ClockFile(tmp_path / "clock", NIGHT)
    world.environment.update(clock.environment)
    world.write(customers(1), campaign='[schedule]\ncron = "0 10 * * *"\n')
    scheduler = world.start("schedule", "campaign.toml")
    try:
        _wait_for_event(scheduler, "watching")
        clock.move_to(datetime(2026, 3, 8, 15, 0, 5, tzinfo=UTC))
        _wait_for_event(scheduler, "started")
        _wait_for_event(scheduler, "finished")
    finally:
        scheduler.terminate()
        scheduler.communicate()
    (row,) = read_results(world.folder / "results" / "campaign-1.xlsx").values()
    assert row["sentAtUTC"].startswith("2026-03-08T15:00")


def test_the_time_zone_of_this_computer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    with clock_at(NIGHT) as clock:
        clock.move(timedelta(days=1))
        assert time.tzname[0] == "CST"
    monkeypatch.undo()
    time.tzset()
