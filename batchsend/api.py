"""The myKaarma send-text API: what a request says, and what an answer means.

Both are pure functions; `ApiClient` is a thin shell of aiohttp around them. Source: the API's reference page
"How to send a text to customer" and what the service was seen to answer.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from batchsend._version import __version__
from batchsend.statuses import Code, Status

#: An answer is about a kilobyte; what is longer than this is not one.
ANSWER_BYTES = 1_000_000
#: Servers and gateways drop idle connections; a request must not meet one that is just being dropped.
KEEP_ALIVE_SECONDS = 10.0
#: The longest `Retry-After` that is believed, in seconds.
LONGEST_RETRY_AFTER = 3600.0

#: Refusals that every later row would meet too.
_ABOUT_THE_SENDER = frozenset({"INVALID_USER", "USER_DOES_NOT_HAVE_AUTHORITY", "DEALERSHIP_HOLIDAY"})
_SENDER_ADVICE = {
    "INVALID_USER": (
        "myKaarma does not know this user in this department. Correct `user_uuid` (and `department_uuid`)"
    ),
    "USER_DOES_NOT_HAVE_AUTHORITY": (
        "this user may not text for this department. Choose another `user_uuid`, or ask myKaarma for "
        "the permission"
    ),
    "DEALERSHIP_HOLIDAY": "the dealership has a holiday today in myKaarma. Send again on a working day",
}


@dataclass(frozen=True)
class SendingAttributes:
    """The request's attributes that are the same for every message of a run."""

    is_manual: bool = False
    add_tcpa_footer: bool = True
    add_signature: bool = False
    add_footer: bool = False
    send_vcard: bool = False
    send_synchronously: bool = False
    callback_url: str | None = None
    callback_metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """One text: to whom, from whom, what. `identity` finds its row again when a callback brings it back."""

    department_uuid: str
    user_uuid: str
    customer_uuid: str
    phone: str | None
    body: str
    identity: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome is known, or known to be unknown: `accepted`, `failed` or `unconfirmed`."""

    status: Status
    codes: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    warning_codes: tuple[str, ...] = ()
    message_uuid: str | None = None
    request_uuid: str | None = None
    api_status: str | None = None
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Certainly not sent, and worth trying again later. `retry_after`: the server's wish in seconds."""

    reason: str
    slow_down: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly not sent, and no other row would be either: the run stops. `reason` says what to change."""

    reason: str


Judgement = Answered | TurnedAway | Refused


def request_path(request: Request) -> str:
    """The endpoint's path below the base URL."""
    department, user, customer = (
        quote(part, safe="") for part in (request.department_uuid, request.user_uuid, request.customer_uuid)
    )
    return f"/communications/department/{department}/user/{user}/customer/{customer}/message"


def request_body(request: Request, options: SendingAttributes) -> dict[str, Any]:
    """The JSON body of one request."""
    sending: dict[str, Any] = {
        "sendSynchronously": options.send_synchronously,
        "addTCPAFooter": options.add_tcpa_footer,
        "addSignature": options.add_signature,
        "addFooter": options.add_footer,
        "sendVCard": options.send_vcard,
        "callbackMetaData": {**options.callback_metadata, **request.identity},
    }
    if request.phone:
        sending["communicationValueOfCustomer"] = request.phone
    if options.callback_url:
        sending["callbackURL"] = options.callback_url
    return {
        "messageAttributes": {
            "body": request.body,
            "isManual": options.is_manual,
            "protocol": "TEXT",
            "type": "OUTGOING",
        },
        "messageSendingAttributes": sending,
    }


