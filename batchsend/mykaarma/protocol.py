"""The myKaarma send-text API: builds requests and judges answers. Pure functions.

Source: the API's reference page "How to send a text to customer", and answers observed from the service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from batchsend.campaigns.campaign import Campaign
from batchsend.statuses import Code, Status

#: The permission that an account needs for sending texts, as myKaarma calls it.
SENDING_SCOPE = "message.create"
#: The most codes taken from an answer, because they go into cells of a workbook.
_MOST_ENTRIES = 20

#: The error codes of the send-text API that are known. It may give others, which are recorded in the same way.
API_CODES = frozenset(
    {
        "CREDENTIALS_ARE_NULL",
        "CUSTOMER_LOCKED",
        "DEALERSHIP_HOLIDAY",
        "INTERNAL_SERVER_ERROR",
        "INVALID_COMMUNICATION_VALUE",
        "INVALID_CUSTOMER",
        "INVALID_SERVICE_SUBSCRIBER",
        "INVALID_USER",
        "MESSAGE_ALREADY_SENT",
        "MISSING_IS_MANUAL",
        "MISSING_MESSAGE_ATTRIBUTES",
        "MISSING_MESSAGE_BODY",
        "MISSING_MESSAGE_PROTOCOL",
        "MISSING_MESSAGE_TYPE",
        "NOT_AUTHORIZED_REQUEST",
        "OPTED_OUT_COMMUNICATION_VALUE",
        "TWILIO_SENDING_FAILURE",
        "USER_DOES_NOT_HAVE_AUTHORITY",
        "WRONG_CREDENTIAL",
    }
)
#: Refusals that would affect every later row too.
_ABOUT_THE_SENDER = frozenset({"INVALID_USER", "USER_DOES_NOT_HAVE_AUTHORITY", "DEALERSHIP_HOLIDAY"})
_SENDER_ADVICE = {
    "INVALID_USER": (
        "myKaarma does not know this user in this department. Correct the user's id, or the department's"
    ),
    "USER_DOES_NOT_HAVE_AUTHORITY": (
        "this user may not text for this department. Choose another user, or ask myKaarma for the permission"
    ),
    "DEALERSHIP_HOLIDAY": "the dealership has a holiday today in myKaarma. Send again on a working day",
}
#: The most characters of a text in an answer, because it goes into a cell of a workbook.
LONGEST_TEXT = 500


@dataclass(frozen=True)
class SendingAttributes:
    """The request's attributes that are the same for every message of a run."""

    is_manual: bool = False
    add_tcpa_footer: bool = True
    add_signature: bool = False
    add_footer: bool = False
    send_vcard: bool = False
    send_synchronously: bool = False
    callback_url: str | None = None
    callback_metadata: Mapping[str, str] = field(default_factory=dict)


class Request(NamedTuple):
    """One text with its sender and customer. Callbacks return `identity`, which identifies the row."""

    department_uuid: str
    user_uuid: str
    customer_uuid: str
    phone: str | None
    body: str
    identity: Mapping[str, str]


class Answered(NamedTuple):
    """The outcome of a request: `accepted`, `failed` or `unconfirmed`.

    `ends_run`: why no other row can be sent either, a sentence about the request's address.
    """

    status: Status
    codes: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    warning_codes: tuple[str, ...] = ()
    message_uuid: str | None = None
    request_uuid: str | None = None
    api_status: str | None = None
    http_status: int | None = None
    ends_run: str | None = None


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Certainly not sent, and to be tried again later.

    `retry_after`: seconds that the server asks to wait. `advice`: a sentence shown if the problem lasts.
    """

    reason: str
    advice: str
    slow_down: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly not sent, and neither would be any other row, so the run stops.

    `reason` says what to change. Its further lines are for the person who looks after batchsend.
    """

    reason: str


Judgement = Answered | RetryLater | Refused


def run_identity(ledger_id: str, run: str) -> dict[str, str]:
    """The metadata that identifies a run's messages in callbacks."""
    return {"batchsendLedger": ledger_id, "batchsendRun": run}


#: The metadata of a test text: updates with it are about no row.
TRIAL_IDENTITY: Mapping[str, str] = {"batchsendTest": "true"}


