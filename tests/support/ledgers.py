"""Builds plans, stores and sends them, for tests of the ledger."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import URL

from batchsend.ledger.cluster_schema import SERVER_CLOCK, handovers, leases
from batchsend.ledger.history import History
from batchsend.ledger.leases import Lease
from batchsend.ledger.ledger import Identity, Ledger, NewRun, StartRecord, StoredPlan
from batchsend.ledger.opening import scratch_ledger
from batchsend.ledger.schema import messages
from batchsend.mykaarma.protocol import SendingAttributes
from batchsend.sending.cluster.open_runs import OpenRun, hand_over
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.outbox import Outbox
from batchsend.sending.rows import Claimed, Outcome
from batchsend.sending.run_settings import RunSettings
from batchsend.statuses import Status

BASE_URL = "https://api.example.com"
HOST = "this-computer"

#: For tests that wait on PostgreSQL until a lease has ended.
slow_on_postgresql = pytest.mark.parametrize(
    "ledger_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)], indirect=True
)


def sqlite_url(file: Path) -> str:
    """The URL of a ledger in this file."""
    return URL.create("sqlite", database=str(file)).render_as_string()


def planned(row: int, **values: Any) -> dict[str, Any]:
    """A row of a plan, to be sent unless `values` say otherwise; its key is `key-<row>`."""
    usual = {
        "key": f"key-{row}",
        "customer_uuid": f"customer-{row}",
        "department_uuid": "department",
        "user_uuid": "user",
        "phone": f"+1312555{row:04}",
        "body": f"Text {row}",
        "segments": 1,
        "encoding": "GSM-7",
        "cells": json.dumps([f"customer-{row}"]),
        "status": Status.PENDING,
        "codes": "STOPPED",
        "descriptions": "",
        "attempts": 0,
        "generation": 0,
    }
    every = dict.fromkeys(messages.columns.keys())
    return {**every, **usual, **values, "run_id": 0, "row": row, "campaign_id": 0}


def identity(name: str = "Spring", **values: Any) -> Identity:
    usual: dict[str, Any] = {
        "base_url": BASE_URL,
        "key_columns": ("customer_uuid",),
        "file": "/campaigns/spring.toml",
        "host": HOST,
        "key_region": "US",
    }
    return Identity(name, **{**usual, **values})


def start_record(*, template: str = "old", resend: str | None = None) -> StartRecord:
    return StartRecord(
        os_user="ann",
        host=HOST,
        version="1.0",
        campaign_file="/campaigns/spring.toml",
        campaign_sha256="c",
        list_file="/campaigns/spring.csv",
        list_sha256="l",
        template_file="/campaigns/spring.txt",
        template_sha256=template,
        resend=resend,
    )


def store_plan(
    ledger: Ledger,
    rows: Sequence[dict[str, Any]],
    *,
    run_id: int | None = None,
    who: Identity | None = None,
    campaign_id: int | None = None,
    template: str = "old",
    resend: str | None = None,
) -> StoredPlan:
    """Stores a plan of these rows, as a new run or as a further start of `run_id`."""
    who = who or identity()
    if campaign_id is None and (known := ledger.campaign(who.name, who.base_url)) is not None:
        campaign_id = known.id
    new_run = NewRun(
        "fingerprint",
        "/campaigns/spring.csv",
        "2026-03-01T00:00:00.000Z",
        ("Customer UUID",),
        "America/Chicago",
        {"campaign": who.name},
    )
    with TemporaryDirectory() as folder:
        scratch = scratch_ledger(Path(folder))
        try:
            with scratch.write() as connection:
                connection.execute(insert(messages), list(rows))
            return ledger.store_plan(
                scratch,
                who,
                campaign_id,
                run_id,
                new_run,
                start_record(template=template, resend=resend),
            )
        finally:
            scratch.close()


class _Shared(SharedOutbox):
    """Has its lease and its connection only while it claims, so that a test need not end them."""

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        with self._ledger.write() as connection:
            lease = {"owner": self._owner, "run_id": self._run_id, "base_url": BASE_URL, "holder": "me"}
            connection.execute(insert(leases).values(**lease, worker=False, lease_until=SERVER_CLOCK + 10))
        try:
            return super().exchange(outcomes, claims)
        finally:
            self.close()
            with self._ledger.write() as connection:
                connection.execute(delete(leases).where(leases.c.owner == self._owner))
            # Otherwise it remembers that no stop was requested a moment ago.
            self._stopped = False, -math.inf


def outbox(ledger: Ledger, stored_plan: StoredPlan, owner: str = "me") -> Outbox:
    """The outbox of a process: on PostgreSQL for a run that is handed over."""
    if ledger.file is not None:
        return Outbox(ledger, stored_plan.run_id, stored_plan.start_id, owner)
    settings = RunSettings(BASE_URL, 10.0, 20, 30.0, 25, 900.0, SendingAttributes(), False, None, False)
    run = OpenRun(stored_plan.run_id, stored_plan.start_id, settings)
    lease = Lease()
    # Outboxes of one owner share their claims.
    lease.owner = f"{owner} {run.run_id}"
    with ledger.write() as connection:
        handed_over = select(handovers.c.start_id).where(handovers.c.run_id == run.run_id)
        if connection.scalar(handed_over) != run.start_id:
            hand_over(connection, run.run_id, run.start_id, settings)
    return _Shared(ledger, run, lease, threading.Event(), None)


def came_to(
    row: int | Claimed, status: Status = Status.ACCEPTED, codes: str = "", sent_at: str | None = None
) -> Outcome:
    """The outcome of a claimed row."""
    number = row if isinstance(row, int) else row.row
    return Outcome(
        row=number,
        status=status,
        codes=codes,
        message_uuid=f"message-{number}" if status is Status.ACCEPTED else None,
        attempts=1,
        sent_at=sent_at or "2026-03-02T10:00:00.000Z",
    )


def send_all(ledger: Ledger, stored_plan: StoredPlan, *outcomes: Outcome) -> None:
    """Claims and sends all waiting rows; rows that `outcomes` does not name are accepted."""
    sender = outbox(ledger, stored_plan)
    by_row = {outcome.row: outcome for outcome in outcomes}
    claimed = sender.exchange([], 1000)
    sender.exchange([by_row.get(c.row, came_to(c)) for c in claimed], 0)


def history(ledger: Ledger, run_id: int | None = None, name: str = "Spring") -> History:
    return History(ledger, ledger.campaign(name, BASE_URL), run_id, BASE_URL)


def stored(ledger: Ledger, run_id: int) -> dict[int, tuple[str, str]]:
    """Row -> status and codes as the ledger has them."""
    query = select(messages.c.row, messages.c.status, messages.c.codes).where(messages.c.run_id == run_id)
    with ledger.read() as connection:
        return {row: (status, codes) for row, status, codes in connection.execute(query)}


def everything(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """The content of all tables."""
    with ledger.read() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for name, table in messages.metadata.tables.items()
        }
