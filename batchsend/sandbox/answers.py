"""What the sandbox answers, and the customers that provoke particular answers.

`PROVOCATIONS` is the one table: the server looks customers up in it, its page and the manual print it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum, auto
from http import HTTPStatus

from batchsend.sandbox.checks import Fault
from batchsend.sandbox.updates import TextOutcome

#: A customer UUID with this beginning is looked up in `PROVOCATIONS`; all others are ordinary customers.
PREFIX = "sandbox-"

#: Behind the prefix of a provocation whose `outcome_is_open`: the text leaves, and the client cannot know.
SENT = "-sent"

#: Seconds that `sandbox-slow` takes.
SLOW = 5.0

_JSON = {"Content-Type": "application/json"}
_HTML = {"Content-Type": "text/html; charset=utf-8"}


class ReplyEnding(Enum):
    """How a request ends for the client."""

    ANSWERED = auto()
    DROPPED = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client gets, and whether a text left."""

    http_status: int | None
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    #: Set exactly where a text left, even if the client never learns it.
    message_uuid: str | None = None
    ending: ReplyEnding = ReplyEnding.ANSWERED
    #: Seconds before the answer, beside the sandbox's latency.
    delay: float = 0.0

    @property
    def text_left(self) -> bool:
        return self.message_uuid is not None

    def with_text(self) -> Reply:
        """The same for the client, but the text left."""
        return replace(self, message_uuid=new_uuid())


def new_uuid() -> str:
    """An identifier as the service makes them: 43 characters of base64url; it may begin with `-` or `_`."""
    return secrets.token_urlsafe(32)


def accepted(customer: str, warning: tuple[str, str] | None = None) -> Reply:
    """200 SUCCESS; `warning` is (code, description)."""
    message_uuid = new_uuid()
    body = {
        "customerUUID": customer,
        "errors": None,
        "messageUUID": message_uuid,
        "metaData": None,
        "requestUUID": new_uuid(),
        "status": "SUCCESS",
        "warnings": warning and [{"warningCode": warning[0], "warningDescription": warning[1]}],
    }
    return Reply(200, json.dumps(body), _JSON, message_uuid=message_uuid)


def failure(customer: str, errors: Iterable[tuple[str, str]]) -> Reply:
    """200 FAILURE with the reasons as (code, description); without any, `errors` is null."""
    errors = tuple(errors)
    body = {
        "customerUUID": customer,
        "errors": [_error(*error) for error in errors] or None,
        "messageUUID": None,
        "metaData": None,
        "requestUUID": new_uuid(),
        "status": "FAILURE",
        "warnings": None,
    }
    return Reply(200, json.dumps(body), _JSON, tuple(code for code, _ in errors))


def refused(faults: Iterable[Fault], headers: dict[str, str] | None = None) -> Reply:
    """An error status with the reasons and, as the service often does it, no `status`.

    The first fault decides the HTTP status, but a 500 wins.
    """
    faults = tuple(faults)
    http_status = 500 if any(fault.http_status == 500 for fault in faults) else faults[0].http_status
    body = {
        "errors": [_error(fault.code, fault.description) for fault in faults],
        "requestUUID": new_uuid(),
    }
    if http_status == 401:
        headers = {"WWW-Authenticate": 'Basic realm="batchsend sandbox"', **(headers or {})}
    codes = tuple(fault.code for fault in faults)
    return Reply(http_status, json.dumps(body), {**_JSON, **(headers or {})}, codes)


def too_many_requests(headers: dict[str, str]) -> Reply:
    """429; `headers` may hold a `Retry-After`."""
    return refused(
        [Fault(429, "TOO_MANY_REQUESTS", "Too many requests: slow down, then try again.")], headers
    )


def gateway_page(http_status: int, headers: dict[str, str] | None = None) -> Reply:
    """The HTML page of a gateway in front of the service."""
    title = f"{http_status} {HTTPStatus(http_status).phrase}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Reply(http_status, page, {**_HTML, **(headers or {})})


def _error(code: str, description: str) -> dict[str, str]:
    return {"errorCode": code, "errorDescription": description, "errorUID": new_uuid()}


def _in_two_seconds() -> str:
    # An HTTP date has whole seconds: two from now are at least one from now.
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


