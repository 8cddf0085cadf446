"""Dismissals: which rows that need attention a person has dealt with, and why.

They change no row and no result. A plan that sends rows again leaves dismissed ones out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, literal, or_, select, update

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import dismissals, dismissed_rows, messages, runs
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.utils.timestamps import now, to_text


class Dismissal(NamedTuple):
    """A dismissal that was not taken back, with the number of its `rows` that still have this outcome."""

    id: int
    run_id: int
    status: str
    codes: str
    reason: str
    dismissed_by: str
    dismissed_at: str
    rows: int


#: The row of a dismissal still has the outcome that was dismissed.
_UNCHANGED = and_(
    messages.c.run_id == dismissals.c.run_id,
    messages.c.row == dismissed_rows.c.row,
    messages.c.generation == dismissed_rows.c.generation,
    or_(
        and_(messages.c.status == dismissals.c.status, messages.c.codes == dismissals.c.codes),
        and_(
            messages.c.status == IN_FLIGHT,
            dismissals.c.status == Status.UNCONFIRMED,
            dismissals.c.codes == Code.INTERRUPTED,
        ),
    ),
)
_IN_FORCE = and_(dismissed_rows.c.dismissal_id == dismissals.c.id, dismissals.c.restored_at.is_(None))


def dismiss(
    ledger: Ledger, run_id: int, status: str, codes: str, expected: int, *, reason: str, by: str
) -> bool:
    """Dismisses all rows with this outcome that no dismissal has yet, if there are `expected` of them.

    Otherwise it changes nothing and returns `False`: there are other rows than the person saw.
    """
    found = and_(messages.c.run_id == run_id, _has(status, codes), ~exists().where(_IN_FORCE, _UNCHANGED))
    with ledger.write() as connection:
        _hold(connection, run_id)
        if connection.scalar(select(func.count()).select_from(messages).where(found)) != expected:
            return False
        facts = {"run_id": run_id, "status": status, "codes": codes, "reason": reason}
        number = connection.execute(
            insert(dismissals)
            .values(**facts, dismissed_by=by, dismissed_at=to_text(now()))
            .returning(dismissals.c.id)
        ).scalar_one()
        rows = select(literal(number), messages.c.row, messages.c.generation).where(found)
        connection.execute(insert(dismissed_rows).from_select(list(dismissed_rows.c.keys()), rows))
    return True


def restore(ledger: Ledger, run_id: int, number: int, by: str) -> bool:
    """Takes a dismissal of a run back. Returns whether it was in force."""
    statement = (
        update(dismissals)
        .where(dismissals.c.id == number, dismissals.c.run_id == run_id, dismissals.c.restored_at.is_(None))
        .values(restored_by=by, restored_at=to_text(now()))
    )
    with ledger.write() as connection:
        return connection.execute(statement).rowcount == 1


def dismissals_of(ledger: Ledger, run_ids: Sequence[int]) -> list[Dismissal]:
    """The dismissals of these runs that are in force and still have rows, the latest first."""
    facts = [dismissals.c[name] for name in Dismissal._fields[:-1]]
    query = (
        select(*facts, func.count())
        .join(dismissed_rows, _IN_FORCE)
        .join(messages, _UNCHANGED)
        .where(dismissals.c.run_id.in_(run_ids))
        .group_by(*facts)
        .order_by(dismissals.c.id.desc())
    )
    with ledger.read() as connection:
        return [Dismissal._make(row) for row in connection.execute(query)]


def dismissed_keys(ledger: Ledger, campaign_id: int) -> set[tuple[int, str]]:
    """Run and key of each of the campaign's rows whose last outcome there is dismissed."""
    query = (
        select(messages.c.run_id, messages.c.key)
        .join(dismissed_rows, and_(messages.c.row == dismissed_rows.c.row))
        .join(dismissals, and_(_IN_FORCE, _UNCHANGED))
        .where(messages.c.campaign_id == campaign_id)
    )
    with ledger.read() as connection:
        return {(run, key) for run, key in connection.execute(query)}


def _has(status: str, codes: str) -> ColumnElement[bool]:
    same = and_(messages.c.status == status, messages.c.codes == codes)
    interrupted = (status, codes) == (Status.UNCONFIRMED, Code.INTERRUPTED)
    return or_(same, messages.c.status == IN_FLIGHT) if interrupted else same


def _hold(connection: Connection, run_id: int) -> None:
    """Makes other dismissals of the run wait, so that no row is in two of them."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))
