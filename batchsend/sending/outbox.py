"""The outbox: the statements that move a row of the ledger from state to state while it is sent.

    pending ──claim──▶ in_flight ──record──▶ accepted | failed | unconfirmed
       ▲                   │
       └─────release───────┘   (certainly not sent)

A claim is committed before its request leaves. An outcome is only written over this process's own claim, and never
over a delivery update (`ledger/deliveries.py`), which may come before the answer. A customer who turns out to have
opted out is added to the ledger's opt-outs in the same commit. Each claim looks for people who have opted out since
the plan was made, and their rows become `skipped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

import orjson
from sqlalchemy import ColumnElement, Connection, Update, and_, bindparam, case, exists, func, select, update

from batchsend.errors import LedgerError
from batchsend.ledger.bulk import OF_RUN, Given, RowUpdate
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import RunOptOuts, add_opted_out, may_name
from batchsend.ledger.plan_import import restore_opened
from batchsend.ledger.schema import messages, runs
from batchsend.sending.rows import Claimed, Outcome, is_opted_out
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.utils.timestamps import now, to_text

#: The columns of a `Claimed`, and what a claim writes.
CLAIMED_COLUMNS = [messages.c[name] for name in Claimed._fields]

_STORED = tuple(name for name in Outcome._fields if name != "row")


def _own_claim(given: Given) -> tuple[ColumnElement[bool], ...]:
    return (
        messages.c.run_id == given(OF_RUN),
        messages.c.row == given("row"),
        messages.c.owner == bindparam("of_owner"),
    )


def recorded(given: Given) -> Update:
    """The statement that stores outcomes over this process's own claims."""
    # A delivery update may come before the answer; it is kept.
    unless_updated = {
        name: case((messages.c.delivery_status.is_(None), given(name)), else_=messages.c[name])
        for name in ("status", "codes", "descriptions")
    }
    return (
        update(messages)
        .where(*_own_claim(given))
        .values(
            {name: given(name) for name in _STORED}
            | unless_updated
            | {"message_uuid": func.coalesce(given("message_uuid"), messages.c.message_uuid)}
            | {"owner": None}
        )
    )


def _released(given: Given) -> Update:
    return (
        update(messages)
        .where(*_own_claim(given), messages.c.status == IN_FLIGHT)
        .values(
            status=Status.PENDING,
            codes=bindparam("code"),
            attempts=given("attempts"),
            sent_at=None,
            owner=None,
        )
    )


def _skipped(given: Given) -> Update:
    return (
        update(messages)
        .where(*_own_claim(given), messages.c.status == IN_FLIGHT)
        .values(
            status=Status.SKIPPED,
            codes=Code.SUPPRESSED,
            descriptions=given("descriptions"),
            resend=None,
            sent_at=None,
            owner=None,
        )
    )


_record = RowUpdate(Outcome._fields, recorded)
_release = RowUpdate(("row", "attempts"), _released)
_skip = RowUpdate(("row", "descriptions"), _skipped)


#: Conditions on `messages`: rows that can be claimed, and rows that wait for quiet hours to end.
OPEN_ROW = and_(messages.c.status == Status.PENDING, messages.c.codes == Code.STOPPED)
QUIET_ROW = and_(messages.c.status == Status.PENDING, messages.c.codes == Code.QUIET_HOURS)

# Rows are claimed in order, so the search never passes over rows that are done.
_open = (
    messages.c.run_id == bindparam("of_run"),
    messages.c.row > bindparam("after"),
    messages.c.row <= bindparam("last"),
    OPEN_ROW,
)
CLAIM_VALUES = {
    "status": IN_FLIGHT,
    "owner": bindparam("of_owner"),
    "start_id": bindparam("of_start"),
    "sent_at": bindparam("at"),
}
_following = select(*CLAIMED_COLUMNS).where(*_open).order_by(messages.c.row).limit(bindparam("claims"))

# SQLite has one writer, so the rows that it finds are the rows that it claims. It takes one step for each row that it
# returns, which is slow (see `ledger/bulk.py`), so it returns all of them as one JSON array. With it comes whether
# their people may have opted out, which saves a query nearly always.
_found = _following.subquery()
_find = select(
    func.json_group_array(func.json_array(*_found.c)),
    func.max(may_name(_found.c.customer_uuid, _found.c.phone)),
)
_claim_found = update(messages).where(*_open).values(CLAIM_VALUES)
#: No list has a row beyond this one.
LAST_ROW = 2**31 - 1


