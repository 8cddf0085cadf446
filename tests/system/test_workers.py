"""Processes that leave, stop or fail while others send the same run: real workers and a real database."""

from __future__ import annotations

import os
import signal

import pytest
from clusters import Shared, Terminal
from world import Sandbox, World, customers

pytestmark = pytest.mark.system

SLOW = "[sending]\nrate = 40\nconcurrency = 10\n"


@pytest.fixture
def shared(world: World, postgres_url: str) -> Shared:
    return Shared(world, postgres_url)


def test_a_detached_run_outlives_a_killed_worker(shared: Shared, sandbox: Sandbox) -> None:
    world = shared.world
    world.write(customers(450), campaign=SLOW.replace("40", "100"))
    with shared.workers(2) as workers:
        detached = world.run("send", "campaign.toml", "--yes", "--detach")
        assert detached.code == 0, detached.err
        assert "Run 1 was handed over to 2 workers (w0, w1)." in detached.out
        assert "Results:" not in detached.out
        sandbox.wait_for(60)
        again = world.send()
        assert again.code == 4
        assert '"Spring" is being sent by workers: run 1 was handed over to them.' in again.err
        workers[0].kill()
        so_far = world.run("results", "campaign.toml")
        assert so_far.code == 0
        assert len(world.workbook()) == 450
        shared.wait_for_the_end(1)
        shared.wait_until("SELECT count(*) = 1 FROM starts WHERE ended_at IS NOT NULL")
        assert world.run("results", "1").code == 0
    texts = sandbox.texts()
    assert max(texts.values()) == 1
    statuses = [row["status"] for row in world.workbook().values()]
    assert len(statuses) == 450
    assert set(statuses) <= {"accepted", "unconfirmed"}
    # A kill leaves twice `concurrency` rows behind at most.
    assert statuses.count("unconfirmed") <= 20
    assert len(texts) >= statuses.count("accepted")
    # Nothing is left to send, and now it may be started again.
    assert world.send().code == (1 if "unconfirmed" in statuses else 0)
    assert sandbox.texts() == texts


def test_a_detached_run_can_be_stopped_and_goes_on_with_send(shared: Shared, sandbox: Sandbox) -> None:
    world = shared.world
    world.write(customers(300), campaign=SLOW)
    with shared.workers(1):
        assert world.run("send", "campaign.toml", "--yes", "--detach").code == 0
        sandbox.wait_for(5)
        assert "Run 1 was asked to stop" in world.run("stop", "campaign.toml").out
        shared.wait_until("SELECT count(*) = 0 FROM leases WHERE run_id IS NOT NULL")
        stopped = sandbox.texts()
        assert len(stopped) < 300
        assert shared.statuses(1) == {"accepted": len(stopped), "pending": 300 - len(stopped)}
        world.write(campaign="[sending]\nrate = 1000\n")
        assert world.send().code == 0
    assert len(sandbox.texts()) == 300
    assert set(sandbox.texts().values()) == {1}


def test_what_one_worker_runs_into_stops_the_run_for_all(shared: Shared, sandbox: Sandbox) -> None:
    world = shared.world
    world.write(customers(300), campaign=SLOW)
    with shared.workers(1, MYKAARMA_PASSWORD="wrong"):
        stopped = world.send()
    assert stopped.code == 3
    assert "Stopped: worker w0: myKaarma does not accept the username and password" in stopped.out
    assert set(shared.statuses(1)) <= {"accepted", "pending"}
    world.write(campaign="[sending]\nrate = 1000\n")
    assert world.send().code == 0
    assert set(sandbox.texts().values()) == {1}
    assert len(sandbox.texts()) == 300


def test_a_laptop_that_is_shut_down_leaves_the_run_to_workers(shared: Shared, sandbox: Sandbox) -> None:
    world = shared.world
    world.write(customers(120), campaign=SLOW)
    with shared.workers(1):
        sent = world.start("send", "campaign.toml", "--yes")
        shared.wait_until("SELECT count(*) = 2 FROM leases WHERE run_id = 1")
        sent.send_signal(signal.SIGTERM)
        out, _ = sent.communicate(timeout=60)
        assert sent.returncode == 0
        assert "Run 1 was handed over to a worker (w0)." in out
        shared.wait_for_the_end(1)
    assert shared.statuses(1) == {"accepted": 120}
    assert set(sandbox.texts().values()) == {1}


@pytest.mark.skipif(os.name == "nt", reason="a pseudo-terminal")
@pytest.mark.parametrize("answer", ["leave", "stop"])
def test_ctrl_c_asks_whether_the_run_stops_or_only_we_leave(
    shared: Shared, sandbox: Sandbox, answer: str
) -> None:
    world = shared.world
    world.write(customers(120), campaign=SLOW)
    with shared.workers(1):
        terminal = Terminal(world, "send", "campaign.toml")
        terminal.read_until("anything else to stop")
        terminal.type("120")
        shared.wait_until("SELECT count(*) = 2 FROM leases WHERE run_id = 1")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("Type `leave`")
        assert "A worker is sending this run too (w0)." in terminal.seen
        terminal.type(answer)
        terminal.read_until("waiting\r\n")
        assert terminal.process.wait(60) == (0 if answer == "leave" else 130)
        if answer == "leave":
            shared.wait_for_the_end(1)
    if answer == "stop":
        assert set(shared.statuses(1)) == {"accepted", "pending"}
        assert {row["status"] for row in world.workbook().values()} == {"accepted", "pending"}
    else:
        assert shared.statuses(1) == {"accepted": 120}
    assert set(sandbox.texts().values()) == {1}


def test_a_detached_start_with_nothing_to_send_ends_at_once(shared: Shared, sandbox: Sandbox) -> None:
    world = shared.world
    world.write(customers(2))
    assert world.send().code == 0
    again = world.send("--detach")
    assert again.code == 0, again.err
    assert shared.ask("SELECT exit_code, ending FROM starts") == [(0, "done")] * 2
    assert len(sandbox.requests()) == 2
