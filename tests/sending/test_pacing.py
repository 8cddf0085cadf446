"""The rate limit holds even when the process stalls, and all requests wait after a refused one."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import most_in_a_window
from virtual_time import VirtualTimeLoop, run_virtually

from batchsend.sending.pacing import Pacer


async def slots(pacer: Pacer, count: int, stalls: list[float] | None = None) -> list[float]:
    """The times of `count` slots; the whole process stalls for a while before some of them."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    given_at = []
    for number in range(count):
        if stalls:
            loop.stall(stalls[number % len(stalls)])
        given_at.append(await pacer.slot())
    return given_at


@given(
    rate=st.floats(0.2, 400),
    stalls=st.lists(st.one_of(st.just(0.0), st.floats(0, 0.004), st.floats(0, 3)), min_size=1, max_size=20),
    width=st.sampled_from([1.0, 1.3, 2.0, 3.7]),
)
def test_no_window_ever_holds_more_than_the_limit(rate: float, stalls: list[float], width: float) -> None:
    times = run_virtually(slots(Pacer(rate), min(900, 60 + round(rate * 2)), stalls))
    assert most_in_a_window(times, width) <= math.ceil(rate * width) + 1


@pytest.mark.parametrize("rate", [0.5, 5, 50, 300, 2000])
def test_the_rate_is_used(rate: float) -> None:
    times = run_virtually(slots(Pacer(rate), round(rate * 10) + 2))
    assert (len(times) - 1) / (times[-1] - times[0]) >= 0.97 * rate


def test_all_requests_wait_for_a_retry_after_and_the_rate_drops() -> None:
    async def story() -> None:
        pacer = Pacer(100)
        departed = await pacer.slot()
        pause = pacer.back_off(departed, 7.0, slow_down=True, reason="busy")
        assert pause is not None
        assert pause.seconds == 7.0
        assert await pacer.slot() >= departed + 7.0
        assert pacer.rate == 50
        # It recovers in steps, up to the configured rate.
        rates = []
        for _ in range(4000):
            await pacer.slot()
            rates.append(pacer.rate)
        assert rates == sorted(rates)
        assert rates[-1] == 100

    run_virtually(story())


def test_of_many_refused_together_only_the_first_counts() -> None:
    async def story() -> None:
        pacer = Pacer(100, random.Random(1))
        departures = [await pacer.slot() for _ in range(10)]
        pauses = [pacer.back_off(d, None, slow_down=True, reason="busy") for d in departures]
        assert [pause is not None for pause in pauses] == [True] + [False] * 9
        assert pacer.rate == 50

    run_virtually(story())


def test_backing_off_doubles_up_to_a_minute_with_full_jitter() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0
            return b

    async def story() -> list[float]:
        pacer = Pacer(100, Longest())
        waits = []
        for _ in range(9):
            pause = pacer.back_off(await pacer.slot(), None, slow_down=False, reason="no network")
            assert pause is not None
            waits.append(pause.seconds)
        pacer.reset_backoff()
        pause = pacer.back_off(await pacer.slot(), None, slow_down=False, reason="no network")
        assert pause is not None
        # A network that is down does not reduce the rate afterwards.
        assert pacer.rate == 100
        return [*waits, pause.seconds]

    assert run_virtually(story()) == [1, 2, 4, 8, 16, 32, 60, 60, 60, 1]
