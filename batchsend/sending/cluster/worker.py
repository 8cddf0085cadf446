"""A worker's part in runs: one `SendLoop` for each job, which `queue.py` gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from sqlalchemy import func, select

from batchsend.ledger.database_errors import retry
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import handovers, leases
from batchsend.sending.cluster.leases import ALIVE, Holder, Lease, interrupt_expired
from batchsend.sending.cluster.open_runs import (
    ROWS_TO_CLAIM,
    close_run,
    end_runs,
    open_run,
    open_run_ids,
)
from batchsend.sending.cluster.run_sender import ClusterProcess, send_run
from batchsend.sending.dispatch import SendLoop
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.stopping import Ending
from batchsend.settings import Credentials

Say = Callable[[str], None]
FilesOf = Callable[[int], SuppressionFiles | None]

#: How long a job lasts at most. Then other runs have their turn, if their jobs wait.
_TURN_SECONDS = 30.0
#: How long a run whose sending failed here is left to others.
_PAUSE_SECONDS = 5.0


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
        self.name = name
        self.say = say
        self._files_of = files_of
        #: Its presence as a worker.
        self._presence: Lease | None = None
        #: Run -> what sends it; `None` where its job waits for its turn.
        self._loops: dict[int, SendLoop | None] = {}
        self._sending: set[asyncio.Task[None]] = set()
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
        for loop in filter(None, self._loops.values()):
            loop.stop(Ending("this worker ends", interrupted=True))

    def needs(self, run_id: int) -> bool:
        """Notes that a run has open rows. Returns whether it needs a job here."""
        if run_id in self._loops:
            return False
        self._loops[run_id] = None
        return True

    def forget_waiting(self) -> None:
        """Forgets runs whose jobs were lost with the connection. They are found again."""
        self._loops = {run_id: loop for run_id, loop in self._loops.items() if loop is not None}

    async def work(self, run_id: int) -> None:
        """Sends a run until no row of it is open, or for a turn where other runs wait."""
        sending = asyncio.create_task(self._send(run_id))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        while not sending.done():
            await asyncio.wait([sending], timeout=_TURN_SECONDS)
            loop = self._loops.get(run_id)
            if loop is not None and None in self._loops.values():
                loop.stop(Ending("another run has its turn", interrupted=True))

    async def _send(self, run_id: int) -> None:
        try:
            run = await asyncio.to_thread(open_run, self.ledger, run_id, ROWS_TO_CLAIM)
            files = await asyncio.to_thread(self._files_of, run_id)
            if run is None or run.settings.base_url != self.base_url or self._process.leaving.is_set():
                return
            # The end of quiet hours is for the sweep: a worker has no time to wait for it.
            settings = replace(run.settings, wait=False)
            loop = self._loops[run_id] = SendLoop(settings, lambda _event: None)
            self.say(f"Run {run_id}: helping to send it.")
            self._problems.pop(run_id, None)
            ending = await send_run(self._process, run, loop, files)
            if ending is None or ending.reason is None or ending.asked or ending.interrupted:
                return
            self.say(f"Run {run_id}: stopped: {ending.reason}")
            because = f"worker {self.name}: {ending.reason}"
            await asyncio.to_thread(retry, lambda: close_run(self.ledger, run, because))
        except Exception as error:  # noqa: BLE001 - a worker survives all errors; other workers continue the run
            if (problem := str(error)) != self._problems.get(run_id):
                self.say(f"Run {run_id}: {problem} This worker tries again.")
            self._problems[run_id] = problem
            if not self._process.leaving.is_set():
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._loops.pop(run_id, None)

    def runs_to_send(self) -> list[int]:
        """The open runs to this worker's API with rows to claim. Raises `LedgerError`."""
        return open_run_ids(self.ledger, handovers.c.base_url == self.base_url, ROWS_TO_CLAIM)

    def sweep(self) -> None:
        """Cleans up after killed processes and ends runs that are over.

        One worker does so for all. Raises `LedgerError`.
        """
        if self._is_first():
            interrupt_expired(self.ledger)
            for run_id in open_run_ids(self.ledger, handovers.c.base_url == self.base_url, ~ROWS_TO_CLAIM):
                interrupt_expired(self.ledger, run_id)
            end_runs(self.ledger)

    def _is_first(self) -> bool:
        """Whether this is the one worker of its API that works for all."""
        waits = (leases.c.worker, leases.c.run_id.is_(None), leases.c.base_url == self.base_url)
        with self.ledger.read() as connection:
            first = connection.scalar(select(func.min(leases.c.owner)).where(*waits, ALIVE))
        return self._presence is not None and self._presence.owner == first
