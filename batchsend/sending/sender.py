"""Sends the messages of one run: claims rows, waits for slots, posts requests, records outcomes.

One task uses the ledger, one commit at a time: it stores the outcomes that have come in and claims the rows to send
next, once their slots are near. Another task gives each claimed row a slot and a request of its own. Requests never
wait for commits, and no more than twice `concurrency` rows are ever claimed without an outcome.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from batchsend.errors import StoppedError
from batchsend.mykaarma.client import Departure, Poster
from batchsend.mykaarma.protocol import Answered, Judgement, RetryLater
from batchsend.sending.outbox import MessageStore
from batchsend.sending.pacing import NEAR_SECONDS, Pacing, Pause, rows_ahead
from batchsend.sending.rows import Claimed, Outcome, outcome_of, request_of
from batchsend.sending.run_settings import RunSettings
from batchsend.sending.stopping import STOP_REQUESTED, Ending, FailureStreak, GiveUpTimer, Stop
from batchsend.statuses import Code, Status

T = TypeVar("T")

#: Rows that have waited so long for their slots are checked again: their people may have opted out meanwhile.
_RECHECK_SECONDS = 1.0
#: How often to check for a stop request or the deadline.
_WATCH_SECONDS = 0.5
#: A later wake-up means the machine was suspended; that time does not count.
_SUSPENDED_SECONDS = 5.0


@dataclass(frozen=True)
class OtherOutcomes:
    """Outcomes that other processes of the run have stored: status -> how many more of them."""

    outcomes: Mapping[str, int]


#: What a listener gets: pauses, and outcomes after they are on disk. A row whose person opted out after the plan is
#: an outcome too (`skipped`).
Event = Outcome | Pause | OtherOutcomes


class _Underway(NamedTuple):
    """A row between its slot (the event loop's time) and its outcome."""

    message: Claimed
    slot: float
    departure: Departure


class Sender:
    """Sends the open rows of one run, once. Belongs to one event loop.

    `identity` is what the callback metadata of every request carries in addition to its row. `stop` ends it early.
    """

    def __init__(
        self,
        store: MessageStore,
        poster: Poster,
        pacer: Pacing,
        settings: RunSettings,
        identity: Mapping[str, str],
        listener: Callable[[Event], None],
        stop: Stop,
    ) -> None:
        self.stop = stop
        self._store = store
        self._poster = poster
        self._pacer = pacer
        self._settings = settings
        self._identity = identity
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._streak = FailureStreak(settings.stop_after_failures)
        self._give_up_timer = GiveUpTimer(settings.give_up_after)
        self._ready: deque[Claimed] = deque()
        #: No row in `_ready` was claimed or checked again before this time of the event loop.
        self._checked_at = 0.0
        self._quiet: list[Claimed] = []
        self._underway: dict[asyncio.Task[Judgement], _Underway] = {}
        self._outcomes: list[Outcome] = []
        #: Until it ends, `_outcomes` wait for others.
        self._wait: asyncio.TimerHandle | None = None
        self._pauses: list[Pause] = []
        self._claimed = 0
        self._exhausted = False
        #: Whether the next slot is near, so that rows may be claimed for it.
        self._slot_is_near = False
        self._crash: BaseException | None = None
        self._changed = asyncio.Event()
        self._may_dispatch = asyncio.Event()
        self._free = asyncio.Semaphore(settings.concurrency)

    def _stopping(self) -> bool:
        return self.stop.is_set() or self._crash is not None

    async def run(self) -> Ending:
        """Sends until nothing is left or something stops it.

        Raises `LedgerError` where the ledger fails, and any other error from inside, after the answers to the
        requests in flight have come in and were stored if possible.
        """
        with self._thread:
            helpers = [asyncio.create_task(task()) for task in (self._dispatch, self._watch, self._heed_stop)]
            for helper in helpers:
                helper.add_done_callback(self._notice_crash)
            try:
                await self._serve_ledger()
            except Exception as error:
                self._crash = error
                await self._save_outcomes()
                raise
            finally:
                tasks = [*helpers, *self._underway]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self.stop.ending or Ending()

    async def _heed_stop(self) -> None:
        await self.stop.wait()
        self._wind_up()

    def _wind_up(self) -> None:
        """Sends no further request."""
        self._cancel_unsent()
        self._changed.set()
        self._may_dispatch.set()

    # Using the ledger

    async def _in_thread(self, action: Callable[..., T], *arguments: object) -> T:
        return await self._loop.run_in_executor(self._thread, action, *arguments)

    async def _serve_ledger(self) -> None:
        while True:
            if self._crash is not None:
                raise self._crash
            await self._report()
            await self._release_quiet()
            if await self._exchange():
                continue
            if self._stopping() and self._ready:
                # Now, so that a second Ctrl-C leaves only requests in flight unconfirmed.
                await self._release_ready()
                continue
            if self._finished():
                await self._report()
                return
            await self._changed.wait()
            self._changed.clear()

    async def _report(self) -> None:
        """Reports pauses, and rows that were skipped because their people have opted out."""
        while self._pauses:
            pause = self._pauses.pop(0)
            self._listener(pause)
            await self._in_thread(self._store.note_pause, pause.seconds, pause.reason)
        for outcome in self._store.take_skipped():
            self._listener(outcome)

    def _finished(self) -> bool:
        return (self._stopping() and not self._underway) or (self._exhausted and self._claimed == 0)

    async def _exchange(self) -> bool:
        """Stores outcomes and claims rows in one commit, if that is due. Returns whether it was."""
        if not self._outcomes_due() and not self._rows_due():
            return False
        outcomes, wanted = list(self._outcomes), self._claims_wanted()
        try:
            claimed = await self._in_thread(self._store.exchange, outcomes, wanted)
        except StoppedError as error:
            # The next exchange stores the outcomes and claims nothing.
            self.stop(Ending(str(error)))
            return True
        del self._outcomes[: len(outcomes)]
        self._claimed += len(claimed) - len(outcomes)
        self._exhausted = self._exhausted or len(claimed) < wanted
        self._outcomes_wait()
        if not self._ready:
            self._checked_at = self._loop.time()
        for message in claimed:
            (self._ready if self._settings.may_send(message.clock or "") else self._quiet).append(message)
        self._may_dispatch.set()
        for outcome in outcomes:
            self._listener(outcome)
        return True

    def _outcomes_wait(self) -> None:
        """Lets outcomes wait a little, so that more of them share a commit."""
        if self._wait is not None:
            self._wait.cancel()
        self._wait = self._loop.call_later(self._store.outcome_delay, self._end_wait)

    def _end_wait(self) -> None:
        # Comparing times would not do: where the clock is coarse (Windows), a timer ends before its time.
        self._wait = None
        self._changed.set()

    def _outcomes_due(self) -> bool:
        """Whether the outcomes are worth a commit, or have waited long enough, or no more will come."""
        no_more = self._stopping() or (self._exhausted and not self._underway)
        enough = 2 * len(self._outcomes) >= self._settings.concurrency
        return bool(self._outcomes) and (enough or no_more or self._wait is None)

    def _wake_if_due(self) -> None:
        if self._changed.is_set():
            return
        if self._stopping() or self._quiet or self._pauses or self._outcomes_due() or self._rows_due():
            self._changed.set()

    def _rows_due(self) -> bool:
        """Whether rows have to be claimed, so that requests need not wait for them."""
        few = min(self._settings.concurrency, rows_ahead(self._pacer.rate)) // 2
        return len(self._ready) <= few and self._claims_wanted() > 0

    def _claims_wanted(self) -> int:
        """How many rows an exchange claims, whatever it is made for."""
        if self._stopping() or self._exhausted or not self._slot_is_near:
            return 0
        room = 2 * self._settings.concurrency - (self._claimed - len(self._outcomes))
        return max(0, min(rows_ahead(self._pacer.rate) - len(self._ready), room))

    async def _release_quiet(self) -> None:
        """Gives back rows whose recipients have quiet hours now."""
        if quiet := list(self._quiet):
            await self._in_thread(self._store.release, quiet, Code.QUIET_HOURS)
            del self._quiet[: len(quiet)]
            self._claimed -= len(quiet)

    async def _release_ready(self) -> None:
        """Gives back claimed rows whose requests have certainly not left."""
        released = list(self._ready)
        await self._in_thread(self._store.release, released)
        self._forget(released)

    def _forget(self, messages: Sequence[Claimed]) -> None:
        """Removes rows that are not claimed any more. Others may have been given back meanwhile."""
        before, gone = len(self._ready), {message.row for message in messages}
        self._ready = deque(message for message in self._ready if message.row not in gone)
        self._claimed -= before - len(self._ready)

    async def _recheck(self) -> None:
        """Removes rows whose people have opted out since they were claimed, such as during a pause."""
        began = self._loop.time()
        if not self._ready or began - self._checked_at < _RECHECK_SECONDS:
            return
        rows = list(self._ready)
        try:
            left = {message.row for message in await self._in_thread(self._store.recheck, rows)}
        except StoppedError as error:
            self.stop(Ending(str(error)))
            return
        self._checked_at = began
        self._forget([message for message in rows if message.row not in left])
        self._changed.set()

    async def _save_outcomes(self) -> None:
        """After an error: sends nothing more, waits for the requests in flight and tries once to store outcomes."""
        self._wind_up()
        if self._underway:
            await asyncio.wait(self._underway)
        try:
            await self._in_thread(self._store.exchange, self._outcomes, 0)
        finally:
            await self._in_thread(self._store.release, list(self._quiet))
            await self._release_ready()

    # Making requests

    async def _dispatch(self) -> None:
        while not self._stopping():
            if not self._ready:
                self._may_dispatch.clear()
                await self._approach_slot()
                await self._may_dispatch.wait()
                continue
            await self._free.acquire()
            slot = await self._pacer.slot()
            self._slot_is_near = not self._pacer.is_slow
            await self._recheck()
            if self._stopping() or not self._ready:
                self._free.release()
                continue
            message = self._ready.popleft()
            if self._settings.may_send(message.clock or ""):
                self._start_request(message, slot)
            else:
                self._free.release()
                self._quiet.append(message)
            self._wake_if_due()

    async def _approach_slot(self) -> None:
        """Waits until the next slot is near, unless no row is left for it."""
        while not self._slot_is_near and not self._exhausted:
            far = await self._pacer.until_slot() - NEAR_SECONDS
            if far <= 0:
                self._slot_is_near = True
            elif await self._in_thread(self._store.has_open_rows):
                await asyncio.sleep(far)
            else:
                self._exhausted = True
        self._changed.set()

    def _start_request(self, message: Claimed, slot: float) -> None:
        underway = _Underway(message, slot, Departure(self._pacer.departure))
        task = self._loop.create_task(
            self._poster.post(request_of(message, self._identity), underway.departure)
        )
        self._underway[task] = underway
        task.add_done_callback(self._request_done)

    def _cancel_unsent(self) -> None:
        """Puts requests that have not left back into the queue, as if they had not been tried."""
        for task, underway in self._underway.items():
            if underway.departure.left_at is None:
                task.cancel()

    def _request_done(self, task: asyncio.Task[Judgement]) -> None:
        underway = self._underway.pop(task)
        self._free.release()
        self._notice_crash(task)
        if not task.cancelled() and task.exception() is None:
            self._settle(underway, task.result())
        elif underway.departure.left_at is None:
            self._requeue(underway.message)
        else:
            self._record(underway, Answered(Status.UNCONFIRMED, (Code.INTERRUPTED,)))
        self._wake_if_due()

    def _notice_crash(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = error
            self._changed.set()

    def _settle(self, underway: _Underway, judgement: Judgement) -> None:
        if isinstance(judgement, Answered):
            self._record(underway, judgement)
            return
        self._requeue(underway.message._replace(attempts=underway.message.attempts + 1))
        if isinstance(judgement, RetryLater):
            self._back_off(underway, judgement)
        else:
            self.stop(Ending(judgement.reason))

    def _requeue(self, message: Claimed) -> None:
        self._ready.appendleft(message)
        self._checked_at = float("-inf")
        self._may_dispatch.set()

    def _record(self, underway: _Underway, answer: Answered) -> None:
        ended = self._loop.time()
        if not self._outcomes:
            self._outcomes_wait()
        self._outcomes.append(outcome_of(underway.message, answer, underway.departure, ended))
        if answer.http_status is not None:
            self._pacer.reset_backoff()
            self._give_up_timer.answered(accepted=answer.status is Status.ACCEPTED)
        if (too_many := self._streak.add(answer.status, answer.codes)) is not None:
            self.stop(Ending(f"{too_many}. Sending stopped so that you can look into it."))
        if answer.ends_run is not None:
            self.stop(Ending(answer.ends_run))

    def _back_off(self, underway: _Underway, retry: RetryLater) -> None:
        self._give_up_timer.retried(self._loop.time(), retry)
        left_at = underway.departure.left_at
        pause = self._pacer.back_off(
            underway.slot if left_at is None else left_at,
            retry.retry_after,
            slow_down=retry.slow_down,
            reason=retry.reason,
        )
        if pause is not None:
            self._pauses.append(pause)
            # The server could drop a connection that was opened for a request and is idle during the pause.
            self._cancel_unsent()
        self._check_deadline()

    def _check_deadline(self) -> None:
        if (reason := self._give_up_timer.reason(self._loop.time())) is not None:
            self.stop(Ending(reason))

    async def _watch(self) -> None:
        """Stops the run at a stop request, and when there was no accepted text for `give_up_after`."""
        while True:
            began = self._loop.time()
            await asyncio.sleep(_WATCH_SECONDS)
            if (late := self._loop.time() - began - _WATCH_SECONDS) > _SUSPENDED_SECONDS:
                self._give_up_timer.skip(late)
            self._check_deadline()
            if await self._in_thread(self._store.stop_requested):
                self.stop(STOP_REQUESTED)
