"""An outbox for one of several processes that send a run together: claims under a lease, and within its own chunks.

A database that restarts is waited for. Where a commit's fate is unknown, what it may have claimed is given back: it
was never handed to anybody, so it has certainly not been sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import handovers, messages, runs
from batchsend.sending.cluster.leases import Lease, LeaseLostError, renew_in
from batchsend.sending.outbox import LAST_ROW, Claimed, Outbox, Outcome
from batchsend.statuses import IN_FLIGHT, Code, Status

T = TypeVar("T")

#: A database that cannot be reached is waited for so long.
_PATIENCE_SECONDS = 60.0
_AGAIN_SECONDS = 0.25


@dataclass(eq=False)
class RowRange:
    """Rows from `first` to `last`. `exhausted`: nothing of it was left to claim when it was last looked at."""

    first: int = 0
    last: int = LAST_ROW
    after: int = -1
    exhausted: bool = False

    def __post_init__(self) -> None:
        self.after = self.first - 1


class SharedOutbox(Outbox):
    """The messages of one run, or of some chunks of it, for one sending process and its lease.

    `leaving`: once it is set, nobody waits for a database that cannot be reached. `min_commit_interval`:
    seconds between two commits at least, so that several outcomes share one. `on_done` hears of each chunk that
    nothing is left of here; it is called from whichever thread the outbox is used in.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: int,
        start_id: int,
        lease: Lease,
        leaving: threading.Event,
        min_commit_interval: float,
        on_done: Callable[[RowRange], None] = lambda _chunk: None,
    ) -> None:
        super().__init__(ledger, run_id, start_id, lease.owner)
        self._lease = lease
        self._leaving = leaving
        self._min_commit_interval = min_commit_interval
        self._committed_at = 0.0
        self._on_done = on_done
        self._chunks: list[RowRange] = []
        self._lock = threading.Lock()
        #: Claimed and handed out, without an outcome yet.
        self._held: set[int] = set()
        #: A commit failed, and may have been made all the same.
        self._unsure = False

    def add(self, chunk: RowRange) -> None:
        """Lets the outbox claim the rows of this chunk too. May be called from any thread."""
        with self._lock:
            self._chunks.append(chunk)

    @property
    def settled(self) -> bool:
        """Is certainly nothing claimed here that has no outcome?"""
        return not self._held and not self._unsure

    def rewind(self) -> None:
        """Looks at all rows again: some may have been given back since."""
        with self._lock:
            for chunk in self._chunks:
                chunk.after, chunk.exhausted = chunk.first - 1, False

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        if (wait := self._committed_at + self._min_commit_interval - time.monotonic()) > 0:
            time.sleep(wait)
        self._committed_at = time.monotonic()
        claimed = self._retry(lambda: self._exchange(outcomes, claims))
        self._held.difference_update(outcome.row for outcome in outcomes)
        self._tell_done()
        return claimed

    def release(self, claimed: Sequence[Claimed], code: Code = Code.STOPPED) -> None:
        release = super().release
        self._retry(lambda: release(claimed, code))
        self._held.difference_update(message.row for message in claimed)
        self._tell_done()

    def wake(self, clocks: Sequence[str]) -> None:
        wake = super().wake
        self._retry(lambda: wake(clocks))
        self.rewind()

    def sleeping(self) -> list[str]:
        return self._retry(super().sleeping)

    def stop_requested(self) -> bool:
        """Has somebody asked this run to stop, or taken it back to plan it anew?"""
        query = (
            select(runs.c.stop_requested_at, handovers.c.open, handovers.c.start_id)
            .join(handovers, handovers.c.run_id == runs.c.id)
            .where(runs.c.id == self._run_id)
        )

        def ask() -> bool:
            with self._ledger.read() as connection:
                stopped, is_open, start_id = connection.execute(query).one()
            return stopped is not None or not is_open or start_id != self._start_id

        return self._retry(ask)

    def _exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        moved: list[tuple[RowRange, int, bool]] = []
        with self._lock:
            chunks = [chunk for chunk in self._chunks if not chunk.exhausted]
        with self._ledger.write() as connection:
            if claims > 0 or self._unsure:
                renew_in(connection, self._lease)
            self._store(connection, outcomes)
            if self._unsure:
                self._give_back_unknown(connection)
            for chunk in chunks:
                wanted = claims - len(claimed)
                if wanted <= 0:
                    break
                found = self._claim(connection, chunk.after, chunk.last, wanted)
                moved.append((chunk, found[-1].row if found else chunk.after, len(found) < wanted))
                claimed += found
        # Only what is committed counts.
        self._unsure = False
        with self._lock:
            for chunk, after, exhausted in moved:
                chunk.after, chunk.exhausted = after, exhausted
        self._held.update(message.row for message in claimed)
        return claimed

    def _give_back_unknown(self, connection: Connection) -> None:
        unknown = (
            messages.c.run_id == self._run_id,
            messages.c.owner == self._owner,
            messages.c.status == IN_FLIGHT,
            messages.c.row.not_in(self._held),
        )
        given_back = {"status": Status.PENDING, "codes": Code.STOPPED, "sent_at": None, "owner": None}
        if connection.execute(update(messages).where(*unknown).values(given_back)).rowcount:
            self.rewind()

    def _tell_done(self) -> None:
        with self._lock:
            done = [
                chunk
                for chunk in self._chunks
                if chunk.exhausted and not any(chunk.first <= row <= chunk.last for row in self._held)
            ]
        for chunk in done:
            self._on_done(chunk)

    def remove(self, chunk: RowRange) -> None:
        """The outbox claims nothing of this chunk any more."""
        with self._lock:
            self._chunks.remove(chunk)

    def _retry(self, action: Callable[[], T]) -> T:
        """Tries again while the database cannot be reached, for a minute at most."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return action()
            except LeaseLostError:
                raise
            except LedgerError as error:
                if not may_pass(error) or self._leaving.is_set() or time.monotonic() > deadline:
                    raise
                self._unsure = True
                self._leaving.wait(_AGAIN_SECONDS)


def may_pass(error: LedgerError) -> bool:
    """Is this a fault of the way to the database, or of its being restarted, rather than of what was asked?"""
    cause = error.__cause__
    return isinstance(cause, (OperationalError, InterfaceError)) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )
