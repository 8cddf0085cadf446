"""Reads a customer's conversation from myKaarma: the texts that the dealership sent, and the customer's replies.

Begin with `judge_conversation`, which reads an answer without any network; `ConversationClient` asks for one. Source:
"A customer's conversation" in the vendor's documentation (`POST .../message/list`), which does not show the answer's
outer shape. So messages are found in whatever wraps them, and a fact that is missing is `None`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import orjson

from batchsend.mykaarma.protocol import Refused, RetryLater, error_codes
from batchsend.mykaarma.reading import NotRead, Permission, Reading, read_json
from batchsend.mykaarma.retry_after import server_time
from batchsend.mykaarma.updates import UpdateOutcome, message_facts, message_outcome
from batchsend.settings import Credentials
from batchsend.utils.timestamps import now

#: The permission that an account needs. An account that sends texts may lack it.
PERMISSION = Permission("communications.message.get", "read conversations", "a conversation")
#: The API's own default. If an answer has fewer messages, the conversation has no older ones.
PAGE_MESSAGES = 20

#: How deeply the messages of an answer may be nested.
_DEPTH = 6
_LONGEST_BODY = 20_000
_DIRECTIONS = {
    "sent": {"S", "O", "SENT", "OUTGOING", "OUTBOUND"},
    "received": {"R", "I", "RECEIVED", "INCOMING", "INBOUND"},
}
_TEXT_PROTOCOLS = frozenset({"X", "TEXT", "SMS", "MMS"})
_OFFSET_WITHOUT_COLON = re.compile(r"([+-]\d\d)(\d\d)$")
#: Later times in seconds would be in the year 5138; so a larger number counts milliseconds.
_MOST_SECONDS = 100_000_000_000
#: Texts were sent in these years. A time outside of them, such as a null date, says nothing.
_YEARS = range(2000, 2100)


class Direction(StrEnum):
    """Who wrote a message."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class ConversationMessage:
    """A text of a conversation. Times are in UTC.

    `at`: when it was sent or received; `None` if that is not said, or without a time zone. `phone`: the customer's
    number as the API writes it. `is_manual`: a person wrote it. `outcome`: what is known of its delivery.
    """

    uuid: str
    direction: Direction | None
    at: datetime | None
    body: str | None
    phone: str | None = None
    is_manual: bool | None = None
    outcome: UpdateOutcome | None = None


class ConversationQuery(NamedTuple):
    """Asks for the latest messages of a customer's conversation, or for those before a time.

    `known`: the UUIDs of messages at that very time that were read already.
    """

    department_uuid: str
    user_uuid: str
    customer_uuid: str
    before: datetime | None = None
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """One page of a conversation, in the answer's order.

    `is_full`: there may be older messages. `clock_ahead`: how much the server's clock is ahead of this computer's, to
    a second; `None` if the answer does not tell.
    """

    messages: tuple[ConversationMessage, ...]
    is_full: bool = False
    clock_ahead: timedelta | None = None


ConversationAnswer = Conversation | NotRead | RetryLater | Refused


# --- the request


def conversation_path(query: ConversationQuery) -> str:
    """The endpoint's path, relative to the base URL."""
    department, user, customer = (quote(part, safe="") for part in query[:3])
    return f"/communications/department/{department}/user/{user}/customer/{customer}/message/list"


def conversation_body(query: ConversationQuery) -> dict[str, Any]:
    """The JSON body of the request."""
    body: dict[str, Any] = {
        "protocolsSupported": ["TEXT"],
        "maxResults": PAGE_MESSAGES,
        "fetchDrafts": False,
    }
    if query.before is not None:
        body["lastMessageReceivedOn"] = query.before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
    if query.known:
        body["messageUuidsReceivedAtSameTime"] = list(query.known)
    return body


# --- the answer


def judge_conversation(
    url: str, http_status: int, body: bytes, headers: Mapping[str, str], ours: datetime
) -> ConversationAnswer:
    """Judges an answer. `headers` ignore case; `ours`: this computer's time when the answer came."""
    answer = read_json(url, Reading(http_status, body, headers), PERMISSION, ours)
    if isinstance(answer, NotRead | RetryLater | Refused):
        return answer
    codes = error_codes(answer) if isinstance(answer, dict) else ()
    entries = list(_entries(answer))
    if codes and not entries:
        return NotRead(f"myKaarma could not read {PERMISSION.thing} ({'; '.join(codes)}).")
    messages = tuple(message for entry in entries if (message := read_message(entry)) is not None)
    return Conversation(messages, len(entries) >= PAGE_MESSAGES, _clock_ahead(headers.get("Date"), ours))


