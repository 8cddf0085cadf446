"""A run's sending from a ledger on PostgreSQL: this process does its share, workers may do theirs, all in one rate.

It stays until the whole run is done, also where others do most of it, and shows what they do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.mykaarma.client import ApiClient
from batchsend.sending.cluster.leases import LeasedPacer, LeaseKeeper, LeaseLostError, interrupt_dead
from batchsend.sending.cluster.open_runs import (
    OpenRun,
    active_workers,
    close_run,
    is_being_sent,
    outcomes_of,
    run_progress,
    stopped_because,
)
from batchsend.sending.cluster.outbox import RowRange, SharedOutbox, may_pass
from batchsend.sending.cluster.pacing import SharedPacer, SlotBook
from batchsend.sending.dispatch import Sending, SendLoop
from batchsend.sending.outbox import Outcome
from batchsend.sending.run_settings import client_of, min_commit_interval
from batchsend.sending.sender import Ending, Event, OtherOutcomes
from batchsend.utils.signals import finishing_on_signals

T = TypeVar("T")

#: How often it is looked how far the others are; it may be longer, ...
_LOOK_SECONDS = 0.5
#: ... so that looking takes this share of the time at most.
_LOOK_SHARE = 0.05
#: From an outcome's commit until the listener has heard of it.
_HEARING_SECONDS = 0.1
#: A database that cannot be reached is waited for so long.
_PATIENCE_SECONDS = 60.0

#: Asked at Ctrl-C where workers lend a hand: is the whole run to stop (`True`), or only this process to leave?
AskWhetherToStop = Callable[[list[str]], bool]


async def dispatch_together(
    sending: Sending,
    run: OpenRun,
    ledger: Ledger,
    listener: Callable[[Event], None],
    ask: AskWhetherToStop | None,
) -> Ending:
    """Sends a run together with its workers, until nothing of it is left or this process leaves (`left`)."""
    holder = f"send on {socket.gethostname()} ({os.getpid()})"
    async with (
        client_of(run.settings, sending.credentials) as client,
        SlotBook(ledger.url) as book,
        LeaseKeeper(ledger, sending.base_url, holder, worker=False) as keeper,
    ):
        share = _Share(sending, run, ledger, listener, ask, client, book, keeper)
        with finishing_on_signals(share.interrupt):
            return await share.run()


class _Share:
    def __init__(
        self,
        sending: Sending,
        run: OpenRun,
        ledger: Ledger,
        listener: Callable[[Event], None],
        ask: AskWhetherToStop | None,
        client: ApiClient,
        book: SlotBook,
        keeper: LeaseKeeper,
    ) -> None:
        self._sending = sending
        self._ledger = ledger
        self._run_id = run.run_id
        self._start_id = run.start_id
        self._listener = listener
        self._ask = ask
        self._client = client
        self._keeper = keeper
        self._min_commit_interval = min_commit_interval(run.settings)
        self._pacer = SharedPacer(book, run.run_id, run.settings.rate)
        self._loop: SendLoop | None = None
        self._ending: Ending | None = None
        self._leaving = False
        self._quit = threading.Event()
        self._own: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._asking: asyncio.Task[None] | None = None

    def interrupt(self, number: int) -> None:
        """Ctrl-C, SIGTERM and the like."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._decide(number))

    async def run(self) -> Ending:
        watching = asyncio.create_task(self._watch_others())
        try:
            ending = await self._send()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if self._has_left():
            return Ending(left=True)
        await self._show_others()
        return ending

    async def _send(self) -> Ending:
        while True:
            ending = await self._send_under_a_lease()
            if self._has_left():
                return ending
            if ending.reason is not None:
                return await self._stop_others(ending)
            # What is left is claimed by others, or was given back by them.
            while not (state := await self._retry(run_progress, self._ledger, self._run_id)).open_rows:
                if state.done:
                    await self._retry(close_run, self._ledger, self._run_id)
                    return ending
                if self._has_left():
                    return ending
                if self._ending is not None:
                    return await self._stop_others(self._ending)
                await asyncio.sleep(_LOOK_SECONDS)
                await self._retry(interrupt_dead, self._ledger, self._run_id)

    def _has_left(self) -> bool:
        """Does the run go on without this process?"""
        return self._leaving

    async def _send_under_a_lease(self) -> Ending:
        lease = await self._retry(self._keeper.take_now, self._run_id, self._start_id)
        if lease is None:
            return await self._why_over()
        outbox = SharedOutbox(
            self._ledger, self._run_id, self._start_id, lease, self._quit, self._min_commit_interval
        )
        outbox.add(RowRange())
        pacer = LeasedPacer(self._pacer, lease)
        self._loop = SendLoop(self._sending, outbox, self._client, pacer, self._hear)
        if self._ending is not None:
            self._loop.stop(self._ending)
        try:
            ending = await self._loop.run()
        except LeaseLostError:
            return Ending()
        finally:
            self._loop = None
            await self._keeper.give_up(lease, settled=outbox.settled)
        return await self._why_over() if ending.asked else ending

    async def _why_over(self) -> Ending:
        """Somebody stopped the run: a person, or a process that ran into something."""
        reason = await self._retry(stopped_because, self._ledger, self._run_id)
        return Ending(reason) if reason is not None else Ending("somebody asked this run to stop", asked=True)

    async def _stop_others(self, ending: Ending) -> Ending:
        """The run stops for everybody; what they have in flight is waited for."""
        because = None if ending.interrupted or ending.asked else ending.reason
        await self._retry(close_run, self._ledger, self._run_id, because)
        while await self._retry(is_being_sent, self._ledger, self._run_id):
            await asyncio.sleep(_LOOK_SECONDS)
            await self._retry(interrupt_dead, self._ledger, self._run_id)
        return ending

    async def _decide(self, number: int) -> None:
        workers: list[str] = []
        with suppress(LedgerError):
            workers = await asyncio.to_thread(active_workers, self._ledger, self._run_id)
        if workers and number == signal.SIGINT and self._ask is not None:
            self._leaving = not await asyncio.to_thread(self._ask, workers)
        elif workers and number != signal.SIGINT:
            # The computer is being shut down, or the terminal was closed: the others go on.
            self._leaving = True
        self._ending = Ending("interrupted", interrupted=True)
        if self._loop is not None:
            self._loop.stop(self._ending)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Outcome):
            self._own[event.status] += 1
        self._listener(event)

    async def _watch_others(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            with suppress(LedgerError):
                await self._show_others()
            await asyncio.sleep(max(_LOOK_SECONDS, (loop.time() - began) / _LOOK_SHARE))

    async def _show_others(self) -> None:
        all_outcomes = Counter(
            await asyncio.to_thread(outcomes_of, self._ledger, self._run_id, self._start_id)
        )
        # Our own are heard of a moment after they are stored, and must not be taken for somebody else's.
        await asyncio.sleep(_HEARING_SECONDS)
        news = all_outcomes - self._own - self._others
        if news:
            self._others += news
            self._listener(OtherOutcomes(dict(news)))

    async def _retry(self, action: Callable[..., T], *arguments: object) -> T:
        """Calls it in a thread, again and again while the database restarts, for a minute at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(action, *arguments)
            except LedgerError as error:
                if not may_pass(error) or self._ending is not None or loop.time() > deadline:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)
