"""The outbox of one of several processes that send a run: it claims under a lease, from the run's first open rows on.

It waits for a database that restarts. Where it is unknown whether a statement was carried out, the rows that it may
have claimed are given back: the sender never got them, so they have certainly not been sent.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, bindparam, func, select, true, update

from batchsend.errors import LedgerError
from batchsend.ledger.bulk import as_arrays, given_arrays, values_of
from batchsend.ledger.cluster_schema import COUNTED, handovers, leases
from batchsend.ledger.database_errors import retry
from batchsend.ledger.leases import Lease, LeaseLostError, clocks, renewal
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import add_opted_out, may_name
from batchsend.ledger.postgres import KeptConnection
from batchsend.ledger.runs import shared_state
from batchsend.ledger.schema import messages, runs
from batchsend.sending.cluster.open_runs import OpenRun
from batchsend.sending.outbox import (
    CLAIM_VALUES,
    CLAIMED_COLUMNS,
    OPEN_ROW,
    Outbox,
    SuppressionFiles,
    recorded,
)
from batchsend.sending.rows import Claimed, Outcome, is_opted_out
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.utils.timestamps import now, to_text

T = TypeVar("T")

#: How PostgreSQL plans an exchange: once, for all values, and so that it reads the index in order up to the last
#: row that is claimed. As it does not know how many rows that is, it would rather read and sort the whole run. A plan
#: that ignores one of these settings looks so expensive that PostgreSQL up to 17 would compile it each time.
_PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_sort": "off",
    "enable_bitmapscan": "off",
    "enable_seqscan": "off",
    "jit": "off",
}
#: An exchange tells whether the run is to stop, so that it need not be asked for so long.
_STATE_SECONDS = 0.5

# One statement is one exchange: it locks and renews the lease, stores outcomes and claims the next rows. Everything
# else waits for the lease first, so that it cannot deadlock with a process that marks dead claims.
_lease = leases.c.owner == bindparam("of_owner")
_locked = select(leases.c.owner).where(_lease).with_for_update().cte("locked")
_lasting = select(func.count()).select_from(_locked).scalar_subquery()
_given = given_arrays(Outcome._fields)
_storing = (
    recorded(values_of(_given))
    .where(_lasting >= 0)
    .returning(_given.c.status.label("outcome"))
    .cte("storing")
)
_counts = {
    name: leases.c[name]
    + select(func.count()).select_from(_storing).where(_storing.c.outcome == name).scalar_subquery()
    for name in COUNTED
}
_renewing = renewal(_lease).values(_counts).cte("renewing")
_following = (
    select(messages.c.row)
    .where(
        messages.c.run_id == bindparam("of_run"),
        messages.c.row > bindparam("after"),
        OPEN_ROW,
        _lasting > 0,
    )
    .order_by(messages.c.row)
    .limit(bindparam("claims"))
    # Several processes claim at the same time: each skips rows that another one has just locked.
    .with_for_update(skip_locked=True)
    # PostgreSQL may run a subquery more than once, and lock and claim more rows each time.
    .cte("following")
)
_claiming = (
    update(messages)
    # As an array, its unknown size does not tempt PostgreSQL into reading the whole table.
    .where(
        messages.c.run_id == bindparam("of_run"),
        messages.c.row == func.any(func.array(select(_following.c.row).scalar_subquery())),
    )
    .values(CLAIM_VALUES)
    .returning(*CLAIMED_COLUMNS)
    .cte("claimed")
)
_exchange = (
    select(
        _lasting,
        runs.c.stop_requested_at.is_not(None) | ~handovers.c.open,
        handovers.c.start_id,
        may_name(_claiming.c.customer_uuid, _claiming.c.phone),
        *_claiming.c,
    )
    .join(handovers, handovers.c.run_id == runs.c.id)
    .outerjoin(_claiming, true())
    .where(runs.c.id == bindparam("of_run"))
    .order_by(_claiming.c.row)
    .add_cte(_storing, _renewing)
)


class SharedOutbox(Outbox):
    """The open rows of one run, for one sending process and its lease.

    `leaving`: once it is set, a database that cannot be reached is not waited for, except to record outcomes: without
    them, texts that were sent would be `unconfirmed`.
    """

    #: Each exchange costs a commit for all processes, so that many outcomes share one.
    outcome_delay = 0.25

    def __init__(
        self,
        ledger: Ledger,
        run: OpenRun,
        lease: Lease,
        leaving: threading.Event,
        files: SuppressionFiles | None,
    ) -> None:
        super().__init__(ledger, run.run_id, run.start_id, lease.owner, files)
        self._lease = lease
        self._leaving = leaving
        self._connection = KeptConnection(ledger, **_PLANNING)
        #: Rows claimed and passed to the sender, without an outcome yet. Some may have been skipped since.
        self._held: set[int] = set()
        #: A statement failed, and may have been carried out all the same.
        self._unsure = False
        #: Whether the run was to stop, and when that was true.
        self._stopped = False, -math.inf

    @property
    def settled(self) -> bool:
        """Whether certainly no row is claimed here without an outcome."""
        return not self._held and not self._unsure

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        self._refresh_files(claims)
        claimed = self._retry(partial(self._exchange, outcomes, claims))
        self._held.difference_update(outcome.row for outcome in outcomes)
        self._held.update(message.row for message in claimed)
        return claimed

    def recheck(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        return self._retry(partial(super().recheck, claimed))

    def release(self, claimed: Sequence[Claimed], code: Code = Code.STOPPED) -> None:
        self._retry(partial(super().release, claimed, code))
        self._held.difference_update(message.row for message in claimed)

    def has_open_rows(self) -> bool:
        return self._retry(super().has_open_rows)

    def stop_requested(self) -> bool:
        """Whether this run is to stop, or was taken back to be planned again."""
        stopped_then, moment = self._stopped
        if time.monotonic() - moment < _STATE_SECONDS:
            return stopped_then
        state = self._retry(partial(shared_state, self._ledger, self._run_id, rows=False))
        return state is None or state.stop_requested or not state.open or state.start_id != self._start_id

    def _exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        if self._unsure:
            self._release_unknown()
        self._store_opt_outs(outcomes)
        claimed: list[Claimed] = []
        again = False
        while outcomes or len(claimed) < claims:
            wanted = max(0, claims - len(claimed))
            found, suspect = self._exchange_once(outcomes, wanted)
            outcomes = ()
            claimed += self._unsuppressed(found) if suspect else found
            if len(found) == wanted:
                self._after = found[-1].row if found else self._after
            elif again:
                break
            else:
                # Other processes may have given earlier rows back.
                self._after, again = 0, True
        return claimed

    def _without_suppressed(
        self, connection: Connection, claimed: Sequence[Claimed], skipped: list[Outcome], named: bool
    ) -> list[Claimed]:
        left = super()._without_suppressed(connection, claimed, skipped, named)
        if len(left) < len(claimed):
            more = {"skipped": leases.c.skipped + len(claimed) - len(left)}
            connection.execute(update(leases).where(leases.c.owner == self._owner).values(more))
        return left

    def _store_opt_outs(self, outcomes: Sequence[Outcome]) -> None:
        """Before the outcomes themselves: these people have opted out, even if the outcome is lost."""
        rows = [outcome.row for outcome in outcomes if is_opted_out(outcome)]
        if rows:
            with self._ledger.write() as connection:
                add_opted_out(connection, self._run_id, self._claimed_here(connection, rows), now())

    def _exchange_once(self, outcomes: Sequence[Outcome], claims: int) -> tuple[list[Claimed], bool]:
        """Stores outcomes and claims rows. Returns also whether their people may have opted out."""
        began = clocks()
        rows = self._connection.execute(
            _exchange,
            {
                **self._own,
                **as_arrays(Outcome._fields, outcomes),
                "of_start": self._start_id,
                "at": to_text(now()),
                "after": self._after,
                "claims": claims,
            },
        )
        lease, stopped, start_id, *_ = rows[0]
        if lease:
            self._lease.extend(began)
        elif claims > 0:
            self._lease.lost = True
            raise LeaseLostError
        self._stopped = stopped or start_id != self._start_id, began[0]
        claimed = [Claimed(*row[4:]) for row in rows if row.row is not None]
        suspect = any(row[3] for row in rows) or (
            self._files is not None
            and any(self._files.why(message.customer_uuid, message.phone) for message in claimed)
        )
        return claimed, suspect

    def close(self) -> None:
        """Closes the connection; the next exchange opens another one."""
        self._connection.close()

    def _release_unknown(self) -> None:
        unknown = (
            messages.c.run_id == self._run_id,
            messages.c.owner == self._owner,
            messages.c.status == IN_FLIGHT,
            messages.c.row.not_in(self._held),
        )
        given_back = {"status": Status.PENDING, "codes": Code.STOPPED, "sent_at": None, "owner": None}
        with self._ledger.write() as connection:
            if not self._lease.is_held_in(connection):
                raise LeaseLostError
            connection.execute(update(messages).where(*unknown).values(given_back))
        # Only what is committed counts.
        self._unsure = False
        self._after = 0

    def _retry(self, action: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return action()
            except LeaseLostError:
                raise
            except LedgerError:
                # The commit may have been made all the same.
                self._unsure = True
                raise

        return retry(attempt, lambda: self._leaving.is_set() and not self._held)
