"""The customers with a particular answer."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from sandbox_requests import CUSTOMER, asynchronous, codes, path, running, until, without

from batchsend.sandbox.scenarios import SCENARIOS, find_scenario

#: prefix: HTTP status (None: the connection ends without a response), codes, whether a text is sent
EXPECTED: dict[str, tuple[int | None, list[str], bool]] = {
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
    "sandbox-web-page": (200, [], False),
    "sandbox-empty": (200, [], False),
    "sandbox-slow": (200, [], True),
    "sandbox-redirect": (307, [], False),
}
SLOW_OR_NEVER = {"sandbox-no-answer", "sandbox-slow"}


def test_every_scenario_has_its_case() -> None:
    assert [scenario.prefix for scenario in SCENARIOS] == list(EXPECTED)


@pytest.mark.parametrize("prefix", [prefix for prefix in EXPECTED if prefix not in SLOW_OR_NEVER])
@asynchronous
async def test_the_response_of_each_scenario(prefix: str) -> None:
    expected_status, expected_codes, text_sent = EXPECTED[prefix]
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
    assert request.text_sent == text_sent


@pytest.mark.parametrize("prefix", [scenario.prefix for scenario in SCENARIOS if scenario.outcome_unknown])
@asynchronous
async def test_if_the_outcome_is_unknown_the_suffix_decides(prefix: str) -> None:
    async with running() as (sandbox, client):
        for count, customer in enumerate((prefix, prefix + "-sent", prefix + "-sent-2"), start=1):
            sending = asyncio.create_task(client.send(customer))
            await until(functools.partial(lambda n: len(sandbox.requests) == n, count))
            sending.cancel()
            await asyncio.wait([sending])
    assert sandbox.texts_per_customer() == {prefix + "-sent": 1, prefix + "-sent-2": 1}
    # The client gets the same response in both cases.
    plain, sent, _ = sandbox.requests
    assert plain.response.http_status == sent.response.http_status
    assert sent.message_uuid not in sent.response.body


BODIES = [
    ("sandbox-garbage", r'\{"status": "SUCC'),
    ("sandbox-web-page", r"<!DOCTYPE html>\n<html>.*Sign in.*</html>\n"),
    ("sandbox-empty", r"\{\}"),
    ("sandbox-502", r"<html>.*502 Bad Gateway.*</html>\n"),
    ("sandbox-504", r"<html>.*504 Gateway Timeout.*</html>\n"),
    ("sandbox-503", r"<html>.*503 Service Unavailable.*</html>\n"),
    ("sandbox-failure-bare", r'.*"errors": null.*"status": "FAILURE".*'),
    ("sandbox-warning", r'.*"status": "SUCCESS", "warnings": \[\{"warningCode": "SANDBOX_WARNING".*'),
]


@pytest.mark.parametrize(("customer", "pattern"), BODIES)
@asynchronous
async def test_bodies_of_responses(customer: str, pattern: str) -> None:
    async with running() as (_, client):
        _, body, _ = await client.send(customer)
    assert re.fullmatch(pattern, body)


@pytest.mark.parametrize("customer", ["sandbox-429-7", "sandbox-429-date", "sandbox-429-bare", "sandbox-503"])
@asynchronous
async def test_the_first_request_only(customer: str) -> None:
    async with running() as (sandbox, client):
        statuses = [(await client.send(customer))[0] for _ in range(3)]
        assert statuses[1:] == [200, 200]
        # Requests are counted for each customer.
        assert (await client.send(customer + "-other"))[0] == statuses[0] != 200
        sandbox.clear()
        assert (await client.send(customer))[0] == statuses[0]


@asynchronous
async def test_the_forms_of_retry_after() -> None:
    async with running() as (sandbox, client):
        _, _, seconds = await client.send("sandbox-429")
        _, _, date = await client.send("sandbox-429-date")
        _, _, bare = await client.send("sandbox-429-bare")
    assert seconds["Retry-After"] == "1"
    assert parsedate_to_datetime(date["Retry-After"]).timestamp() - sandbox.requests[1].wall >= 1
    assert "Retry-After" not in bare


CUSTOMERS = [
    (CUSTOMER, None),
    ("sandboxes", None),  # the hyphen is part of the prefix
    ("Sandbox-500", None),  # UUIDs are case-sensitive
    ("sandbox-500", "sandbox-500"),
    ("sandbox-429-date-3", "sandbox-429-date"),  # the longest match counts
    ("sandbox-429-3", "sandbox-429"),
    ("sandbox-opted-out2", "sandbox-opted-out"),
    ("sandbox-opted-uot", "sandbox-"),  # a typing error is refused, not accepted
]


@pytest.mark.parametrize(("customer", "prefix"), CUSTOMERS)
def test_finding_a_customers_scenario(customer: str, prefix: str | None) -> None:
    scenario = find_scenario(customer)
    assert (scenario.prefix if scenario else None) == prefix


@asynchronous
async def test_an_unknown_sandbox_customer_is_refused() -> None:
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
