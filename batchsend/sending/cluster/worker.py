"""A worker's part in runs: one `RunSender` for each run, which sends the chunks that jobs bring.

There is one sender for each run, however many of its chunks are here, so that one process claims no more than twice
the run's `concurrency` rows. How jobs come here is the business of `queue.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from types import TracebackType
from typing import Self

from batchsend.ledger.ledger import Ledger
from batchsend.sending.cluster.leases import LeaseLostError
from batchsend.sending.cluster.open_runs import OpenRun, close_run, open_run
from batchsend.sending.cluster.outbox import RowRange
from batchsend.sending.cluster.run_sender import ClusterProcess, RunSender
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.sender import Ending
from batchsend.settings import Credentials

Say = Callable[[str], None]
FilesOf = Callable[[int], SuppressionFiles | None]


class ChunkResult(StrEnum):
    """How this worker ended its work on a chunk."""

    DONE = "done"  # nothing of it is left to claim
    OVER = "over"  # the run has ended, was stopped or planned again: the chunk is not needed any more
    LEFT = "left"  # this worker ends: another one has to send the rest


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
        self.files_of = files_of
        self._runs: dict[int, _WorkerRun] = {}

    async def __aenter__(self) -> Self:
        await self.process.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.gather(*(run.ended() for run in list(self._runs.values())), return_exceptions=True)
        await self.process.__aexit__(kind, error, trace)

    def leave(self) -> None:
        """Sends no further request from here; requests in flight are finished and recorded."""
        self.process.leaving.set()
        for run in self._runs.values():
            run.sender.stop(Ending("this worker ends", interrupted=True))

    async def work(self, run_id: int, start_id: int, first: int, last: int) -> ChunkResult:
        """Sends what is left of these rows. Raises `LedgerError`, and any other error from inside."""
        if self.process.leaving.is_set():
            return ChunkResult.LEFT
        known = self._runs.get(run_id)
        if known is None or known.over or known.start_id != start_id:
            run = await asyncio.to_thread(open_run, self.ledger, run_id)
            if run is None or run.start_id != start_id or run.settings.base_url != self.base_url:
                return ChunkResult.OVER
            known = self._runs.get(run_id)
            if known is not None and known.start_id != start_id:
                # It ends by itself once it sees that its plan is out of date.
                await known.ended()
                known = None
            if known is None or known.over:
                files = await asyncio.to_thread(self.files_of, run_id)
                known = self._runs[run_id] = _WorkerRun(self, run, files)
        try:
            return await known.work(RowRange(first, last))
        finally:
            if known.over and self._runs.get(run_id) is known:
                del self._runs[run_id]


class _WorkerRun:
    """One run that this worker sends, as long as there are chunks of it here."""

    def __init__(self, runs: WorkerRuns, run: OpenRun, files: SuppressionFiles | None) -> None:
        self._runs = runs
        self._run = run
        self.start_id = run.start_id
        self.over = False
        self._chunks: dict[RowRange, asyncio.Future[ChunkResult]] = {}
        # The end of quiet hours is for the sweep: a worker has no time to wait for it.
        self._client = run.settings.client(runs.process.credentials)
        sent = replace(run, settings=replace(run.settings, wait=False))
        self.sender = RunSender(runs.process, sent, self._client, _ignore, files)
        self._task = asyncio.create_task(self._send())

    async def work(self, chunk: RowRange) -> ChunkResult:
        future: asyncio.Future[ChunkResult] = asyncio.get_running_loop().create_future()
        self._chunks[chunk] = future
        self.sender.add(chunk)
        return await asyncio.shield(future)

    async def ended(self) -> None:
        await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        result: ChunkResult | Exception = ChunkResult.LEFT
        try:
            result = await self._send_chunks()
        except Exception as error:  # noqa: BLE001 - it is raised in the jobs that wait for their chunks
            result = error
        finally:
            self.over = True
            for future in self._chunks.values():
                if future.done():
                    continue
                if isinstance(result, ChunkResult):
                    future.set_result(result)
                else:
                    future.set_exception(result)
            self._chunks.clear()

    async def _send_chunks(self) -> ChunkResult:
        run_id, say = self._run.run_id, self._runs.say
        say(f"Run {run_id}: helping to send it.")
        async with self._client:
            while self._chunks:
                try:
                    ending = await self.sender.send(self._chunks, self._chunk_done)
                except LeaseLostError:
                    say(f"Run {run_id}: this worker was suspended for too long and starts again.")
                    continue
                if ending is None or ending.asked:
                    return ChunkResult.OVER
                if ending.interrupted:
                    return ChunkResult.LEFT
                if ending.reason is not None:
                    say(f"Run {run_id}: stopped: {ending.reason}")
                    because = f"worker {self._runs.process.holder.name}: {ending.reason}"
                    await asyncio.to_thread(close_run, self._runs.ledger, self._run, because)
                    return ChunkResult.OVER
            # Closing the client takes a moment: from here on, chunks go to a new sender.
            self.over = True
        return ChunkResult.DONE

    def _chunk_done(self, chunk: RowRange) -> None:
        future = self._chunks.pop(chunk, None)
        if future is not None and not future.done():
            future.set_result(ChunkResult.DONE)


def _ignore(_event: object) -> None:
    return None
