"""How every kind of answer is judged. `tests/acceptance/test_faults.py` tests the same over a network."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchsend.mykaarma.protocol import (
    Answered,
    Judgement,
    Refused,
    Request,
    RetryLater,
    SendingAttributes,
    judge,
    request_body,
    request_path,
)
from batchsend.mykaarma.retry_after import LONGEST_RETRY_AFTER, retry_seconds, server_time
from batchsend.statuses import Status

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def errors(*codes: str, **rest: Any) -> dict[str, Any]:
    return {"errors": [{"errorCode": code, "errorDescription": f"About {code}"} for code in codes], **rest}


def judged(status: int, body: object, *, sender_per_row: bool = False) -> Judgement:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return judge(status, content, None, sender_per_row=sender_per_row)


def short(judgement: Judgement) -> tuple[str, ...]:
    """A judgement as it is written in the tables."""
    match judgement:
        case Answered():
            ends = () if judgement.ends_run is None else ("ends the run",)
            return (judgement.status, *judgement.codes, *ends)
        case RetryLater():
            return ("waits",)
        case Refused():
            return ("stops",)


SUCCESS = {"status": "SUCCESS", "messageUUID": "m-1", "requestUUID": "r-1", "errors": None, "warnings": []}

TABLE = [
    # 2xx SUCCESS
    (200, SUCCESS, ("accepted",)),
    (201, SUCCESS, ("accepted",)),
    (202, {"status": "SUCCESS"}, ("accepted",)),
    # Accepted with codes, which are recorded.
    (200, errors("TWILIO_SENDING_FAILURE", status="SUCCESS"), ("accepted", "TWILIO_SENDING_FAILURE")),
    # 2xx FAILURE, or errors without a status
    (200, errors("INVALID_CUSTOMER", status="FAILURE"), ("failed", "INVALID_CUSTOMER")),
    (200, errors("A", "B", status="FAILURE"), ("failed", "A", "B")),
    (200, {"status": "FAILURE", "errors": []}, ("failed", "HTTP_200")),
    (200, {"status": "FAILURE", "errors": None}, ("failed", "HTTP_200")),
    (200, {"status": "FAILURE"}, ("failed", "HTTP_200")),
    (200, errors("CUSTOMER_LOCKED"), ("failed", "CUSTOMER_LOCKED")),
    (200, errors("CUSTOMER_LOCKED", status=None), ("failed", "CUSTOMER_LOCKED")),
    # 2xx, anything else
    (200, b"", ("unconfirmed", "BAD_RESPONSE")),
    (204, b"", ("unconfirmed", "BAD_RESPONSE")),
    (200, None, ("unconfirmed", "BAD_RESPONSE")),
    (200, b"<html>Welcome</html>", ("unconfirmed", "BAD_RESPONSE", "ends the run")),
    (200, b"\xef\xbb\xbf\r\n<!DOCTYPE html>", ("unconfirmed", "BAD_RESPONSE", "ends the run")),
    (200, b'{"status": "SUCCESS"', ("unconfirmed", "BAD_RESPONSE")),
    (200, b"\xff\xfe\x00", ("unconfirmed", "BAD_RESPONSE")),
    (200, b"[" * 100_000, ("unconfirmed", "BAD_RESPONSE")),
    (200, {}, ("unconfirmed", "BAD_RESPONSE")),
    (200, [], ("unconfirmed", "BAD_RESPONSE")),
    (200, [SUCCESS], ("unconfirmed", "BAD_RESPONSE")),
    (200, "SUCCESS", ("unconfirmed", "BAD_RESPONSE")),
    (200, {"status": "success"}, ("unconfirmed", "BAD_RESPONSE")),
    (200, {"status": "QUEUED"}, ("unconfirmed", "BAD_RESPONSE")),
    (200, {"status": True}, ("unconfirmed", "BAD_RESPONSE")),
    (200, {"errors": []}, ("unconfirmed", "BAD_RESPONSE")),
    (200, {"errors": None}, ("unconfirmed", "BAD_RESPONSE")),
    (200, {"errors": "INVALID_CUSTOMER"}, ("unconfirmed", "BAD_RESPONSE")),
    (200, errors("PENDING_REVIEW", status="QUEUED"), ("unconfirmed", "BAD_RESPONSE", "PENDING_REVIEW")),
    (101, b"", ("unconfirmed", "BAD_RESPONSE")),
    # 3xx
    (301, b"", ("failed", "HTTP_301")),
    (302, SUCCESS, ("failed", "HTTP_302")),
    (307, b"", ("failed", "HTTP_307")),
    # 4xx
    (400, errors("INVALID_CUSTOMER"), ("failed", "INVALID_CUSTOMER")),
    (400, errors("OPTED_OUT_COMMUNICATION_VALUE"), ("failed", "OPTED_OUT_COMMUNICATION_VALUE")),
    (400, errors("SOMETHING_NEW", status="FAILURE"), ("failed", "SOMETHING_NEW")),
    (400, {"errors": None}, ("failed", "HTTP_400")),
    (400, b"Bad Request", ("failed", "HTTP_400")),
    (404, b"<html>", ("failed", "HTTP_404")),
    (409, errors("MESSAGE_ALREADY_SENT"), ("failed", "MESSAGE_ALREADY_SENT")),
    (413, b"", ("failed", "HTTP_413")),
    (422, {}, ("failed", "HTTP_422")),
    (418, None, ("failed", "HTTP_418")),
    # A 4xx is a refusal even if it says SUCCESS.
    (400, SUCCESS, ("failed", "HTTP_400")),
    # about the account
    (401, errors("WRONG_CREDENTIAL"), ("stops",)),
    (401, b"", ("stops",)),
    (403, b"<html>Forbidden", ("stops",)),
    (403, errors("INVALID_CUSTOMER"), ("stops",)),
    # about the sender or the day
    (200, errors("INVALID_USER", status="FAILURE"), ("stops",)),
    (400, errors("INVALID_USER"), ("stops",)),
    (400, errors("USER_DOES_NOT_HAVE_AUTHORITY"), ("stops",)),
    (200, errors("DEALERSHIP_HOLIDAY", status="FAILURE"), ("stops",)),
    (400, errors("MISSING_MESSAGE_ATTRIBUTES"), ("stops",)),
    (422, errors("MISSING_MESSAGE_TYPE"), ("stops",)),
    (200, errors("MISSING_SOMETHING_NEW"), ("stops",)),
    # the same as one of several reasons
    (400, errors("INVALID_CUSTOMER", "INVALID_USER"), ("stops",)),
    # wait
    (429, b"", ("waits",)),
    (429, errors("INVALID_USER"), ("waits",)),
    (503, b"<html>", ("waits",)),
    # the outcome is unknown
    (500, errors("INTERNAL_SERVER_ERROR"), ("unconfirmed", "INTERNAL_SERVER_ERROR")),
    (500, b"<html>", ("unconfirmed", "HTTP_500")),
    # A 5xx is not a refusal: the text may have been sent.
    (500, errors("MISSING_MESSAGE_ATTRIBUTES"), ("unconfirmed", "MISSING_MESSAGE_ATTRIBUTES")),
    (500, SUCCESS, ("unconfirmed", "HTTP_500")),
    (502, b"<html>", ("unconfirmed", "HTTP_502")),
    (504, None, ("unconfirmed", "HTTP_504")),
    (507, {}, ("unconfirmed", "HTTP_507")),
    (999, b"", ("unconfirmed", "HTTP_999")),
]

#: If the department or user comes from the list, a refusal of the sender affects one row only.
SENDER_PER_ROW = [
    (403, b"", ("failed", "HTTP_403")),
    (403, errors("USER_DOES_NOT_HAVE_AUTHORITY"), ("failed", "USER_DOES_NOT_HAVE_AUTHORITY")),
    (200, errors("INVALID_USER", status="FAILURE"), ("failed", "INVALID_USER")),
    (400, errors("USER_DOES_NOT_HAVE_AUTHORITY"), ("failed", "USER_DOES_NOT_HAVE_AUTHORITY")),
    (400, errors("DEALERSHIP_HOLIDAY"), ("failed", "DEALERSHIP_HOLIDAY")),
    (400, errors("MISSING_MESSAGE_BODY"), ("failed", "MISSING_MESSAGE_BODY")),
    # All rows use the same credentials.
    (401, errors("WRONG_CREDENTIAL"), ("stops",)),
    (503, b"", ("waits",)),
    (200, SUCCESS, ("accepted",)),
]


@pytest.mark.parametrize(("status", "body", "expected"), TABLE)
def test_an_answer(status: int, body: object, expected: tuple[str, ...]) -> None:
    assert short(judged(status, body)) == expected


@pytest.mark.parametrize(("status", "body", "expected"), SENDER_PER_ROW)
def test_an_answer_if_the_sender_comes_from_columns(
    status: int, body: object, expected: tuple[str, ...]
) -> None:
    assert short(judged(status, body, sender_per_row=True)) == expected


def test_everything_in_an_answer_is_kept() -> None:
    warned = {
        **SUCCESS,
        "warnings": [{"warningCode": "W_1", "warningDescription": "?"}, {"warningCode": "W_2"}],
    }
    assert judged(200, warned) == Answered(
        Status.ACCEPTED,
        warning_codes=("W_1", "W_2"),
        message_uuid="m-1",
        request_uuid="r-1",
        api_status="SUCCESS",
        http_status=200,
    )
    refused = judged(400, {**errors("A", "B"), "requestUUID": "r-2", "messageUUID": None})
    assert refused == Answered(
        Status.FAILED, ("A", "B"), ("About A", "About B"), request_uuid="r-2", http_status=400
    )


@pytest.mark.parametrize(
    "entries",
    [
        "INVALID_CUSTOMER",
        {"errorCode": "X"},
        7,
        [None, 3, "X", ["X"], {}],
        [{"errorCode": None}, {"errorCode": 17}, {"errorCode": ""}, {"errorCode": ["X"]}, {"code": "X"}],
    ],
)
def test_errors_in_other_shapes_give_no_codes(entries: object) -> None:
    assert short(judged(400, {"errors": entries})) == ("failed", "HTTP_400")


def test_stored_codes_are_limited_and_storable() -> None:
    body = errors(*[f"CODE_{number}" for number in range(1000)])
    body["errors"][0] = {"errorCode": "\ud800A\x00B\r\nC", "errorDescription": "long " * 10_000}
    judgement = judged(400, body)
    assert isinstance(judgement, Answered)
    assert judgement.codes[:2] == ("A B C", "CODE_1")
    assert len(judgement.codes) == 20
    assert len(judgement.descriptions[0]) == 500


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, errors("WRONG_CREDENTIAL"), ["(WRONG_CREDENTIAL)", "username and password", "Check both"]),
        (401, b"", ["username and password", "scope message.create"]),
        (403, b"", ["HTTP 403", "department and user", "ids of both"]),
        (400, errors("INVALID_USER"), ["INVALID_USER", "Correct the user's id"]),
        (
            400,
            errors("USER_DOES_NOT_HAVE_AUTHORITY"),
            ["USER_DOES_NOT_HAVE_AUTHORITY", "another user"],
        ),
        (400, errors("DEALERSHIP_HOLIDAY"), ["DEALERSHIP_HOLIDAY", "working day"]),
        (400, errors("MISSING_IS_MANUAL"), ["MISSING_IS_MANUAL", "report"]),
    ],
)
def test_a_stop_says_what_to_change(status: int, body: object, words: list[str]) -> None:
    judgement = judged(status, body)
    assert isinstance(judgement, Refused)
    for word in words:
        assert word in judgement.reason


@given(
    status=st.integers(100, 999),
    body=st.one_of(
        st.none(),
        st.binary(max_size=50),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just("SUCCESS"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["status", "errors", "errorCode", "errorDescription", "messageUUID", "warnings"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    sender_per_row=st.booleans(),
)
def test_any_answer_is_judged_and_only_success_is_accepted(
    status: int, body: bytes | None, sender_per_row: bool
) -> None:
    judgement = judge(status, body, None, sender_per_row=sender_per_row)
    if isinstance(judgement, Answered) and judgement.status is Status.ACCEPTED:
        assert 200 <= status < 300
        assert json.loads(body or b"")["status"] == "SUCCESS"
    elif isinstance(judgement, Answered):
        assert judgement.status in (Status.FAILED, Status.UNCONFIRMED)
        assert judgement.codes
        # A text that may have been sent is not called refused.
        assert judgement.status is Status.UNCONFIRMED or status < 500


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("0.5", 0.5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30),
        ("Sun Mar  1 12:00:30 2026", 30),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30),
        # no request to wait
        ("0", None),
        ("-5", None),
        ("Sun, 01 Mar 2026 11:59:00 GMT", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
        # cut to the longest wait
        ("86400", LONGEST_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_seconds(header, NOW) == seconds


@given(st.text(max_size=40))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("9" * 400)
def test_the_wait_of_any_retry_after_is_limited(header: str) -> None:
    seconds = retry_seconds(header, NOW)
    assert seconds is None or 0 < seconds <= LONGEST_RETRY_AFTER


@pytest.mark.parametrize("wrong_by", [timedelta(hours=-3), timedelta(hours=3)])
def test_dates_follow_the_servers_clock_if_ours_is_wrong(wrong_by: timedelta) -> None:
    now = server_time("Sun, 01 Mar 2026 12:00:00 GMT", NOW + wrong_by)
    assert retry_seconds("Sun, 01 Mar 2026 12:00:30 GMT", now) == 30


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_usable_date_our_clock_counts(date: str | None) -> None:
    assert server_time(date, NOW) == NOW


REQUEST = Request("dep", "-user_", "a/b?c", "+13125550190", 'Hi "Ann" — ok?', {"batchsendRow": "2"})


def test_a_path_names_department_user_and_customer() -> None:
    assert request_path(REQUEST) == "/communications/department/dep/user/-user_/customer/a%2Fb%3Fc/message"


def test_a_request_has_the_shape_of_the_reference_page() -> None:
    assert request_body(REQUEST, SendingAttributes(callback_url="https://x.example/y")) == {
        "messageAttributes": {
            "body": 'Hi "Ann" — ok?',
            "isManual": False,
            "protocol": "TEXT",
            "type": "OUTGOING",
        },
        "messageSendingAttributes": {
            "sendSynchronously": False,
            "addTCPAFooter": True,
            "addSignature": False,
            "addFooter": False,
            "sendVCard": False,
            "callbackMetaData": {"batchsendRow": "2"},
            "communicationValueOfCustomer": "+13125550190",
            "callbackURL": "https://x.example/y",
        },
    }


def test_without_a_phone_the_api_chooses_it() -> None:
    request = Request("d", "u", "c", None, "Hi", {})
    sending = request_body(request, SendingAttributes())["messageSendingAttributes"]
    assert "communicationValueOfCustomer" not in sending
    assert "callbackURL" not in sending


def test_the_metadata_that_identifies_a_message_cannot_be_overwritten() -> None:
    options = SendingAttributes(callback_metadata={"batchsendRow": "mine", "source": "spring"})
    sending = request_body(REQUEST, options)["messageSendingAttributes"]
    assert sending["callbackMetaData"] == {"batchsendRow": "2", "source": "spring"}
