"""A worker: sends the open runs of a ledger on PostgreSQL together with `send` and other workers.

Every worker has its own Procrastinate queue, and makes itself a job for each run with open rows: when it is notified
of one, and every ten seconds. A job may come twice, late or never: only the ledger decides which process sends a row.
No other module uses Procrastinate.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL

from batchsend.errors import LedgerError
from batchsend.ledger.cluster_schema import handovers, leases
from batchsend.ledger.database_errors import retry
from batchsend.ledger.leases import ALIVE, Holder, Lease, interrupt_expired
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import server_options
from batchsend.sending.cluster.dispatch import ClusterProcess, send_run
from batchsend.sending.cluster.open_runs import (
    ROWS_TO_CLAIM,
    EndedRun,
    channel_of,
    close_run,
    end_runs,
    open_run,
    open_run_ids,
)
from batchsend.sending.dispatch import SendLoop
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.stopping import Ending, Stop
from batchsend.settings import Credentials

#: The queue's tables have a schema of their own for each version of Procrastinate, which is made when it is missing.
#: So no tables have to be upgraded, and workers of different versions can send the same run.
SCHEMA = f"batchsend_queue_{version('procrastinate').replace('.', '_')}"
#: How often to look for runs with open rows; one worker also cleans up after killed processes.
_LOOK_SECONDS = 10.0
#: How long a job lasts at most. Then other runs have their turn, if their jobs wait.
_TURN_SECONDS = 30.0
#: The most requests at a time, of all jobs together. The event loop that the database's driver needs on Windows can
#: wait for 512 connections.
_MOST_REQUESTS = 400 if sys.platform == "win32" else sys.maxsize
#: How long a run whose sending failed here is left to others.
_PAUSE_SECONDS = 5.0
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


class Worker:
    """All runs that this worker sends. Belongs to one event loop; `say` prints a sentence.

    `files_of`: the suppression files of a run, if this computer has them. `ended` is told of runs that are over.
    """

    def __init__(
        self,
        ledger: Ledger,
        credentials: Credentials,
        base_url: str,
        name: str,
        say: Callable[[str], None],
        files_of: Callable[[int], SuppressionFiles | None] = lambda _run_id: None,
        ended: Callable[[EndedRun], object] = lambda _run: None,
    ) -> None:
        self._process = ClusterProcess(ledger, credentials, Holder(name, base_url, True))
        self.ledger = ledger
        self.base_url = base_url
        self.name = name
        self.say = say
        self._files_of = files_of
        self._ended = ended
        self._of_api = handovers.c.base_url == base_url
        #: Its presence as a worker.
        self._presence: Lease | None = None
        #: Run -> what ends its sending here; `None` where its job waits for its turn.
        self._stops: dict[int, Stop | None] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._most_requests = _MOST_REQUESTS
        #: Run -> the last problem with it that was said.
        self._problems: dict[int, str] = {}

    async def __aenter__(self) -> Self:
        self._presence = await asyncio.to_thread(self._process.keeper.take, self._process.holder)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.gather(*self._sending)
        if self._presence is not None:
            await asyncio.to_thread(self._process.keeper.give_up, self._presence)
        await asyncio.to_thread(self._process.close)

    def leave(self) -> None:
        """Sends no further request from here; requests in flight are finished and recorded."""
        self._process.leaving.set()
        for stop in filter(None, self._stops.values()):
            stop(Ending("this worker ends", interrupted=True))

    async def work(self, concurrency: int, stopping: asyncio.Event) -> None:
        """Works on jobs until `stopping` is set, across any number of restarts of the database.

        `concurrency`: jobs at the same time.
        """
        # Their tracebacks do not help the people who run workers; the messages below say that the database is away.
        for logger in ("procrastinate", "psycopg.pool", "psycopg", "asyncio"):
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
        self._most_requests = _MOST_REQUESTS // concurrency
        away = False
        while not stopping.is_set():
            app = App(connector=_connector(self.ledger.url, self.name))
            try:
                async with app.open_async():
                    if away:
                        self.say("The database is back.")
                    away = False
                    await self._work_while_connected(app, concurrency, stopping)
            except Exception:  # noqa: BLE001, S110 - the worker survives all errors of the library's connection
                pass
            if not stopping.is_set():
                if not away:
                    self.say("The database cannot be reached. Retrying until it is back.")
                away = True
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), 1.0)

    async def _work_while_connected(self, app: App, concurrency: int, stopping: asyncio.Event) -> None:
        # The name of PostgreSQL's channel has 23 characters more, and 63 at most.
        queue = uuid.uuid4().hex
        job = app.task(name="batchsend.send_run", queue=queue)(self.send)
        # Jobs that waited were lost with the last connection.
        self._stops = {run_id: stop for run_id, stop in self._stops.items() if stop is not None}

        async def begin(run_id: int) -> None:
            if run_id not in self._stops:
                self._stops[run_id] = None
                try:
                    await job.defer_async(run_id=run_id)
                except ProcrastinateException:
                    # The next look makes it.
                    del self._stops[run_id]

        async def notified(*, channel: str, payload: str) -> None:  # noqa: ARG001 - Procrastinate gives it
            await begin(int(payload))

        worker = app.run_worker_async(
            queues=[queue],
            name=self.name,
            concurrency=concurrency,
            delete_jobs="always",
            install_signal_handlers=False,
            fetch_job_polling_interval=_LOOK_SECONDS,
            abort_job_polling_interval=_LOOK_SECONDS,
            # Its jobs' runs go on, and are found again over the next connection.
            shutdown_graceful_timeout=0,
        )
        listener = app.connector.listen_notify(notified, [channel_of(self.base_url)])
        tasks = [asyncio.create_task(one) for one in (worker, listener, stopping.wait())]
        while not any(task.done() for task in tasks):
            with suppress(LedgerError, ProcrastinateException):
                if await asyncio.to_thread(self.sweep):
                    await _delete_stalled_jobs(app.job_manager)
                for run_id in await asyncio.to_thread(self.runs_to_send):
                    await begin(run_id)
            await asyncio.wait(tasks, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, run_id: int) -> None:
        """A job: sends a run until no row of it is open, or for a turn where other runs wait."""
        sending = asyncio.create_task(self._send(run_id))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        while not sending.done():
            await asyncio.wait([sending], timeout=_TURN_SECONDS)
            stop = self._stops.get(run_id)
            if stop is not None and None in self._stops.values():
                stop(Ending("another run has its turn", interrupted=True))

    async def _send(self, run_id: int) -> None:
        try:
            run = await asyncio.to_thread(open_run, self.ledger, run_id, ROWS_TO_CLAIM)
            files = await asyncio.to_thread(self._files_of, run_id)
            if run is None or self._process.leaving.is_set():
                return
            # The end of quiet hours is for the sweep: a worker has no time to wait for it.
            most = min(run.settings.concurrency, self._most_requests)
            loop = SendLoop(replace(run.settings, wait=False, concurrency=most), lambda _event: None)
            self._stops[run_id] = loop.stop
            self.say(f"Run {run_id}: helping to send it.")
            self._problems.pop(run_id, None)
            ending = await send_run(self._process, run, loop, files)
            if ending is None or ending.reason is None or ending.asked or ending.interrupted:
                return
            self.say(f"Run {run_id}: stopped: {ending.reason}")
            because = f"worker {self.name}: {ending.reason}"
            closing = partial(close_run, self.ledger, run, because)
            await asyncio.to_thread(retry, closing, self._process.leaving.is_set)
        except Exception as error:  # noqa: BLE001 - a worker survives all errors; other workers continue the run
            if (problem := str(error)) != self._problems.get(run_id):
                self.say(f"Run {run_id}: {problem} This worker tries again.")
            self._problems[run_id] = problem
            if not self._process.leaving.is_set():
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._stops.pop(run_id, None)

    def runs_to_send(self) -> list[int]:
        """The open runs to this worker's API with rows to claim. Raises `LedgerError`."""
        return open_run_ids(self.ledger, self._of_api, ROWS_TO_CLAIM)

    def sweep(self) -> bool:
        """Cleans up after killed processes and ends runs that are over. Returns whether this one does so for all.

        Raises `LedgerError`.
        """
        waits = (leases.c.worker, leases.c.run_id.is_(None), leases.c.base_url == self.base_url)
        with self.ledger.read() as connection:
            first = connection.scalar(select(func.min(leases.c.owner)).where(*waits, ALIVE))
        if self._presence is None or self._presence.owner != first:
            return False
        interrupt_expired(self.ledger)
        for run_id in open_run_ids(self.ledger, self._of_api, ~ROWS_TO_CLAIM):
            interrupt_expired(self.ledger, run_id)
        for run in end_runs(self.ledger):
            self._ended(run)
        return True


def _connector(url: URL, name: str) -> PsycopgConnector:
    """One connection for a queue. Those that listen are made like it."""
    return PsycopgConnector(
        conninfo=url.set(drivername="postgresql").render_as_string(hide_password=False),
        kwargs=server_options(url, application_name=f"batchsend {name}"),
        pool_factory=_unchecked_pool,
        configure=_set_up,
        min_size=1,
        max_size=1,
        timeout=15.0,
    )


def _unchecked_pool(**options: Any) -> AsyncConnectionPool:
    """A pool that does not ask its connection whether it lives before each statement, which costs a transaction."""
    return AsyncConnectionPool(**{**options, "check": None})


async def _set_up(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    # What a crash of the database undoes only makes a job come twice, or never.
    await connection.execute(f"SET search_path TO {SCHEMA}; SET synchronous_commit TO off".encode())


async def _delete_stalled_jobs(jobs: JobManager) -> None:
    """Deletes the jobs of workers that were killed."""
    for job in await jobs.get_stalled_jobs():
        await jobs.finish_job(job, Status.FAILED, delete_job=True)
