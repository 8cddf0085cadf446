"""The queue of a ledger on PostgreSQL: the only module that knows Procrastinate.

A job is a chunk of a run's rows: "lend a hand with these". It may come twice, late or never: what is sent, and by
whom, the ledger alone decides. A job whose worker was killed goes to another one; rows that are left without a job
get a new one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Job
from procrastinate.schema import SchemaManager
from sqlalchemy import Connection, bindparam, func, insert, select, text, update
from sqlalchemy.engine import URL

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_options
from batchsend.ledger.schema import messages, meta
from batchsend.sending.cluster.leases import interrupt_dead
from batchsend.sending.cluster.open_runs import OPEN_ROW, conclude, open_runs, run_progress, wake_sleepers
from batchsend.sending.cluster.worker import ChunkResult, WorkerRuns

if TYPE_CHECKING:
    import psycopg

#: Rows of one job.
_CHUNK_ROWS = 200
#: Jobs that are made in one statement.
_JOBS_AT_ONCE = 1000
#: What Procrastinate knows our tasks by.
_CHUNK, _SWEEP = "batchsend.send_chunk", "batchsend.sweep"
#: Every ten seconds, by one worker for all: with a sixth field, that one counts seconds.
_SWEEP_TIMES = "* * * * * */10"
#: Before any chunk.
_SWEEP_PRIORITY = 1000
_HEARTBEAT_SECONDS = 5.0
#: A worker without a heartbeat for so long is dead, and its jobs go to others.
_STALLED_SECONDS = 20.0
#: A job that was given back tells nobody: it is found by looking.
_LOOK_SECONDS = 2.0
#: Under this name `meta` says up to which of Procrastinate's migrations its tables are.
_MIGRATED = "queue_migration"


class _LeftError(Exception):
    """This worker ends before the chunk is done: another one has to go on."""


def queue_of(base_url: str) -> str:
    """The queue of all runs at one API. PostgreSQL's channels, which are called after it, have short names."""
    return f"batchsend-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}"


