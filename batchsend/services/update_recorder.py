"""Between a listener and its ledger: many updates share a commit, and each is answered once its commit is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from batchsend.errors import LedgerError
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate
from batchsend.utils.timestamps import now, to_text

#: Updates of one commit at most.
_MOST_TOGETHER = 500
#: Bytes that may wait for their commit; what comes beyond is to be sent again later.
_MOST_WAITING = 64_000_000
#: Seconds until what could not be stored is tried again.
_PAUSE = 0.25
#: Seconds between two commits: more updates share the next one, and whoever sends meanwhile gets at the ledger.
_BREATH = 0.02
#: Seconds between looks for the rows of updates that had none, and how long such an update is looked at so often.
_MATCH_SECONDS = 2.0
_MATCH_RECENT = timedelta(minutes=10)
#: Seconds between the tidying up, which also looks at all that have no row.
_TIDY_SECONDS = 3600.0
_KEEP_FOR = timedelta(days=90)
_KEEP_MOST = 1_000_000


@dataclass
class UpdateCounts:
    """What was recorded since the start; `unmatched`: different ones that no row is known for, once it has ended."""

    recorded: int = 0
    unmatched: int = 0


@dataclass(eq=False)
class _Waiting:
    received: ReceivedUpdate
    size: int
    stored: asyncio.Event = field(default_factory=asyncio.Event)


class Recorder:
    """Stores updates in the order in which they come, as many in one commit as are waiting.

    `complain` hears a sentence when the ledger begins to fail. Belongs to one event loop.
    """

    def __init__(self, deliveries: Deliveries, complain: Callable[[str], None]) -> None:
        self._deliveries = deliveries
        self._complain = complain
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._together = _MOST_TOGETHER
        self._trouble = False
        self._unmatched_at: str | None = None
        self._began = to_text(now())
        self.counts = UpdateCounts()

    async def record(self, body: bytes, patience: float) -> bool:
        """Whether the update is on disk within `patience` seconds. If not, it is stored later if that can be done."""
        if self._closing or self._waiting_bytes + len(body) > _MOST_WAITING:
            return False
        waiting = _Waiting(ReceivedUpdate.of(body, to_text(now())), len(body))
        self._waiting.append(waiting)
        self._waiting_bytes += len(body)
        self._arrived.set()
        try:
            async with asyncio.timeout(patience):
                await waiting.stored.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Nothing more is taken; `run` ends once what is waiting is stored."""
        self._closing = True
        self._arrived.set()

    @property
    def left(self) -> int:
        """Updates that are not stored yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Stores until it is closed. What the ledger does not take when it is closed is given up."""
        loop = asyncio.get_running_loop()
        match_at = tidy_at = loop.time()
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            while self._waiting or not self._closing:
                moment = loop.time()
                try:
                    if moment >= tidy_at:
                        tidy_at = moment + _TIDY_SECONDS
                        await loop.run_in_executor(thread, self._tidy)
                    elif moment >= match_at and self._unmatched_at is not None:
                        match_at = moment + _MATCH_SECONDS
                        await loop.run_in_executor(thread, self._match)
                    elif not self._waiting:
                        await self._arrival((match_at if self._unmatched_at else tidy_at) - moment)
                    else:
                        await asyncio.sleep(_BREATH if await self._store(thread) else _PAUSE)
                    self._trouble = False
                except Exception as error:  # noqa: BLE001 - whatever one update does, the others are recorded
                    if self._closing:
                        self._complain(f"{_said(error)} {len(self._waiting):,} updates were not recorded.")
                        return
                    if not self._trouble:
                        self._complain(f"{_said(error)} Updates are answered with 503 until it can be.")
                    self._trouble = True
                    await asyncio.sleep(_PAUSE)
            with suppress(LedgerError):
                await loop.run_in_executor(thread, self._conclude)

    async def _arrival(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._arrived.wait()
        except TimeoutError:
            return
        self._arrived.clear()

    async def _store(self, thread: ThreadPoolExecutor) -> bool:
        """Stores the next ones in one commit; False where some of them have to wait for another process."""
        batch = [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]
        try:
            recorded = await asyncio.get_running_loop().run_in_executor(
                thread, self._deliveries.record, [one.received for one in batch]
            )
        except BaseException:
            # Behind all others and in smaller lots: one that the ledger never takes must not hold up the rest.
            self._waiting.extend(batch)
            self._together = max(1, self._together // 2)
            raise
        self._together = min(_MOST_TOGETHER, self._together * 2)
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

    def _conclude(self) -> None:
        self._match()
        self.counts.unmatched = self._deliveries.unmatched(self._began)

    def _tidy(self) -> None:
        self._match_since("")
        self._deliveries.forget(to_text(now() - _KEEP_FOR), _KEEP_MOST)


def _said(error: Exception) -> str:
    if isinstance(error, LedgerError):
        return str(error)
    return f"An update could not be recorded ({type(error).__name__})."
