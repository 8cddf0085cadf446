"""The ledger's side of sending: the few statements that move a message from state to state.

    pending ──claim──▶ in_flight ──record──▶ accepted | failed | unconfirmed
       ▲                   │
       └─────release───────┘   (certainly not sent)

A claim is committed before its request leaves; an outcome is written only over one's own claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, select, update

from batchsend.ledger import Ledger
from batchsend.schema import messages, runs
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.timestamps import now, to_text


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
]

_own_claim = (
    messages.c.run_id == bindparam("of_run"),
    messages.c.row == bindparam("of_row"),
    messages.c.status == IN_FLIGHT,
    messages.c.owner == bindparam("of_owner"),
)

_record = (
    update(messages)
    .where(*_own_claim)
    .values(
        {name: bindparam(name) for name in Outcome.__slots__ if name != "row"}
        | {"owner": None, "lease_until": None}
    )
)

_release = (
    update(messages)
    .where(*_own_claim)
    .values(
        status=Status.PENDING, codes=Code.STOPPED, attempts=bindparam("attempts"), sent_at=None, owner=None
    )
)


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
            if outcomes:
                connection.execute(_record, [self._claim_key(o.row) | _values(o) for o in outcomes])
            if claims <= 0:
                return []
            following = (
                select(messages.c.row)
                .where(
                    messages.c.run_id == self._run_id,
                    # Rows are claimed in order, so the search never walks over what is done already.
                    messages.c.row > self._after,
                    messages.c.status == Status.PENDING,
                    messages.c.codes == Code.STOPPED,
                )
                .order_by(messages.c.row)
                .limit(claims)
                .with_for_update(skip_locked=True)
                # PostgreSQL may run a subquery more than once, and lock and claim more rows each time.
                .cte("following")
            )
            claim = (
                update(messages)
                .where(messages.c.run_id == self._run_id, messages.c.row.in_(select(following.c.row)))
                .values(status=IN_FLIGHT, owner=self._owner, start_id=self._start_id, sent_at=to_text(now()))
                .returning(*_claimed_columns)
            )
            claimed = sorted((Claimed(*row) for row in connection.execute(claim)), key=lambda c: c.row)
        if claimed:
            self._after = claimed[-1].row
        return claimed

    def release(self, claimed: Sequence[Claimed]) -> None:
        """Gives back messages that were certainly not sent; they are `pending` again."""
        if not claimed:
            return
        rows = [self._claim_key(c.row) | {"attempts": c.attempts} for c in claimed]
        with self._ledger.write() as connection:
            connection.execute(_release, rows)

    def stop_requested(self) -> bool:
        """Has somebody asked this run to stop?"""
        with self._ledger.read() as connection:
            query = select(runs.c.stop_requested_at).where(runs.c.id == self._run_id)
            return connection.scalar(query) is not None

    def _claim_key(self, row: int) -> dict[str, object]:
        return {"of_run": self._run_id, "of_row": row, "of_owner": self._owner}


def _values(outcome: Outcome) -> dict[str, object]:
    values = asdict(outcome)
    del values["row"]
    return values