@dataclass(frozen=True, slots=True)
class Provocation:
    """Customers whose UUID begins with `prefix`, and the answer they provoke."""

    prefix: str
    sentence: str
    answer: Callable[[str], Reply]
    #: Only a customer's first request is answered so, the later ones are accepted.
    first_only: bool = False
    #: The client cannot know whether the text left: it does where `SENT` follows the prefix, else not.
    outcome_is_open: bool = False
    #: One of the answers that `error_rate` draws from.
    drawn: bool = False
    #: What becomes of the text later, where updates are sent; None leaves it to chance.
    fate: TextOutcome | None = None

    def provoke(self, customer: str, *, sent: bool) -> Reply:
        """The answer for `customer`; `sent` decides where the outcome is open, and nowhere else."""
        answer = self.answer(customer)
        return answer.with_text() if sent and self.outcome_is_open else answer

    def asks_for_text(self, customer: str) -> bool:
        """Whether the customer's UUID says that the text leaves where the outcome is open."""
        return customer.startswith(self.prefix + SENT)


def _refusal(http_status: int, code: str, description: str) -> Callable[[str], Reply]:
    return lambda _: refused([Fault(http_status, code, description)])


_OPTED_OUT = _refusal(400, "OPTED_OUT_COMMUNICATION_VALUE", "The customer has opted out of text messages.")
_INVALID_NUMBER = _refusal(
    400, "INVALID_COMMUNICATION_VALUE", "The phone number is not one of the customer's valid numbers."
)
_INVALID_CUSTOMER = _refusal(
    400, "INVALID_CUSTOMER", "The department has no customer with this customer UUID."
)
_LOCKED = _refusal(400, "CUSTOMER_LOCKED", "The customer is locked.")
_ALREADY_SENT = _refusal(400, "MESSAGE_ALREADY_SENT", "This message was sent before.")
_UNKNOWN_CODE = _refusal(400, "SANDBOX_UNHEARD_OF", "A reason that no list of error codes has.")
_HOLIDAY = _refusal(400, "DEALERSHIP_HOLIDAY", "The dealership has a holiday today.")
_BAD_USER = _refusal(400, "INVALID_USER", "The department has no user with this user UUID.")
_NO_AUTHORITY = _refusal(
    400, "USER_DOES_NOT_HAVE_AUTHORITY", "The user may not send texts for this department."
)
_UNAUTHORIZED = _refusal(
    401, "NOT_AUTHORIZED_REQUEST", "The service subscriber may not send texts for this department."
)
_FORBIDDEN = _refusal(403, "NOT_AUTHORIZED_REQUEST", "Access to this department is forbidden.")
_INTERNAL = _refusal(500, "INTERNAL_SERVER_ERROR", "Something went wrong inside the service.")
_TWILIO = ("TWILIO_SENDING_FAILURE", "The text-sending service did not take the message.")
_NO_NUMBER = ("INVALID_COMMUNICATION_VALUE", "The customer has no valid phone number.")
_WARNING = ("SANDBOX_WARNING", "The text was accepted, but something about it deserves a look.")

