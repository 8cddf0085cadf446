"""The rate limit, the latency and random errors."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from sandbox_requests import CUSTOMER, asynchronous, codes, incoming, running

from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.responder import Responder, TokenBucket
from batchsend.sandbox.responses import ResponseEnding


@asynchronous
async def test_beyond_the_rate_limit_is_429() -> None:
    async with running(SandboxOptions(rate_limit=0.001)) as (sandbox, client):
        assert (await client.send())[0] == 200
        status, body, headers = await client.send()
    assert (status, codes(body)) == (429, ["TOO_MANY_REQUESTS"])
    assert 1 <= int(headers["Retry-After"]) <= 1000
    assert [request.text_sent for request in sandbox.requests] == [True, False]


@given(
    rate=st.floats(0.5, 500),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_the_token_bucket_lets_through_the_rate_and_a_burst_of_one_second(
    rate: float, gaps: list[float]
) -> None:
    bucket = TokenBucket(rate)
    now, through = 100.0, []
    for gap in gaps:
        now += gap
        wait = bucket.wait(now)
        if not wait:
            through.append(now)
        else:
            # A client that waits this long is let through.
            assert 0 < wait <= 1 / rate
    for i, first in enumerate(through):
        for j, last in enumerate(through[i:], start=1):
            assert j <= (last - first) * rate + max(1, rate) + 1e-6


@given(rate=st.integers(1, 300), jitter=st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_a_client_at_the_limit_is_never_refused(rate: int, jitter: list[float]) -> None:
    # Sent evenly, but with delays on the way.
    arrivals = sorted(100 + n / rate + late * (1 - 1 / rate) for n, late in enumerate(jitter))
    bucket = TokenBucket(rate)
    assert not any(bucket.wait(arrival) for arrival in arrivals)


class Outcome(NamedTuple):
    """The parts of a decision that do not differ between two runs with the same seed."""

    http_status: int | None
    codes: tuple[str, ...]
    ending: ResponseEnding
    text_sent: bool
    delay: float


def outcomes(responder: Responder, customers: list[str]) -> dict[str, Outcome]:
    decided = {customer: responder.decide(incoming(customer)) for customer in customers}
    return {
        customer: Outcome(response.http_status, response.codes, response.ending, response.text_sent, delay)
        for customer, (_, response, delay) in decided.items()
    }


def test_the_same_seed_gives_a_customer_the_same_response_in_any_order() -> None:
    options = SandboxOptions(error_rate=0.5, latency=0.1, seed=7)
    customers = [f"customer-{n}" for n in range(200)]
    in_order = outcomes(Responder(options), customers)
    assert outcomes(Responder(options), customers[::-1]) == in_order
    assert outcomes(Responder(SandboxOptions(error_rate=0.5, latency=0.1, seed=8)), customers) != in_order


def test_error_rate_is_the_share_of_errors_and_they_are_mixed() -> None:
    got = outcomes(
        Responder(SandboxOptions(error_rate=0.3, seed=1)), customers := [f"customer-{n}" for n in range(2000)]
    )
    errors = [one for one in got.values() if (one.http_status, one.codes) != (200, ())]
    assert 0.27 < len(errors) / len(customers) < 0.33
    # A 502 leaves open whether the text was sent, so both must occur.
    assert {one.text_sent for one in errors if one.http_status == 502} == {True, False}
    assert {one.text_sent for one in errors if one.http_status == 400} == {False}
    # Random errors never stop a whole run (401, a holiday) and never hang.
    assert {one.http_status for one in errors} == {None, 200, 400, 429, 500, 502, 503, 504}
    assert ResponseEnding.NEVER not in {one.ending for one in errors}


def test_a_second_request_can_get_another_response() -> None:
    responder = Responder(SandboxOptions(error_rate=0.5, seed=1))
    assert len({responder.decide(incoming(CUSTOMER)).response.http_status for _ in range(50)}) > 1


@given(latency=st.floats(0.001, 10), customer=st.text("abc", min_size=1, max_size=20))
def test_latency_varies_around_its_mean(latency: float, customer: str) -> None:
    decision = Responder(SandboxOptions(latency=latency)).decide(incoming(customer))
    assert 0.5 * latency <= decision.delay <= 1.5 * latency
