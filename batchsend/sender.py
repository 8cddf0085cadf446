"""Sending: claim rows, wait for slots, POST, record. Knows nothing of files, terminals or machines.

One bookkeeper talks to the ledger, one commit at a time: it stores the outcomes that have come in and claims
what is to leave next. One dispatcher gives each claimed message a slot and a task of its own. Nobody waits for
anybody's commit, and no more than twice `concurrency` messages are ever claimed without an outcome.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from batchsend.api import Answered, Departure, Judgement, Refused, Request, TurnedAway
from batchsend.errors import LedgerError
from batchsend.limiter import SLOT_LIFETIME, Pacer
from batchsend.outbox import Claimed, Outcome
from batchsend.streak import FailureStreak
from batchsend.timestamps import to_text

#: Claims are made this many seconds ahead of their slots, so that a commit does not eat them.
_CLAIM_AHEAD_SECONDS = 0.2
#: How often the ledger is asked whether somebody wants the run to stop.
_STOP_CHECK_SECONDS = 0.5


class MessageStore(Protocol):
    """Where messages come from and outcomes go: `outbox.Outbox`."""

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]: ...
    def release(self, claimed: Sequence[Claimed]) -> None: ...
    def stop_requested(self) -> bool: ...


class Poster(Protocol):
    """Who makes the request: `api.ApiClient`."""

    async def post(self, request: Request, departure: Departure) -> Judgement: ...


@dataclass(frozen=True)
class SendOptions:
    """`identity` is what every request's callback metadata carries beside its row."""

    concurrency: int
    timeout: float
    stop_after_failures: int
    give_up_after: float
    identity: Mapping[str, str]


@dataclass(frozen=True)
class Waiting:
    """Everybody waits `seconds`, because of `reason`."""

    seconds: float
    reason: str


#: What a listener hears: outcomes, each after it is on disk, and pauses.
Event = Outcome | Waiting


@dataclass(frozen=True)
class Ending:
    """Why sending ended. `reason` is `None` where every message was tried."""

    reason: str | None = None
    interrupted: bool = False
    asked: bool = False


