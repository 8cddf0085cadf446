"""The Procrastinate queue of a ledger on PostgreSQL. No other module uses Procrastinate.

A job invites a worker to send a run. It may come twice, late or never: only the ledger decides which process sends a
row. The worker that gets it invites the next one before it begins, so that all workers come while rows are open.
Every ten seconds, one worker for all invites to runs whose job was lost or whose rows are open again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Status
from procrastinate.schema import SchemaManager
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import func, select, text

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_options
from batchsend.sending.cluster.leases import interrupt_expired
from batchsend.sending.cluster.open_runs import (
    ROWS_TO_CLAIM,
    channel_of,
    end_quiet_hours,
    end_runs,
    open_runs,
)
from batchsend.sending.cluster.worker import WorkerRuns

#: The queue's tables have a schema of their own for each version of Procrastinate, which is made when it is missing.
#: So no tables have to be upgraded, and workers of different versions can send the same run.
SCHEMA = f"batchsend_queue_{version('procrastinate').replace('.', '_')}"
#: Every ten seconds, by one worker for all. The sixth field counts seconds.
_SWEEP_TIMES = "* * * * * */10"
#: Higher than the priority of an invitation.
_SWEEP_PRIORITY = 1000
_HEARTBEAT_SECONDS = 5.0
#: A worker without a heartbeat for this long is dead, and its jobs are deleted.
_STALLED_SECONDS = 20.0
#: How often to look for jobs whose notification was lost.
_POLL_SECONDS = 5.0
#: Nothing ever cancels jobs, so that there is no need to ask for cancelled ones.
_NEVER_SECONDS = 1e6
#: PostgreSQL's advisory lock for creating the queue's tables: "queue" on a phone's keys.
_CREATION_LOCK = 78383


@dataclass(frozen=True)
class WorkerOptions:
    """`concurrency`: jobs at the same time; `name`: the worker's name for people and in the database's logs."""

    concurrency: int
    name: str


def create_queue(ledger: Ledger) -> bool:
    """Creates the tables of the installed Procrastinate; `False`: they exist. Raises `LedgerError`."""
    script = f"CREATE SCHEMA {SCHEMA}; SET LOCAL search_path TO {SCHEMA}; {SchemaManager.get_schema()}"
    with ledger.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
        if connection.scalar(select(func.to_regnamespace(SCHEMA))) is not None:
            return False
        # As one statement, SQLAlchemy executes it and reports its errors.
        connection.execute(text(f"DO $batchsend$ BEGIN EXECUTE $queue${script}$queue$; END $batchsend$"))
    return True


async def work(runs: WorkerRuns, options: WorkerOptions, stopping: asyncio.Event) -> None:
    """Works on jobs until `stopping` is set, across any number of restarts of the database."""
    # Their tracebacks do not help the people who run workers; the messages below say that the database is away.
    for logger in ("procrastinate", "psycopg.pool", "psycopg"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    asyncio.get_running_loop().set_exception_handler(_ignore)
    away = False
    while not stopping.is_set():
        queue = _Queue(runs, options)
        try:
            async with queue.app.open_async():
                if away:
                    runs.say("The database is back.")
                away = False
                await queue.work(stopping)
        except Exception:  # noqa: BLE001, S110 - the worker survives all errors of the library's connection
            pass
        if not stopping.is_set():
            if not away:
                runs.say("The database cannot be reached. Retrying until it is back.")
            away = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 1.0)


def _ignore(_loop: object, _context: object) -> None:
    """Ignores that the end of a job could not be stored: it is deleted later."""


async def _set_up(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    # What a crash of the database undoes only makes a job come twice, or never.
    await connection.execute(f"SET search_path TO {SCHEMA}; SET synchronous_commit TO off".encode())


def _unchecked_pool(**options: Any) -> AsyncConnectionPool:
    """A pool that does not ask its connection whether it lives before each statement, which costs a transaction."""
    return AsyncConnectionPool(**{**options, "check": None})


class _Queue:
    """The queue of all runs to one API, as a worker uses it over one connection, and another one to listen."""

    def __init__(self, runs: WorkerRuns, options: WorkerOptions) -> None:
        self._runs = runs
        self._options = options
        self._name = channel_of(runs.base_url)
        url = runs.ledger.url
        self._connector = PsycopgConnector(
            conninfo=url.set(drivername="postgresql").render_as_string(hide_password=False),
            kwargs=server_options(url, application_name=f"batchsend {options.name}"),
            pool_factory=_unchecked_pool,
            configure=_set_up,
            min_size=1,
            max_size=1,
            timeout=15.0,
        )
        self.app = App(connector=self._connector)
        self._invitation = self.app.task(name="batchsend.send_run", queue=self._name)(self._send_run)
        lock = f"{self._name} sweep"
        sweep = self.app.task(
            name="batchsend.sweep", queue=self._name, queueing_lock=lock, priority=_SWEEP_PRIORITY
        )(self._sweep)
        self.app.periodic(cron=_SWEEP_TIMES, periodic_id=self._name)(sweep)

    async def work(self, stopping: asyncio.Event) -> None:
        """Works on jobs until the connection is lost or `stopping` is set."""
        worker = self.app.run_worker_async(
            queues=[self._name],
            name=self._options.name,
            concurrency=self._options.concurrency,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=_HEARTBEAT_SECONDS,
            stalled_worker_timeout=_STALLED_SECONDS,
            fetch_job_polling_interval=_POLL_SECONDS,
            abort_job_polling_interval=_NEVER_SECONDS,
        )
        listener = self._connector.listen_notify(on_notification=self._opened, channels=[self._name])
        tasks = [asyncio.create_task(one) for one in (worker, listener, stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _opened(self, *, channel: str, payload: str) -> None:  # noqa: ARG002 - Procrastinate gives it
        await self._invite(int(payload))

    async def _invite(self, run_id: int) -> None:
        """Makes a job for a run, unless one is waiting."""
        with suppress(ProcrastinateException):
            await self._invitation.configure(queueing_lock=f"run {run_id}").defer_async(run_id=run_id)

    async def _send_run(self, run_id: int) -> None:
        await self._runs.work(run_id, self._invite)

    async def _sweep(self, timestamp: int) -> None:  # noqa: ARG002 - Procrastinate gives it
        """Cleans up after killed processes: their claims, their jobs and their runs."""
        ledger, base_url = self._runs.ledger, self._runs.base_url
        await asyncio.to_thread(interrupt_expired, ledger)
        for run in await asyncio.to_thread(open_runs, ledger, base_url, ~ROWS_TO_CLAIM):
            await asyncio.to_thread(interrupt_expired, ledger, run.run_id)
            await asyncio.to_thread(end_quiet_hours, ledger, run)
        await asyncio.to_thread(end_runs, ledger)
        for run in await asyncio.to_thread(open_runs, ledger, base_url, ROWS_TO_CLAIM):
            await self._invite(run.run_id)
        jobs = self.app.job_manager
        for job in await jobs.get_stalled_jobs(queue=self._name, seconds_since_heartbeat=_STALLED_SECONDS):
            # Its worker may have recovered and finished it just now.
            with suppress(ProcrastinateException):
                await jobs.finish_job(job, Status.FAILED, delete_job=True)
