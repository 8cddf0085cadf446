"""The durable record of runs and messages, and the transactions that change what it knows of a run.

SQLAlchemy Core, one code path for SQLite and PostgreSQL; only the engine's set-up differs (`ledger_opening.py`).
A commit is durable when it returns (SQLite: WAL with `synchronous=FULL`; PostgreSQL: `synchronous_commit=on`).
What moves single messages while a run is sent is in `outbox.py`; questions about the past are in `history.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import URL

from batchsend.ledger.database_errors import own_errors
from batchsend.ledger.plan_import import KEPT, UNTRIED, beside_plan, store, supersede
from batchsend.ledger.schema import campaigns, messages, meta, runs, starts, superseded
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.utils.timestamps import now, to_text

#: The row was opened again, and this is the outcome that it had.
REPLACED = and_(
    superseded.c.run_id == messages.c.run_id,
    superseded.c.row == messages.c.row,
    superseded.c.generation + 1 == messages.c.generation,
)


@dataclass(frozen=True)
class CampaignRecord:
    """A campaign as the ledger knows it."""

    id: int
    name: str
    base_url: str
    key_columns: tuple[str, ...]
    file: str
    host: str


@dataclass(frozen=True)
class RunRecord:
    """A run as the ledger knows it. `about` holds what the results' summary says of the campaign."""

    id: int
    campaign_id: int
    list_fingerprint: str
    list_file: str
    list_saved_at: str
    headers: tuple[str, ...]
    zone: str
    about: Mapping[str, str]
    created_at: str


@dataclass(frozen=True)
class NewRun:
    """What a run is made of; `None` for `run_id` in `Ledger.store_plan` begins one."""

    list_fingerprint: str
    list_file: str
    list_saved_at: str
    headers: tuple[str, ...]
    zone: str
    about: Mapping[str, str]


@dataclass(frozen=True)
class Identity:
    """Who a campaign is: what it must be called by to be remembered."""

    name: str
    base_url: str
    key_columns: tuple[str, ...]
    file: str
    host: str


@dataclass(frozen=True)
class StartRecord:
    """One start of `send`: who, where, with which files."""

    os_user: str
    host: str
    version: str
    campaign_file: str
    campaign_sha256: str
    list_file: str
    list_sha256: str
    template_file: str
    template_sha256: str
    resend: str | None = None


@dataclass(frozen=True)
class StoredPlan:
    """What storing a plan did: the run's number, this start's number, rows that earlier runs gave up."""

    run_id: int
    start_id: int
    closed: Mapping[int, int]


def nothing_more(_connection: Connection, _run_id: int, _start_id: int) -> None:
    """Only the plan itself is stored."""


