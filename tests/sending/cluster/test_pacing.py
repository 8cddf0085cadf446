"""One rate limit for all processes of a run, even when they stall or the database answers slowly."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import closing
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from clusters import a_run
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import planned, store_plan
from limits import most_in_a_window
from sqlalchemy import select, update
from virtual_time import VirtualTimeLoop, run_virtually

from batchsend.errors import LedgerError
from batchsend.ledger.cluster_schema import paces
from batchsend.ledger.leases import Lease, LeaseLostError, clocks
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.sending.cluster import pacing
from batchsend.sending.cluster.open_runs import hand_over
from batchsend.sending.cluster.pacing import SharedPacer, SlotBlock, SlotBook, lasts, pace


class Book:
    """The database's row as one of several hosts sees it: statements arrive later, so slots come a bit early."""

    next_slot = 0.0

    def __init__(self, rate: float, delay: float) -> None:
        self.rate = rate
        self.delay = delay
        self.round_trip = 2 * delay
        self.row: Book = self

    def seen_with(self, delay: float) -> Book:
        other = Book(self.rate, delay)
        other.row = self.row
        return other

    async def reserve(self, _run_id: int, count: int, share: float, ahead: float = 0.0) -> SlotBlock:
        await asyncio.sleep(self.delay)
        first = max(self.row.next_slot, asyncio.get_running_loop().time() + ahead)
        end = first + count / (self.rate * share)
        self.row.next_slot = end
        await asyncio.sleep(self.delay)
        last = end - self.delay
        return SlotBlock([last - number / (self.rate * share) for number in range(count, 0, -1)], self.rate)

    def push(self, _run_id: int, _departed: float, wait: float, *, slow_down: bool) -> None:
        moment = asyncio.get_running_loop().time()
        self.row.next_slot = max(self.row.next_slot, moment + wait)


class CountingBook(Book):
    """A book that counts its reservations."""

    reservations = 0

    async def reserve(self, run_id: int, count: int, share: float, ahead: float = 0.0) -> SlotBlock:
        self.reservations += 1
        return await super().reserve(run_id, count, share, ahead)


def a_lease() -> Lease:
    lease = Lease()
    lease._until = (math.inf, math.inf)
    return lease


#: In virtual seconds.
_TIME_LIMIT = 300.0


