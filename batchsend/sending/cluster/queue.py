"""The Procrastinate queue of a ledger on PostgreSQL. No other module uses Procrastinate.

A job allows the worker that gets it to send so many rows of a run. It may come twice, late or never: only the ledger
decides which process sends a row. A job whose worker was killed goes to another worker; open rows without a job get a
new one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import psycopg
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import Job
from procrastinate.schema import SchemaManager
from sqlalchemy import Connection, bindparam, func, insert, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from batchsend.errors import LedgerError
from batchsend.ledger.bulk import in_chunks
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_options
from batchsend.ledger.runs import shared_state
from batchsend.ledger.schema import messages, meta
from batchsend.sending.cluster.leases import interrupt_expired
from batchsend.sending.cluster.open_runs import (
    end_if_done,
    end_quiet_hours,
    end_stopped_runs,
    open_runs,
)
from batchsend.sending.cluster.worker import WorkerRuns
from batchsend.sending.outbox import OPEN_ROW

#: Rows of one job at most, and at least. Towards the end, jobs become smaller, so that all workers end together.
_MOST_ROWS, _FEWEST_ROWS = 500, 50
#: Jobs that are inserted in one statement.
_JOBS_PER_STATEMENT = 1000
#: The names of our tasks in Procrastinate.
_CHUNK, _SWEEP = "batchsend.send_chunk", "batchsend.sweep"
#: Every ten seconds, by one worker for all. The sixth field counts seconds.
_SWEEP_TIMES = "* * * * * */10"
#: Higher than the priority of any chunk.
_SWEEP_PRIORITY = 1000
_HEARTBEAT_SECONDS = 5.0
#: A worker without a heartbeat for this long is dead, and its jobs go to others.
_STALLED_SECONDS = 20.0
#: How often to look for jobs that were given back, which send no notification.
_POLL_SECONDS = 2.0
#: Nothing ever cancels jobs, so that there is no need to ask for cancelled ones.
_NEVER_SECONDS = 1e6
#: PostgreSQL's advisory lock for changing the queue's tables: "queue" on a phone's keys.
_UPGRADE_LOCK = 78383
#: The name in `meta` of the newest of Procrastinate's migrations that its tables have.
_MIGRATED = "queue_migration"


class _LeftError(Exception):
    """This worker ends, so another one has to do the job."""


def queue_of(base_url: str) -> str:
    """The queue of all runs to one API, hashed because PostgreSQL's channels, named after it, have short names."""
    return f"batchsend-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}"


def defer_chunks(connection: Connection, run_id: int, start_id: int, base_url: str) -> int:
    """Makes jobs for the run's open rows, in the connection's transaction. Returns how many.

    Deletes the jobs of earlier starts and of runs that are over.
    """
    connection.execute(
        text(
            "DELETE FROM procrastinate_jobs job WHERE task_name = :task AND status = 'todo' AND ("
            "  CAST(args->>'run_id' AS integer) = :run OR NOT EXISTS ("
            "    SELECT 1 FROM handovers WHERE run_id = CAST(job.args->>'run_id' AS integer) AND open))"
        ),
        {"task": _CHUNK, "run": run_id},
    )
    queue = queue_of(base_url)
    open_rows = connection.scalar(
        select(func.count()).select_from(messages).where(messages.c.run_id == run_id, OPEN_ROW)
    )
    jobs = [
        Job(
            queue=queue,
            task_name=_CHUNK,
            lock=None,
            queueing_lock=None,
            # The first jobs of all runs come before the second ones, so that a large run does not delay others.
            priority=-number,
            task_kwargs={"run_id": run_id, "start_id": start_id, "rows": rows},
        )
        for number, rows in enumerate(_sizes(open_rows or 0))
    ]
    manager = App(connector=PsycopgConnector()).job_manager
    with _driver_errors():
        for chunk in in_chunks(jobs, _JOBS_PER_STATEMENT):
            manager.batch_defer_jobs(list(chunk), connection=_driver(connection))
    return len(jobs)


