"""Reads the API's updates on texts, in every known shape, into an `Update` each. Pure functions.

myKaarma does not document what it sends to `callback_url`, and its webhooks wrap the same facts in another shape.
Facts that are recognized are used; an unrecognized payload is ignored and is no error.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchsend.mykaarma.protocol import short_text
from batchsend.statuses import OPTED_OUT, Status

#: Names of objects that can hold the facts, and how deeply they can be nested.
_WRAPPERS = ("payload", "messagedto", "message", "data", "event", "update", "response", "result")
_DEPTH = 4
#: Their value can be a text with JSON. The text of `message` or `body` is not parsed: a customer may have written it.
_MAYBE_JSON = frozenset({"payload", "messagedto", "data", "event"})
_METADATA = ("callbackmetadata", "metadata")
#: A string or a structural character of JSON. The end of a string may be missing.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[][{},]', re.DOTALL)
#: How many characters of an object around a list of events are copied, for all of its events together.
_MOST_COPIED = 16_000_000

_WORDS = {
    Status.DELIVERED: "DELIVERED READ",
    Status.UNDELIVERED: (
        "FAILURE FAILED UNDELIVERED NOT_DELIVERED UNDELIVERABLE DELIVERY_FAILED DELIVERY_FAILURE SENDING_FAILED "
        "SEND_FAILED ERROR REJECTED BLOCKED BOUNCED EXPIRED CANCELED CANCELLED"
    ),
    Status.ACCEPTED: "SUCCESS SUCCESSFUL ACCEPTED QUEUED SCHEDULED SUBMITTED PROCESSING PENDING SENDING SENT",
}
_STATUS_OF_WORD = {word: status for status, words in _WORDS.items() for word in words.split()}
_RANK = {Status.ACCEPTED: 1, Status.UNDELIVERED: 2, Status.DELIVERED: 3}

_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_LARGEST_NUMBER = 2**31 - 1
_LONGEST_UUID = 128
_CODE = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_MOST_ERRORS = 20


@dataclass(frozen=True, slots=True)
class SendRef:
    """One request, as its metadata names it. `generation`: how often `--resend` had opened the row before."""

    ledger_id: str
    run_id: int
    row: int
    generation: int


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """The outcome of a text: `accepted`, `delivered` or `undelivered`. Codes and descriptions are joined by `; `."""

    status: Status
    codes: str = ""
    descriptions: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """The recognized facts; `outcome` is `None` if the update does not report one."""

    send: SendRef | None
    message_uuid: str | None
    outcome: UpdateOutcome | None


class UpdateEvent(NamedTuple):
    """One event of a request's body: its own bytes, and its facts if any are recognized."""

    body: bytes
    update: Update | None


def overrules(new: UpdateOutcome, known: UpdateOutcome | None) -> bool:
    """Whether `new` replaces `known`.

    This is a total order, so the final outcome does not depend on the order of updates: `delivered` overrules
    `undelivered` (an attempt can fail before another one succeeds), and both overrule `accepted`.
    """
    return known is None or _precedence(new) > _precedence(known)


def _precedence(outcome: UpdateOutcome) -> tuple[int, bool, str, str]:
    opted_out = not OPTED_OUT.isdisjoint(outcome.codes.split("; "))
    return _RANK[outcome.status], opted_out, outcome.codes, outcome.descriptions


def read_events(body: bytes) -> list[UpdateEvent]:
    """Reads the events in a request's body. The content type does not matter.

    Each event with a known fact or a message comes by itself, and everything else together in one without facts.
    """
    parts = list(_parts(_decoded(body)))
    found = [UpdateEvent(part.encode("utf-8", "replace"), read_update(part)) for part in parts]
    if len(found) < 2:
        return [UpdateEvent(body, found[0].update if found else None)]
    known: list[UpdateEvent] = []
    other: list[bytes] = []
    for event in found:
        if event.update is not None or _has_message(event.body):
            known.append(event)
        else:
            other.append(event.body)
    if not known:
        return [UpdateEvent(body, None)]
    return [*known, UpdateEvent(b"[%s]" % b",".join(other), None)] if other else known


def read_update(body: bytes | str) -> Update | None:
    """Reads one event; `None` if it has no known fact."""
    scopes = list(_scopes(_parsed(body)))
    update = Update(_send_ref(scopes), _message_uuid(scopes), _outcome(scopes))
    return None if update == Update(None, None, None) else update


def _has_message(event: bytes) -> bool:
    return any("messagetype" in scope for _, scope in event_scopes(event))


# --- splitting a body into events


def _decoded(body: bytes) -> str:
    """The text of a body in any UTF. Other bytes are replaced: the facts themselves are ASCII."""
    return body.decode(json.detect_encoding(body), "replace")


def _parts(text: str, depth: int = 0) -> Iterator[str]:
    """The events in a JSON text: in arrays, in a list that an object wraps, or in a string that holds JSON."""
    text = text.strip(" \t\r\n\ufeff")
    if depth < _DEPTH and text.startswith("["):
        for element in _elements(text):
            yield from _parts(element, depth + 1)
    elif depth < _DEPTH and text.startswith('"') and isinstance(inner := _parsed(text), str):
        yield from _parts(inner, depth + 1)
    elif text.startswith("{"):
        yield from _wrapped(text) or [text]
    elif text:
        yield text


def _elements(array: str) -> Iterator[str]:
    """The elements of an array. They are not parsed, so that a malformed one does not affect the others."""
    depth, begin = 0, 1
    for token in _TOKEN.finditer(array):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth == 0 or (depth == 1 and token[0] == ","):
            yield array[begin : token.start()]
            begin = token.end()
        if depth == 0:
            break
    yield array[begin:]


