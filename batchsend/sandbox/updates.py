"""The updates that the sandbox sends about a text, in the shapes that the service is known to use. Pure functions.

The first update goes to `callbackURL` once sending was attempted. The second one is the message event with the
delivery status. A message event also reports each text from a customer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

from batchsend.utils.net import is_this_machine

_JSON = "application/json"
#: The content type of the service's events, although they are JSON.
_PLAIN = "text/plain"


class TextOutcome(Enum):
    """What happens to a text after it was accepted."""

    DELIVERED = auto()
    UNDELIVERED = auto()
    NOT_SENT = auto()
    OPTED_OUT = auto()
    #: Unknown: no update is sent.
    NO_UPDATE = auto()


_WHY_NOT_SENT = {
    TextOutcome.NOT_SENT: ("TWILIO_SENDING_FAILURE", "The text-sending service did not take the message."),
    TextOutcome.OPTED_OUT: ("OPTED_OUT_COMMUNICATION_VALUE", "The customer has opted out of text messages."),
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was sent: the facts that its updates contain."""

    message_uuid: str
    customer_uuid: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpdatePost:
    """One update as it is posted."""

    content_type: str
    body: str


def updates_of(text: Text, outcome: TextOutcome, shape: float) -> Iterator[UpdatePost]:
    """A text's updates in their natural order. `shape`, 0 to 1, chooses among the known shapes."""
    if outcome is TextOutcome.NO_UPDATE:
        return
    attempts = (_attempt_plain, _attempt_other_names, _attempt_in_payload, _attempt_in_text)
    yield attempts[int(shape * len(attempts))](text, _WHY_NOT_SENT.get(outcome))
    if outcome not in _WHY_NOT_SENT:
        events = (_event_plain, _event_in_text)
        yield events[int(shape * 31) % len(events)](text, delivered=outcome is TextOutcome.DELIVERED)


def reply_event(
    message: Mapping[str, Any], customer_uuid: str, department_uuid: str, shape: float
) -> UpdatePost:
    """The event of a customer's text. `message` is its `messageDTO`; `shape`, 0 to 1, chooses a known shape."""
    payload = {"isUpdate": False, "messageDTO": {**message, "customerUuid": customer_uuid, "isRead": False}}
    event = {
        "id": message["uuid"],
        "timestamp": round(time.time() * 1000),
        "dealeruuid": "sandbox-dealer",
        "departmentuuid": department_uuid,
        "type": "messages",
        "payload": payload if shape < 0.5 else json.dumps(payload),
    }
    return UpdatePost(_PLAIN, json.dumps(event))


def is_loopback_url(url: str | None) -> bool:
    """Whether updates may go to `url`: only addresses of this computer."""
    try:
        parts = urlsplit(url or "")
        host = parts.hostname or ""
        port_is_valid = parts.port != 0
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and port_is_valid and is_this_machine(host)


_Reason = tuple[str, str] | None


def _status(reason: _Reason) -> str:
    return "SUCCESS" if reason is None else "FAILURE"


def _errors(reason: _Reason) -> list[dict[str, str]]:
    return [] if reason is None else [{"errorCode": reason[0], "errorDescription": reason[1]}]


def _attempt_plain(text: Text, reason: _Reason) -> UpdatePost:
    body = {
        "callbackMetaData": text.metadata,
        "customerUUID": text.customer_uuid,
        "errors": _errors(reason) or None,
        "messageUUID": text.message_uuid,
        "status": _status(reason),
    }
    return UpdatePost(_JSON, json.dumps(body))


def _attempt_other_names(text: Text, reason: _Reason) -> UpdatePost:
    body = {
        "messageUuid": text.message_uuid,
        "metaData": text.metadata,
        "status": _status(reason),
        "errors": _errors(reason),
    }
    return UpdatePost(_JSON, json.dumps(body))


def _attempt_in_payload(text: Text, reason: _Reason) -> UpdatePost:
    return UpdatePost(_PLAIN, json.dumps({"payload": json.loads(_attempt_plain(text, reason).body)}))


def _attempt_in_text(text: Text, reason: _Reason) -> UpdatePost:
    return UpdatePost(_PLAIN, json.dumps({"payload": _attempt_other_names(text, reason).body}))


def _event_plain(text: Text, *, delivered: bool) -> UpdatePost:
    message = {
        "uuid": text.message_uuid,
        "deliveryStatus": "DELIVERED" if delivered else "UNDELIVERED",
        "twilioDeliveryFailureMessage": None if delivered else "30003 Unreachable destination handset",
    }
    return UpdatePost(_PLAIN, json.dumps({"messageDTO": message}))


def _event_in_text(text: Text, *, delivered: bool) -> UpdatePost:
    return UpdatePost(_PLAIN, json.dumps({"payload": _event_plain(text, delivered=delivered).body}))
