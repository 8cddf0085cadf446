"""The sandbox over real HTTP, and its rules as pure functions."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_requests import ANY_CREDENTIALS, CUSTOMER, DEPARTMENT, USER, path, payload

import batchsend.sandbox
from batchsend.errors import BatchsendError
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.pages import scenarios_markdown
from batchsend.sandbox.request_log import ReceivedRequest, Submission
from batchsend.sandbox.responder import IncomingRequest, Responder, TokenBucket
from batchsend.sandbox.responses import Ending
from batchsend.sandbox.scenarios import SCENARIOS, find_scenario
from batchsend.sandbox.server import Sandbox, serve

PHONE = "+12125550123"


class Client:
    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.base_url = base_url

    async def send(
        self, customer: str = CUSTOMER, body: str = "Hi Maria", **sending: Any
    ) -> tuple[int, str, Any]:
        """Returns the HTTP status, the body and the headers."""
        return await self.request("POST", path(customer), json=payload(body, **sending))

    async def request(self, method: str, where: str, **arguments: Any) -> tuple[int, str, Any]:
        arguments["headers"] = {"Authorization": ANY_CREDENTIALS} | arguments.get("headers", {})
        async with self.session.request(
            method,
            aiohttp.client.URL(self.base_url + where, encoded=True),
            allow_redirects=False,
            **arguments,
        ) as response:
            return response.status, await response.text(), response.headers


@asynccontextmanager
async def running(
    options: SandboxOptions | None = None, **where: Any
) -> AsyncIterator[tuple[Sandbox, Client]]:
    async with Sandbox(options, **where) as sandbox, aiohttp.ClientSession() as session:
        yield sandbox, Client(session, sandbox.base_url)


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a coroutine as a test; pytest still sees its arguments."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (what is awaited has no event, and this never waits for long)
        await asyncio.sleep(0)


def codes(body: str) -> list[str]:
    return [error["errorCode"] for error in json.loads(body)["errors"]]


# --- what is accepted ---------------------------------------------------------------------------------------------


@asynchronous
async def test_a_well_formed_request_is_accepted_and_taken_down() -> None:
    async with running() as (sandbox, client):
        status, body, _ = await client.send(
            communicationValueOfCustomer=PHONE,
            callbackMetaData={"run": "7"},
            callbackURL="https://example.com",
        )
    answer = json.loads(body)
    assert status == 200
    assert set(answer) == {
        "customerUUID",
        "errors",
        "messageUUID",
        "metaData",
        "requestUUID",
        "status",
        "warnings",
    }
    assert (answer["status"], answer["customerUUID"], answer["errors"]) == ("SUCCESS", CUSTOMER, None)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", answer["messageUUID"])
    [text] = sandbox.texts
    assert (text.department_uuid, text.user_uuid, text.customer_uuid) == (DEPARTMENT, USER, CUSTOMER)
    assert (text.phone, text.body, text.submission.metadata) == (PHONE, "Hi Maria", {"run": "7"})
    assert text.message_uuid == answer["messageUUID"]
    assert text.submission.callback_url == "https://example.com"
    assert sandbox.texts_per_customer() == {CUSTOMER: 1}


@asynchronous
async def test_the_same_request_twice_is_two_texts() -> None:
    # The API has no idempotency key; a sandbox that had one would hide the worst mistake a client can make.
    async with running() as (sandbox, client):
        for _ in range(2):
            await client.send()
    assert sandbox.texts_per_customer() == {CUSTOMER: 2}


ACCEPTED = [
    {},  # everything under messageSendingAttributes is optional
    {"addTCPAFooter": True, "addSignature": False, "addFooter": True, "sendVCard": False},
    {"sendSynchronously": True, "communicationValueOfCustomer": None, "callbackMetaData": None},
    {"callbackMetaData": {}},
    {"communicationValueOfCustomer": "(212) 555-0123"},  # spellings are not the sandbox's business
]


@pytest.mark.parametrize("sending", ACCEPTED)
@asynchronous
async def test_optional_attributes(sending: dict[str, Any]) -> None:
    async with running() as (_, client):
        status, body, _ = await client.send(**sending)
    assert (status, json.loads(body)["status"]) == (200, "SUCCESS")


@asynchronous
async def test_path_segments_are_percent_decoded_once() -> None:
    async with running() as (sandbox, client):
        status, _, _ = await client.send("a%5Fb")
        assert status == 200
        assert sandbox.texts[0].customer_uuid == "a_b"
        # Decoded twice this would be a valid UUID.
        status, body, _ = await client.send("a%255Fb")
        assert (status, codes(body)) == (400, ["INVALID_CUSTOMER"])
        # A slash inside a segment does not make another segment.
        status, body, _ = await client.send("a%2Fb")
        assert (status, codes(body)) == (400, ["INVALID_CUSTOMER"])


# --- what is refused ----------------------------------------------------------------------------------------------


def without(name: str) -> dict[str, Any]:
    broken = payload()
    del broken["messageAttributes"][name]
    return broken


def with_message(**changes: Any) -> dict[str, Any]:
    broken = payload()
    broken["messageAttributes"] |= changes
    return broken


REFUSED_PAYLOADS = [
    (without("type"), 400, ["MISSING_MESSAGE_TYPE"]),
    (with_message(type="INCOMING"), 400, ["MISSING_MESSAGE_TYPE"]),
    (without("protocol"), 400, ["MISSING_MESSAGE_PROTOCOL"]),
    (with_message(protocol="text"), 400, ["MISSING_MESSAGE_PROTOCOL"]),
    (without("isManual"), 400, ["MISSING_IS_MANUAL"]),
    (with_message(isManual="false"), 400, ["MISSING_IS_MANUAL"]),  # a string is no boolean
    (with_message(isManual=0), 400, ["MISSING_IS_MANUAL"]),  # nor is a number
    (without("body"), 400, ["MISSING_MESSAGE_BODY"]),
    (with_message(body=" \n"), 400, ["MISSING_MESSAGE_BODY"]),
    (with_message(body=None), 400, ["MISSING_MESSAGE_BODY"]),
    # All faults of a request are told at once.
    (
        {"messageAttributes": {}},
        400,
        [
            "MISSING_MESSAGE_TYPE",
            "MISSING_MESSAGE_PROTOCOL",
            "MISSING_IS_MANUAL",
            "MISSING_MESSAGE_BODY",
        ],
    ),
    # The service answers this one with a 500 although nothing is wrong with the service.
    ({}, 500, ["MISSING_MESSAGE_ATTRIBUTES"]),
    ({"messageAttributes": "Hi"}, 500, ["MISSING_MESSAGE_ATTRIBUTES"]),
    ([], 400, ["MALFORMED_REQUEST"]),
    (payload(sendVCard="true"), 400, ["MALFORMED_REQUEST"]),
    (payload(addTCPAFooter=1), 400, ["MALFORMED_REQUEST"]),
    (payload(callbackURL=["https://example.com"]), 400, ["MALFORMED_REQUEST"]),
    (payload(callbackMetaData={"row": 2}), 400, ["MALFORMED_REQUEST"]),  # strings only
    (payload(callbackMetaData={"row": {"number": "2"}}), 400, ["MALFORMED_REQUEST"]),  # flat
    (payload(callbackMetaData="row 2"), 400, ["MALFORMED_REQUEST"]),
    (payload(communicationValueOfCustomer=12125550123), 400, ["MALFORMED_REQUEST"]),
    (payload(communicationValueOfCustomer=""), 400, ["INVALID_COMMUNICATION_VALUE"]),
    (payload(communicationValueOfCustomer="call me"), 400, ["INVALID_COMMUNICATION_VALUE"]),
    (payload(communicationValueOfCustomer="1234567890123456"), 400, ["INVALID_COMMUNICATION_VALUE"]),
    (payload() | {"messageSendingAttributes": []}, 400, ["MALFORMED_REQUEST"]),
]


@pytest.mark.parametrize(("sent", "status", "expected"), REFUSED_PAYLOADS)
@asynchronous
async def test_refused_payloads(sent: object, status: int, expected: list[str]) -> None:
    async with running() as (sandbox, client):
        got, body, _ = await client.request("POST", path(), json=sent)
    assert (got, codes(body)) == (status, expected)
    assert not sandbox.texts
    assert sandbox.requests[0].response.codes == tuple(expected)


JSON_TYPE = {"Content-Type": "application/json"}

REFUSED_BYTES = [
    (b"", JSON_TYPE, 400, ["MALFORMED_REQUEST"]),
    (b'{"messageAttributes": ', JSON_TYPE, 400, ["MALFORMED_REQUEST"]),
    (b"[NaN]", JSON_TYPE, 400, ["MALFORMED_REQUEST"]),  # Python would read it, JSON does not have it
    ('{"a": "é"}'.encode("latin-1"), JSON_TYPE, 400, ["MALFORMED_REQUEST"]),
    (b"[" * 100_000, JSON_TYPE, 400, ["MALFORMED_REQUEST"]),  # deeper than the parser can go
    (b"9" * 10_000, JSON_TYPE, 400, ["MALFORMED_REQUEST"]),  # longer than Python reads a number
    (b'"' + b"x" * 1_100_000 + b'"', JSON_TYPE, 413, ["REQUEST_TOO_LARGE"]),
    (b"{}", {"Content-Type": "text/plain"}, 415, ["UNSUPPORTED_MEDIA_TYPE"]),
    (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, ["UNSUPPORTED_MEDIA_TYPE"]),
]


@pytest.mark.parametrize(
    ("sent", "headers", "status", "expected"), REFUSED_BYTES, ids=[str(c[0][:20]) for c in REFUSED_BYTES]
)
@asynchronous
async def test_refused_bytes(sent: bytes, headers: dict[str, str], status: int, expected: list[str]) -> None:
    async with running() as (sandbox, client):
        got, body, _ = await client.request("POST", path(), data=io.BytesIO(sent), headers=headers)
        # The next request finds the server in order.
        assert (await client.send())[0] == 200
    assert (got, codes(body)) == (status, expected)
    assert [request.text_sent for request in sandbox.requests] == [False, True]


REFUSED_PATHS = [
    (path(customer="a%20b"), ["INVALID_CUSTOMER"]),
    (path(customer="x" * 129), ["INVALID_CUSTOMER"]),
    (path(customer="J%C3%BCrgen"), ["INVALID_CUSTOMER"]),  # a letter, but not of base64url
    (path(user="a.b"), ["INVALID_USER"]),
    (path(department="a%0A"), ["INVALID_DEPARTMENT"]),  # a line end at the end, which `$` would let pass
]


@pytest.mark.parametrize(("where", "expected"), REFUSED_PATHS)
@asynchronous
async def test_refused_identifiers(where: str, expected: list[str]) -> None:
    async with running() as (sandbox, client):
        status, body, _ = await client.request("POST", where, json=payload())
    assert (status, codes(body)) == (400, expected)
    assert len(sandbox.requests) == 1
    assert not sandbox.texts


EXPECTED = SandboxOptions(username="dealer", password="pässword: with colons")

CREDENTIALS = [
    ("", SandboxOptions(), "CREDENTIALS_ARE_NULL"),
    ("Bearer abc", SandboxOptions(), "CREDENTIALS_ARE_NULL"),
    ("Basic !!!", SandboxOptions(), "CREDENTIALS_ARE_NULL"),
    ("Basic é", SandboxOptions(), "CREDENTIALS_ARE_NULL"),
    # Empty settings on the client's side look like this.
    (aiohttp.encode_basic_auth("", ""), SandboxOptions(), "CREDENTIALS_ARE_NULL"),
    (aiohttp.encode_basic_auth("dealer", ""), SandboxOptions(), "CREDENTIALS_ARE_NULL"),
    (aiohttp.encode_basic_auth("dealer", "password"), EXPECTED, "WRONG_CREDENTIAL"),
    (aiohttp.encode_basic_auth("Dealer", "pässword: with colons"), EXPECTED, "WRONG_CREDENTIAL"),
    (ANY_CREDENTIALS, SandboxOptions(), None),
    (aiohttp.encode_basic_auth("dealer", "pässword: with colons", "utf-8"), EXPECTED, None),
    (aiohttp.encode_basic_auth("dealer", "pässword: with colons", "latin-1"), EXPECTED, None),
]


@pytest.mark.parametrize(("authorization", "options", "code"), CREDENTIALS)
@asynchronous
async def test_credentials(authorization: str, options: SandboxOptions, code: str | None) -> None:
    async with running(options) as (sandbox, client):
        status, body, headers = await client.request(
            "POST", path(), json=payload(), headers={"Authorization": authorization}
        )
    if code is None:
        assert status == 200
    else:
        assert (status, codes(body)) == (401, [code])
        assert headers["WWW-Authenticate"] == 'Basic realm="batchsend sandbox"'
    # Refused or not, the record shows what was asked for.
    assert sandbox.requests[0].body == "Hi Maria"
    assert bool(sandbox.texts) == (code is None)


# --- customers that provoke particular answers --------------------------------------------------------------------

#: prefix: HTTP status (None: the connection ends without an answer), codes, whether a text leaves
PROVOKED: dict[str, tuple[int | None, list[str], bool]] = {
    "sandbox-opted-out": (400, ["OPTED_OUT_COMMUNICATION_VALUE"], False),
    "sandbox-invalid-number": (400, ["INVALID_COMMUNICATION_VALUE"], False),
    "sandbox-invalid-customer": (400, ["INVALID_CUSTOMER"], False),
    "sandbox-locked": (400, ["CUSTOMER_LOCKED"], False),
    "sandbox-already-sent": (400, ["MESSAGE_ALREADY_SENT"], False),
    "sandbox-unknown-code": (400, ["SANDBOX_UNHEARD_OF"], False),
    "sandbox-failure": (200, ["TWILIO_SENDING_FAILURE", "INVALID_COMMUNICATION_VALUE"], False),
    "sandbox-failure-bare": (200, [], False),
    "sandbox-twilio-failure": (200, ["TWILIO_SENDING_FAILURE"], False),
    "sandbox-warning": (200, [], True),
    "sandbox-undelivered": (200, [], True),
    "sandbox-not-sent": (200, [], True),
    "sandbox-opted-out-later": (200, [], True),
    "sandbox-no-update": (200, [], True),
    "sandbox-holiday": (400, ["DEALERSHIP_HOLIDAY"], False),
    "sandbox-bad-user": (400, ["INVALID_USER"], False),
    "sandbox-no-authority": (400, ["USER_DOES_NOT_HAVE_AUTHORITY"], False),
    "sandbox-unauthorized": (401, ["NOT_AUTHORIZED_REQUEST"], False),
    "sandbox-forbidden": (403, ["NOT_AUTHORIZED_REQUEST"], False),
    "sandbox-429": (429, ["TOO_MANY_REQUESTS"], False),
    "sandbox-429-date": (429, ["TOO_MANY_REQUESTS"], False),
    "sandbox-429-bare": (429, ["TOO_MANY_REQUESTS"], False),
    "sandbox-429-always": (429, ["TOO_MANY_REQUESTS"], False),
    "sandbox-503": (503, [], False),
    "sandbox-503-always": (503, [], False),
    "sandbox-500": (500, ["INTERNAL_SERVER_ERROR"], False),
    "sandbox-502": (502, [], False),
    "sandbox-504": (504, [], False),
    "sandbox-dropped": (None, [], False),
    "sandbox-no-answer": (None, [], False),
    "sandbox-garbage": (200, [], False),
    "sandbox-empty": (200, [], False),
    "sandbox-slow": (200, [], True),
    "sandbox-redirect": (307, [], False),
}
WAITING = {"sandbox-no-answer", "sandbox-slow"}


def test_every_scenario_has_its_case() -> None:
    assert [scenario.prefix for scenario in SCENARIOS] == list(PROVOKED)


@pytest.mark.parametrize("prefix", [prefix for prefix in PROVOKED if prefix not in WAITING])
@asynchronous
async def test_provoked_answers(prefix: str) -> None:
    expected_status, expected_codes, text_leaves = PROVOKED[prefix]
    async with running() as (sandbox, client):
        try:
            status, body, headers = await client.send(prefix + "-0001")
        except aiohttp.ServerDisconnectedError:
            assert expected_status is None
        else:
            assert status == expected_status
            if expected_codes:
                assert headers["Content-Type"] == "application/json"
                assert codes(body) == expected_codes
    [request] = sandbox.requests
    assert (request.response.http_status, list(request.response.codes)) == (expected_status, expected_codes)
    assert request.text_sent == text_leaves


@pytest.mark.parametrize("prefix", [scenario.prefix for scenario in SCENARIOS if scenario.outcome_unknown])
@asynchronous
async def test_where_the_outcome_unknown_the_suffix_decides(prefix: str) -> None:
    async with running() as (sandbox, client):
        for count, customer in enumerate((prefix, prefix + "-sent", prefix + "-sent-2"), start=1):
            sending = asyncio.create_task(client.send(customer))
            await until(functools.partial(lambda n: len(sandbox.requests) == n, count))
            sending.cancel()
            await asyncio.wait([sending])
    assert sandbox.texts_per_customer() == {prefix + "-sent": 1, prefix + "-sent-2": 1}
    # The client cannot tell the two apart.
    plain, sent, _ = sandbox.requests
    assert plain.response.http_status == sent.response.http_status
    assert sent.message_uuid not in sent.response.body


OTHER_BODIES = [
    ("sandbox-garbage", r'\{"status": "SUCC'),
    ("sandbox-empty", r"\{\}"),
    ("sandbox-502", r"<html>.*502 Bad Gateway.*</html>\n"),
    ("sandbox-504", r"<html>.*504 Gateway Timeout.*</html>\n"),
    ("sandbox-503", r"<html>.*503 Service Unavailable.*</html>\n"),
    ("sandbox-failure-bare", r'.*"errors": null.*"status": "FAILURE".*'),
    ("sandbox-warning", r'.*"status": "SUCCESS", "warnings": \[\{"warningCode": "SANDBOX_WARNING".*'),
]


@pytest.mark.parametrize(("customer", "pattern"), OTHER_BODIES)
@asynchronous
async def test_bodies_of_provoked_answers(customer: str, pattern: str) -> None:
    async with running() as (_, client):
        _, body, _ = await client.send(customer)
    assert re.fullmatch(pattern, body)


@pytest.mark.parametrize("customer", ["sandbox-429-7", "sandbox-429-date", "sandbox-429-bare", "sandbox-503"])
@asynchronous
async def test_the_first_request_only(customer: str) -> None:
    async with running() as (sandbox, client):
        statuses = [(await client.send(customer))[0] for _ in range(3)]
        assert statuses[1:] == [200, 200]
        # Another customer has a first request of his own.
        assert (await client.send(customer + "-other"))[0] == statuses[0] != 200
        sandbox.clear()
        assert (await client.send(customer))[0] == statuses[0]


@asynchronous
async def test_retry_after_in_its_forms() -> None:
    async with running() as (sandbox, client):
        _, _, seconds = await client.send("sandbox-429")
        _, _, date = await client.send("sandbox-429-date")
        _, _, bare = await client.send("sandbox-429-bare")
    assert seconds["Retry-After"] == "1"
    assert parsedate_to_datetime(date["Retry-After"]).timestamp() - sandbox.requests[1].wall >= 1
    assert "Retry-After" not in bare


LOOKED_UP = [
    (CUSTOMER, None),
    ("sandboxes", None),  # the hyphen belongs to it
    ("Sandbox-500", None),  # UUIDs are case-sensitive
    ("sandbox-500", "sandbox-500"),
    ("sandbox-429-date-3", "sandbox-429-date"),  # the longest wins
    ("sandbox-429-3", "sandbox-429"),
    ("sandbox-opted-out2", "sandbox-opted-out"),
    ("sandbox-opted-uot", "sandbox-"),  # a slip is told, not accepted
]


@pytest.mark.parametrize(("customer", "prefix"), LOOKED_UP)
def test_looking_up_a_customer(customer: str, prefix: str | None) -> None:
    scenario = find_scenario(customer)
    assert (scenario.prefix if scenario else None) == prefix


@asynchronous
async def test_an_unknown_sandbox_customer_is_told() -> None:
    async with running() as (_, client):
        status, body, _ = await client.send("sandbox-opted-uot")
    assert (status, codes(body)) == (400, ["INVALID_CUSTOMER"])
    assert json.loads(body)["errors"][0]["errorDescription"] == (
        "The sandbox has no answer for this customer UUID. Its page lists the names that may follow “sandbox-”."
    )


@asynchronous
async def test_a_scenario_answers_only_well_formed_requests() -> None:
    async with running() as (_, client):
        _, body, _ = await client.request("POST", path("sandbox-opted-out"), json=without("body"))
    assert codes(body) == ["MISSING_MESSAGE_BODY"]


# --- waiting and closing ------------------------------------------------------------------------------------------


@asynchronous
async def test_closing_ends_requests_that_wait() -> None:
    async with running(SandboxOptions(latency=3600)) as (sandbox, client):
        never = asyncio.create_task(client.send("sandbox-no-answer"))
        slow = asyncio.create_task(client.send("sandbox-slow"))
        ordinary = asyncio.create_task(client.send())
        await until(lambda: len(sandbox.requests) == 3)
        # The sandbox closes before the client does.
        await sandbox.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await never
        assert [(await slow)[0], (await ordinary)[0]] == [200, 200]


@asynchronous
async def test_a_client_that_gives_up_stays_on_record() -> None:
    async with running() as (sandbox, client):
        idle = len(asyncio.all_tasks())
        sending = asyncio.create_task(client.send("sandbox-no-answer-sent"))
        await until(lambda: sandbox.requests)
        sending.cancel()
        await asyncio.wait([sending])
        # Nobody waits any more, so the server does not either.
        await until(lambda: len(asyncio.all_tasks()) == idle)
        assert sandbox.requests[0].response.ending is Ending.NEVER
        assert sandbox.texts_per_customer() == {"sandbox-no-answer-sent": 1}
        assert (await client.send())[0] == 200


@asynchronous
async def test_serve_runs_until_it_is_told_to_stop() -> None:
    ready: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(SandboxOptions(), "127.0.0.1", 0, ready.put_nowait, stop))
    base_url = await ready.get()
    async with aiohttp.ClientSession() as session:
        assert (await Client(session, base_url).send())[0] == 200
        stop.set()
        await serving
        with pytest.raises(aiohttp.ClientConnectorError):
            await Client(session, base_url).send()


# --- rate limit, latency, errors by chance ------------------------------------------------------------------------


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
def test_the_token_bucket_lets_through_the_rate_and_one_seconds_worth(rate: float, gaps: list[float]) -> None:
    bucket = TokenBucket(rate)
    now, through = 100.0, []
    for gap in gaps:
        now += gap
        wait = bucket.wait(now)
        if not wait:
            through.append(now)
        else:
            # Who waits that long is let through.
            assert 0 < wait <= 1 / rate
    for i, first in enumerate(through):
        for j, last in enumerate(through[i:], start=1):
            assert j <= (last - first) * rate + max(1, rate) + 1e-6


@given(rate=st.integers(1, 300), jitter=st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_a_client_at_the_limit_is_never_refused(rate: int, jitter: list[float]) -> None:
    # Evenly sent, but delayed on the way by up to half a second's worth of requests.
    arrivals = sorted(100 + n / rate + late * (1 - 1 / rate) for n, late in enumerate(jitter))
    bucket = TokenBucket(rate)
    assert not any(bucket.wait(arrival) for arrival in arrivals)


def arrival(customer: str, sent: object = None) -> IncomingRequest:
    raw = json.dumps(payload() if sent is None else sent).encode()
    return IncomingRequest(0.0, ANY_CREDENTIALS, "application/json", DEPARTMENT, USER, customer, raw)


def fates(responder: Responder, customers: list[str]) -> dict[str, tuple[Any, ...]]:
    decided = {customer: responder.decide(arrival(customer)) for customer in customers}
    return {
        customer: (answer.http_status, answer.codes, answer.ending, answer.text_sent, seconds)
        for customer, (_, answer, seconds) in decided.items()
    }


def test_the_same_seed_gives_a_customer_the_same_fate_in_any_order() -> None:
    options = SandboxOptions(error_rate=0.5, latency=0.1, seed=7)
    customers = [f"customer-{n}" for n in range(200)]
    forth = fates(Responder(options), customers)
    assert fates(Responder(options), customers[::-1]) == forth
    assert fates(Responder(SandboxOptions(error_rate=0.5, latency=0.1, seed=8)), customers) != forth


def test_error_rate_is_the_share_of_errors_and_they_are_mixed() -> None:
    got = fates(
        Responder(SandboxOptions(error_rate=0.3, seed=1)), customers := [f"customer-{n}" for n in range(2000)]
    )
    errors = [fate for fate in got.values() if fate[:2] != (200, ())]
    assert 0.27 < len(errors) / len(customers) < 0.33
    # Of a 502 nobody knows whether the text left: both happen.
    assert {fate[3] for fate in errors if fate[0] == 502} == {True, False}
    assert {fate[3] for fate in errors if fate[0] == 400} == {False}
    # Nothing by chance stops a whole run or hangs: 401, the holiday, no answer.
    assert {fate[0] for fate in errors} == {None, 200, 400, 429, 500, 502, 503, 504}
    assert Ending.NEVER not in {fate[2] for fate in errors}


def test_a_request_tried_again_has_another_chance() -> None:
    responder = Responder(SandboxOptions(error_rate=0.5, seed=1))
    assert len({responder.decide(arrival(CUSTOMER))[1].http_status for _ in range(50)}) > 1


@given(latency=st.floats(0.001, 10), customer=st.text("abc", min_size=1, max_size=20))
def test_latency_varies_around_its_mean(latency: float, customer: str) -> None:
    _, _, seconds = Responder(SandboxOptions(latency=latency)).decide(arrival(customer))
    assert 0.5 * latency <= seconds <= 1.5 * latency


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["TEXT", "OUTGOING"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["body", "callbackMetaData", "sendVCard", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(
    message=json_values,
    sending=json_values,
    use_message=st.booleans(),
)
def test_any_json_gets_an_answer_and_a_record(message: object, sending: object, use_message: bool) -> None:
    sent = payload() | {"messageSendingAttributes": sending}
    if use_message:
        sent["messageAttributes"] = message
    read, answer, _ = Responder(SandboxOptions()).decide(arrival(CUSTOMER, sent))
    assert answer.text_sent == (answer.http_status == 200)
    received = ReceivedRequest(1, 0.0, 0.0, DEPARTMENT, USER, CUSTOMER, Submission.of(read), answer)
    assert json.loads(json.dumps(received.as_json()))["textLeft"] == answer.text_sent


# --- the record ---------------------------------------------------------------------------------------------------


@asynchronous
async def test_the_record_file_grows_by_a_line_before_the_answer(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    options = SandboxOptions(record=record)
    async with running(options) as (_, client):
        await client.send(body="Hi 李 🚗\n2nd line", communicationValueOfCustomer=PHONE)
        sending = asyncio.create_task(client.send("sandbox-no-answer"))
        await until(lambda: record.read_bytes().count(b"\n") == 2)
        sending.cancel()
    # A second sandbox goes on where the first one ended.
    async with running(options) as (_, client):
        await client.send("sandbox-opted-out")
    first, second, third = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    assert (first["body"], first["phone"], first["textLeft"]) == ("Hi 李 🚗\n2nd line", PHONE, True)
    assert json.loads(first["answer"])["messageUUID"] == first["messageUUID"]
    assert (second["ending"], second["textLeft"], second["httpStatus"]) == ("never", False, None)
    assert (third["errorCodes"], third["customerUUID"]) == (
        ["OPTED_OUT_COMMUNICATION_VALUE"],
        "sandbox-opted-out",
    )
    assert first["monotonic"] <= second["monotonic"] <= third["monotonic"]
    assert first["arrivedAt"] <= second["arrivedAt"]
    if sys.platform != "win32":
        assert record.stat().st_mode & 0o777 == 0o600


@asynchronous
async def test_credentials_are_nowhere(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    options = SandboxOptions(username="dealer-user", password="hush-hush", record=record)
    right = {"Authorization": aiohttp.encode_basic_auth("dealer-user", "hush-hush")}
    async with running(options) as (sandbox, client):
        await client.request("POST", path(), json=payload(), headers=right)
        _, page, _ = await client.request("GET", "/")
        _, listed, _ = await client.request("GET", "/requests.json")
    shown = "".join([page, listed, record.read_text(encoding="utf-8"), repr(sandbox.requests), repr(options)])
    assert "hush-hush" not in shown
    assert right["Authorization"].removeprefix("Basic ") not in shown


@asynchronous
async def test_a_record_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BatchsendError) as caught:
        async with Sandbox(SandboxOptions(record=tmp_path)):
            pass
    assert str(caught.value) == (
        f"{tmp_path}: The sandbox cannot write its record there (Is a directory). Choose another place."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs the device that is always full")
@asynchronous
async def test_what_cannot_be_recorded_is_not_accepted() -> None:
    async with running(SandboxOptions(record=Path("/dev/full"))) as (sandbox, client):
        status, _, _ = await client.send()
    assert status == 503
    assert not sandbox.texts


@asynchronous
async def test_only_the_last_requests_are_kept() -> None:
    async with running(SandboxOptions(keep=2)) as (sandbox, client):
        for n in range(3):
            await client.send(f"customer-{n}")
        _, page, _ = await client.request("GET", "/")
    assert [text.customer_uuid for text in sandbox.texts] == ["customer-1", "customer-2"]
    assert [request.number for request in sandbox.requests] == [2, 3]
    assert "3 texts received" in page


# --- the page and its JSON ----------------------------------------------------------------------------------------


@asynchronous
async def test_the_page_without_texts() -> None:
    async with running() as (_, client):
        status, page, headers = await client.request("GET", "/")
        _, of_one, _ = await client.request("GET", "/?customer=nobody")
    assert status == 200
    assert "0 texts received" in page
    assert "No texts yet. Send a campaign to the sandbox, then reload this page." in page
    assert "No texts to this customer yet." in of_one
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert headers["Cache-Control"] == "no-store"


@asynchronous
async def test_the_page_shows_what_the_phones_show() -> None:
    async with running() as (_, client):
        await client.send("first", "Hi <b>Tom</b> & Co", communicationValueOfCustomer=PHONE)
        await client.send("second", "no footer", addTCPAFooter=False)
        await client.send("sandbox-opted-out", "never arrives")
        _, page, _ = await client.request("GET", "/")
        _, of_one, _ = await client.request("GET", "/?customer=second")
    assert "2 texts received" in page
    assert "3 requests came in." in page
    assert "never arrives" not in page
    assert "Hi &lt;b&gt;Tom&lt;/b&gt; &amp; Co<span>Text STOP to opt-out</span>" in page
    assert ">no footer</div>" in page
    assert page.index("no footer") < page.index("Tom")  # newest first
    assert PHONE in page
    assert "Preferred number" in page
    assert "no footer" in of_one
    assert "Tom" not in of_one
    assert all(scenario.prefix in page for scenario in SCENARIOS)


@asynchronous
async def test_the_page_is_of_one_file_and_runs_nothing() -> None:
    async with running() as (_, client):
        await client.send("a", '"><script src=//example.com></script>')
        _, page, _ = await client.request("GET", '/?customer="><script>')
        _, everybody, _ = await client.request("GET", "/?live=1")
    for shown in (page, everybody):
        assert "<script" not in shown
        # Text has its quotation marks escaped: only a tag's own attributes have them.
        assert not re.search(r"""\b(src|href)=["'](https?:|//)""", shown)
    assert '<meta http-equiv="refresh" content="2">' in everybody
    assert "http-equiv" not in page


