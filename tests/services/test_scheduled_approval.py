"""`batchsend schedule` and the guard `approval`: a start waits until another person approves it, or expires."""

from __future__ import annotations

import os
import unittest.mock
from contextlib import closing
from datetime import timedelta

import pytest
from schedules import MINUTE, TEN, FakeChild, Place, scheduled, soon, watching
from world import Sandbox, World

from batchsend.ledger.approvals import Approval, ApprovalRequest, ApprovalState, approvals_for, ask, decide
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.optouts import Person
from batchsend.planning.approval import PlanApproval, PlanContent
from batchsend.runs.approval import ask_for_approval
from batchsend.services.schedule_list import overview

BASE_URL = "http://127.0.0.1:9"
SCHEDULER, DANA = Person("texts", "server"), Person("dana", "front-desk")


def ledger_of(place: Place) -> str:
    return os.environ.get("BATCHSEND_LEDGER") or f"sqlite:///{place.folder / '.batchsend' / 'ledger.db'}"


def refused_for_approval(place: Place) -> FakeChild:
    """A `send` that asks for an approval and ends."""
    request = ApprovalRequest(
        "Spring", BASE_URL, "settings", "list", None, "digest", b"", 3, 3, "customers.csv"
    )
    with closing(open_ledger(ledger_of(place))) as ledger:
        ask(ledger, request, SCHEDULER, place.now)
    return FakeChild(2)


def approvals_of(place: Place) -> list[Approval]:
    with closing(open_ledger(ledger_of(place))) as ledger:
        return approvals_for(ledger, "Spring", BASE_URL, None)


def refused_again(place: Place, seen: list[Approval]) -> FakeChild:
    """A `send` that finds the requests as they were `seen`, and ends."""
    content = PlanContent("settings", "list", None, b"", 3, 3)
    with closing(open_ledger(ledger_of(place))) as ledger:
        found = PlanApproval(content, seen)
        with unittest.mock.patch("batchsend.runs.approval.now", lambda: place.now):
            ask_for_approval(ledger, "Spring", BASE_URL, "customers.csv", found, SCHEDULER)
    return FakeChild(2)


def answer(place: Place, state: ApprovalState, ahead: timedelta = timedelta(0)) -> None:
    """Answers the request. The clock of that computer may be ahead."""
    (request,) = approvals_of(place)
    with closing(open_ledger(ledger_of(place))) as ledger:
        assert decide(ledger, request, state, DANA, place.now + ahead, reason="no")


@pytest.fixture
def waiting(any_place: Place) -> Place:
    """It is 10:05, and the start of 10:00 waits for an approval."""
    place = any_place
    place.child = lambda: refused_for_approval(place)
    place.write(TEN)
    service = place.scheduler()
    place.run(service, until="2026-11-23T10:05-06:00", step=MINUTE)
    assert len(place.started) == 1
    (said,) = place.logged("approval")
    assert said["message"] == (
        "The start of 2026-11-23 10:00 waits until 2026-11-23 12:00 for another person's approval."
    )
    assert said["at"] == "2026-11-23T18:00:00.000Z"
    assert service.needs_attention
    return place


def test_it_is_tried_again_once_it_is_approved(waiting: Place) -> None:
    place = waiting
    assert "waiting for another person's approval" in "\n".join(overview([], None).lines)
    answer(place, ApprovalState.APPROVED)
    place.child = lambda: FakeChild(0)
    service = place.services[-1]
    place.run(service, until="2026-11-23T10:08-06:00", step=MINUTE)
    assert [text[3:8] for text in place.times()] in (["10:00", "10:05"], ["10:00", "10:06"])
    (again,) = place.logged("goes_on")
    assert again["planned"] == "2026-11-23T16:00:00.000Z"
    assert not service.needs_attention
    place.run(service, until="2026-11-23T12:05-06:00")
    assert place.logged("missed") == []
    assert len(place.started) == 2


def test_another_scheduler_takes_it_up(waiting: Place) -> None:
    place = waiting
    answer(place, ApprovalState.APPROVED)
    place.child = lambda: FakeChild(0)
    place.run(place.scheduler(), until="2026-11-23T10:08-06:00", step=MINUTE)
    assert len(place.started) == 2


def test_without_an_approval_it_is_missed_when_it_expires(waiting: Place) -> None:
    place = waiting
    place.run(place.services[-1], until="2026-11-23T12:05-06:00")
    assert len(place.started) == 1
    (missed,) = place.logged("missed")
    assert missed["message"] == (
        "The start of 2026-11-23 10:00 was not approved in time; it did not get as far as sending. It is not tried "
        "again, because expires_after is 2 hours. `batchsend send` sends the rest."
    )
    answer(place, ApprovalState.APPROVED)
    place.run(place.services[-1], until="2026-11-23T12:10-06:00")
    assert len(place.started) == 1


def test_a_refused_start_is_final(waiting: Place) -> None:
    place = waiting
    answer(place, ApprovalState.REFUSED)
    place.run(place.services[-1], until="2026-11-23T12:05-06:00")
    assert len(place.started) == 1
    assert place.services[-1].needs_attention


def test_an_approval_that_did_not_help_is_not_tried_again_and_again(waiting: Place) -> None:
    """The scheduler's own user approved it, so its `send` is refused again."""
    place = waiting
    answer(place, ApprovalState.APPROVED)
    place.child = lambda: refused_again(place, approvals_of(place))
    place.run(place.services[-1], until="2026-11-23T12:20-06:00")
    assert len(place.started) == 2
    assert len(place.logged("approval")) == 1


@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(hours=3)])
def test_it_is_tried_again_also_if_the_clock_of_the_person_who_approved_it_is_wrong(
    waiting: Place, ahead: timedelta
) -> None:
    place = waiting
    answer(place, ApprovalState.APPROVED, ahead)
    place.child = lambda: FakeChild(0)
    place.run(place.services[-1], until="2026-11-23T10:08-06:00", step=MINUTE)
    assert len(place.started) == 2


def test_it_is_tried_again_if_it_was_approved_while_it_was_being_refused(any_place: Place) -> None:
    place = any_place

    def refused_as_it_is_approved() -> FakeChild:
        place.child = lambda: FakeChild(0)
        refused_for_approval(place)
        seen = approvals_of(place)
        answer(place, ApprovalState.APPROVED)
        return refused_again(place, seen)

    place.child = refused_as_it_is_approved
    place.write(TEN)
    place.run(place.scheduler(), until="2026-11-23T10:08-06:00", step=MINUTE)
    assert len(place.started) == 2


@pytest.mark.system
def test_a_real_scheduler_sends_after_the_approval(world: World, sandbox: Sandbox) -> None:
    world.environment["LOGNAME"] = "texts"
    scheduled(world, schedule=f"{soon()}[guards]\napproval = true\n")
    with watching(world) as first:
        first.until("approval")
        assert first.stop() == 1
    assert not sandbox.requests()
    world.environment["LOGNAME"] = "dana"
    approved = world.ask("approve", "campaign.toml", answer="3")
    assert approved.code == 0, approved.out
    world.environment["LOGNAME"] = "texts"
    # It looks at once; one that kept running looks every minute.
    with watching(world) as second:
        assert second.until("finished")["exit"] == 0
    assert sandbox.texts() == {f"customer-{n}": 1 for n in range(3)}
