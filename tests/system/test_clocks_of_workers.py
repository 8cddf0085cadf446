"""Clocks that are hours apart, and workers that are killed during a night: nobody is texted twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clusters import Shared
from faked_time import ClockFile
from world import Sandbox, World, customers

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROWS = 80
CONCURRENCY = 5
PACE = f"[sending]\nrate = 20\nconcurrency = {CONCURRENCY}\n"
QUIET = f'{PACE}quiet_hours = {{ from = "20:00", to = "08:00", timezone = "America/Chicago" }}\n'
EVENING = datetime(2026, 3, 3, 3, tzinfo=UTC)  # 21:00 in Chicago
MORNING = datetime(2026, 3, 3, 14, 0, 5, tzinfo=UTC)


@pytest.fixture
def shared(world: World, postgres_url: str) -> Shared:
    return Shared(world, postgres_url)


def check(shared: Shared, sandbox: Sandbox, kills: int) -> None:
    """Everyone was texted once, except for rows that a killed process leaves behind."""
    shared.wait_for_the_end(1)
    statuses, texts = shared.statuses(1), sandbox.texts()
    assert max(texts.values()) == 1
    assert sum(statuses.values()) == ROWS
    assert set(statuses) <= {"accepted", "unconfirmed"}
    assert statuses.get("unconfirmed", 0) <= kills * 2 * CONCURRENCY
    assert len(texts) >= statuses["accepted"]


def test_clocks_that_are_hours_apart(shared: Shared, sandbox: Sandbox, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ahead = ClockFile(tmp_path / "ahead", now + timedelta(hours=5))
    behind = ClockFile(tmp_path / "behind", now - timedelta(hours=7))
    shared.world.write(customers(ROWS), campaign=PACE)
    with (
        shared.workers(1, **ahead.environment) as (killed,),
        shared.workers(1, "--name", "behind", **behind.environment),
    ):
        process = shared.world.start("send", "campaign.toml", "--yes")
        shared.wait_until("SELECT count(*) = 3 FROM leases WHERE run_id = 1")
        sandbox.wait_for(10)
        # Someone sets the clocks while they send.
        ahead.move(timedelta(hours=-3))
        behind.move(timedelta(hours=9))
        sandbox.wait_for(40)
        killed.kill()
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 1), err
    check(shared, sandbox, kills=1)


@pytest.mark.parametrize("detached", [True, False])
def test_workers_that_are_killed_at_night_and_in_the_morning(
    shared: Shared, sandbox: Sandbox, tmp_path: Path, *, detached: bool
) -> None:
    clock = ClockFile(tmp_path / "clock", EVENING)
    shared.world.environment.update(clock.environment)
    shared.world.write(customers(ROWS), campaign=QUIET)
    options = ["--wait", "--detach"] if detached else ["--wait"]
    process = shared.world.start("send", "campaign.toml", "--yes", *options)
    shared.wait_until("SELECT count(*) = 1 FROM starts")
    with shared.workers(2) as (at_night, in_the_morning):
        at_night.kill()
        assert sandbox.requests() == []
        clock.move_to(MORNING)
        sandbox.wait_for(20)
        in_the_morning.kill()
        with shared.workers(1):
            shared.wait_for_the_end(1)
            out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 1), out + err
    check(shared, sandbox, kills=1)
