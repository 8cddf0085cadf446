"""Customers with a particular answer, by the beginning of their UUID.

`SCENARIOS` is the one table of them: the sandbox answers by it, and its page and the manual print it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from batchsend.sandbox.checks import Fault
from batchsend.sandbox.responses import (
    JSON_HEADERS,
    Response,
    ResponseEnding,
    accepted,
    failure,
    gateway_page,
    refused,
    sign_in_page,
    too_many_requests,
)
from batchsend.sandbox.updates import TextOutcome

#: A customer UUID with this prefix is looked up in `SCENARIOS`; all others are ordinary customers.
PREFIX = "sandbox-"

#: After the prefix of a scenario with `outcome_unknown`: the text is sent, but the client cannot know it.
SENT_SUFFIX = "-sent"

#: Seconds that `sandbox-slow` takes.
SLOW = 5.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """An answer for the customers whose UUID begins with `prefix`."""

    prefix: str
    #: For people: the sandbox's page and the manual show it.
    description: str
    response: Callable[[str], Response]
    #: Only a customer's first request gets this answer; later ones are accepted.
    first_only: bool = False
    #: The client cannot know whether the text was sent. It was if `SENT_SUFFIX` follows the prefix.
    outcome_unknown: bool = False
    #: One of the errors that the option `error_rate` draws from.
    common: bool = False
    #: What a later update reports, if updates are on; None leaves it to chance.
    text_outcome: TextOutcome | None = None

    def respond(self, customer: str, *, text_sent: bool) -> Response:
        """The response for `customer`; `text_sent` counts only if `outcome_unknown`."""
        response = self.response(customer)
        return response.with_text_sent() if text_sent and self.outcome_unknown else response

    def has_sent_suffix(self, customer: str) -> bool:
        """Whether the customer's UUID says that the text is sent although the outcome is unknown."""
        return customer.startswith(self.prefix + SENT_SUFFIX)


def _refusal(
    name: str,
    http_status: int,
    code: str,
    description: str,
    *,
    common: bool = False,
    outcome_unknown: bool = False,
) -> Scenario:
    """A scenario that answers with one error code."""
    return Scenario(
        PREFIX + name,
        f"{http_status} {code}.",
        lambda _: refused([Fault(http_status, code, description)]),
        common=common,
        outcome_unknown=outcome_unknown,
    )


def _gateway_error(http_status: int) -> Scenario:
    """A scenario that answers with a gateway's page, so that the client cannot know if the text was sent."""
    return Scenario(
        f"{PREFIX}{http_status}",
        f"{http_status} with a gateway's error page.",
        lambda _: gateway_page(http_status),
        outcome_unknown=True,
        common=True,
    )


def _in_two_seconds() -> str:
    # An HTTP date has whole seconds: two from now are at least one from now.
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


_TWILIO = ("TWILIO_SENDING_FAILURE", "The text-sending service did not take the message.")
_NO_NUMBER = ("INVALID_COMMUNICATION_VALUE", "The customer has no valid phone number.")
_WARNING = ("SANDBOX_WARNING", "The text was accepted, with a warning to check.")

