"""The log of received requests: the evidence of what a client really did."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batchsend.errors import FileError
from batchsend.sandbox.responses import Response


@dataclass(frozen=True, slots=True)
class Submission:
    """A request's JSON as far as it can be read, valid or not; missing or unreadable parts are None."""

    body: str | None
    is_manual: bool
    phone: str | None
    metadata: Mapping[str, Any]
    callback_url: str | None
    send_synchronously: bool
    #: Lines that the service would append to the body.
    additions: tuple[str, ...]

    @classmethod
    def of(cls, payload: object) -> Submission:
        message = _object(_object(payload).get("messageAttributes"))
        sending = _object(_object(payload).get("messageSendingAttributes"))
        return cls(
            body=_text(message.get("body")),
            is_manual=message.get("isManual") is True,
            phone=_text(sending.get("communicationValueOfCustomer")),
            metadata=_object(sending.get("callbackMetaData")),
            callback_url=_text(sending.get("callbackURL")),
            send_synchronously=sending.get("sendSynchronously") is True,
            additions=_additions(sending),
        )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _additions(sending: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    if sending.get("addSignature") is True:
        lines.append("-- (the user's name)")
    if sending.get("addFooter") is True:
        lines.append("-- (the dealership's footer)")
    # The only addition that is on by default.
    if sending.get("addTCPAFooter") is not False:
        lines.append("Text STOP to opt-out")
    if sending.get("sendVCard") is True:
        lines.append("(the department's vCard)")
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request to send a text, and the response to it."""

    #: Counts from 1 in the order of arrival.
    number: int
    #: When the request's headers had arrived: seconds since the epoch, and by `time.monotonic()`.
    wall: float
    monotonic: float
    department_uuid: str
    user_uuid: str
    customer_uuid: str
    submission: Submission
    response: Response

    @property
    def text_sent(self) -> bool:
        """Whether the customer got a text, even if the client was told something else."""
        return self.response.text_sent

    @property
    def message_uuid(self) -> str | None:
        return self.response.message_uuid

    @property
    def body(self) -> str | None:
        return self.submission.body

    @property
    def whole_body(self) -> str:
        """The text as the customer's phone shows it, with the lines that the service appends."""
        return "\n".join([self.body or "", *self.submission.additions])

    @property
    def phone(self) -> str | None:
        return self.submission.phone

    @property
    def arrived_at(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)

    def as_json(self) -> dict[str, Any]:
        """The request as written to the `record` file and shown in the sandbox's JSON; never has credentials."""
        return {
            "number": self.number,
            "arrivedAt": self.arrived_at.isoformat(timespec="microseconds"),
            "monotonic": self.monotonic,
            "departmentUUID": self.department_uuid,
            "userUUID": self.user_uuid,
            "customerUUID": self.customer_uuid,
            "phone": self.submission.phone,
            "body": self.submission.body,
            "additions": self.submission.additions,
            "callbackMetaData": self.submission.metadata,
            "callbackURL": self.submission.callback_url,
            "sendSynchronously": self.submission.send_synchronously,
            "textLeft": self.text_sent,
            "messageUUID": self.message_uuid,
            "ending": self.response.ending.name.lower(),
            "httpStatus": self.response.http_status,
            "errorCodes": self.response.codes,
            "answer": self.response.body,
        }


class RequestLog:
    """The received requests: the last `keep` in memory, and all of them in the file `path` if one is given.

    A context manager: the file is open inside it.
    """

    def __init__(self, path: Path | None, keep: int | None) -> None:
        self.requests: deque[ReceivedRequest] = deque(maxlen=keep)
        self.texts: deque[ReceivedRequest] = deque(maxlen=keep)
        #: All since the start or the last `clear`, including those no longer in memory.
        self.request_count = 0
        self.text_count = 0
        self._path = path
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                # Unbuffered: once `add` returns, the line survives a kill of this process.
                self._file = FileIO(self._path, "a", opener=_private)
            except OSError as error:
                raise FileError(
                    self._path,
                    f"The sandbox cannot write its record there ({error.strerror}). Choose another place.",
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, received: ReceivedRequest) -> None:
        """Logs a request, in the file first. Raises OSError if the file cannot be written."""
        if self._file is not None:
            line = json.dumps(received.as_json()).encode("ascii") + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "only part of a line could be written")
        self.request_count += 1
        self.requests.append(received)
        if received.text_sent:
            self.text_count += 1
            self.texts.append(received)

    def texts_per_customer(self) -> Counter[str]:
        """Customer UUID -> number of texts sent, of those in memory."""
        return Counter(text.customer_uuid for text in self.texts)

    def clear(self) -> None:
        """Empties the memory; the file stays."""
        self.requests.clear()
        self.texts.clear()
        self.request_count = self.text_count = 0


def _private(path: str, flags: int) -> int:
    # The file holds texts and phones: only its owner may read it.
    return os.open(path, flags, 0o600)
