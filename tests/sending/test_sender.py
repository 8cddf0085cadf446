"""Sending in virtual time with a scripted store and API, so that hours of problems take no time."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import VirtualTimeLoop, run_virtually

from batchsend.mykaarma.client import Departure
from batchsend.mykaarma.protocol import (
    Answered,
    Judgement,
    Refused,
    Request,
    RetryLater,
    SendingAttributes,
)
from batchsend.sending.pacing import Pacer, Pause
from batchsend.sending.rows import Claimed, Outcome
from batchsend.sending.run_settings import RunSettings
from batchsend.sending.sender import Event, Sender
from batchsend.sending.stopping import Ending, Stop
from batchsend.statuses import Code, Status

SETTINGS = RunSettings(
    base_url="https://api.example.com",
    rate=50,
    concurrency=20,
    timeout=30,
    stop_after_failures=25,
    give_up_after=900,
    attributes=SendingAttributes(),
    sender_per_row=False,
)
IDENTITY = {"batchsendRun": "1"}

ACCEPTED = Answered(Status.ACCEPTED, http_status=200)
BUSY = RetryLater("myKaarma asks to slow down (HTTP 429)", "Later.", slow_down=True)
DOWN = RetryLater("myKaarma is not available (HTTP 503)", "Try again later.", slow_down=True)
NO_NAME = RetryLater("cannot reach it (its name cannot be found)", "Check the network.", slow_down=False)


def failed(*codes: str) -> Answered:
    return Answered(Status.FAILED, codes, http_status=400)


def unconfirmed(*codes: str, http_status: int | None = None) -> Answered:
    return Answered(Status.UNCONFIRMED, codes, http_status=http_status)


class Store:
    """A ledger in memory that checks every change of state."""

    outcome_delay = 0.005

    def __init__(self, rows: int) -> None:
        self.state: dict[int, str] = dict.fromkeys(range(2, rows + 2), "pending")
        self.outcomes: dict[int, Outcome] = {}
        self.attempts: dict[int, int] = {}
        self.stop = False
        #: Rows whose people opt out after they were claimed.
        self.opted_out: set[int] = set()
        self.skipped: list[Outcome] = []
        self.pauses: list[tuple[float, str]] = []
        self.most_claimed = 0

    def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
        for outcome in outcomes:
            assert self.state[outcome.row] == "in_flight"
            self.state[outcome.row] = outcome.status
            self.outcomes[outcome.row] = outcome
        rows = [row for row, state in self.state.items() if state == "pending"][:claims]
        for row in rows:
            self.state[row] = "in_flight"
        self.most_claimed = max(self.most_claimed, Counter(self.state.values())["in_flight"])
        return [Claimed(row, f"c-{row}", "d", "u", None, "Hi", 0, 0) for row in rows]

    def release(self, claimed: Sequence[Claimed], code: Code = Code.STOPPED) -> None:
        for message in claimed:
            assert self.state[message.row] == "in_flight"
            self.state[message.row] = "pending"
            self.attempts[message.row] = message.attempts

    def recheck(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        left = [message for message in claimed if message.row not in self.opted_out]
        for message in claimed:
            assert self.state[message.row] == "in_flight"
            if message not in left:
                self.state[message.row] = "skipped"
                self.skipped.append(Outcome(message.row, Status.SKIPPED))
        return left

    def take_skipped(self) -> list[Outcome]:
        skipped, self.skipped = self.skipped, []
        return skipped

    def note_pause(self, seconds: float, because: str) -> None:
        self.pauses.append((seconds, because))

    def has_open_rows(self) -> bool:
        return "pending" in self.state.values()

    def stop_requested(self) -> bool:
        return self.stop

    def counts(self) -> Counter[str]:
        return Counter(self.state.values())


@dataclass
class Api:
    """Answers as `behaviour(row, seconds since the start)` says; `connecting` and `answering` take their time."""

    behaviour: Callable[[int, float], Judgement]
    connecting: Callable[[int], float] = lambda _: 0.0
    answering: Callable[[int], float] = lambda _: 0.05
    #: (row, when it left), in the order of leaving.
    departures: list[tuple[int, float]] = field(default_factory=list)
    underway: int = 0
    most_underway: int = 0

    async def post(self, request: Request, departure: Departure) -> Judgement:
        loop = asyncio.get_running_loop()
        row = int(request.identity["batchsendRow"])
        self.underway += 1
        self.most_underway = max(self.most_underway, self.underway)
        try:
            await asyncio.sleep(self.connecting(row))
            judgement = self.behaviour(row, loop.time())
            if judgement is NO_NAME:
                return judgement
            await departure.allowed()
            departure.left()
            self.departures.append((row, loop.time()))
            await asyncio.sleep(self.answering(row))
            return judgement
        finally:
            self.underway -= 1


@dataclass
class Story:
    """One run of the sender, after its end. `lasted`: virtual seconds."""

    store: Store
    api: Api
    ending: Ending
    events: list[Event]
    pacer: Pacer
    lasted: float

    @property
    def pauses(self) -> list[Pause]:
        return [event for event in self.events if isinstance(event, Pause)]

    @property
    def times(self) -> list[float]:
        return [time for _, time in self.api.departures]


def play(
    api: Api,
    *,
    rows: int = 100,
    rate: float = 50,
    settings: RunSettings = SETTINGS,
    during: Callable[[Sender, Store], None] | None = None,
    jitter: random.Random | None = None,
) -> Story:
    """Sends `rows` messages; `during` is called with the sender before it starts."""

    async def run() -> Story:
        store, events = Store(rows), list[Event]()
        pacer = Pacer(rate, jitter or random.Random(1))
        sender = Sender(store, api, pacer, settings, IDENTITY, events.append, Stop())
        if during is not None:
            during(sender, store)
        ending = await sender.run()
        return Story(store, api, ending, events, pacer, asyncio.get_running_loop().time())

    return run_virtually(run())


def within(after: float, before: float, then: Judgement) -> Callable[[int, float], Judgement]:
    """`then` between two moments, and acceptance at all others."""
    return lambda _, time: then if after <= time < before else ACCEPTED


def check_nothing_lost(story: Story) -> None:
    """Checks that every row has an outcome or waits, and that each outcome was reported once."""
    assert "in_flight" not in story.store.counts()
    reported = Counter(event.row for event in story.events if isinstance(event, Outcome))
    assert set(reported.values()) <= {1}
    assert set(reported) == set(story.store.outcomes)


# When all is well


def test_every_row_is_sent_once_and_reported_after_it_is_stored() -> None:
    story = play(Api(within(0, 0, BUSY)))
    assert story.ending == Ending()
    assert story.store.counts() == {"accepted": 100}
    assert Counter(row for row, _ in story.api.departures) == dict.fromkeys(range(2, 102), 1)
    check_nothing_lost(story)
    assert {outcome.attempts for outcome in story.store.outcomes.values()} == {1}


class CoarseClockLoop(VirtualTimeLoop):
    """Its clock moves in steps, and timers end up to one step early, as on Windows."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = 1 / 64

    def time(self) -> float:
        return math.floor(super().time() * 64) / 64