class SuppressionFiles(Protocol):
    """The suppression files of a run: `planning.suppression.WatchedSuppression`.

    `refresh` reads the files again if they have changed, and raises `StoppedError` if that is not possible. `why`
    says why a customer with this phone must not be texted; `None` if there is no reason.
    """

    def refresh(self) -> None: ...
    def why(self, customer_uuid: str, phone: str | None) -> str | None: ...


class MessageStore(Protocol):
    """Where claims come from and outcomes go: `Outbox`.

    `outcome_delay`: how many seconds an outcome may wait for others, so that they share one commit.
    """

    outcome_delay: float

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]: ...
    def recheck(self, claimed: Sequence[Claimed]) -> list[Claimed]: ...
    def take_skipped(self) -> list[Outcome]: ...
    def has_open_rows(self) -> bool: ...
    def release(self, claimed: Sequence[Claimed], code: Code = ...) -> None: ...
    def note_pause(self, seconds: float, because: str) -> None: ...

    def stop_requested(self) -> bool: ...


class Outbox:
    """The open rows of one run, for one sending process. Claims rows of a ledger in a file.

    `owner` distinguishes this process's claims from all others. Every method is one transaction and may block on the
    disk: call it from a thread. Raises `LedgerError`, or `StoppedError` if a suppression file cannot be read; then
    nothing of the call was stored.
    """

    #: A commit to a disk takes a millisecond or two.
    outcome_delay = 0.005

    def __init__(
        self,
        ledger: Ledger,
        run_id: int,
        start_id: int,
        owner: str,
        files: SuppressionFiles | None = None,
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._start_id = start_id
        self._owner = owner
        #: Parameters of statements about this process's claims.
        self._own = {"of_run": run_id, "of_owner": owner}
        self._after = 0
        self._files = files
        self._opt_outs: RunOptOuts | None = None
        #: Rows that were skipped and not reported yet.
        self._skipped: list[Outcome] = []

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        """Stores outcomes and claims up to `claims` more rows, in the list's order, in one commit."""
        self._refresh_files(claims)
        skipped: list[Outcome] = []
        with self._ledger.write() as connection:
            self._store(connection, outcomes)
            if claims <= 0:
                return []
            claimed = self._claim(connection, self._after, LAST_ROW, claims, skipped)
        self._skipped += skipped
        if claimed:
            self._after = claimed[-1].row
        return claimed

    def recheck(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        """Skips the rows whose people have opted out since they were claimed. Returns the others."""
        self._refresh_files(len(claimed))
        return self._unsuppressed(claimed)

    def _unsuppressed(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        skipped: list[Outcome] = []
        with self._ledger.write() as connection:
            left = self._without_suppressed(connection, claimed, skipped, True)
        self._skipped += skipped
        return left

    def take_skipped(self) -> list[Outcome]:
        """The rows that were skipped since the last call."""
        skipped, self._skipped = self._skipped, []
        return skipped

    def has_open_rows(self) -> bool:
        """Whether rows are left to claim."""
        with self._ledger.read() as connection:
            query = select(exists().where(messages.c.run_id == self._run_id, OPEN_ROW))
            return bool(connection.scalar(query))

    def _refresh_files(self, claims: int) -> None:
        if claims > 0 and self._files is not None:
            self._files.refresh()

    def _store(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        opted_out = self._claimed_here(connection, [o.row for o in outcomes if is_opted_out(o)])
        _record.execute(connection, outcomes, self._own)
        if opted_out:
            add_opted_out(connection, self._run_id, opted_out, now())

    def _claim(
        self, connection: Connection, after: int, last: int, claims: int, skipped: list[Outcome]
    ) -> list[Claimed]:
        """Claims rows that may be sent. Adds those that may not to `skipped`."""
        claimed: list[Claimed] = []
        while len(claimed) < claims:
            wanted = claims - len(claimed)
            found, named = self._claim_next(connection, after, last, wanted)
            claimed += self._without_suppressed(connection, found, skipped, named)
            if len(found) < wanted:
                break
            after = found[-1].row
        return claimed

    def _without_suppressed(
        self, connection: Connection, claimed: Sequence[Claimed], skipped: list[Outcome], named: bool
    ) -> list[Claimed]:
        """Skips the rows whose people must not be texted. Returns the others. `named`: they may have opted out."""
        if not claimed:
            return []
        reasons = self._reasons(connection, claimed, named)
        if reasons:
            _skip.execute(connection, list(reasons.items()), self._own)
            # A row that was opened again keeps its earlier outcome, as in a plan.
            restore_opened(connection, and_(messages.c.run_id == self._run_id, messages.c.row.in_(reasons)))
            skipped += (Outcome(row, Status.SKIPPED, Code.SUPPRESSED, why) for row, why in reasons.items())
        return [message for message in claimed if message.row not in reasons]

    def _reasons(self, connection: Connection, claimed: Sequence[Claimed], named: bool) -> dict[int, str]:
        """Row -> why it must not be sent."""
        self._opt_outs = self._opt_outs or RunOptOuts.of_run(connection, self._run_id)
        checks = [self._files.why] if self._files is not None else []
        if named and self._opt_outs is not None:
            customers = [message.customer_uuid for message in claimed]
            phones = [message.phone for message in claimed if message.phone is not None]
            checks.append(self._opt_outs.among(connection, customers, phones).why)
        return {
            message.row: why
            for message in claimed
            for check in checks
            if (why := check(message.customer_uuid, message.phone)) is not None
        }

    def _claim_next(
        self, connection: Connection, after: int, last: int, claims: int
    ) -> tuple[list[Claimed], bool]:
        """Claims rows. Returns also whether their people may have opted out."""
        where = {"of_run": self._run_id, "after": after, "last": last}
        claim = {"of_owner": self._owner, "of_start": self._start_id, "at": to_text(now())}
        found, named = connection.execute(_find, {**where, "claims": claims}).one()
        claimed = list(map(Claimed._make, orjson.loads(found)))
        if claimed:
            connection.execute(_claim_found, {**where, **claim, "last": claimed[-1].row})
        return claimed, bool(named)

    def release(self, claimed: Sequence[Claimed], code: Code = Code.STOPPED) -> None:
        """Gives back rows that were certainly not sent; they are `pending` again, with this code."""
        if not claimed:
            return
        rows = [(c.row, c.attempts) for c in claimed]
        with self._ledger.write() as connection:
            _release.execute(connection, rows, {**self._own, "code": code})

    def quiet_clocks(self) -> list[str]:
        """The clocks of recipients whose rows wait for quiet hours to end, as in `campaigns/quiet_hours.py`."""
        query = select(messages.c.clock).where(messages.c.run_id == self._run_id, QUIET_ROW).distinct()
        with self._ledger.read() as connection:
            return [clock or "" for clock in connection.scalars(query)]

    def end_quiet_hours(self, clocks: Sequence[str]) -> None:
        """Lets the rows of recipients with these clocks be claimed again."""
        ended = (
            messages.c.run_id == self._run_id,
            QUIET_ROW,
            func.coalesce(messages.c.clock, "").in_(clocks),
        )
        if clocks:
            with self._ledger.write() as connection:
                connection.execute(update(messages).where(*ended).values(codes=Code.STOPPED))
        self._after = 0

    def note_pause(self, seconds: float, because: str) -> None:
        """Records a pause for those who watch the run. Nothing else depends on it, so errors are ignored."""
        until = to_text(now() + timedelta(seconds=seconds))
        with suppress(LedgerError):
            self._ledger.note_wait(self._run_id, until, because)

    def stop_requested(self) -> bool:
        """Whether this run is to stop."""
        with self._ledger.read() as connection:
            query = select(runs.c.stop_requested_at).where(runs.c.id == self._run_id)
            return connection.scalar(query) is not None

    def _claimed_here(self, connection: Connection, rows: Sequence[int]) -> list[int]:
        if not rows:
            return []
        query = select(messages.c.row).where(
            messages.c.run_id == self._run_id,
            messages.c.row.in_(rows),
            messages.c.owner == self._owner,
        )
        return list(connection.scalars(query))
