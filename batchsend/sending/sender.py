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
from typing import Any, Protocol

from batchsend.mykaarma.client import Departure
from batchsend.mykaarma.protocol import Answered, Judgement, Refused, Request, RetryLater, message_identity
from batchsend.sending.failure_streak import FailureStreak
from batchsend.sending.outbox import Claimed, Outcome
from batchsend.sending.pacing import Pause
from batchsend.statuses import Code, Status
from batchsend.utils.timestamps import to_text
from batchsend.utils.wording import time_span

#: Claims are made this many seconds ahead of their slots, so that a commit does not eat them.
_CLAIM_AHEAD_SECONDS = 0.2
#: How often it is looked whether the run has to stop: the ledger is asked, and the time.
_WATCH_SECONDS = 0.5
#: Waking up so much too late means that the computer stood still (suspended, stopped): no time to give up in.
_STANDSTILL_SECONDS = 5.0


class MessageStore(Protocol):
    """Where messages come from and outcomes go: `outbox.Outbox`."""

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]: ...
    def release(self, claimed: Sequence[Claimed], code: Code = ...) -> None: ...
    def stop_requested(self) -> bool: ...


class Poster(Protocol):
    """Who makes the request: `api_client.ApiClient`."""

    async def post(self, request: Request, departure: Departure) -> Judgement: ...


class Pacing(Protocol):
    """When the next request may leave: `limiter.Pacer`, or `shared_pace.SharedPacer` for several processes."""

    @property
    def rate(self) -> float: ...
    async def slot(self) -> float: ...
    async def departure(self) -> None: ...
    def back_off(
        self, departed: float, retry_after: float | None, *, slow_down: bool, reason: str
    ) -> Pause | None: ...
    def taken(self) -> None: ...


@dataclass(frozen=True)
class SendOptions:
    """`identity` is what every request's callback metadata carries beside its row.

    `may_leave` is asked with a recipient's clock before each request: not at quiet hours.
    """

    concurrency: int
    timeout: float
    stop_after_failures: int
    give_up_after: float
    identity: Mapping[str, str]
    may_leave: Callable[[str], bool] = lambda _clock: True


