"""Events outside the process: signals, a closed terminal, suspension, a wrong clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from misbehaving import Connection, Misbehaving, answer, misbehaving, never, says, success, waits_until
from world import BATCHSEND, World, customers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

#: One request at a time, and none that waits for its slot.
SLOWLY = "\n[sending]\nrate = 500\nconcurrency = 1\ntimeout = 60\n"


@pytest.fixture
def bench() -> Iterator[Misbehaving]:
    with misbehaving() as running:
        yield running


@pytest.fixture
def held(bench: Misbehaving) -> threading.Event:
    """The answer for the third customer waits for this."""
    event = threading.Event()
    bench.scripts["customer-2"] = [[waits_until(event), says(answer(200, success()))]]
    return event


@pytest.fixture
def world(tmp_path: Path, bench: Misbehaving) -> World:
    return World(tmp_path, bench.base_url).write(customers(6), campaign=SLOWLY)


def outcomes(world: World) -> list[str]:
    return [
        f"{values['status']} {values['errorCodes'] or ''}".strip()
        for _, values in sorted(world.workbook().items())
    ]


def wait_for_the_third(world: World, bench: Misbehaving) -> None:
    """Waits until the third request is held, and the row after it is claimed."""
    bench.wait_for_requests(3)
    bench.wait_for(lambda: world.claimed() == 2, "the row after the held one is claimed")


def wait_until_it_ends(world: World, bench: Misbehaving, process: subprocess.Popen[Any]) -> None:
    """Waits until the command has handled its signal and only waits for the held answer."""
    bench.wait_for(lambda: world.claimed() == 1, "the row after the held one is given back")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)


HALF_DONE = [*["accepted"] * 3, *["pending STOPPED"] * 3]


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_what_is_in_flight_is_finished_and_the_rest_waits(
    world: World, bench: Misbehaving, held: threading.Event, number: str
) -> None:
    process = world.start_cold("send", "campaign.toml", "--yes")
    wait_for_the_third(world, bench)
    process.send_signal(getattr(signal, number))
    wait_until_it_ends(world, bench, process)
    held.set()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to continue." in out
    assert "Traceback" not in err
    assert outcomes(world) == HALF_DONE
    assert len(bench.received) == 3


def test_a_second_ctrl_c_leaves_at_once_and_nothing_is_sent_twice(
    world: World, bench: Misbehaving, held: threading.Event
) -> None:
    process = world.start_cold("send", "campaign.toml", "--yes")
    wait_for_the_third(world, bench)
    process.send_signal(signal.SIGINT)
    wait_until_it_ends(world, bench, process)
    # On a busy machine the next signal can arrive before the last one is handled; the two then count as one.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    held.set()
    again = world.send()
    assert again.code == 1
    assert outcomes(world) == ["accepted", "accepted", "unconfirmed INTERRUPTED", *["accepted"] * 3]
    assert set(bench.customers().values()) == {1}


@contextmanager
def _someone_watching(terminal: int) -> Iterator[None]:
    """Reads the output of a terminal, so that the command never waits for it."""
    leaves = threading.Event()

    def watch() -> None:
        os.set_blocking(terminal, False)
        while not leaves.is_set():
            with suppress(BlockingIOError, OSError):
                os.read(terminal, 65536)
            leaves.wait(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        leaves.set()
        watcher.join()


def _on_a_terminal(world: World) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the command on a separate terminal. Returns the other end of it."""
    ours, theirs = os.openpty()
    # A session leader that opens a terminal gets its signals.
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <"$TTY" >"$TTY" 2>&1', "sh", *BATCHSEND, "send", "campaign.toml", "--yes"],
        cwd=world.folder,
        env={**world.env(), "TTY": os.ttyname(theirs)},
        start_new_session=True,
    )
    os.close(theirs)
    return process, ours


def test_a_closed_terminal_loses_nothing(world: World, bench: Misbehaving, held: threading.Event) -> None:
    process, terminal = _on_a_terminal(world)
    with _someone_watching(terminal):
        wait_for_the_third(world, bench)
    # Closing a terminal's window sends SIGHUP to its programs and takes away their output.
    os.close(terminal)
    wait_until_it_ends(world, bench, process)
    held.set()
    assert process.wait(60) == 130
    assert outcomes(world) == HALF_DONE
    assert len(bench.received) == 3


