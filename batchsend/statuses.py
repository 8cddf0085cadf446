"""Statuses of rows, our own codes, and groups of statuses.

Programs compare codes. The sentences for people are in `reports.advice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The status of a row, as in the `status` column."""

    READY = "ready"
    PENDING = "pending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    INVALID = "invalid"
    SKIPPED = "skipped"


#: In a ledger only: a request was recorded before it was made, and its outcome is not known yet. Results show it as
#: `unconfirmed` `INTERRUPTED`.
IN_FLIGHT = "in_flight"


class Code(StrEnum):
    """Our own codes. They share a column with the codes of the API."""

    # pending
    HELD_BACK = "HELD_BACK"
    QUIET_HOURS = "QUIET_HOURS"
    DAILY_CAP = "DAILY_CAP"
    HOURLY_CAP = "HOURLY_CAP"
    NEEDS_APPROVAL = "NEEDS_APPROVAL"
    STOPPED = "STOPPED"
    # invalid
    MALFORMED_ROW = "MALFORMED_ROW"
    MISSING_CUSTOMER_UUID = "MISSING_CUSTOMER_UUID"
    INVALID_CUSTOMER_UUID = "INVALID_CUSTOMER_UUID"
    CUSTOMER_NOT_FOUND = "CUSTOMER_NOT_FOUND"
    CUSTOMER_AMBIGUOUS = "CUSTOMER_AMBIGUOUS"
    MISSING_PHONE = "MISSING_PHONE"
    INVALID_PHONE = "INVALID_PHONE"
    DAMAGED_VALUE = "DAMAGED_VALUE"
    MISSING_VALUE = "MISSING_VALUE"
    TEMPLATE_ERROR = "TEMPLATE_ERROR"
    EMPTY_MESSAGE = "EMPTY_MESSAGE"
    MESSAGE_TOO_LONG = "MESSAGE_TOO_LONG"
    # skipped
    HIDDEN_ROW = "HIDDEN_ROW"
    FILTERED = "FILTERED"
    NO_CONSENT = "NO_CONSENT"
    SUPPRESSED = "SUPPRESSED"
    ALREADY_SENT = "ALREADY_SENT"
    ALREADY_TRIED = "ALREADY_TRIED"
    DUPLICATE = "DUPLICATE"
    DUPLICATE_PHONE = "DUPLICATE_PHONE"
    FREQUENCY_CAP = "FREQUENCY_CAP"
    CLOSED = "CLOSED"
    # unconfirmed
    TIMEOUT = "TIMEOUT"
    CONNECTION_LOST = "CONNECTION_LOST"
    BAD_RESPONSE = "BAD_RESPONSE"
    INTERRUPTED = "INTERRUPTED"


#: A request was made for these rows. Starting again does not change their outcome.
TRIED = frozenset({Status.ACCEPTED, Status.DELIVERED, Status.UNDELIVERED, Status.FAILED, Status.UNCONFIRMED})
#: myKaarma accepted these texts.
TAKEN = frozenset({Status.ACCEPTED, Status.DELIVERED})
#: A text may have reached the customer: these count for `max_messages`.
MAY_HAVE_REACHED = frozenset({Status.ACCEPTED, Status.DELIVERED, Status.UNDELIVERED, Status.UNCONFIRMED})
#: These rows need attention.
NEEDS_YOU = frozenset({Status.FAILED, Status.UNDELIVERED, Status.UNCONFIRMED, Status.INVALID})
#: The codes of rows that a plan leaves out on purpose. A planned row with another code is `invalid`.
SKIPPED_CODES = frozenset(
    {
        Code.HIDDEN_ROW,
        Code.FILTERED,
        Code.NO_CONSENT,
        Code.SUPPRESSED,
        Code.ALREADY_SENT,
        Code.ALREADY_TRIED,
        Code.DUPLICATE,
        Code.DUPLICATE_PHONE,
        Code.FREQUENCY_CAP,
    }
)
#: Only these can be sent again, by `--resend`.
RESENDABLE = frozenset({Status.FAILED, Status.UNCONFIRMED})
#: The API's codes for customers who opted out. These are never sent again, not even by `--resend`.
OPTED_OUT = frozenset({"OPTED_OUT_COMMUNICATION_VALUE"})


@dataclass(frozen=True)
class Tally:
    """The rows of a run by group. The groups add up to `rows`."""

    rows: int
    taken: int
    left_out: int
    needs_you: int
    waits: int
    ready: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int], *, sending: bool = False) -> Tally:
        """Groups `counts` (status -> rows). `in_flight` counts as `unconfirmed`, and as waiting during `sending`."""
        taken = sum(counts.get(status, 0) for status in TAKEN)
        in_flight = counts.get(IN_FLIGHT, 0)
        needs_you = sum(counts.get(status, 0) for status in NEEDS_YOU) + (0 if sending else in_flight)
        left_out = counts.get(Status.SKIPPED, 0)
        waits = counts.get(Status.PENDING, 0) + (in_flight if sending else 0)
        ready = counts.get(Status.READY, 0)
        return cls(sum(counts.values()), taken, left_out, needs_you, waits, ready)

    def sentence(self) -> str:
        """The summary line: `312 rows = 290 accepted by myKaarma + 12 skipped + 8 need attention + 2 waiting`."""
        ready = f" + {self.ready:,} ready to send" if self.ready else ""
        return (
            f"{self.rows:,} {'row' if self.rows == 1 else 'rows'} = {self.taken:,} accepted by myKaarma"
            f"{ready} + {self.left_out:,} skipped + {self.needs_you:,} need attention + {self.waits:,} waiting"
        )
