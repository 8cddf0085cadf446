"""A `send` that shares its run with workers, in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time

import pytest
from clusters import a_run
from sqlalchemy import text
from world import PASSWORD, USERNAME, Sandbox

from batchsend.campaigns.quiet_hours import Hours
from batchsend.ledger.leases import Holder, LeaseKeeper
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.postgres import run_channel
from batchsend.planning.suppression import Suppression, WatchedSuppression
from batchsend.sending.cluster.dispatch import dispatch_together
from batchsend.sending.cluster.open_runs import OpenRun
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.pacing import Pause
from batchsend.sending.sender import Event
from batchsend.sending.stopping import STOP_REQUESTED, Ending
from batchsend.settings import Credentials
from batchsend.statuses import Code


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = open_ledger(postgres_url)
    yield opened
    opened.close()


def quiet_now() -> Hours:
    """Hours that forbid texts for six hours or more."""
    hour = datetime.now(UTC).hour
    return Hours(time((hour - 6) % 24), time((hour + 7) % 24), "UTC")


def dispatch(ledger: Ledger, run: OpenRun, listener: Callable[[Event], None]) -> Ending:
    files = WatchedSuppression((), "US", Suppression())
    credentials = Credentials(USERNAME, PASSWORD)
    return asyncio.run(dispatch_together(run, ledger, credentials, listener, None, files))


def wait_until_it_listens(ledger: Ledger, run: OpenRun) -> None:
    """Waits until a process waits for what the others do in a run."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE query = :query")
    while True:
        with ledger.read() as connection:
            if connection.scalar(query, {"query": f"LISTEN {run_channel(run.run_id)}"}):
                return


def test_send_waits_for_quiet_hours_that_begin_while_a_worker_has_the_last_row(
    ledger: Ledger, sandbox: Sandbox
) -> None:
    run = a_run(ledger, rows=1, wait=True, base_url=sandbox.base_url, hours=quiet_now())
    keeper = LeaseKeeper.of(ledger)
    lease = keeper.take(Holder("w", sandbox.base_url, True), run.run_id, run.start_id)
    assert lease is not None
    worker = SharedOutbox(ledger, run, lease, threading.Event(), None)
    claimed = worker.exchange([], 1)

    def give_back() -> None:
        wait_until_it_listens(ledger, run)
        worker.release(claimed, Code.QUIET_HOURS)
        keeper.give_up(lease, settled=worker.settled)
        worker.close()

    def stop_at_pause(event: Event) -> None:
        if isinstance(event, Pause):
            ledger.request_stop(run.run_id, "ann")

    returning = threading.Thread(target=give_back)
    returning.start()
    ending = dispatch(ledger, run, stop_at_pause)
    returning.join()
    assert ending == STOP_REQUESTED
    assert ledger.counts(run.run_id) == {"pending": 1}
    assert sandbox.requests() == []
