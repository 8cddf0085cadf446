"""Sends a run from a ledger on PostgreSQL, together with workers where there are any, within one rate limit.

`send` stays until the whole run is done, even where workers send most of it, and shows their outcomes too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from batchsend.errors import LedgerError
from batchsend.ledger.database_errors import retry
from batchsend.ledger.ledger import Ledger
from batchsend.sending.cluster.leases import LeaseLostError, interrupt_expired
from batchsend.sending.cluster.open_runs import (
    OpenRun,
    active_workers,
    close_run,
    is_being_sent,
    outcomes_of,
    run_progress,
    stopped_because,
)
from batchsend.sending.cluster.outbox import Quota
from batchsend.sending.cluster.run_sender import ClusterProcess, RunSender
from batchsend.sending.outbox import Outcome, SuppressionFiles
from batchsend.sending.sender import STOP_REQUESTED, Ending, Event, OtherOutcomes
from batchsend.settings import Credentials
from batchsend.utils.signals import finishing_on_signals

T = TypeVar("T")

#: How often to check what the other processes have done.
_CHECK_SECONDS = 0.5
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
    holder = f"send on {socket.gethostname()} ({os.getpid()})"
    async with (
        run.settings.client(credentials) as client,
        ClusterProcess(ledger, credentials, run.settings.base_url, holder, worker=False) as process,
    ):
        outcomes = _Outcomes(ledger, run, listener)
        share = _Share(
            ledger, run, RunSender(process, run, client, outcomes.add_own, files, Quota()), outcomes, ask
        )
        with finishing_on_signals(share.interrupt):
            return await share.run()


class _Share:
    """The part of a run that `send` does: it sends rows, waits for the workers' rows, and closes the run."""

    def __init__(
        self,
        ledger: Ledger,
        run: OpenRun,
        sender: RunSender,
        outcomes: _Outcomes,
        ask: AskWhetherToStop | None,
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._run_id = run.run_id
        self._sender = sender
        self._outcomes = outcomes
        self._ask = ask
        self._ending: Ending | None = None
        self._leaving = False
        self._asking: asyncio.Task[None] | None = None

    def interrupt(self, number: int) -> None:
        """Handles Ctrl-C, SIGTERM and a closed terminal."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._decide(number))

    async def run(self) -> Ending:
        watching = asyncio.create_task(self._outcomes.watch())
        try:
            ending = await self._send()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if self._has_left():
            return Ending(left=True)
        # Only the display needs them.
        with suppress(LedgerError):
            await self._outcomes.report_others()
        return ending

    async def _send(self) -> Ending:
        while True:
            ending = await self._send_open_rows()
            if self._has_left():
                return ending
            if ending.reason is not None:
                return await self._stop_others(ending)
            # Other processes have claimed the remaining rows, or have given some back.
            while not (state := await self._retry(run_progress, self._ledger, self._run_id)).open_rows:
                if state.done:
                    await self._retry(close_run, self._ledger, self._run)
                    return ending
                if self._has_left():
                    return ending
                if self._ending is not None:
                    return await self._stop_others(self._ending)
                await asyncio.sleep(_CHECK_SECONDS)
                await self._retry(interrupt_expired, self._ledger, self._run_id)

    def _has_left(self) -> bool:
        """Whether the run continues without this process."""
        return self._leaving

    async def _send_open_rows(self) -> Ending:
        try:
            ending = await self._sender.send()
        except LeaseLostError:
            # Another start may have taken the run over, and even have finished it.
            await self._why_stopped()
            return Ending()
        return await self._why_stopped() if ending is None or ending.asked else ending

    async def _why_stopped(self) -> Ending:
        """Why the run was stopped: by a request, or by a process that ran into a problem."""
        reason = await self._retry(stopped_because, self._ledger, self._run)
        return Ending(reason) if reason is not None else STOP_REQUESTED

    async def _stop_others(self, ending: Ending) -> Ending:
        """Stops the run for all processes and waits for their requests in flight."""
        because = None if ending.interrupted or ending.asked else ending.reason
        await self._retry(close_run, self._ledger, self._run, because)
        while await self._retry(is_being_sent, self._ledger, self._run_id):
            await asyncio.sleep(_CHECK_SECONDS)
            await self._retry(interrupt_expired, self._ledger, self._run_id)
        return ending

    async def _decide(self, number: int) -> None:
        workers: list[str] = []
        with suppress(LedgerError):
            workers = await asyncio.to_thread(active_workers, self._ledger, self._run_id)
        if workers and number == signal.SIGINT and self._ask is not None:
            self._leaving = not await asyncio.to_thread(self._ask, workers)
        elif workers and number != signal.SIGINT:
            # The computer shuts down or the terminal was closed: workers continue.
            self._leaving = True
        self._ending = Ending("interrupted", interrupted=True)
        self._sender.stop(self._ending)

    async def _retry(self, action: Callable[..., T], *arguments: object) -> T:
        """Calls `action` in a thread, again while the database restarts, for a minute at most."""
        return await asyncio.to_thread(retry, lambda: action(*arguments), lambda: self._ending is not None)


class _Outcomes:
    """Reports outcomes to the listener: this process's own as they come, and the numbers of all others."""

    def __init__(self, ledger: Ledger, run: OpenRun, listener: Callable[[Event], None]) -> None:
        self._ledger = ledger
        self._run = run
        self._listener = listener
        self._own: Counter[str] = Counter()
        self._others: Counter[str] = Counter()

    def add_own(self, event: Event) -> None:
        if isinstance(event, Outcome):
            self._own[event.status] += 1
        self._listener(event)

    async def watch(self) -> None:
        """Reports the outcomes of other processes until it is cancelled."""
        while True:
            with suppress(LedgerError):
                await self.report_others()
            await asyncio.sleep(_CHECK_SECONDS)

    async def report_others(self) -> None:
        all_outcomes = Counter(await asyncio.to_thread(outcomes_of, self._ledger, self._run))
        # Events of this process's own outcomes come a moment after their commit and must not count as others'.
        await asyncio.sleep(_EVENT_SECONDS)
        news = all_outcomes - self._own - self._others
        if news:
            self._others += news
            self._listener(OtherOutcomes(dict(news)))
