"""Responses of the sandbox, in the shapes of the service. Pure functions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from http import HTTPStatus

from batchsend.sandbox.checks import Fault

JSON_HEADERS = {"Content-Type": "application/json"}
_HTML_HEADERS = {"Content-Type": "text/html; charset=utf-8"}


class ResponseEnding(Enum):
    """How a request ends for the client."""

    ANSWERED = auto()
    DROPPED = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Response:
    """What the client gets, and whether a text was sent."""

    http_status: int | None
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    #: Set if a text was sent, even if the client never learns it.
    message_uuid: str | None = None
    ending: ResponseEnding = ResponseEnding.ANSWERED
    #: Seconds before the response, in addition to the sandbox's latency.
    delay: float = 0.0

    @property
    def text_sent(self) -> bool:
        return self.message_uuid is not None

    def with_text_sent(self) -> Response:
        """The same response to the client, but the text was sent."""
        return replace(self, message_uuid=new_uuid())


def new_uuid() -> str:
    """An identifier as the service makes them: 43 characters of base64url; it may begin with `-` or `_`."""
    return secrets.token_urlsafe(32)


def accepted(customer: str, warning: tuple[str, str] | None = None) -> Response:
    """200 SUCCESS; `warning` is (code, description)."""
    message_uuid = new_uuid()
    body = {
        "customerUUID": customer,
        "errors": None,
        "messageUUID": message_uuid,
        "metaData": None,
        "requestUUID": new_uuid(),
        "status": "SUCCESS",
        "warnings": warning and [{"warningCode": warning[0], "warningDescription": warning[1]}],
    }
    return Response(200, json.dumps(body), JSON_HEADERS, message_uuid=message_uuid)


def failure(customer: str, errors: Iterable[tuple[str, str]]) -> Response:
    """200 FAILURE with the reasons as (code, description); without any, `errors` is null."""
    errors = tuple(errors)
    body = {
        "customerUUID": customer,
        "errors": [_error(*error) for error in errors] or None,
        "messageUUID": None,
        "metaData": None,
        "requestUUID": new_uuid(),
        "status": "FAILURE",
        "warnings": None,
    }
    return Response(200, json.dumps(body), JSON_HEADERS, tuple(code for code, _ in errors))


def refused(faults: Iterable[Fault], headers: dict[str, str] | None = None) -> Response:
    """An error status with the reasons and, as often from the service, without a `status`.

    The first fault decides the HTTP status, unless one of them is a 500.
    """
    faults = tuple(faults)
    http_status = 500 if any(fault.http_status == 500 for fault in faults) else faults[0].http_status
    body = {
        "errors": [_error(fault.code, fault.description) for fault in faults],
        "requestUUID": new_uuid(),
    }
    if http_status == 401:
        headers = {"WWW-Authenticate": 'Basic realm="batchsend sandbox"', **(headers or {})}
    codes = tuple(fault.code for fault in faults)
    return Response(http_status, json.dumps(body), {**JSON_HEADERS, **(headers or {})}, codes)


def found(body: str) -> Response:
    """200 with JSON that was asked for."""
    return Response(200, body, JSON_HEADERS)


def too_many_requests(headers: dict[str, str]) -> Response:
    """429; `headers` may hold a `Retry-After`."""
    return refused(
        [Fault(429, "TOO_MANY_REQUESTS", "Too many requests: slow down, then try again.")], headers
    )


def gateway_page(http_status: int) -> Response:
    """The HTML error page of a gateway in front of the service."""
    title = f"{http_status} {HTTPStatus(http_status).phrase}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Response(http_status, page, _HTML_HEADERS)


def sign_in_page() -> Response:
    """200 with a page to sign in, which the service shows where a route is not live for an account."""
    page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>\n"
    return Response(200, page, _HTML_HEADERS)


def _error(code: str, description: str) -> dict[str, str]:
    return {"errorCode": code, "errorDescription": description, "errorUID": new_uuid()}
