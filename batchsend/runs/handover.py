"""Hands a run over to workers: stores its settings and queues its jobs on a ledger on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.planning.plan import Plan
from batchsend.sending.cluster.extras import CLUSTER_MISSING, has_cluster
from batchsend.sending.run_settings import RunSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection


def run_settings(plan: Plan) -> RunSettings:
    """The settings that every process of this plan's run uses."""
    request = plan.request
    return RunSettings.of(request.campaign, request.base_url, plan.wait_rules.hours, wait=request.wait)


def handover_of(ledger: Ledger, plan: Plan) -> Callable[[Connection, int, int], object] | None:
    """A function that stores the run's settings and jobs in the plan's transaction; only for PostgreSQL."""
    if ledger.file is not None or not plan.texts:
        return None
    settings = run_settings(plan)

    from batchsend.sending.cluster.open_runs import hand_over

    queued = False
    # Without the right to create tables, this process sends alone.
    with suppress(LedgerError):
        queued = has_queue(ledger)

    def store(connection: Connection, run_id: int, start_id: int) -> None:
        hand_over(connection, run_id, start_id, settings)
        if queued:
            from batchsend.sending.cluster.queue import defer_chunks

            defer_chunks(connection, run_id, start_id, settings.base_url)

    return store


def has_queue(ledger: Ledger) -> bool:
    """Whether workers can get jobs from a ledger on PostgreSQL. Creates the queue if there is none."""
    if not has_cluster():
        return False

    from batchsend.sending.cluster.queue import queue_is_ready

    return queue_is_ready(ledger)


def stop_handed_over(ledger: Ledger, run_id: int) -> bool:
    """Stops a run that workers send or could send later. Returns whether it is such a run."""
    if ledger.file is not None:
        return False

    from batchsend.sending.cluster.open_runs import end_stopped_runs, open_run

    if open_run(ledger, run_id) is None:
        return False
    ledger.request_stop(run_id)
    end_stopped_runs(ledger)
    return True


def forget_jobs(ledger: Ledger, run_id: int) -> None:
    """Deletes the jobs of an ended run that no worker has started."""
    if ledger.file is None and has_cluster():
        from batchsend.sending.cluster.queue import forget_chunks

        forget_chunks(ledger, run_id)


def check_detachable(ledger: Ledger) -> None:
    """Raises `LedgerError` if a run cannot be handed over to workers."""
    if ledger.file is not None:
        raise LedgerError(
            f"{ledger.where}: --detach hands a run over to workers, which need a ledger on PostgreSQL. Nothing was "
            f"sent. Omit --detach, or name a ledger: BATCHSEND_LEDGER=postgresql://user@host/database"
        )
    if not has_cluster():
        raise LedgerError(f"--detach hands a run over to workers. {CLUSTER_MISSING} Nothing was sent.")
    if not has_queue(ledger):
        raise LedgerError(no_queue(ledger.where))


def no_queue(where: str) -> str:
    """The error for queue tables that are older than this program, or that another one created."""
    return (
        f"{where}: the queue for workers is older than this program, or was created by another one. Nothing was "
        f"sent. Run `batchsend ledger upgrade`, and then this again."
    )
