"""The recorder's own view of whether it works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import cast

from batchsend.errors import LedgerError
from batchsend.ledger.deliveries import Deliveries, ReceivedUpdate, Recorded
from batchsend.services.update_recorder import Recorder


class FakeDeliveries:
    """A ledger whose commits wait for `free`, and fail while `failing`. It cannot use facts about `unusable`."""

    def __init__(self) -> None:
        self.began, self.free = threading.Event(), threading.Event()
        self.failing = False
        self.unusable = ""
        self.stored: list[ReceivedUpdate] = []

    def record(self, received: Sequence[ReceivedUpdate]) -> Recorded:
        self.began.set()
        assert self.free.wait(60)
        if self.failing:
            raise LedgerError("ledger.db: the disk is full.")
        if any(one.update and one.update.message_uuid == self.unusable for one in received):
            raise OverflowError
        self.stored += received
        return Recorded(len(received), 0, frozenset())

    def match_again(self, _since: str) -> int:
        return 0

    def forget(self, _before: str, _most: int) -> int:
        return 0

    def unmatched(self, _since: str) -> int:
        return 0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the recorder has no event for it
            await asyncio.sleep(0.01)


def test_a_commit_that_hangs_is_a_problem() -> None:
    moment = 0.0
    ledger = FakeDeliveries()

    async def play() -> None:
        nonlocal moment
        recorder = Recorder(cast("Deliveries", ledger), lambda _sentence: None, lambda: moment)
        running = asyncio.create_task(recorder.run())
        recording = asyncio.create_task(recorder.record(b"{}", 600))
        await asyncio.to_thread(ledger.began.wait, 60)
        assert recorder.problem() is None
        moment += 61
        assert recorder.problem() == "recording updates takes more than a minute"
        ledger.free.set()
        assert await recording
        assert recorder.problem() is None
        recorder.close()
        await running

    asyncio.run(play())


def test_a_commit_that_fails_is_a_problem_until_one_succeeds() -> None:
    ledger = FakeDeliveries()
    ledger.free.set()
    ledger.failing = True

    async def play() -> None:
        recorder = Recorder(cast("Deliveries", ledger), lambda _sentence: None)
        running = asyncio.create_task(recorder.run())
        recording = asyncio.create_task(recorder.record(b"{}", 600))
        await until(recorder.problem)
        assert recorder.problem() == "the ledger does not record updates"
        ledger.failing = False
        assert await recording
        await until(lambda: recorder.problem() is None)
        recorder.close()
        await running

    asyncio.run(play())


def test_an_event_that_cannot_be_used_is_stored_as_it_came_and_affects_no_other() -> None:
    ledger = FakeDeliveries()
    ledger.free.set()
    ledger.unusable = "m-2"
    complaints: list[str] = []
    bodies = [b'{"messageUuid": "m-%d", "status": "SUCCESS"}' % number for number in range(1, 5)]

    async def play() -> None:
        recorder = Recorder(cast("Deliveries", ledger), complaints.append)
        recordings = [asyncio.create_task(recorder.record(body, 60)) for body in bodies]
        await asyncio.sleep(0)
        running = asyncio.create_task(recorder.run())
        assert await asyncio.gather(*recordings) == [True] * 4
        recorder.close()
        await running

    asyncio.run(play())
    known = {one.raw.encode(): one.update is not None for one in ledger.stored}
    assert known == {body: body != bodies[1] for body in bodies}
    assert any("It is kept as it came" in sentence for sentence in complaints)
