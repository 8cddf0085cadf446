"""How a run that workers carried on comes to its end, and what waits for its time comes back."""

from __future__ import annotations

from sqlalchemy import exists, func, select, update

from batchsend.exits import exit_of_rows
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.runs import code_counts
from batchsend.ledger.schema import handovers, leases, messages
from batchsend.sending.cluster.leases import ALIVE
from batchsend.sending.cluster.open_runs import OpenRun
from batchsend.statuses import Code, Status
from batchsend.utils.timestamps import now


def conclude(ledger: Ledger, run: OpenRun) -> bool:
    """Ends a run of which nothing is left to send, unless somebody waits for its end. Returns whether it did.

    Rows that wait for quiet hours keep a run open that is to wait for them.
    """
    attended = exists().where(leases.c.run_id == run.run_id, leases.c.worker.is_(False), ALIVE)
    asleep = exists().where(
        messages.c.run_id == run.run_id,
        messages.c.status == Status.PENDING,
        messages.c.codes == Code.QUIET_HOURS,
    )
    with ledger.write() as connection:
        if connection.scalar(select(attended)) or (run.settings.wait and connection.scalar(select(asleep))):
            return False
        closed = update(handovers).where(
            handovers.c.run_id == run.run_id, handovers.c.start_id == run.start_id, handovers.c.open
        )
        if connection.execute(closed.values(open=False)).rowcount != 1:
            return False
    rows = {(status, codes): count for status, codes, count in code_counts(ledger, run.run_id)}
    ledger.end_start(run.start_id, exit_of_rows(rows), "done")
    return True


def wake_sleepers(ledger: Ledger, run: OpenRun) -> None:
    """Lets those be sent again whose quiet hours have ended."""
    hours = run.settings.hours
    if hours is None:
        return
    asleep = (
        messages.c.run_id == run.run_id,
        messages.c.status == Status.PENDING,
        messages.c.codes == Code.QUIET_HOURS,
    )
    with ledger.write() as connection:
        clocks = [
            clock or "" for clock in connection.scalars(select(messages.c.clock).where(*asleep).distinct())
        ]
        awake = [clock for clock in clocks if hours.allows(now(), clock)]
        if awake:
            woken = func.coalesce(messages.c.clock, "").in_(awake)
            connection.execute(update(messages).where(*asleep, woken).values(codes=Code.STOPPED))
