"""The rows of a run while they are sent: what a claim gives, the request made of it, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from batchsend.mykaarma.protocol import Answered, Request, message_identity
from batchsend.statuses import OPTED_OUT, Status
from batchsend.utils.timestamps import to_text

if TYPE_CHECKING:
    from batchsend.mykaarma.client import Departure


class Claimed(NamedTuple):
    """A row that only this process may send now. `attempts`: requests made for it before."""

    row: int
    customer_uuid: str
    department_uuid: str
    user_uuid: str
    phone: str | None
    body: str
    generation: int
    attempts: int
    clock: str | None = None


class Outcome(NamedTuple):
    """The outcome of a claimed row. `sent_at` is UTC text, `latency_ms` the time to the answer in milliseconds."""

    row: int
    status: Status
    codes: str = ""
    descriptions: str = ""
    warning_codes: str | None = None
    message_uuid: str | None = None
    request_uuid: str | None = None
    api_status: str | None = None
    http_status: int | None = None
    attempts: int = 0
    sent_at: str | None = None
    latency_ms: int | None = None


def outcome_of(message: Claimed, answer: Answered, departure: Departure, ended: float) -> Outcome:
    """The outcome of a request that ended at this time of the event loop."""
    latency = None
    if answer.http_status is not None and departure.left_at is not None:
        latency = round((ended - departure.left_at) * 1000)
    return Outcome(
        row=message.row,
        status=answer.status,
        codes="; ".join(answer.codes),
        descriptions="; ".join(answer.descriptions),
        warning_codes="; ".join(answer.warning_codes) or None,
        message_uuid=answer.message_uuid,
        request_uuid=answer.request_uuid,
        api_status=answer.api_status,
        http_status=answer.http_status,
        attempts=message.attempts + 1,
        sent_at=to_text(departure.sent_at) if departure.sent_at is not None else None,
        latency_ms=latency,
    )


def request_of(message: Claimed, identity: Mapping[str, str]) -> Request:
    """The request for a row. `identity`: what the callback metadata carries in addition to the row."""
    return Request(
        department_uuid=message.department_uuid,
        user_uuid=message.user_uuid,
        customer_uuid=message.customer_uuid,
        phone=message.phone,
        body=message.body,
        identity=message_identity(identity, message.row, message.generation),
    )


def is_opted_out(outcome: Outcome) -> bool:
    """Whether myKaarma refused the text because its customer opted out."""
    return not OPTED_OUT.isdisjoint(outcome.codes.split("; "))