def _wrapped(text: str) -> list[str]:
    """The events of an object with a list of them, such as `events`, each with a copy of the object around it."""
    try:
        return [json.dumps(event) for event in _separated(_parsed(text))]
    except RecursionError:
        return []


def _separated(root: object, depth: int = 0) -> list[dict[str, Any]]:
    """As `_wrapped`, with the list also deeper inside, such as `messages` in `payload`."""
    if not isinstance(root, dict) or depth == _DEPTH:
        return []
    for key, value in root.items():
        plural = _name(key) not in _WRAPPERS
        name = _name(key).removesuffix("s") if plural else _name(key)
        if name not in _WRAPPERS:
            continue
        inner = _parsed(value) if isinstance(value, str) and name in _MAYBE_JSON else value
        events = inner if isinstance(inner, list) else _separated(inner, depth + 1)
        if len(events) < (1 if plural or events is not inner else 2):
            continue
        around = {other: root[other] for other in root if other != key}
        if len(json.dumps(around)) * len(events) <= _MOST_COPIED:
            return [{**around, name: event} for event in events]
    return []


# --- finding objects and values


def _scopes(root: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects that can hold facts, outermost first, each with its name."""
    waiting = deque([("", root, 0)])
    while waiting:
        name, value, depth = waiting.popleft()
        opened = _object(value, may_be_json=depth == 0 or name in _MAYBE_JSON)
        if opened is None:
            continue
        yield name, opened
        if depth < _DEPTH:
            waiting.extend((inner, opened[inner], depth + 1) for inner in _WRAPPERS if inner in opened)


def _object(value: object, *, may_be_json: bool) -> Mapping[str, Any] | None:
    """The object with normalized names; a list of one object counts as that object."""
    if may_be_json and isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    return {_name(key): inner for key, inner in value.items()}


def _parsed(body: bytes | str) -> object:
    try:
        return json.loads(_decoded(body) if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        return None


def _name(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "")


def _values(scopes: list[tuple[str, Mapping[str, Any]]], name: str) -> Iterator[Any]:
    return (scope[name] for _, scope in scopes if scope.get(name) is not None)


def _number(value: object, least: int) -> int | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if least <= number <= _LARGEST_NUMBER else None


def event_scopes(event: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of an event that can hold facts, outermost first, each with its name and `message_facts`."""
    return list(_scopes(_parsed(event)))


def message_facts(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts of a message object such as `messageDTO`, by name in small letters without `_` and `-`."""
    return {_name(key): value for key, value in entry.items()}


def message_outcome(facts: Mapping[str, Any]) -> UpdateOutcome | None:
    """What the facts of a message object say about its delivery."""
    return _outcome([("messagedto", facts)])


# --- which text it is about


def _send_ref(scopes: list[tuple[str, Mapping[str, Any]]]) -> SendRef | None:
    for _, scope in scopes:
        for candidate in (*(scope.get(name) for name in _METADATA), scope):
            metadata = _object(candidate, may_be_json=True)
            if metadata is None:
                continue
            ledger_id = short_text(metadata.get("batchsendledger"))
            run_id = _number(metadata.get("batchsendrun"), 1)
            row = _number(metadata.get("batchsendrow"), 1)
            send = _number(metadata.get("batchsendsend"), 1)
            # A test text goes to another customer, so it is about no row.
            if "batchsendtest" in metadata:
                return None
            if ledger_id is not None and run_id is not None and row is not None and send is not None:
                return SendRef(ledger_id, run_id, row, send - 1)
    return None


def _message_uuid(scopes: list[tuple[str, Mapping[str, Any]]]) -> str | None:
    named = _values(scopes, "messageuuid")
    unnamed = (scope.get("uuid") for name, scope in scopes if name in ("messagedto", "message"))
    for value in (*named, *unnamed):
        text = short_text(value)
        if text is not None and len(text) <= _LONGEST_UUID:
            return text
    return None


# --- its outcome


def _outcome(scopes: list[tuple[str, Mapping[str, Any]]]) -> UpdateOutcome | None:
    delivery = _status(scopes, "deliverystatus")
    why_not = [text for text in map(short_text, _values(scopes, "twiliodeliveryfailuremessage")) if text]
    codes, descriptions = _errors(scopes)
    if delivery is Status.DELIVERED:
        return UpdateOutcome(delivery)
    status = Status.UNDELIVERED if why_not else delivery or _status(scopes, "status")
    if status is None and (codes or descriptions):
        status = Status.UNDELIVERED
    if status is not Status.UNDELIVERED:
        return None if status is None else UpdateOutcome(status)
    return UpdateOutcome(status, _joined(codes), _joined([*descriptions, *why_not]))


def _status(scopes: list[tuple[str, Mapping[str, Any]]], name: str) -> Status | None:
    for value in _values(scopes, name):
        word = re.sub(r"[^A-Z]+", "_", (short_text(value) or "").upper()).strip("_")
        if word in _STATUS_OF_WORD:
            return _STATUS_OF_WORD[word]
    return None


def _errors(scopes: list[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], list[str]]:
    """Codes and descriptions in `errors`, which should be a list of objects."""
    codes: list[str | None] = []
    descriptions: list[str | None] = []
    for errors in _values(scopes, "errors"):
        for error in (errors if isinstance(errors, list) else [errors])[:_MOST_ERRORS]:
            entry = _object(error, may_be_json=False)
            code = short_text(error if entry is None else entry.get("errorcode") or entry.get("code"))
            # A sentence in its place can quote the text, which a code may not: codes are shown everywhere.
            (codes if code is not None and _CODE.fullmatch(code) else descriptions).append(code)
            if entry is not None:
                descriptions.append(short_text(entry.get("errordescription") or entry.get("description")))
    return [code for code in codes if code], [text for text in descriptions if text]


def _joined(texts: list[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
