"""Backups of a ledger, and what a restored or moved one knows."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import everything, planned, send_all, sqlite_url, store_plan
from misbehaving import answer, misbehaving, says, success, waits_until
from world import Sandbox, World, customers

from batchsend.errors import LedgerError
from batchsend.ledger.backup import back_up
from batchsend.ledger.opening import open_for_reading, open_ledger

NOW = datetime(2026, 3, 2, 12, 30, 15, tzinfo=UTC)
OLDEST = Path(__file__).with_name("schemas") / "version_1.sql"
FAST = "[sending]\nrate = 2000\nconcurrency = 5\n"


def test_a_backup_is_the_whole_ledger_in_one_private_file(tmp_path: Path) -> None:
    (folder := tmp_path / "backups").mkdir()
    with closing(open_ledger(sqlite_url(tmp_path / "ledger.db"))) as ledger:
        first = store_plan(ledger, [planned(row) for row in range(2, 300)])
        send_all(ledger, first)
        made = back_up(ledger, folder, NOW)
        content = everything(ledger)
    assert made == (folder / "ledger-2026-03-02-123015.db", 1, "2026-03-02T10:00:00.000Z")
    assert list(folder.iterdir()) == [made.file]
    if sys.platform != "win32":
        assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    copy = open_for_reading(sqlite_url(made.file))
    assert copy is not None
    with closing(copy):
        assert everything(copy) == content


def test_a_backup_never_replaces_a_file(tmp_path: Path) -> None:
    (existing := tmp_path / "notes.txt").write_text("mine")
    with closing(open_ledger(sqlite_url(tmp_path / "ledger.db"))) as ledger:
        for target in (existing, tmp_path / "ledger.db"):
            with pytest.raises(LedgerError, match="this file exists, and it was not overwritten"):
                back_up(ledger, target, NOW)
        with pytest.raises(LedgerError, match="could not be written"):
            back_up(ledger, existing / "ledger.db", NOW)
    assert existing.read_text() == "mine"


def test_a_ledger_of_the_oldest_version_is_backed_up_before_its_upgrade(world: World) -> None:
    place = world.folder / ".batchsend"
    place.mkdir()
    with closing(sqlite3.connect(place / "ledger.db")) as old:
        old.executescript(OLDEST.read_text(encoding="utf-8"))
    assert world.run("runs").code == 2
    done = world.run("ledger", "backup", "backup.db")
    assert done.code == 0, done.err
    upgraded = world.run("ledger", "upgrade", "--ledger", "backup.db")
    assert "from version 1 to" in upgraded.out, upgraded.err


def test_a_postgresql_ledger_is_backed_up_with_its_own_tools(postgres_url: str, tmp_path: Path) -> None:
    with closing(open_ledger(postgres_url)) as ledger, pytest.raises(LedgerError, match="pg_dump"):
        back_up(ledger, tmp_path, NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_while_texts_are_sent_has_every_text_sent_before_it(tmp_path: Path) -> None:
    held = threading.Event()
    with misbehaving() as bench:
        bench.scripts["customer-20"] = [[waits_until(held), says(answer(200, success()))]]
        world = World(tmp_path, bench.base_url).write(
            customers(40), campaign="[sending]\nrate = 2000\nconcurrency = 1\n"
        )
        process = world.start("send", "campaign.toml", "--yes")
        bench.wait_for_requests(21)
        backup = world.run("ledger", "backup", "backup.db")
        held.set()
        out, err = process.communicate()
    assert (process.returncode, backup.code) == (0, 0), err
    assert "40 rows = 40 accepted" in out
    assert "1 run, last text sent " in backup.out
    assert "It does not know what is sent from now on." in backup.out
    with closing(open_ledger(sqlite_url(tmp_path / "backup.db"))) as copy:
        rows = everything(copy)["messages"]
    tried = [row for row in rows if {"accepted", "in_flight"} & set(map(str, row))]
    assert len(rows) == 40
    assert len(tried) >= 21


def test_a_restored_backup_texts_nobody_again(world: World, sandbox: Sandbox) -> None:
    """The steps of "Restoring a backup" in docs/ledger.md."""
    guarded = f"{FAST}\n[guards]\nrequire_history = true\n"
    world.write(customers(3), campaign=guarded)
    assert world.send("--new-campaign").code == 0
    assert world.run("ledger", "backup", "backup.db").code == 0
    world.write_list(customers(6))
    assert world.send().code == 0  # run 2 texts three more, and the backup does not know of it

    place = world.folder / ".batchsend"
    place.rename(world.folder / "lost-ledger")
    place.mkdir()
    shutil.copy(world.folder / "backup.db", place / "ledger.db")
    world.write_list(customers(8))
    refused = world.send()
    assert refused.code == 2
    assert "campaign-2.xlsx has the results of run 2" in refused.err
    assert "has no run after 1" in refused.err
    assert "has the results of run 2" in world.run("preview", "campaign.toml").err

    aside = world.folder / "before-restore"
    aside.mkdir()
    for file in (world.folder / "results").glob("campaign-2.*"):
        file.rename(aside / file.name)
    world.write(campaign=guarded + '[recipients]\nsuppress = ["before-restore/campaign-2.xlsx"]\n')
    done = world.send()
    assert done.code == 0, done.err
    assert set(sandbox.texts().values()) == {1}
    assert len(sandbox.texts()) == 8


def test_a_ledger_deleted_next_to_its_results_is_missed(world: World, sandbox: Sandbox) -> None:
    guarded = f"{FAST}\n[guards]\nrequire_history = true\n"
    world.write(customers(3), campaign=guarded)
    assert world.send("--new-campaign").code == 0
    shutil.rmtree(world.folder / ".batchsend")
    for options in ((), ("--new-campaign",)):
        refused = world.send(*options)
        assert refused.code == 2
        assert "campaign-1.xlsx has the results of run 1" in refused.err
        assert "has no run." in refused.err
    # Results of other campaigns, rehearsals and copies do not count.
    for number, name in enumerate(("campaign-1", "other-7", "campaign-rehearsal", "campaign-1 (2)")):
        page = world.folder / "results" / f"{name}.html"
        page.rename(page.with_name("mine.html")) if number == 0 else page.touch()
    assert world.send("--new-campaign").code == 0


def test_without_the_guard_unknown_results_are_said(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3), campaign=FAST)
    assert world.send().code == 0
    other = ("--ledger", "other.db")
    looked = world.run("preview", "campaign.toml", *other)
    assert looked.code == 0
    assert "campaign-1.xlsx has the results of run 1" in " ".join(looked.out.split())
    assert "has the results of run 1" in (world.folder / "previews" / "campaign.html").read_text(
        encoding="utf-8"
    )
    done = world.send("--log-format", "json", *other)
    assert done.code == 0
    assert "has the results of run 1" in json.loads(done.err.splitlines()[0])["unknown_runs"]


def test_a_moved_folder_keeps_its_history(world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    world.write(customers(3), campaign=FAST)
    assert world.send().code == 0
    moved = tmp_path / "elsewhere" / "texts"
    moved.parent.mkdir()
    world.folder.rename(moved)
    there = World(moved, world.base_url)
    there.write_list(customers(5))
    done = there.send()
    assert done.code == 0, done.err
    assert set(sandbox.texts().values()) == {1}
    assert len(sandbox.texts()) == 5
