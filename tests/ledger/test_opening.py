"""Opening a ledger on both databases, and what is refused."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from ledgers import (
    BASE_URL,
    planned,
    send_all,
    sqlite_url,
    store_plan,
    stored,
)
from sqlalchemy import select, text, update

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.schema import SCHEMA_VERSION, messages, meta
from batchsend.sending.locks import campaign_lock

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / ".batchsend" / "ledger.db"


def test_a_new_ledger_is_created_and_found_again(ledger_url: str) -> None:
    assert open_for_reading(ledger_url) is None
    first = open_ledger(ledger_url)
    stored_plan = store_plan(first, [planned(2)])
    first.close()
    again = open_ledger(ledger_url)
    assert again.ledger_id() == first.ledger_id()
    assert stored(again, stored_plan.run_id) == {2: ("pending", "STOPPED")}
    again.close()
    first.close()


def test_two_ledgers_have_two_ids(tmp_path: Path) -> None:
    ledgers = [open_ledger(sqlite_url(tmp_path / name)) for name in ("a.db", "b.db")]
    assert ledgers[0].ledger_id() != ledgers[1].ledger_id()
    for ledger in ledgers:
        ledger.close()


def test_a_ledger_opened_for_reading_cannot_be_changed(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "ledger.db")
    writing = open_ledger(url)
    stored_plan = store_plan(writing, [planned(2)])
    reading = open_for_reading(url)
    assert reading is not None
    assert stored(reading, stored_plan.run_id) == {2: ("pending", "STOPPED")}
    with pytest.raises(LedgerError) as caught:
        reading.request_stop(stored_plan.run_id, "ann")
    assert str(caught.value) == (
        f"{tmp_path / 'ledger.db'}: the ledger is read-only for this user. Make it writable, or name another "
        f"with --ledger."
    )
    reading.close()
    writing.close()


def test_a_ledger_in_a_read_only_folder_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sqlite_url(tmp_path / "ledger.db")
    writing = open_ledger(url)
    stored_plan = store_plan(writing, [planned(2)])
    writing.close()
    # Root can write everywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = sorted(tmp_path.iterdir())
    reading = open_for_reading(url)
    assert reading is not None
    assert stored(reading, stored_plan.run_id) == {2: ("pending", "STOPPED")}
    assert sorted(tmp_path.iterdir()) == before
    reading.close()


@pytest.mark.parametrize(
    "name",
    [
        # Characters with a meaning in URLs are part of the folder's name.
        "Spring #2",
        "50% off",
        "what?",
        "a%20b",
        "Köln & Ærø",
        # SQLite's options for opening a file read-only.
        "mode=ro immutable uri",
    ],
)
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "ledger.db"
    writing = open_ledger(sqlite_url(file))
    stored_plan = store_plan(writing, [planned(2)])
    assert file.is_file()
    with writing.read() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    reading = open_for_reading(sqlite_url(file))
    assert reading is not None
    assert stored(reading, stored_plan.run_id) == {2: ("pending", "STOPPED")}
    reading.close()
    writing.close()


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (
            "99",
            (
                "written by a newer version of batchsend (its tables are version 99, this program knows version "
                f"{SCHEMA_VERSION}). Nothing was sent. Upgrade batchsend and run this again."
            ),
        ),
        (
            "0",
            (
                "written by an older version of batchsend (its tables are version 0, this program needs version "
                f"{SCHEMA_VERSION}). Nothing was sent. Run `batchsend ledger upgrade`, and then this again."
            ),
        ),
    ],
)
def test_a_ledger_of_another_version_is_refused(ledger_url: str, version: str, sentence: str) -> None:
    ledger = open_ledger(ledger_url)
    with ledger.write() as connection:
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=version))
    ledger.close()
    for attempt in (open_ledger, open_for_reading):
        with pytest.raises(LedgerError) as caught:
            attempt(ledger_url)
        assert str(caught.value) == f"{ledger.where}: this ledger was {sentence}"


def test_a_database_of_another_program_is_refused(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    with ledger.write() as connection:
        connection.execute(meta.delete())
    ledger.close()
    with pytest.raises(LedgerError, match="has a table `meta` that is not batchsend's"):
        open_ledger(ledger_url)


def test_a_file_that_is_not_a_database_is_refused(ledger_file: Path) -> None:
    ledger_file.parent.mkdir()
    ledger_file.write_text("Customer UUID,First Name\n" * 100, encoding="utf-8")
    for attempt in (open_ledger, open_for_reading):
        with pytest.raises(LedgerError) as caught:
            attempt(sqlite_url(ledger_file))
        assert str(caught.value) == (
            f"{ledger_file}: this file is damaged or not a ledger (file is not a database). Nothing more is sent. "
            "Keep the file, restore a backup if there is one, and ask for help before you start with a new "
            "ledger: a new one does not know what was sent."
        )
    assert ledger_file.read_text(encoding="utf-8").startswith("Customer UUID")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"Customer UUID" + content[13:],
        # The version of the file format.
        lambda content: content[:18] + b"\x09\x09" + content[20:],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4096],
        lambda content: content[:100],
        lambda content: content[:40_000] + b"\xa5" * (len(content) - 40_000),
        lambda content: content[:8192] + bytes(4096) + content[12288:],
        lambda content: content[:4096] + content[8192:12288] + content[8192:],
    ],
    ids=["no header", "format", "half", "a page short", "a piece", "noise", "a blank page", "a page twice"],
)
def test_a_damaged_ledger_is_refused_before_anything_is_sent(
    ledger_file: Path, damage: Callable[[bytes], bytes]
) -> None:
    ledger = open_ledger(sqlite_url(ledger_file))
    store_plan(ledger, [planned(row) for row in range(2, 500)])
    ledger.close()
    damaged = damage(ledger_file.read_bytes())
    ledger_file.write_bytes(damaged)
    with pytest.raises(LedgerError, match="is damaged or not a ledger"):
        open_ledger(sqlite_url(ledger_file))
    assert ledger_file.read_bytes() == damaged


@pytest.fixture(params=["as here", "as on Windows"])
def _locks_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of a lock's file when it is released: on Windows, it is deleted unless it is to be kept."""
    really_release = FileLock._release

    def release(self: FileLock) -> None:
        really_release(self)
        if not self.preserve_lock_file:
            Path(self.lock_file).unlink()

    if request.param == "as on Windows":
        monkeypatch.setattr(FileLock, "_release", release)


