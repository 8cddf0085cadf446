"""Stores updates for the listener: many share one commit, and each is answered once its commit is done."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from batchsend.errors import LedgerError
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.utils.timestamps import now, to_text

#: The most updates in one commit.
_MAX_BATCH = 500
#: How many bytes may wait for their commit. Updates beyond that are refused and have to be sent again.
_MAX_WAITING = 64_000_000
#: Seconds until a failed commit is retried.
_RETRY_SECONDS = 0.25
#: Seconds between two commits: more updates share the next one, and a sending process can use the ledger meanwhile.
_MIN_COMMIT_INTERVAL = 0.02
#: How often, in seconds, updates without a row are matched again, and how old such an update may be.
_MATCH_SECONDS = 2.0
_MATCH_RECENT = timedelta(minutes=10)
#: How often, in seconds, old updates are deleted and all updates without a row are matched again.
_CLEANUP_SECONDS = 3600.0
_KEEP_FOR = timedelta(days=90)
#: A commit that takes so many seconds hangs.
_HANGING_AFTER = 60.0
_MAX_KEPT = 1_000_000


@dataclass
class UpdateCounts:
    """`recorded`: updates since the start; `unmatched`: how many different ones have no row, known at the end."""

    recorded: int = 0
    unmatched: int = 0


@dataclass(eq=False)
class _Waiting:
    received: ReceivedUpdate
    size: int
    stored: asyncio.Event = field(default_factory=asyncio.Event)


class Recorder:
    """Stores updates in the order in which they arrive, all that are waiting in one commit.

    `complain` is called with a sentence when the ledger begins to fail. Belongs to one event loop.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deliveries = deliveries
        self._complain = complain
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._batch_size = _MAX_BATCH
        self._failing = False
        self._storing_since: float | None = None
        self._unmatched_at: str | None = None
        self._began = to_text(now())
        self.counts = UpdateCounts()

    async def record(self, body: bytes, seconds: float) -> bool:
        """Stores the updates of a body. Returns whether all are on disk within `seconds`; else they may be later."""
        if self._closing or self._waiting_bytes + len(body) > _MAX_WAITING:
            return False
        received = ReceivedUpdate.all_of(body, to_text(now()))
        waiting = [_Waiting(one, len(body) // len(received)) for one in received]
        self._waiting.extend(waiting)
        self._waiting_bytes += sum(one.size for one in waiting)
        self._arrived.set()
        try:
            async with asyncio.timeout(seconds):
                for one in waiting:
                    await one.stored.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Accepts no more updates; `run` ends once the waiting ones are stored."""
        self._closing = True
        self._arrived.set()

    @property
    def left(self) -> int:
        """How many updates are not stored yet."""
        return len(self._waiting)

    def problem(self) -> str | None:
        """Why updates are not recorded at present. Can be called from another thread."""
        since = self._storing_since
        if self._failing:
            return "the ledger does not record updates"
        if since is not None and self._clock() - since > _HANGING_AFTER:
            return "recording updates takes more than a minute"
        return None

    async def run(self) -> None:
        """Stores updates until `close` is called. Drops the ones that the ledger refuses after that."""
        loop = asyncio.get_running_loop()
        match_at = cleanup_at = loop.time()
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            while self._waiting or not self._closing:
                moment = loop.time()
                try:
                    if moment >= cleanup_at:
                        cleanup_at = moment + _CLEANUP_SECONDS
                        await loop.run_in_executor(thread, self._clean_up)
                    elif moment >= match_at and self._unmatched_at is not None:
                        match_at = moment + _MATCH_SECONDS
                        await loop.run_in_executor(thread, self._match)
                    elif not self._waiting:
                        await self._wait_for_update((match_at if self._unmatched_at else cleanup_at) - moment)
                    else:
                        await asyncio.sleep(
                            _MIN_COMMIT_INTERVAL if await self._store(thread) else _RETRY_SECONDS
                        )
                    self._failing = False
                except Exception as error:  # noqa: BLE001 - one bad update must not stop the others
                    if self._closing:
                        self._complain(
                            f"{_sentence(error)} {len(self._waiting):,} updates were not recorded."
                        )
                        return
                    if not self._failing:
                        self._complain(
                            f"{_sentence(error)} Updates are answered with 503 until the ledger works again."
                        )
                    self._failing = True
                    await asyncio.sleep(_RETRY_SECONDS)
            with suppress(LedgerError):
                await loop.run_in_executor(thread, self._finish)

    async def _wait_for_update(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._arrived.wait()
        except TimeoutError:
            return
        self._arrived.clear()

    async def _store(self, thread: ThreadPoolExecutor) -> bool:
        """Stores the next updates in one commit. Returns False where some have to wait for another process."""
        batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
        self._storing_since = self._clock()
        try:
            recorded = await asyncio.get_running_loop().run_in_executor(
                thread, self._deliveries.record, [one.received for one in batch]
            )
        except BaseException as error:
            if len(batch) == 1 and isinstance(error, Exception) and not isinstance(error, LedgerError):
                # The ledger works, so this event itself cannot be used. It would fail each time.
                batch[0].received = batch[0].received.without_facts()
                self._complain(
                    f"{_sentence(error)} It is kept as it came, but changes nothing: look in myKaarma for "
                    "what it reports."
                )
            # Retry these last and in smaller batches: an update that always fails must not block the others.
            self._waiting.extend(batch)
            self._batch_size = max(1, len(batch) // 2)
            raise
        finally:
            self._storing_since = None
        self._batch_size = min(_MAX_BATCH, self._batch_size * 2)
        self.counts.recorded += sum(one.received.digest not in recorded.busy for one in batch)
        if recorded.unmatched:
            self._unmatched_at = to_text(now())
        for one in batch:
            if one.received.digest in recorded.busy:
                self._waiting.append(one)
            else:
                self._waiting_bytes -= one.size
                one.stored.set()
        return not recorded.busy

    def _match(self) -> None:
        recent = to_text(now() - _MATCH_RECENT)
        self._match_since(recent)
        if self._unmatched_at is not None and self._unmatched_at < recent:
            self._unmatched_at = None

    def _match_since(self, since: str) -> None:
        while self._deliveries.match_again(since):
            continue

    def _finish(self) -> None:
        self._match()
        self.counts.unmatched = self._deliveries.unmatched(self._began)

    def _clean_up(self) -> None:
        self._match_since("")
        self._deliveries.forget(to_text(now() - _KEEP_FOR), _MAX_KEPT)


def _sentence(error: Exception) -> str:
    if isinstance(error, LedgerError):
        return str(error)
    return f"An update could not be recorded ({type(error).__name__})."
