"""A worker's part in runs: one `RunSender` for each run, which claims as many rows as jobs allow it.

There is one sender for each run, however many of its jobs are here, so that one process claims no more than twice the
run's `concurrency` rows. How jobs come here is the business of `queue.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from batchsend.ledger.ledger import Ledger
from batchsend.sending.cluster.leases import LeaseLostError
from batchsend.sending.cluster.open_runs import OpenRun, close_run, open_run
from batchsend.sending.cluster.outbox import Quota
from batchsend.sending.cluster.run_sender import ClusterProcess, RunSender
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.sender import Ending
from batchsend.settings import Credentials

Say = Callable[[str], None]
FilesOf = Callable[[int], SuppressionFiles | None]


class WorkerRuns:
    """All runs that this worker sends. Belongs to one event loop; `say` prints a sentence.

    `files_of`: the suppression files of a run, if this computer has them.
    """

    def __init__(
        self,
        ledger: Ledger,
        credentials: Credentials,
        base_url: str,
        name: str,
        say: Say,
        files_of: FilesOf = lambda _run_id: None,
    ) -> None:
        self.process = ClusterProcess(ledger, credentials, base_url, name, worker=True)
        self.ledger = ledger
        self.base_url = base_url
        self.say = say
        self._files_of = files_of
        self._runs: dict[int, _WorkerRun] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.process.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.gather(*(run.task for run in self._runs.values()), return_exceptions=True)
        await self.process.__aexit__(kind, error, trace)

    def leave(self) -> None:
        """Sends no further request from here; requests in flight are finished and recorded."""
        self.process.leaving.set()
        for run in self._runs.values():
            run.sender.stop(Ending("this worker ends", interrupted=True))

    async def work(self, run_id: int, start_id: int, rows: int) -> bool:
        """Sends up to `rows` rows of a run. Returns whether another worker has to do so, because this one ends.

        Returns early enough for the next job to come while the last rows are sent. Raises `LedgerError`, and any
        other error from inside.
        """
        async with self._opening:
            run = await self._run(run_id, start_id)
        if run is not None:
            await run.work(rows)
        return self.process.leaving.is_set()

    def forget(self, run: _WorkerRun) -> None:
        """Removes a run of which this worker sends nothing more."""
        if self._runs.get(run.run.run_id) is run:
            del self._runs[run.run.run_id]

    async def _run(self, run_id: int, start_id: int) -> _WorkerRun | None:
        """The run as this start planned it; `None` if it is not needed any more."""
        known = self._runs.get(run_id)
        if known is not None and (known.over or known.run.start_id != start_id):
            # A run that was planned again ends by itself once it sees that.
            await asyncio.gather(known.task, return_exceptions=True)
            known = None
        if known is None and not self.process.leaving.is_set():
            run = await asyncio.to_thread(open_run, self.ledger, run_id)
            if run is not None and run.start_id == start_id and run.settings.base_url == self.base_url:
                files = await asyncio.to_thread(self._files_of, run_id)
                known = self._runs[run_id] = _WorkerRun(self, run, files)
        return known


class _WorkerRun:
    """One run that this worker sends, as long as there are jobs for it here."""

    def __init__(self, runs: WorkerRuns, run: OpenRun, files: SuppressionFiles | None) -> None:
        self._runs = runs
        self.run = run
        self.over = False
        self._quota = Quota(allowed=0)
        #: The jobs, each until so many rows are claimed.
        self._jobs: list[tuple[float, asyncio.Future[None]]] = []
        # The end of quiet hours is for the sweep: a worker has no time to wait for it.
        self._client = run.settings.client(runs.process.credentials)
        sent = replace(run, settings=replace(run.settings, wait=False))
        self.sender = RunSender(runs.process, sent, self._client, self._advance, files, self._quota)
        self.task = asyncio.create_task(self._send())

    async def work(self, rows: int) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.append((self._quota.allowed + rows / 2, done))
        self._quota.allowed += rows
        await asyncio.shield(done)

    def _advance(self, _event: object) -> None:
        while self._jobs and self._quota.claimed >= self._jobs[0][0]:
            self._end_job()

    def _end_job(self, error: Exception | None = None) -> None:
        _, done = self._jobs.pop(0)
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    async def _send(self) -> None:
        problem: Exception | None = None
        try:
            await self._send_rows()
        except Exception as error:  # noqa: BLE001 - it is raised in the jobs
            problem = error
        finally:
            self.over = True
            self._runs.forget(self)
            while self._jobs:
                self._end_job(problem)

    async def _send_rows(self) -> None:
        run_id, say = self.run.run_id, self._runs.say
        say(f"Run {run_id}: helping to send it.")
        async with self._client:
            while self._quota.claimed < self._quota.allowed:
                allowed = self._quota.allowed
                try:
                    ending = await self.sender.send()
                except LeaseLostError:
                    say(f"Run {run_id}: this worker was suspended for too long and starts again.")
                    continue
                if ending is None or ending.asked or ending.interrupted:
                    return
                if ending.reason is not None:
                    say(f"Run {run_id}: stopped: {ending.reason}")
                    because = f"worker {self._runs.process.holder.name}: {ending.reason}"
                    await asyncio.to_thread(close_run, self._runs.ledger, self.run, because)
                    return
                if self._quota.allowed == allowed:
                    # Its rows are sent, or none is left.
                    break
            # Closing the client takes a moment: from here on, jobs go to a new sender.
            self.over = True
