"""Replays answers and updates of one run in several orders, with repeats: the ledger must end the same.

`make replay` runs it with `--updates 100000`; `test_deliveries.py` runs a short
one on both kinds of ledger.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from ledgers import outbox, planned, store_plan
from sqlalchemy import Column, select

from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.ledger.ledger import Ledger, StoredPlan
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages, updates
from batchsend.sandbox.updates import Text, TextOutcome, updates_of
from batchsend.sending.rows import Claimed, Outcome
from batchsend.statuses import Status

#: The server's answers; a `LOST` one never arrives.
ACCEPTED, FAILED, UNCONFIRMED, LOST = "accepted", "failed", "unconfirmed", "lost"
ANSWERS = (ACCEPTED, ACCEPTED, ACCEPTED, UNCONFIRMED, LOST, FAILED)
OUTCOMES = (
    TextOutcome.DELIVERED,
    TextOutcome.DELIVERED,
    TextOutcome.UNDELIVERED,
    TextOutcome.NOT_SENT,
    TextOutcome.NO_UPDATE,
)
#: A row and its answer, or an update.
Step = tuple[int, str] | bytes


@dataclass(frozen=True)
class Story:
    """The unordered events of a run. `ends`: row -> its final status."""

    rows: int
    answers: dict[int, str]
    updates: list[bytes]
    ends: dict[int, str]


def tell(ledger_id: str, run_id: int, rows: int, most: int, seed: int) -> Story:
    """A story of `rows` rows with `most` updates, repeats included."""
    chance = random.Random(seed)
    answers, bodies, ends = {}, [], {}
    for row in range(2, rows + 2):
        answer, outcome = chance.choice(ANSWERS), chance.choice(OUTCOMES)
        if answer == FAILED:
            outcome = TextOutcome.NO_UPDATE
        answers[row] = answer
        metadata = {
            "batchsendLedger": ledger_id,
            "batchsendRun": str(run_id),
            "batchsendRow": str(row),
            "batchsendSend": "1",
        }
        text = Text(f"message-{row}", f"customer-{row}", metadata)
        bodies += [post.body.encode() for post in updates_of(text, outcome, chance.random())]
        ends[row] = {
            TextOutcome.DELIVERED: Status.DELIVERED,
            TextOutcome.UNDELIVERED: Status.UNDELIVERED,
            TextOutcome.NOT_SENT: Status.UNDELIVERED,
        }.get(outcome, "in_flight" if answer == LOST else answer)
    # From other ledgers, about other senders' messages, and unreadable ones.
    bodies += [
        body.replace(ledger_id.encode(), b"another") for body in bodies[:50] if ledger_id.encode() in body
    ]
    bodies += [
        json.dumps({"messageDTO": {"uuid": f"other-{n}", "deliveryStatus": "SENT"}}).encode()
        for n in range(50)
    ]
    bodies += [b"", b"{", b"\xff"]
    bodies += chance.choices(bodies, k=max(0, most - len(bodies)))
    return Story(rows, answers, bodies, ends)


def play(ledger: Ledger, story: Story, run: tuple[int, int], seed: int) -> None:
    """Claims all rows of a run and plays the story's events in a random order."""
    chance = random.Random(seed)
    run_id, start_id = run
    sender = outbox(ledger, StoredPlan(run_id, start_id, {}))
    claimed = {one.row: one for one in _claim_all(sender)}
    assert len(claimed) == story.rows
    steps: list[Step] = [*story.answers.items(), *story.updates]
    chance.shuffle(steps)
    deliveries = Deliveries(ledger)
    for part in _parts(steps, chance):
        outcomes = [_outcome(claimed[row], answer) for row, answer in _answers(part) if answer != LOST]
        received = [
            one
            for step in part
            if isinstance(step, bytes)
            for one in ReceivedUpdate.all_of(step, "2026-03-02T10:00:01.000Z")
        ]
        if chance.random() < 0.5:
            sender.exchange(outcomes, 0)
            deliveries.record(received)
        else:
            deliveries.record(received)
            sender.exchange(outcomes, 0)
    while deliveries.match_again(""):
        continue


def _compared_columns() -> list[Column[Any]]:
    return [column for column in messages.columns if column.name not in ("owner", "sent_at", "start_id")]


def end(ledger: Ledger, run_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """The final content of the tables, for comparison; without the claims of rows."""
    columns = _compared_columns()
    with ledger.read() as connection:
        return {
            "messages": [
                tuple(row)
                for row in connection.execute(
                    select(*columns).where(messages.c.run_id == run_id).order_by(messages.c.row)
                )
            ],
            "updates": [tuple(row) for row in connection.execute(select(updates).order_by(updates.c.digest))],
        }


def begin(ledger: Ledger, rows: int) -> tuple[int, int]:
    """Stores a run with this many waiting rows. Returns the numbers of run and start."""
    stored_plan = store_plan(ledger, [planned(row) for row in range(2, rows + 2)])
    return stored_plan.run_id, stored_plan.start_id


def complaints(ended: dict[str, list[tuple[Any, ...]]], story: Story) -> list[str]:
    """The rows with another final status than the story gives them."""
    names = [column.name for column in _compared_columns()]
    found = []
    for row in ended["messages"]:
        values = dict(zip(names, row, strict=True))
        if values["status"] != story.ends[values["row"]]:
            found.append(f"row {values['row']}: {values['status']}, not {story.ends[values['row']]}")
    return found


def _claim_all(sender: Any) -> Iterator[Claimed]:
    while claimed := sender.exchange([], 1000):
        yield from claimed


def _answers(part: Sequence[Step]) -> Iterator[tuple[int, str]]:
    return (step for step in part if isinstance(step, tuple))


def _outcome(claimed: Claimed, answer: str) -> Outcome:
    return Outcome(
        row=claimed.row,
        status=Status(answer),
        codes={FAILED: "CUSTOMER_LOCKED", UNCONFIRMED: "TIMEOUT"}.get(answer, ""),
        message_uuid=f"message-{claimed.row}" if answer == ACCEPTED else None,
        api_status="SUCCESS" if answer == ACCEPTED else None,
        attempts=1,
        sent_at="2026-03-02T10:00:00.000Z",
    )


def _parts(steps: Sequence[Step], chance: random.Random) -> Iterator[Sequence[Step]]:
    start = 0
    while start < len(steps):
        size = chance.randint(1, 1000)
        yield steps[start : start + size]
        start += size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--orders", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    first = None
    failed = False
    for order in range(given.orders):
        with tempfile.TemporaryDirectory(prefix="replay-") as folder:
            ledger = open_ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
            with ledger.write() as connection:
                connection.exec_driver_sql("UPDATE meta SET value = 'L' WHERE name = 'ledger_id'")
            run = begin(ledger, given.rows)
            story = tell("L", run[0], given.rows, given.updates, given.seed)
            began = time.monotonic()
            play(ledger, story, run, order)
            seconds = time.monotonic() - began
            ended = end(ledger, run[0])
            ledger.close()
        wrong = complaints(ended, story)
        same = first is None or ended == first
        first = first or ended
        failed = failed or bool(wrong) or not same
        print(
            f"order {order}: {len(story.updates):,} updates and {len(story.answers):,} answers in {seconds:.1f} s; "
            f"{dict(Counter(story.ends.values()))}; {len(wrong)} rows wrong; "
            f"{'the same ledger' if same else 'ANOTHER LEDGER'}",
            flush=True,
        )
        for complaint in wrong[:5]:
            print(f"  {complaint}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