@pytest.mark.parametrize("loop", [VirtualTimeLoop, CoarseClockLoop])
def test_an_outcome_is_stored_long_before_the_next_request(loop: Callable[[], VirtualTimeLoop]) -> None:
    stored_at: dict[int, float] = {}

    class TimedStore(Store):
        def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
            now = asyncio.get_running_loop().time()
            stored_at.update((outcome.row, now) for outcome in outcomes)
            return super().exchange(outcomes, claims)

    async def run() -> list[tuple[int, float]]:
        api, pacer = Api(within(0, 0, BUSY)), Pacer(0.1)
        await Sender(TimedStore(5), api, pacer, SETTINGS, IDENTITY, lambda _: None, Stop()).run()
        return api.departures

    with asyncio.Runner(loop_factory=loop) as runner:
        departures = runner.run(run())
    for row, left_at in departures:
        assert stored_at[row] - left_at < 0.1
    assert len(stored_at) == 5


@pytest.mark.parametrize("first_in", [0.0, 900.0])
@pytest.mark.parametrize("rate", [1 / 60, 0.4, 0.9])
def test_no_row_is_claimed_long_before_its_slot(rate: float, first_in: float) -> None:
    claimed_at: dict[int, float] = {}

    class TimedStore(Store):
        def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
            claimed = super().exchange(outcomes, claims)
            now = asyncio.get_running_loop().time()
            claimed_at.update((message.row, now) for message in claimed)
            return claimed

    async def run() -> tuple[list[tuple[int, float]], float]:
        api, pacer = Api(within(0, 0, BUSY)), Pacer(rate, first_in=first_in)
        await Sender(TimedStore(5), api, pacer, SETTINGS, IDENTITY, lambda _: None, Stop()).run()
        return api.departures, asyncio.get_running_loop().time()

    departures, ended = run_virtually(run())
    assert [row for row, _ in departures] == list(range(2, 7))
    assert all(left_at - claimed_at[row] < 1.1 for row, left_at in departures)
    # Waiting for the claim costs no slot, and the end waits for none.
    assert first_in + 4 / rate <= departures[-1][1] < first_in + 4 / rate * 1.05
    assert ended - departures[-1][1] < 1