@asynchronous
async def test_the_page_shows_the_last_200() -> None:
    async with running() as (_, client):
        for n in range(201):
            await client.send(f"customer-{n:03}")
        _, page, _ = await client.request("GET", "/")
        _, listed, _ = await client.request("GET", "/texts.json")
    assert page.count("<article>") == 200
    assert "customer-000" not in page
    assert "The newest 200 are shown." in page
    assert len(json.loads(listed)) == 201


@asynchronous
async def test_half_a_surrogate_pair_does_not_break_page_json_or_record(tmp_path: Path) -> None:
    # JSON's escapes can carry it, UTF-8 cannot.
    async with running(SandboxOptions(record=tmp_path / "r.jsonl")) as (_, client):
        assert (await client.send(body="half \ud83d"))[0] == 200
        status, page, _ = await client.request("GET", "/")
        _, listed, _ = await client.request("GET", "/texts.json")
    assert status == 200
    assert "half ?" in page
    assert json.loads(listed)[0]["body"] == "half \ud83d"


@asynchronous
async def test_json_for_scripts_and_starting_over() -> None:
    async with running() as (sandbox, client):
        await client.send("first")
        await client.send("sandbox-locked")
        _, texts, headers = await client.request("GET", "/texts.json")
        _, requests, _ = await client.request("GET", "/requests.json")
        _, of_one, _ = await client.request("GET", "/requests.json?customer=sandbox-locked")
        assert headers["Content-Type"].startswith("application/json")
        assert [text["customerUUID"] for text in json.loads(texts)] == ["first"]
        assert [one["httpStatus"] for one in json.loads(requests)] == [200, 400]
        assert [one["errorCodes"] for one in json.loads(of_one)] == [["CUSTOMER_LOCKED"]]
        status, body, _ = await client.request("DELETE", "/texts")
        assert (status, json.loads(body)) == (200, {"cleared": 1})
        assert (await client.request("GET", "/requests.json"))[1] == "[]"
        assert not sandbox.requests


