"""The conversations that the sandbox keeps: the texts that were sent, and customers' replies.

Source: "A customer's conversation" in the API's documentation. The answer's outer shape is not published, so it is
the sandbox's own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchsend.sandbox.checks import Fault
from batchsend.sandbox.request_log import ReceivedRequest, RequestLog
from batchsend.sandbox.responses import JSON_HEADERS, Response, new_uuid, refused
from batchsend.sandbox.updates import TextOutcome

#: The dealership's number, from the range that is reserved for fiction.
_DEALERSHIP = "+15555550100"
_DEFAULT_RESULTS, _MOST_RESULTS = 20, 100
_DELIVERY = {
    TextOutcome.DELIVERED: ("DELIVERED", None),
    TextOutcome.UNDELIVERED: ("UNDELIVERED", "30003 Unreachable destination handset"),
    TextOutcome.NOT_SENT: ("FAILED", "The text-sending service did not take the message."),
    TextOutcome.OPTED_OUT: ("FAILED", "21610 Attempt to send to an unsubscribed recipient"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A text from a customer."""

    message_uuid: str
    customer_uuid: str
    phone: str | None
    body: str
    received_at: datetime

    def as_message(self) -> dict[str, Any]:
        """The reply as conversations and events show it."""
        return {
            "uuid": self.message_uuid,
            "messageType": "R",
            "protocol": "X",
            "isManual": None,
            "sentOn": None,
            "receivedOn": _time(self.received_at),
            "deliveryStatus": None,
            "twilioDeliveryFailureMessage": None,
            "fromNumber": self.phone,
            "toNumber": _DEALERSHIP,
            "messageExtnDTO": {"messageBody": self.body},
        }


class Conversations:
    """The conversations of one sandbox. Texts come from its log; at most `keep` replies and outcomes are kept."""

    def __init__(self, log: RequestLog, keep: int | None) -> None:
        self._log = log
        self._replies: deque[Reply] = deque(maxlen=keep)
        #: Message UUID -> what its updates have reported.
        self._outcomes: dict[str, TextOutcome] = {}
        self._keep = keep

    def clear(self) -> None:
        self._replies.clear()
        self._outcomes.clear()

    def add_reply(
        self, customer_uuid: str, body: str, *, phone: str | None = None, at: datetime | None = None
    ) -> Reply:
        """Adds a text from the customer. `at`: when it was received, by default now."""
        reply = Reply(new_uuid(), customer_uuid, phone, body, at or datetime.now(UTC))
        self._replies.append(reply)
        return reply

    def note_outcome(self, message_uuid: str, outcome: TextOutcome) -> None:
        """Notes that the updates of a text were sent."""
        self._outcomes[message_uuid] = outcome
        if self._keep is not None and len(self._outcomes) > self._keep:
            del self._outcomes[next(iter(self._outcomes))]

    def answer(self, department: str, customer: str, payload: object) -> Response:
        """The response to a request for a conversation, newest message first."""
        if not isinstance(payload, dict):
            return refused([Fault(400, "MALFORMED_REQUEST", "The request's body must be a JSON object.")])
        most = payload.get("maxResults", _DEFAULT_RESULTS)
        if type(most) is not int or not 1 <= most <= _MOST_RESULTS:
            return refused(
                [Fault(400, "MALFORMED_REQUEST", f"maxResults must be a number from 1 to {_MOST_RESULTS}.")]
            )
        try:
            found = [*self._asked_for(department, customer, payload)]
        except (TypeError, ValueError):
            return refused(
                [Fault(400, "MALFORMED_REQUEST", "lastMessageReceivedOn must be yyyy-MM-dd'T'HH:mm:ssZ.")]
            )
        found.sort(key=lambda message: message[0], reverse=True)
        body = {
            "errors": None,
            "messages": [message for _, message in found[:most]],
            "requestUUID": new_uuid(),
        }
        return Response(200, json.dumps(body), JSON_HEADERS)

    def _asked_for(
        self, department: str, customer: str, payload: Mapping[str, Any]
    ) -> Iterator[tuple[datetime, dict[str, Any]]]:
        before, known = (
            payload.get("lastMessageReceivedOn"),
            payload.get("messageUuidsReceivedAtSameTime") or (),
        )
        end = datetime.strptime(before, "%Y-%m-%dT%H:%M:%S%z") if before is not None else None
        protocols = payload.get("protocolsSupported")
        if protocols and "TEXT" not in protocols:
            return
        for at, message in self._messages(department, customer):
            # The request names whole seconds, so it also names what it has of the last one.
            whole = at.replace(microsecond=0)
            if end is None or (whole <= end and message["uuid"] not in known):
                yield at, message

    def _messages(self, department: str, customer: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
        for text in self._log.texts:
            if text.customer_uuid == customer and text.department_uuid == department:
                yield text.arrived_at, self._sent(text)
        for reply in self._replies:
            if reply.customer_uuid == customer:
                yield reply.received_at, reply.as_message()

    def _sent(self, text: ReceivedRequest) -> dict[str, Any]:
        outcome = self._outcomes.get(text.message_uuid or "")
        status, failure = _DELIVERY.get(outcome, (None, None)) if outcome is not None else (None, None)
        return {
            "uuid": text.message_uuid,
            "messageType": "S",
            "protocol": "X",
            "isManual": text.submission.is_manual,
            "sentOn": _time(text.arrived_at),
            "receivedOn": _time(text.arrived_at),
            "deliveryStatus": status,
            "twilioDeliveryFailureMessage": failure,
            "fromNumber": _DEALERSHIP,
            "toNumber": text.phone,
            "messageExtnDTO": {"messageBody": text.whole_body},
        }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