@settings(max_examples=40)
@given(
    rate=st.sampled_from([0.7, 3.0, 10.0, 47.5, 200.0]),
    concurrency=st.sampled_from([1, 5, 20, 60]),
    connecting=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.3, 2.0]), min_size=1, max_size=7),
    answering=st.lists(st.sampled_from([0.01, 0.1, 1.5]), min_size=1, max_size=5),
    busy=st.lists(st.tuples(st.floats(0, 20), st.sampled_from([None, 0.5, 3.0])), max_size=3),
    width=st.sampled_from([1.0, 1.7, 5.0]),
)
def test_the_rate_limit_holds_for_any_duration_of_connections_and_answers(
    rate: float,
    concurrency: int,
    connecting: list[float],
    answering: list[float],
    busy: list[tuple[float, float | None]],
    width: float,
) -> None:
    def behaviour(_: int, time: float) -> Judgement:
        for begins, retry_after in busy:
            if begins <= time < begins + 0.5:
                return replace(BUSY, retry_after=retry_after)
        return ACCEPTED

    api = Api(
        behaviour,
        connecting=lambda row: connecting[row % len(connecting)],
        answering=lambda row: answering[row % len(answering)],
    )
    rows = min(150, 20 + round(4 * rate))
    story = play(api, rows=rows, rate=rate, settings=replace(SETTINGS, concurrency=concurrency))
    times = story.times
    most = max(sum(1 for time in times if start <= time < start + width) for start in times)
    assert most <= math.ceil(rate * width) + 1
    assert story.store.counts() == {"accepted": rows}
    assert story.store.most_claimed <= 2 * concurrency
    assert api.most_underway <= concurrency
    check_nothing_lost(story)


# Refused for now: all requests wait and are retried, however often


@pytest.mark.parametrize("trouble", [BUSY, DOWN, NO_NAME], ids=["429", "503", "no-name"])
def test_ten_minutes_without_the_api_cost_no_row(trouble: RetryLater) -> None:
    story = play(Api(within(2, 602, trouble)), rows=500, rate=20)
    assert story.ending == Ending()
    assert story.store.counts() == {"accepted": 500}
    check_nothing_lost(story)
    # Only few requests left in that time: the back-off holds the others.
    refused = [time for time in story.times if 2 <= time < 602]
    assert len(refused) < 2 * SETTINGS.concurrency + 60
    # Sending resumes within the longest wait.
    assert any(602 <= time < 602 + 61 for time in story.times)


def test_refused_requests_count_as_attempts() -> None:
    asked = Counter[int]()

    def twice_busy(row: int, _: float) -> Judgement:
        asked[row] += 1
        return BUSY if asked[row] <= 2 else ACCEPTED

    story = play(Api(twice_busy), rows=3, settings=replace(SETTINGS, concurrency=1))
    assert {outcome.attempts for outcome in story.store.outcomes.values()} == {3}