class Sender:
    """Sends the open messages of one run, once. Belongs to one event loop."""

    def __init__(
        self, store: MessageStore, poster: Poster, pacer: Pacer, options: SendOptions,
        listener: Callable[[Event], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._poster = poster
        self._pacer = pacer
        self._options = options
        self._listener = listener
        self._streak = FailureStreak(options.stop_after_failures)
        self._ready: deque[Claimed] = deque()
        self._outcomes: list[Outcome] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimed = 0
        self._exhausted = False
        self._refused_since: float | None = None
        self._ending: Ending | None = None
        self._crash: BaseException | None = None
        self._changed = asyncio.Event()
        self._may_dispatch = asyncio.Event()
        self._free = asyncio.Semaphore(options.concurrency)

    def _stopping(self) -> bool:
        return self._ending is not None

    def stop(self, ending: Ending) -> None:
        """No further request leaves; what is in flight is finished and recorded."""
        if self._ending is None:
            self._ending = ending
        self._changed.set()
        self._may_dispatch.set()

    async def run(self) -> Ending:
        """Sends until nothing is left or something stops it. Raises `LedgerError` where the ledger fails."""
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            dispatcher = asyncio.create_task(self._dispatch())
            watcher = asyncio.create_task(self._watch_for_stop(thread))
            try:
                await self._keep_books(thread)
            finally:
                for task in (dispatcher, watcher, *self._tasks):
                    task.cancel()
                await asyncio.gather(dispatcher, watcher, *self._tasks, return_exceptions=True)
        return self._ending or Ending()

    async def _keep_books(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._crash is not None:
                raise self._crash
            outcomes, self._outcomes = self._outcomes, []
            wanted = self._claims_wanted(len(outcomes))
            if outcomes or wanted:
                try:
                    claimed = await loop.run_in_executor(thread, self._store.exchange, outcomes, wanted)
                except LedgerError:
                    await self._save_what_is_known(thread, outcomes)
                    raise
                self._claimed += len(claimed) - len(outcomes)
                self._exhausted = self._exhausted or len(claimed) < wanted
                self._ready.extend(claimed)
                self._may_dispatch.set()
                for outcome in outcomes:
                    self._listener(outcome)
                continue
            if self._stopping() and not self._tasks:
                await loop.run_in_executor(thread, self._store.release, list(self._ready))
                return
            if self._exhausted and self._claimed == 0:
                return
            await self._changed.wait()
            self._changed.clear()

    async def _save_what_is_known(self, thread: ThreadPoolExecutor, outcomes: list[Outcome]) -> None:
        """The ledger failed: no more requests; the answers under way get one more chance to be stored."""
        self.stop(Ending())
        if self._tasks:
            await asyncio.wait(self._tasks)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(thread, self._store.exchange, [*outcomes, *self._outcomes], 0)
        await loop.run_in_executor(thread, self._store.release, list(self._ready))

    def _claims_wanted(self, outcomes: int) -> int:
        if self._stopping() or self._exhausted:
            return 0
        concurrency = self._options.concurrency
        ahead = min(concurrency, max(1, math.ceil(self._pacer.rate * _CLAIM_AHEAD_SECONDS)))
        if len(self._ready) * 2 > ahead:
            return 0
        room = 2 * concurrency - (self._claimed - outcomes)
        return max(0, min(ahead - len(self._ready), room))

    async def _dispatch(self) -> None:
        while not self._stopping():
            if not self._ready:
                self._may_dispatch.clear()
                await self._may_dispatch.wait()
                continue
            await self._free.acquire()
            slot = await self._pacer.slot()
            if self._stopping() or not self._ready:
                self._free.release()
                continue
            task = asyncio.create_task(self._send(self._ready.popleft(), slot))
            self._tasks.add(task)
            task.add_done_callback(self._sent)
            self._changed.set()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = error
        self._free.release()
        self._changed.set()

    async def _send(self, message: Claimed, slot: float) -> None:
        departure = Departure(lambda: self._still_allowed(slot), self._options.timeout)
        judgement = await self._poster.post(self._request(message), departure)
        attempts = message.attempts + 1
        match judgement:
            case Answered():
                self._answered(message, judgement, attempts, departure)
            case TurnedAway():
                self._ready.appendleft(replace(message, attempts=attempts))
                self._may_dispatch.set()
                self._turned_away(judgement, slot if departure.left_at is None else departure.left_at)
            case Refused():
                self._ready.appendleft(replace(message, attempts=attempts))
                self.stop(Ending(judgement.reason))

    async def _still_allowed(self, slot: float) -> None:
        """Opening a connection takes its time: a slot from before it would come due together with others."""
        if asyncio.get_running_loop().time() - slot > SLOT_LIFETIME:
            await self._pacer.slot()

    def _answered(self, message: Claimed, answer: Answered, attempts: int, departure: Departure) -> None:
        loop_time = asyncio.get_running_loop().time()
        left_at = departure.left_at if departure.left_at is not None else loop_time
        self._outcomes.append(
            Outcome(
                row=message.row,
                status=answer.status,
                codes="; ".join(answer.codes),
                descriptions="; ".join(answer.descriptions),
                warning_codes="; ".join(answer.warning_codes) or None,
                message_uuid=answer.message_uuid,
                request_uuid=answer.request_uuid,
                api_status=answer.api_status,
                http_status=answer.http_status,
                attempts=attempts,
                sent_at=to_text(departure.sent_at) if departure.sent_at is not None else None,
                latency_ms=round((loop_time - left_at) * 1000) if answer.http_status is not None else None,
            )
        )
        if answer.http_status is not None:
            self._pacer.taken()
            self._refused_since = None
        too_many = self._streak.add(answer.status, answer.codes)
        if too_many is not None:
            self.stop(Ending(f"{too_many}. Sending stopped so that you can look into it."))

    def _turned_away(self, judgement: TurnedAway, departed: float) -> None:
        time = asyncio.get_running_loop().time()
        if self._refused_since is None:
            self._refused_since = time
        if time - self._refused_since >= self._options.give_up_after:
            minutes = self._options.give_up_after / 60
            self.stop(Ending(f"{judgement.reason}, and nothing was taken for {minutes:g} minutes."))
            return
        pause = self._pacer.turned_away(
            departed, judgement.retry_after, slow_down=judgement.slow_down, reason=judgement.reason
        )
        if pause is not None:
            self._listener(Waiting(pause.seconds, pause.reason))

    async def _watch_for_stop(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_STOP_CHECK_SECONDS)
            if await loop.run_in_executor(thread, self._store.stop_requested):
                self.stop(Ending("somebody asked this run to stop", asked=True))

    def _request(self, message: Claimed) -> Request:
        identity = {
            **self._options.identity,
            "batchsendRow": str(message.row),
            "batchsendSend": str(message.generation + 1),
        }
        return Request(
            department_uuid=message.department_uuid,
            user_uuid=message.user_uuid,
            customer_uuid=message.customer_uuid,
            phone=message.phone,
            body=message.body,
            identity=identity,
        )
