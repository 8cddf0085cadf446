"""Starts, claims, answers, kills, other lists and `--resend` in any order, compared with a simple model.

The lists are real files and the plans are made as for a real start; only the requests are played.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledgers import outbox, start_record
from postgres_server import PostgresServer
from sqlalchemy import select
from world import World

from batchsend.campaigns.file import load_campaign
from batchsend.errors import BusyError
from batchsend.ledger.ledger import StoredPlan
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.schema import messages
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.sending.locks import sending_lock
from batchsend.sending.outbox import Outbox
from batchsend.sending.rows import Claimed, Outcome
from batchsend.statuses import IN_FLIGHT, TRIED, Code, Status
from batchsend.utils.timestamps import to_text

BASE_URL = "https://api.example.com"
#: How many stories are played; more of them find more, and take longer.
STORIES = int(os.environ.get("BATCHSEND_STORIES", "12"))

ACCEPTED, FAILED, OPTED_OUT, UNCONFIRMED = "accepted", "failed", "opted out", "unconfirmed"
ANSWERS = {
    ACCEPTED: (Status.ACCEPTED, ""),
    FAILED: (Status.FAILED, "CUSTOMER_LOCKED"),
    OPTED_OUT: (Status.FAILED, "OPTED_OUT_COMMUNICATION_VALUE"),
    UNCONFIRMED: (Status.UNCONFIRMED, "TIMEOUT"),
}
#: A customer, and whether the row can be sent: one with a blank name cannot.
Rows = tuple[tuple[int, bool], ...]
lists = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([True, True, True, False])), min_size=1, max_size=5
).map(tuple)
resends = st.sampled_from([None, None, None, "failed", "unconfirmed", "CUSTOMER_LOCKED"])
limits = st.sampled_from([None, None, None, 1, 2])
BEGINNING = datetime(2026, 3, 2, tzinfo=UTC)


def fits(resend: str, answer: str | None) -> bool:
    """Does `--resend` ask for a row that came to this?"""
    return answer == UNCONFIRMED if resend == "unconfirmed" else answer == FAILED


@dataclass
class Run:
    """What the model knows of a run. Rows are counted from 2, as in a spreadsheet."""

    rows: Rows
    #: Row -> what its last request came to, and when that was made.
    answers: dict[int, str] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    #: Customer -> what `--resend` asked for, until the request is made.
    chosen: dict[int, str] = field(default_factory=dict)
    #: What starts asked for that were killed, since the last one that ended by itself.
    killed: set[str] = field(default_factory=set)

    def customer(self, row: int) -> int:
        return self.rows[row - 2][0]

    def tried_row(self, customer: int) -> int | None:
        return next((row for row in self.answers if self.customer(row) == customer), None)


@dataclass
class Claim:
    """A request that is on its way."""

    owner: str
    claimed: Claimed
    time: int
    choice: str | None


@dataclass
class Active:
    """A start that is under way. `texts`: customers that it should text and has not tried yet."""

    number: int
    start: int
    resend: str | None
    texts: set[int]
    outboxes: dict[str, Outbox]
    claims: dict[int, Claim] = field(default_factory=dict)


class Sending(RuleBasedStateMachine):
    """The life of one campaign in one ledger."""

    new_url: Callable[[Path], str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder).write()
        self.campaign = load_campaign(self.folder / "campaign.toml")
        self.url = type(self).new_url(self.folder)
        self.ledger = open_ledger(self.url)
        self.runs: dict[int, Run] = {}
        self.active: Active | None = None
        self.lock = ExitStack()
        #: The run whose list is the one in the folder.
        self.listed = 0
        self.time = 0
        self.clock = patch("batchsend.sending.outbox.now", self.tick)
        self.clock.start()

    def teardown(self) -> None:
        self.clock.stop()
        self.lock.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    def tick(self) -> datetime:
        self.time += 1
        return BEGINNING + timedelta(seconds=self.time)

    # What should happen

    def answers_of(self, customer: int, *, without: int | None = None) -> list[tuple[int, str]]:
        """(when, what) of the customer's last request in each run but `without`."""
        return [
            (run.times[row], answer)
            for number, run in self.runs.items()
            if number != without
            for row, answer in run.answers.items()
            if run.customer(row) == customer
        ]

    def last_answer(self, customer: int) -> str | None:
        return max(self.answers_of(customer), default=(0, None))[1]

    def should_text(
        self, number: int | None, rows: Rows, resend: str | None
    ) -> tuple[set[int], dict[int, str]]:
        """Customers whom a start should text, and those among them that were chosen to be texted again."""
        run = self.runs[number] if number is not None else Run(rows)
        # The same command again continues with its choice and chooses nothing a second time.
        resumes = resend is not None and (resend in run.chosen.values() or resend in run.killed)
        texts: set[int] = set()
        chosen: dict[int, str] = {}
        for customer in {customer for customer, good in rows if good}:
            elsewhere = {answer for _, answer in self.answers_of(customer, without=number)}
            choices = [run.chosen.get(customer), None if resumes else resend]
            last = self.last_answer(customer)
            choice = next((choice for choice in choices if choice and fits(choice, last)), None)
            tried_here = run.tried_row(customer) is not None
            if OPTED_OUT in elsewhere:
                continue
            if choice is not None:
                chosen[customer] = choice
            elif tried_here or elsewhere & {ACCEPTED, UNCONFIRMED}:
                continue
            texts.add(customer)
        return texts, chosen

    # Starting and ending

    @initialize(rows=lists)
    def first_start(self, rows: Rows) -> None:
        self.begin(rows, None, None)

    @precondition(lambda self: self.active is None)
    @rule(rows=lists, resend=resends, limit=limits)
    def start_with_another_list(self, rows: Rows, resend: str | None, limit: int | None) -> None:
        self.begin(rows, resend, limit)

    @precondition(lambda self: self.active is None)
    @rule(resend=resends, limit=limits)
    def start_again(self, resend: str | None, limit: int | None) -> None:
        self.begin(self.runs[max(self.runs)].rows, resend, limit)

    @precondition(lambda self: self.active is None)
    @rule(data=st.data(), resend=resends)
    def start_with_an_earlier_list(self, data: st.DataObject, resend: str | None) -> None:
        number = data.draw(st.sampled_from(sorted(self.runs)))
        self.begin(self.runs[number].rows, resend, None)

    def begin(self, rows: Rows, resend: str | None, limit: int | None) -> None:
        self.world.write_list(
            [
                {"Customer UUID": f"customer-{customer}", "First Name": "Ann" if good else ""}
                for customer, good in rows
            ]
        )
        number = max((number for number, run in self.runs.items() if run.rows == rows), default=None)
        texts, chosen = self.should_text(number, rows, resend)
        self.lock.enter_context(sending_lock(self.ledger, "Spring", None, BASE_URL))
        request = PlanRequest(self.campaign, BASE_URL, "here", datetime.now(UTC), limit=limit, resend=resend)
        with make_plan(request, self.ledger) as plan:
            assert (plan.run.id if plan.run else None) == number
            assert plan.texts == (len(texts) if limit is None else min(limit, len(texts)))
            assert plan.remarks.again == len(chosen)
            stored_plan = self.ledger.store_plan(
                plan.scratch,
                plan.identity,
                plan.known.id if plan.known else None,
                number,
                plan.new_run(),
                start_record(resend=resend),
            )
        if number is None:
            for run in self.runs.values():
                run.chosen, run.killed = {}, set()
            # Nothing of an earlier list is left to be sent by anybody.
            for closed in self.runs:
                assert Status.PENDING not in self.ledger.counts(closed)
            self.runs[stored_plan.run_id] = Run(rows)
        self.runs[stored_plan.run_id].chosen = chosen
        self.listed = stored_plan.run_id
        outboxes = {owner: outbox(self.ledger, stored_plan, owner) for owner in ("one", "two")}
        assert not outboxes["one"].stop_requested()
        self.active = Active(stored_plan.run_id, stored_plan.start_id, resend, texts, outboxes)

    @precondition(lambda self: self.active is not None)
    @rule()
    def kill(self) -> None:
        assert self.active is not None
        run = self.runs[self.active.number]
        for row, claim in self.active.claims.items():
            run.answers[row], run.times[row] = UNCONFIRMED, claim.time
        if self.active.resend is not None:
            run.killed.add(self.active.resend)
        self.active = None
        # The operating system, or the server, lets go of a dead process's lock.
        self.lock.close()
        self.ledger.close()
        self.ledger = open_ledger(self.url)

    @precondition(lambda self: self.active is not None)
    @rule()
    def end(self) -> None:
        assert self.active is not None
        for row in list(self.active.claims):
            self.give_back(row)
        self.ledger.end_start(self.active.start, 0, "done")
        self.runs[self.active.number].killed = set()
        self.active = None
        self.lock.close()

    # Other processes meanwhile; the invariants say that nothing came of it

    @precondition(lambda self: self.active is not None)
    @rule()
    def start_once_more(self) -> None:
        with pytest.raises(BusyError), sending_lock(self.ledger, "Spring", None, BASE_URL):
            pass

    @rule(resend=resends)
    def look_what_would_be_sent(self, resend: str | None) -> None:
        reading = open_for_reading(self.url)
        assert reading is not None
        request = PlanRequest(self.campaign, BASE_URL, "here", datetime.now(UTC), resend=resend)
        try:
            with make_plan(request, reading) as plan:
                assert sum(plan.counts.values()) == len(self.runs[self.listed].rows)
        finally:
            reading.close()

    @precondition(lambda self: self.active is not None)
    @rule()
    def ask_it_to_stop(self) -> None:
        assert self.active is not None
        self.ledger.request_stop(self.active.number, "ann")
        assert self.active.outboxes["one"].stop_requested()

    # Sending

    @precondition(lambda self: self.active is not None)
    @rule(owner=st.sampled_from(["one", "one", "two"]), count=st.integers(1, 4))
    def claim(self, owner: str, count: int) -> None:
        self.exchange(owner, [], count)

    @precondition(lambda self: self.active is not None and self.active.claims)
    @rule(data=st.data(), answer=st.sampled_from(sorted(ANSWERS)), count=st.integers(0, 2))
    def receive_update(self, data: st.DataObject, answer: str, count: int) -> None:
        """An answer comes in; with it, further rows may be claimed."""
        assert self.active is not None
        row = data.draw(st.sampled_from(sorted(self.active.claims)))
        claim = self.active.claims.pop(row)
        run = self.runs[self.active.number]
        run.answers[row], run.times[row] = answer, claim.time
        self.exchange(claim.owner, [self.outcome(row, answer, claim.time)], count)

    @precondition(lambda self: self.active is not None and self.active.claims)
    @rule(data=st.data())
    def certainly_not_sent(self, data: st.DataObject) -> None:
        assert self.active is not None
        self.give_back(data.draw(st.sampled_from(sorted(self.active.claims))))

    @precondition(lambda self: self.active is not None)
    @rule(row=st.integers(2, 6), answer=st.sampled_from(sorted(ANSWERS)))
    def receive_update_of_another_row(self, row: int, answer: str) -> None:
        """The invariants say that nothing came of it."""
        assert self.active is not None
        stranger = outbox(self.ledger, StoredPlan(self.active.number, self.active.start, {}), "stranger")
        stranger.exchange([self.outcome(row, answer, 0)], 0)

    def exchange(self, owner: str, outcomes: list[Outcome], count: int) -> None:
        assert self.active is not None
        run = self.runs[self.active.number]
        claimed = self.active.outboxes[owner].exchange(outcomes, count)
        assert len(claimed) <= count
        assert [c.row for c in claimed] == sorted(c.row for c in claimed)
        for one in claimed:
            customer = run.customer(one.row)
            choice = run.chosen.pop(customer, None)
            # The promise: no customer gets a second text without being chosen for it.
            allowed = (None, FAILED) if choice is None else (FAILED, UNCONFIRMED)
            assert self.last_answer(customer) in allowed
            assert customer in self.active.texts
            self.active.texts.remove(customer)
            self.active.claims[one.row] = Claim(owner, one, self.time, choice)

    def give_back(self, row: int) -> None:
        assert self.active is not None
        claim = self.active.claims.pop(row)
        self.active.outboxes[claim.owner].release([claim.claimed])
        run = self.runs[self.active.number]
        self.active.texts.add(run.customer(row))
        if claim.choice is not None:
            run.chosen[run.customer(row)] = claim.choice

    @staticmethod
    def outcome(row: int, answer: str, time: int) -> Outcome:
        status, codes = ANSWERS[answer]
        return Outcome(row, status, codes, attempts=1, sent_at=to_text(BEGINNING + timedelta(seconds=time)))

    # What holds at any time

    @invariant()
    def every_row_is_what_became_of_it(self) -> None:
        found: dict[int, dict[int, tuple[str, str]]] = {number: {} for number in self.runs}
        query = select(messages.c.run_id, messages.c.row, messages.c.status, messages.c.codes)
        with self.ledger.read() as connection:
            for number, row, status, codes in connection.execute(query):
                found[number][row] = (status, codes)
        for number, run in self.runs.items():
            assert sorted(found[number]) == list(range(2, len(run.rows) + 2))
            for row, outcome in found[number].items():
                self.check_row(number, row, *outcome)

    def check_row(self, number: int, row: int, status: str, codes: str) -> None:
        run = self.runs[number]
        if self.active is not None and self.active.number == number and row in self.active.claims:
            assert status == IN_FLIGHT
        elif run.tried_row(run.customer(row)) == row and run.customer(row) in run.chosen:
            assert status == Status.PENDING
        elif row in run.answers:
            # A killed process leaves its claims as they are; the next start sees what they are worth.
            killed = [(IN_FLIGHT, Code.STOPPED), (Status.UNCONFIRMED, Code.INTERRUPTED)]
            possible = [ANSWERS[run.answers[row]], *(killed if run.answers[row] == UNCONFIRMED else [])]
            assert (status, codes) in possible
        else:
            assert status in {Status.PENDING, Status.SKIPPED, Status.INVALID}
            assert status not in TRIED


def play(new_url: Callable[[Path], str], stories: int) -> None:
    machine = type("Sending", (Sending,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=stories,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Explaining a failure would take hundreds of further stories.
            phases=[Phase.generate],
        ),
    )


def test_no_text_twice_and_no_row_lost_on_sqlite() -> None:
    play(lambda folder: f"sqlite:///{folder / 'ledger.db'}", STORIES)


def test_no_text_twice_and_no_row_lost_on_postgresql(postgres_server: PostgresServer) -> None:
    def new_url(_folder: Path) -> str:
        name = f"story_{uuid4().hex}"
        with psycopg.connect(
            host="127.0.0.1", port=postgres_server.port, user="postgres", autocommit=True
        ) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        return postgres_server.url(name)

    play(new_url, max(1, STORIES // 4))