def test_all_requests_wait_for_a_retry_after() -> None:
    answers = within(1, 1.05, replace(BUSY, retry_after=120.0))
    story = play(Api(answers, answering=lambda _: 0.2), rows=200)
    assert [pause.seconds for pause in story.pauses][:1] == [120.0]
    begins = next(time for time in story.times if time >= 1) + 0.2
    # Only requests that were in flight when the answer came left in between.
    assert not [time for time in story.times if begins < time < begins + 120]
    assert story.store.counts() == {"accepted": 200}


def test_waits_grow_with_every_refusal_and_are_drawn_from_zero_to_the_longest() -> None:
    class Recorded(random.Random):
        spans: list[tuple[float, float]] = []  # noqa: RUF012

        def uniform(self, a: float, b: float) -> float:
            self.spans.append((a, b))
            return b * 0.75

    jitter = Recorded()
    story = play(Api(within(0, 400, NO_NAME)), rows=5, jitter=jitter)
    assert jitter.spans[:8] == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 32), (0, 60), (0, 60)]
    assert [pause.seconds for pause in story.pauses[:4]] == [0.75, 1.5, 3, 6]
    # Those who watch the run see the same.
    assert story.store.pauses == [(pause.seconds, pause.reason) for pause in story.pauses]
    assert story.store.counts() == {"accepted": 5}


def test_the_rate_is_lowered_by_each_refusal_and_recovers() -> None:
    story = play(Api(within(5, 5.1, replace(BUSY, retry_after=1.0))), rows=3000, rate=100)

    def rate_at(second: float) -> int:
        return sum(1 for time in story.times if second <= time < second + 2) // 2

    assert rate_at(2) > 90
    assert 35 <= rate_at(7) <= 51
    assert story.pacer.rate == 100
    assert rate_at(max(story.times) - 3) > 90


def test_a_network_that_is_down_is_no_reason_to_slow_down() -> None:
    story = play(Api(within(5, 30, NO_NAME)), rows=1500, rate=100)
    back = next(time for time in story.times if time >= 30)
    assert sum(1 for time in story.times if back + 1 <= time < back + 2) > 90


def test_requests_that_have_not_left_wait_too() -> None:
    # Row 2 is refused while all others still connect: they must not reach the busy server during its pause.
    api = Api(
        within(0, 0.5, replace(BUSY, retry_after=60.0)),
        connecting=lambda row: 0.0 if row == 2 else 5.0,
    )
    story = play(api, rows=15)
    assert story.times[0] < 1
    assert story.times[1] >= 60
    assert story.store.counts() == {"accepted": 15}


# Giving up


@pytest.mark.parametrize("trouble", [BUSY, DOWN, NO_NAME], ids=["429", "503", "no-name"])
def test_nothing_taken_for_give_up_after_stops_the_run(trouble: RetryLater) -> None:
    story = play(Api(within(10, math.inf, trouble)), rows=1000, rate=20)
    assert (
        story.ending.reason == f"{trouble.reason}, and no text was accepted for 15 minutes. {trouble.advice}"
    )
    assert 900 <= story.lasted - 10 < 902
    assert set(story.store.counts()) == {"accepted", "pending"}
    check_nothing_lost(story)


def test_a_retry_after_longer_than_give_up_after_ends_in_time() -> None:
    story = play(Api(within(0, math.inf, replace(DOWN, retry_after=3600.0))), rows=5)
    assert story.ending.reason is not None
    assert 900 <= story.lasted < 902
    assert len(story.times) <= 5


def test_an_accepted_text_now_and_then_is_no_reason_to_give_up() -> None:
    def mostly_busy(_: int, time: float) -> Judgement:
        return ACCEPTED if time % 600 < 90 else BUSY

    story = play(Api(mostly_busy), rows=400, rate=1)
    assert story.ending == Ending()
    assert story.lasted > 900
    assert story.store.counts() == {"accepted": 400}


