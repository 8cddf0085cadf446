"""What a run does, or whom it waits for: one rule for its page and for the lists of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from batchsend.ledger.ledger import Ledger, RunRecord
from batchsend.ledger.runs import SharedState, shared_state, starts_of
from batchsend.utils.timestamps import now, to_text


class Doing(StrEnum):
    """What a run does, with the word for its badge."""

    SENDING = "Sending now"
    WAITING = "Waiting, continues by itself"
    NO_WORKER = "Waiting for a worker"
    PAUSING = "Pausing"
    STOPPING = "Stopping for good"
    PAUSED = "Paused"
    STOPPED = "Stopped"
    KILLED = "Interrupted"
    LEFT = "Not all sent yet"
    GIVEN_UP = "Stopped for good"
    OVER = "Done"


#: A process sends the run, or a worker can take it at any time.
UNDER_WAY = frozenset({Doing.SENDING, Doing.WAITING, Doing.NO_WORKER, Doing.PAUSING, Doing.STOPPING})
#: The look of a badge.
_LOOKS: Mapping[Doing, str] = {
    Doing.SENDING: "busy",
    Doing.STOPPED: "attention",
    Doing.KILLED: "attention",
    Doing.GIVEN_UP: "over",
    Doing.OVER: "done",
}


@dataclass(frozen=True)
class RunState:
    """What a run does. `because`, `until` (UTC text): what it waits for, or why it stopped; `by`, `at`: who, when.

    `workers`: how many workers could send it.
    """

    doing: Doing
    because: str = ""
    until: str | None = None
    by: str | None = None
    at: str | None = None
    workers: int = 0

    @property
    def under_way(self) -> bool:
        return self.doing in UNDER_WAY

    @property
    def look(self) -> str:
        return _LOOKS.get(self.doing, "wait")


class RunFacts(NamedTuple):
    """What the state of a run follows from.

    `start`: its last start; `left`: how many rows are not sent; `to_send`: how many of them could be sent now;
    `shared`: what workers do; `moment`: the time, as UTC text.
    """

    run: RunRecord
    start: Mapping[str, Any] | None
    sending: bool
    left: int
    to_send: int
    shared: SharedState | None
    moment: str


def state_of(facts: RunFacts) -> RunState:
    """What a run does."""
    run = facts.run
    if run.is_to_be_given_up and facts.left:
        return RunState(Doing.STOPPING)
    if facts.sending:
        return _while_sending(facts)
    if run.given_up_at is not None:
        return RunState(Doing.GIVEN_UP, by=run.given_up_by, at=run.given_up_at)
    if facts.left == 0 or facts.start is None:
        return RunState(Doing.OVER)
    if run.stop_requested_at is not None:
        return RunState(Doing.PAUSED, by=run.stop_requested_by, at=run.stop_requested_at)
    return _with_rows_left(facts, facts.start)


def _while_sending(facts: RunFacts) -> RunState:
    run = facts.run
    if run.stop_requested_at is not None:
        return RunState(Doing.PAUSING, by=run.stop_requested_by, at=run.stop_requested_at)
    if run.waits_until is not None and run.waits_until > facts.moment:
        return RunState(Doing.WAITING, run.waits_because or "", run.waits_until)
    return RunState(Doing.SENDING)


def _with_rows_left(facts: RunFacts, start: Mapping[str, Any]) -> RunState:
    shared = facts.shared
    if shared is not None and shared.stopped_because is not None:
        return RunState(Doing.STOPPED, shared.stopped_because)
    if shared is not None and shared.open and facts.to_send:
        return RunState(Doing.NO_WORKER, workers=len(shared.workers))
    if start["ended_at"] is None and (shared is None or not shared.open):
        return RunState(Doing.KILLED)
    if start["ending"] not in (None, "done"):
        return RunState(Doing.STOPPED, start["ending"], at=start["ended_at"])
    return RunState(Doing.LEFT)


def read_state(ledger: Ledger, run: RunRecord, left: int, to_send: int, *, sending: bool) -> RunState:
    """Reads what a run does. The arguments are as in `RunFacts`. Raises `BatchsendError`."""
    starts = starts_of(ledger, run.id)
    shared = shared_state(ledger, run.id, rows=False)
    start = starts[-1] if starts else None
    return state_of(RunFacts(run, start, sending, left, to_send, shared, to_text(now())))
