"""Which requests the sandbox accepts and refuses."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_requests import (
    ANY_CREDENTIALS,
    CUSTOMER,
    DEPARTMENT,
    PHONE,
    USER,
    asynchronous,
    codes,
    incoming,
    path,
    payload,
    running,
    without,
)

from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.request_log import ReceivedRequest, Submission
from batchsend.sandbox.responder import Responder


@asynchronous
async def test_a_well_formed_request_is_accepted_and_logged() -> None:
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
    # The API has no idempotency key. A sandbox with one would hide a client's worst mistake.
    async with running() as (sandbox, client):
        for _ in range(2):
            await client.send()
    assert sandbox.texts_per_customer() == {CUSTOMER: 2}


ACCEPTED = [
    {},  # everything under messageSendingAttributes is optional
    {"addTCPAFooter": True, "addSignature": False, "addFooter": True, "sendVCard": False},
    {"sendSynchronously": True, "communicationValueOfCustomer": None, "callbackMetaData": None},
    {"callbackMetaData": {}},
    {"communicationValueOfCustomer": "(212) 555-0123"},  # any format of a phone number
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
        # Decoded twice, this would be a valid UUID.
        status, body, _ = await client.send("a%255Fb")
        assert (status, codes(body)) == (400, ["INVALID_CUSTOMER"])
        # A slash inside a segment does not make another segment.
        status, body, _ = await client.send("a%2Fb")
        assert (status, codes(body)) == (400, ["INVALID_CUSTOMER"])


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
    (with_message(isManual="false"), 400, ["MISSING_IS_MANUAL"]),  # a string, not a boolean
    (with_message(isManual=0), 400, ["MISSING_IS_MANUAL"]),  # a number, not a boolean
    (without("body"), 400, ["MISSING_MESSAGE_BODY"]),
    (with_message(body=" \n"), 400, ["MISSING_MESSAGE_BODY"]),
    (with_message(body=None), 400, ["MISSING_MESSAGE_BODY"]),
    # All errors of a request are reported together.
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
    # The service answers 500 here, although the request is at fault.
    ({}, 500, ["MISSING_MESSAGE_ATTRIBUTES"]),
    ({"messageAttributes": "Hi"}, 500, ["MISSING_MESSAGE_ATTRIBUTES"]),
    ([], 400, ["MALFORMED_REQUEST"]),
    (payload(sendVCard="true"), 400, ["MALFORMED_REQUEST"]),
    (payload(addTCPAFooter=1), 400, ["MALFORMED_REQUEST"]),
    (payload(callbackURL=["https://example.com"]), 400, ["MALFORMED_REQUEST"]),
    (payload(callbackMetaData={"row": 2}), 400, ["MALFORMED_REQUEST"]),  # only strings are allowed
    (
        payload(callbackMetaData={"row": {"number": "2"}}),
        400,
        ["MALFORMED_REQUEST"],
    ),  # only flat objects are allowed
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
    (b"[NaN]", JSON_TYPE, 400, ["MALFORMED_REQUEST"]),  # Python's parser accepts it, JSON does not have it
    ('{"a": "é"}'.encode("latin-1"), JSON_TYPE, 400, ["MALFORMED_REQUEST"]),
    (b"[" * 100_000, JSON_TYPE, 400, ["MALFORMED_REQUEST"]),  # deeper than the parser can read
    (b"9" * 10_000, JSON_TYPE, 400, ["MALFORMED_REQUEST"]),  # longer than the numbers that Python reads
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
        # The next request is accepted as usual.
        assert (await client.send())[0] == 200
    assert (got, codes(body)) == (status, expected)
    assert [request.text_sent for request in sandbox.requests] == [False, True]


REFUSED_PATHS = [
    (path(customer="a%20b"), ["INVALID_CUSTOMER"]),
    (path(customer="x" * 129), ["INVALID_CUSTOMER"]),
    (path(customer="J%C3%BCrgen"), ["INVALID_CUSTOMER"]),  # a letter that base64url does not have
    (path(user="a.b"), ["INVALID_USER"]),
    (
        path(department="a%0A"),
        ["INVALID_DEPARTMENT"],
    ),  # a final line break, which `$` in a pattern would accept
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
    # A client with empty settings sends this.
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
    # The log shows the request even if it was refused.
    assert sandbox.requests[0].body == "Hi Maria"
    assert bool(sandbox.texts) == (code is None)


# --- customers that provoke particular answers --------------------------------------------------------------------


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
def test_any_json_gets_a_response_and_can_be_logged(
    message: object, sending: object, use_message: bool
) -> None:
    sent = payload() | {"messageSendingAttributes": sending}
    if use_message:
        sent["messageAttributes"] = message
    read, response, _ = Responder(SandboxOptions()).decide(incoming(CUSTOMER, sent))
    assert response.text_sent == (response.http_status == 200)
    received = ReceivedRequest(1, 0.0, 0.0, DEPARTMENT, USER, CUSTOMER, Submission.of(read), response)
    assert json.loads(json.dumps(received.as_json()))["textLeft"] == response.text_sent