def test_time_in_suspension_does_not_count() -> None:
    """Suspended for hours during a pause, the run continues where it was."""

    def suspend(_: Sender, __: Store) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.call_later(60, loop.stall, 4 * 3600)

    story = play(Api(within(1, 90, DOWN)), rows=200, rate=20, during=suspend)
    assert story.ending == Ending()
    assert story.store.counts() == {"accepted": 200}


# Failures in a row

ROWS = 200
IN_A_ROW = replace(SETTINGS, concurrency=1, stop_after_failures=5)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (unconfirmed(Code.TIMEOUT), "5 rows in a row failed without a reason from myKaarma (last: TIMEOUT)"),
        (unconfirmed("HTTP_502", http_status=502), "(last: HTTP_502)"),
        # `unconfirmed` counts with any code.
        (unconfirmed("INTERNAL_SERVER_ERROR", http_status=500), "refused with INTERNAL_SERVER_ERROR"),
        (failed("HTTP_404"), "5 rows in a row failed without a reason from myKaarma (last: HTTP_404)"),
        (failed("CUSTOMER_LOCKED"), "5 rows in a row were refused with CUSTOMER_LOCKED"),
        (failed("OTHER", "CUSTOMER_LOCKED"), "5 rows in a row were refused with"),
    ],
)
def test_failures_in_a_row_stop_the_run(bad: Answered, reason: str) -> None:
    story = play(Api(lambda row, _: bad if row >= 12 else ACCEPTED), rows=ROWS, settings=IN_A_ROW)
    assert story.ending.reason is not None
    assert reason in story.ending.reason
    assert story.store.counts() == {"accepted": 10, bad.status: 5, "pending": ROWS - 15}


def test_different_failures_without_a_reason_add_up() -> None:
    kinds = [unconfirmed(Code.TIMEOUT), failed("HTTP_404"), unconfirmed("ODD", http_status=500)]
    story = play(Api(lambda row, _: kinds[row % 3]), rows=ROWS, settings=IN_A_ROW)
    assert len(story.store.outcomes) == 5


def test_one_code_that_all_have_is_found_among_others() -> None:
    story = play(Api(lambda row, _: failed(f"ROW_{row}", "LOCKED")), rows=ROWS, settings=IN_A_ROW)
    assert story.ending.reason is not None
    assert "5 rows in a row were refused with LOCKED" in story.ending.reason


@pytest.mark.parametrize(
    "answers",
    [
        [failed("OPTED_OUT_COMMUNICATION_VALUE")],
        [failed("INVALID_COMMUNICATION_VALUE")],
        [failed("A"), failed("B")],
        [failed("A"), failed("A"), failed("A"), failed("A"), ACCEPTED],
        [*[unconfirmed(Code.TIMEOUT)] * 4, ACCEPTED],
        # A refusal that is about one customer shows that the API works.
        [*[unconfirmed(Code.TIMEOUT)] * 4, failed("INVALID_CUSTOMER")],
        [*[failed("HTTP_404")] * 4, failed("OPTED_OUT_COMMUNICATION_VALUE")],
    ],
)
def test_failures_that_are_about_customers_do_not_stop_it(answers: list[Answered]) -> None:
    story = play(Api(lambda row, _: answers[row % len(answers)]), rows=ROWS, settings=IN_A_ROW)
    assert story.ending == Ending()
    assert len(story.store.outcomes) == ROWS


def test_a_pause_in_between_does_not_end_a_row_of_failures() -> None:
    def behaviour(row: int, time: float) -> Judgement:
        return BUSY if 0.1 < time < 0.15 else unconfirmed(Code.CONNECTION_LOST)

    story = play(Api(behaviour), rows=ROWS, settings=IN_A_ROW)
    assert len(story.store.outcomes) == 5


# Stopping