@dataclass(frozen=True)
class Waiting:
    """Everybody waits `seconds`, because of `reason`."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class OtherOutcomes:
    """Other processes that send the same run have stored outcomes: status -> how many more of them."""

    outcomes: Mapping[str, int]


#: What a listener hears: outcomes, each after it is on disk, and pauses.
Event = Outcome | Waiting | OtherOutcomes


@dataclass(frozen=True)
class Ending:
    """Why sending ended. `reason` is `None` where every message was tried."""

    reason: str | None = None
    interrupted: bool = False
    asked: bool = False


@dataclass(frozen=True, slots=True)
class _Underway:
    """A message between its slot (the event loop's time) and its outcome."""

    message: Claimed
    slot: float
    departure: Departure


class Sender:
    """Sends the open messages of one run, once. Belongs to one event loop."""

    def __init__(
        self,
        store: MessageStore,
        poster: Poster,
        pacer: Pacing,
        options: SendOptions,
        listener: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._poster = poster
        self._pacer = pacer
        self._options = options
        self._listener = listener
        self._streak = FailureStreak(options.stop_after_failures)
        self._ready: deque[Claimed] = deque()
        self._asleep: list[Claimed] = []
        self._underway: dict[asyncio.Task[Judgement], _Underway] = {}
        self._outcomes: list[Outcome] = []
        self._pauses: list[Waiting] = []
        self._claimed = 0
        self._exhausted = False
        self._trouble: RetryLater | None = None
        self._nothing_taken_since: float | None = None
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
        self._call_back()
        self._changed.set()
        self._may_dispatch.set()

    async def run(self) -> Ending:
        """Sends until nothing is left or something stops it.

        Raises `LedgerError` where the ledger fails, and whatever else goes wrong inside, after the answers under way
        have come in and were stored if they could be.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            helpers = [
                asyncio.create_task(self._dispatch()),
                asyncio.create_task(self._watch(thread)),
            ]
            for helper in helpers:
                helper.add_done_callback(self._notice_crash)
            try:
                await self._keep_books(thread)
            except Exception:
                await self._save_what_is_known(thread)
                raise
            finally:
                tasks = [*helpers, *self._underway]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self._ending or Ending()

    async def _keep_books(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._crash is not None:
                raise self._crash
            while self._pauses:
                self._listener(self._pauses.pop(0))
            if self._asleep:
                asleep = list(self._asleep)
                await loop.run_in_executor(thread, self._store.release, asleep, Code.QUIET_HOURS)
                del self._asleep[: len(asleep)]
                self._claimed -= len(asleep)
            outcomes = list(self._outcomes)
            wanted = self._claims_wanted(len(outcomes))
            if outcomes or wanted:
                claimed = await loop.run_in_executor(thread, self._store.exchange, outcomes, wanted)
                del self._outcomes[: len(outcomes)]
                self._claimed += len(claimed) - len(outcomes)
                self._exhausted = self._exhausted or len(claimed) < wanted
                for message in claimed:
                    (self._ready if self._may_leave(message) else self._asleep).append(message)
                self._may_dispatch.set()
                for outcome in outcomes:
                    self._listener(outcome)
                continue
            if self._stopping() and self._ready:
                # At once, not after the last answer: a second Ctrl-C then leaves only what is in flight.
                await self._release(thread)
                continue
            if self._stopping() and not self._underway:
                return
            if self._exhausted and self._claimed == 0:
                return
            await self._changed.wait()
            self._changed.clear()

    async def _save_what_is_known(self, thread: ThreadPoolExecutor) -> None:
        """Something broke: no more requests; the answers under way get one more chance to be stored."""
        self.stop(Ending())
        if self._underway:
            await asyncio.wait(self._underway)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(thread, self._store.exchange, self._outcomes, 0)
        finally:
            await loop.run_in_executor(thread, self._store.release, list(self._asleep))
            await self._release(thread)

    async def _release(self, thread: ThreadPoolExecutor) -> None:
        """Gives back to the ledger what is claimed and has certainly not left."""
        given_back = list(self._ready)
        await asyncio.get_running_loop().run_in_executor(thread, self._store.release, given_back)
        for _ in given_back:
            # What has come back in the meantime stands in front.
            self._ready.pop()
        self._claimed -= len(given_back)

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
            message = self._ready.popleft()
            if not self._may_leave(message):
                self._free.release()
                self._asleep.append(message)
                self._changed.set()
                continue
            departure = Departure(self._pacer.departure, self._options.timeout)
            task = asyncio.create_task(self._poster.post(self._request(message), departure))
            self._underway[task] = _Underway(message, slot, departure)
            task.add_done_callback(self._over)
            self._changed.set()

    def _may_leave(self, message: Claimed) -> bool:
        return self._options.may_leave(message.clock or "")

    def _call_back(self) -> None:
        """What has not left yet does not leave now: it waits with the others, as if it had not been tried."""
        for task, underway in self._underway.items():
            if underway.departure.left_at is None:
                task.cancel()

    def _over(self, task: asyncio.Task[Judgement]) -> None:
        underway = self._underway.pop(task)
        self._free.release()
        self._notice_crash(task)
        if not task.cancelled() and task.exception() is None:
            self._settle(underway, task.result())
        elif underway.departure.left_at is None:
            self._give_back(underway.message)
        else:
            self._answered(underway, Answered(Status.UNCONFIRMED, (Code.INTERRUPTED,)))
        self._changed.set()

    def _notice_crash(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = error
            self._changed.set()

    def _settle(self, underway: _Underway, judgement: Judgement) -> None:
        match judgement:
            case Answered():
                self._answered(underway, judgement)
            case RetryLater():
                self._give_back(_tried_once_more(underway.message))
                self._retry_later(underway, judgement)
            case Refused():
                self._give_back(_tried_once_more(underway.message))
                self.stop(Ending(judgement.reason))

    def _give_back(self, message: Claimed) -> None:
        self._ready.appendleft(message)
        self._may_dispatch.set()

    def _answered(self, underway: _Underway, answer: Answered) -> None:
        message, departure = underway.message, underway.departure
        answered = answer.http_status is not None
        latency = None
        if answered and departure.left_at is not None:
            latency = round((asyncio.get_running_loop().time() - departure.left_at) * 1000)
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
                attempts=message.attempts + 1,
                sent_at=to_text(departure.sent_at) if departure.sent_at is not None else None,
                latency_ms=latency,
            )
        )
        if answered:
            self._pacer.taken()
            self._trouble = None
        if answer.status is Status.ACCEPTED:
            self._nothing_taken_since = None
        too_many = self._streak.add(answer.status, answer.codes)
        if too_many is not None:
            self.stop(Ending(f"{too_many}. Sending stopped so that you can look into it."))

    def _retry_later(self, underway: _Underway, judgement: RetryLater) -> None:
        self._trouble = judgement
        if self._nothing_taken_since is None:
            self._nothing_taken_since = asyncio.get_running_loop().time()
        left_at = underway.departure.left_at
        pause = self._pacer.back_off(
            underway.slot if left_at is None else left_at,
            judgement.retry_after,
            slow_down=judgement.slow_down,
            reason=judgement.reason,
        )
        if pause is not None:
            self._pauses.append(Waiting(pause.seconds, pause.reason))
            # A connection that was opened for a request could be dropped by the other side during the pause.
            self._call_back()
        self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        trouble, since = self._trouble, self._nothing_taken_since
        give_up_after = self._options.give_up_after
        if trouble is None or since is None:
            return
        if asyncio.get_running_loop().time() - since >= give_up_after:
            reason = (
                f"{trouble.reason}, and nothing was taken for {time_span(give_up_after)}. {trouble.advice}"
            )
            self.stop(Ending(reason))

    async def _watch(self, thread: ThreadPoolExecutor) -> None:
        """Sees to it that a run ends in time: when somebody asks for it, and when waiting has no end."""
        loop = asyncio.get_running_loop()
        while True:
            asleep = loop.time()
            await asyncio.sleep(_WATCH_SECONDS)
            late = loop.time() - asleep - _WATCH_SECONDS
            if late > _STANDSTILL_SECONDS and self._nothing_taken_since is not None:
                self._nothing_taken_since += late
            self._give_up_in_time()
            if await loop.run_in_executor(thread, self._store.stop_requested):
                self.stop(Ending("somebody asked this run to stop", asked=True))

    def _request(self, message: Claimed) -> Request:
        return Request(
            department_uuid=message.department_uuid,
            user_uuid=message.user_uuid,
            customer_uuid=message.customer_uuid,
            phone=message.phone,
            body=message.body,
            identity=message_identity(self._options.identity, message.row, message.generation),
        )


def _tried_once_more(message: Claimed) -> Claimed:
    return replace(message, attempts=message.attempts + 1)
