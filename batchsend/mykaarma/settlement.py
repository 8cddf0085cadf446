"""Decides which message of a conversation is a text whose outcome is unknown. Pure functions.

A wrong decision would hide that a customer got no text, or would give a text the delivery status of another one. So a
message settles a text only if it agrees in every known fact and if no other text and no other message could be meant.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from batchsend.mykaarma.conversation import ConversationMessage, Direction
from batchsend.mykaarma.protocol import SendingAttributes

#: How exactly the server's clock is known from the date of its answer, and without one.
_CLOCK_ERROR, _UNKNOWN_CLOCK_ERROR = timedelta(seconds=10), timedelta(minutes=5)
#: How long after its request a text may show up in the conversation, because sending is queued.
_QUEUE_TIME = timedelta(hours=1)
#: How long after its request a text may still be the reason for a message, where another text is meant, too.
_LONGEST_QUEUE_TIME = timedelta(hours=24)

#: The most characters of what the API appends to a text, and of a line about opting out.
_LONGEST_ADDITION, _LONGEST_OPT_OUT_LINE = 500, 160
_OPT_OUT_LINE = re.compile(
    r"\W*(?:please )?(?:(?:text|reply|send|txt|responda|responde|env[ií]e|mande) )?\W?STOP\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class UnknownText:
    """A text to a customer that may have been sent, and whose message is not known.

    `body`: as it was requested, `None` if it was purged. `requested_at`: the earliest time, by this computer's clock.
    `wanted`: its message is looked for; otherwise it only could be the reason for a message. `message_uuid`: known if
    an answer named it and yet left open whether the text was sent.
    """

    body: str | None
    phone: str | None
    requested_at: datetime | None
    wanted: bool
    message_uuid: str | None = None


@dataclass(frozen=True)
class RequestFacts:
    """What the requests of a run have in common. `timeout`: seconds; `opt_out_line`: what the API may append."""

    attributes: SendingAttributes = field(default_factory=SendingAttributes)
    timeout: float = 30.0
    opt_out_line: str = ""


class Window(NamedTuple):
    """From when to when a text's message may have been sent, by the server's clock."""

    start: datetime
    end: datetime


def window(text: UnknownText, facts: RequestFacts, clock_ahead: timedelta | None) -> Window | None:
    """When the message of a text may have been sent; `None` if its request has no time."""
    if text.requested_at is None:
        return None
    error = _UNKNOWN_CLOCK_ERROR if clock_ahead is None else _CLOCK_ERROR
    requested = text.requested_at + (clock_ahead or timedelta(0))
    return Window(requested - error, requested + error + timedelta(seconds=facts.timeout) + _QUEUE_TIME)


def end_of_doubt(text: UnknownText, facts: RequestFacts) -> datetime | None:
    """Until when another message can be taken for a text, by this computer's clock; `None` if none ever is."""
    span = window(text, facts, None)
    return span.end + _UNKNOWN_CLOCK_ERROR if span is not None else None


def time_to_read(
    texts: Sequence[UnknownText], facts: RequestFacts, clock_ahead: timedelta | None
) -> Window | None:
    """The part of a conversation that decides about these texts, by the server's clock."""
    spans = [span for text in texts if (span := window(text, facts, clock_ahead)) is not None]
    if not spans:
        return None
    return Window(
        min(span.start for span in spans) - _UNKNOWN_CLOCK_ERROR,
        max(span.end for span in spans) + _LONGEST_QUEUE_TIME,
    )


