"""The ledger on both databases: what is stored, when, and what is never stored twice or lost."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import (
    BASE_URL,
    HOST,
    came_to,
    everything,
    history,
    identity,
    outbox,
    planned,
    send_all,
    store_plan,
    stored,
)
from sqlalchemy import select, text, update
from sqlalchemy.engine import URL

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.runs import code_counts, overview, run_rows, segments_to_send
from batchsend.ledger.schema import SCHEMA_VERSION, messages, meta, superseded
from batchsend.sending.locks import campaign_lock
from batchsend.sending.outbox import Outcome
from batchsend.statuses import IN_FLIGHT, Code, Status

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / ".batchsend" / "ledger.db"


def sqlite_url(file: Path) -> str:
    return URL.create("sqlite", database=str(file)).render_as_string()


# --- opening


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
        reading.request_stop(stored_plan.run_id)
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


def test_an_emptied_ledger_is_not_taken_for_a_new_one(ledger_file: Path) -> None:
    ledger = open_ledger(sqlite_url(ledger_file))
    with campaign_lock(ledger, "Spring", BASE_URL):
        pass
    ledger.close()
    [lock] = ledger_file.parent.glob("*.lock")
    ledger_file.write_bytes(b"")
    for attempt in (open_ledger, open_for_reading):
        with pytest.raises(LedgerError, match="this ledger is empty, but campaigns were sent from it"):
            attempt(sqlite_url(ledger_file))
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
        assert "127.0.0.1:9/ledgers: the ledger cannot be used (connection failed" in str(caught.value)
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


# --- claims and outcomes


def test_rows_are_claimed_in_list_order_and_only_once(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(row) for row in (9, 2, 300, 4, 5)])
    mine, yours = outbox(ledger, stored_plan, "me"), outbox(ledger, stored_plan, "you")
    first = mine.exchange([], 2)
    assert [claimed.row for claimed in first] == [2, 4]
    assert (first[0].customer_uuid, first[0].phone, first[0].body) == ("customer-2", "+13125550002", "Text 2")
    assert [claimed.row for claimed in yours.exchange([], 2)] == [5, 9]
    assert [claimed.row for claimed in mine.exchange([], 10)] == [300]
    assert mine.exchange([], 10) == yours.exchange([], 10) == []
    assert set(stored(ledger, stored_plan.run_id).values()) == {(IN_FLIGHT, "STOPPED")}


def test_only_rows_to_be_sent_now_are_claimed(ledger: Ledger) -> None:
    stored_plan = store_plan(
        ledger,
        [
            planned(2, codes=Code.HELD_BACK),
            planned(3, status=Status.INVALID, codes=Code.MISSING_PHONE),
            planned(4, status=Status.SKIPPED, codes=Code.NO_CONSENT),
            planned(5),
            planned(6, codes=Code.QUIET_HOURS),
        ],
    )
    assert [claimed.row for claimed in outbox(ledger, stored_plan).exchange([], 10)] == [5]


def test_another_runs_rows_are_not_claimed(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    other = store_plan(ledger, [planned(2), planned(3)], who=identity("Summer"))
    assert [claimed.row for claimed in outbox(ledger, stored_plan).exchange([], 10)] == [2]
    assert stored(ledger, other.run_id)[2] == ("pending", "STOPPED")


def test_all_of_an_outcome_is_stored_together_with_the_next_claims(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    sender = outbox(ledger, stored_plan)
    sender.exchange([], 1)
    outcome = Outcome(
        row=2,
        status=Status.FAILED,
        codes="A; B",
        descriptions="It went wrong",
        warning_codes="W",
        message_uuid="m",
        request_uuid="r",
        api_status="FAILURE",
        http_status=400,
        attempts=3,
        sent_at="2026-03-02T10:00:00.000Z",
        latency_ms=12,
    )
    assert [claimed.row for claimed in sender.exchange([outcome], 1)] == [3]
    with ledger.read() as connection:
        row = connection.execute(select(messages).where(messages.c.row == 2)).mappings().one()
    for name in Outcome.__slots__:
        assert row[name] == getattr(outcome, name), name
    assert row["owner"] is None
    assert row["start_id"] == stored_plan.start_id


def test_an_outcome_counts_only_for_a_row_that_the_process_claimed(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3), planned(4)])
    mine, yours = outbox(ledger, stored_plan, "me"), outbox(ledger, stored_plan, "you")
    mine.exchange([], 1)
    yours.exchange([], 1)
    # Only row 2 is mine, row 4 is unclaimed, and a second outcome comes too late.
    mine.exchange([came_to(2), came_to(3), came_to(4)], 0)
    mine.exchange([came_to(2, Status.FAILED, "LATE")], 0)
    assert stored(ledger, stored_plan.run_id) == {
        2: ("accepted", ""),
        3: (IN_FLIGHT, "STOPPED"),
        4: ("pending", "STOPPED"),
    }


def test_a_released_row_waits_again_and_keeps_its_attempts(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    sender = outbox(ledger, stored_plan)
    first, second = sender.exchange([], 2)
    sender.release([replace(first, attempts=3)])
    sender.release([])
    outbox(ledger, stored_plan, "you").release([second])
    assert stored(ledger, stored_plan.run_id) == {2: ("pending", "STOPPED"), 3: (IN_FLIGHT, "STOPPED")}
    again = outbox(ledger, stored_plan).exchange([], 5)
    assert [(claimed.row, claimed.attempts) for claimed in again] == [(2, 3)]


def test_any_process_can_request_a_stop_and_the_next_start_clears_it(ledger: Ledger, ledger_url: str) -> None:
    stored_plan = store_plan(ledger, [planned(2)])
    sender = outbox(ledger, stored_plan)
    assert not sender.stop_requested()
    elsewhere = open_ledger(ledger_url)
    elsewhere.request_stop(stored_plan.run_id)
    elsewhere.close()
    assert sender.stop_requested()
    other = store_plan(ledger, [planned(2)], who=identity("Summer"))
    assert not outbox(ledger, other).stop_requested()
    again = store_plan(ledger, [planned(2)], run_id=stored_plan.run_id)
    assert not outbox(ledger, again).stop_requested()


def test_a_row_in_flight_when_its_process_ended_becomes_unconfirmed(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3), planned(4)])
    other = store_plan(ledger, [planned(2)], who=identity("Summer"))
    sender = outbox(ledger, stored_plan)
    sender.exchange([], 2)
    sender.exchange([came_to(2)], 0)
    outbox(ledger, other).exchange([], 1)
    assert ledger.interrupt_claims("Spring", "https://elsewhere.example.com") == 0
    assert ledger.interrupt_claims("Spring", BASE_URL) == 1
    assert stored(ledger, stored_plan.run_id) == {
        2: ("accepted", ""),
        3: ("unconfirmed", "INTERRUPTED"),
        4: ("pending", "STOPPED"),
    }
    # Another campaign's process may still be running.
    assert stored(ledger, other.run_id) == {2: (IN_FLIGHT, "STOPPED")}
    # Too late: this answer may be about another request.
    sender.exchange([came_to(3)], 0)
    assert stored(ledger, stored_plan.run_id)[3] == ("unconfirmed", "INTERRUPTED")


# --- storing a plan


def test_a_plan_is_stored_completely_or_not_at_all(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    with ledger.write() as connection:
        # Row 1,101 violates this, long after the first batch was written.
        connection.execute(text("CREATE UNIQUE INDEX one_text_each ON messages (body)"))
    before = everything(ledger)
    rows = [planned(row, body=f"New {min(row, 1100)}") for row in range(2, 1200)]
    for attempt in ({}, {"run_id": stored_plan.run_id}):
        with pytest.raises(LedgerError):
            store_plan(ledger, rows, **attempt)
        assert everything(ledger) == before


def test_a_further_start_keeps_tried_rows_and_replaces_the_others(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(row) for row in range(2, 9)])
    sender = outbox(ledger, first)
    sender.exchange([], 5)
    outcomes = [
        came_to(2, Status.ACCEPTED),
        came_to(3, Status.FAILED, "NOPE"),
        came_to(4, Status.UNCONFIRMED, "TIMEOUT"),
    ]
    sender.exchange(outcomes, 0)
    again = store_plan(
        ledger,
        [
            # A plan made while row 5 was in flight must not open it, nor any other.
            *(planned(row, body="new") for row in (2, 3, 4, 5)),
            planned(6, status=Status.INVALID, codes=Code.MISSING_VALUE),
            planned(7, body="new"),
            planned(8, status=Status.SKIPPED, codes=Code.SUPPRESSED),
        ],
        run_id=first.run_id,
    )
    assert again.run_id == first.run_id
    assert again.start_id != first.start_id
    assert again.closed == {}
    assert stored(ledger, first.run_id) == {
        2: ("accepted", ""),
        3: ("failed", "NOPE"),
        4: ("unconfirmed", "TIMEOUT"),
        5: (IN_FLIGHT, "STOPPED"),
        6: (IN_FLIGHT, "STOPPED"),
        7: ("pending", "STOPPED"),
        8: ("skipped", "SUPPRESSED"),
    }
    assert [claimed.body for claimed in outbox(ledger, again, "you").exchange([], 9)] == ["new"]
    assert ledger.counts(first.run_id) == {
        "accepted": 1,
        "failed": 1,
        "unconfirmed": 1,
        IN_FLIGHT: 3,
        "skipped": 1,
    }


def test_the_outcome_of_a_row_that_is_opened_again_is_kept(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3), planned(4)])
    send_all(ledger, first, came_to(2, Status.FAILED, "NOPE"), came_to(3, Status.UNCONFIRMED, "TIMEOUT"))
    again = store_plan(
        ledger, [planned(row, generation=1, resend="failed") for row in (2, 3, 4)], run_id=first.run_id
    )
    # A plan cannot open an accepted row.
    assert stored(ledger, first.run_id) == {
        2: ("pending", "STOPPED"),
        3: ("pending", "STOPPED"),
        4: ("accepted", ""),
    }
    assert {name: len(rows) for name, rows in everything(ledger).items()}["superseded"] == 2
    sender = outbox(ledger, again)
    assert [(c.row, c.generation, c.attempts) for c in sender.exchange([], 9)] == [(2, 1, 1), (3, 1, 1)]
    sender.exchange([came_to(2), came_to(3, Status.FAILED, "NOPE")], 0)
    # The same generation does not open anything a second time.
    store_plan(ledger, [planned(row, generation=1, resend="failed") for row in (2, 3)], run_id=first.run_id)
    assert stored(ledger, first.run_id)[3] == ("failed", "NOPE")
    store_plan(ledger, [planned(3, generation=2, resend="failed")], run_id=first.run_id)
    with ledger.read() as connection:
        query = select(superseded.c.row, superseded.c.generation, superseded.c.status).order_by(
            superseded.c.row, superseded.c.generation
        )
        left = [tuple(row) for row in connection.execute(query)]
    assert left == [(2, 0, "failed"), (3, 0, "unconfirmed"), (3, 1, "failed")]


def test_a_row_opened_again_and_never_sent_gets_its_outcome_back(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3), planned(4)])
    send_all(ledger, first, came_to(2, Status.FAILED, "NOPE"), came_to(3, Status.UNCONFIRMED, "TIMEOUT"))
    before = everything(ledger)
    opened = [planned(row, generation=1, resend="failed") for row in (2, 3)]
    store_plan(ledger, opened, run_id=first.run_id)
    # The next start opens only one of them again.
    store_plan(ledger, opened[:1], run_id=first.run_id)
    assert stored(ledger, first.run_id) == {
        2: ("pending", "STOPPED"),
        3: ("unconfirmed", "TIMEOUT"),
        4: ("accepted", ""),
    }
    # Another list opens none of them.
    other = store_plan(ledger, [planned(2, key="other")])
    assert other.closed == {}
    after = everything(ledger)
    assert [row for row in after["messages"] if row[0] == first.run_id] == before["messages"]
    assert after["superseded"] == []


def test_a_new_run_closes_the_untried_rows_of_the_campaigns_other_runs(ledger: Ledger) -> None:
    first = store_plan(
        ledger,
        [*(planned(row) for row in (2, 3, 4)), planned(5, status=Status.INVALID, codes=Code.MISSING_VALUE)],
    )
    other = store_plan(ledger, [planned(2)], who=identity("Summer"))
    sender = outbox(ledger, first)
    sender.exchange([], 1)
    sender.exchange([came_to(2)], 0)
    second = store_plan(ledger, [planned(2), planned(3)])
    assert second.closed == {first.run_id: 2}
    assert stored(ledger, first.run_id) == {
        2: ("accepted", ""),
        3: ("skipped", "CLOSED"),
        4: ("skipped", "CLOSED"),
        5: ("invalid", "MISSING_VALUE"),
    }
    # If the old process is still running, it finds nothing more to send.
    assert sender.exchange([], 5) == []
    assert stored(ledger, other.run_id) == {2: ("pending", "STOPPED")}
    # The first list again continues its run, and the second run is unchanged.
    back = store_plan(ledger, [planned(3), planned(4)], run_id=first.run_id)
    assert back.closed == {}
    assert stored(ledger, first.run_id)[3] == ("pending", "STOPPED")
    assert stored(ledger, second.run_id)[3] == ("pending", "STOPPED")


def test_a_campaign_keeps_its_record_under_a_new_name_and_file(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2)])
    record = ledger.campaign("Spring", BASE_URL)
    assert record is not None
    assert ledger.campaign("Spring", "https://elsewhere.example.com") is None
    assert ledger.campaigns_of_file("/campaigns/spring.toml", HOST, BASE_URL) == [record]
    store_plan(
        ledger,
        [planned(2)],
        run_id=first.run_id,
        campaign_id=record.id,
        who=identity("Summer", file="/campaigns/summer.toml", key_columns=("vin",)),
    )
    renamed = ledger.campaign("Summer", BASE_URL)
    assert renamed is not None
    assert (renamed.id, renamed.file, renamed.key_columns) == (record.id, "/campaigns/summer.toml", ("vin",))
    assert ledger.campaign("Spring", BASE_URL) is None
    assert ledger.campaigns_of_file("/campaigns/spring.toml", HOST, BASE_URL) == []


def test_campaigns_of_a_file_are_listed_oldest_first(ledger: Ledger) -> None:
    for name in ("Spring", "Autumn", "Summer"):
        store_plan(ledger, [planned(2)], who=identity(name))
    store_plan(ledger, [planned(2)], who=identity("Spring"))
    found = ledger.campaigns_of_file("/campaigns/spring.toml", HOST, BASE_URL)
    assert [campaign.name for campaign in found] == ["Spring", "Autumn", "Summer"]


def test_the_end_of_a_start_is_recorded(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3)])
    [line] = overview(ledger)
    assert (line.run_id, line.campaign, line.ended_at, line.ending) == (first.run_id, "Spring", None, None)
    assert line.counts == {"pending": 2}
    ledger.end_start(first.start_id, 3, "the disk is full")
    store_plan(ledger, [planned(2)], who=identity("Summer"))
    latest, earlier = overview(ledger)
    assert latest.campaign == "Summer"
    assert earlier.ending == "the disk is full"
    assert earlier.ended_at is not None
    assert [line.campaign for line in overview(ledger, "Summer")] == ["Summer"]


# --- history


def test_outcomes_of_a_key_in_other_runs_are_found(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(row, key=f"key-{row}") for row in range(2, 8)])
    sender = outbox(ledger, first)
    sender.exchange([], 4)
    sender.exchange(
        [came_to(2), came_to(3, Status.FAILED, "NOPE"), came_to(4, Status.UNCONFIRMED, "TIMEOUT")], 0
    )
    second = store_plan(ledger, [planned(2, key="key-3"), planned(3, key="key-8")])
    send_all(ledger, second)
    keys = [f"key-{row}" for row in range(2, 10)]
    # For a third run: every tried row, including those in flight, latest run first.
    found = history(ledger).earlier(keys)
    assert {key: [(e.run_id, e.status, e.codes) for e in outcomes] for key, outcomes in found.items()} == {
        "key-2": [(first.run_id, "accepted", "")],
        "key-3": [(second.run_id, "accepted", ""), (first.run_id, "failed", "NOPE")],
        "key-4": [(first.run_id, "unconfirmed", "TIMEOUT")],
        "key-5": [(first.run_id, IN_FLIGHT, "STOPPED")],
        "key-8": [(second.run_id, "accepted", "")],
    }
    assert found["key-2"][0].message_uuid == "message-2"
    assert found["key-2"][0].sent_at == "2026-03-02T10:00:00.000Z"
    # The run itself, other campaigns and other APIs do not count.
    assert set(history(ledger, second.run_id).earlier(keys)) == {"key-2", "key-3", "key-4", "key-5"}
    assert set(history(ledger, first.run_id).earlier(keys)) == {"key-3", "key-8"}
    store_plan(ledger, [planned(2, key="key-9")], who=identity("Summer"))
    assert history(ledger, name="Summer").earlier(keys) == {}
    assert history(ledger, name="Never sent").earlier(keys) == {}


def test_more_keys_than_fit_into_one_statement(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2, key="key-11000")])
    send_all(ledger, stored_plan)
    assert list(history(ledger).earlier([f"key-{number}" for number in range(11_001)])) == ["key-11000"]


def test_a_row_opened_again_and_not_sent_counts_with_its_old_outcome(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3)])
    send_all(ledger, first, came_to(2, Status.UNCONFIRMED, "TIMEOUT"))
    again = store_plan(ledger, [planned(2, generation=1, resend="unconfirmed")], run_id=first.run_id)
    asked = history(ledger, first.run_id)
    assert [(row, outcome["status"]) for row, outcome in sorted(asked.tried_rows(2, 3).items())] == [
        (2, "unconfirmed"),
        (3, "accepted"),
    ]
    assert sorted(row for row, *_ in asked.tried_keys()) == [2, 3]
    assert {taken.key for taken in asked.tried([2, 3, 4])} == {"key-2", "key-3"}
    assert asked.chosen(2, 3) == {2: "unconfirmed"}
    assert [e.status for e in history(ledger).earlier(["key-2"])["key-2"]] == ["unconfirmed"]
    # After it is sent, only the new outcome counts.
    send_all(ledger, again)
    assert asked.tried_rows(2, 2)[2]["status"] == "accepted"
    assert asked.chosen(2, 3) == {}
    assert [e.status for e in history(ledger).earlier(["key-2"])["key-2"]] == ["accepted"]


def test_a_choice_is_unfinished_while_a_row_waits_or_its_start_was_killed(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3)])
    send_all(ledger, first, came_to(2, Status.FAILED, "NOPE"), came_to(3, Status.FAILED, "NOPE"))
    ledger.end_start(first.start_id, 1, "done")
    asked = history(ledger, first.run_id)
    assert not asked.unfinished("failed")
    opened = [planned(row, generation=1, resend="failed") for row in (2, 3)]
    again = store_plan(ledger, opened, run_id=first.run_id, resend="failed")
    sender = outbox(ledger, again)
    sender.exchange([], 2)
    # Both are in flight and none waits, but the start has not ended.
    assert asked.unfinished("failed")
    assert not asked.unfinished("unconfirmed")
    sender.release([replace(claimed, attempts=2) for claimed in sender.exchange([came_to(2)], 0)])
    ledger.end_start(again.start_id, 1, "done")
    assert not asked.unfinished("failed")


def test_how_many_texts_may_have_reached_a_customer(ledger: Ledger) -> None:
    since = datetime(2026, 3, 2, tzinfo=UTC)
    early, late = "2026-03-01T23:59:59.999Z", "2026-03-02T00:00:00.000Z"
    spring = store_plan(ledger, [planned(row, customer_uuid="ann") for row in range(2, 9)])
    sender = outbox(ledger, spring)
    sender.exchange([], 6)
    sender.exchange(
        [
            came_to(2, Status.ACCEPTED, sent_at=late),
            came_to(3, Status.UNCONFIRMED, "TIMEOUT", sent_at=late),
            came_to(4, Status.UNDELIVERED, sent_at=late),
            # These do not count: too early, and refused. Row 7 is in flight, row 8 was never tried.
            came_to(5, Status.ACCEPTED, sent_at=early),
            came_to(6, Status.FAILED, "NOPE", sent_at=late),
        ],
        0,
    )
    assert history(ledger).reached(["ann", "bob"], since) == {"ann": 4}
    # Other campaigns count too, but not those at another API.
    summer = store_plan(ledger, [planned(2, customer_uuid="ann")], who=identity("Summer"))
    send_all(ledger, summer, came_to(2, sent_at=late))
    trial = store_plan(ledger, [planned(2, customer_uuid="ann")], who=identity(base_url="http://localhost:1"))
    send_all(ledger, trial, came_to(2, sent_at=late))
    assert history(ledger).reached(["ann", "bob"], since) == {"ann": 5}
    # A row that was sent again counts twice, because both texts may have arrived.
    opened = store_plan(
        ledger, [planned(3, customer_uuid="ann", generation=1, resend="unconfirmed")], run_id=spring.run_id
    )
    outbox(ledger, opened).exchange([], 1)
    assert history(ledger).reached(["ann"], since) == {"ann": 6}


def test_texts_of_an_older_template_are_counted(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(row) for row in range(2, 7)], template="old")
    sender = outbox(ledger, first)
    sender.exchange([], 4)
    sender.exchange([came_to(2), came_to(3), came_to(4, Status.FAILED, "NOPE")], 0)
    # Two texts arrived, one may have, and the refused one did not.
    asked = history(ledger, first.run_id)
    assert asked.sent_with_other_template("new") == 3
    assert asked.sent_with_other_template("old") == 0
    second = store_plan(ledger, [planned(6)], run_id=first.run_id, template="new")
    send_all(ledger, second)
    assert asked.sent_with_other_template("new") == 3
    assert asked.sent_with_other_template("old") == 1


def test_a_runs_rows_codes_and_segments(ledger: Ledger) -> None:
    stored_plan = store_plan(
        ledger,
        [
            planned(4, segments=2),
            planned(2, segments=3),
            planned(3, status=Status.SKIPPED, codes=Code.DUPLICATE),
            planned(5, codes=Code.HELD_BACK, segments=9),
            planned(6, status=Status.SKIPPED, codes=Code.DUPLICATE),
        ],
    )
    assert segments_to_send(ledger, stored_plan.run_id) == (2, 5)
    assert segments_to_send(ledger, stored_plan.run_id + 1) == (0, 0)
    assert [row["row"] for row in run_rows(ledger, stored_plan.run_id)] == [2, 3, 4, 5, 6]
    assert [row["row"] for row in run_rows(ledger, stored_plan.run_id, ["skipped"])] == [3, 6]
    # Most frequent first, then by name.
    assert code_counts(ledger, stored_plan.run_id) == [
        ("pending", "STOPPED", 2),
        ("skipped", "DUPLICATE", 2),
        ("pending", "HELD_BACK", 1),
    ]


# --- one process at a time

HOLDER = """
import sys
from batchsend.ledger.opening import open_ledger
from batchsend.sending.locks import campaign_lock
ledger = open_ledger(sys.argv[1])
with campaign_lock(ledger, "Spring", sys.argv[2]):
    print("locked", flush=True)
    sys.stdin.readline()
