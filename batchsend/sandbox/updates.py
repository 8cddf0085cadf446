"""What the sandbox says of a text later: its updates, in the shapes that the service is known to use. Pure functions.

First comes the update to `callbackURL`, once sending was attempted; then the message event with the outcome.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

_JSON = "application/json"
#: The service says so of its events, which are JSON all the same.
_PLAIN = "text/plain"


class TextOutcome(Enum):
    """What becomes of a text after it was accepted."""

    DELIVERED = auto()
    UNDELIVERED = auto()
    NOT_SENT = auto()
    OPTED_OUT = auto()
    NEVER_HEARD_OF = auto()


_WHY_NOT_SENT = {
    TextOutcome.NOT_SENT: ("TWILIO_SENDING_FAILURE", "The text-sending service did not take the message."),
    TextOutcome.OPTED_OUT: ("OPTED_OUT_COMMUNICATION_VALUE", "The customer has opted out of text messages."),
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text that left: all that its updates are made of."""

    message_uuid: str
    customer_uuid: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Post:
    """One update as it goes over the wire."""

    content_type: str
    body: str


def posts(text: Text, fate: TextOutcome, shape: float) -> Iterator[Post]:
    """A text's updates in their natural order. `shape`, 0 to 1, chooses among the known shapes."""
    if fate is TextOutcome.NEVER_HEARD_OF:
        return
    attempts = (_attempt_plain, _attempt_other_names, _attempt_in_payload, _attempt_in_text)
    yield attempts[int(shape * len(attempts))](text, _WHY_NOT_SENT.get(fate))
    if fate not in _WHY_NOT_SENT:
        events = (_event_plain, _event_in_text)
        yield events[int(shape * 31) % len(events)](text, delivered=fate is TextOutcome.DELIVERED)


def is_loopback_url(url: str | None) -> bool:
    """Whether updates may go there: to this computer alone."""
    try:
        parts = urlsplit(url or "")
        host = parts.hostname or ""
        port_is_sound = parts.port != 0
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not port_is_sound:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_Reason = tuple[str, str] | None


def _status(why: _Reason) -> str:
    return "SUCCESS" if why is None else "FAILURE"


def _errors(why: _Reason) -> list[dict[str, str]]:
    return [] if why is None else [{"errorCode": why[0], "errorDescription": why[1]}]


def _attempt_plain(text: Text, why: _Reason) -> Post:
    body = {
        "callbackMetaData": text.metadata,
        "customerUUID": text.customer_uuid,
        "errors": _errors(why) or None,
        "messageUUID": text.message_uuid,
        "status": _status(why),
    }
    return Post(_JSON, json.dumps(body))


def _attempt_other_names(text: Text, why: _Reason) -> Post:
    body = {
        "messageUuid": text.message_uuid,
        "metaData": text.metadata,
        "status": _status(why),
        "errors": _errors(why),
    }
    return Post(_JSON, json.dumps(body))


def _attempt_in_payload(text: Text, why: _Reason) -> Post:
    return Post(_PLAIN, json.dumps({"payload": json.loads(_attempt_plain(text, why).body)}))


def _attempt_in_text(text: Text, why: _Reason) -> Post:
    return Post(_PLAIN, json.dumps({"payload": _attempt_other_names(text, why).body}))


def _event_plain(text: Text, *, delivered: bool) -> Post:
    message = {
        "uuid": text.message_uuid,
        "deliveryStatus": "DELIVERED" if delivered else "UNDELIVERED",
        "twilioDeliveryFailureMessage": None if delivered else "30003 Unreachable destination handset",
    }
    return Post(_PLAIN, json.dumps({"messageDTO": message}))


def _event_in_text(text: Text, *, delivered: bool) -> Post:
    return Post(_PLAIN, json.dumps({"payload": _event_plain(text, delivered=delivered).body}))