def defer_chunks(connection: Connection, run_id: int, start_id: int, base_url: str) -> int:
    """Makes a job for each chunk of the run's open rows, in the connection's transaction. Returns how many.

    Jobs of an earlier start, and of runs that are over, go.
    """
    connection.execute(
        text(
            "DELETE FROM procrastinate_jobs job WHERE task_name = :task AND status = 'todo' AND ("
            "  CAST(args->>'run_id' AS integer) = :run OR NOT EXISTS ("
            "    SELECT 1 FROM handovers WHERE run_id = CAST(job.args->>'run_id' AS integer) AND open))"
        ),
        {"task": _CHUNK, "run": run_id},
    )
    numbered = (
        select(
            messages.c.row,
            ((func.row_number().over(order_by=messages.c.row) - 1) // _CHUNK_ROWS).label("chunk"),
        )
        .where(messages.c.run_id == run_id, OPEN_ROW)
        .subquery()
    )
    bounds = (
        select(func.min(numbered.c.row), func.max(numbered.c.row))
        .group_by(numbered.c.chunk)
        .order_by(numbered.c.chunk)
    )
    chunks = [
        Job(
            queue=queue_of(base_url),
            task_name=_CHUNK,
            lock=None,
            queueing_lock=None,
            # The first chunks of all runs come before the second ones: no large run holds up the others.
            priority=-number,
            task_kwargs={"run_id": run_id, "start_id": start_id, "first": first, "last": last},
        )
        for number, (first, last) in enumerate(connection.execute(bounds))
    ]
    manager = App(connector=PsycopgConnector()).job_manager
    for begin in range(0, len(chunks), _JOBS_AT_ONCE):
        manager.batch_defer_jobs(chunks[begin : begin + _JOBS_AT_ONCE], connection=_driver(connection))
    return len(chunks)


def forget_chunks(ledger: Ledger, run_id: int) -> None:
    """Deletes the jobs of a run that has ended and that nobody has begun."""
    query = text(
        "DELETE FROM procrastinate_jobs WHERE task_name = :task AND status = 'todo' "
        "AND CAST(args->>'run_id' AS integer) = :run"
    )
    with ledger.write() as connection:
        if has_queue(connection):
            connection.execute(query, {"task": _CHUNK, "run": run_id})


@dataclass(frozen=True)
class WorkerOptions:
    """`concurrency`: chunks at once; `name`: what people and the database's logs know the worker by."""

    concurrency: int
    name: str


async def work(team: WorkerRuns, options: WorkerOptions, stopping: asyncio.Event) -> None:
    """Works off jobs until `stopping` is set, over any number of restarts of the database."""
    # Their tracebacks are not for those who look after workers; that the database is away is said below.
    for logger in ("procrastinate", "psycopg.pool", "psycopg"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    asyncio.get_running_loop().set_exception_handler(_pass_over)
    away = False
    while not stopping.is_set():
        queue = queue_of(team.base_url)
        app = _app_of(team, queue, options)
        try:
            async with app.open_async():
                if away:
                    team.say("The database is back.")
                away = False
                worker = asyncio.create_task(
                    app.run_worker_async(
                        queues=[queue],
                        name=options.name,
                        concurrency=options.concurrency,
                        delete_jobs="always",
                        install_signal_handlers=False,
                        update_heartbeat_interval=_HEARTBEAT_SECONDS,
                        stalled_worker_timeout=_STALLED_SECONDS,
                        fetch_job_polling_interval=_LOOK_SECONDS,
                    )
                )
                stopped = asyncio.create_task(stopping.wait())
                await asyncio.wait([worker, stopped], return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
        except Exception:  # noqa: BLE001, S110 - whatever the library's connection runs into, the worker goes on
            pass
        if not stopping.is_set():
            if not away:
                team.say("The database went away. Trying again until it is back.")
            away = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 1.0)


def _pass_over(_loop: object, _context: object) -> None:
    """A job whose end could not be told to the database: it comes again, and finds nothing to send."""


def _app_of(team: WorkerRuns, queue: str, options: WorkerOptions) -> App:
    app = App(
        connector=PsycopgConnector(
            conninfo=_conninfo(team.ledger.url),
            kwargs=server_options(team.ledger.url, application_name=f"batchsend {options.name}"),
            min_size=1,
            max_size=4,
            timeout=15.0,
        )
    )

    @app.task(name=_CHUNK, queue=queue, retry=RetryStrategy(max_attempts=5, wait=1, linear_wait=2))
    async def send_chunk(run_id: int, start_id: int, first: int, last: int) -> None:
        if await team.work(run_id, start_id, first, last) is ChunkResult.LEFT:
            raise _LeftError

    @app.periodic(cron=_SWEEP_TIMES, periodic_id=queue)
    @app.task(
        name=_SWEEP, queue=queue, queueing_lock=f"{queue} sweep", priority=_SWEEP_PRIORITY, pass_context=True
    )
    async def sweep(context: JobContext, timestamp: int) -> None:  # noqa: ARG001 - Procrastinate gives it
        await _sweep(context.app, team, queue)

    return app


async def _sweep(app: App, team: WorkerRuns, queue: str) -> None:
    """Puts right what killed processes left behind."""
    await asyncio.to_thread(interrupt_dead, team.ledger)
    stalled = await app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=_STALLED_SECONDS)
    for job in stalled:
        # Its worker may have come back and finished it just now.
        with suppress(ProcrastinateException):
            await app.job_manager.retry_job(job)
    await asyncio.to_thread(_look_after_runs, team)


def _look_after_runs(team: WorkerRuns) -> None:
    """Rows without a job get a new one; runs that are done are ended."""
    ledger = team.ledger
    for run in open_runs(ledger, team.base_url):
        if run.settings.wait:
            wake_sleepers(ledger, run)
        if _has_chunks(ledger, run.run_id):
            continue
        state = run_progress(ledger, run.run_id)
        if state.in_flight:
            interrupt_dead(ledger, run.run_id)
        if state.open_rows:
            with ledger.write() as connection:
                defer_chunks(connection, run.run_id, run.start_id, team.base_url)
        elif state.done:
            conclude(ledger, run)


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
    """Makes Procrastinate's tables in the ledger's database, or brings those that are there to this version.

    Returns a sentence that says what was done. Raises `LedgerError`; then nothing was changed.
    """
    migrations = _migrations()
    newest = migrations[-1].name
    known = f"Procrastinate {version('procrastinate')}"
    with ledger.write() as connection:
        before = connection.scalar(select(meta.c.value).where(meta.c.name == _MIGRATED).with_for_update())
        if not has_queue(connection):
            _run(connection, SchemaManager.get_schema())
            done = f"made, as of {known}"
        elif before is None:
            _refuse_older(connection, ledger.where)
            done = f"found as made by somebody else, as of {known}"
        else:
            missing = [file for file in migrations if file.name > before]
            for file in missing:
                _run(connection, file.read_text(encoding="utf-8"))
            done = f"brought up to {known}" if missing else f"up to date, as of {known}"
        if before is None:
            connection.execute(insert(meta).values(name=_MIGRATED, value=newest))
        elif before < newest:
            connection.execute(update(meta).where(meta.c.name == _MIGRATED).values(value=newest))
    return done


def has_queue(connection: Connection) -> bool:
    """Are Procrastinate's tables in this database?"""
    return connection.scalar(text("SELECT to_regclass('procrastinate_jobs')")) is not None


def queue_is_ready(connection: Connection) -> bool:
    """Are they there, and as new as the Procrastinate that is installed here?"""
    migrated = connection.scalar(select(meta.c.value).where(meta.c.name == _MIGRATED))
    return migrated is not None and migrated >= _migrations()[-1].name and has_queue(connection)


def _migrations() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _refuse_older(connection: Connection, where: str) -> None:
    """Which migrations tables have seen stands nowhere; that all functions of the present ones exist can be seen."""
    wanted = set(re.findall(r"CREATE FUNCTION (\w+)", SchemaManager.get_schema()))
    query = text("SELECT proname FROM pg_proc WHERE proname IN :names").bindparams(
        bindparam("names", expanding=True)
    )
    missing = wanted - set(connection.scalars(query, {"names": sorted(wanted)}))
    if missing:
        raise LedgerError(
            f"{where}: this database has tables of an older Procrastinate, which another program made "
            f"({', '.join(sorted(missing))} missing). Nothing was changed. Bring them up to Procrastinate "
            f"{version('procrastinate')} with its own migrations, or use a database of batchsend's own."
        )


def _run(connection: Connection, script: str) -> None:
    """Runs a script of several statements in the connection's transaction."""
    _driver(connection).execute(script.encode())


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's own connection, within the same transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
