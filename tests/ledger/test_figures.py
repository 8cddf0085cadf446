"""The figures for monitoring, on both databases."""

from __future__ import annotations

from dataclasses import dataclass

from clusters import a_run
from ledgers import BASE_URL, identity, outbox, planned, send_all, store_plan
from sqlalchemy import insert, update

from batchsend.ledger.cluster_schema import paces
from batchsend.ledger.figures import FigureReader, PlannedStarts, RowGroup, Sender
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages, planned_starts, runs
from batchsend.sending.rows import Outcome
from batchsend.statuses import IN_FLIGHT, Status

SPRING = Sender("Spring", BASE_URL)


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def reader() -> FigureReader:
    return FigureReader(Clock())


def test_rows_are_counted_by_status_over_all_runs_and_waiting_ones_by_code(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2), planned(3), planned(4)])
    send_all(ledger, first, Outcome(3, Status.FAILED, "INVALID_CUSTOMER"))
    held = {"codes": "QUIET_HOURS"}
    second = store_plan(
        ledger, [planned(2), planned(3, **held), planned(4, **held), planned(5, status="invalid", codes="X")]
    )
    outbox(ledger, second).exchange([], 1)
    store_plan(ledger, [planned(2)], who=identity("Fall"))
    figures = reader().read(ledger)
    assert figures.rows == {
        RowGroup(SPRING, Status.ACCEPTED, ""): 2,
        RowGroup(SPRING, Status.FAILED, ""): 1,
        RowGroup(SPRING, IN_FLIGHT, ""): 1,
        RowGroup(SPRING, Status.PENDING, "QUIET_HOURS"): 2,
        RowGroup(SPRING, Status.INVALID, ""): 1,
        RowGroup(Sender("Fall", BASE_URL), Status.PENDING, "STOPPED"): 1,
    }


def test_rows_wait_since_their_run_began(ledger: Ledger) -> None:
    stored_plan = store_plan(ledger, [planned(2), planned(3, codes="DAILY_CAP")])
    with ledger.write() as connection:
        created = "2026-03-01T10:00:00.000Z"
        connection.execute(update(runs).where(runs.c.id == stored_plan.run_id).values(created_at=created))
    assert reader().read(ledger).waiting_since == {
        RowGroup(SPRING, Status.PENDING, "STOPPED"): "2026-03-01T10:00:00.000Z",
        RowGroup(SPRING, Status.PENDING, "DAILY_CAP"): "2026-03-01T10:00:00.000Z",
    }


def test_the_last_start_of_each_campaign(ledger: Ledger) -> None:
    first = store_plan(ledger, [planned(2)])
    ledger.end_start(first.start_id, 3, "stopped")
    assert reader().read(ledger).last_starts[SPRING].exit_code == 3
    store_plan(ledger, [planned(2)], run_id=first.run_id)
    last = reader().read(ledger).last_starts[SPRING]
    assert (last.ended_at, last.exit_code) == (None, None)


def test_planned_starts_are_counted_by_outcome(ledger: Ledger) -> None:
    usual = {"campaign": "Spring", "base_url": BASE_URL, "claimed_at": "x"}
    with ledger.write() as connection:
        for hour, outcome in enumerate(["started", "missed", "started"]):
            connection.execute(
                insert(planned_starts).values(
                    **usual, planned_at=f"2026-03-01T1{hour}:00:00.000Z", outcome=outcome
                )
            )
    assert reader().read(ledger).planned == {
        (SPRING, "started"): PlannedStarts(2, "2026-03-01T12:00:00.000Z"),
        (SPRING, "missed"): PlannedStarts(1, "2026-03-01T11:00:00.000Z"),
    }


def test_rate_and_pause_of_open_runs(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    run = a_run(ledger, rate=8.0)
    with ledger.write() as connection:
        connection.execute(update(paces).values(rate=2.0))
    assert reader().read(ledger).paces == {SPRING: (8.0, 2.0, 0.0)}
    with ledger.write() as connection:
        connection.execute(
            update(paces).where(paces.c.run_id == run.run_id).values(paused_until=paces.c.next_slot + 3600)
        )
    assert 3500 < reader().read(ledger).paces[SPRING].pause <= 3600
    ledger.close()


def test_finished_runs_are_counted_less_often_than_the_latest_one(ledger: Ledger) -> None:
    clock = Clock()
    figures = FigureReader(clock)
    for _ in range(2):
        store_plan(ledger, [planned(2)])

    def failed() -> int:
        return figures.read(ledger).rows.get(RowGroup(SPRING, Status.FAILED, ""), 0)

    assert failed() == 0
    with ledger.write() as connection:
        connection.execute(update(messages).values(status="failed"))
    assert failed() == 1
    clock.seconds = 59
    assert failed() == 1
    clock.seconds = 61
    assert failed() == 2