@pytest.mark.system
def test_nohup_is_heeded(world: World, bench: Misbehaving, held: threading.Event) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *BATCHSEND, "send", "campaign.toml", "--yes"]
    process = subprocess.Popen(
        command, cwd=world.folder, env=world.env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    bench.wait_for_requests(3)
    process.send_signal(signal.SIGHUP)
    held.set()
    assert process.wait(60) == 0
    assert outcomes(world) == ["accepted"] * 6


@pytest.mark.system
def test_a_reader_that_leaves_loses_nothing(world: World, bench: Misbehaving, held: threading.Event) -> None:
    """`batchsend send ... 2>&1 | head -1`: the run continues although its output is not read."""
    bench.scripts["customer-3"] = [[says(answer(429))], [says(answer(200, success()))]]
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*BATCHSEND, "send", "campaign.toml", "--yes"],
        cwd=world.folder,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    bench.wait_for_requests(3)
    os.close(ours)
    held.set()
    assert process.wait(60) == 0
    assert outcomes(world) == ["accepted"] * 6
    assert len(bench.received) == 7


@pytest.mark.system
def test_a_closed_log_does_not_stop_a_job_and_its_summary_still_comes(
    world: World, bench: Misbehaving, held: threading.Event
) -> None:
    """`batchsend send ... --log-format json 2> >(head -1)`: standard output has another reader."""
    bench.scripts["customer-3"] = [[says(answer(429))], [says(answer(200, success()))]]
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*BATCHSEND, "send", "campaign.toml", "--yes", "--log-format", "json"],
        cwd=world.folder,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    bench.wait_for_requests(3)
    os.close(ours)
    held.set()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["statuses"] == {"accepted": 6}
    assert len(bench.received) == 7


@pytest.mark.system
def test_stopped_for_longer_than_the_time_out_it_goes_on_where_it_was(
    world: World, bench: Misbehaving, held: threading.Event
) -> None:
    """As a laptop that is closed for a while: the answer that came meanwhile counts."""
    world.write(campaign=SLOWLY.replace("timeout = 60", "timeout = 2"))
    answered = threading.Event()

    async def tell(_: Connection) -> None:
        answered.set()

    bench.scripts["customer-2"] = [[*bench.scripts["customer-2"][0], tell]]
    bench.scripts["customer-4"] = [[never]]
    process = world.start_cold("send", "campaign.toml", "--yes")
    bench.wait_for_requests(3)
    process.send_signal(signal.SIGSTOP)
    held.set()
    assert answered.wait(60)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert outcomes(world) == [*["accepted"] * 4, "unconfirmed TIMEOUT", "accepted"]
    assert set(bench.customers().values()) == {1}


#: A wall clock that is set back by three hours whenever it is looked at; what counts seconds is another clock.
CLOCK = """
import datetime, time
real, real_time = datetime.datetime, time.time
looks = 0

class Jumping(real):
    @classmethod
    def now(cls, tz=None):
        global looks
        looks += 1
        return real.now(tz) - datetime.timedelta(hours=3 * looks)

import batchsend.utils.timestamps, batchsend.mykaarma.client
batchsend.utils.timestamps.datetime = batchsend.mykaarma.client.datetime = Jumping
time.time = lambda: Jumping.now().timestamp()
"""


@pytest.mark.system
def test_a_clock_that_is_set_back_again_and_again_does_not_matter(world: World, bench: Misbehaving) -> None:
    (world.folder / "sitecustomize.py").write_text(CLOCK)
    world.environment["PYTHONPATH"] = str(world.folder)
    date, until = "Date: Mon, 02 Mar 2026 08:00:00 GMT", "Retry-After: Mon, 02 Mar 2026 08:00:01 GMT"
    bench.scripts["customer-1"] = [
        [says(answer(429, b"", "Retry-After: 1"))],
        [says(answer(503, b"", date, until))],
        [says(answer(200, success()))],
    ]
    done = world.send()
    assert done.code == 0, done
    assert outcomes(world) == ["accepted"] * 6
    at = [request.at for request in bench.received if request.customer == "customer-1"]
    assert all(before + 1 <= after for before, after in pairwise(at))
    # The history comes from the ledger, at any time: all have been texted.
    assert world.send().code == 0
    assert len(bench.received) == 8
    latencies = [values["latencyMs"] for values in world.workbook().values()]
    assert all(0 <= latency < 60_000 for latency in latencies)
