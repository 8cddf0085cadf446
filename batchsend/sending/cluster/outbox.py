"""The outbox of one of several processes that send a run: it claims under a lease, and only within its chunks.

It waits for a database that restarts. Where it is unknown whether a commit was made, the rows that it may have
claimed are given back: the sender never got them, so they have certainly not been sent.
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
from batchsend.sending.cluster.open_runs import OpenRun
from batchsend.sending.outbox import LAST_ROW, Claimed, Outbox, Outcome, SuppressionFiles
from batchsend.statuses import IN_FLIGHT, Code, Status

T = TypeVar("T")

#: A database that cannot be reached is retried for this long ...
_RETRY_SECONDS = 60.0
#: ... with this pause between attempts.
_RETRY_INTERVAL = 0.25


@dataclass(eq=False)
class RowRange:
    """Rows from `first` to `last`. `exhausted`: the last claim found fewer rows than it wanted."""

    first: int = 0
    last: int = LAST_ROW
    after: int = -1
    exhausted: bool = False

    def __post_init__(self) -> None:
        self.rewind()

    def rewind(self) -> None:
        """Begins again with the first row."""
        self.after, self.exhausted = self.first - 1, False


class SharedOutbox(Outbox):
    """The open rows of one run, or of some chunks of it, for one sending process and its lease.

    `leaving`: once it is set, a database that cannot be reached is not waited for. Commits are at least the run's
    `min_commit_interval` apart, so that several outcomes share one. `on_done` gets each chunk that has nothing left
    to claim and no claim without an outcome, in the thread that uses the outbox.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: OpenRun,
        lease: Lease,
        leaving: threading.Event,
        on_done: Callable[[RowRange], None] = lambda _chunk: None,
        files: SuppressionFiles | None = None,
    ) -> None:
        super().__init__(ledger, run.run_id, run.start_id, lease.owner, files)
        self._lease = lease
        self._leaving = leaving
        self._min_commit_interval = run.settings.min_commit_interval
        self._committed_at = 0.0
        self._on_done = on_done
        self._chunks: list[RowRange] = []
        self._lock = threading.Lock()
        #: Rows claimed and passed to the sender, without an outcome yet.
        self._held: set[int] = set()
        #: A commit failed, and may have been made all the same.
        self._unsure = False

    def add(self, chunk: RowRange) -> None:
        """Lets the outbox claim the rows of this chunk too. May be called from any thread."""
        with self._lock:
            chunk.rewind()
            self._chunks.append(chunk)

    @property
    def settled(self) -> bool:
        """Whether certainly no row is claimed here without an outcome."""
        return not self._held and not self._unsure

    def rewind(self) -> None:
        """Begins again with the first rows: some may have been given back since."""
        with self._lock:
            for chunk in self._chunks:
                chunk.rewind()

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        if (wait := self._committed_at + self._min_commit_interval - time.monotonic()) > 0:
            time.sleep(wait)
        self._committed_at = time.monotonic()
        self._refresh_files(claims)
        claimed = self._retry(lambda: self._exchange(outcomes, claims))
        self._held.difference_update(outcome.row for outcome in outcomes)
        self._report_done()
        return claimed

    def recheck(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        recheck = super().recheck
        left = self._retry(lambda: recheck(claimed))
        self._held.difference_update({message.row for message in claimed} - {message.row for message in left})
        self._report_done()
        return left

    def release(self, claimed: Sequence[Claimed], code: Code = Code.STOPPED) -> None:
        release = super().release
        self._retry(lambda: release(claimed, code))
        self._held.difference_update(message.row for message in claimed)
        self._report_done()

    def end_quiet_hours(self, clocks: Sequence[str]) -> None:
        end_quiet_hours = super().end_quiet_hours
        self._retry(lambda: end_quiet_hours(clocks))
        self.rewind()

    def quiet_clocks(self) -> list[str]:
        return self._retry(super().quiet_clocks)

    def stop_requested(self) -> bool:
        """Whether this run is to stop, or was taken back to be planned again."""
        query = (
            select(runs.c.stop_requested_at, handovers.c.open, handovers.c.start_id)
            .join(handovers, handovers.c.run_id == runs.c.id)
            .where(runs.c.id == self._run_id)
        )

        def read() -> bool:
            with self._ledger.read() as connection:
                stopped, is_open, start_id = connection.execute(query).one()
            return stopped is not None or not is_open or start_id != self._start_id

        return self._retry(read)

    def _exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        skipped: list[Outcome] = []
        moved: list[tuple[RowRange, int, bool]] = []
        with self._lock:
            chunks = [chunk for chunk in self._chunks if not chunk.exhausted]
        with self._ledger.write() as connection:
            if claims > 0 or self._unsure:
                renew_in(connection, self._lease)
            self._store(connection, outcomes)
            if self._unsure:
                self._release_unknown(connection)
            for chunk in chunks:
                wanted = claims - len(claimed)
                if wanted <= 0:
                    break
                found = self._claim(connection, chunk.after, chunk.last, wanted, skipped)
                moved.append((chunk, found[-1].row if found else chunk.after, len(found) < wanted))
                claimed += found
        # Only what is committed counts.
        self._unsure = False
        self._skipped += skipped
        with self._lock:
            for chunk, after, exhausted in moved:
                chunk.after, chunk.exhausted = after, exhausted
        self._held.update(message.row for message in claimed)
        return claimed

    def _release_unknown(self, connection: Connection) -> None:
        unknown = (
            messages.c.run_id == self._run_id,
            messages.c.owner == self._owner,
            messages.c.status == IN_FLIGHT,
            messages.c.row.not_in(self._held),
        )
        given_back = {"status": Status.PENDING, "codes": Code.STOPPED, "sent_at": None, "owner": None}
        if connection.execute(update(messages).where(*unknown).values(given_back)).rowcount:
            self.rewind()

    def _report_done(self) -> None:
        with self._lock:
            done = [
                chunk
                for chunk in self._chunks
                if chunk.exhausted and not any(chunk.first <= row <= chunk.last for row in self._held)
            ]
        for chunk in done:
            self._on_done(chunk)

    def remove(self, chunk: RowRange) -> None:
        """Claims no further rows of this chunk."""
        with self._lock:
            self._chunks.remove(chunk)

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

        return retry(attempt, self._leaving.is_set)


def retry(action: Callable[[], T], give_up: Callable[[], bool]) -> T:
    """Calls `action` again while the database cannot be reached, for a minute at most, unless it is to give up."""
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return action()
        except LeaseLostError:
            raise
        except LedgerError as error:
            if not _is_outage(error) or give_up() or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_INTERVAL)


def _is_outage(error: LedgerError) -> bool:
    """Whether the database could not be reached or was restarted, rather than refused a statement."""
    cause = error.__cause__
    return isinstance(cause, (OperationalError, InterfaceError)) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )
