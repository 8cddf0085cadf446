"""The options of a sandbox."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import BatchsendError
from batchsend.sandbox.customers import SandboxCustomer

DEFAULT_HOST = "127.0.0.1"

#: TEXT on a phone's keypad; no well-known service uses this port.
DEFAULT_PORT = 8398


@dataclass(frozen=True)
class SandboxOptions:
    """How a sandbox behaves. By default it accepts every well-formed request at once."""

    #: Requests per second that are let through, with bursts of one second's worth; the others get a 429.
    rate_limit: float | None = None
    #: Mean seconds until a response; each one takes between half and one and a half times that.
    latency: float = 0.0
    #: Share of the requests, 0 to 1, that get a realistic error instead of SUCCESS.
    error_rate: float = 0.0
    #: With the same seed, a customer's n-th request always gets the same response, in any order of requests.
    seed: int | None = None
    #: The only credentials that are accepted. By default any are, but a request without them is refused.
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    #: A file that gets a JSON line for each request before the response.
    record: Path | None = None
    #: Whether to send updates to each text's `callbackURL`, if it is on this computer and the text is not sent
    #: synchronously.
    updates: bool = False
    #: Mean seconds until a text's first update, and again until its second.
    update_delay: float = 0.5
    #: Share of the updates, 0 to 1, that are sent twice.
    update_repeat: float = 0.0
    #: Whether the second update comes before the first one about half of the time.
    update_shuffle: bool = False
    #: Share of the texts, 0 to 1, that are reported as undelivered.
    undelivered_rate: float = 0.0
    #: Share of the texts, 0 to 1, that the customer answers. With `updates`, an event reports each reply.
    reply_rate: float = 0.0
    #: The customers that a search finds.
    customers: tuple[SandboxCustomer, ...] = ()
    #: How many requests, and how many texts, to keep in memory; None keeps all.
    keep: int | None = 100_000

    def __post_init__(self) -> None:
        if self.rate_limit is not None and not (math.isfinite(self.rate_limit) and self.rate_limit > 0):
            raise BatchsendError(
                f"The sandbox's rate limit must be more than 0 requests a second, not {self.rate_limit:g}."
            )
        for name, seconds in (("latency", self.latency), ("update delay", self.update_delay)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise BatchsendError(f"The sandbox's {name} must be 0 seconds or more, not {seconds:g}.")
        for name, share in (
            ("error rate", self.error_rate),
            ("share of repeated updates", self.update_repeat),
            ("undelivered rate", self.undelivered_rate),
            ("reply rate", self.reply_rate),
        ):
            if not 0 <= share <= 1:
                raise BatchsendError(
                    f"The sandbox's {name} must be between 0 (never) and 1 (always), not {share:g}."
                )
        if self.keep is not None and self.keep < 1:
            raise BatchsendError(f"The sandbox must keep at least 1 request, not {self.keep}.")
        if (self.username is None) != (self.password is None):
            raise BatchsendError("The sandbox needs both a username and a password, or neither.")
