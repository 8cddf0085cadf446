"""Which processes may send a shared run, and what happens to the claims of dead ones."""

from __future__ import annotations

import json
import threading
import time as clock
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import time, timedelta

import psycopg
import pytest
from clusters import a_run
from ledgers import BASE_URL, came_to, planned, store_plan, stored
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from batchsend.campaigns.quiet_hours import ALL_DAY, Hours, Rule
from batchsend.campaigns.state_hours import state_rules
from batchsend.errors import BusyError, DeclinedError, LedgerError
from batchsend.ledger.cluster_schema import SERVER_CLOCK, leases, paces
from batchsend.ledger.leases import (
    LEASE_SECONDS,
    Holder,
    Lease,
    LeaseKeeper,
    LeaseLostError,
    interrupt_expired,
)
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.optouts import OptOutRequest, OptOutSource, Person, add_opt_outs
from batchsend.ledger.postgres import run_channel
from batchsend.ledger.runs import SharedState, shared_state
from batchsend.ledger.schema import starts
from batchsend.mykaarma.protocol import SendingAttributes
from batchsend.sending.cluster.open_runs import (
    OpenRun,
    channel_of,
    close_run,
    end_quiet_hours,
    end_runs,
    hand_over,
    open_run,
    open_run_ids,
    wait_for_senders,
)
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.locks import campaign_lock, sending_lock
from batchsend.sending.run_settings import RunSettings
from batchsend.statuses import Status
from batchsend.utils.timestamps import now

HOURS = Hours(time(21), time(8), "America/Chicago", None, timedelta(seconds=30))
SETTINGS = RunSettings(
    BASE_URL,
    10.0,
    20,
    30.0,
    25,
    900.0,
    SendingAttributes(callback_metadata={"source": "batchsend"}),
    False,
    HOURS,
    True,
)


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = open_ledger(postgres_url)
    yield opened
    while _OUTBOXES:
        _OUTBOXES.pop().close()
    opened.close()


#: Those that a test uses. Each keeps a connection.
_OUTBOXES: list[SharedOutbox] = []


def take(ledger: Ledger, run: OpenRun, *, worker: bool = True, name: str = "w") -> Lease:
    """A lease that is not renewed."""
    keeper = LeaseKeeper.of(ledger)
    lease = keeper.take(Holder(name, BASE_URL, worker), run.run_id, run.start_id)
    assert lease is not None
    keeper._leases.pop(lease.owner)
    return lease


def outbox(ledger: Ledger, run: OpenRun, lease: Lease) -> SharedOutbox:
    made = SharedOutbox(ledger, run, lease, threading.Event(), None)
    _OUTBOXES.append(made)
    return made


def state_of(ledger: Ledger, run: OpenRun) -> SharedState:
    state = shared_state(ledger, run.run_id)
    assert state is not None
    return state


def has_ended(ledger: Ledger, run: OpenRun) -> bool:
    """Whether the run is over, once a worker has looked."""
    end_runs(ledger)
    with ledger.read() as connection:
        ended = connection.scalar(select(starts.c.ended_at).where(starts.c.run_id == run.run_id))
    return ended is not None


def expire(ledger: Ledger, lease: Lease) -> None:
    """Lets a lease expire by the server's clock."""
    with ledger.write() as connection:
        # Long enough after the server's start for all processes to renew their leases.
        started = select(func.extract("epoch", func.pg_postmaster_start_time())).scalar_subquery()
        age = connection.scalar(select(SERVER_CLOCK - started))
        assert age is not None
        clock.sleep(max(0.0, LEASE_SECONDS - float(age)) + 0.01 if age < LEASE_SECONDS else 0)
        connection.execute(
            update(leases).where(leases.c.owner == lease.owner).values(lease_until=SERVER_CLOCK - 0.001)
        )
        connection.execute(select(func.pg_sleep(0.005)))


@pytest.mark.parametrize(
    "hours",
    [
        None,
        HOURS,
        replace(HOURS, days_off=("US", "2026-12-24"), states=state_rules()),
        Hours(None, None, "UTC", days_off=("12-24",), states=(("FL", Rule(sunday=ALL_DAY)),)),
    ],
)
def test_settings_come_back_from_the_ledger_as_they_were(hours: Hours | None) -> None:
    settings = replace(SETTINGS, hours=hours)
    assert RunSettings.from_json(settings.to_json()) == settings


