"""Hands a run over to workers, on a ledger on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.planning.plan import Plan
from batchsend.sending.run_settings import RunSettings
from batchsend.utils.timestamps import now

if TYPE_CHECKING:
    from sqlalchemy import Connection


def run_settings(plan: Plan) -> RunSettings:
    """The settings that every process of this plan's run uses."""
    request = plan.request
    return RunSettings.of(request.campaign, request.base_url, plan.wait_rules.hours, wait=request.wait)


def seconds_to_first(plan: Plan) -> float:
    """The seconds until the hourly cap allows the first text."""
    hourly = plan.wait_rules.hourly
    return 0.0 if hourly is None else max(0.0, (hourly.first_at - now()).total_seconds())


def handover_of(ledger: Ledger, plan: Plan) -> Callable[[Connection, int, int], object] | None:
    """A function that opens the run for workers in the plan's transaction; only for PostgreSQL."""
    if ledger.file is not None or not plan.texts:
        return None

    from batchsend.sending.cluster.open_runs import hand_over

    return partial(hand_over, settings=run_settings(plan), first_in=seconds_to_first(plan))


def stop_handed_over(ledger: Ledger, run_id: int, by: str) -> bool:
    """Stops a run that workers send or could send later, for `by`. Returns whether it is such a run."""
    if ledger.file is not None:
        return False

    from batchsend.ledger.cluster_schema import handovers
    from batchsend.sending.cluster.open_runs import end_runs, open_run_ids

    if not open_run_ids(ledger, handovers.c.run_id == run_id):
        return False
    ledger.request_stop(run_id, by)
    end_runs(ledger)
    return True


def left_to_workers(ledger: Ledger, name: str, base_url: str) -> list[int]:
    """The campaign's runs that workers send or could send later."""
    if ledger.file is not None:
        return []

    from batchsend.sending.cluster.open_runs import open_runs_of

    return open_runs_of(ledger, name, base_url)


def check_detachable(ledger: Ledger) -> None:
    """Raises `LedgerError` if a run cannot be handed over to workers."""
    if ledger.file is not None:
        raise LedgerError(
            f"{ledger.where}: --detach hands a run over to workers, which need a ledger on PostgreSQL. Nothing was "
            f"sent. Omit --detach, or name a ledger: BATCHSEND_LEDGER=postgresql://user@host/database"
        )