def message_identity(run: Mapping[str, str], row: int, generation: int) -> dict[str, str]:
    """The metadata that identifies one message's row. `generation`: how often `--resend` opened the row."""
    return {**run, "batchsendRow": str(row), "batchsendSend": str(generation + 1)}


def request_path(request: Request) -> str:
    """The endpoint's path, relative to the base URL."""
    sender = _sender_path(request.department_uuid, request.user_uuid)
    return f"{sender}{quote(request.customer_uuid, safe='')}/message"


@lru_cache(maxsize=1024)
def _sender_path(department: str, user: str) -> str:
    return f"/communications/department/{quote(department, safe='')}/user/{quote(user, safe='')}/customer/"


def request_body(request: Request, options: SendingAttributes) -> dict[str, Any]:
    """The JSON body of one request."""
    sending: dict[str, Any] = {
        "sendSynchronously": options.send_synchronously,
        "addTCPAFooter": options.add_tcpa_footer,
        "addSignature": options.add_signature,
        "addFooter": options.add_footer,
        "sendVCard": options.send_vcard,
        "callbackMetaData": {**options.callback_metadata, **request.identity},
    }
    if request.phone:
        sending["communicationValueOfCustomer"] = request.phone
    if options.callback_url:
        sending["callbackURL"] = options.callback_url
    return {
        "messageAttributes": {
            "body": request.body,
            "isManual": options.is_manual,
            "protocol": "TEXT",
            "type": "OUTGOING",
        },
        "messageSendingAttributes": sending,
    }


def request_json(request: Request, options: SendingAttributes) -> bytes:
    """The body of one request as JSON in UTF-8."""
    return orjson.dumps(request_body(request, options))


def judge(
    http_status: int, body: bytes | None, retry_after: float | None, *, sender_per_row: bool
) -> Judgement:
    """Judges an answer. `body` is `None` if it could not be read completely; `retry_after` is in seconds.

    `sender_per_row`: the department or user comes from a list column, so a refusal of the sender affects this row
    only.
    """
    answer = json_object(body)
    if 200 <= http_status < 300 and is_web_page(body):
        return _unreadable(http_status)._replace(ends_run=web_page_words(SENDING_SCOPE))
    if 200 <= http_status < 300:
        return _judge_success(http_status, answer, sender_per_row=sender_per_row)
    if http_status < 200:
        return _unreadable(http_status)
    if http_status < 400:
        return _answered(Status.FAILED, http_status, None)
    if http_status in (429, 503):
        return _busy(http_status, retry_after)
    if http_status >= 500:
        return _answered(Status.UNCONFIRMED, http_status, answer)
    if http_status == 401:
        codes = error_codes(answer)
        named = f" ({', '.join(codes)})" if codes else ""
        return Refused(
            f"myKaarma does not accept the username and password{named}. Check both, and that this account may send "
            f"texts (scope {SENDING_SCOPE})."
        )
    if http_status == 403 and not sender_per_row:
        return Refused(
            "myKaarma does not allow this account to text for this department and user (HTTP 403). Check "
            "the ids of both, or ask myKaarma for the permission."
        )
    return _refusal(http_status, answer, sender_per_row=sender_per_row)


def is_web_page(body: bytes | None) -> bool:
    """Whether a body is HTML, which myKaarma answers where a route is not live for an account."""
    return body is not None and body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def web_page_words(scope: str) -> str:
    """What such an answer means and what to do. The sentence goes behind the address that was asked."""
    return (
        "answers with a web page instead of data, so this part of myKaarma is not open to this account. Ask myKaarma "
        f"support for the scope {scope}, and check that nothing in your network shows a sign-in page"
    )


def _busy(http_status: int, retry_after: float | None) -> RetryLater:
    if http_status == 429:
        return RetryLater(
            "myKaarma asks to slow down (HTTP 429)", "Send fewer texts a second, or later.", True, retry_after
        )
    return RetryLater("myKaarma is not available (HTTP 503)", "Try again later.", True, retry_after)


def _judge_success(http_status: int, answer: Mapping[str, Any] | None, *, sender_per_row: bool) -> Judgement:
    if answer is None:
        return _unreadable(http_status)
    status = answer.get("status")
    if status == "SUCCESS":
        return _answered(Status.ACCEPTED, http_status, answer)
    errors = answer.get("errors")
    if status == "FAILURE" or (status is None and isinstance(errors, list) and errors):
        return _refusal(http_status, answer, sender_per_row=sender_per_row)
    return _unreadable(http_status, answer)


