"""What a sandbox can be told to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import BatchsendError

DEFAULT_HOST = "127.0.0.1"

#: TEXT on a telephone's keypad; nothing well known listens there.
DEFAULT_PORT = 8398


@dataclass(frozen=True)
class SandboxOptions:
    """How a sandbox behaves. As it stands: every well-formed request is accepted at once."""

    #: Requests a second that are let through, with bursts of one second's worth; the others get a 429.
    rate_limit: float | None = None
    #: Mean seconds until an answer; each one takes between half and one and a half times that.
    latency: float = 0.0
    #: Share of the requests, 0 to 1, that get one of the answers that happen in real life instead of SUCCESS.
    error_rate: float = 0.0
    #: The same seed gives the same customer's n-th request the same fate, in whatever order requests come.
    seed: int | None = None
    #: The only credentials that are let in; left out, any will do, but some are needed.
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    #: A file that gets one JSON line for each request, before the request is answered.
    record: Path | None = None
    #: Whether texts are followed by updates to their `callbackURL`, if that is on this computer and they are not
    #: sent synchronously.
    updates: bool = False
    #: Mean seconds until a text's first update; the second comes about as much later.
    update_delay: float = 0.5
    #: Share of the updates, 0 to 1, that come twice.
    update_repeat: float = 0.0
    #: Whether the second update overtakes the first one about every second time.
    update_shuffle: bool = False
    #: Share of the texts, 0 to 1, that do not reach their phone.
    undelivered_rate: float = 0.0
    #: Requests kept in memory, and texts; the oldest are forgotten. None keeps all.
    keep: int | None = 100_000

    def __post_init__(self) -> None:
        if self.rate_limit is not None and not (math.isfinite(self.rate_limit) and self.rate_limit > 0):
            raise BatchsendError(
                f"The sandbox's rate limit must be more than 0 requests a second, not {self.rate_limit:g}."
            )
        if not (math.isfinite(self.latency) and self.latency >= 0):
            raise BatchsendError(f"The sandbox's latency must be 0 seconds or more, not {self.latency:g}.")
        if not 0 <= self.error_rate <= 1:
            raise BatchsendError(
                f"The sandbox's error rate must be between 0 (never) and 1 (always), not {self.error_rate:g}."
            )
        if not (math.isfinite(self.update_delay) and self.update_delay >= 0):
            raise BatchsendError(
                f"The sandbox's update delay must be 0 seconds or more, not {self.update_delay:g}."
            )
        for what, share in (
            ("share of repeated updates", self.update_repeat),
            ("undelivered rate", self.undelivered_rate),
        ):
            if not 0 <= share <= 1:
                raise BatchsendError(
                    f"The sandbox's {what} must be between 0 (never) and 1 (always), not {share:g}."
                )
        if self.keep is not None and self.keep < 1:
            raise BatchsendError(f"The sandbox must keep at least 1 request, not {self.keep}.")
        if (self.username is None) != (self.password is None):
            raise BatchsendError("The sandbox needs both a username and a password, or neither.")
