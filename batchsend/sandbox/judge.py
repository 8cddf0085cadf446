"""Which answer a request gets: the checks, the rate limit, the customer's own answer, and chance."""

from __future__ import annotations

import math
import secrets
import struct
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from batchsend.sandbox import answers, checks
from batchsend.sandbox.answers import Reply
from batchsend.sandbox.checks import Fault
from batchsend.sandbox.options import SandboxOptions


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came in. `raw` is None where the body was longer than the sandbox reads."""

    monotonic: float
    authorization: str | None
    content_type: str
    department_uuid: str
    user_uuid: str
    customer_uuid: str
    raw: bytes | None


class TokenBucket:
    """Lets `rate` requests a second through, and a burst of one second's worth after a rest."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._last = -math.inf

    def wait(self, now: float) -> float:
        """0.0 lets the request through; else the seconds after which one would be."""
        self._tokens = min(self._capacity, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


class Judge:
    """Decides each request's answer; remembers how often a customer was asked for."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._bucket = TokenBucket(options.rate_limit) if options.rate_limit else None
        self._credentials = (
            (options.username, options.password)
            if options.username is not None and options.password is not None
            else None
        )
        self._seed = secrets.randbits(64) if options.seed is None else options.seed
        self._tries: Counter[str] = Counter()

    def forget(self) -> None:
        """Every customer's next request is the first one again."""
        self._tries.clear()

    def decide(self, arrival: Arrival) -> tuple[object, Reply, float]:
        """Returns the request's JSON (None where it has none), the answer, and the seconds it should take."""
        payload, faults = self._read(arrival)
        if self._bucket and (wait := self._bucket.wait(arrival.monotonic)):
            return payload, answers.too_many_requests({"Retry-After": str(math.ceil(wait))}), 0.0
        if faults:
            return payload, answers.refused(faults), 0.0
        answer, latency = self._fate(arrival.customer_uuid)
        return payload, answer, latency + answer.delay

    def _read(self, arrival: Arrival) -> tuple[object, list[Fault]]:
        # Read even where the request is refused at the door: the record shows what was asked for.
        payload, faults = _read_body(arrival.raw)
        for fault in (
            checks.credentials_fault(arrival.authorization, self._credentials),
            checks.content_type_fault(arrival.content_type),
        ):
            if fault:
                return payload, [fault]
        return payload, faults or list(
            chain(
                checks.uuid_faults(arrival.department_uuid, arrival.user_uuid, arrival.customer_uuid),
                checks.payload_faults(payload),
            )
        )

    def _fate(self, customer: str) -> tuple[Reply, float]:
        options = self._options
        provocation = answers.provocation_of(customer)
        if provocation is None and not (options.error_rate or options.latency):
            return answers.accepted(customer), 0.0
        self._tries[customer] += 1
        nth = self._tries[customer]
        error, which, sent, jitter = chances(self._seed, customer, nth)
        latency = options.latency * (0.5 + jitter)
        if provocation is not None:
            if provocation.first_only and nth > 1:
                return answers.accepted(customer), latency
            return provocation.provoke(customer, sent=provocation.asks_for_text(customer)), latency
        if error < options.error_rate:
            drawn = answers.DRAWN[int(which * len(answers.DRAWN))]
            return drawn.provoke(customer, sent=sent < 0.5), latency
        return answers.accepted(customer), latency


def _read_body(raw: bytes | None) -> tuple[object, list[Fault]]:
    if raw is None:
        return None, [Fault(413, "REQUEST_TOO_LARGE", "The request's body is longer than 1 MB.")]
    try:
        return checks.parse_json(raw), []
    except ValueError:
        return None, [Fault(400, "MALFORMED_REQUEST", "The request's body is not valid JSON in UTF-8.")]


def chances(seed: int, customer: str, nth: int) -> tuple[float, float, float, float]:
    """Four numbers from 0 to 1 for a customer's n-th time."""
    # By customer, not by order of arrival: concurrent requests overtake each other, and the same seed must
    # still make the same rehearsal.
    digest = blake2b(f"{seed}:{nth}:{customer}".encode(), digest_size=16).digest()
    a, b, c, d = struct.unpack("<4I", digest)
    return a / 2**32, b / 2**32, c / 2**32, d / 2**32
