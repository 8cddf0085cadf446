"""One process at a time sends a campaign."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgers import (
    BASE_URL,
    outbox,
    planned,
    slow_on_postgresql,
    sqlite_url,
    store_plan,
    stored,
)

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.sending.locks import campaign_lock, settling_lock


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / ".batchsend" / "ledger.db"


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


@slow_on_postgresql
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


def test_what_a_dead_process_had_in_flight_can_be_looked_for(ledger: Ledger) -> None:
    plan = store_plan(ledger, [planned(2), planned(3)])
    outbox(ledger, plan).exchange([], 1)
    with settling_lock(ledger, "Spring", BASE_URL) as held:
        assert stored(ledger, plan.run_id)[2] == ("unconfirmed", "INTERRUPTED")
        with ledger.write() as connection:
            held(connection)
    # The other row is still to be sent.
    assert stored(ledger, plan.run_id)[3] == ("pending", "STOPPED")


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
