"""A worker's part in runs: one `RunSender` for each run, while a job for it is here. `queue.py` gets the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from batchsend.ledger.database_errors import retry
from batchsend.ledger.ledger import Ledger
from batchsend.sending.cluster.open_runs import ROWS_TO_CLAIM, OpenRun, close_run, open_run
from batchsend.sending.cluster.run_sender import ClusterProcess, RunSender
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.sender import Ending
from batchsend.settings import Credentials

Say = Callable[[str], None]
FilesOf = Callable[[int], SuppressionFiles | None]

#: How long a job lasts at most. Then other runs have their turn, if their jobs wait.
_TURN_SECONDS = 30.0
#: How long a run whose sending failed here is left to others.
_PAUSE_SECONDS = 5.0


@dataclass
class _Part:
    """What this worker does in a run; `jobs`: how many jobs for the run are here."""

    sender: RunSender
    task: asyncio.Task[None]
    jobs: int = 0


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
        self._process = ClusterProcess(ledger, credentials, base_url, name, worker=True)
        self.ledger = ledger
        self.base_url = base_url
        self.say = say
        self._files_of = files_of
        self._parts: dict[int, _Part] = {}
        self._joining = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._process.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.gather(*(part.task for part in self._parts.values()))
        await self._process.__aexit__(kind, error, trace)

    def leave(self) -> None:
        """Sends no further request from here; requests in flight are finished and recorded."""
        self._process.leaving.set()
        for part in self._parts.values():
            part.sender.stop(Ending("this worker ends", interrupted=True))

    async def work(self, run_id: int, invite: Callable[[int], Awaitable[None]]) -> None:
        """Sends rows of a run for a turn, or until none is open. Calls `invite` first where rows are open.

        There is one sender for each run, however many of its jobs are here, so that one process claims no more than
        twice the run's `concurrency` rows.
        """
        async with self._joining:
            part = self._parts.get(run_id) or await self._join(run_id)
        if part is None:
            return
        part.jobs += 1
        try:
            await invite(run_id)
            await asyncio.wait([part.task], timeout=_TURN_SECONDS)
        finally:
            part.jobs -= 1
        if part.jobs == 0:
            part.sender.stop(Ending("another run has its turn", interrupted=True))
            await asyncio.wait([part.task])

    async def _join(self, run_id: int) -> _Part | None:
        """Begins to send a run; `None` if it is not needed."""
        run = await asyncio.to_thread(open_run, self.ledger, run_id, ROWS_TO_CLAIM)
        if run is None or run.settings.base_url != self.base_url or self._process.leaving.is_set():
            return None
        # The end of quiet hours is for the sweep: a worker has no time to wait for it.
        sent = replace(run, settings=replace(run.settings, wait=False))
        files = await asyncio.to_thread(self._files_of, run_id)
        sender = RunSender(self._process, sent, lambda _event: None, files)
        part = self._parts[run_id] = _Part(sender, asyncio.create_task(self._send(run, sender)))
        part.task.add_done_callback(lambda _task: self._parts.pop(run_id))
        return part

    async def _send(self, run: OpenRun, sender: RunSender) -> None:
        self.say(f"Run {run.run_id}: helping to send it.")
        try:
            ending = await sender.send()
            if ending is None or ending.reason is None or ending.asked or ending.interrupted:
                return
            self.say(f"Run {run.run_id}: stopped: {ending.reason}")
            because = f"worker {self._process.holder.name}: {ending.reason}"
            await asyncio.to_thread(retry, lambda: close_run(self.ledger, run, because))
        except Exception as error:  # noqa: BLE001 - a worker survives all errors; other workers continue the run
            self.say(f"Run {run.run_id}: {error} This worker tries again.")
            if not self._process.leaving.is_set():
                await asyncio.sleep(_PAUSE_SECONDS)