# --- where it listens, and to whom --------------------------------------------------------------------------------

HOSTS = [
    ("127.0.0.1", 200),
    ("localhost:8398", 200),
    ("LOCALHOST", 200),
    ("[::1]:8398", 200),
    ("evil.example:8398", 421),  # a name that its owner let point to this computer
    ("127.0.0.1.evil.example", 421),
    ("localhost.evil.example", 421),
    ("", 421),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
@asynchronous
async def test_only_this_computers_names_are_answered(host: str, status: int) -> None:
    async with running() as (sandbox, client):
        await client.send()
        for method, where in [("GET", "/"), ("GET", "/texts.json"), ("GET", "/requests.json")]:
            got, body, _ = await client.request(method, where, headers={"Host": host})
            assert got == status
            assert ("Hi Maria" in body) == (status == 200)
        got, _, _ = await client.request("DELETE", "/texts", headers={"Host": host})
        assert (got, len(sandbox.texts)) == ((200, 0) if status == 200 else (421, 1))


@asynchronous
async def test_who_opens_it_to_the_network_may_use_any_name() -> None:
    async with running(host="0.0.0.0") as (sandbox, client):
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert (await client.request("GET", "/", headers={"Host": "office-pc:8398"}))[0] == 200


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@asynchronous
async def test_a_port_in_use(taken_port: int) -> None:
    with pytest.raises(BatchsendError) as caught:
        async with Sandbox(port=taken_port):
            pass
    assert str(caught.value) == (
        f"The sandbox cannot listen on 127.0.0.1, port {taken_port}: another program uses it, perhaps a sandbox "
        "that is already running. Stop that one, or choose another --port."
    )


CANNOT_LISTEN = [
    (
        "127.0.0.1",
        65536,
        (
            "The sandbox cannot listen on 127.0.0.1, port 65536: a port is a number from 0 to 65535. "
            "Choose another --port."
        ),
    ),
    (
        "203.0.113.7",  # reserved for documentation: no computer's address
        0,
        (
            "The sandbox cannot listen on 203.0.113.7, port 0: this computer has no such address. "
            "Use 127.0.0.1, or one of the computer's own addresses."
        ),
    ),
]


@pytest.mark.parametrize(("host", "port", "sentence"), CANNOT_LISTEN)
@asynchronous
async def test_where_it_cannot_listen(host: str, port: int, sentence: str) -> None:
    with pytest.raises(BatchsendError) as caught:
        async with Sandbox(host=host, port=port):
            pass
    assert str(caught.value) == sentence


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"rate_limit": 0}, "The sandbox's rate limit must be more than 0 requests a second, not 0."),
    (
        {"rate_limit": float("nan")},
        "The sandbox's rate limit must be more than 0 requests a second, not nan.",
    ),
    ({"latency": -0.1}, "The sandbox's latency must be 0 seconds or more, not -0.1."),
    ({"error_rate": 50}, "The sandbox's error rate must be between 0 (never) and 1 (always), not 50."),
    ({"keep": 0}, "The sandbox must keep at least 1 request, not 0."),
    ({"username": "dealer"}, "The sandbox needs both a username and a password, or neither."),
]


@pytest.mark.parametrize(("options", "sentence"), BAD_OPTIONS)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BatchsendError) as caught:
        SandboxOptions(**options)
    assert str(caught.value) == sentence


def test_it_shares_no_code_with_the_client() -> None:
    # A mistake in shared code would be made on both sides, and no rehearsal or test would show it.
    sources = [file.read_text(encoding="utf-8") for file in Path(batchsend.sandbox.__path__[0]).glob("*.py")]
    imported = {name for source in sources for name in re.findall(r"(?:from|import) (batchsend\S*)", source)}
    others = {name for name in imported if not name.startswith("batchsend.sandbox")}
    assert others == {"batchsend.errors", "batchsend.utils.net", "batchsend.utils.wording"}


def test_the_table_for_the_manual() -> None:
    lines = scenarios_markdown().splitlines()
    assert len(lines) == 2 + len(SCENARIOS)
    assert "| `sandbox-opted-out` | 400 OPTED_OUT_COMMUNICATION_VALUE. |" in lines
    assert "| `sandbox-502`, `sandbox-502-sent` | 502 with a gateway's error page. |" in lines