SCENARIOS: tuple[Scenario, ...] = (
    # Refusals that concern one customer.
    _refusal(
        "opted-out",
        400,
        "OPTED_OUT_COMMUNICATION_VALUE",
        "The customer has opted out of text messages.",
        common=True,
    ),
    _refusal(
        "invalid-number",
        400,
        "INVALID_COMMUNICATION_VALUE",
        "The phone number is not one of the customer's valid numbers.",
        common=True,
    ),
    _refusal(
        "invalid-customer",
        400,
        "INVALID_CUSTOMER",
        "The department has no customer with this customer UUID.",
        common=True,
    ),
    _refusal("locked", 400, "CUSTOMER_LOCKED", "The customer is locked.", common=True),
    _refusal("already-sent", 400, "MESSAGE_ALREADY_SENT", "This message was sent before."),
    Scenario(
        "sandbox-unknown-code",
        "400 with an unknown code.",
        lambda _: refused([Fault(400, "SANDBOX_UNHEARD_OF", "A reason that is in no list of error codes.")]),
    ),
    Scenario("sandbox-failure", "200 FAILURE with two codes.", lambda c: failure(c, [_TWILIO, _NO_NUMBER])),
    Scenario("sandbox-failure-bare", "200 FAILURE without any code.", lambda c: failure(c, [])),
    Scenario(
        "sandbox-twilio-failure",
        "200 FAILURE, TWILIO_SENDING_FAILURE.",
        lambda c: failure(c, [_TWILIO]),
        common=True,
    ),
    # Accepted texts, and what a later update reports.
    Scenario("sandbox-warning", "200 SUCCESS with a warning.", lambda c: accepted(c, _WARNING)),
    Scenario(
        "sandbox-undelivered",
        "200 SUCCESS. A later update says that the text did not reach the phone.",
        accepted,
        text_outcome=TextOutcome.UNDELIVERED,
    ),
    Scenario(
        "sandbox-not-sent",
        "200 SUCCESS. A later update says FAILURE, TWILIO_SENDING_FAILURE.",
        accepted,
        text_outcome=TextOutcome.NOT_SENT,
    ),
    Scenario(
        "sandbox-opted-out-later",
        "200 SUCCESS. A later update says FAILURE, OPTED_OUT_COMMUNICATION_VALUE.",
        accepted,
        text_outcome=TextOutcome.OPTED_OUT,
    ),
    Scenario(
        "sandbox-no-update",
        "200 SUCCESS. No update follows.",
        accepted,
        text_outcome=TextOutcome.NO_UPDATE,
    ),
    # Refusals that concern the sender or the day: they stop a run.
    _refusal("holiday", 400, "DEALERSHIP_HOLIDAY", "The dealership has a holiday today."),
    _refusal("bad-user", 400, "INVALID_USER", "The department has no user with this user UUID."),
    _refusal(
        "no-authority",
        400,
        "USER_DOES_NOT_HAVE_AUTHORITY",
        "The user may not send texts for this department.",
    ),
    _refusal(
        "unauthorized",
        401,
        "NOT_AUTHORIZED_REQUEST",
        "The service subscriber may not send texts for this department.",
    ),
    _refusal("forbidden", 403, "NOT_AUTHORIZED_REQUEST", "Access to this department is forbidden."),
    # Answers that ask the client to try again.
    Scenario(
        "sandbox-429",
        "429 with “Retry-After: 1” the first time, then accepted.",
        lambda _: too_many_requests({"Retry-After": "1"}),
        first_only=True,
        common=True,
    ),
    Scenario(
        "sandbox-429-date",
        "429 with an HTTP date in Retry-After the first time, then accepted.",
        lambda _: too_many_requests({"Retry-After": _in_two_seconds()}),
        first_only=True,
    ),
    Scenario(
        "sandbox-429-bare",
        "429 without Retry-After the first time, then accepted.",
        lambda _: too_many_requests({}),
        first_only=True,
    ),
    Scenario(
        "sandbox-429-always",
        "429 with “Retry-After: 1”, every time.",
        lambda _: too_many_requests({"Retry-After": "1"}),
    ),
    Scenario(
        "sandbox-503",
        "503 with a gateway's error page the first time, then accepted.",
        lambda _: gateway_page(503),
        first_only=True,
        common=True,
    ),
    Scenario(
        "sandbox-503-always",
        "503 with a gateway's error page, every time.",
        lambda _: gateway_page(503),
    ),
    # Answers from which the client cannot know whether the text was sent.
    _refusal(
        "500",
        500,
        "INTERNAL_SERVER_ERROR",
        "Something went wrong inside the service.",
        outcome_unknown=True,
        common=True,
    ),
    _gateway_error(502),
    _gateway_error(504),
    Scenario(
        "sandbox-dropped",
        "The request is read, then the connection is dropped.",
        lambda _: Response(None, ending=ResponseEnding.DROPPED),
        outcome_unknown=True,
        common=True,
    ),
    Scenario(
        "sandbox-no-answer",
        "No answer comes, and the connection stays open.",
        lambda _: Response(None, ending=ResponseEnding.NEVER),
        outcome_unknown=True,
    ),
    Scenario(
        "sandbox-garbage",
        "200 with JSON that is cut short.",
        lambda _: Response(200, '{"status": "SUCC', JSON_HEADERS),
        outcome_unknown=True,
    ),
    Scenario(
        "sandbox-web-page",
        "200 with a web page to sign in, as where a route is not live for an account. The run stops.",
        lambda _: sign_in_page(),
        outcome_unknown=True,
    ),
    Scenario(
        "sandbox-empty",
        "200 with an empty object.",
        lambda _: Response(200, "{}", JSON_HEADERS),
        outcome_unknown=True,
    ),
    # Other answers.
    Scenario(
        "sandbox-slow",
        f"Accepted, after {SLOW:g} seconds.",
        lambda c: replace(accepted(c), delay=SLOW),
    ),
    Scenario(
        "sandbox-redirect",
        "307 to another address.",
        lambda _: Response(307, headers={"Location": "/moved"}),
    ),
)

COMMON_ERRORS = tuple(scenario for scenario in SCENARIOS if scenario.common)

_LONGEST_FIRST = sorted(SCENARIOS, key=lambda scenario: len(scenario.prefix), reverse=True)

#: For a UUID that begins with `PREFIX` and matches no scenario: most likely a typing error.
_UNKNOWN_NAME = Scenario(
    PREFIX,
    "400 INVALID_CUSTOMER.",
    lambda _: refused(
        [
            Fault(
                400,
                "INVALID_CUSTOMER",
                "The sandbox has no answer for this customer UUID. Its page lists the names that may follow "
                f"“{PREFIX}”.",
            )
        ]
    ),
)


def find_scenario(customer: str) -> Scenario | None:
    """The scenario for a customer UUID, None for an ordinary customer. The longest matching prefix counts."""
    if not customer.startswith(PREFIX):
        return None
    return next((s for s in _LONGEST_FIRST if customer.startswith(s.prefix)), _UNKNOWN_NAME)
