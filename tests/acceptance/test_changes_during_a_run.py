"""Opt-outs and stops that come while a run waits: they hold before the next text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clusters import Shared
from faked_time import ClockFile
from world import Running, Sandbox, World, customers

pytestmark = pytest.mark.system

EVENING = datetime(2026, 3, 3, 3, tzinfo=UTC)  # 21:00 in Chicago
MORNING = datetime(2026, 3, 3, 14, 0, 5, tzinfo=UTC)
QUIET = """
[recipients]
suppress = ["do_not_text.csv"]

[sending]
quiet_hours = { from = "20:00", to = "08:00", timezone = "America/Chicago" }
"""
SUMMARY = "3 rows = 2 accepted by myKaarma + 1 skipped + 0 need attention + 0 waiting"


@pytest.fixture
def clock(tmp_path: Path, world: World) -> ClockFile:
    """The clock of the world's processes, at a time in quiet hours; the campaign is written."""
    (world.folder / "do_not_text.csv").write_text("Customer UUID,Phone\n", encoding="utf-8")
    world.write(customers(3), campaign=QUIET)
    clock = ClockFile(tmp_path / "clock", EVENING)
    world.environment.update(clock.environment)
    return clock


def started(world: World, *options: str) -> Running:
    """A start that waits for the morning."""
    process = world.start("send", "campaign.toml", "--yes", "--wait", *options)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "waiting" in line)
    assert "quiet hours until 2026-03-03 08:00" in line
    return process


def add_to_the_ledger(world: World) -> None:
    row = customers(3)[1]
    done = world.run("optouts", "add", "--customer", row["Customer UUID"], "--reason", "asked at the desk")
    assert done.code == 0, done.err


def add_to_the_file(world: World) -> None:
    row = customers(3)[1]
    path = world.folder / "do_not_text.csv"
    path.write_text(f"Customer UUID,Phone\n{row['Customer UUID']},\n", encoding="utf-8")


@pytest.mark.parametrize("opt_out", [add_to_the_ledger, add_to_the_file])
def test_an_opt_out_during_the_night_holds_in_the_morning(
    world: World, sandbox: Sandbox, clock: ClockFile, opt_out: Callable[[World], None]
) -> None:
    process = started(world)
    opt_out(world)
    clock.move_to(MORNING)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert SUMMARY in out
    row = world.workbook()[3]
    assert (row["status"], row["errorCodes"]) == ("skipped", "SUPPRESSED")
    assert customers(3)[1]["Customer UUID"] not in sandbox.texts()
    assert len(sandbox.requests()) == 2


def test_a_suppression_file_that_is_broken_in_the_morning_stops_the_run(
    world: World, sandbox: Sandbox, clock: ClockFile
) -> None:
    process = started(world)
    (world.folder / "do_not_text.csv").write_text("Name\nAnn\n", encoding="utf-8")
    clock.move_to(MORNING)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "a suppression file has changed and cannot be read" in out
    assert "do_not_text.csv" in out
    assert "0 accepted by myKaarma + 0 skipped + 0 need attention + 3 waiting" in out
    assert sandbox.requests() == []


def test_a_stop_during_the_night_ends_the_wait(world: World, sandbox: Sandbox, clock: ClockFile) -> None:
    process = started(world)
    stopped = world.run("stop", "campaign.toml")
    assert "Run 1 was asked to stop" in stopped.out
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "0 accepted by myKaarma + 0 skipped + 0 need attention + 3 waiting" in out
    # A new start is a person's new decision.
    clock.move_to(MORNING)
    again = world.send()
    assert again.code == 0, again.err
    assert len(sandbox.requests()) == 3


# --- workers


@pytest.fixture
def shared(world: World, postgres_url: str, clock: ClockFile) -> Shared:
    assert clock.now < MORNING
    return Shared(world, postgres_url)


@pytest.mark.parametrize("opt_out", [add_to_the_ledger, add_to_the_file])
def test_an_opt_out_before_a_worker_starts_holds(
    shared: Shared, sandbox: Sandbox, clock: ClockFile, opt_out: Callable[[World], None]
) -> None:
    handed_over = shared.world.send("--wait", "--detach")
    assert handed_over.code == 0, handed_over.err
    opt_out(shared.world)
    clock.move_to(MORNING)
    with shared.workers(1):
        shared.wait_for_the_end(1)
        shared.wait_until("SELECT ended_at IS NOT NULL FROM starts")
    assert shared.statuses(1) == {"accepted": 2, "skipped": 1}
    assert customers(3)[1]["Customer UUID"] not in sandbox.texts()
    assert shared.ask("SELECT codes, exit_code FROM messages, starts WHERE status = 'skipped'") == [
        ("SUPPRESSED", 0)
    ]


@pytest.mark.parametrize("worker_waits", [True, False])
def test_a_stop_of_a_handed_over_run_that_waits_holds_in_the_morning(
    shared: Shared, sandbox: Sandbox, clock: ClockFile, *, worker_waits: bool
) -> None:
    assert shared.world.send("--wait", "--detach").code == 0
    with shared.workers(int(worker_waits)):
        stopped = shared.world.run("stop", "1")
        assert stopped.code == 0
        assert "Run 1 was handed over to workers. They send nothing more of it." in stopped.out
    clock.move_to(MORNING)
    assert "ended: a stop was requested" in shared.world.run("runs").out
    # The next worker sees the stop before its first text: it ends another run and leaves this one alone.
    shared.world.write_list([{**row, "Customer UUID": f"new-{row['Customer UUID']}"} for row in customers(2)])
    campaign = shared.world.folder / "campaign.toml"
    campaign.write_text(
        campaign.read_text(encoding="utf-8").replace('"Spring"', '"Summer"'), encoding="utf-8"
    )
    assert shared.world.send("--detach", "--new-campaign").code == 0
    with shared.workers(1):
        shared.wait_for_the_end(2)
    assert shared.statuses(1) == {"pending": 3}
    assert len(sandbox.requests()) == 2