def _unreadable(http_status: int, answer: Mapping[str, Any] | None = None) -> Answered:
    return _answered(Status.UNCONFIRMED, http_status, answer, ours=Code.BAD_RESPONSE)


def _refusal(http_status: int, answer: Mapping[str, Any] | None, *, sender_per_row: bool) -> Judgement:
    codes = error_codes(answer)
    about_sender = [code for code in codes if code in _ABOUT_THE_SENDER or code.startswith("MISSING_")]
    if about_sender and not sender_per_row:
        code = about_sender[0]
        advice = _SENDER_ADVICE.get(
            code, "myKaarma reports a missing value in the request. Please report this"
        )
        return Refused(f"{code}: {advice}. No text was sent for this row, and the other rows wait.")
    return _answered(Status.FAILED, http_status, answer)


def _answered(
    status: Status, http_status: int, answer: Mapping[str, Any] | None, ours: Code | None = None
) -> Answered:
    codes, descriptions = _codes(answer)
    if ours is not None:
        codes = (ours, *codes)
    elif not codes and status is not Status.ACCEPTED:
        codes = (f"HTTP_{http_status}",)
    answer = answer or {}
    return Answered(
        status=status,
        codes=codes,
        descriptions=descriptions,
        warning_codes=_entries(answer.get("warnings"), "warningCode"),
        message_uuid=short_text(answer.get("messageUUID")),
        request_uuid=short_text(answer.get("requestUUID")),
        api_status=short_text(answer.get("status")),
        http_status=http_status,
    )


def error_codes(answer: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The error codes of an answer, in its order."""
    return _codes(answer)[0]


def _codes(answer: Mapping[str, Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    errors = (answer or {}).get("errors")
    return _entries(errors, "errorCode"), _entries(errors, "errorDescription")


def _entries(entries: object, name: str) -> tuple[str, ...]:
    """The texts under `name` in a list of objects; other entries are ignored."""
    if not isinstance(entries, list):
        return ()
    found = (short_text(entry.get(name)) for entry in entries if isinstance(entry, Mapping))
    return tuple(islice((text for text in found if text), _MOST_ENTRIES))


def json_object(body: bytes | None) -> Mapping[str, Any] | None:
    """The object of an answer's body; `None` if it has none."""
    answer = json_value(body) if body is not None else None
    return answer if isinstance(answer, dict) else None


def json_value(body: bytes) -> object:
    """The JSON of an answer's body; `None` if it has none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # `orjson` accepts strict UTF-8 only; `json` also accepts a byte order mark.
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


def attributes_of(campaign: Campaign) -> SendingAttributes:
    """The attributes that the campaign file sets for every message."""
    message = campaign.message
    return SendingAttributes(
        is_manual=message.is_manual,
        add_tcpa_footer=message.add_tcpa_footer,
        add_signature=message.add_signature,
        add_footer=message.add_footer,
        send_vcard=message.send_vcard,
        send_synchronously=message.send_synchronously,
        callback_url=str(message.callback_url) if message.callback_url else None,
        callback_metadata=message.callback_metadata,
    )


def request_of(row: Mapping[str, Any], run: Mapping[str, str]) -> Request:
    """The request for one row of the ledger's `messages` that has a text; `run`: the result of `run_identity`."""
    return Request(
        department_uuid=row["department_uuid"],
        user_uuid=row["user_uuid"],
        customer_uuid=row["customer_uuid"],
        phone=row["phone"],
        body=row["body"],
        identity=message_identity(run, row["row"], row["generation"]),
    )


def short_text(value: object) -> str | None:
    """The text, shortened, without characters that a database or workbook refuses; `None` if it is no text."""
    if not isinstance(value, str):
        return None
    beginning = value[: 2 * LONGEST_TEXT]
    # A shortcut for nearly every text; each answer has several.
    if beginning.isprintable():
        printable = beginning
    else:
        printable = "".join(char if char.isprintable() else " " for char in beginning)
    return " ".join(printable.split())[:LONGEST_TEXT] or None