class Ledger:
    """An open ledger. `where` is for messages and holds no password."""

    def __init__(self, engine: Engine, where: str, file: Path | None) -> None:
        self._engine = engine
        # SQLite's transactions see one state of the database by themselves.
        isolation = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reading = engine.execution_options(batchsend_reading=True, **isolation)
        self.where = where
        self.file = file

    @property
    def url(self) -> URL:
        """The database's URL, password included: never shown, never logged."""
        return self._engine.url

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the ledger. Raises `LedgerError`."""
        with own_errors(self.where), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, durable once the block is left. Raises `LedgerError`; then nothing was changed."""
        with own_errors(self.where), self._engine.begin() as connection:
            yield connection

    def ledger_id(self) -> str:
        """What tells this ledger from every other."""
        with self.read() as connection:
            return str(connection.scalar(select(meta.c.value).where(meta.c.name == "ledger_id")))

    # Campaigns and runs

    def campaign(self, name: str, base_url: str) -> CampaignRecord | None:
        """The campaign of this name at this API, if the ledger knows it."""
        query = select(campaigns).where(campaigns.c.name == name, campaigns.c.base_url == base_url)
        with self.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _campaign(row)

    def campaigns_of_file(self, file: str, host: str, base_url: str) -> list[CampaignRecord]:
        """All campaigns that were last sent from this file of this host, in the order in which they began.

        A ledger file is used on one computer only, so that there the host's name of today does not matter.
        """
        query = select(campaigns).where(campaigns.c.file == file, campaigns.c.base_url == base_url)
        if self.file is None:
            query = query.where(campaigns.c.host == host)
        query = query.order_by(campaigns.c.id)
        with self.read() as connection:
            return [_campaign(row) for row in connection.execute(query).mappings()]

    def campaign_by_id(self, campaign_id: int) -> CampaignRecord:
        with self.read() as connection:
            row = connection.execute(select(campaigns).where(campaigns.c.id == campaign_id)).mappings().one()
        return _campaign(row)

    def run(self, run_id: int) -> RunRecord | None:
        with self.read() as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
        return None if row is None else _run(row)

    def runs_of(self, campaign_id: int) -> list[RunRecord]:
        """A campaign's runs, the latest first."""
        query = select(runs).where(runs.c.campaign_id == campaign_id).order_by(runs.c.id.desc())
        with self.read() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def counts(self, run_id: int) -> dict[str, int]:
        """How many rows of a run have which status."""
        query = (
            select(messages.c.status, func.count())
            .where(messages.c.run_id == run_id)
            .group_by(messages.c.status)
        )
        with self.read() as connection:
            return dict(connection.execute(query).all())

    def request_stop(self, run_id: int) -> None:
        """Asks whoever sends this run to finish what is in flight and leave."""
        with self.write() as connection:
            connection.execute(
                update(runs).where(runs.c.id == run_id).values(stop_requested_at=to_text(now()))
            )

    def give_up(self, run_id: int) -> int:
        """Gives up what a run has not tried; returns how many rows. Only for whoever holds the campaign's lock."""
        of_run = messages.c.run_id == run_id
        with self.write() as connection:
            restore_opened(connection, of_run)
            return _give_up(connection, and_(of_run, messages.c.status == Status.PENDING))

    # The transactions of one start

    def interrupt_claims(self, name: str, base_url: str) -> int:
        """Rows whose request was in flight when their process ended are `unconfirmed` from now on.

        Only for whoever holds the campaign's lock: then nobody else can be sending them. Returns how many.
        """
        campaign = select(campaigns.c.id).where(campaigns.c.name == name, campaigns.c.base_url == base_url)
        statement = (
            update(messages)
            .where(messages.c.campaign_id.in_(campaign), messages.c.status == IN_FLIGHT)
            .values(status=Status.UNCONFIRMED, codes=Code.INTERRUPTED, owner=None)
        )
        with self.write() as connection:
            return connection.execute(statement).rowcount

    def store_plan(
        self,
        plan: Ledger,
        identity: Identity,
        campaign_id: int | None,
        run_id: int | None,
        run: NewRun,
        start: StartRecord,
        also: Callable[[Connection, int, int], object] = nothing_more,
    ) -> StoredPlan:
        """Stores a plan, whole or not at all: from here on the run goes on from this ledger alone.

        `plan` is a scratch ledger whose only run is 0. Rows that were tried keep their outcome, except those
        that the plan opened again (a higher `generation`); their old outcome goes to `superseded`. What an
        earlier start had opened and not sent gets its outcome back first: the plan opens it again if it should
        be. What the campaign's other runs had not tried is closed when a new run begins. `also` belongs to the same
        transaction: it is told the run's and the start's number once all rows are there.
        """
        assert plan.file is not None  # noqa: S101 - a scratch ledger is a file
        with (
            own_errors(self.where),
            beside_plan(self._engine, plan._engine, plan.file) as (connection, planned),
        ):
            campaign_id = _store_campaign(connection, identity, campaign_id)
            closed: dict[int, int] = {}
            if run_id is None:
                restore_opened(connection, messages.c.campaign_id == campaign_id)
                closed = _close_runs(connection, campaign_id)
                run_id = _insert_run(connection, campaign_id, run)
            else:
                restore_opened(connection, messages.c.run_id == run_id)
                supersede(connection, planned, run_id, to_text(now()))
                connection.execute(
                    update(runs)
                    .where(runs.c.id == run_id)
                    .values(
                        stop_requested_at=None,
                        list_file=run.list_file,
                        list_saved_at=run.list_saved_at,
                        zone=run.zone,
                        about=json.dumps(dict(run.about)),
                    )
                )
            start_id = _insert_start(connection, run_id, start)
            store(connection, planned, run_id, campaign_id)
            also(connection, run_id, start_id)
        return StoredPlan(run_id, start_id, closed)

    def end_start(self, start_id: int, exit_code: int, ending: str) -> None:
        """Records how a start ended."""
        with self.write() as connection:
            connection.execute(
                update(starts)
                .where(starts.c.id == start_id)
                .values(ended_at=to_text(now()), exit_code=exit_code, ending=ending)
            )


