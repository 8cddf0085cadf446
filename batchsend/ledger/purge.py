"""Deletes old texts, phones and list cells, and keeps everything that prevents repeated texts."""

from __future__ import annotations

import re
import sqlite3
from calendar import monthrange
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Update,
    and_,
    case,
    create_engine,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.pool import NullPool

from batchsend.errors import BatchsendError, LedgerError
from batchsend.ledger.bulk import Given, RowUpdate
from batchsend.ledger.database_errors import ledger_errors
from batchsend.ledger.ledger import Held, Ledger, hold_nothing
from batchsend.ledger.optouts import OptOutSource
from batchsend.ledger.postgres import server_options
from batchsend.ledger.purged_phones import new_phone_hash
from batchsend.ledger.schema import (
    approvals,
    campaigns,
    dismissals,
    lookups,
    messages,
    optouts,
    replies,
    runs,
    starts,
    superseded,
    updates,
)
from batchsend.statuses import IN_FLIGHT, TRIED, Code, Status
from batchsend.utils.timestamps import to_text

_AGE = re.compile(r"([0-9]{1,3}) ?(?:(y|years?)|(mo|months?)|(d|days?))", re.IGNORECASE)
#: Tables that are rewritten after a purge.
_EMPTIED = (messages, superseded, updates, approvals, dismissals, lookups, replies, optouts)
#: How long to wait for other processes that read the ledger, before its space is freed.
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Purgeable:
    """What a purge would delete of one campaign. `texts`: entries that have a text; dates are UTC text."""

    campaign: str
    base_url: str
    entries: int
    texts: int
    first: str
    last: str


