"""The ledger: campaigns, runs, and the transactions that change a whole run.

It uses SQLAlchemy Core. SQLite and PostgreSQL share all code but the setup of the engine (`opening`). A commit is
durable when it returns (SQLite: WAL with `synchronous=FULL`; PostgreSQL: `synchronous_commit=on`). `sending.outbox`
changes single messages while a run is sent; `history` has the queries about the past.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, insert, select, update
from sqlalchemy.engine import URL

from batchsend.ledger.database_errors import ledger_errors
from batchsend.ledger.plan_import import attached_plan, restore_opened, store_rows, supersede
from batchsend.ledger.schema import campaigns, messages, meta, runs, starts
from batchsend.statuses import IN_FLIGHT, Code, Status
from batchsend.utils.timestamps import now, to_text

#: The name of the customer's id in `Identity.key_columns`, under any header.
CUSTOMER_COLUMN = "customer_uuid"
#: What a run has of its last start only.
_OF_LAST_START = (
    "stop_requested_at",
    "stop_requested_by",
    "given_up_at",
    "given_up_by",
    "waits_until",
    "waits_because",
)


@dataclass(frozen=True)
class Identity:
    """The name and base URL that identify a campaign, its key columns, and where it is sent from.

    `key_region`: the `default_region` by which dates and phones in keys are read.
    """

    name: str
    base_url: str
    key_columns: tuple[str, ...]
    file: str
    host: str
    key_region: str


@dataclass(frozen=True)
class CampaignRecord(Identity):
    """A campaign in the ledger."""

    id: int


@dataclass(frozen=True)
class NewRun:
    """The facts of a run about to be stored. `about`: facts about the campaign for the results' summary."""

    list_fingerprint: str
    list_file: str
    list_saved_at: str
    headers: tuple[str, ...]
    zone: str
    about: Mapping[str, str]


@dataclass(frozen=True)
class RunRecord(NewRun):
    """A run in the ledger. Times are UTC text; the others are as in the table `runs`."""

    id: int
    campaign_id: int
    created_at: str
    stop_requested_at: str | None = None
    stop_requested_by: str | None = None
    given_up_at: str | None = None
    given_up_by: str | None = None
    waits_until: str | None = None
    waits_because: str | None = None

    @property
    def is_to_be_given_up(self) -> bool:
        """A person asked for it, and it is not done yet."""
        return self.given_up_by is not None and self.given_up_at is None


@dataclass(frozen=True)
class StartRecord:
    """One start of `send`: who started it, where, with which files and under which approval."""

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
    approval_id: int | None = None


@dataclass(frozen=True)
class StoredPlan:
    """The result of storing a plan: numbers of run and start, and run number -> rows closed in earlier runs."""

    run_id: int
    start_id: int
    closed: Mapping[int, int]


#: Raises an error if the lock under which a transaction was begun was lost. On PostgreSQL, takes the campaign's runs
#: back from workers in that transaction.
Held = Callable[[Connection], None]


def hold_nothing(_connection: Connection) -> None:
    """There is no lock that can be lost."""


