"""A worker's part in runs: one `RunSender` for each job, which `queue.py` gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Self

from sqlalchemy import func, select

from batchsend.ledger.database_errors import retry
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import leases
from batchsend.sending.cluster.leases import ALIVE, Holder, Lease, interrupt_expired
from batchsend.sending.cluster.open_runs import (
    ROWS_TO_CLAIM,
    OpenRun,
    announce,
    close_run,
    end_quiet_hours,
    end_runs,
    open_run,
    open_runs,
)
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


class _Part(NamedTuple):
    """What this worker does in a run."""

    sender: RunSender
    task: asyncio.Task[None]


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
        self._process = ClusterProcess(ledger, credentials, Holder(name, base_url, True))
        self.ledger = ledger
        self.base_url = base_url
        self.say = say
        self._files_of = files_of
        #: Its presence as a worker.
        self._presence: Lease | None = None
        #: Run -> what this worker does in it; `None` where its job waits for its turn.
        self._parts: dict[int, _Part | None] = {}

    async def __aenter__(self) -> Self:
        self._presence = await asyncio.to_thread(self._process.keeper.take, self._process.holder)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.gather(*(part.task for part in self._parts.values() if part is not None))
        if self._presence is not None:
            await asyncio.to_thread(self._process.keeper.give_up, self._presence)
        await asyncio.to_thread(self._process.close)

    def leave(self) -> None:
        """Sends no further request from here; requests in flight are finished and recorded."""
        self._process.leaving.set()
        for part in filter(None, self._parts.values()):
            part.sender.stop(Ending("this worker ends", interrupted=True))

    def needs(self, run_id: int) -> bool:
        """Notes that a run has open rows. Returns whether it needs a job here."""
        if run_id in self._parts:
            return False
        self._parts[run_id] = None
        return True

    def forget_waiting(self) -> None:
        """Forgets runs whose jobs were lost with the connection. They are announced again."""
        self._parts = {run_id: part for run_id, part in self._parts.items() if part is not None}

    async def work(self, run_id: int) -> None:
        """Sends a run until no row of it is open, or for a turn where other runs wait."""
        part = await self._begin(run_id)
        while part is not None and not part.task.done():
            await asyncio.wait([part.task], timeout=_TURN_SECONDS)
            if None in self._parts.values():
                part.sender.stop(Ending("another run has its turn", interrupted=True))

    async def _begin(self, run_id: int) -> _Part | None:
        try:
            run = await asyncio.to_thread(open_run, self.ledger, run_id, ROWS_TO_CLAIM)
            files = await asyncio.to_thread(self._files_of, run_id)
        finally:
            self._parts.pop(run_id, None)
        if run is None or run.settings.base_url != self.base_url or self._process.leaving.is_set():
            return None
        # The end of quiet hours is for the sweep: a worker has no time to wait for it.
        sent = replace(run, settings=replace(run.settings, wait=False))
        sender = RunSender(self._process, sent, lambda _event: None, files)
        part = self._parts[run_id] = _Part(sender, asyncio.create_task(self._send(run, sender)))
        part.task.add_done_callback(lambda _task: self._parts.pop(run_id))
        return part

    def sweep(self) -> None:
        """Cleans up after killed processes, ends runs that are over and announces those that have open rows.

        One worker does so for all. Raises `LedgerError`.
        """
        if self._is_first():
            interrupt_expired(self.ledger)
            for run in open_runs(self.ledger, self.base_url, ~ROWS_TO_CLAIM):
                interrupt_expired(self.ledger, run.run_id)
                end_quiet_hours(self.ledger, run)
            end_runs(self.ledger)
            for run in open_runs(self.ledger, self.base_url, ROWS_TO_CLAIM):
                announce(self.ledger, run)

    def _is_first(self) -> bool:
        """Whether this is the one worker of its API that works for all."""
        waits = (leases.c.worker, leases.c.run_id.is_(None), leases.c.base_url == self.base_url)
        with self.ledger.read() as connection:
            first = connection.scalar(select(func.min(leases.c.owner)).where(*waits, ALIVE))
        return self._presence is not None and self._presence.owner == first

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
