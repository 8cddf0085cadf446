"""Decides the response to a request: the checks, the rate limit, the customer's scenario, and chance."""

from __future__ import annotations

import math
import secrets
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

from batchsend.sandbox import checks, customers, responses
from batchsend.sandbox.checks import Fault
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.responses import Response
from batchsend.sandbox.scenarios import COMMON_ERRORS, find_scenario


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request as it came in. `raw` is None if the body was longer than the sandbox reads."""

    monotonic: float
    authorization: str | None
    content_type: str
    department_uuid: str
    user_uuid: str
    customer_uuid: str
    raw: bytes | None


class Decision(NamedTuple):
    """How to respond to a request."""

    #: The request's JSON; None if it has none.
    payload: object
    response: Response
    #: Seconds to wait before the response.
    delay: float


_NO_CUSTOMER = Fault(404, "INVALID_CUSTOMER", "The department has no customer with this customer UUID.")


class TokenBucket:
    """Lets `rate` requests per second through, and a burst of one second's worth after a pause."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._last = -math.inf

    def wait(self, now: float) -> float:
        """0.0 lets the request through; otherwise the seconds until one would be let through."""
        self._tokens = min(self._capacity, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


class Responder:
    """Decides the response to each request, and counts the requests for each customer."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._bucket = TokenBucket(options.rate_limit) if options.rate_limit else None
        self._credentials = (
            (options.username, options.password)
            if options.username is not None and options.password is not None
            else None
        )
        self._seed = secrets.randbits(64) if options.seed is None else options.seed
        self._requests_by_customer: Counter[str] = Counter()

    def reset(self) -> None:
        """Makes every customer's next request the first one again."""
        self._requests_by_customer.clear()

    def decide(self, request: IncomingRequest) -> Decision:
        payload, faults = self._check(request)
        if self._bucket and (wait := self._bucket.wait(request.monotonic)):
            response = responses.too_many_requests({"Retry-After": str(math.ceil(wait))})
            return Decision(payload, response, 0.0)
        if faults:
            return Decision(payload, responses.refused(faults), 0.0)
        response, latency = self._respond_to(request.customer_uuid)
        return Decision(payload, response, latency + response.delay)

    def find_customers(self, authorization: str | None, query: Mapping[str, str]) -> Response:
        """The response to a search for customers."""
        refused = self.refuse_credentials(authorization)
        if refused is None and (faults := list(customers.search_faults(query))):
            refused = responses.refused(faults)
        return refused or responses.found(customers.find_customers(self._options.customers, query))

    def read_customer(self, authorization: str | None, uuid: str, *, vehicles: bool) -> Response:
        """The response to a request for one customer."""
        if refused := self.refuse_credentials(authorization):
            return refused
        body = customers.read_customer(self._options.customers, uuid, vehicles=vehicles)
        return responses.refused([_NO_CUSTOMER]) if body is None else responses.found(body)

    def refuse_credentials(self, authorization: str | None) -> Response | None:
        """The refusal of wrong credentials; `None` if they are right."""
        fault = checks.credentials_fault(authorization, self._credentials)
        return responses.refused([fault]) if fault else None

    def _check(self, request: IncomingRequest) -> tuple[object, list[Fault]]:
        # The body is read even if the credentials are wrong, so that the log shows every request in full.
        payload, faults = _read_body(request.raw)
        for fault in (
            checks.credentials_fault(request.authorization, self._credentials),
            checks.content_type_fault(request.content_type),
        ):
            if fault:
                return payload, [fault]
        return payload, faults or list(
            chain(
                checks.uuid_faults(request.department_uuid, request.user_uuid, request.customer_uuid),
                checks.payload_faults(payload),
            )
        )

    def _respond_to(self, customer: str) -> tuple[Response, float]:
        """The response to a well-formed request, and its latency in seconds."""
        options = self._options
        scenario = find_scenario(customer)
        if scenario is None and not (options.error_rate or options.latency):
            return responses.accepted(customer), 0.0
        self._requests_by_customer[customer] += 1
        nth = self._requests_by_customer[customer]
        error, which, sent, jitter = random_numbers(self._seed, customer, nth)
        latency = options.latency * (0.5 + jitter)
        if scenario is not None:
            if scenario.first_only and nth > 1:
                return responses.accepted(customer), latency
            return scenario.respond(customer, text_sent=scenario.has_sent_suffix(customer)), latency
        if error < options.error_rate:
            drawn = COMMON_ERRORS[int(which * len(COMMON_ERRORS))]
            return drawn.respond(customer, text_sent=sent < 0.5), latency
        return responses.accepted(customer), latency


def _read_body(raw: bytes | None) -> tuple[object, list[Fault]]:
    if raw is None:
        return None, [Fault(413, "REQUEST_TOO_LARGE", "The request's body is longer than 1 MB.")]
    try:
        return checks.parse_json(raw), []
    except ValueError:
        return None, [Fault(400, "MALFORMED_REQUEST", "The request's body is not valid JSON in UTF-8.")]


def random_numbers(seed: int, customer: str, nth: int) -> tuple[float, float, float, float]:
    """Four numbers from 0 to 1 for a customer's n-th request; always the same for the same arguments."""
    # They do not depend on the order of requests: concurrent requests overtake each other, and the same seed
    # must still give the same rehearsal.
    digest = blake2b(f"{seed}:{nth}:{customer}".encode(), digest_size=16).digest()
    a, b, c, d = struct.unpack("<4I", digest)
    return a / 2**32, b / 2**32, c / 2**32, d / 2**32