class Ledger:
    """An open ledger. `where` names it in messages, without a password."""

    def __init__(self, engine: Engine, where: str, file: Path | None) -> None:
        self._engine = engine
        # A SQLite transaction always sees one state of the database.
        isolation = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reading = engine.execution_options(batchsend_reading=True, **isolation)
        self.where = where
        self.file = file

    @property
    def url(self) -> URL:
        """The database's URL with its password: do not show or log it."""
        return self._engine.url

    @property
    def full_url(self) -> str:
        """`url` as text, to open the ledger again."""
        return self.url.render_as_string(hide_password=False)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the ledger. Raises `LedgerError`."""
        with ledger_errors(self.where), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, durable after the block. Raises `LedgerError`; then nothing was changed."""
        with ledger_errors(self.where), self._engine.begin() as connection:
            yield connection

    def autocommit(self, **settings: str) -> Connection:
        """A new connection to PostgreSQL, to be closed by the caller. Each statement is a durable transaction."""
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()
        if settings:
            connection.execute(select(*(func.set_config(*setting, False) for setting in settings.items())))
        return connection

    def ledger_id(self) -> str:
        """The unique id of this ledger."""
        with self.read() as connection:
            return str(connection.scalar(select(meta.c.value).where(meta.c.name == "ledger_id")))

    # Campaigns and runs

    def campaign(self, name: str, base_url: str) -> CampaignRecord | None:
        """The campaign of this name at this API, if it is in the ledger."""
        query = select(campaigns).where(campaigns.c.name == name, campaigns.c.base_url == base_url)
        with self.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _campaign(row)

    def campaign_names(self, base_url: str) -> list[str]:
        """The names of all campaigns at this API, oldest first."""
        query = select(campaigns.c.name).where(campaigns.c.base_url == base_url).order_by(campaigns.c.id)
        with self.read() as connection:
            return list(connection.scalars(query))

    def campaigns_of_file(self, file: str, host: str, base_url: str) -> list[CampaignRecord]:
        """All campaigns that were last sent from this file on this host, oldest first.

        A ledger file is used on one computer only, so its host's name does not matter.
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
        """A campaign's runs, latest first."""
        query = select(runs).where(runs.c.campaign_id == campaign_id).order_by(runs.c.id.desc())
        with self.read() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def counts(self, run_id: int) -> dict[str, int]:
        """Status -> number of rows of a run."""
        by_status = select(messages.c.status, func.count()).group_by(messages.c.status)
        with self.read() as connection:
            return dict(connection.execute(by_status.where(messages.c.run_id == run_id)).all())

    def request_stop(self, run_id: int, by: str, *, for_good: bool = False) -> None:
        """Asks the processes that send this run to finish their requests in flight and end. `by`: who asks.

        `for_good`: the rest is to be given up after that, see `RunRecord.is_to_be_given_up`.
        """
        with self.write() as connection:
            wish = {"given_up_by": by} if for_good else {}
            _change_run(connection, run_id, stop_requested_at=to_text(now()), stop_requested_by=by, **wish)

    def give_up(self, run_id: int, held: Held, by: str) -> int:
        """Gives up a run's untried rows for good, for `by`, and returns how many.

        The caller must hold the campaign's lock.
        """
        of_run = messages.c.run_id == run_id
        with self.write() as connection:
            held(connection)
            restore_opened(connection, of_run)
            given_up = _give_up(connection, and_(of_run, messages.c.status == Status.PENDING))
            done = {"given_up_at": to_text(now()), "given_up_by": by} if given_up else {"given_up_by": None}
            _change_run(connection, run_id, **done)
        return given_up

    def note_wait(self, run_id: int, until: str, because: str) -> None:
        """Records that the sending of a run waits by itself. `until`: UTC text; `because`: words for people."""
        with self.write() as connection:
            _change_run(connection, run_id, waits_until=until, waits_because=because)

    # The transactions of one start

    def interrupt_claims(self, name: str, base_url: str) -> int:
        """Makes rows `unconfirmed` whose request was in flight when its process ended. Returns how many.

        Only for a ledger in a file. The caller must hold the campaign's lock, so that no other process sends them.
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
        held: Held = hold_nothing,
        also: Callable[[Connection, int, int], object] | None = None,
    ) -> StoredPlan:
        """Stores a plan in one transaction; after it, the run needs only this ledger.

        `plan` is a scratch ledger whose only run is 0; without a `run_id`, a new run begins and untried rows of the
        campaign's other runs are closed. Tried rows keep their outcome, except those that the plan opened again (a
        higher `generation`): their old outcome moves to `superseded`. Rows that an earlier start opened and did not
        send first get their outcome back, and the plan may open them again. In the same transaction, `held` first
        raises an error if the campaign's lock was lost, and `also` gets the numbers of run and start after all rows.
        """
        assert plan.file is not None  # noqa: S101 - a scratch ledger is a file
        continues = run_id is not None
        with (
            ledger_errors(self.where),
            attached_plan(self._engine, plan._engine, plan.file, continues=continues) as attached,
        ):
            connection = attached.connection
            held(connection)
            campaign_id = _store_campaign(connection, identity, campaign_id)
            closed: dict[int, int] = {}
            if run_id is None:
                restore_opened(connection, messages.c.campaign_id == campaign_id)
                closed = _close_runs(connection, campaign_id)
                run_id = _insert_run(connection, campaign_id, run)
            else:
                restore_opened(connection, messages.c.run_id == run_id)
                supersede(attached, run_id, to_text(now()))
                _continue_run(connection, run_id, run)
            start_id = _insert_start(connection, run_id, start)
            store_rows(attached, run_id, campaign_id)
            if also is not None:
                also(connection, run_id, start_id)
        return StoredPlan(run_id, start_id, closed)

    def end_start(self, start_id: int, exit_code: int, ending: str) -> None:
        """Records how a start ended."""
        end = {"ended_at": to_text(now()), "exit_code": exit_code, "ending": ending}
        with self.write() as connection:
            connection.execute(update(starts).where(starts.c.id == start_id).values(end))


def _campaign(row: Mapping[Any, Any]) -> CampaignRecord:
    return CampaignRecord(**{**row, "key_columns": tuple(json.loads(row["key_columns"]))})


def _run(row: Mapping[Any, Any]) -> RunRecord:
    values = {field.name: row[field.name] for field in fields(RunRecord)}
    return RunRecord(
        **values | {"headers": tuple(json.loads(row["headers"])), "about": json.loads(row["about"])}
    )


def _store_campaign(connection: Connection, identity: Identity, campaign_id: int | None) -> int:
    values = {**vars(identity), "key_columns": json.dumps(identity.key_columns)}
    if campaign_id is not None:
        connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(**values))
        return campaign_id
    statement = insert(campaigns).values(**values).returning(campaigns.c.id)
    return int(connection.execute(statement).scalar_one())


def _insert_run(connection: Connection, campaign_id: int, run: NewRun) -> int:
    statement = (
        insert(runs)
        .values(
            {
                **vars(run),
                "headers": json.dumps(run.headers),
                "about": json.dumps(dict(run.about)),
                "campaign_id": campaign_id,
                "created_at": to_text(now()),
            }
        )
        .returning(runs.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def _continue_run(connection: Connection, run_id: int, run: NewRun) -> None:
    _change_run(
        connection,
        run_id,
        **dict.fromkeys(_OF_LAST_START),
        list_file=run.list_file,
        list_saved_at=run.list_saved_at,
        zone=run.zone,
        about=json.dumps(dict(run.about)),
    )


def _change_run(connection: Connection, run_id: int, **values: str | None) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(values))


def _insert_start(connection: Connection, run_id: int, start: StartRecord) -> int:
    statement = (
        insert(starts).values(run_id=run_id, started_at=to_text(now()), **vars(start)).returning(starts.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def _close_runs(connection: Connection, campaign_id: int) -> dict[int, int]:
    """Gives up the untried rows of the campaign's runs. Returns run number -> rows closed."""
    waiting = and_(messages.c.campaign_id == campaign_id, messages.c.status == Status.PENDING)
    by_run = select(messages.c.run_id, func.count()).where(waiting).group_by(messages.c.run_id)
    counts: dict[int, int] = dict(connection.execute(by_run).all())
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
