"""The answers of customer look-ups, kept for some days so that no customer is looked up twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import lookups
from batchsend.utils.timestamps import to_text

#: How long an answer counts. Customers of a dealership seldom change.
KEPT_DAYS = 30


class Question(NamedTuple):
    """What was asked: the customers of a department that have `term` in `field`."""

    department_uuid: str
    field: str
    term: str


class KeptAnswer(NamedTuple):
    """The customers that were found, as JSON, and when."""

    found: str
    asked_at: str


def answers_of(ledger: Ledger, base_url: str, now: datetime) -> dict[Question, KeptAnswer]:
    """The answers of this API that still count."""
    columns = lookups.c
    query = select(
        columns.department_uuid, columns.field, columns.term, columns.found, columns.asked_at
    ).where(columns.base_url == base_url, columns.asked_at >= _oldest(now))
    with ledger.read() as connection:
        return {
            Question(*question): KeptAnswer(found, asked_at)
            for *question, found, asked_at in connection.execute(query)
        }


def keep_answers(ledger: Ledger, base_url: str, answers: Mapping[Question, str], now: datetime) -> None:
    """Stores answers in place of earlier ones, and deletes those that do not count any more."""
    rows: Sequence[dict[str, str]] = [
        {"base_url": base_url, **question._asdict(), "found": found, "asked_at": to_text(now)}
        for question, found in answers.items()
    ]
    with ledger.write() as connection:
        connection.execute(delete(lookups).where(lookups.c.asked_at < _oldest(now)))
        if rows:
            insert = insert_into(connection, lookups)
            update = insert.on_conflict_do_update(
                index_elements=list(lookups.primary_key.columns),
                set_={"found": insert.excluded.found, "asked_at": insert.excluded.asked_at},
            )
            connection.execute(update, rows)


def _oldest(now: datetime) -> str:
    return to_text(now - timedelta(days=KEPT_DAYS))
