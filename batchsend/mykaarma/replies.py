"""Reads customers' texts from message events and conversations. Pure functions.

A message event (`payload.messageDTO`) comes for each text that is sent or received. Sources: "Webhook message event"
and "A customer's conversation" in the vendor's documentation. Their shapes are published in part, so missing facts
are allowed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.mykaarma.conversation import ConversationMessage, Direction, read_message
from batchsend.mykaarma.protocol import short_text
from batchsend.mykaarma.updates import event_scopes

#: A received message, also in JSON inside JSON. Looking for it takes half a microsecond; parsing each update a second
#: time would take twenty.
_RECEIVED = re.compile(rb"essage_?[Tt]ype[\\\"\s:]+[RrIi]")
_LONGEST_UUID = 128
#: The country of a customer's phone that comes without a country code.
_REGION = "US"
#: The dealer in the events of `batchsend sandbox`.
_SANDBOX_DEALER = "sandbox-dealer"


@dataclass(frozen=True, slots=True)
class CustomerText:
    """A text from a customer. "" stands for an unknown customer or phone (E.164).

    `body` is `None` if the event does not have it. `at`: when it was received, in UTC, if that is known.
    `from_sandbox`: no customer wrote it, the sandbox made it up.
    """

    message_uuid: str
    customer_uuid: str
    phone: str
    body: str | None
    at: datetime | None
    from_sandbox: bool = False


def read_reply(event: bytes) -> CustomerText | None:
    """The customer's text that a message event reports; `None` for every other event."""
    # Without its zeros, UTF-16 reads like UTF-8.
    if _RECEIVED.search(event.replace(b"\0", b"")) is None:
        return None
    scopes = [scope for _, scope in event_scopes(event)]
    customer = _first_text(scopes, "customeruuid") or ""
    # The event's own digest names a message without a UUID, so that a repeated event is still recognized.
    found = (
        customer_text(message, customer)
        for unnamed in (None, hashlib.sha256(event).hexdigest())
        for scope in scopes
        if (message := read_message(scope, unnamed))
    )
    text = next(filter(None, found), None)
    is_made_up = _first_text(scopes, "dealeruuid") == _SANDBOX_DEALER
    return replace(text, from_sandbox=True) if text is not None and is_made_up else text


def customer_text(message: ConversationMessage, customer_uuid: str) -> CustomerText | None:
    """A message of this customer's conversation as the customer's text; `None` if the dealership sent it."""
    uuid = short_text(message.uuid)
    if message.direction is not Direction.RECEIVED or uuid is None or len(uuid) > _LONGEST_UUID:
        return None
    body = None if message.body is None else _storable(message.body).strip()
    return CustomerText(uuid, customer_uuid, _phone(message.phone), body, message.at)


def _first_text(scopes: list[Mapping[str, Any]], name: str) -> str | None:
    """The customer's id; it is opaque, so nothing in it is changed."""
    texts = (short_text(scope.get(name)) for scope in scopes)
    return next((text for text in texts if text is not None and len(text) <= _LONGEST_UUID), None)


def _phone(text: str | None) -> str:
    try:
        return to_e164(text or "", _REGION)
    except PhoneProblem:
        return ""


def _storable(text: str) -> str:
    """The text without what a database refuses: NUL characters and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