def judge(
    http_status: int, body: bytes | None, retry_after: str | None, now: datetime, *, sender_per_row: bool
) -> Judgement:
    """What an answer means. `body` is `None` where it could not be read whole.

    `sender_per_row`: department or user come from the list's columns, so a refusal about the sender is about
    this row only.
    """
    answer = _json_object(body)
    if 200 <= http_status < 300:
        return _judge_success(http_status, answer, sender_per_row=sender_per_row)
    if http_status in (429, 503):
        busy = "asks to slow down" if http_status == 429 else "is not available"
        return TurnedAway(f"myKaarma {busy} (HTTP {http_status})", True, retry_seconds(retry_after, now))
    if http_status >= 500:
        return _answered(Status.UNCONFIRMED, http_status, answer)
    if http_status == 401:
        codes = _codes(answer)[0]
        said = f" ({', '.join(codes)})" if codes else ""
        return Refused(
            f"myKaarma does not accept the username and password{said}. Check MYKAARMA_USERNAME and "
            f"MYKAARMA_PASSWORD, and that this account may send texts (scope message.create)."
        )
    if http_status == 403 and not sender_per_row:
        return Refused(
            "myKaarma does not allow this account to text for this department and user (HTTP 403). Check "
            "`department_uuid` and `user_uuid`, or ask myKaarma for the permission."
        )
    return _refusal(http_status, answer, sender_per_row=sender_per_row)


def retry_seconds(value: str | None, now: datetime) -> float | None:
    """`Retry-After`, in seconds or as an HTTP date, as seconds from `now`; `None` where it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    if not seconds >= 0:  # also "nan"
        return 0.0 if seconds < 0 else None
    return min(seconds, LONGEST_RETRY_AFTER)


def _judge_success(http_status: int, answer: Mapping[str, Any] | None, *, sender_per_row: bool) -> Judgement:
    if answer is None:
        return _unreadable(http_status)
    status = answer.get("status")
    if status == "SUCCESS":
        return _answered(Status.ACCEPTED, http_status, answer)
    if status == "FAILURE" or (status is None and _codes(answer) != ((), ())):
        return _refusal(http_status, answer, sender_per_row=sender_per_row)
    return _unreadable(http_status, answer)


def _unreadable(http_status: int, answer: Mapping[str, Any] | None = None) -> Answered:
    return _answered(Status.UNCONFIRMED, http_status, answer, default=Code.BAD_RESPONSE)


def _refusal(http_status: int, answer: Mapping[str, Any] | None, *, sender_per_row: bool) -> Judgement:
    codes = _codes(answer)[0]
    about_sender = [code for code in codes if code in _ABOUT_THE_SENDER or code.startswith("MISSING_")]
    if about_sender and not sender_per_row:
        code = about_sender[0]
        advice = _SENDER_ADVICE.get(code, "myKaarma misses something in the request. Please report this")
        return Refused(f"{code}: {advice}. No text was sent for this row, and the rest waits.")
    return _answered(Status.FAILED, http_status, answer)


def _answered(
    status: Status, http_status: int, answer: Mapping[str, Any] | None, default: str | None = None
) -> Answered:
    codes, descriptions = _codes(answer)
    if not codes and status is not Status.ACCEPTED:
        codes = (default or f"HTTP_{http_status}",)
    answer = answer or {}
    return Answered(
        status=status,
        codes=codes,
        descriptions=descriptions,
        warning_codes=_entries(answer.get("warnings"), "warningCode"),
        message_uuid=_text(answer.get("messageUUID")),
        request_uuid=_text(answer.get("requestUUID")),
        api_status=_text(answer.get("status")),
        http_status=http_status,
    )


def _codes(answer: Mapping[str, Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    errors = (answer or {}).get("errors")
    return _entries(errors, "errorCode"), _entries(errors, "errorDescription")


def _entries(entries: object, name: str) -> tuple[str, ...]:
    """The texts called `name` in a list of objects, whatever else that list turns out to be."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return ()
    found = (_text(entry.get(name)) for entry in entries if isinstance(entry, Mapping))
    return tuple(text for text in found if text)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _json_object(body: bytes | None) -> Mapping[str, Any] | None:
    if body is None:
        return None
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


