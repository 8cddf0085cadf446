"""A `send` that is suspended or cut off from the database: another one goes on, and nobody is texted twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from clusters import Shared, Terminal
from forwarder import Forwarder
from postgres_server import PostgresServer
from world import Sandbox, World, customers

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name == "nt", reason="SIGSTOP and a pseudo-terminal"),
]

#: How long another start may take to go on, with all its texts.
BOUND_SECONDS = 30
ROWS = 60
SLOW, FAST = "[sending]\nrate = 4\nconcurrency = 4\n", "[sending]\nrate = 1000\nconcurrency = 4\n"
TAKEN_OVER = "was taken over by another"


class CutAtCommit(Forwarder):
    """Forwards everything, but closes the connection that stores a plan before its commit is answered."""

    def __init__(self, port: int, shared: Shared) -> None:
        super().__init__(port)
        self._shared = shared

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        sent = b""
        with suppress(OSError):
            while data := source.recv(65536):
                sent += data
                commits = b"INSERT INTO handovers" in sent and b"COMMIT" in data
                if commits:
                    self.silence()
                else:
                    self._passing.wait()
                sink.sendall(data)
                if commits:
                    self._shared.wait_until("SELECT count(*) = 1 FROM starts")
                    source.shutdown(socket.SHUT_RDWR)
                    self.resume()
                    break
        sink.close()


@pytest.fixture
def shared(world: World, postgres_url: str) -> Shared:
    return Shared(world, postgres_url)


@pytest.fixture
def forwarder(postgres_server: PostgresServer) -> Iterator[Forwarder]:
    running = Forwarder(postgres_server.port)
    yield running
    running.close()


def through(shared: Shared, forwarder: Forwarder, server: PostgresServer) -> World:
    """The same folder for a process that reaches the database through the forwarder."""
    url = shared.url.replace(f":{server.port}/", f":{forwarder.port}/")
    return replace(shared.world, environment={**shared.world.environment, "BATCHSEND_LEDGER": url})


def lose(
    process: subprocess.Popen[str] | subprocess.Popen[bytes], forwarder: Forwarder, way: str
) -> Callable[[], None]:
    """Cuts a process off or suspends it. Returns a function that ends this."""
    if way == "cut off":
        forwarder.silence()
        return forwarder.resume
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("way", ["cut off", "suspended"])
def test_another_send_goes_on_within_the_bound(
    shared: Shared, sandbox: Sandbox, forwarder: Forwarder, postgres_server: PostgresServer, way: str
) -> None:
    world = shared.world
    world.write(customers(ROWS), campaign=SLOW)
    laptop = through(shared, forwarder, postgres_server).start("send", "campaign.toml", "--yes")
    sandbox.wait_for(8)
    come_back = lose(laptop, forwarder, way)
    began = time.monotonic()
    world.write(campaign=FAST)
    other = world.send()
    assert time.monotonic() - began < BOUND_SECONDS
    assert other.code in (0, 1), other.err
    assert shared.ask("SELECT count(*) FROM messages WHERE status IN ('pending', 'in_flight')") == [(0,)]
    texts = sandbox.texts()
    come_back()
    _, err = laptop.communicate(timeout=90)
    assert (laptop.returncode, TAKEN_OVER in err) == (3, True), err
    assert sandbox.texts() == texts
    assert max(texts.values()) == 1
    statuses = shared.statuses(1)
    assert sum(statuses.values()) == ROWS
    assert set(statuses) <= {"accepted", "unconfirmed"}
    assert statuses.get("unconfirmed", 0) <= 8
    assert len(texts) >= statuses["accepted"]


@pytest.mark.parametrize("way", ["cut off", "suspended"])
def test_a_start_that_lost_its_campaign_while_it_planned_sends_nothing(
    shared: Shared, sandbox: Sandbox, forwarder: Forwarder, postgres_server: PostgresServer, way: str
) -> None:
    world = shared.world
    world.write(customers(20), campaign=FAST)
    laptop = Terminal(through(shared, forwarder, postgres_server), "send", "campaign.toml")
    laptop.read_until("anything else to stop")
    busy = world.send()
    assert busy.code == 4
    assert "is being sent by another process" in busy.err
    come_back = lose(laptop.process, forwarder, way)
    other = world.send()
    assert other.code == 0, other.err
    come_back()
    laptop.type("20")
    said = " ".join(laptop.read_to_the_end().split())
    assert TAKEN_OVER in said
    assert "Nothing was sent or changed by this start." in said
    assert laptop.process.wait(60) == 4
    assert len(sandbox.requests()) == 20
    assert shared.ask("SELECT count(*) FROM starts") == [(1,)]


def handed_over(shared: Shared, sandbox: Sandbox) -> None:
    """A run that the only worker began to send before it was stopped."""
    shared.world.write(customers(ROWS), campaign=SLOW.replace("rate = 4", "rate = 20"))
    with shared.workers(1) as (worker,):
        assert shared.world.send("--detach").code == 0
        sandbox.wait_for(4)
        worker.terminate()
        assert worker.wait(60) == 0


def check_that_workers_finish_it(shared: Shared, sandbox: Sandbox) -> None:
    shared.wait_until("SELECT exit_code IS NOT NULL FROM starts WHERE id = 1")
    assert shared.statuses(1) == {"accepted": ROWS}
    assert max(sandbox.texts().values()) == 1


@pytest.mark.parametrize("way", ["declined", "refused", "killed"])
def test_workers_finish_a_run_that_another_start_did_not_send(
    shared: Shared, sandbox: Sandbox, way: str
) -> None:
    handed_over(shared, sandbox)
    if way == "refused":
        assert shared.world.send("--expect", "1").code == 2
    else:
        laptop = Terminal(shared.world, "send", "campaign.toml")
        laptop.read_until("anything else to stop")
        if way == "killed":
            laptop.process.kill()
        else:
            laptop.type("no")
        laptop.process.wait(60)
    with shared.workers(1):
        check_that_workers_finish_it(shared, sandbox)


def test_a_worker_that_comes_back_at_the_question_keeps_its_run(shared: Shared, sandbox: Sandbox) -> None:
    handed_over(shared, sandbox)
    sent, left = len(sandbox.requests()), shared.statuses(1)["pending"]
    laptop = Terminal(shared.world, "send", "campaign.toml")
    laptop.read_until("anything else to stop")
    with shared.workers(1):
        sandbox.wait_for(sent + 8)
        laptop.type(str(left))
        said = " ".join(laptop.read_to_the_end().split())
        assert laptop.process.wait(60) == 4
        check_that_workers_finish_it(shared, sandbox)
    assert '"Spring" is being sent by workers: run 1 was handed over to them.' in said
    assert shared.ask("SELECT count(*) FROM starts") == [(1,)]


def test_a_plan_is_sent_whose_commit_was_not_answered(
    shared: Shared, sandbox: Sandbox, postgres_server: PostgresServer
) -> None:
    cutting = CutAtCommit(postgres_server.port, shared)
    shared.world.write(customers(5))
    sent = through(shared, cutting, postgres_server).send()
    cutting.close()
    assert sent.code == 0, sent.err
    assert shared.statuses(1) == {"accepted": 5}
    assert len(sandbox.requests()) == 5
