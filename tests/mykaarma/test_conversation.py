"""Reading conversations in any shape: their messages, and the answers that are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from batchsend.mykaarma.conversation import (
    PAGE_MESSAGES,
    PERMISSION,
    Conversation,
    ConversationAnswer,
    ConversationMessage,
    ConversationQuery,
    Direction,
    conversation_body,
    conversation_path,
    judge_conversation,
    oldest,
    read_message,
)
from batchsend.mykaarma.protocol import Refused, RetryLater
from batchsend.mykaarma.reading import NotRead
from batchsend.mykaarma.updates import UpdateOutcome
from batchsend.statuses import Status

URL = "https://api.example.com/message/list"
NOW = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
AT = datetime(2026, 11, 27, 18, 29, 58, tzinfo=UTC)
SENT = {
    "uuid": "m-1",
    "messageType": "S",
    "protocol": "X",
    "sentOn": "2026-11-27T18:29:58+0000",
    "isManual": False,
    "deliveryStatus": "DELIVERED",
    "fromNumber": "+13125550100",
    "toNumber": "+13125550123",
    "messageExtnDTO": {"messageBody": "Hi Ann\nText STOP to opt-out"},
}
SENT_MESSAGE = ConversationMessage(
    "m-1",
    Direction.SENT,
    AT,
    "Hi Ann\nText STOP to opt-out",
    "+13125550123",
    False,
    UpdateOutcome(Status.DELIVERED),
)
RECEIVED = {
    "uuid": "m-2",
    "messageType": "R",
    "protocol": "TEXT",
    "receivedOn": 1795804198000,
    "fromNumber": "+13125550123",
    "toNumber": "+13125550100",
    "body": "STOP",
}
RECEIVED_MESSAGE = ConversationMessage("m-2", Direction.RECEIVED, AT, "STOP", "+13125550123")


def judged(answer: object, status: int = 200, **headers: str) -> ConversationAnswer:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return judge_conversation(URL, status, body, CIMultiDict(headers), NOW)


def messages(answer: object) -> tuple[ConversationMessage, ...]:
    read = judged(answer)
    assert isinstance(read, Conversation)
    return read.messages


@pytest.mark.parametrize(
    "wrap",
    [
        lambda found: found,
        lambda found: {"messages": found, "errors": None},
        lambda found: {"errors": [], "result": {"messageList": [{"messageDTO": one} for one in found]}},
        lambda found: {"data": {"conversation": {"content": found, "page": 1}}},
        lambda found: {"messagesByDay": {str(n): [one] for n, one in enumerate(found)}},
    ],
)
def test_messages_are_found_in_any_wrapper(wrap: Any) -> None:
    assert messages(wrap([SENT, RECEIVED])) == (SENT_MESSAGE, RECEIVED_MESSAGE)


@pytest.mark.parametrize(
    "nothing", [[], {}, {"messages": []}, {"messages": None, "errors": None}, {"errors": []}]
)
def test_a_conversation_may_be_empty(nothing: object) -> None:
    assert judged(nothing) == Conversation(())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"messageType": "I"}, {"direction": Direction.RECEIVED, "phone": "+13125550100"}),
        ({"messageType": "OUTGOING"}, {"direction": Direction.SENT}),
        ({"messageType": "note"}, {"direction": None}),
        ({"messageType": None}, {"direction": None}),
        ({"sentOn": "2026-11-27T12:29:58-06:00"}, {"at": AT}),
        ({"sentOn": "2026-11-27T18:29:58Z"}, {"at": AT}),
        ({"sentOn": 1795804198}, {"at": AT}),
        ({"sentOn": "1795804198000"}, {"at": AT}),
        ({"sentOn": None, "receivedOn": 1795804198000}, {"at": AT}),
        # A time without a zone could be any of 24 hours.
        ({"sentOn": "2026-11-27 18:29:58"}, {"at": None}),
        ({"sentOn": "yesterday"}, {"at": None}),
        ({"sentOn": 10**30}, {"at": None}),
        ({"sentOn": "9" * 5000}, {"at": None}),
        # Null dates.
        ({"sentOn": "0001-01-01T00:00:00Z"}, {"at": None}),
        ({"sentOn": -62135596800}, {"at": None}),
        ({"sentOn": "0001-01-01T00:00:00Z", "receivedOn": 1795804198000}, {"at": AT}),
        ({"sentOn": "9999-12-31T23:59:59-12:00"}, {"at": None}),
        ({"sentOn": True}, {"at": None}),
        ({"deliveryStatus": None}, {"outcome": None}),
        (
            {"deliveryStatus": "FAILED", "twilioDeliveryFailureMessage": "30003 Unreachable"},
            {"outcome": UpdateOutcome(Status.UNDELIVERED, "", "30003 Unreachable")},
        ),
        ({"deliveryStatus": "QUEUED"}, {"outcome": UpdateOutcome(Status.ACCEPTED)}),
        ({"messageExtnDTO": None, "body": "Hi"}, {"body": "Hi"}),
        ({"messageExtnDTO": {"message_body": "Hi"}}, {"body": "Hi"}),
        ({"messageExtnDTO": None}, {"body": None}),
        ({"isManual": "true"}, {"is_manual": None}),
        ({"toNumber": " "}, {"phone": None}),
    ],
)
def test_facts_of_a_message(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    message = read_message({**SENT, **changes})
    assert message is not None
    assert {name: getattr(message, name) for name in expected} == expected


@pytest.mark.parametrize(
    "changes", [{"protocol": "E"}, {"protocol": "EMAIL"}, {"isDraft": True}, {"uuid": None}]
)
def test_what_is_no_text_is_left_out(changes: dict[str, Any]) -> None:
    assert messages([{**SENT, **changes}, RECEIVED]) == (RECEIVED_MESSAGE,)


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_permission_is_named(status: int) -> None:
    refused = judged({"errors": [{"errorCode": "NOT_AUTHORIZED_REQUEST"}]}, status)
    assert isinstance(refused, Refused)
    assert PERMISSION.scope in refused.reason
    assert URL in refused.reason


PAGE = b"<!DOCTYPE html><title>Sign in</title>"
#: Bodies that are neither a page nor a conversation.
UNREADABLE = [b"", b"OK", b'"text"', b"null"]


@pytest.mark.parametrize(
    ("status", "body"), [*product([200, 302, 404], [PAGE]), *product([302, 405], UNREADABLE)]
)
def test_a_page_instead_of_a_conversation_is_a_refusal(status: int, body: bytes) -> None:
    refused = judged(body, status)
    assert isinstance(refused, Refused)
    assert PERMISSION.scope in refused.reason


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_some_answers_are_worth_another_try(status: int) -> None:
    assert judged(b"<html>", status, **{"Retry-After": "7"}) == RetryLater(
        f"myKaarma does not answer now (HTTP {status})", "Try again later.", status == 429, 7
    )


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"errors": [{"errorCode": "INVALID_CUSTOMER"}]}),
        (400, {"errors": [{"errorCode": "INVALID_CUSTOMER"}]}),
        (404, {"errors": [{"errorCode": "INVALID_CUSTOMER"}]}),
        (500, b"<html>"),
        *product([200, 204, 404], UNREADABLE),
    ],
)
def test_one_conversation_that_cannot_be_read(status: int, answer: object) -> None:
    assert isinstance(judged(answer, status), NotRead)


def test_a_full_page_may_have_older_messages_behind_it() -> None:
    page = [{**SENT, "uuid": f"m-{n}"} for n in range(PAGE_MESSAGES)]
    full, part = judged(page), judged(page[1:])
    assert isinstance(full, Conversation)
    assert isinstance(part, Conversation)
    assert (full.is_full, part.is_full) == (True, False)


def test_the_date_of_an_answer_tells_the_servers_clock() -> None:
    read = judged([], Date="Fri, 27 Nov 2026 18:32:00 GMT")
    assert isinstance(read, Conversation)
    assert read.clock_ahead == timedelta(minutes=2, seconds=0.5)


def test_a_request_for_older_messages() -> None:
    query = ConversationQuery("dep", "u/r", "-cus", AT, ("m-1",))
    assert conversation_path(query) == "/communications/department/dep/user/u%2Fr/customer/-cus/message/list"
    assert conversation_body(query) == {
        "protocolsSupported": ["TEXT"],
        "maxResults": PAGE_MESSAGES,
        "fetchDrafts": False,
        "lastMessageReceivedOn": "2026-11-27T18:29:58+0000",
        "messageUuidsReceivedAtSameTime": ["m-1"],
    }


def test_the_oldest_of_messages_is_unknown_if_one_has_no_time() -> None:
    later = ConversationMessage("m-3", Direction.SENT, NOW, "Hi")
    assert oldest([later, SENT_MESSAGE]) == AT
    assert oldest([later, ConversationMessage("m-4", None, None, None)]) is None
    assert oldest([]) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*SENT, *RECEIVED, "x"]), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([200, 201, 302, 400, 403, 404, 429, 500, 503]))
def test_no_answer_raises(answer: object, status: int) -> None:
    judged(answer, status)
