"""A worker's share of runs: for each run one sender in this process, which works off the chunks that come to it.

Knows nothing of how chunks come here (`cluster.py`). One sender for each run, however many of its chunks are here, so
that no more than twice the run's `concurrency` rows are claimed by one process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from types import TracebackType
from typing import Self

from batchsend.ledger.ledger import Ledger
from batchsend.mykaarma.client import ApiClient
from batchsend.sending.cluster.leases import LeasedPacer, LeaseKeeper, LeaseLostError
from batchsend.sending.cluster.open_runs import OpenRun, close_run, open_run
from batchsend.sending.cluster.outbox import RowRange, SharedOutbox
from batchsend.sending.cluster.pacing import SharedPacer, SlotBook
from batchsend.sending.run_settings import client_of, min_commit_interval, send_options
from batchsend.sending.sender import Ending, Sender
from batchsend.settings import Credentials

Say = Callable[[str], None]


class ChunkResult(StrEnum):
    """What became of a chunk here."""

    DONE = "done"  # nothing of it is left to claim
    OVER = "over"  # the run has ended, was stopped or planned anew: nobody has to send this any more
    LEFT = "left"  # this process ends: somebody else has to go on with it


class WorkerRuns:
    """All runs that this process has a hand in. Belongs to one event loop; `say` hears a sentence now and then."""

    def __init__(self, ledger: Ledger, credentials: Credentials, base_url: str, name: str, say: Say) -> None:
        self.ledger = ledger
        self.base_url = base_url
        self.credentials = credentials
        self.say = say
        self.leaving = threading.Event()
        self.book = SlotBook(ledger.url)
        self.keeper = LeaseKeeper(ledger, base_url, name, worker=True)
        self.ledger_id = ""
        self._hands: dict[int, RunSender] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.ledger_id = await asyncio.to_thread(self.ledger.ledger_id)
        await self._stack.enter_async_context(self.book)
        await self._stack.enter_async_context(self.keeper)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.gather(*(hand.ended() for hand in list(self._hands.values())), return_exceptions=True)
        await self._stack.aclose()

    def leave(self) -> None:
        """No further request leaves here; what is in flight is finished and recorded."""
        self.leaving.set()
        for hand in self._hands.values():
            hand.stop(Ending("this worker ends", interrupted=True))

    async def work(self, run_id: int, start_id: int, first: int, last: int) -> ChunkResult:
        """Sends what is left of these rows. Raises `LedgerError`, and whatever goes wrong inside."""
        if self.leaving.is_set():
            return ChunkResult.LEFT
        hand = self._hands.get(run_id)
        if hand is None or hand.over or hand.start_id != start_id:
            run = await asyncio.to_thread(open_run, self.ledger, run_id)
            if run is None or run.start_id != start_id or run.settings.base_url != self.base_url:
                return ChunkResult.OVER
            hand = self._hands.get(run_id)
            if hand is not None and hand.start_id != start_id:
                # It notices by itself that its plan is out of date, and ends.
                await hand.ended()
                hand = None
            if hand is None or hand.over:
                hand = self._hands[run_id] = RunSender(self, run)
        try:
            return await hand.work(RowRange(first, last))
        finally:
            if hand.over and self._hands.get(run_id) is hand:
                del self._hands[run_id]


class RunSender:
    """This process's sender of one run, as long as there are chunks of it here."""

    def __init__(self, team: WorkerRuns, run: OpenRun) -> None:
        self._team = team
        self._run = run
        self.start_id = run.start_id
        self.over = False
        self._waiting: dict[RowRange, asyncio.Future[ChunkResult]] = {}
        self._outbox: SharedOutbox | None = None
        self._sender: Sender | None = None
        self._ending: Ending | None = None
        self._task = asyncio.create_task(self._send())

    async def work(self, chunk: RowRange) -> ChunkResult:
        future: asyncio.Future[ChunkResult] = asyncio.get_running_loop().create_future()
        self._waiting[chunk] = future
        if self._outbox is not None:
            self._outbox.add(chunk)
        return await asyncio.shield(future)

    def stop(self, ending: Ending) -> None:
        self._ending = ending
        if self._sender is not None:
            self._sender.stop(ending)

    async def ended(self) -> None:
        await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        came_to: ChunkResult | Exception = ChunkResult.LEFT
        try:
            came_to = await self._send_all()
        except Exception as error:  # noqa: BLE001 - those who wait for their chunks have to hear of it
            came_to = error
        finally:
            self.over = True
            for future in self._waiting.values():
                if future.done():
                    continue
                if isinstance(came_to, ChunkResult):
                    future.set_result(came_to)
                else:
                    future.set_exception(came_to)
            self._waiting.clear()

    async def _send_all(self) -> ChunkResult:
        settings, team = self._run.settings, self._team
        pacer = SharedPacer(team.book, self._run.run_id, settings.rate)
        team.say(f"Run {self._run.run_id}: lending a hand.")
        async with client_of(settings, team.credentials) as client:
            while self._waiting:
                ending = await self._send_under_a_lease(client, pacer)
                if ending is None or ending.asked:
                    return ChunkResult.OVER
                if ending.interrupted:
                    return ChunkResult.LEFT
                if ending.reason is not None:
                    team.say(f"Run {self._run.run_id}: stopped: {ending.reason}")
                    await asyncio.to_thread(close_run, team.ledger, self._run.run_id, ending.reason)
                    return ChunkResult.OVER
            # From here on chunks go to another hand; the client takes a moment to close.
            self.over = True
        return ChunkResult.DONE

    async def _send_under_a_lease(self, client: ApiClient, pacer: SharedPacer) -> Ending | None:
        """Sends until the chunks that are here are done; `None`: nobody may any more."""
        team, run = self._team, self._run
        lease = await team.keeper.take(run.run_id, run.start_id)
        if lease is None:
            return None
        loop = asyncio.get_running_loop()

        def on_done(chunk: RowRange) -> None:
            outbox.remove(chunk)
            loop.call_soon_threadsafe(self._chunk_done, chunk)

        interval = min_commit_interval(run.settings)
        outbox = SharedOutbox(team.ledger, run.run_id, run.start_id, lease, team.leaving, interval, on_done)
        for chunk in self._waiting:
            chunk.after, chunk.exhausted = chunk.first - 1, False
            outbox.add(chunk)
        self._outbox = outbox
        try:
            options = send_options(run.settings, team.ledger_id, run.run_id)
            while self._waiting:
                self._sender = Sender(outbox, client, LeasedPacer(pacer, lease), options, _nobody_listens)
                if self._ending is not None:
                    self._sender.stop(self._ending)
                ending = await self._sender.run()
                # What the ledger's thread has said of chunks comes first.
                await asyncio.sleep(0)
                if ending != Ending():
                    return ending
        except LeaseLostError:
            team.say(f"Run {run.run_id}: this worker stood still for too long; it begins anew.")
        finally:
            self._outbox = self._sender = None
            await team.keeper.give_up(lease, settled=outbox.settled)
        return Ending()

    def _chunk_done(self, chunk: RowRange) -> None:
        future = self._waiting.pop(chunk, None)
        if future is not None and not future.done():
            future.set_result(ChunkResult.DONE)


def _nobody_listens(_event: object) -> None:
    return None