async def departures(
    pacer: SharedPacer, count: int, chance: random.Random, stalls: list[float], connecting: list[float]
) -> list[float]:
    """The times at which `count` requests of one process left. It stalls at times, or connecting takes a while."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    left: list[float] = []

    async def request() -> None:
        await asyncio.sleep(chance.choice(connecting))
        await pacer.departure()
        left.append(loop.time())

    waiting: set[asyncio.Task[None]] = set()
    # A computer that stalls at each slot misses all of them and would never end.
    while len(left) < count and loop.time() < _TIME_LIMIT:
        if len(waiting) + len(left) < count:
            await pacer.slot()
            loop.stall(chance.choice(stalls))
            waiting.add(asyncio.create_task(request()))
        else:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        # A cancelled request is made again.
        waiting = {task for task in waiting if not task.done()}
    for task in waiting:
        task.cancel()
    return left


async def all_together(pacers: list[SharedPacer], count: int, *how: Any) -> list[float]:
    lists = await asyncio.gather(*(departures(pacer, count // len(pacers), *how) for pacer in pacers))
    return sorted(moment for moments in lists for moment in moments)


@settings(max_examples=25)
@given(
    rate=st.floats(2, 400),
    longest_from=st.sampled_from([100, 10_000]),
    delays=st.lists(st.floats(0, 0.004), min_size=1, max_size=5),
    stalls=st.lists(st.one_of(st.just(0.0), st.floats(0, 0.004), st.floats(0, 2)), min_size=1, max_size=10),
    width=st.sampled_from([1.0, 1.3, 2.0, 3.7]),
    seed=st.integers(0, 1000),
)
def test_no_window_holds_more_than_the_limit_for_any_number_of_processes(
    rate: float, longest_from: float, delays: list[float], stalls: list[float], width: float, seed: int
) -> None:
    async def story() -> list[float]:
        row = Book(rate, 0)
        pacers = [SharedPacer(row.seen_with(delay), 1, rate, a_lease()) for delay in delays]  # type: ignore[arg-type]
        connecting = [0, 0, 0.001, 0.05]
        return await all_together(pacers, min(300, 30 + round(rate)), random.Random(seed), stalls, connecting)

    # Slots last long from lower rates on too: more requests a second would take long to simulate.
    with patch.object(pacing, "_LONGEST_FROM_RATE", longest_from):
        left = run_virtually(story())
    assert not left or most_in_a_window(left, width) <= math.ceil(rate * width) + 1


@given(rate=st.floats(0.1, 100_000), width=st.floats(1, 1000))
def test_slots_that_are_used_late_are_allowed_for(rate: float, width: float) -> None:
    assert pace(rate) * rate * (width + lasts(rate) + 0.01) <= rate * width + 1e-6


@pytest.mark.parametrize("rate", [5, 50, 500])
@pytest.mark.parametrize("processes", [1, 4])
def test_the_rate_is_used(rate: float, processes: int) -> None:
    async def story() -> list[float]:
        row = Book(rate, 0)
        pacers = [SharedPacer(row.seen_with(0.001), 1, rate, a_lease()) for _ in range(processes)]  # type: ignore[arg-type]
        return await all_together(pacers, round(rate * 7), random.Random(1), [0.0], [0.0])

    times = run_virtually(story())
    # At first each process finds its block size; at the end some have nothing left to send.
    steady = [moment for moment in times if times[0] + 2 < moment < times[-1] - 1]
    assert (len(steady) - 1) / (steady[-1] - steady[0]) >= 0.955 * rate


@pytest.mark.parametrize("rate", [5, 50, 500])
@pytest.mark.parametrize("round_trip", [0.03, 0.1, 0.3])
def test_a_distant_database_slows_a_run_down_and_does_not_stop_it(rate: float, round_trip: float) -> None:
    async def story() -> list[float]:
        row = Book(rate, 0)
        pacers = [SharedPacer(row.seen_with(round_trip / 2), 1, rate, a_lease()) for _ in range(2)]  # type: ignore[arg-type]
        return await all_together(pacers, round(rate * 10), random.Random(1), [0.0], [0.0])

    times = run_virtually(story())
    steady = [moment for moment in times if times[0] + 2 < moment < times[-1] - 1]
    assert (len(steady) - 1) / (steady[-1] - steady[0]) >= 0.7 * rate


@settings(max_examples=25)
@given(
    rate=st.floats(5, 200),
    longest_from=st.sampled_from([100, 10_000]),
    processes=st.integers(1, 5),
    # How many requests each process makes a second, period by period: below and above the rate.
    shares=st.lists(st.sampled_from([0.05, 0.3, 0.7, 0.9, 3.0]), min_size=1, max_size=4),
    width=st.sampled_from([1.0, 1.3, 2.0, 3.7]),
    seed=st.integers(0, 1000),
)
def test_no_window_holds_more_than_the_limit_where_the_rate_is_the_fits_at_times(
    rate: float, longest_from: float, processes: int, shares: list[float], width: float, seed: int
) -> None:
    chance = random.Random(seed)

    async def requests(pacer: SharedPacer) -> list[float]:
        loop, left = asyncio.get_running_loop(), []
        for share in shares:
            until = loop.time() + chance.choice([0.5, 3.0, 13.0])
            while loop.time() < until:
                await asyncio.sleep(chance.expovariate(share * rate / processes))
                await pacer.slot()
                await pacer.departure()
                left.append(loop.time())
        return left

    async def story() -> list[float]:
        row = Book(rate, 0)
        pacers = [SharedPacer(row.seen_with(0.002), 1, rate, a_lease()) for _ in range(processes)]  # type: ignore[arg-type]
        lists = await asyncio.gather(*map(requests, pacers))
        return sorted(moment for moments in lists for moment in moments)

    with patch.object(pacing, "_LONGEST_FROM_RATE", longest_from):
        left = run_virtually(story())
    assert not left or most_in_a_window(left, width) <= math.ceil(rate * width) + 1


def test_few_reservations_are_needed_where_the_rate_is_not_the_bound() -> None:
    async def story() -> tuple[int, float]:
        book = CountingBook(10_000, 0.0005)
        pacer = SharedPacer(book, 1, 10_000, a_lease())  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        for _ in range(3000):
            await asyncio.sleep(1 / 600)
            await pacer.slot()
            await pacer.departure()
        return book.reservations, loop.time()

    reservations, seconds = run_virtually(story())
    assert reservations / seconds < 8


def test_requests_that_miss_their_slots_together_share_reservations() -> None:
    async def story() -> int:
        book = CountingBook(10_000, 0.0005)
        pacer = SharedPacer(book, 1, 10_000, a_lease())  # type: ignore[arg-type]
        for _ in range(100):
            await pacer.slot()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.stall(0.5)  # as when many connections are opened at once
        before = book.reservations
        await asyncio.gather(*(pacer.departure() for _ in range(100)))
        return book.reservations - before

    assert run_virtually(story()) <= 15


def test_a_request_leaves_only_while_the_lease_lasts() -> None:
    async def story() -> None:
        lease = Lease()
        pacer = SharedPacer(Book(1000, 0), 1, 1000, lease)  # type: ignore[arg-type]
        waiting = asyncio.create_task(pacer.slot())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        lease.extend(clocks())
        await waiting
        await pacer.departure()
        # It expires between the slot and the departure: the request goes back into the queue.
        lease._until = (0.0, 0.0)
        request = asyncio.create_task(pacer.departure())
        await asyncio.wait([request])
        assert request.cancelled()
        lease.lost = True
        with pytest.raises(LeaseLostError, match="was suspended"):
            await pacer.slot()
        with pytest.raises(LeaseLostError):
            await pacer.departure()

    asyncio.run(story())


def test_a_slow_run_tells_how_far_its_next_slot_is_and_keeps_it() -> None:
    async def story() -> None:
        row = CountingBook(0.05, 0.01)
        pacer = SharedPacer(row, 1, 0.05, a_lease())  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        await pacer.slot()
        await pacer.departure()
        began = loop.time()
        assert 18 < await pacer.until_slot() < 22
        await asyncio.sleep(19)
        assert 0 < await pacer.until_slot() < 2
        await pacer.slot()
        await pacer.departure()
        assert 19 < loop.time() - began < 22
        assert row.reservations == 2
        pacer.back_off(loop.time(), 60, slow_down=False, reason="")
        assert await pacer.until_slot() > 59

    run_virtually(story())


def test_a_request_that_would_hold_a_connection_long_is_requeued() -> None:
    async def story() -> None:
        row = Book(0.2, 0)
        pacer = SharedPacer(row, 1, 0.2, a_lease())  # type: ignore[arg-type]
        await pacer.slot()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.stall(0.3)  # its slot is lost, and the next one is five seconds away
        request = asyncio.create_task(pacer.departure())
        await asyncio.wait([request])
        assert request.cancelled()
        # Its new slot is not lost.
        began = loop.time()
        await pacer.slot()
        await pacer.departure()
        assert 4 < loop.time() - began < 6.5

    run_virtually(story())


# With the database


@pytest.fixture
def run(postgres_url: str) -> tuple[Ledger, int]:
    ledger = open_ledger(postgres_url)
    return ledger, a_run(ledger, rate=100).run_id


def slots_of(ledger: Ledger, run_id: int, processes: int, blocks: int) -> list[list[SlotBlock]]:
    """Each process reserves some blocks of four slots, all at the same time."""

    async def one(book: SlotBook) -> list[SlotBlock]:
        return [await book.reserve(run_id, 4, 0.97) for _ in range(blocks)]

    async def all_of_them() -> list[list[SlotBlock]]:
        books = [SlotBook(ledger) for _ in range(processes)]
        found = await asyncio.gather(*map(one, books))
        for book in books:
            book.close()
        return found

    return asyncio.run(all_of_them())


def test_no_slot_is_reserved_twice(run: tuple[Ledger, int]) -> None:
    ledger, run_id = run
    found = slots_of(ledger, run_id, processes=3, blocks=10)
    slots = sorted(slot for blocks in found for block in blocks for slot in block.slots)
    assert len(slots) == 3 * 10 * 4
    gaps = [later - earlier for earlier, later in pairwise(slots)]
    assert min(gaps) > 0
    # Each process reads the server's clock from statements, which arrive a little late. A busy computer loses slots.
    assert (slots[-1] - slots[0]) / (len(slots) - 1) >= 0.95 / 97
    ledger.close()


def test_a_refusal_delays_all_processes_and_slows_down_once(run: tuple[Ledger, int]) -> None:
    ledger, run_id = run

    async def story() -> float:
        with closing(SlotBook(ledger)) as mine, closing(SlotBook(ledger)) as others:
            loop = asyncio.get_running_loop()
            await mine.reserve(run_id, 1, 0.97)
            await others.reserve(run_id, 1, 0.97)
            departed = loop.time()
            # Requests of two processes are refused at the same time.
            await mine.push(run_id, departed, 30.0, slow_down=True)
            await others.push(run_id, departed, 10.0, slow_down=True)
            block = await others.reserve(run_id, 1, 0.97)
            assert block.rate == 50
            return block.slots[0] - departed

    assert 29.9 < asyncio.run(story()) < 32
    ledger.close()


def test_an_error_that_stays_ends_the_wait_for_slots(run: tuple[Ledger, int]) -> None:
    ledger, run_id = run
    with ledger.write() as connection:
        paces.drop(connection)
    with closing(SlotBook(ledger)) as book, pytest.raises(LedgerError, match="paces"):
        asyncio.run(book.reserve(run_id, 1, 0.97))
    ledger.close()


def test_the_rate_recovers_step_by_step(run: tuple[Ledger, int]) -> None:
    ledger, run_id = run

    def slowed(rate: float, seconds_ago: float) -> None:
        with ledger.write() as connection:
            slowed_at = paces.c.next_slot - seconds_ago
            connection.execute(update(paces).values(rate=rate, slowed_at=slowed_at))

    rates = []
    for rate, seconds_ago in [(50.0, 1.0), (50.0, 20.0), (95.0, 20.0), (100.0, 20.0)]:
        slowed(rate, seconds_ago)
        [[block]] = slots_of(ledger, run_id, processes=1, blocks=1)
        rates.append(block.rate)
    assert rates == [50, 60, 100, 100]
    ledger.close()


def test_starting_again_reserves_no_slot_a_second_time(run: tuple[Ledger, int]) -> None:
    ledger, run_id = run
    slots_of(ledger, run_id, processes=1, blocks=100)
    with ledger.write() as connection:
        before = connection.scalar(select(paces.c.next_slot))
        hand_over(connection, run_id, 2, a_run(ledger, rate=100).settings)
        assert connection.scalar(select(paces.c.next_slot).where(paces.c.run_id == run_id)) == before
    ledger.close()


def test_storing_a_plan_needs_no_pace(ledger_url: str) -> None:
    """A plan with nothing to send opens no run."""
    ledger = open_ledger(ledger_url)
    store_plan(ledger, [planned(2, status="invalid", codes="MISSING_PHONE")])
    with ledger.read() as connection:
        assert connection.execute(select(paces)).all() == []
    ledger.close()