def test_a_refusal_of_the_sender_stops_at_once_and_keeps_that_row() -> None:
    story = play(
        Api(lambda row, _: Refused("Correct `user_uuid`.") if row >= 10 else ACCEPTED),
        rows=ROWS,
        settings=replace(SETTINGS, concurrency=1),
    )
    assert story.ending == Ending("Correct `user_uuid`.")
    assert story.store.counts() == {"accepted": 8, "pending": ROWS - 8}
    assert story.store.attempts[10] == 1
    assert len(story.times) == 9


def test_requests_in_flight_at_a_stop_are_finished_and_recorded() -> None:
    def interrupt(sender: Sender, _: Store) -> None:
        ending = Ending("interrupted", interrupted=True)
        asyncio.get_running_loop().call_later(2.0, sender.stop, ending)

    story = play(Api(within(0, 0, BUSY), answering=lambda _: 3.0), rows=ROWS, rate=5, during=interrupt)
    assert story.ending.interrupted
    assert max(story.times) <= 2.0
    assert story.store.counts() == {"accepted": len(story.times), "pending": ROWS - len(story.times)}
    check_nothing_lost(story)


def test_after_a_stop_only_requests_in_flight_stay_claimed() -> None:
    """A second Ctrl-C then makes no row `unconfirmed` whose request had not left."""
    claimed: list[int] = []

    def interrupt(sender: Sender, store: Store) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(2.0, sender.stop, Ending("interrupted", interrupted=True))
        loop.call_later(2.5, lambda: claimed.append(store.counts()["in_flight"]))

    settings = replace(SETTINGS, concurrency=4)
    story = play(Api(within(0, 0, BUSY), answering=lambda _: 9.0), settings=settings, during=interrupt)
    assert claimed == [4] == [len(story.times)]


def test_a_pause_does_not_delay_a_stop() -> None:
    def interrupt(sender: Sender, _: Store) -> None:
        ending = Ending("interrupted", interrupted=True)
        asyncio.get_running_loop().call_later(30.0, sender.stop, ending)

    story = play(Api(within(0, 600, replace(DOWN, retry_after=600.0))), during=interrupt)
    assert story.ending.interrupted
    assert story.lasted < 31
    assert story.store.counts() == {"pending": 100}


def test_another_process_can_ask_it_to_stop() -> None:
    def ask(_: Sender, store: Store) -> None:
        asyncio.get_running_loop().call_later(2.0, setattr, store, "stop", True)

    story = play(Api(within(0, 0, BUSY)), rows=ROWS, rate=5, during=ask)
    assert story.ending.asked
    assert max(story.times) < 3
    check_nothing_lost(story)


def test_people_who_opt_out_during_a_pause_get_no_text() -> None:
    def opt_out(_: Sender, store: Store) -> None:
        asyncio.get_running_loop().call_later(30.0, store.opted_out.update, range(2, ROWS + 2))

    # Everything is refused for a minute, so the rows that are claimed already wait.
    story = play(Api(within(1, 60, BUSY)), rows=ROWS, rate=5, during=opt_out)
    counts = story.store.counts()
    assert story.ending == Ending()
    assert 0 < counts["accepted"] < ROWS
    assert counts["skipped"] > 0
    skipped = [
        event.row for event in story.events if isinstance(event, Outcome) and event.status == "skipped"
    ]
    assert len(set(skipped)) == len(skipped) == counts["skipped"]


def test_a_store_that_fails_ends_it_and_keeps_the_known_outcomes() -> None:
    class Full(Store):
        broken = False

        def exchange(self, outcomes: Sequence[Outcome], claims: int) -> list[Claimed]:
            if len(self.outcomes) >= 20 and not self.broken:
                self.broken = True
                raise OSError("no space left")
            return super().exchange(outcomes, claims)

    async def run() -> Full:
        store = Full(ROWS)
        sender = Sender(store, api, Pacer(50), SETTINGS, IDENTITY, lambda _: None, Stop())
        with pytest.raises(OSError, match="no space left"):
            await sender.run()
        return store

    api = Api(within(0, 0, BUSY), answering=lambda _: 0.3)
    store = run_virtually(run())
    assert store.broken
    assert set(store.outcomes) == {row for row, _ in api.departures}
    assert set(store.counts()) == {"accepted", "pending"}