def _clock_ahead(date: str | None, ours: datetime) -> timedelta | None:
    # The date is cut to seconds, so on average it is half a second later.
    theirs = server_time(date, ours)
    return None if theirs is ours else theirs + timedelta(seconds=0.5) - ours


def _entries(value: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects that are messages, in whatever is around them."""
    if isinstance(value, list) and depth < _DEPTH:
        for element in value:
            yield from _entries(element, depth + 1)
    elif isinstance(value, dict) and depth < _DEPTH:
        if _is_message(value):
            yield value
        else:
            for inner in value.values():
                yield from _entries(inner, depth + 1)


def _is_message(entry: Mapping[str, Any]) -> bool:
    facts = message_facts(entry)
    return bool(facts.get("uuid") or facts.get("messageuuid")) and not facts.keys().isdisjoint(
        ("messagetype", "protocol", "senton", "receivedon", "messageextndto")
    )


def read_message(entry: Mapping[str, Any], unnamed: str | None = None) -> ConversationMessage | None:
    """Reads an object such as the `messageDTO` of a message event; `None` if it is no text or only a draft.

    `unnamed`: the UUID of a message without one; without this, it is no message.
    """
    facts = message_facts(entry)
    uuid = next(filter(None, (_uuid(facts.get(name)) for name in ("uuid", "messageuuid"))), unnamed)
    protocol = facts.get("protocol")
    if uuid is None or facts.get("isdraft") is True:
        return None
    if isinstance(protocol, str) and protocol.strip().upper() not in _TEXT_PROTOCOLS:
        return None
    direction = _direction(facts.get("messagetype"))
    received = direction is Direction.RECEIVED
    times = ("receivedon", "senton") if received else ("senton", "receivedon")
    return ConversationMessage(
        uuid=uuid,
        direction=direction,
        at=next(filter(None, (_moment(facts.get(name)) for name in times)), None),
        body=_body(facts),
        phone=_text(facts.get("fromnumber" if received else "tonumber")),
        is_manual=facts["ismanual"] if isinstance(facts.get("ismanual"), bool) else None,
        outcome=message_outcome(facts),
    )


def _uuid(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _direction(kind: object) -> Direction | None:
    word = kind.strip().upper() if isinstance(kind, str) else ""
    return next((Direction(name) for name, words in _DIRECTIONS.items() if word in words), None)


def _body(facts: Mapping[str, Any]) -> str | None:
    extension = facts.get("messageextndto")
    inner = message_facts(extension) if isinstance(extension, dict) else {}
    candidates = (inner.get("messagebody"), inner.get("body"), facts.get("messagebody"), facts.get("body"))
    return next((text[:_LONGEST_BODY] for text in candidates if isinstance(text, str)), None)


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _moment(value: object) -> datetime | None:
    """A time in ISO 8601 with a zone, or in (milli)seconds since 1970."""
    try:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value / (1000 if value > _MOST_SECONDS else 1), UTC)
        else:
            moment = datetime.fromisoformat(_OFFSET_WITHOUT_COLON.sub(r"\1:\2", str(value).strip()))
            if moment.tzinfo is None:
                return None
        return moment.astimezone(UTC) if moment.year in _YEARS else None
    except (ValueError, OverflowError, OSError):
        return None


# --- asking


class ConversationClient:
    """Asks one API for conversations. `timeout`: seconds for one request. Problems of the network never raise."""

    def __init__(self, base_url: str, credentials: Credentials, *, timeout: float) -> None:
        # The ledger's queries use this module, and need no HTTP client.
        from batchsend.mykaarma.reader import ApiReader

        self._reader = ApiReader(base_url, credentials, timeout=timeout)

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    async def ask(self, query: ConversationQuery) -> ConversationAnswer:
        """Asks once for one page of a conversation. Changes nothing at myKaarma."""
        data = orjson.dumps(conversation_body(query))
        reading = await self._reader.ask("POST", conversation_path(query), data=data)
        if not isinstance(reading, Reading):
            return reading
        # The address without the customer's id.
        shown = f"{self._reader.base_url}/communications/.../message/list"
        return judge_conversation(shown, reading.status, reading.body, reading.headers, now())


def oldest(messages: Sequence[ConversationMessage]) -> datetime | None:
    """When the oldest of these messages was sent or received; `None` if one has no time."""
    times = [message.at for message in messages]
    return min((time for time in times if time is not None), default=None) if None not in times else None
