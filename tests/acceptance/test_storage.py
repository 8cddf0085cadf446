"""Storage that fails, with the installed command: a clear message, and the server's record agrees with the ledger.

The errors for damaged files are a table in `tests/ledger/test_opening.py`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from limits import read_only, run_with, small_disk, without_special_rights
from misbehaving import answer, misbehaving, says, success, waits_until
from world import Finished, Sandbox, World, customers, read_results

pytestmark = pytest.mark.system

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither file modes nor limits of this kind")
FAST = "[sending]\nrate = 2000\nconcurrency = 10\n"


def refused(done: Finished, *sentences: str) -> None:
    assert done.code == 2
    for sentence in sentences:
        assert sentence in done.err
    assert "Traceback" not in done.out + done.err


def check_against_the_record(world: World, texts: Counter[str], rows: int, path: Path | None = None) -> int:
    """Checks that no customer got two texts, every row is there once, and outcomes agree with the server's record.

    `texts`: customer -> texts that the server received. Returns the number of `unconfirmed` rows.
    """
    outcome = read_results(path) if path is not None else world.workbook()
    assert sorted(outcome) == list(range(2, rows + 2))
    assert max(texts.values()) == 1
    unconfirmed = [row["customerUUID"] for row in outcome.values() if row["status"] == "unconfirmed"]
    accepted = [row["customerUUID"] for row in outcome.values() if row["status"] == "accepted"]
    assert len(accepted) + len(unconfirmed) == rows
    assert set(accepted) <= set(texts) <= {*accepted, *unconfirmed}
    return len(unconfirmed)


# --- full disks


@posix
def test_a_disk_that_fills_up_under_the_ledger(tmp_path: Path) -> None:
    release = threading.Event()
    with misbehaving() as bench, small_disk(tmp_path / "disk", 4_000_000) as disk:
        # The first hundred are answered; then ten requests wait for their answers while the disk fills up.
        held = [[waits_until(release), says(answer(200, success()))]]
        bench.scripts = {f"customer-{number}": held for number in range(100, 400)}
        world = World(tmp_path, bench.base_url)
        world.write(customers(400), campaign=FAST)
        ledger = disk.folder / "ledger.db"
        process = world.start("send", "campaign.toml", "--yes", "--ledger", str(ledger))
        bench.wait_for_requests(110)
        bench.wait_for(lambda: accepted_in(ledger) == 100, "a hundred stored outcomes")
        disk.fill(process.pid)
        release.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "the disk is full or failing" in err
        assert "Sending stopped." in err
        # Only rows that were claimed before may have left since.
        assert 110 <= len(bench.customers()) <= 120
        disk.make_room()
        assert world.send("--ledger", str(ledger)).code == 1
        # The ten requests, and rows that were claimed to follow them.
        assert 10 <= check_against_the_record(world, bench.customers(), 400) <= 20


def accepted_in(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as connection:
        count = connection.execute("SELECT count(*) FROM messages WHERE status = 'accepted'").fetchone()[0]
    return int(count)


@posix
def test_a_disk_without_room_for_a_ledger_sends_nothing(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write(customers(400), campaign=FAST)
    with small_disk(tmp_path / "disk", 48 * 1024) as disk:
        ledger = ("--ledger", str(disk.folder / "ledger.db"))
        done = run_with(world, disk.prepare, "send", "campaign.toml", "--yes", *ledger)
        refused(done, "the disk is full or failing", "Make room and run this again.")
    assert sandbox.requests() == []


@posix
def test_a_disk_without_room_for_the_plan_sends_nothing(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 24 * 1024) as disk:
        world.environment["TMPDIR"] = str(disk.folder)
        world.write(customers(3))
        done = run_with(world, disk.prepare, "send", "campaign.toml", "--yes")
    assert done.code == 2, done.err
    assert "plan.db: the ledger could not be written: the disk is full" in done.err
    assert sandbox.requests() == []


@posix
def test_a_disk_without_room_for_the_results(world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    world.write(customers(400), campaign=FAST)
    with small_disk(tmp_path / "disk", 16 * 1024) as disk:
        path = disk.folder / "results.xlsx"
        full = world.send("--results", str(path))
        if disk.prepare is None:
            assert full.code == 3
            assert (
                "400 rows = 400 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting" in full.out
            )
            assert f"{path}: there is no room left on the disk" in full.out
            assert list(disk.folder.iterdir()) == []
        disk.make_room()
        done = world.send("--results", str(path))
        assert done.code == 0
        assert "Nothing was left to send." in done.out
        assert check_against_the_record(world, sandbox.texts(), 400, path) == 0


def test_a_ledger_that_fails_after_the_last_text_is_a_stop_and_no_refusal(
    world: World, sandbox: Sandbox
) -> None:
    world.write(customers(2))
    assert world.send("--limit", "1").code == 0
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db")) as ledger, ledger:
        ledger.execute(
            "CREATE TRIGGER full BEFORE UPDATE OF ended_at ON starts BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        )
    stopped = world.send()
    assert stopped.code == 3
    assert "the disk is full or failing" in stopped.err
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1}


# --- read-only folders


@posix
def test_in_read_only_folders_preview_and_history_work(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send("--limit", "1")
    folders = (world.folder, world.folder / ".batchsend", world.folder / "results")
    with read_only(*folders):
        looked = run_with(world, without_special_rights, "preview", "campaign.toml")
        assert looked.code == 0
        assert "2 rows = 1 accepted by myKaarma + 1 ready to send + 0 skipped" in looked.out
        assert "continues: the list is the same" in looked.out
        assert "Couldn't write the preview; choose a folder with --out." in looked.err
        assert run_with(world, without_special_rights, "runs").out.startswith("run 1  Spring")
        sending = run_with(world, without_special_rights, "send", "campaign.toml", "--yes")
        refused(sending, "the results cannot be written here (Permission denied)")
    assert len(sandbox.requests()) == 1


@posix
def test_in_read_only_folders_the_log_of_a_killed_process_is_read(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send("--limit", "1")
    file = world.folder / ".batchsend" / "ledger.db"
    # As a kill leaves it: the last commit is in the log and not in the file.
    with closing(sqlite3.connect(file)) as ledger:
        ledger.execute("UPDATE messages SET status = 'failed', codes = 'CUSTOMER_LOCKED' WHERE row = 2")
        ledger.commit()
        assert file.with_name("ledger.db-wal").stat().st_size > 0
        with read_only(world.folder, file.parent):
            looked = run_with(world, without_special_rights, "preview", "campaign.toml")
    assert "CUSTOMER_LOCKED" in looked.out


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_results_that_cannot_be_replaced_get_another_name(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send("--limit", "1")
    results = world.folder / "results"
    # A file of another user in a folder where only its owner may replace it.
    os.chown(results / "campaign-1.xlsx", 65534, 65534)
    os.chown(results, 65534, 0)
    results.chmod(0o1777)
    done = run_with(world, without_special_rights, "send", "campaign.toml", "--yes")
    assert done.code == 0
    assert "Results: results/campaign-1 (2).xlsx\n" in done.out
    assert check_against_the_record(world, sandbox.texts(), 2, results / "campaign-1 (2).xlsx") == 0


# --- ledgers that cannot be relied on


def test_a_ledger_that_is_not_sound_sends_nothing_and_stays_as_it_is(world: World, sandbox: Sandbox) -> None:
    world.write(customers(60), campaign=FAST)
    world.send()
    world.write_list(customers(61))
    file = world.folder / ".batchsend" / "ledger.db"
    sound = file.read_bytes()
    middle = len(sound) // 2 // 4096 * 4096
    for content, sentence in (
        (sound[:middle] + bytes(4096) + sound[middle + 4096 :], "this file is damaged or not a ledger"),
        # As a full disk or a broken copy leaves it: SQLite takes it for a new one.
        (b"", "this ledger is empty, but campaigns were sent from it."),
    ):
        file.write_bytes(content)
        refused(world.send(), str(file), sentence)
        assert file.read_bytes() == content
    file.write_bytes(sound)
    assert world.send().code == 0
    assert set(sandbox.texts().values()) == {1}
    assert len(sandbox.texts()) == 61


def test_a_damaged_index_is_found_before_it_hides_who_was_texted(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send()
    file = world.folder / ".batchsend" / "ledger.db"
    content = file.read_bytes()
    with closing(sqlite3.connect(file)) as ledger:
        root = ledger.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages_by_key'").fetchone()[
            0
        ]
    page = content[(root - 1) * 4096 : root * 4096]
    assert b"customer-0" in page
    # One letter: SQLite would not find the right name, without an error.
    file.write_bytes(content.replace(page, page.replace(b"customer-0", b"custOmer-0")))
    world.write_list([*customers(2), *customers(1, "new")])
    refused(world.send(), "this file is damaged or not a ledger (row 1 missing from index messages_by_key)")
    assert len(sandbox.requests()) == 2


def test_a_ledger_that_another_program_holds_for_a_while_is_waited_for(
    world: World, sandbox: Sandbox
) -> None:
    world.write(customers(30), campaign="[sending]\nrate = 20\n")
    process = world.start("send", "campaign.toml", "--yes", "--quiet")
    sandbox.wait_for(3)
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db", timeout=60)) as other:
        other.isolation_level = None
        other.execute("BEGIN EXCLUSIVE")
        claimed = other.execute("SELECT count(*) FROM messages WHERE status <> 'pending'").fetchone()[0]
        # No request leaves without a recorded claim, however long it takes.
        held = len(sandbox.requests())
        assert held <= claimed
        # Claimed rows are sent; then all wait for the ledger.
        sandbox.wait_for(claimed)
        assert len(sandbox.requests()) == claimed
        other.execute("ROLLBACK")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "30 rows = 30 accepted by myKaarma" in out
    assert check_against_the_record(world, sandbox.texts(), 30) == 0