@pytest.mark.usefixtures("_locks_end")
def test_an_emptied_or_missing_ledger_is_not_taken_for_a_new_one(ledger_file: Path) -> None:
    ledger = open_ledger(sqlite_url(ledger_file))
    with campaign_lock(ledger, "Spring", BASE_URL):
        pass
    ledger.close()
    [lock] = ledger_file.parent.glob("*.lock")
    ledger_file.unlink()
    for state in ("missing", "empty"):
        for attempt in (open_ledger, open_for_reading):
            with pytest.raises(LedgerError, match=f"this ledger is {state}, but campaigns were sent from it"):
                attempt(sqlite_url(ledger_file))
        assert ledger_file.exists() == (state == "empty")
        ledger_file.write_bytes(b"")
    # A first start that was killed before it created the tables leaves an empty file without a lock.
    lock.unlink()
    assert open_for_reading(sqlite_url(ledger_file)) is None
    open_ledger(sqlite_url(ledger_file)).close()


def test_a_ledger_locked_by_another_program_is_reported(ledger_file: Path) -> None:
    open_ledger(sqlite_url(ledger_file)).close()
    holder = sqlite3.connect(ledger_file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError) as caught:
        open_ledger(sqlite_url(ledger_file), busy_timeout=0.01)
    assert str(caught.value) == (
        f"{ledger_file}: the ledger is locked by another program. Close that program and run this again."
    )
    holder.close()


def test_a_place_that_cannot_contain_a_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    file = tmp_path / "notes.txt" / "ledger.db"
    with pytest.raises(LedgerError) as caught:
        open_ledger(sqlite_url(file))
    assert str(caught.value).startswith(f"{file}: the ledger cannot be written here (")
    assert str(caught.value).endswith(
        "). Nothing was sent. Make the folder writable, or name another place with --ledger or BATCHSEND_LEDGER."
    )


def test_a_database_that_cannot_be_reached_is_refused_without_its_password(tmp_path: Path) -> None:
    for url in (
        "postgresql+psycopg://ann:hunter2@127.0.0.1:9/ledgers",
        "postgresql+psycopg://ann@127.0.0.1:9/ledgers?password=hunter2",
    ):
        with pytest.raises(LedgerError) as caught:
            open_ledger(url)
        # As it is written in BATCHSEND_LEDGER: `psycopg` is our affair.
        shown, _, reason = str(caught.value).partition(": the database cannot be reached ")
        assert re.fullmatch(r"postgresql://ann(:\*\*\*)?@127.0.0.1:9/ledgers", shown)
        assert reason.startswith("(connection failed")
        assert "hunter2" not in str(caught.value)


def test_many_processes_can_create_the_ledger_at_the_same_time(ledger_url: str) -> None:
    starting = threading.Barrier(6)
    ids: list[str] = []
    errors: list[Exception] = []

    def open_it() -> None:
        starting.wait()
        try:
            ledger = open_ledger(ledger_url)
            ids.append(ledger.ledger_id())
            ledger.close()
        except LedgerError as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ids) == 6
    assert len(set(ids)) == 1


@posix
def test_only_its_owner_can_read_a_ledger(ledger_file: Path) -> None:
    ledger = open_ledger(sqlite_url(ledger_file))
    store_plan(ledger, [planned(2)])
    with campaign_lock(ledger, "Spring", BASE_URL):
        files = sorted(file.name.split("-")[-1] for file in ledger_file.parent.iterdir())
        assert files[-3:] == ["ledger.db", "shm", "wal"]
        assert len(files) == 4
        for file in ledger_file.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(ledger_file.parent.stat().st_mode) == 0o700
    ledger.close()


def test_a_commit_is_on_disk_when_it_returns(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    if ledger.file is not None:
        with ledger.write() as connection:
            assert connection.scalar(text("PRAGMA synchronous")) == 2
    else:
        # The setting of the database does not matter.
        with ledger.write() as connection:
            database = connection.scalar(text("SELECT current_database()"))
            connection.execute(text(f'ALTER DATABASE "{database}" SET synchronous_commit = off'))
        ledger.close()
        with ledger.write() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"
    ledger.close()


def test_a_read_sees_one_state_of_the_ledger(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    query = select(messages.c.status).order_by(messages.c.row)
    with ledger.read() as connection:
        before = list(connection.scalars(query))
        send_all(ledger, stored_plan)
        assert list(connection.scalars(query)) == before
    assert ledger.counts(stored_plan.run_id) == {"accepted": 2}


def test_an_error_of_the_database_does_not_quote_texts_or_phones(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    with ledger.write() as connection:
        connection.execute(text("ALTER TABLE messages ADD CHECK (row <> 3)"))
    with pytest.raises(LedgerError) as caught:
        store_plan(ledger, [planned(2), planned(3, body="Dear Ann", phone="+13125550142")])
    assert 'violates check constraint "messages_row_check"' in str(caught.value)
    assert "Ann" not in str(caught.value)
    assert "0142" not in str(caught.value)
    ledger.close()
