"""`batchsend runs` says what each run does now, or how it ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from clusters import a_run
from ledgers import BASE_URL, came_to
from sqlalchemy import update
from world import World

from batchsend.cli.text.report import ShownRun, run_lines
from batchsend.ledger.leases import Holder, LeaseKeeper
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.runs import overview
from batchsend.ledger.schema import messages
from batchsend.runs.lookup import state_of
from batchsend.sending.cluster.open_runs import OpenRun, close_run, end_runs
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.locks import campaign_lock
from batchsend.statuses import Code

WORKER, SEND = Holder("w0", BASE_URL, True), Holder("send on front-desk (4711)", BASE_URL, False)


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = open_ledger(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def keeper(ledger: Ledger) -> LeaseKeeper:
    return LeaseKeeper.of(ledger)


def shown(ledger: Ledger) -> tuple[str, str]:
    """The summary line of the only run, and what it does."""
    [run] = overview(ledger)
    _, summary, state = run_lines([ShownRun(run, state_of(ledger, run))])
    return summary.partition(": ")[2], state.strip()


def test_a_run_that_is_being_sent_needs_nobody(ledger: Ledger, keeper: LeaseKeeper) -> None:
    run = a_run(ledger)
    presence = keeper.take(WORKER)
    assert shown(ledger)[1] == "handed over to worker w0"
    own, worker = (keeper.take(holder, run.run_id, run.start_id) for holder in (SEND, WORKER))
    assert own is not None
    assert worker is not None
    sending = SharedOutbox(ledger, run, own, threading.Event(), None)
    sending.exchange([], 2)
    sending.close()
    assert shown(ledger) == (
        "4 rows = 0 accepted by myKaarma + 0 skipped + 0 need attention + 4 waiting",
        "being sent now, by send on front-desk (4711), w0",
    )
    ledger.request_stop(run.run_id, "ann")
    assert shown(ledger)[1].endswith(", w0; it was asked to stop")
    for lease in (own, worker):
        keeper.give_up(lease, settled=False)
    assert shown(ledger) == (
        "4 rows = 0 accepted by myKaarma + 0 skipped + 2 need attention + 2 waiting",
        "stopped: a stop was requested",
    )
    end_runs(ledger)
    assert shown(ledger)[1] == "ended: a stop was requested"
    assert presence is not None
    keeper.give_up(presence)


def test_a_run_that_a_refusal_stopped_says_why_and_where(ledger: Ledger) -> None:
    run = a_run(ledger)
    close_run(ledger, run, "worker w0: myKaarma does not accept the password.")
    assert shown(ledger)[1] == "stopped: worker w0: myKaarma does not accept the password."
    end_runs(ledger)
    assert shown(ledger)[1] == "ended: worker w0: myKaarma does not accept the password."


def test_a_run_without_any_process(ledger: Ledger, keeper: LeaseKeeper) -> None:
    run = a_run(ledger)
    assert shown(ledger)[1] == (
        "not being sent: no process sends it and no worker is running. Start `batchsend worker`, or run `send` again"
    )
    # Planned again by a start that was then killed.
    close_run(ledger, run)
    with campaign_lock(ledger, "Spring", BASE_URL):
        assert shown(ledger)[1].startswith("being sent now, by ")
    assert shown(ledger)[1] == "not ended: its process was killed. Run the same command again to continue"


def test_a_run_that_waits_for_quiet_hours(ledger: Ledger, keeper: LeaseKeeper) -> None:
    a_run(ledger, wait=True)
    with ledger.write() as connection:
        connection.execute(update(messages).values(codes=Code.QUIET_HOURS))
    assert shown(ledger)[1] == (
        "waiting for quiet hours to end; start `batchsend worker` or run `send` again then"
    )
    presence = keeper.take(WORKER)
    assert shown(ledger)[1] == "waiting for quiet hours to end; worker w0 will continue"
    assert presence is not None
    keeper.give_up(presence)


def test_a_run_that_is_done(ledger: Ledger, keeper: LeaseKeeper) -> None:
    run: OpenRun = a_run(ledger)
    presence = keeper.take(WORKER)
    own = keeper.take(WORKER, run.run_id, run.start_id)
    assert own is not None
    mine = SharedOutbox(ledger, run, own, threading.Event(), None)
    mine.exchange([came_to(message) for message in mine.exchange([], 4)], 0)
    mine.close()
    keeper.give_up(own)
    assert shown(ledger)[1] == "all rows are done; workers record its end shortly"
    end_runs(ledger)
    assert shown(ledger) == (
        "4 rows = 4 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting",
        "ended: done",
    )
    assert presence is not None
    keeper.give_up(presence)


def test_an_empty_database_is_no_folder(world: World, postgres_url: str) -> None:
    world.environment["BATCHSEND_LEDGER"] = postgres_url.replace("+psycopg", "")
    done = world.run("runs")
    assert done.code == 2
    assert "this database has no ledger yet: nothing has been sent from it." in done.err
    assert ".batchsend" not in done.err