def cutoff_of(age: str, moment: datetime) -> datetime:
    """The time `4y`, `18mo` or `90d` before `moment`. Raises `BatchsendError`."""
    match = _AGE.fullmatch(age.strip())
    if match is None or not int(match[1]):
        hint = (
            f' "{age}" could be minutes or months; for months write {age.strip()}o.'
            if re.fullmatch(r"[0-9]{1,3}m", age.strip())
            else ""
        )
        raise BatchsendError(
            f"--older-than {age}: write a number and its unit, 4y (years), 18mo (months) or 90d (days).{hint}"
        )
    count = int(match[1])
    if match[4]:
        return moment - timedelta(days=count)
    months = moment.year * 12 + moment.month - 1 - (count * 12 if match[2] else count)
    year, month = divmod(months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def purgeable(ledger: Ledger, cutoff: datetime) -> list[Purgeable]:
    """What was last used before `cutoff` and is not purged yet, for each campaign in their order."""
    when = to_text(cutoff)
    parts = [
        select(
            table.c.campaign_id,
            func.coalesce(table.c.sent_at, runs.c.created_at).label("at"),
            case((table.c.body.is_not(None), 1), else_=0).label("texts"),
        )
        .join(runs, runs.c.id == table.c.run_id)
        .where(condition)
        for table, condition in ((messages, _old_message(when)), (superseded, _old_superseded(when)))
    ]
    old = union_all(*parts).subquery()
    query = (
        select(
            campaigns.c.name.label("campaign"),
            campaigns.c.base_url,
            func.count().label("entries"),
            func.sum(old.c.texts).label("texts"),
            func.min(old.c.at).label("first"),
            func.max(old.c.at).label("last"),
        )
        .join(old, old.c.campaign_id == campaigns.c.id)
        .group_by(campaigns.c.id, campaigns.c.name, campaigns.c.base_url)
        .order_by(campaigns.c.id)
    )
    with ledger.read() as connection:
        return [Purgeable(**row) for row in connection.execute(query).mappings()]


def purge(ledger: Ledger, cutoff: datetime, moment: datetime, held: Held = hold_nothing) -> int:
    """Deletes texts, phones, list cells and descriptions last used before `cutoff`, and returns how many entries.

    A keyed hash stays of each phone that was texted, because that phone still guards against a second text.
    The caller must hold the locks of all campaigns. Waiting rows of that age are given up (`CLOSED`), because they
    have no text any more. Either all entries are purged or none. The deleted data is then no longer in the database's
    files.
    """
    with ledger.write() as connection:
        if connection.dialect.name == "sqlite":
            # Overwrites the deleted data even if the disk is too full to rewrite the file.
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        held(connection)
        purged = _purge_tables(connection, to_text(cutoff), moment)
    try:
        _reclaim(ledger)
    except LedgerError as error:
        raise LedgerError(
            f"{error}\nThe {purged:,} entries were purged, but the database's files could not be rewritten, so they "
            f"may still contain parts of them. Close other programs that have the ledger open, make room on the "
            f"disk, and run the same command again."
        ) from error
    return purged


def _purge_tables(connection: Connection, when: str, moment: datetime) -> int:
    _hash_phones(connection, messages, and_(_old_message(when), messages.c.status.in_([*TRIED, IN_FLIGHT])))
    _hash_phones(connection, superseded, _old_superseded(when))
    waiting = messages.c.status == Status.PENDING
    given_up = {
        "status": case((waiting, literal(Status.SKIPPED)), else_=messages.c.status),
        "codes": case((waiting, literal(Code.CLOSED)), else_=messages.c.codes),
        "resend": case((waiting, null()), else_=messages.c.resend),
    }
    purged = connection.execute(
        update(messages).where(_old_message(when)).values(_purged_values(messages, moment) | given_up)
    ).rowcount
    purged += connection.execute(
        update(superseded).where(_old_superseded(when)).values(_purged_values(superseded, moment))
    ).rowcount
    # The digest stays, to recognize a repeated update.
    connection.execute(
        update(updates)
        .where(updates.c.received_at < when, updates.c.raw != "")
        .values(raw="", descriptions="")
    )
    _purge_replies(connection, when, moment)
    # From a digest of a row, its phone could be guessed. A reason that a person wrote can name a customer.
    connection.execute(update(approvals).where(approvals.c.asked_at < when).values(rows=b"", reason=None))
    connection.execute(update(dismissals).where(dismissals.c.dismissed_at < when).values(reason=""))
    # An answer names customers and their phones, and can be asked for again.
    connection.execute(delete(lookups).where(lookups.c.asked_at < when))
    return purged


def _purge_replies(connection: Connection, when: str, moment: datetime) -> None:
    """Deletes the words and phones of replies, and the words in the reasons of their opt-outs, which stay."""
    old = and_(replies.c.received_at < when, replies.c.purged_at.is_(None))
    # A person may have decided later about an old reply.
    of_old = optouts.c.id.in_(select(replies.c.optout_id).where(old, replies.c.optout_id.is_not(None)))
    connection.execute(
        update(optouts)
        .where(or_(optouts.c.added_at < when, of_old), optouts.c.source == OptOutSource.REPLY)
        .values(reason="asked for no more texts by a reply, whose words were purged")
    )
    connection.execute(update(replies).where(old).values(body=None, phone="", purged_at=to_text(moment)))


def _hash_phones(connection: Connection, table: Table, condition: ColumnElement[bool]) -> None:
    """Stores the hashes of these rows' phones, one run at a time."""
    place = ("run_id", "row", "generation")

    def hashed(given: Given) -> Update:
        return (
            update(table)
            .where(*(table.c[name] == given(name) for name in place))
            .values(phone_hash=given("phone_hash"))
        )

    hash_of, store = new_phone_hash(connection), RowUpdate((*place, "phone_hash"), hashed)
    with_phone = and_(condition, table.c.phone.is_not(None))
    for run_id in connection.scalars(select(table.c.run_id).where(with_phone).distinct()).all():
        rows = select(*(table.c[name] for name in (*place, "phone"))).where(
            with_phone, table.c.run_id == run_id
        )
        store.execute(
            connection, [(*place, hash_of(phone)) for *place, phone in connection.execute(rows).all()], {}
        )


def _purged_values(table: Table, moment: datetime) -> dict[str, Any]:
    return {
        "phone": None,
        "body": None,
        "cells": "[]",
        # Descriptions quote the list, and myKaarma's can name the phone.
        "descriptions": "",
        # An invalid customer id can be anything, even a phone.
        "customer_uuid": case((table.c.status == Status.INVALID, null()), else_=table.c.customer_uuid),
        "purged_at": to_text(moment),
    }


def _old_message(when: str) -> ColumnElement[bool]:
    last_start = select(func.max(func.coalesce(starts.c.ended_at, starts.c.started_at)))
    of_run = last_start.where(starts.c.run_id == runs.c.id).scalar_subquery()
    run_is_old = messages.c.run_id.in_(
        select(runs.c.id).where(func.coalesce(of_run, runs.c.created_at) < when)
    )
    tried = messages.c.status.in_([*TRIED, IN_FLIGHT])
    return and_(
        _has_data(messages),
        # Each start uses the untried rows of its run again, but not the tried ones.
        or_(
            and_(tried, messages.c.sent_at < when),
            and_(or_(~tried, messages.c.sent_at.is_(None)), run_is_old),
        ),
        _no_delivery_since(messages, when),
    )


def _old_superseded(when: str) -> ColumnElement[bool]:
    return and_(
        _has_data(superseded),
        func.coalesce(superseded.c.sent_at, superseded.c.superseded_at) < when,
        _no_delivery_since(superseded, when),
    )


def _has_data(table: Table) -> ColumnElement[bool]:
    """Not purged yet, or updated since: an update brings a new description."""
    return or_(table.c.purged_at.is_(None), table.c.delivery_at >= table.c.purged_at)


def _no_delivery_since(table: Table, when: str) -> ColumnElement[bool]:
    return func.coalesce(table.c.delivery_at, "") < when


def _reclaim(ledger: Ledger) -> None:
    """Rewrites the tables without the deleted data. Raises `LedgerError`."""
    if ledger.file is not None:
        _reclaim_file(ledger.file, ledger.where)
        return
    engine = create_engine(
        ledger.url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args=server_options(ledger.url),
    )
    with ledger_errors(ledger.where), engine.connect() as connection:
        connection.execute(text(f"SET lock_timeout = '{_PATIENCE_SECONDS}s'"))
        for table in _EMPTIED:
            connection.execute(text(f"VACUUM (FULL) {table.name}"))


def _reclaim_file(file: Path, where: str) -> None:
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            # Until the log is emptied, the file still has the old pages and the log has the new ones.
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise LedgerError(f"{where}: the file could not be rewritten ({error}).") from error
    if busy:
        raise LedgerError(f"{where}: another program is reading the ledger.")


def purged(ledger: Ledger, run_id: int) -> tuple[int, str] | None:
    """How many rows of a run were purged, and when the last one was; `None` if no row was."""
    query = select(func.count(), func.max(messages.c.purged_at)).where(
        messages.c.run_id == run_id, messages.c.purged_at.is_not(None)
    )
    with ledger.read() as connection:
        rows, last = connection.execute(query).one()
    return (rows, str(last)) if rows else None