PROVOCATIONS: tuple[Provocation, ...] = (
    Provocation("sandbox-opted-out", "400 OPTED_OUT_COMMUNICATION_VALUE.", _OPTED_OUT, drawn=True),
    Provocation("sandbox-invalid-number", "400 INVALID_COMMUNICATION_VALUE.", _INVALID_NUMBER, drawn=True),
    Provocation("sandbox-invalid-customer", "400 INVALID_CUSTOMER.", _INVALID_CUSTOMER, drawn=True),
    Provocation("sandbox-locked", "400 CUSTOMER_LOCKED.", _LOCKED, drawn=True),
    Provocation("sandbox-already-sent", "400 MESSAGE_ALREADY_SENT.", _ALREADY_SENT),
    Provocation("sandbox-unknown-code", "400 with a code that no list has.", _UNKNOWN_CODE),
    Provocation(
        "sandbox-failure", "200 FAILURE with two codes.", lambda c: failure(c, [_TWILIO, _NO_NUMBER])
    ),
    Provocation("sandbox-failure-bare", "200 FAILURE without any code.", lambda c: failure(c, [])),
    Provocation(
        "sandbox-twilio-failure",
        "200 FAILURE, TWILIO_SENDING_FAILURE.",
        lambda c: failure(c, [_TWILIO]),
        drawn=True,
    ),
    Provocation("sandbox-warning", "200 SUCCESS with a warning.", lambda c: accepted(c, _WARNING)),
    Provocation(
        "sandbox-undelivered",
        "200 SUCCESS; an update says later that the text did not reach the phone.",
        accepted,
        fate=TextOutcome.UNDELIVERED,
    ),
    Provocation(
        "sandbox-not-sent",
        "200 SUCCESS; an update says later FAILURE, TWILIO_SENDING_FAILURE.",
        accepted,
        fate=TextOutcome.NOT_SENT,
    ),
    Provocation(
        "sandbox-opted-out-later",
        "200 SUCCESS; an update says later FAILURE, OPTED_OUT_COMMUNICATION_VALUE.",
        accepted,
        fate=TextOutcome.OPTED_OUT,
    ),
    Provocation(
        "sandbox-no-update",
        "200 SUCCESS; no update ever comes.",
        accepted,
        fate=TextOutcome.NEVER_HEARD_OF,
    ),
    Provocation("sandbox-holiday", "400 DEALERSHIP_HOLIDAY.", _HOLIDAY),
    Provocation("sandbox-bad-user", "400 INVALID_USER.", _BAD_USER),
    Provocation("sandbox-no-authority", "400 USER_DOES_NOT_HAVE_AUTHORITY.", _NO_AUTHORITY),
    Provocation("sandbox-unauthorized", "401 NOT_AUTHORIZED_REQUEST.", _UNAUTHORIZED),
    Provocation("sandbox-forbidden", "403 NOT_AUTHORIZED_REQUEST.", _FORBIDDEN),
    Provocation(
        "sandbox-429",
        "429 with “Retry-After: 1” the first time, then accepted.",
        lambda _: too_many_requests({"Retry-After": "1"}),
        first_only=True,
        drawn=True,
    ),
    Provocation(
        "sandbox-429-date",
        "429 with an HTTP date in Retry-After the first time, then accepted.",
        lambda _: too_many_requests({"Retry-After": _in_two_seconds()}),
        first_only=True,
    ),
    Provocation(
        "sandbox-429-bare",
        "429 without Retry-After the first time, then accepted.",
        lambda _: too_many_requests({}),
        first_only=True,
    ),
    Provocation(
        "sandbox-429-always",
        "429 with “Retry-After: 1”, every time.",
        lambda _: too_many_requests({"Retry-After": "1"}),
    ),
    Provocation(
        "sandbox-503",
        "503, a gateway's page, the first time, then accepted.",
        lambda _: gateway_page(503),
        first_only=True,
        drawn=True,
    ),
    Provocation(
        "sandbox-503-always",
        "503, a gateway's page, every time.",
        lambda _: gateway_page(503),
    ),
    Provocation("sandbox-500", "500 INTERNAL_SERVER_ERROR.", _INTERNAL, outcome_is_open=True, drawn=True),
    Provocation(
        "sandbox-502", "502, a gateway's page.", lambda _: gateway_page(502), outcome_is_open=True, drawn=True
    ),
    Provocation(
        "sandbox-504", "504, a gateway's page.", lambda _: gateway_page(504), outcome_is_open=True, drawn=True
    ),
    Provocation(
        "sandbox-dropped",
        "The request is read, then the connection is dropped.",
        lambda _: Reply(None, ending=ReplyEnding.DROPPED),
        outcome_is_open=True,
        drawn=True,
    ),
    Provocation(
        "sandbox-no-answer",
        "No answer ever comes.",
        lambda _: Reply(None, ending=ReplyEnding.NEVER),
        outcome_is_open=True,
    ),
    Provocation(
        "sandbox-garbage",
        "200 with JSON that breaks off.",
        lambda _: Reply(200, '{"status": "SUCC', _JSON),
        outcome_is_open=True,
    ),
    Provocation(
        "sandbox-empty", "200 with an empty object.", lambda _: Reply(200, "{}", _JSON), outcome_is_open=True
    ),
    Provocation(
        "sandbox-slow",
        f"Accepted, after {SLOW:g} seconds.",
        lambda c: replace(accepted(c), delay=SLOW),
    ),
    Provocation(
        "sandbox-redirect",
        "307 to another address.",
        lambda _: Reply(307, headers={"Location": "/moved"}),
    ),
)

DRAWN = tuple(provocation for provocation in PROVOCATIONS if provocation.drawn)

_LONGEST_FIRST = sorted(PROVOCATIONS, key=lambda provocation: len(provocation.prefix), reverse=True)


def unknown_customer(_: str) -> Reply:
    """The answer for a UUID that begins with `PREFIX` and no name in the table: most likely a slip."""
    return refused(
        [
            Fault(
                400,
                "INVALID_CUSTOMER",
                f"The sandbox has no answer for this customer UUID: the names that may follow “{PREFIX}” "
                "are listed on the sandbox's page.",
            )
        ]
    )


def provocation_of(customer: str) -> Provocation | None:
    """The table's row for a customer UUID, None for an ordinary customer. The longest prefix decides."""
    if not customer.startswith(PREFIX):
        return None
    for provocation in _LONGEST_FIRST:
        if customer.startswith(provocation.prefix):
            return provocation
    return Provocation(PREFIX, "400 INVALID_CUSTOMER.", unknown_customer)