class Departure:
    """Watches one request leave.

    `allow` is awaited when the connection is ready and nothing has been written yet; it returns when the
    request may leave and is the last thing that happens before it does.
    """

    def __init__(self, allow: Callable[[], Awaitable[None]], timeout: float) -> None:
        self._allow = allow
        self._timeout = timeout
        self.deadline: asyncio.Timeout | None = None
        #: The event loop's time when the request left; `None`: it certainly has not.
        self.left_at: float | None = None
        self.sent_at: datetime | None = None

    async def leave(self) -> None:
        await self._allow()
        self.left_at = asyncio.get_running_loop().time()
        self.sent_at = datetime.now(UTC)
        if self.deadline is not None:
            self.deadline.reschedule(self.left_at + self._timeout)


class ApiClient:
    """One session with one API. `timeout`: seconds for connecting, and again for a request and its answer."""

    def __init__(
        self, base_url: str, username: str, password: str, *, options: SendingAttributes, timeout: float,
        connections: int, sender_per_row: bool,
    ) -> None:  # fmt: skip
        self._base_url = base_url
        self._authorization = aiohttp.encode_basic_auth(username, password, encoding="utf-8")
        self._options = options
        self._timeout = timeout
        self._connections = connections
        self._sender_per_row = sender_per_row
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig(trace_config_ctx_factory=_departure_of)  # type: ignore[arg-type]
        trace.on_request_headers_sent.append(_about_to_leave)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Authorization": self._authorization,
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": f"batchsend/{__version__}",
            },
            trace_configs=[trace],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, request: Request, departure: Departure) -> Judgement:
        """Sends one text, once, and judges the answer. Never raises for what a server or a network does."""
        assert self._session is not None  # noqa: S101
        url = URL(self._base_url + request_path(request), encoded=True)
        data = json.dumps(request_body(request, self._options), ensure_ascii=False).encode()
        try:
            async with asyncio.timeout(None) as departure.deadline:
                post = self._session.post(url, data=data, allow_redirects=False, trace_request_ctx=departure)
                async with post as response:
                    body = await _read(response)
                    return judge(
                        response.status, body, response.headers.get("Retry-After"), datetime.now(UTC),
                        sender_per_row=self._sender_per_row,
                    )  # fmt: skip
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            return Refused(
                f"the server at {self._base_url} could not prove who it is (its certificate is not valid). "
                f"Nothing was sent to it. Check MYKAARMA_BASE_URL, this computer's clock, and your network's proxy."
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            return self._judge_trouble(error, departure)

    def _judge_trouble(self, error: Exception, departure: Departure) -> Judgement:
        if departure.left_at is None:
            return TurnedAway(f"cannot reach {self._base_url} ({_plain(error)})", slow_down=False)
        if isinstance(error, TimeoutError):
            return Answered(Status.UNCONFIRMED, (Code.TIMEOUT,))
        if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
            return Answered(Status.UNCONFIRMED, (Code.BAD_RESPONSE,))
        return Answered(Status.UNCONFIRMED, (Code.CONNECTION_LOST,))


def _departure_of(trace_request_ctx: Any) -> SimpleNamespace:
    return SimpleNamespace(departure=trace_request_ctx)


async def _about_to_leave(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    await context.departure.leave()


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The answer's body, or `None` where it is too long, cut short or damaged while its status is known."""
    parts: list[bytes] = []
    length = 0
    try:
        async for part in response.content.iter_any():
            parts.append(part)
            length += len(part)
            if length > ANSWER_BYTES:
                response.close()
                return None
    except aiohttp.ClientPayloadError:
        return None
    return b"".join(parts)


def _plain(error: Exception) -> str:
    """A network error in a few words, without addresses of Python objects."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be found"
    if isinstance(error, TimeoutError):
        return "no connection within the time-out"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "no secure connection"
    os_error = getattr(error, "os_error", None)
    if isinstance(os_error, ConnectionRefusedError):
        return "connection refused"
    return getattr(os_error, "strerror", None) or type(error).__name__
