"""What the database reports becomes a sentence that says what to do, and what may pass is tried again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from batchsend.errors import LedgerError
from batchsend.ledger.database_errors import is_passing, ledger_errors, retry
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = open_ledger(postgres_url)
    yield opened
    opened.close()


def raised(ledger: Ledger, state: str) -> LedgerError:
    """The error where PostgreSQL reports this SQLSTATE."""
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(LedgerError) as caught, ledger.write() as connection:
        connection.execute(text(raising))
    return caught.value


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("25006", "the database is read-only at present (no). Make it writable, or after a failover"),
        ("40001", "another process changed the same rows (no)."),
        ("53100", "the disk of the database's server is full (no). Make room there"),
        ("53200", "the database's server is out of memory (no)."),
        ("53300", "the database has no free connection (no). Stop processes that you do not need, or raise"),
        ("55P03", "another process has locked rows for too long (no)."),
        ("57014", "the database ended a statement that took too long (no). Raise `statement_timeout`"),
        ("57P01", "the database is starting, stopping or restarting (no)."),
        ("57P03", "the database is starting, stopping or restarting (no)."),
    ],
)
def test_what_may_pass_is_tried_again_and_says_what_to_do(ledger: Ledger, state: str, sentence: str) -> None:
    error = raised(ledger, state)
    assert f"{ledger.where}: {sentence}" in str(error)
    assert is_passing(error)


@pytest.mark.parametrize("state", ["23505", "42P01", "42501", "22003", "XX001"])
def test_what_stays_is_not_tried_again(ledger: Ledger, state: str) -> None:
    assert not is_passing(raised(ledger, state))


@pytest.mark.parametrize("state", ["26000", "42P05"])
def test_a_pooler_that_changes_connections_is_named(ledger: Ledger, state: str) -> None:
    # What PgBouncer's pool mode `transaction` leads to: a prepared statement is missing, or there already.
    error = raised(ledger, state)
    assert "Set its pool mode to `session`" in str(error)
    assert not is_passing(error)


@pytest.mark.parametrize(
    ("words", "sentence", "passing"),
    [
        ("connection failed: FATAL:  sorry, too many clients already", "no free connection", True),
        ("FATAL:  remaining connection slots are reserved for roles", "no free connection", True),
        ("FATAL:  the database system is starting up", "starting, stopping or restarting", True),
        ("connection failed: Connection refused", "cannot be reached", True),
        ("SSL connection has been closed unexpectedly", "cannot be reached", True),
        ('FATAL:  password authentication failed for user "ann"', "refuses this user", False),
        ('FATAL:  database "ledgers" does not exist', "does not exist", False),
    ],
)
def test_a_connection_that_is_refused(words: str, sentence: str, passing: bool) -> None:
    with pytest.raises(LedgerError, match=sentence) as caught, ledger_errors("ledger"):
        raise OperationalError("", {}, psycopg.OperationalError(words))
    assert is_passing(caught.value) is passing


def test_a_locked_file_is_not_tried_again(tmp_path: object) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", busy_timeout=0)
    with ledger.write(), pytest.raises(LedgerError, match="locked") as caught, ledger.write():
        pass
    assert not is_passing(caught.value)
    ledger.close()


def test_an_action_is_retried_until_it_succeeds_or_is_given_up(ledger: Ledger) -> None:
    passing, lasting = raised(ledger, "57P01"), raised(ledger, "42P01")
    errors: list[LedgerError] = [passing, passing]
    calls = 0

    def action() -> str:
        nonlocal calls
        calls += 1
        if errors:
            raise errors.pop()
        return "done"

    assert retry(action) == "done"
    assert calls == 3
    for error, give_up in [(passing, True), (lasting, False)]:
        errors, calls = [error, error], 0
        with pytest.raises(LedgerError):
            retry(action, lambda stop=give_up: stop)  # type: ignore[misc]
        assert calls == 1