def test_settings_of_a_version_without_days_off_are_read() -> None:
    settings = replace(SETTINGS, hours=HOURS)
    fields = json.loads(settings.to_json())
    del fields["hours"]["days_off"], fields["hours"]["states"]
    assert RunSettings.from_json(json.dumps(fields)) == settings


def test_a_run_is_open_until_it_is_closed_and_the_first_reason_counts(ledger: Ledger) -> None:
    run = a_run(ledger)
    assert open_run(ledger, run.run_id) == run
    assert open_run_ids(ledger) == [run.run_id]
    close_run(ledger, run, "the password is wrong")
    close_run(ledger, run, "the network is down")
    close_run(ledger, run)
    assert open_run(ledger, run.run_id) is None
    assert state_of(ledger, run).stopped_because == "the password is wrong"


def test_a_run_with_rows_left_does_not_end(ledger: Ledger) -> None:
    run = a_run(ledger, rows=1)
    assert not has_ended(ledger, run)
    lease = take(ledger, run)
    sending = outbox(ledger, run, lease)
    (message,) = sending.exchange([], 1)
    assert not has_ended(ledger, run)
    sending.exchange([came_to(message)], 0)
    # Its process ends its part first.
    assert not has_ended(ledger, run)
    LeaseKeeper(ledger).give_up(lease)
    assert has_ended(ledger, run)


def test_no_lease_for_a_run_that_was_stopped_or_planned_again(ledger: Ledger) -> None:
    run = a_run(ledger)
    keeper, holder = LeaseKeeper.of(ledger), Holder("w", BASE_URL, True)
    lease = keeper.take(holder, run.run_id, run.start_id)
    assert lease is not None
    assert keeper.take(holder, run.run_id, run.start_id + 1) is None
    ledger.request_stop(run.run_id, "ann")
    assert keeper.take(holder, run.run_id, run.start_id) is None
    keeper.give_up(lease)
    assert open_run(ledger, run.run_id) is None


def test_a_run_that_was_not_sent_for_a_day_is_not_open(ledger: Ledger) -> None:
    run = a_run(ledger)
    with ledger.write() as connection:
        connection.execute(update(paces).values(next_slot=SERVER_CLOCK - 24.1 * 3600))
    assert open_run(ledger, run.run_id) is None


def test_claims_of_dead_processes_are_unconfirmed_and_their_late_results_do_not_count(ledger: Ledger) -> None:
    run = a_run(ledger)
    paused, alive = take(ledger, run), take(ledger, run)
    dead = outbox(ledger, run, paused)
    [first, second] = dead.exchange([], 2)
    [third] = outbox(ledger, run, alive).exchange([], 1)
    interrupt_expired(ledger)
    assert state_of(ledger, run).outcomes == {}
    expire(ledger, paused)
    interrupt_expired(ledger)
    assert state_of(ledger, run).outcomes == {"unconfirmed": 2}
    interrupt_expired(ledger)
    # It resumes: its result comes too late, and it may not claim more rows.
    dead.exchange([came_to(first)], 0)
    with pytest.raises(LeaseLostError):
        dead.exchange([], 1)
    assert state_of(ledger, run).outcomes == {"unconfirmed": 2}
    assert stored(ledger, run.run_id) == {
        first.row: ("unconfirmed", "INTERRUPTED"),
        second.row: ("unconfirmed", "INTERRUPTED"),
        third.row: ("in_flight", "STOPPED"),
        5: ("pending", "STOPPED"),
    }


def test_giving_up_a_lease_makes_its_claims_unconfirmed(ledger: Ledger) -> None:
    run = a_run(ledger)

    keeper = LeaseKeeper.of(ledger)
    lease = keeper.take(Holder("w1", BASE_URL, True), run.run_id, run.start_id)
    assert lease is not None
    mine = outbox(ledger, run, lease)
    [claimed] = mine.exchange([], 1)
    assert not mine.settled
    keeper.give_up(lease, settled=mine.settled)
    assert stored(ledger, run.run_id)[claimed.row] == ("unconfirmed", "INTERRUPTED")