def _campaign(row: Mapping[Any, Any]) -> CampaignRecord:
    return CampaignRecord(
        row["id"],
        row["name"],
        row["base_url"],
        tuple(json.loads(row["key_columns"])),
        row["file"],
        row["host"],
    )


def _run(row: Mapping[Any, Any]) -> RunRecord:
    return RunRecord(
        row["id"],
        row["campaign_id"],
        row["list_fingerprint"],
        row["list_file"],
        row["list_saved_at"],
        tuple(json.loads(row["headers"])),
        row["zone"],
        json.loads(row["about"]),
        row["created_at"],
    )


def _store_campaign(connection: Connection, identity: Identity, campaign_id: int | None) -> int:
    values = {
        "name": identity.name,
        "base_url": identity.base_url,
        "key_columns": json.dumps(identity.key_columns),
        "file": identity.file,
        "host": identity.host,
    }
    if campaign_id is not None:
        connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(**values))
        return campaign_id
    statement = insert(campaigns).values(**values).returning(campaigns.c.id)
    return int(connection.execute(statement).scalar_one())


def _insert_run(connection: Connection, campaign_id: int, run: NewRun) -> int:
    statement = (
        insert(runs)
        .values(
            campaign_id=campaign_id,
            list_fingerprint=run.list_fingerprint,
            list_file=run.list_file,
            list_saved_at=run.list_saved_at,
            headers=json.dumps(run.headers),
            zone=run.zone,
            about=json.dumps(dict(run.about)),
            created_at=to_text(now()),
        )
        .returning(runs.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def _insert_start(connection: Connection, run_id: int, start: StartRecord) -> int:
    statement = (
        insert(starts).values(run_id=run_id, started_at=to_text(now()), **vars(start)).returning(starts.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def restore_opened(connection: Connection, rows: ColumnElement[bool]) -> None:
    """Gives rows that were opened again, and not sent since, the outcome back that they had."""
    outcome = {c.name: superseded.c[c.name] for c in messages.columns if c.name not in KEPT}
    connection.execute(update(messages).where(rows, UNTRIED, REPLACED).values(outcome))
    restored = exists().where(
        rows,
        messages.c.run_id == superseded.c.run_id,
        messages.c.row == superseded.c.row,
        messages.c.generation == superseded.c.generation,
    )
    connection.execute(delete(superseded).where(restored))


def _close_runs(connection: Connection, campaign_id: int) -> dict[int, int]:
    """Gives up what the campaign's runs had not tried. Returns run number -> rows closed."""
    waiting = and_(messages.c.campaign_id == campaign_id, messages.c.status == Status.PENDING)
    closed = connection.execute(
        select(messages.c.run_id, func.count()).where(waiting).group_by(messages.c.run_id)
    )
    counts: dict[int, int] = dict(closed.all())
    _give_up(connection, waiting)
    of_campaign = starts.c.run_id.in_(select(runs.c.id).where(runs.c.campaign_id == campaign_id))
    connection.execute(
        update(starts)
        .where(of_campaign, starts.c.ended_at.is_(None))
        .values(ended_at=to_text(now()), ending="killed, then given up for another list")
    )
    return counts


def _give_up(connection: Connection, waiting: ColumnElement[bool]) -> int:
    given_up = {"status": Status.SKIPPED, "codes": Code.CLOSED, "resend": None}
    return connection.execute(update(messages).where(waiting).values(given_up)).rowcount
