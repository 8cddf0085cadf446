"""The processes that read lists for the console: shared fairly, canceled, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from web_client import serving
from world import World, customers

from batchsend.errors import BatchsendError
from batchsend.web.jobs.reader_pool import CanceledError, Readers, Reading


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that can be read as soon as something is written to it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    yield path


def with_readers(test: Callable[[Readers], Awaitable[None]], most: int = 4) -> None:
    async def run() -> None:
        readers = Readers(most=most)
        try:
            await test(readers)
        finally:
            await readers.close()
        assert children() == []

    asyncio.run(run())


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "--reader" in " ".join(child.cmdline())]


def waiting(readings: list[Reading[bytes]]) -> list[int]:
    """The places in the queue; 0: has a process."""
    return [reading.ahead for reading in readings]


def test_one_users_ten_clicks_leave_processes_for_others(gate: Path) -> None:
    async def test(readers: Readers) -> None:
        clicks = [readers.begin("ann", gate.read_bytes) for _ in range(10)]
        assert waiting(clicks) == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        assert await readers.run("bob", os.getpid) != os.getpid()
        cleo = readers.begin("cleo", gate.read_bytes)
        dan = readers.begin("dan", gate.read_bytes)
        late = readers.begin("eve", gate.read_bytes)
        assert waiting([cleo, dan]) == [0, 0]
        # The next process is for the user who has none, not for the one who asked first.
        assert (late.ahead, clicks[2].ahead) == (1, 2)
        await readers.cancel(dan)
        assert late.ahead == 0
        assert clicks[2].ahead == 1

    with_readers(test)


def test_a_canceled_call_ends_its_process_and_only_that(gate: Path) -> None:
    async def test(readers: Readers) -> None:
        other = await readers.run("bob", os.getpid)
        blocked = readers.begin("ann", gate.read_bytes)
        queued = readers.keep("list", "ann", gate.read_bytes)
        await readers.cancel(queued)
        await readers.cancel(blocked)
        assert queued.was_canceled
        assert blocked.was_canceled
        with pytest.raises(CanceledError):
            await blocked.future
        assert await readers.run("ann", os.getpid) != other
        # It is remembered, so that the next page does not start it again by itself.
        assert readers.keep("list", "ann", gate.read_bytes) is queued
        readers.forget(queued)
        assert readers.keep("list", "ann", gate.read_bytes) is not queued

    with_readers(test)


def test_what_was_read_is_kept_for_all_users() -> None:
    async def test(readers: Readers) -> None:
        first = readers.keep("list", "ann", os.getpid)
        await first.future
        assert readers.keep("list", "bob", os.getpid) is first
        assert readers.keep("other list", "bob", os.getpid) is not first

    with_readers(test)


def test_a_crash_is_an_error_of_that_call_only() -> None:
    async def test(readers: Readers) -> None:
        with pytest.raises(BatchsendError, match="made the program that reads lists crash"):
            await readers.run("ann", os.abort)
        with pytest.raises(BatchsendError, match="made the program that reads lists crash"):
            await readers.run("ann", os._exit, 0)
        with pytest.raises(FileNotFoundError):
            await readers.run("ann", os.listdir, "/nothing/here")
        assert await readers.run("ann", len, "abc") == 3

    with_readers(test)


def readers_of(server: psutil.Process) -> list[psutil.Process]:
    return [child for child in server.children() if "--reader" in " ".join(child.cmdline())]


@pytest.mark.system
@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGTERM])
def test_readers_end_with_their_server(world: World, what: signal.Signals) -> None:
    """One that waits for work, and one that is in the middle of it."""
    world.write(customers(3))
    os.mkfifo(world.folder / "endless.csv")
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    (world.folder / "endless.toml").write_text(text.replace("customers.csv", "endless.csv"), encoding="utf-8")
    with serving(world) as served:
        clicker = served.signed_in()
        assert "Reading the list" in clicker.raw("GET", "/campaign/here/endless/list").plain
        clicker.wait("/campaign/here/campaign/list", "3 rows")
        found = readers_of(psutil.Process(served.process.pid))
        assert len(found) == 2
        os.kill(served.process.pid, what)
        assert psutil.wait_procs(found, timeout=60)[1] == []