def settle(
    texts: Sequence[UnknownText],
    messages: Sequence[ConversationMessage],
    recorded: Collection[str],
    facts: RequestFacts,
    clock_ahead: timedelta | None,
) -> dict[int, ConversationMessage]:
    """Position in `texts` -> the message of this text, where there is no doubt.

    `texts`: all texts to one customer whose message is not known, of all runs. `messages`: the conversation, at least
    of the time in which the wanted texts may have been sent. `recorded`: UUIDs of messages that belong to other rows.
    """
    by_uuid = {message.uuid: message for message in messages if message.direction is Direction.SENT}
    named = {
        position: by_uuid[text.message_uuid]
        for position, text in enumerate(texts)
        if text.wanted and text.message_uuid in by_uuid
    }
    free = {m.uuid: m for m in messages if m.direction is not Direction.RECEIVED and m.uuid not in recorded}
    # Position -> the messages that it could be, and UUID -> how many texts it could be.
    possible = [
        [m for m in free.values() if text.message_uuid is None and _may_be(text, m, facts, clock_ahead)]
        for text in texts
    ]
    meanings = Counter(message.uuid for found in possible for message in found)
    return named | {
        position: found[0]
        for position, (text, found) in enumerate(zip(texts, possible, strict=True))
        if text.wanted
        and len(found) == 1
        and meanings[found[0].uuid] == 1
        and _is(text, found[0], facts, clock_ahead)
    }


def _is(
    text: UnknownText, message: ConversationMessage, facts: RequestFacts, clock_ahead: timedelta | None
) -> bool:
    """Whether the message agrees with the text in every fact."""
    span = window(text, facts, clock_ahead)
    return (
        message.direction is Direction.SENT
        and message.at is not None
        and span is not None
        and span.start <= message.at <= span.end
        and message.is_manual in (None, facts.attributes.is_manual)
        and _same_phone(text.phone, message.phone)
        and text.body is not None
        and message.body is not None
        and _is_body(text.body, message.body, facts)
    )


def _may_be(
    text: UnknownText, message: ConversationMessage, facts: RequestFacts, clock_ahead: timedelta | None
) -> bool:
    """Whether the message could be the text, in doubt yes. This is never narrower than `_is`."""
    span = window(text, facts, clock_ahead)
    in_time = span is None or message.at is None or _in_wide(span, message.at)
    if text.body is None or message.body is None:
        return in_time
    return in_time and _flat(message.body).startswith(_flat(text.body))


def _in_wide(span: Window, at: datetime) -> bool:
    return span.start - _UNKNOWN_CLOCK_ERROR <= at <= span.end + _LONGEST_QUEUE_TIME


def _same_phone(ours: str | None, theirs: str | None) -> bool:
    """Whether two numbers may be the same; a country code may be missing, or either number."""
    digits = [re.sub(r"\D", "", number or "")[-10:] for number in (ours, theirs)]
    return not all(digits) or digits[0] == digits[1]


def _is_body(ours: str, theirs: str, facts: RequestFacts) -> bool:
    """Whether a message has the text's body, alone or with what the API appends."""
    lines, wanted = _lines(theirs), _lines(ours)
    opt_out = _flat(facts.opt_out_line)
    if not wanted:
        return False
    if lines[: len(wanted)] == wanted:
        return _is_addition(lines[len(wanted) :], facts, opt_out)
    # The API may also change line breaks into blanks.
    return _flat(theirs) in (_flat(ours), f"{_flat(ours)} {opt_out}".strip())


def _is_addition(lines: Sequence[str], facts: RequestFacts, opt_out: str) -> bool:
    attributes = facts.attributes
    if attributes.add_signature or attributes.add_footer or attributes.send_vcard:
        return sum(map(len, lines)) <= _LONGEST_ADDITION
    if not lines:
        return True
    [line] = lines if len(lines) == 1 else [""]
    return bool(line) and (
        line == opt_out or (len(line) <= _LONGEST_OPT_OUT_LINE and _OPT_OUT_LINE.match(line) is not None)
    )


def _lines(body: str) -> list[str]:
    """The lines of a body without what makes no difference: blank lines, runs of blanks, how characters are coded."""
    text = unicodedata.normalize("NFC", html.unescape(body))
    return [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]


def _flat(body: str) -> str:
    return " ".join(_lines(body))
