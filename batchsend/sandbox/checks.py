"""The API's checks of a request, as pure functions.

Source of the attributes and their types: the API's reference page, "How to send a text to customer". `OWN_CODES`
are codes of the sandbox, for errors whose code from the service is unknown.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

#: Codes for refusals of the real service whose codes are not published.
OWN_CODES = frozenset(
    {
        "INVALID_DEPARTMENT",
        "MALFORMED_REQUEST",
        "REQUEST_TOO_LARGE",
        "TOO_MANY_REQUESTS",
        "UNSUPPORTED_MEDIA_TYPE",
    }
)

_UUID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
# 7 to 15 digits, as in E.164, with the usual punctuation in between.
_PHONE = re.compile(r"\+?[ ().-]*(?:[0-9][ ().-]*){7,15}", re.ASCII)
_SWITCHES = ("sendSynchronously", "addTCPAFooter", "addSignature", "addFooter", "sendVCard")


class Fault(NamedTuple):
    """One reason to refuse a request."""

    http_status: int
    code: str
    description: str


_WRONG = Fault(401, "WRONG_CREDENTIAL", "The username or the password is wrong.")


def credentials_fault(authorization: str | None, expected: tuple[str, str] | None) -> Fault | None:
    """Checks the `Authorization` header; `expected` is (username, password).

    None accepts any credentials except the password `wrong`, so that people can see what a refusal looks like.
    """
    scheme, _, encoded = (authorization or "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    username, _, password = given.partition(b":")
    if not (username and password):
        return Fault(401, "CREDENTIALS_ARE_NULL", "Send a username and a password with HTTP Basic auth.")
    if expected is None:
        return _WRONG if password == b"wrong" else None
    # RFC 7617 leaves the encoding open, and clients differ.
    wanted = ":".join(expected)
    in_utf8 = hmac.compare_digest(given, wanted.encode("utf-8", "replace"))
    in_latin1 = hmac.compare_digest(given, wanted.encode("latin-1", "replace"))
    if in_utf8 or in_latin1:
        return None
    return _WRONG


def content_type_fault(content_type: str) -> Fault | None:
    """Checks the media type, without parameters."""
    if content_type == "application/json" or content_type.endswith("+json"):
        return None
    return Fault(415, "UNSUPPORTED_MEDIA_TYPE", "The Content-Type must be application/json.")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def parse_json(raw: bytes) -> object:
    """Reads strict JSON in UTF-8. Raises ValueError for anything else."""
    try:
        payload: object = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return payload


def uuid_faults(department: str, user: str, customer: str) -> Iterator[Fault]:
    """Checks the path's three identifiers: opaque strings of 1-128 characters of `[A-Za-z0-9_-]`."""
    for code, what, value in (
        ("INVALID_DEPARTMENT", "department", department),
        ("INVALID_USER", "user", user),
        ("INVALID_CUSTOMER", "customer", customer),
    ):
        if not _UUID.fullmatch(value):
            yield Fault(
                400, code, f"The {what} UUID must be 1 to 128 letters, digits, hyphens and underscores."
            )


def payload_faults(payload: object) -> Iterator[Fault]:
    """Checks each attribute of the request's JSON."""
    if not isinstance(payload, dict):
        yield Fault(400, "MALFORMED_REQUEST", "The request's body must be a JSON object.")
        return
    yield from _message_faults(payload.get("messageAttributes"))
    yield from _sending_faults(payload.get("messageSendingAttributes"))


def _message_faults(message: object) -> Iterator[Fault]:
    if not isinstance(message, dict):
        # The service answers a 500 here, although the request is at fault.
        yield Fault(500, "MISSING_MESSAGE_ATTRIBUTES", "messageAttributes is missing or not an object.")
        return
    if message.get("type") != "OUTGOING":
        yield Fault(400, "MISSING_MESSAGE_TYPE", "messageAttributes.type must be OUTGOING.")
    if message.get("protocol") != "TEXT":
        yield Fault(400, "MISSING_MESSAGE_PROTOCOL", "messageAttributes.protocol must be TEXT.")
    if not isinstance(message.get("isManual"), bool):
        yield Fault(400, "MISSING_IS_MANUAL", "messageAttributes.isManual must be true or false.")
    body = message.get("body")
    if not isinstance(body, str) or not body.strip():
        yield Fault(400, "MISSING_MESSAGE_BODY", "messageAttributes.body must be a text that is not blank.")


def _sending_faults(sending: object) -> Iterator[Fault]:
    if sending is None:
        return
    if not isinstance(sending, dict):
        yield _malformed("messageSendingAttributes must be an object.")
        return
    for name in _SWITCHES:
        if not isinstance(sending.get(name), bool | None):
            yield _malformed(f"messageSendingAttributes.{name} must be true or false.")
    phone = sending.get("communicationValueOfCustomer")
    if not isinstance(phone, str | None):
        yield _malformed("messageSendingAttributes.communicationValueOfCustomer must be a string.")
    elif phone is not None and not _looks_like_a_phone(phone):
        yield Fault(400, "INVALID_COMMUNICATION_VALUE", "communicationValueOfCustomer is not a phone number.")
    if not isinstance(sending.get("callbackURL"), str | None):
        yield _malformed("messageSendingAttributes.callbackURL must be a string.")
    metadata = sending.get("callbackMetaData")
    if metadata is not None and not _is_flat(metadata):
        yield _malformed("messageSendingAttributes.callbackMetaData must be a flat object of strings.")


def _malformed(description: str) -> Fault:
    return Fault(400, "MALFORMED_REQUEST", description)


def _looks_like_a_phone(text: str) -> bool:
    # The real service looks it up among the customer's numbers; here only its format can be checked.
    return _PHONE.fullmatch(text) is not None


def _is_flat(metadata: object) -> bool:
    return isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
