"""What a run does or waits for, as its page and the lists of runs say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from batchsend.ledger.ledger import RunRecord
from batchsend.ledger.runs import SharedState
from batchsend.web.run_state import Doing, RunFacts, state_of

NOON, LATER = "2026-11-27T12:00:00.000Z", "2026-11-27T12:05:00.000Z"
RUN = RunRecord("f", "list.csv", NOON, (), "America/Chicago", {}, id=1, campaign_id=1, created_at=NOON)
ENDED = {"ended_at": NOON, "ending": "done"}
ASKED = {"stop_requested_at": NOON, "stop_requested_by": "dana"}
GIVEN_UP = {"given_up_at": LATER, "given_up_by": "eva"}
WAITS = {"waits_until": LATER, "waits_because": "quiet hours"}


def shared(*, is_open: bool = True, workers: tuple[str, ...] = (), because: str | None = None) -> SharedState:
    return SharedState(1, is_open, False, because, False, False, False, False, (), (), workers, {})


def facts(run: dict[str, str] | None = None, **values: Any) -> RunFacts:
    """A run that ended with three rows that are not sent, unless the arguments say otherwise."""
    usual: dict[str, Any] = {"start": ENDED, "sending": False, "left": 3, "to_send": 3, "shared": None}
    return RunFacts(replace(RUN, **(run or {})), moment=NOON, **{**usual, **values})


@pytest.mark.parametrize(
    ("given", "doing"),
    [
        (facts(sending=True), Doing.SENDING),
        (facts(WAITS, sending=True), Doing.WAITING),
        (facts({**WAITS, "waits_until": NOON}, sending=True), Doing.SENDING),  # the pause is over
        (facts({**WAITS, **ASKED}, sending=True), Doing.PAUSING),
        (facts({**ASKED, "given_up_by": "eva"}, sending=True), Doing.STOPPING),
        # The process has ended, and its rows are still there.
        (facts({**ASKED, "given_up_by": "eva"}), Doing.STOPPING),
        (facts({**ASKED, "given_up_by": "eva"}, left=0), Doing.OVER),
        (facts(ASKED), Doing.PAUSED),
        (facts(ASKED, left=0), Doing.OVER),  # the last texts were under way
        (facts({**ASKED, **GIVEN_UP}, left=0), Doing.GIVEN_UP),
        (facts({**ASKED, **GIVEN_UP}, sending=True), Doing.PAUSING),
        (facts(left=0), Doing.OVER),
        (facts(start=None), Doing.OVER),
        (facts(), Doing.LEFT),  # such as the rest after the first ten
        (facts(start={"ended_at": NOON, "ending": "25 failures in a row"}), Doing.STOPPED),
        (facts(start={"ended_at": None, "ending": None}), Doing.KILLED),
        (facts(start={"ended_at": None, "ending": None}, shared=shared(is_open=False)), Doing.KILLED),
        (facts(start={"ended_at": None, "ending": None}, shared=shared()), Doing.NO_WORKER),
        (facts(start={"ended_at": None, "ending": None}, shared=shared(), to_send=0), Doing.LEFT),
        (facts(shared=shared(because="wrong password")), Doing.STOPPED),
    ],
)
def test_the_state_of_a_run(given: RunFacts, doing: Doing) -> None:
    assert state_of(given).doing is doing


def test_a_state_says_who_and_until_when() -> None:
    waiting = state_of(facts(WAITS, sending=True))
    assert (waiting.because, waiting.until) == ("quiet hours", LATER)
    assert (state_of(facts(ASKED)).by, state_of(facts(ASKED)).at) == ("dana", NOON)
    given_up = state_of(facts({**ASKED, **GIVEN_UP}, left=0))
    assert (given_up.by, given_up.at) == ("eva", LATER)
    assert state_of(facts(shared=shared(workers=("a", "b")))).workers == 2
