"""The processes that read lists for the console: shared fairly, canceled, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from web_client import Served, serving
from world import World, customers

from batchsend.errors import BatchsendError
from batchsend.web.jobs.reader_pool import CanceledError, Readers, Reading

pytestmark = pytest.mark.system


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


def test_quick_calls_do_not_wait_for_long_ones(gate: Path) -> None:
    async def test(readers: Readers) -> None:
        long = [readers.begin(user, gate.read_bytes) for user in ("ann", "bob", "cleo")]
        assert waiting(long) == [0, 0, 1]
        assert await readers.begin_quick("ann", len, "abc").future == 3
        assert await readers.begin_quick("dan", len, "abcd").future == 4

    with_readers(test, most=2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux threads have a priority of their own")
def test_only_long_calls_step_back() -> None:
    async def test(readers: Readers) -> None:
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        for _ in range(2):
            assert await readers.run("ann", os.getpriority, os.PRIO_PROCESS, 0) > mine
            assert await readers.begin_quick("ann", os.getpriority, os.PRIO_PROCESS, 0).future == mine
        assert len(children()) == 2  # the one that is used, and one that is kept ready

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


def readers_of(server: Served) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "--reader" in " ".join(child.cmdline())]


ENDLESS = "/campaign/here/endless"


@pytest.fixture
def endless(tmp_path: Path) -> World:
    """Two campaigns: the list of the second one takes forever to be read."""
    folder = tmp_path / "dealership"
    folder.mkdir()
    world = World(folder).write(customers(3))
    os.mkfifo(folder / "endless.csv")
    text = (folder / "campaign.toml").read_text(encoding="utf-8")
    text = text.replace("customers.csv", "endless.csv").replace("Spring", "Endless")
    (folder / "endless.toml").write_text(text, encoding="utf-8")
    return world


@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGTERM])
def test_readers_end_with_their_server(endless: World, what: signal.Signals) -> None:
    """Those that wait for work, and those that are in the middle of it."""
    with serving(endless) as served:
        clicker = served.signed_in()
        clicker.check("/campaign/here/campaign")
        for _ in range(3):
            assert "Reading the list" in clicker.raw("GET", f"{ENDLESS}/list").text
        found = readers_of(served)
        assert len(found) > 1
        os.kill(served.process.pid, what)
        assert psutil.wait_procs(found, timeout=60)[1] == []


def test_reading_a_list_can_be_canceled_and_begun_again(endless: World) -> None:
    with serving(endless) as served:
        clicker = served.signed_in()
        waiting = clicker.raw(
            "GET", f"{ENDLESS}/columns", headers={"Referer": f"{clicker.origin}{ENDLESS}/text"}
        )
        assert "Reading the list" in waiting.plain
        assert waiting.hidden("back") == f"{ENDLESS}/text"
        assert "Reading the list" in clicker.raw("GET", f"{ENDLESS}/list/progress").plain
        left = clicker.submit(f"{ENDLESS}/list/cancel", {"back": f"{ENDLESS}/text"})
        assert (left.status, left.headers["Location"]) == (303, f"{ENDLESS}/text")
        assert "The list was not read" in clicker.get(f"{ENDLESS}/columns").plain
        assert "The list was not read" in clicker.get(f"{ENDLESS}/list").plain
        assert clicker.raw("GET", f"{ENDLESS}/list/progress").headers["HX-Refresh"] == "true"
        again = clicker.submit(f"{ENDLESS}/list/read", {"back": f"{ENDLESS}/list"})
        assert again.status == 303
        assert "Reading the list" in clicker.raw("GET", f"{ENDLESS}/list").plain


def test_a_check_can_be_canceled_and_made_again(endless: World) -> None:
    with serving(endless) as served:
        clicker = served.signed_in()
        begun = clicker.submit(f"{ENDLESS}/check")
        address = begun.headers["Location"]
        waiting = clicker.raw("GET", address, headers={"Referer": f"{clicker.origin}{ENDLESS}"})
        assert "Checking the campaign" in waiting.plain
        assert waiting.hidden("back") == ENDLESS
        before = readers_of(served)
        left = clicker.submit(f"{address}/cancel", {"back": waiting.hidden("back")})
        assert (left.status, left.headers["Location"]) == (303, ENDLESS)
        assert "The check was canceled" in clicker.get(address).plain
        assert len(readers_of(served)) < len(before)
        # The same files are checked again only when the user asks for it.
        again = clicker.submit(f"{ENDLESS}/check")
        assert again.headers["Location"] != address
        assert clicker.raw("GET", again.headers["Location"]).status in (200, 303)


def test_a_change_takes_the_place_of_a_check_that_is_under_way(endless: World) -> None:
    file = endless.folder / "endless.toml"
    with serving(endless) as served:
        clicker = served.signed_in()
        addresses = []
        for number in range(4):
            file.write_text(f"{file.read_text(encoding='utf-8')}# {number}\n", encoding="utf-8")
            addresses.append(clicker.raw("GET", f"{ENDLESS}/check").headers["Location"])
        last = addresses[-1]
        assert len(set(addresses)) == 4
        assert '<progress id="bar"' in clicker.raw("GET", ENDLESS).text
        deadline = time.monotonic() + 60
        while "Waiting for other checks" in (answer := clicker.raw("GET", last)).plain:
            assert time.monotonic() < deadline, answer.plain
        while "HX-Redirect" not in (answer := clicker.raw("GET", f"{addresses[0]}/progress")).headers:
            assert time.monotonic() < deadline, answer.plain
        assert answer.headers["HX-Redirect"] == f"{ENDLESS}/check"


def test_a_reading_holds_up_no_other_user(endless: World) -> None:
    """One user has more to be read and checked than there are processes for one user."""
    for name in ("ann", "bob"):
        endless.run("web-users", "add", name, "--password-stdin", answer="four words are good\n")
    with serving(endless) as served:
        ann, bob = served.clicker(), served.clicker()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for clicker, name in ((ann, "ann"), (bob, "bob")):
            clicker.raw("POST", "/login", f"name={name}&password=four+words+are+good".encode(), form)
        for _ in range(10):
            ann.submit(f"{ENDLESS}/check")
        assert "Reading the list" in ann.raw("GET", f"{ENDLESS}/list").plain
        assert "3 rows" in bob.get("/campaign/here/campaign/list").plain
        assert "Nothing is sent by a check" not in bob.check("/campaign/here/campaign")[1].plain


def test_an_uploaded_list_waits_for_its_turn_and_can_be_canceled(endless: World) -> None:
    """A user whose processes are all busy uploads a list."""
    text = (endless.folder / "endless.toml").read_text(encoding="utf-8")
    for number in range(3):
        (endless.folder / f"endless-{number}.toml").write_text(text, encoding="utf-8")
    usable = (endless.folder / "campaign.toml").read_text(encoding="utf-8")
    (endless.folder / "another.toml").write_text(usable.replace("Spring", "Another"), encoding="utf-8")
    page = "/campaign/here/campaign/list"
    with serving(endless) as served:
        clicker = served.signed_in()
        for number in range(3):
            assert "Cancel" in clicker.raw("GET", f"/campaign/here/endless-{number}/list").plain
        content = b"Customer UUID,First Name\ncustomer-new,Ann\n"
        assert clicker.send_file(page, "may.csv", content).status == 303
        waiting = clicker.raw("GET", page)
        assert "may.csv" in waiting.plain
        assert "in the queue" in waiting.plain
        assert "in the queue" in clicker.raw("GET", f"{page}/upload/progress").plain
        assert (endless.folder / "may.csv").exists()
        left = clicker.submit(f"{page}/upload/cancel")
        assert (left.status, left.headers["Location"]) == (303, page)
        assert "may.csv was not used, because you canceled it" in clicker.raw("GET", page).plain
        assert not (endless.folder / "may.csv").exists()
        assert 'list = "customers.csv"' in (endless.folder / "campaign.toml").read_text(encoding="utf-8")

        # The same list for another campaign meanwhile: it does not depend on what becomes of the first one.
        other = "/campaign/here/another/list"
        assert clicker.send_file(page, "may.csv", content).status == 303
        assert clicker.send_file(other, "may.csv", content).status == 303
        assert (endless.folder / "may (2).csv").exists()
        clicker.submit(f"{page}/upload/cancel")
        assert not (endless.folder / "may.csv").exists()
        assert (endless.folder / "may (2).csv").exists()
        clicker.submit(f"{other}/upload/cancel")

        # The same list again, and this time another one makes room for it.
        assert clicker.send_file(page, "may.csv", content).status == 303
        for number in range(3):
            clicker.submit(f"/campaign/here/endless-{number}/list/cancel")
        assert "may.csv is now the campaign's list" in clicker.get(page).plain
        assert 'list = "may.csv"' in (endless.folder / "campaign.toml").read_text(encoding="utf-8")