def _sizes(rows: int) -> Iterator[int]:
    """The numbers of rows of all jobs."""
    while rows > 0:
        size = max(_FEWEST_ROWS, min(_MOST_ROWS, rows // 16))
        yield size
        rows -= size


def forget_chunks(ledger: Ledger, run_id: int) -> None:
    """Deletes the waiting jobs of a run that has ended."""
    query = text(
        "DELETE FROM procrastinate_jobs WHERE task_name = :task AND status = 'todo' "
        "AND CAST(args->>'run_id' AS integer) = :run"
    )
    with ledger.write() as connection:
        if has_queue(connection):
            connection.execute(query, {"task": _CHUNK, "run": run_id})


@dataclass(frozen=True)
class WorkerOptions:
    """`concurrency`: jobs at the same time; `name`: the worker's name for people and in the database's logs."""

    concurrency: int
    name: str


async def work(runs: WorkerRuns, options: WorkerOptions, stopping: asyncio.Event) -> None:
    """Works on jobs until `stopping` is set, across any number of restarts of the database."""
    # Their tracebacks do not help the people who run workers; the messages below say that the database is away.
    for logger in ("procrastinate", "psycopg.pool", "psycopg"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    asyncio.get_running_loop().set_exception_handler(_ignore)
    away = False
    while not stopping.is_set():
        app = _app_of(runs, queue_of(runs.base_url), options)
        try:
            async with app.open_async():
                if away:
                    runs.say("The database is back.")
                away = False
                await _run_worker(app, queue_of(runs.base_url), options, stopping)
        except Exception:  # noqa: BLE001, S110 - the worker survives all errors of the library's connection
            pass
        if not stopping.is_set():
            if not away:
                runs.say("The database cannot be reached. Retrying until it is back.")
            away = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 1.0)


async def _run_worker(app: App, queue: str, options: WorkerOptions, stopping: asyncio.Event) -> None:
    """Runs Procrastinate's worker until it ends or `stopping` is set."""
    worker = asyncio.create_task(
        app.run_worker_async(
            queues=[queue],
            name=options.name,
            concurrency=options.concurrency,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=_HEARTBEAT_SECONDS,
            stalled_worker_timeout=_STALLED_SECONDS,
            fetch_job_polling_interval=_POLL_SECONDS,
            abort_job_polling_interval=_NEVER_SECONDS,
        )
    )
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([worker, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


def _ignore(_loop: object, _context: object) -> None:
    """Ignores that the end of a job could not be stored: the job comes again and finds nothing to send."""


async def _commit_each_statement(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)


def _app_of(runs: WorkerRuns, queue: str, options: WorkerOptions) -> App:
    app = App(
        connector=PsycopgConnector(
            conninfo=_conninfo(runs.ledger.url),
            kwargs=server_options(
                runs.ledger.url,
                application_name=f"batchsend {options.name}",
                # What a crash of the database undoes only makes a job come twice, or never.
                options="-c synchronous_commit=off",
            ),
            configure=_commit_each_statement,
            min_size=1,
            max_size=2,
            timeout=15.0,
        )
    )

    @app.task(name=_CHUNK, queue=queue, retry=RetryStrategy(max_attempts=5, wait=1, linear_wait=2))
    async def send_chunk(run_id: int, start_id: int, rows: int) -> None:
        if await runs.work(run_id, start_id, rows):
            raise _LeftError

    @app.periodic(cron=_SWEEP_TIMES, periodic_id=queue)
    @app.task(
        name=_SWEEP, queue=queue, queueing_lock=f"{queue} sweep", priority=_SWEEP_PRIORITY, pass_context=True
    )
    async def sweep(context: JobContext, timestamp: int) -> None:  # noqa: ARG001 - Procrastinate gives it
        await _sweep(context.app, runs, queue)

    return app


async def _sweep(app: App, runs: WorkerRuns, queue: str) -> None:
    """Cleans up after killed processes: their claims, their jobs and their runs."""
    await asyncio.to_thread(interrupt_expired, runs.ledger)
    stalled = await app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=_STALLED_SECONDS)
    for job in stalled:
        # Its worker may have recovered and finished it just now.
        with suppress(ProcrastinateException):
            await app.job_manager.retry_job(job)
    await asyncio.to_thread(_maintain_runs, runs)


def _maintain_runs(runs: WorkerRuns) -> None:
    """Makes jobs for open rows without one, and ends runs that are done or stopped."""
    ledger = runs.ledger
    end_stopped_runs(ledger)
    for run in open_runs(ledger, runs.base_url):
        if run.settings.wait:
            end_quiet_hours(ledger, run)
        if _has_chunks(ledger, run.run_id) or (state := shared_state(ledger, run.run_id)) is None:
            continue
        if state.in_flight:
            interrupt_expired(ledger, run.run_id)
        if state.open_rows:
            with ledger.write() as connection:
                defer_chunks(connection, run.run_id, run.start_id, runs.base_url)
        elif state.done:
            end_if_done(ledger, run)


def _has_chunks(ledger: Ledger, run_id: int) -> bool:
    query = text(
        "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE task_name = :task AND status IN ('todo', 'doing') "
        "AND CAST(args->>'run_id' AS integer) = :run)"
    )
    with ledger.read() as connection:
        return bool(connection.scalar(query, {"task": _CHUNK, "run": run_id}))


def _conninfo(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def upgrade_queue(ledger: Ledger) -> str:
    """Creates Procrastinate's tables in the ledger's database, or upgrades existing ones to this version.

    Returns what was done, for people. Raises `LedgerError`; then nothing was changed.
    """
    migrations = _migrations()
    newest = migrations[-1].name
    known = f"Procrastinate {version('procrastinate')}"
    with ledger.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
        before = connection.scalar(select(meta.c.value).where(meta.c.name == _MIGRATED))
        if not has_queue(connection):
            _run(connection, SchemaManager.get_schema())
            done = f"created, for {known}"
        elif before is None:
            _refuse_older(connection, ledger.where)
            done = f"found as another program created it, for {known}"
        else:
            missing = [file for file in migrations if file.name > before]
            for file in missing:
                _run(connection, file.read_text(encoding="utf-8"))
            done = f"upgraded to {known}" if missing else f"up to date, for {known}"
        if before is None:
            connection.execute(insert(meta).values(name=_MIGRATED, value=newest))
        elif before < newest:
            connection.execute(update(meta).where(meta.c.name == _MIGRATED).values(value=newest))
    return done


def has_queue(connection: Connection) -> bool:
    """Whether this database has Procrastinate's tables."""
    return connection.scalar(text("SELECT to_regclass('procrastinate_jobs')")) is not None


def queue_is_ready(ledger: Ledger) -> bool:
    """Whether its tables are as new as the Procrastinate that is installed here. Creates them if there are none."""
    with ledger.read() as connection:
        migrated = connection.scalar(select(meta.c.value).where(meta.c.name == _MIGRATED))
        missing = not has_queue(connection)
    if missing:
        upgrade_queue(ledger)
    return missing or (migrated is not None and migrated >= _migrations()[-1].name)


def _migrations() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _refuse_older(connection: Connection, where: str) -> None:
    """Raises `LedgerError` where functions are missing: tables do not say which migrations they have had."""
    wanted = set(re.findall(r"CREATE FUNCTION (\w+)", SchemaManager.get_schema()))
    query = text("SELECT proname FROM pg_proc WHERE proname IN :names").bindparams(
        bindparam("names", expanding=True)
    )
    missing = wanted - set(connection.scalars(query, {"names": sorted(wanted)}))
    if missing:
        raise LedgerError(
            f"{where}: this database has tables of an older Procrastinate that another program created "
            f"({', '.join(sorted(missing))} missing). Nothing was changed. Upgrade them to Procrastinate "
            f"{version('procrastinate')} with its migrations, or use a separate database for batchsend."
        )


def _run(connection: Connection, script: str) -> None:
    """Runs a script of several statements in the connection's transaction."""
    with _driver_errors():
        _driver(connection).execute(script.encode())


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raises errors of the driver and of Procrastinate's statements as SQLAlchemy raises those of its own."""
    try:
        yield
    except (psycopg.Error, ConnectorException) as error:
        raise DBAPIError.instance(None, None, error.__cause__ or error, psycopg.Error) from error


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's connection, within the same transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
