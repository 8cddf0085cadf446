"""Sends a run from a ledger on PostgreSQL, together with workers where there are any, within one rate limit.

`send` stays until the whole run is done, even where workers send most of it, and shows their outcomes too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import TypeVar

from batchsend.errors import LedgerError, StoppedError
from batchsend.ledger.database_errors import RETRY_SECONDS, retry
from batchsend.ledger.leases import Holder, LeaseKeeper, LeaseLostError, interrupt_expired
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.postgres import KeptConnection, run_channel
from batchsend.ledger.runs import SharedState, shared_state
from batchsend.mykaarma.protocol import run_identity
from batchsend.sending.cluster.open_runs import OpenRun, close_run, end_quiet_hours
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.cluster.pacing import SharedPacer, SlotBook
from batchsend.sending.dispatch import SendLoop
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.rows import Outcome
from batchsend.sending.sender import Event, OtherOutcomes
from batchsend.sending.stopping import STOP_REQUESTED, Ending
from batchsend.settings import Credentials
from batchsend.utils.signals import finishing_on_signals

T = TypeVar("T")

#: How often to check what the other processes have done, unless one that ends its part says so.
_CHECK_SECONDS = 1.0
#: The longest time from an outcome's commit to its event, in seconds.
_EVENT_SECONDS = 0.1

#: Asks at Ctrl-C, with the names of the workers: stop the whole run (`True`) or only leave it (`False`)?
AskWhetherToStop = Callable[[list[str]], bool]


async def dispatch_together(
    run: OpenRun,
    ledger: Ledger,
    credentials: Credentials,
    listener: Callable[[Event], None],
    ask: AskWhetherToStop | None,
    files: SuppressionFiles,
) -> Ending:
    """Sends a run together with its workers, until nothing of it is left or this process leaves (`left`)."""
    name = f"send on {socket.gethostname()} ({os.getpid()})"
    with closing(ClusterProcess(ledger, credentials, Holder(name, run.settings.base_url, False))) as process:
        share = _Share(process, run, listener, ask, files)
        with finishing_on_signals(share.interrupt):
            return await share.send()


class ClusterProcess:
    """This process as one that sends runs of a PostgreSQL ledger: its leases, its slots and its credentials.

    `leaving`: once it is set, a database that cannot be reached is not waited for. Only workers set it: a `send` that
    is interrupted waits, so that it can record how it ended. Belongs to one event loop.
    """

    def __init__(self, ledger: Ledger, credentials: Credentials, holder: Holder) -> None:
        self.ledger = ledger
        self.credentials = credentials
        self.holder = holder
        self.leaving = threading.Event()
        self.book = SlotBook(ledger)
        self.keeper = LeaseKeeper.of(ledger)

    def close(self) -> None:
        self.book.close()


async def send_run(
    process: ClusterProcess, run: OpenRun, loop: SendLoop, files: SuppressionFiles | None
) -> Ending | None:
    """Sends what is left of a run, under a lease of its own; `None`: the run may not be sent any more.

    Raises `LeaseLostError` where other processes took this one for dead, `LedgerError`, and any other error from
    inside.
    """
    leaving = process.leaving.is_set
    ledger_id = await asyncio.to_thread(retry, process.ledger.ledger_id, leaving)
    take = partial(process.keeper.take, process.holder, run.run_id, run.start_id)
    lease = await asyncio.to_thread(retry, take, leaving)
    if lease is None:
        return None
    outbox = SharedOutbox(process.ledger, run, lease, process.leaving, files)
    pacer = SharedPacer(process.book, run.run_id, run.settings.rate, lease)
    try:
        async with run.settings.client(process.credentials) as client:
            return await loop.run(outbox, client, pacer, run_identity(ledger_id, str(run.run_id)))
    finally:
        outbox.close()
        await asyncio.to_thread(process.keeper.give_up, lease, settled=outbox.settled)


class _Share:
    """The part of a run that `send` does: it sends rows, waits for the workers' rows, and closes the run.

    It reports outcomes to the listener: this process's own as they come, and the numbers of all others.
    """

    def __init__(
        self,
        process: ClusterProcess,
        run: OpenRun,
        listener: Callable[[Event], None],
        ask: AskWhetherToStop | None,
        files: SuppressionFiles,
    ) -> None:
        self._ledger = process.ledger
        self._run = run
        loop = SendLoop(run.settings, self._report_own)
        self._stop = loop.stop
        self._send_rows = partial(send_run, process, run, loop, files)
        self._listener = listener
        self._ask = ask
        self._reported: Counter[str] = Counter()
        self._asking: asyncio.Task[None] | None = None
        #: Listens to the run's channel while this process waits for the others.
        self._changes = KeptConnection(process.ledger)

    def interrupt(self, number: int) -> None:
        """Handles Ctrl-C, SIGTERM and a closed terminal."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._decide(number))

    def _report_own(self, event: Event) -> None:
        if isinstance(event, Outcome):
            self._reported[event.status] += 1
        self._listener(event)

    async def send(self) -> Ending:
        while True:
            ending = await self._send_open_rows()
            if ending.reason is None:
                # Other processes have claimed the remaining rows, or give some back.
                state = await self._wait_until(
                    lambda state: state.open_rows or state.done or self._stop.is_set()
                )
                if state.done and not await self._retry(end_quiet_hours, self._ledger, self._run):
                    break
                ending = self._stop.ending or ending
            if ending.reason is not None:
                break
        if not ending.left:
            because = None if ending.interrupted or ending.asked else ending.reason
            await self._retry(close_run, self._ledger, self._run, because)
        if ending.reason is not None and not ending.left:
            # Their requests in flight are finished first.
            await self._wait_until(lambda state: not state.leased)
        return ending

    async def _send_open_rows(self) -> Ending:
        sending = asyncio.create_task(self._send_rows())
        while not (await asyncio.wait([sending], timeout=_CHECK_SECONDS))[0]:
            with suppress(LedgerError):
                await self._state(rows=False)
        try:
            ending = sending.result()
        except LeaseLostError:
            # Another start may have taken the run over, and even have finished it.
            await self._why_stopped()
            return Ending()
        return await self._why_stopped() if ending is None or ending.asked else ending

    async def _wait_until(self, reached: Callable[[SharedState], object]) -> SharedState:
        """Waits for the other processes, also for dead ones whose leases expire."""
        try:
            while not reached(state := await self._state()):
                # Until one of them ends its part, or for a while. The first time, it only begins to listen.
                channel = run_channel(self._run.run_id)
                await self._retry(self._changes.wait, channel, _CHECK_SECONDS)
                await self._retry(interrupt_expired, self._ledger, self._run.run_id)
        finally:
            self._changes.close()
        return state

    async def _why_stopped(self) -> Ending:
        """Why the run was stopped. Raises `StoppedError` if another start took it over."""
        state = await self._state()
        asked = state.stop_requested or state.stopped_because is not None
        if state.start_id != self._run.start_id or (state.open_rows and not state.open and not asked):
            raise StoppedError(
                f"Run {self._run.run_id} was taken over by another start of `send`, because this process was "
                f"suspended or could not reach the ledger for too long. This process sends nothing more of it."
            )
        return STOP_REQUESTED if state.stopped_because is None else Ending(state.stopped_because)

    async def _state(self, *, rows: bool = True) -> SharedState:
        """The present state of the run. Reports the outcomes of other processes that are new in it."""
        state = await self._retry(lambda: shared_state(self._ledger, self._run.run_id, rows=rows))
        assert state is not None  # noqa: S101 - its plan is stored
        # Events of this process's own outcomes come a moment after their commit and must not count as others'.
        await asyncio.sleep(_EVENT_SECONDS)
        news = Counter(state.outcomes) - self._reported
        if news and state.start_id == self._run.start_id:
            self._reported += news
            self._listener(OtherOutcomes(dict(news)))
        return state

    async def _decide(self, number: int) -> None:
        workers: tuple[str, ...] = ()
        with suppress(LedgerError):
            # A person at the terminal does not wait for a database.
            seconds = 0.0 if number == signal.SIGINT else RETRY_SECONDS
            helpers = partial(shared_state, self._ledger, self._run.run_id, rows=False)
            state = await asyncio.to_thread(retry, helpers, seconds=seconds)
            workers = state.helpers if state is not None else ()
        # Where the computer shuts down or the terminal was closed, workers continue.
        leaving = bool(workers) and number != signal.SIGINT
        if workers and number == signal.SIGINT and self._ask is not None:
            leaving = not await asyncio.to_thread(self._ask, list(workers))
        self._stop(Ending("interrupted", interrupted=True, left=leaving))

    async def _retry(self, action: Callable[..., T], *arguments: object) -> T:
        """Calls `action` in a thread, again while its error may pass, as `retry` does."""
        return await asyncio.to_thread(retry, partial(action, *arguments))
