"""The Procrastinate queues of a ledger on PostgreSQL. No other module uses Procrastinate.

Every worker has its own queue. A notification tells all workers of a run with open rows, and each of them makes
itself a job to send it. A job may come twice, late or never: only the ledger decides which process sends a row. Every
ten seconds, a worker looks for such runs, too.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Status
from procrastinate.schema import SchemaManager
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import func, select, text

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_options
from batchsend.sending.cluster.open_runs import channel_of
from batchsend.sending.cluster.worker import WorkerRuns

#: The queue's tables have a schema of their own for each version of Procrastinate, which is made when it is missing.
#: So no tables have to be upgraded, and workers of different versions can send the same run.
SCHEMA = f"batchsend_queue_{version('procrastinate').replace('.', '_')}"
#: How often one worker looks for runs with open rows and cleans up after killed processes.
_SWEEP_SECONDS = 10.0
_HEARTBEAT_SECONDS = 5.0
#: A worker without a heartbeat for this long is dead, and its jobs are deleted.
_STALLED_SECONDS = 20.0
#: How often to look for jobs whose notification was lost.
_POLL_SECONDS = 5.0
#: Nothing ever cancels jobs, so that there is no need to ask for cancelled ones.
_NEVER_SECONDS = 1e6
#: PostgreSQL's advisory lock for creating the queue's tables: "queue" on a phone's keys.
_CREATION_LOCK = 78383


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


async def work(runs: WorkerRuns, concurrency: int, stopping: asyncio.Event) -> None:
    """Works on jobs until `stopping` is set, across any number of restarts of the database.

    `concurrency`: jobs at the same time.
    """
    # Their tracebacks do not help the people who run workers; the messages below say that the database is away.
    for logger in ("procrastinate", "psycopg.pool", "psycopg"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    asyncio.get_running_loop().set_exception_handler(_ignore)
    away = False
    while not stopping.is_set():
        queue = _Queue(runs)
        try:
            async with queue.app.open_async():
                if away:
                    runs.say("The database is back.")
                away = False
                await queue.work(concurrency, stopping)
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
    """A worker's own queue, over one connection, and two to listen to the queue and to the runs of its API."""

    def __init__(self, runs: WorkerRuns) -> None:
        self._runs = runs
        # The name of PostgreSQL's channel has 23 characters more, and 63 at most.
        self._name = uuid.uuid4().hex
        url = runs.ledger.url
        self._connector = PsycopgConnector(
            conninfo=url.set(drivername="postgresql").render_as_string(hide_password=False),
            kwargs=server_options(url, application_name=f"batchsend {runs.name}"),
            pool_factory=_unchecked_pool,
            configure=_set_up,
            min_size=1,
            max_size=1,
            timeout=15.0,
        )
        self.app = App(connector=self._connector)
        self._job = self.app.task(name="batchsend.send_run", queue=self._name)(runs.work)

    async def work(self, concurrency: int, stopping: asyncio.Event) -> None:
        """Works on jobs until the connection is lost or `stopping` is set."""
        self._runs.forget_waiting()
        worker = self.app.run_worker_async(
            queues=[self._name],
            name=self._runs.name,
            concurrency=concurrency,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=_HEARTBEAT_SECONDS,
            stalled_worker_timeout=_STALLED_SECONDS,
            fetch_job_polling_interval=_POLL_SECONDS,
            abort_job_polling_interval=_NEVER_SECONDS,
            # Its jobs' runs go on, and are found again over the next connection.
            shutdown_graceful_timeout=0,
        )
        listener = self._connector.listen_notify(
            on_notification=self._notified, channels=[channel_of(self._runs.base_url)]
        )
        tasks = [asyncio.create_task(one) for one in (worker, listener, stopping.wait())]
        while not any(task.done() for task in tasks):
            await self._sweep()
            await asyncio.wait(tasks, timeout=_SWEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _notified(self, *, channel: str, payload: str) -> None:  # noqa: ARG002 - Procrastinate gives it
        await self._begin(int(payload))

    async def _begin(self, run_id: int) -> None:
        if self._runs.needs(run_id):
            await self._job.defer_async(run_id=run_id)

    async def _sweep(self) -> None:
        with suppress(LedgerError, ProcrastinateException):
            await asyncio.to_thread(self._runs.sweep)
            for run_id in await asyncio.to_thread(self._runs.runs_to_send):
                await self._begin(run_id)
        jobs = self.app.job_manager
        with suppress(ProcrastinateException):
            for job in await jobs.get_stalled_jobs(seconds_since_heartbeat=_STALLED_SECONDS):
                await jobs.finish_job(job, Status.FAILED, delete_job=True)
