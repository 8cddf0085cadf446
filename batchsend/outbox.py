"""The ledger's side of sending: the few statements that move a message from state to state.

    pending ──claim──▶ in_flight ──record──▶ accepted | failed | unconfirmed
       ▲                   │
       └─────release───────┘   (certainly not sent)

A claim is committed before its request leaves; an outcome is written only over one's own claim, and never over what
an update said (`deliveries.py`), which may come before our own answer. Who turns out to have opted out is put on the
ledger's opt-outs in the same commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, select, update

from batchsend.ledger import Ledger
from batchsend.optouts import learn
from batchsend.schema import messages, runs
from batchsend.statuses import IN_FLIGHT, OPTED_OUT, Code, Status
from batchsend.timestamps import now, to_text
from batchsend.upserts import execute_for_all


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this process, and nobody else, may send now. `attempts`: requests made for it before."""

    row: int
    customer_uuid: str
    department_uuid: str
    user_uuid: str
    phone: str | None
    body: str
    generation: int
    attempts: int
    clock: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claimed message. `sent_at` is UTC text, `latency_ms` the time to the answer."""

    row: int
    status: Status
    codes: str = ""
    descriptions: str = ""
    warning_codes: str | None = None
    message_uuid: str | None = None
    request_uuid: str | None = None
    api_status: str | None = None
    http_status: int | None = None
    attempts: int = 0
    sent_at: str | None = None
    latency_ms: int | None = None


_claimed_columns = [
    messages.c.row,
    messages.c.customer_uuid,
    messages.c.department_uuid,
    messages.c.user_uuid,
    messages.c.phone,
    messages.c.body,
    messages.c.generation,
    messages.c.attempts,
    messages.c.clock,
]

_own_claim = (
    messages.c.run_id == bindparam("of_run"),
    messages.c.row == bindparam("of_row"),
    messages.c.owner == bindparam("of_owner"),
)

_RECORDED = tuple(name for name in Outcome.__slots__ if name != "row")

#: What an update has said already stands; it may be here before our answer (`deliveries.py`).
_unless_updated = {
    name: case((messages.c.delivery_status.is_(None), bindparam(name)), else_=messages.c[name])
    for name in ("status", "codes", "descriptions")
}

_record = (
    update(messages)
    .where(*_own_claim)
    .values(
        {name: bindparam(name) for name in _RECORDED}
        | _unless_updated
        | {"message_uuid": func.coalesce(bindparam("message_uuid"), messages.c.message_uuid)}
        | {"owner": None, "lease_until": None}
    )
)

_release = (
    update(messages)
    .where(*_own_claim, messages.c.status == IN_FLIGHT)
    .values(
        status=Status.PENDING,
        codes=bindparam("code"),
        attempts=bindparam("attempts"),
        sent_at=None,
        owner=None,
    )
)


_following = (
    select(messages.c.row)
    .where(
        messages.c.run_id == bindparam("of_run"),
        # Rows are claimed in order, so the search never walks over what is done already.
        messages.c.row > bindparam("after"),
        messages.c.row <= bindparam("last"),
        messages.c.status == Status.PENDING,
        messages.c.codes == Code.STOPPED,
    )
    .order_by(messages.c.row)
    .limit(bindparam("claims"))
    .with_for_update(skip_locked=True)
    # PostgreSQL may run a subquery more than once, and lock and claim more rows each time.
    .cte("following")
)
_claim = (
    update(messages)
    .where(messages.c.run_id == bindparam("of_run"), messages.c.row.in_(select(_following.c.row)))
    .values(
        status=IN_FLIGHT, owner=bindparam("of_owner"), start_id=bindparam("of_start"), sent_at=bindparam("at")
    )
    .returning(*_claimed_columns)
)
_row_of = attrgetter("row")
#: No list has a row beyond this one.
LAST_ROW = 2**31 - 1


class Outbox:
    """The messages of one run that are still to be sent, for one sending process.

    `owner` tells this process's claims from all others. Every method is one transaction and may block on the
    disk: call it from a thread. Raises `LedgerError`; then nothing of the call was stored.
    """

    def __init__(self, ledger: Ledger, run_id: int, start_id: int, owner: str) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._start_id = start_id
        self._owner = owner
        self._after = 0

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        """Stores outcomes and claims up to `claims` further messages, in the list's order, in one commit."""
        with self._ledger.write() as connection:
            self._store(connection, outcomes)
            if claims <= 0:
                return []
            claimed = self._claim(connection, self._after, LAST_ROW, claims)
        if claimed:
            self._after = claimed[-1].row
        return claimed

    def _store(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        opted_out = self._own_claims_among(connection, [o.row for o in outcomes if _opted_out(o)])
        execute_for_all(connection, _record, [self._claim_key(o.row) | _values(o) for o in outcomes])
        if opted_out:
            learn(connection, self._run_id, opted_out, now())

    def _claim(self, connection: Connection, after: int, last: int, claims: int) -> list[Claimed]:
        claim = {
            "of_run": self._run_id, "of_owner": self._owner, "of_start": self._start_id,
            "after": after, "last": last, "claims": claims, "at": to_text(now()),
        }  # fmt: skip
        return sorted((Claimed(*row) for row in connection.execute(_claim, claim)), key=_row_of)

    def release(self, claimed: Sequence[Claimed], code: Code = Code.STOPPED) -> None:
        """Gives back messages that were certainly not sent; they are `pending` again, with this code."""
        if not claimed:
            return
        rows = [self._claim_key(c.row) | {"attempts": c.attempts, "code": code} for c in claimed]
        with self._ledger.write() as connection:
            execute_for_all(connection, _release, rows)

    def sleeping(self) -> list[str]:
        """The clocks of those who wait for their quiet hours to end, as `quiet_hours.py` has them."""
        query = select(messages.c.clock).where(*self._asleep()).distinct()
        with self._ledger.read() as connection:
            return [clock or "" for clock in connection.scalars(query)]

    def wake(self, clocks: Sequence[str]) -> None:
        """Lets the messages to recipients with these clocks be claimed again."""
        awake = func.coalesce(messages.c.clock, "").in_(clocks)
        with self._ledger.write() as connection:
            connection.execute(update(messages).where(*self._asleep(), awake).values(codes=Code.STOPPED))
        self._after = 0

    def _asleep(self) -> tuple[ColumnElement[bool], ...]:
        return (
            messages.c.run_id == self._run_id,
            messages.c.status == Status.PENDING,
            messages.c.codes == Code.QUIET_HOURS,
        )

    def stop_requested(self) -> bool:
        """Has somebody asked this run to stop?"""
        with self._ledger.read() as connection:
            query = select(runs.c.stop_requested_at).where(runs.c.id == self._run_id)
            return connection.scalar(query) is not None

    def _own_claims_among(self, connection: Connection, rows: Sequence[int]) -> list[int]:
        if not rows:
            return []
        query = select(messages.c.row).where(
            messages.c.run_id == self._run_id,
            messages.c.row.in_(rows),
            messages.c.owner == self._owner,
        )
        return list(connection.scalars(query))

    def _claim_key(self, row: int) -> dict[str, object]:
        return {"of_run": self._run_id, "of_row": row, "of_owner": self._owner}


def _opted_out(outcome: Outcome) -> bool:
    return not OPTED_OUT.isdisjoint(outcome.codes.split("; "))


def _values(outcome: Outcome) -> dict[str, object]:
    # `asdict` copies deeply, which takes as long as storing the outcome.
    return {name: getattr(outcome, name) for name in _RECORDED}
