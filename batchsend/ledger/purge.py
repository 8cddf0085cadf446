"""Forgetting texts, phones and list cells that are older than they have to be; what guards against repeats stays."""

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
    Table,
    and_,
    case,
    create_engine,
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
from batchsend.ledger.database_errors import own_errors
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import campaigns, messages, runs, starts, superseded, updates
from batchsend.statuses import IN_FLIGHT, TRIED, Code, Status
from batchsend.utils.timestamps import to_text

_AGE = re.compile(r"([0-9]{1,3}) ?(?:(y|years?)|(mo|months?)|(d|days?))", re.IGNORECASE)
#: Tables that hold what is forgotten.
_EMPTIED = (messages, superseded, updates)
#: How long others who read the ledger are waited for before its space is given back.
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Purgeable:
    """What would be forgotten of one campaign. `texts`: of so many entries there is a text; dates are UTC text."""

    campaign: str
    base_url: str
    entries: int
    texts: int
    first: str
    last: str


def cutoff_of(age: str, moment: datetime) -> datetime:
    """The moment that lies `4y`, `18mo` or `90d` before `moment`. Raises `BatchsendError`."""
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
    """What was last touched before `cutoff` and is still there, by campaign in their order."""
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
            campaigns.c.name,
            campaigns.c.base_url,
            func.count(),
            func.sum(old.c.texts),
            func.min(old.c.at),
            func.max(old.c.at),
        )
        .join(old, old.c.campaign_id == campaigns.c.id)
        .group_by(campaigns.c.id, campaigns.c.name, campaigns.c.base_url)
        .order_by(campaigns.c.id)
    )
    with ledger.read() as connection:
        return [
            Purgeable(name, base_url, entries, int(texts), first, last)
            for name, base_url, entries, texts, first, last in connection.execute(query)
        ]


def purge(ledger: Ledger, cutoff: datetime, moment: datetime) -> int:
    """Forgets texts, phones, list cells and descriptions of what was last touched before `cutoff`.

    For whoever holds all campaigns. What waits to be sent and is that old is given up (`CLOSED`): it has no text any
    more. Returns how many entries; all or none are purged. Afterwards nothing of it is in the database's files.
    """
    when = to_text(cutoff)
    waiting = messages.c.status == Status.PENDING
    given_up = {
        "status": case((waiting, literal(Status.SKIPPED)), else_=messages.c.status),
        "codes": case((waiting, literal(Code.CLOSED)), else_=messages.c.codes),
        "resend": case((waiting, null()), else_=messages.c.resend),
    }
    with ledger.write() as connection:
        if connection.dialect.name == "sqlite":
            # Should the disk be too full to write the file anew, what is forgotten is overwritten all the same.
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        purged = connection.execute(
            update(messages).where(_old_message(when)).values(_forgotten(messages, moment) | given_up)
        ).rowcount
        purged += connection.execute(
            update(superseded).where(_old_superseded(when)).values(_forgotten(superseded, moment))
        ).rowcount
        # The digest stays: it knows a repeated update again.
        connection.execute(
            update(updates)
            .where(updates.c.received_at < when, updates.c.raw != "")
            .values(raw="", descriptions="")
        )
    try:
        _reclaim(ledger)
    except LedgerError as error:
        raise LedgerError(
            f"{error}\nThe {purged:,} entries were purged, but the database's files were not written anew, so that "
            f"parts of them may still be in there. Close what else has the ledger open, make room on the disk, and "
            f"run the same command again."
        ) from error
    return purged


def _forgotten(table: Table, moment: datetime) -> dict[str, Any]:
    return {
        "phone": None,
        "body": None,
        "cells": "[]",
        # They quote the list, and myKaarma's may name the phone.
        "descriptions": "",
        # What was found not to be a customer id may be anything, a phone too.
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
        messages.c.purged_at.is_(None),
        # Each start of its run judges a row that was not tried; one that was is left alone.
        or_(
            and_(tried, messages.c.sent_at < when),
            and_(or_(~tried, messages.c.sent_at.is_(None)), run_is_old),
        ),
        _no_delivery_since(messages, when),
    )


def _old_superseded(when: str) -> ColumnElement[bool]:
    return and_(
        superseded.c.purged_at.is_(None),
        func.coalesce(superseded.c.sent_at, superseded.c.superseded_at) < when,
        _no_delivery_since(superseded, when),
    )


def _no_delivery_since(table: Table, when: str) -> ColumnElement[bool]:
    return func.coalesce(table.c.delivery_at, "") < when


def _reclaim(ledger: Ledger) -> None:
    """Writes the tables anew, without what was deleted in them. Raises `LedgerError`."""
    if ledger.file is not None:
        _reclaim_file(ledger.file, ledger.where)
        return
    engine = create_engine(ledger.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True)
    with own_errors(ledger.where), engine.connect() as connection:
        connection.execute(text(f"SET lock_timeout = '{_PATIENCE_SECONDS}s'"))
        for table in _EMPTIED:
            connection.execute(text(f"VACUUM (FULL) {table.name}"))


def _reclaim_file(file: Path, where: str) -> None:
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            # Until the log is emptied, the old pages are in the file and the new ones in the log.
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise LedgerError(f"{where}: the file could not be written anew ({error}).") from error
    if busy:
        raise LedgerError(f"{where}: another program is reading the ledger.")


def purged(ledger: Ledger, run_id: int) -> tuple[int, str] | None:
    """How many of a run's rows have lost their text, phone and cells, and when last; `None` where all are whole."""
    query = select(func.count(), func.max(messages.c.purged_at)).where(
        messages.c.run_id == run_id, messages.c.purged_at.is_not(None)
    )
    with ledger.read() as connection:
        rows, last = connection.execute(query).one()
    return (rows, str(last)) if rows else None
