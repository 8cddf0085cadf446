"""Purging old texts: nothing of them stays in the files, and everything that prevents repeats stays."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import psycopg
import pytest
from ledgers import (
    BASE_URL,
    came_to,
    history,
    identity,
    outbox,
    planned,
    send_all,
    slow_on_postgresql,
    store_plan,
    stored,
)
from sqlalchemy import insert, select, update
from world import World, customers, read_results

from batchsend.cli.main import cli
from batchsend.errors import BatchsendError, BusyError
from batchsend.ledger.approvals import (
    ApprovalRequest,
    ApprovalState,
    approval_by_id,
    approved_rows,
    ask,
    decide,
)
from batchsend.ledger.attempts import of_customer
from batchsend.ledger.dismissals import dismiss, dismissals_of
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.lookups import Question, answers_of, keep_answers
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.optouts import Person, opt_outs
from batchsend.ledger.purge import cutoff_of, purge, purgeable
from batchsend.ledger.schema import dismissals, messages, runs, starts, superseded, updates
from batchsend.reports.run_results import RunResults
from batchsend.sending.locks import all_campaigns_locked, campaign_lock
from batchsend.statuses import Status
from batchsend.utils.timestamps import from_text

OLD, RECENT = "2020-03-02T10:00:00.000Z", "2026-03-01T10:00:00.000Z"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CUTOFF = datetime(2022, 3, 2, 12, tzinfo=UTC)
OUT = "OPTED_OUT_COMMUNICATION_VALUE"


def made_then(ledger: Ledger, run_id: int, moment: str) -> None:
    """Changes a run so that it was created, started and ended at `moment`."""
    with ledger.write() as connection:
        connection.execute(update(runs).where(runs.c.id == run_id).values(created_at=moment))
        connection.execute(
            update(starts).where(starts.c.run_id == run_id).values(started_at=moment, ended_at=moment)
        )


def whole(ledger: Ledger) -> dict[tuple[int, int], dict[str, Any]]:
    with ledger.read() as connection:
        return {
            (row["run_id"], row["row"]): dict(row) for row in connection.execute(select(messages)).mappings()
        }


def secret(row: int) -> dict[str, Any]:
    return {
        "body": f"secret text {row}",
        "cells": json.dumps([f"secret cell {row}"]),
        "phone": f"+1312555{row:04}",
    }


def an_old_run(ledger: Ledger) -> int:
    """A run of 2020 with rows that are accepted, opted out, unconfirmed, skipped, invalid and held back."""
    stored_plan = store_plan(
        ledger,
        [
            *(planned(row, **secret(row)) for row in (2, 3, 4)),
            planned(5, **secret(5), status=Status.SKIPPED, codes="NO_CONSENT", descriptions="says secret"),
            planned(
                6,
                **secret(6),
                status=Status.INVALID,
                codes="INVALID_CUSTOMER_UUID",
                customer_uuid="(312) 555-0106",
                key=None,
                descriptions="secret",
            ),
            planned(7, **secret(7), codes="HELD_BACK"),
        ],
    )
    send_all(
        ledger,
        stored_plan,
        came_to(2, sent_at=OLD),
        came_to(3, Status.FAILED, OUT, sent_at=OLD),
        came_to(4, Status.UNCONFIRMED, "TIMEOUT", sent_at=OLD),
    )
    ledger.end_start(stored_plan.start_id, 1, "done")
    made_then(ledger, stored_plan.run_id, OLD)
    return stored_plan.run_id


# --- ages


@pytest.mark.parametrize(
    ("age", "cutoff"),
    [
        ("4y", "2020-02-29"),
        ("1 year", "2023-02-28"),  # that February has 28 days
        ("18mo", "2022-08-29"),
        ("2 months", "2023-12-29"),
        ("90d", "2023-12-01"),
        ("1 DAY", "2024-02-28"),
    ],
)
def test_ages_count_calendar_years_months_and_days(age: str, cutoff: str) -> None:
    found = cutoff_of(age, datetime(2024, 2, 29, 12, tzinfo=UTC))
    assert found == datetime.fromisoformat(f"{cutoff}T12:00:00Z")


@pytest.mark.parametrize("age", ["", "4", "y", "0d", "-1y", "1.5y", "4w", "6m", "1000y", "4y 6mo"])
def test_other_ages_are_refused(age: str) -> None:
    with pytest.raises(BatchsendError, match=r"4y \(years\), 18mo \(months\) or 90d \(days\)"):
        cutoff_of(age, NOW)


def test_an_age_in_m_is_ambiguous() -> None:
    with pytest.raises(BatchsendError, match='"6m" could be minutes or months; for months write 6mo'):
        cutoff_of("6m", NOW)


# --- what is deleted and what stays


def test_texts_phones_and_cells_are_deleted_and_what_prevents_repeats_stays(ledger: Ledger) -> None:
    run_id = an_old_run(ledger)
    before = whole(ledger)
    assert purge(ledger, CUTOFF, NOW) == 6
    for place, row in whole(ledger).items():
        assert (row["phone"], row["body"], row["cells"], row["descriptions"]) == (None, None, "[]", "")
        assert row["purged_at"] == "2026-03-02T12:00:00.000Z"
        for name in ("key", "message_uuid", "sent_at", "attempts", "segments", "start_id", "generation"):
            assert row[name] == before[place][name]
    assert whole(ledger)[run_id, 2]["customer_uuid"] == "customer-2"
    # An invalid customer id may be a phone. A waiting row without a text can never be sent.
    assert whole(ledger)[run_id, 6]["customer_uuid"] is None
    assert stored(ledger, run_id) == {
        2: ("accepted", ""),
        3: ("failed", OUT),
        4: ("unconfirmed", "TIMEOUT"),
        5: ("skipped", "NO_CONSENT"),
        6: ("invalid", "INVALID_CUSTOMER_UUID"),
        7: ("skipped", "CLOSED"),
    }
    assert outbox(ledger, store_plan(ledger, [planned(2)], run_id=run_id)).exchange([], 10) == []
    known = history(ledger, None).earlier([f"key-{row}" for row in range(2, 8)])
    assert {key: [one.status for one in outcomes] for key, outcomes in known.items()} == {
        "key-2": ["accepted"],
        "key-3": ["failed"],
        "key-4": ["unconfirmed"],
    }
    reached = history(ledger, None).reached(["customer-2", "customer-4"], datetime(2020, 1, 1, tzinfo=UTC))
    assert reached == {"customer-2": 1, "customer-4": 1}
    assert [entry.phone for entry in opt_outs(ledger)] == ["+13125550003"]
    assert purge(ledger, CUTOFF, NOW) == 0


def test_newer_entries_stay(ledger: Ledger) -> None:
    run_id = an_old_run(ledger)
    # A later start of the same list used the untried rows again; row 4 was delivered late.
    store_plan(
        ledger,
        [planned(row, **secret(row), status=Status.SKIPPED, codes="NO_CONSENT") for row in (5, 7)],
        run_id=run_id,
    )
    with ledger.write() as connection:
        connection.execute(update(messages).where(messages.c.row == 4).values(delivery_at=RECENT))
        connection.execute(update(starts).where(starts.c.started_at > OLD).values(started_at=RECENT))
    young = store_plan(ledger, [planned(2, **secret(2))], who=identity("Other"))
    send_all(ledger, young, came_to(2, sent_at=RECENT))
    (found,) = purgeable(ledger, CUTOFF)
    assert (found.campaign, found.entries, found.texts, found.first, found.last) == ("Spring", 2, 2, OLD, OLD)
    assert purge(ledger, CUTOFF, NOW) == 2
    left = {place for place, row in whole(ledger).items() if row["purged_at"] is None}
    assert left == {(run_id, 4), (run_id, 5), (run_id, 6), (run_id, 7), (young.run_id, 2)}


def test_sends_that_a_resend_replaced_are_purged_too(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2, **secret(2))])
    send_all(ledger, first, came_to(2, Status.FAILED, "CUSTOMER_LOCKED", sent_at=OLD))
    again = store_plan(ledger, [planned(2, **secret(2), generation=1)], run_id=first.run_id, resend="failed")
    send_all(ledger, again, came_to(2, sent_at=RECENT))
    assert [(one.status, one.body) for one in of_customer(ledger, "customer-2")] == [
        ("accepted", "secret text 2"),
        ("failed", "secret text 2"),
    ]
    assert purge(ledger, CUTOFF, NOW) == 1
    assert [(one.status, one.body) for one in of_customer(ledger, "customer-2")] == [
        ("accepted", "secret text 2"),
        ("failed", None),
    ]
    with ledger.read() as connection:
        assert connection.execute(select(superseded.c.phone, superseded.c.cells)).one() == (None, "[]")


def test_updates_that_quote_the_text_are_emptied(ledger: Ledger) -> None:
    values = {"raw": "secret", "codes": "", "descriptions": "secret", "status": "delivered"}
    with ledger.write() as connection:
        connection.execute(
            insert(updates),
            [{**values, "digest": "a", "received_at": OLD}, {**values, "digest": "b", "received_at": RECENT}],
        )
    purge(ledger, CUTOFF, NOW)
    with ledger.read() as connection:
        found = connection.execute(
            select(updates.c.digest, updates.c.raw, updates.c.status).order_by("digest")
        )
        assert found.all() == [("a", "", "delivered"), ("b", "secret", "delivered")]


# --- the files


def test_digests_of_old_approvals_are_deleted_and_who_approved_stays(ledger: Ledger) -> None:
    request = ApprovalRequest(
        "Spring", BASE_URL, "settings", "list", None, "digest", b"x" * 16, 1, 1, "a.csv"
    )
    ann, dana = Person("ann", "front-desk"), Person("dana", "front-desk")
    asked = ask(ledger, request, ann, from_text(OLD))
    assert decide(ledger, asked, ApprovalState.APPROVED, dana, from_text(OLD))
    recent = ask(ledger, request, ann, from_text(RECENT))
    purge(ledger, CUTOFF, NOW)
    assert [approved_rows(ledger, one.id) for one in (asked, recent)] == [b"", b"x" * 16]
    kept = approval_by_id(ledger, asked.id)
    assert kept is not None
    assert (kept.asked_by, kept.approved_by, kept.digest) == ("ann", "dana", "digest")


def test_reasons_of_old_dismissals_are_deleted_and_who_dismissed_stays(ledger: Ledger) -> None:
    lost = (Status.UNCONFIRMED, "TIMEOUT")
    send_all(ledger, store_plan(ledger, [planned(2)]), came_to(2, *lost))
    assert dismiss(ledger, 1, *lost, 1, reason="Mr. Lee has it.", by="dana")
    with ledger.write() as connection:
        connection.execute(update(dismissals).values(dismissed_at=OLD))
    purge(ledger, CUTOFF, NOW)
    (kept,) = dismissals_of(ledger, [1])
    assert (kept.reason, kept.dismissed_by) == ("", "dana")


def test_no_byte_is_left_in_the_file_or_its_log(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{file}")
    stored_plan = store_plan(ledger, [planned(row, **secret(row)) for row in range(2, 1500)])
    send_all(ledger, stored_plan, *(came_to(row, sent_at=OLD) for row in range(2, 1002)))
    made_then(ledger, stored_plan.run_id, OLD)
    young = store_plan(ledger, [planned(2, body="kept text")], who=identity("Other"))
    send_all(ledger, young, came_to(2, sent_at=RECENT))
    assert b"secret text 77" in content(file)
    with closing(sqlite3.connect(file)) as checkpointing:
        checkpointing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = file.stat().st_size
    # Another program has the ledger open, such as a database viewer.
    other = sqlite3.connect(file)
    other.execute("SELECT count(*) FROM messages").fetchone()
    assert purge(ledger, CUTOFF, NOW) == 1498
    after = content(file)
    assert b"kept text" in after
    for purged in (b"secret text", b"secret cell", b"+1312555", b"1312555"):
        assert purged not in after.replace(b"+13125550002", b"")
    assert file.stat().st_size < size
    assert other.execute("PRAGMA freelist_count").fetchone() == (0,)
    other.close()
    ledger.close()


def content(file: Path) -> bytes:
    """The bytes of all files of the ledger."""
    return b"".join(one.read_bytes() for one in file.parent.iterdir() if one.name.startswith(file.name))


def test_a_reader_that_keeps_old_pages_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchsend.ledger.purge._PATIENCE_SECONDS", 0)
    file = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{file}")
    an_old_run(ledger)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchone()
    with pytest.raises(BatchsendError, match="The 6 entries were purged, but"):
        purge(ledger, CUTOFF, NOW)
    reader.execute("COMMIT")
    # The same command again finishes the purge.
    assert purge(ledger, CUTOFF, NOW) == 0
    assert b"secret" not in content(file)
    reader.close()
    ledger.close()


def test_postgresql_rewrites_the_tables(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    an_old_run(ledger)
    plain = postgres_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(plain, autocommit=True) as admin:
        query = "SELECT pg_relation_filepath('messages'), pg_relation_filepath('superseded')"
        before = admin.execute(query).fetchone()
        assert purge(ledger, CUTOFF, NOW) == 6
        after = admin.execute(query).fetchone()
        assert before is not None and after is not None
        assert not set(before) & set(after)
        dead = admin.execute(
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'messages'"
        ).fetchone()
        assert dead is not None
        for (page,) in admin.execute("SELECT pg_read_binary_file(pg_relation_filepath('messages'))"):
            assert b"secret" not in bytes(page)
    ledger.close()


# --- while a campaign is being sent


@slow_on_postgresql
def test_it_refuses_while_a_campaign_is_being_sent(ledger: Ledger, ledger_url: str) -> None:
    an_old_run(ledger)
    other = open_ledger(ledger_url)
    try:
        with (
            campaign_lock(other, "Spring", BASE_URL),
            pytest.raises(BusyError, match='"Spring" is being sent right now'),
            all_campaigns_locked(ledger),
        ):
            pass
        with all_campaigns_locked(ledger), pytest.raises(BusyError), campaign_lock(other, "Spring", BASE_URL):
            pass
        with campaign_lock(other, "Spring", BASE_URL):
            pass
    finally:
        other.close()


# --- what people see


def test_results_of_a_purged_run_say_so(ledger: Ledger) -> None:
    run_id = an_old_run(ledger)
    purge(ledger, CUTOFF, NOW)
    results = RunResults(ledger, run_id, ["Customer UUID"], ZoneInfo("America/Chicago"), [], run_id)
    expected = "the text, the phone and the list's columns were purged on 2026-03-02"
    assert {(row.descriptions, row.body, row.phone) for row in results.rows()} == {(expected, None, None)}
    assert ("Purged", "texts, phones and the list's columns of 6 rows, last on 2026-03-02") in results.summary


def test_purge_with_the_installed_command(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(3))
    file = tmp_path / ".batchsend" / "ledger.db"
    ledger = open_ledger(f"sqlite:///{file}")
    an_old_run(ledger)
    ledger.close()
    refused = world.ask("purge", "--older-than", "4y", answer="yes")
    assert refused.code == 2
    assert "Nothing was purged." in refused.out
    assert b"secret" in content(file)
    done = world.ask("purge", "--older-than", "4y", answer="6")
    assert done.code == 0
    assert (
        "Spring, through api.example.com: 6 entries, each with its text, from 2020-03-02 to 2020-03-02"
        in done.out
    )
    assert "You will no longer be able to show what was sent" in done.out
    assert "6 entries purged; their disk space is free again." in done.out
    assert b"secret" not in content(file)


def test_history_and_results_say_what_was_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / '.batchsend' / 'ledger.db'}")
    an_old_run(ledger)
    ledger.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCHSEND_LEDGER", raising=False)
    with pytest.raises(click.UsageError, match="There is no terminal to ask on"):
        cli.main(["purge", "--older-than", "4y"], standalone_mode=False)
    for _ in range(2):
        cli.main(["purge", "--older-than", "4y", "--yes"], standalone_mode=False)
    assert "Nothing to purge: no text was last used before " in capsys.readouterr().out
    cli.main(["history", "--customer", "customer-2"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "the text and the phone were purged on " in shown
    assert "a number that was purged" in shown
    cli.main(["results", "1", "--out", "again.xlsx"], standalone_mode=False)
    assert "purged on" in str(read_results(tmp_path / "again.xlsx")[2]["errorDescriptions"])
    with pytest.raises(BatchsendError, match="Run 1 was purged: the list's columns are gone"):
        cli.main(["results", "1", "--as-list", "--out", "list.xlsx"], standalone_mode=False)


@slow_on_postgresql
def test_the_command_on_both_databases(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    an_old_run(ledger)
    monkeypatch.setenv("BATCHSEND_LEDGER", ledger_url)
    with campaign_lock(ledger, "Spring", BASE_URL), pytest.raises(BusyError, match="Nothing was changed"):
        cli.main(["purge", "--older-than", "4y", "--yes"], standalone_mode=False)
    assert {row["purged_at"] for row in whole(ledger).values()} == {None}
    cli.main(["purge", "--older-than", "4y", "--yes"], standalone_mode=False)
    assert "6 entries purged" in capsys.readouterr().out
    assert {row["body"] for row in whole(ledger).values()} == {None}


def test_old_answers_of_look_ups_are_deleted(ledger: Ledger) -> None:
    question = Question("department", "customerKey", "10234")
    keep_answers(
        ledger, BASE_URL, {question: '[{"last_name": "Smith"}]'}, from_text("2026-03-01T12:00:00.000Z")
    )
    purge(ledger, from_text("2026-03-01T12:00:00.000Z"), from_text("2026-03-02T12:00:00.000Z"))
    assert answers_of(ledger, BASE_URL, from_text("2026-03-02T12:00:00.000Z")) != {}
    purge(ledger, from_text("2026-03-01T12:00:01.000Z"), from_text("2026-03-02T12:00:00.000Z"))
    assert answers_of(ledger, BASE_URL, from_text("2026-03-02T12:00:00.000Z")) == {}