ledger.close()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(ledger_url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that locks the campaign until it reads a line, and ends at the next line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, ledger_url, BASE_URL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_one_process_at_a_time_sends_a_campaign(ledger: Ledger, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(BusyError) as caught, campaign_lock(ledger, "Spring", BASE_URL):
        pass
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        '"Spring" is being sent by another process. Let it finish, or stop it with "batchsend stop", then run this '
        "again. Nothing was sent by this start."
    )
    with campaign_lock(ledger, "Summer", BASE_URL), campaign_lock(ledger, "Spring", "http://localhost:1"):
        pass
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    # That process still runs, but the campaign is free, also after it was locked here.
    for _ in range(2):
        with campaign_lock(ledger, "Spring", BASE_URL):
            pass


def test_a_killed_process_holds_no_lock(ledger: Ledger, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    # A server notices the lost connection a little later.
    deadline = time.monotonic() + 30
    while True:
        try:
            with campaign_lock(ledger, "Spring", BASE_URL):
                return
        except BusyError:
            if ledger.file is not None or time.monotonic() > deadline:
                raise


def test_an_exception_releases_the_lock(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), campaign_lock(ledger, "Spring", BASE_URL):
        raise ZeroDivisionError
    with campaign_lock(ledger, "Spring", BASE_URL):
        pass


def test_a_campaign_that_cannot_be_locked_is_not_sent(ledger_file: Path) -> None:
    ledger = open_ledger(sqlite_url(ledger_file))
    with campaign_lock(ledger, "Spring", BASE_URL):
        pass
    [lock] = ledger_file.parent.glob("*.lock")
    lock.unlink()
    lock.mkdir()
    with (
        pytest.raises(LedgerError, match="the campaign cannot be locked here"),
        campaign_lock(ledger, "Spring", BASE_URL),
    ):
        pass
    ledger.close()