def test_those_who_wait_for_a_run_hear_of_it(ledger: Ledger, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as listening:
        listening.execute(f'LISTEN "{channel_of(BASE_URL)}"'.encode())
        run = a_run(ledger)
        listening.execute(f"LISTEN {run_channel(run.run_id)}".encode())
        LeaseKeeper(ledger).give_up(take(ledger, run))
        heard = [(one.channel, one.payload) for one in listening.notifies(timeout=60, stop_after=2)]
    assert heard == [(channel_of(BASE_URL), str(run.run_id)), (run_channel(run.run_id), "")]


def test_claims_without_a_lease_are_found(ledger: Ledger) -> None:
    run = a_run(ledger)
    lost, alive = take(ledger, run), take(ledger, run)
    [first] = outbox(ledger, run, lost).exchange([], 1)
    [second] = outbox(ledger, run, alive).exchange([], 1)
    with ledger.write() as connection:
        connection.execute(leases.delete().where(leases.c.owner == lost.owner))
    interrupt_expired(ledger)
    assert stored(ledger, run.run_id)[first.row] == ("in_flight", "STOPPED")
    interrupt_expired(ledger, run.run_id)
    assert state_of(ledger, run).outcomes == {"unconfirmed": 1}
    assert stored(ledger, run.run_id)[first.row] == ("unconfirmed", "INTERRUPTED")
    assert stored(ledger, run.run_id)[second.row] == ("in_flight", "STOPPED")


def test_an_expired_lease_can_be_renewed_before_it_is_noticed(ledger: Ledger) -> None:
    run = a_run(ledger)
    lease = take(ledger, run)
    mine = outbox(ledger, run, lease)
    [first] = mine.exchange([], 1)
    expire(ledger, lease)
    assert len(mine.exchange([came_to(first)], 1)) == 1
    interrupt_expired(ledger)
    assert len(mine.exchange([], 1)) == 1
    assert stored(ledger, run.run_id)[first.row] == ("accepted", "")


def test_rows_that_others_gave_back_are_claimed_before_the_run_is_done(ledger: Ledger) -> None:
    run = a_run(ledger)
    others = outbox(ledger, run, take(ledger, run))
    given_back = others.exchange([], 2)
    mine = outbox(ledger, run, take(ledger, run))
    assert [message.row for message in mine.exchange([], 1)] == [4]
    others.release(given_back)
    assert [message.row for message in mine.exchange([], 9)] == [5, 2, 3]
    assert others.settled


def test_a_person_who_opts_out_meanwhile_is_skipped(ledger: Ledger) -> None:
    run = a_run(ledger)
    mine = outbox(ledger, run, take(ledger, run))
    [first] = mine.exchange([], 1)
    wish = OptOutRequest("", planned(3)["phone"], "asked at the desk")
    add_opt_outs(ledger, [wish], OptOutSource.ADDED, Person("ann", "desk"), now())
    rest = mine.exchange([came_to(first)], 2)
    assert [message.row for message in rest] == [4, 5]
    assert [outcome.row for outcome in mine.take_skipped()] == [3]
    assert stored(ledger, run.run_id)[3] == ("skipped", "SUPPRESSED")
    assert state_of(ledger, run).outcomes == {"accepted": 1, "skipped": 1}


def test_rows_that_a_lost_commit_may_have_claimed_are_given_back(ledger: Ledger) -> None:
    run = a_run(ledger)
    lease = take(ledger, run)
    mine = outbox(ledger, run, lease)
    [first] = mine.exchange([], 1)
    # The commit is made but its answer is lost, so the outbox does not know of the second row.
    exchange, faults = mine._exchange, [True]

    def lose_the_answer(outcomes, claims):  # type: ignore[no-untyped-def]
        result = exchange(outcomes, claims)
        if faults:
            faults.pop()
            lost = psycopg.OperationalError("server closed the connection")
            cause = OperationalError("SELECT", {}, lost)
            raise LedgerError("gone") from cause
        return result

    mine._exchange = lose_the_answer  # type: ignore[method-assign]
    again = mine.exchange([came_to(first)], 1)
    rest = mine.exchange([came_to(message) for message in again], 10)
    assert sorted(message.row for message in [*again, *rest]) == [3, 4, 5]
    assert stored(ledger, run.run_id)[first.row] == ("accepted", "")


def check_that_others_send_it(ledger: Ledger, words: str) -> None:
    """Neither a lock nor a start is possible."""
    with pytest.raises(BusyError, match=words), campaign_lock(ledger, "Spring", BASE_URL):
        pass
    with pytest.raises(BusyError, match=words):
        wait_for_senders(ledger, "Spring", BASE_URL)


def test_planning_again_waits_for_dead_processes_and_not_for_live_ones(ledger: Ledger) -> None:
    run = a_run(ledger)
    dead = take(ledger, run, worker=False)
    [claimed] = outbox(ledger, run, dead).exchange([], 1)
    with (
        pytest.raises(BusyError, match="is being sent by another process"),
        campaign_lock(ledger, "Spring", BASE_URL),
    ):
        pass
    expire(ledger, dead)
    wait_for_senders(ledger, "Spring", BASE_URL)
    assert stored(ledger, run.run_id)[claimed.row] == ("unconfirmed", "INTERRUPTED")
    with ledger.read() as connection:
        assert connection.execute(select(leases)).all() == []

    again = a_run(ledger)
    keeper = LeaseKeeper.of(ledger)
    lease = keeper.take(Holder("laptop", BASE_URL, False), again.run_id, again.start_id)
    assert lease is not None
    check_that_others_send_it(ledger, "is being sent by another process")
    keeper.give_up(lease)
    # There is nothing to wait for.
    wait_for_senders(ledger, "Spring", BASE_URL)


def test_a_run_that_workers_continue_cannot_be_planned_again(ledger: Ledger) -> None:
    run = a_run(ledger)
    keeper, holder = LeaseKeeper.of(ledger), Holder("w1", BASE_URL, True)
    presence = keeper.take(holder)
    assert state_of(ledger, run).workers == ("w1",)
    assert state_of(ledger, run).helpers == ()
    check_that_others_send_it(ledger, f"run {run.run_id} was handed over to them")
    # Once nothing is left of it, it can be.
    lease = keeper.take(holder, run.run_id, run.start_id)
    assert lease is not None
    assert state_of(ledger, run).helpers == ("w1",)
    mine = outbox(ledger, run, lease)
    mine.exchange([came_to(message) for message in mine.exchange([], 9)], 0)
    keeper.give_up(lease, settled=mine.settled)
    assert state_of(ledger, run).done
    with sending_lock(ledger, "Spring", None, BASE_URL) as take_back, ledger.write() as connection:
        take_back(connection)
    assert presence is not None
    keeper.give_up(presence)
    assert state_of(ledger, run).workers == ()


def test_a_start_that_plans_nothing_leaves_the_run_to_workers(ledger: Ledger) -> None:
    run = a_run(ledger)
    with pytest.raises(DeclinedError), sending_lock(ledger, "Spring", None, BASE_URL):
        raise DeclinedError
    assert open_run(ledger, run.run_id) == run
    with (
        pytest.raises(DeclinedError),
        sending_lock(ledger, "Spring", None, BASE_URL) as take_back,
        ledger.write() as connection,
    ):
        take_back(connection)
        # As a worker that waits for a run, which goes on renewing its other leases.
        with pytest.raises(LedgerError, match="another process has locked rows"):
            take(ledger, run)
        raise DeclinedError
    assert open_run(ledger, run.run_id) == run
    with sending_lock(ledger, "Spring", None, BASE_URL) as take_back, ledger.write() as connection:
        take_back(connection)
    assert open_run(ledger, run.run_id) is None


@pytest.mark.parametrize("sends", ["still", "no more", "nothing"])
def test_a_worker_may_begin_to_send_before_the_run_is_planned_again(ledger: Ledger, sends: str) -> None:
    run = a_run(ledger)
    keeper = LeaseKeeper.of(ledger)
    with sending_lock(ledger, "Spring", None, BASE_URL) as take_back:
        lease = keeper.take(Holder("w1", BASE_URL, True), run.run_id, run.start_id)
        assert lease is not None
        mine = outbox(ledger, run, lease)
        [claimed] = mine.exchange([], 1)
        if sends == "nothing":
            mine.release([claimed])
        else:
            mine.exchange([came_to(claimed)], 0)
        if sends != "still":
            keeper.give_up(lease, settled=mine.settled)
        words = {"still": "is being sent", "no more": "was sent by workers since this start planned it"}
        busy = pytest.raises(BusyError, match=words[sends]) if sends in words else nullcontext()
        with busy, ledger.write() as connection:
            take_back(connection)
        assert (open_run(ledger, run.run_id) is None) == (sends == "nothing")
        keeper.give_up(lease)


def test_a_worker_that_is_suspended_before_its_first_text_sends_nothing_after_the_run_is_planned_again(
    ledger: Ledger,
) -> None:
    run = a_run(ledger)
    with sending_lock(ledger, "Spring", None, BASE_URL) as take_back:
        lease = take(ledger, run)
        outbox(ledger, run, lease).exchange([], 1)
        expire(ledger, lease)
        with pytest.raises(BusyError, match="was sent by workers"), ledger.write() as connection:
            take_back(connection)
    with sending_lock(ledger, "Spring", None, BASE_URL) as take_back, ledger.write() as connection:
        take_back(connection)
    with ledger.read() as connection:
        assert not lease.is_held_in(connection)
    assert state_of(ledger, run).outcomes == {"unconfirmed": 1}


def test_the_last_worker_ends_a_run_that_no_send_waits_for(ledger: Ledger) -> None:
    run = a_run(ledger)
    sender = take(ledger, run, worker=False)
    mine = outbox(ledger, run, sender)
    mine.exchange([came_to(message, Status.FAILED, "CUSTOMER_LOCKED") for message in mine.exchange([], 9)], 0)
    assert state_of(ledger, run).outcomes == {"failed": 4}
    assert not has_ended(ledger, run)
    expire(ledger, sender)
    assert has_ended(ledger, run)
    with ledger.read() as connection:
        assert connection.execute(select(starts.c.exit_code, starts.c.ending)).one() == (1, "done")


def test_rows_in_quiet_hours_keep_a_run_open_and_are_sent_afterwards(ledger: Ledger) -> None:
    settings = RunSettings(BASE_URL, 10.0, 20, 30.0, 25, 900.0, SendingAttributes(), False, HOURS, True)
    stored_plan = store_plan(
        ledger, [planned(2, codes="QUIET_HOURS", clock=""), planned(3, codes="QUIET_HOURS", clock="UTC")]
    )
    run = OpenRun(stored_plan.run_id, stored_plan.start_id, settings)
    with ledger.write() as connection:
        hand_over(connection, run.run_id, run.start_id, settings)
    never = Hours(time(0), time(23, 59, 59, 999999), "UTC")
    end_quiet_hours(ledger, OpenRun(run.run_id, run.start_id, _with_hours(settings, never)))
    assert set(stored(ledger, run.run_id).values()) == {("pending", "QUIET_HOURS")}
    assert not has_ended(ledger, run)
    always = Hours(time(0), time(0, 0, 0, 1), "UTC")
    end_quiet_hours(ledger, OpenRun(run.run_id, run.start_id, _with_hours(settings, always)))
    assert set(stored(ledger, run.run_id).values()) == {("pending", "STOPPED")}


def test_rows_that_no_hour_suits_do_not_keep_a_run_open(ledger: Ledger) -> None:
    night = Hours(time(18), time(10), "UTC")
    settings = RunSettings(BASE_URL, 10.0, 20, 30.0, 25, 900.0, SendingAttributes(), False, night, True)
    apart = planned(2, codes="QUIET_HOURS", clock="America/New_York|Asia/Kolkata")
    stored_plan = store_plan(ledger, [apart])
    run = OpenRun(stored_plan.run_id, stored_plan.start_id, settings)
    with ledger.write() as connection:
        hand_over(connection, run.run_id, run.start_id, settings)
    end_quiet_hours(ledger, run)
    assert stored(ledger, run.run_id) == {2: ("pending", "QUIET_HOURS")}
    assert has_ended(ledger, run)


def _with_hours(settings: RunSettings, hours: Hours) -> RunSettings:
    return replace(settings, hours=hours)
